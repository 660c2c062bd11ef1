"""Rules of a provider at the console: rows that come and go without JavaScript, errors beside them, a trial before."""

import json
import secrets
from typing import Any

import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser


@pytest.fixture
async def provider_id(api: Api) -> str:
    made = await api.create(
        "/providers",
        id=f"Corp-{secrets.token_hex(4)}",
        preset="oidc",
        display_name="Corp",
        issuer="https://login.corp.example",
        client_id="watchword",
        client_secret=secrets.token_urlsafe(24),
    )
    return str(made["id"])


async def stored(api: Api, provider_id: str) -> dict[str, Any]:
    return await api.get(f"/providers/{provider_id}")


async def test_rules_are_added_moved_removed_and_saved(console: Browser, api: Api, provider_id: str) -> None:
    await console.open(f"{console.issuer}/admin/providers/{provider_id}/test")
    page = await console.click("mapping")
    assert "role-0-expression" not in page.form_with("claim").fields
    page = await console.submit("claim", "add-role")
    page = await console.submit("claim", "add-role", **{"role-0-expression": "'b' in groups", "role-0-given": "second"})
    page = await console.submit("claim", "add-group")
    fields = page.form_with("claim").fields
    assert {"role-0-expression", "role-1-expression", "group-0-expression"} <= set(fields), "an empty row stays"
    first = {"role-1-name": "leads", "role-1-expression": "'a' in groups", "role-1-given": "first\nreader"}
    page = await console.submit("claim", "up-role-1", **first)
    fields = page.form_with("claim").fields
    assert (fields["role-0-name"], fields["role-1-given"].split()) == ("leads", ["second"])
    page = await console.submit(
        "claim", "add-role", **{"group-0-expression": "claims.country == 'NO'", "group-0-given": "norway"}
    )
    page = await console.submit("claim", "remove-role-2")
    assert (await stored(api, provider_id))["role_mapping"] is None, "nothing is saved before somebody says so"
    said = {"claim": "realm_access.roles", "pattern": "^eng-", "names": "Domain Admins = ops", "strict": "1"}
    page = await console.submit("claim", "save", **said, default_role="viewer", sync="once")
    assert page.status == 200
    found = await stored(api, provider_id)
    assert found["role_mapping"] == {
        "strict": True,
        "rules": [
            {"name": "leads", "expression": "'a' in groups", "roles": ["first", "reader"]},
            {"name": None, "expression": "'b' in groups", "roles": ["second"]},
        ],
    }
    assert found["group_sync"] == {
        "claim": "realm_access.roles",
        "pattern": "^eng-",
        "names": {"Domain Admins": "ops"},
        "rules": [{"expression": "claims.country == 'NO'", "groups": ["norway"]}],
    }
    assert (found["default_role"], found["sync"]) == ("viewer", "once")
    for _ in range(2):
        await console.submit("claim", "remove-role-0")
    await console.submit("claim", "remove-group-0")
    emptied = {"claim": "", "pattern": "", "names": "", "default_role": ""}
    page = await console.submit("claim", "save", strict="", **emptied)
    found = await stored(api, provider_id)
    assert (found["role_mapping"], found["group_sync"], found["default_role"]) == (None, None, None)


