"""What may be said of how people who come through a provider become users, and what is refused by name."""

import secrets
from typing import Any

import pytest
from tests.admin.conftest import PROVIDER, Make

from watchword_testkit.api import Api


def rules(*given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role_mapping": {"rules": list(given), **more}}


EXPRESSION = "#/role_mapping/rules/0/expression"
# The members, and where the error points.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an expression that is none": (
        rules({"expression": "groups ==", "roles": []}),
        EXPRESSION,
    ),
    "Handlebars": (rules({"expression": "{{#includes groups}}"}), EXPRESSION),
    "an unknown variable": (rules({"expression": "department == 'x'"}), EXPRESSION),
    "no boolean": (rules({"expression": "email"}), EXPRESSION),
    "no expression": (rules({"roles": ["reader"]}), EXPRESSION),
    "an unknown member": (rules({"expression": "true", "role": "reader"}), "#/role_mapping/rules/0/role"),
    "owners": (rules({"expression": "true", "roles": ["Owner"]}), "#/role_mapping/rules/0/roles/0"),
    "owners by default": ({"default_role": "owner"}, "#/default_role"),
    "too many rules": (rules(*[{"expression": "true"}] * 65), "#/role_mapping/rules"),
    "strict as text": (rules(strict="perhaps"), "#/role_mapping/strict"),
    "within no organization": ({"default_role": "organization-administrator"}, "#"),
    "a pattern that is none": ({"group_sync": {"pattern": "("}}, "#/group_sync/pattern"),
    "a group without a name": ({"group_sync": {"names": {"x": ""}}}, "#/group_sync/names/x"),
    "no domain": ({"allowed_email_domains": ["not a domain"]}, "#/allowed_email_domains/0"),
    "an address as domain": ({"allowed_email_domains": ["ana@corp.example"]}, "#/allowed_email_domains/0"),
    "an unknown way to link": ({"linking": "always"}, "#/linking"),
    "an unknown moment": ({"sync": "never"}, "#/sync"),
    "an unknown organization": ({"organization": "nowhere"}, "#/organization"),
}


@pytest.mark.parametrize(("given", "pointer"), REFUSED.values(), ids=REFUSED)
async def test_what_makes_no_sense_is_refused_where_it_stands(api: Api, given: dict[str, Any], pointer: str) -> None:
    answer = await api.call("POST", "/providers", {**PROVIDER, "id": f"P-{secrets.token_hex(4)}", **given})
    assert answer.status_code == 400, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_provider_of_an_organization_gives_nothing_that_holds_everywhere(api: Api) -> None:
    short_name = f"acme-{secrets.token_hex(4)}"
    made = await api.create("/organizations", short_name=short_name, name="Acme")
    given = {**PROVIDER, "organization": short_name}
    refused = await api.call("POST", "/providers", {**given, "id": "P", "default_role": "administrator"})
    assert refused.status_code == 400
    assert "holds everywhere" in refused.text
    provider_id = f"P-{secrets.token_hex(4)}"
    found = await api.create("/providers", **given | {"id": provider_id, "default_role": "organization-administrator"})
    assert found["organization"] == made["id"]
    assert (await api.change(f"/providers/{provider_id}", sync="once"))["organization"] == made["id"]
    assert (await api.change(f"/providers/{provider_id}", organization=None, default_role=None))["organization"] is None


@pytest.mark.seed(94)
async def test_trusting_a_providers_addresses_comes_with_a_warning(api: Api, make_provider: Make) -> None:
    provider = await make_provider(linking="trusted")
    (warning,) = provider["warnings"]  # type: ignore[misc]
    assert "without its password" in warning
    changed = await api.change(f"/providers/{provider['id']}", linking="prove")
    assert changed["warnings"] == []