# What is wrong, and beside which control that is said.
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a rule that is none": ({"role-0-expression": "groups.", "role-0-given": "x"}, "role-0-expression"),
    "a rule for roles without one": ({"role-0-given": "x"}, "role-0-expression"),
    "an owner": ({"role-0-expression": "true", "role-0-given": "reader\nOwner"}, "role-0-given"),
    "a role with a control character": ({"role-0-expression": "true", "role-0-given": "a\u0007"}, "role-0-given"),
    "a long name": ({"role-0-expression": "true", "role-0-name": "x" * 65}, "role-0-name"),
    "a rule for groups that is none": ({"group-0-expression": "1 +", "group-0-given": "x"}, "group-0-expression"),
    "a long group": ({"group-0-expression": "true", "group-0-given": "x" * 257}, "group-0-given"),
    "a pattern that is none": ({"pattern": "("}, "pattern"),
    "a group that is called nothing": ({"names": "there ="}, "names"),
    "a default owner": ({"default_role": "owner"}, "default_role"),
    "claims that are none": ({"claims": "{"}, "claims"),
    "claims that are a list": ({"claims": "[]"}, "claims"),
}


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_said_beside_it_and_nothing_is_saved(
    console: Browser, api: Api, provider_id: str, row: tuple[dict[str, str], str]
) -> None:
    typed, control = row
    before = await stored(api, provider_id)
    await console.open(f"{console.issuer}/admin/providers/{provider_id}/mapping")
    await console.submit("claim", "add-role")
    await console.submit("claim", "add-group")
    kept = (
        {"role-0-expression": "true", "group-0-expression": "true"}
        if control in ("claims", "pattern", "names", "default_role")
        else {}
    )
    others = {"group-0-expression": "true"} if control.startswith("role") else {}
    others |= {"role-0-expression": "true"} if control.startswith("group") else {}
    page = await console.submit("claim", "try" if control == "claims" else "save", **kept, **others, **typed)
    assert page.status == 400
    assert page.texts[f"{control}-note"]
    fields = page.form_with("claim").fields
    assert all(fields[name] == value for name, value in typed.items()), "what was typed stays"
    assert await stored(api, provider_id) == before


async def test_rules_are_tried_with_claims_before_they_are_saved(console: Browser, api: Api, provider_id: str) -> None:
    role = str((await api.create("/roles", name=f"role-{secrets.token_hex(4)}"))["name"])
    group = f"eng-{secrets.token_hex(4)}"
    await console.open(f"{console.issuer}/admin/providers/{provider_id}/mapping")
    for button in ("add-role", "add-role", "add-role", "add-group", "add-group"):
        await console.submit("claim", button)
    claims = {"sub": "s", "email": "jane@corp.example", "email_verified": True, "teams": ["Leads"]}
    rules = {
        "role-0-expression": "'nobody' in groups", "role-0-given": "not-there",
        "role-1-expression": "'leads' in groups", "role-1-given": role,
        "role-2-expression": "claims.missing == 1", "role-2-given": "x",
        "group-0-expression": "email.endsWith('@corp.example')", "group-0-given": group,
        "group-1-expression": "false", "group-1-given": "nobody",
    }  # fmt: skip
    page = await console.submit("claim", "try", **rules, claims=json.dumps(claims))
    assert page.status == 200
    tried = page.texts["tried"]
    assert role in tried
    assert group in tried
    assert "not-there" not in tried
    for place, words in (
        ("role-0", "not true"),
        ("role-1", "true of"),
        ("group-0", "true of"),
        ("group-1", "not true"),
    ):
        assert words in page.texts[place], place
    assert "rule 3" in tried
    page = await console.submit("claim", "try", claims=json.dumps(claims | {"teams": []}), strict="1")
    assert "refused" in page.texts["tried"]
    assert (await stored(api, provider_id))["role_mapping"] is None
    assert (await api.get("/groups", full_name=group))["items"] == []


async def test_as_many_rules_as_a_provider_may_have_fit_into_the_form(
    console: Browser, api: Api, provider_id: str
) -> None:
    roles = [{"name": f"r-{place}", "expression": "true", "roles": ["x"]} for place in range(64)]
    groups = [{"expression": "true", "groups": ["g"]} for _ in range(64)]
    await api.change(f"/providers/{provider_id}", role_mapping={"rules": roles}, group_sync={"rules": groups})
    await console.open(f"{console.issuer}/admin/providers/{provider_id}/mapping")
    page = await console.submit("claim", "save", default_role="viewer")
    assert page.status == 200
    found = await stored(api, provider_id)
    assert (len(found["role_mapping"]["rules"]), len(found["group_sync"]["rules"])) == (64, 64)
    await console.submit("claim", "add-role")
    page = await console.submit("claim", "save", **{"role-64-expression": "true"})
    assert page.status == 400
