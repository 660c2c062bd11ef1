"""What would become of somebody, without anything becoming of anybody."""

import secrets

import httpx2
import pytest
from tests.directory.conftest import Configure, Register

from watchword_policy.engine import MAX_SOURCE
from watchword_testkit.api import Api


@pytest.mark.seed(103)
async def test_a_preview_says_what_would_happen_and_changes_nothing(
    api: Api, configure: Configure, register: Register
) -> None:
    role = str((await api.create("/roles", name=f"role-{secrets.token_hex(5)}"))["name"])
    group, existing = f"eng-{secrets.token_hex(5)}", f"eng-{secrets.token_hex(5)}"
    await api.create("/groups", name=existing)
    rule = {"name": "writers", "expression": "'writers' in groups", "roles": [role, "not-there"]}
    provider = await configure(
        role_mapping={"rules": [rule], "strict": True},
        group_sync={"pattern": "^eng-"},
        allowed_email_domains=["corp.example"],
    )
    user = await register()

    async def preview(**claims: object) -> dict[str, object]:
        return await api.create("/identities/preview", provider_id=provider, claims=claims)

    groups = ["Writers", group, existing]
    known = {"sub": "s-1", "email": f"{secrets.token_hex(4)}@corp.example", "email_verified": True, "groups": groups}
    found = await preview(**known)
    assert found == {
        "outcome": "new",
        "error": None,
        "user_id": None,
        "organization": None,
        "email": known["email"],
        "email_verified": True,
        "rule": "writers",
        "why": "writers is the first rule that is true.",
        "roles": [role],
        "unknown_roles": ["not-there"],
        "groups": sorted([group, existing]),
        "new_groups": [group],
        "role_rules": [1],
        "group_rules": [],
        "rule_failures": [],
    }
    clash = await preview(**known | {"email": user["email"]})
    assert (clash["outcome"], clash["user_id"]) == ("prove", user["id"])
    assert (await preview(**known | {"groups": []}))["error"] == "access_denied"
    assert (await preview(**known | {"email_verified": "true"}))["error"] == "email_domain_not_allowed"
    assert (await api.get("/identities", provider_id=provider))["items"] == []
    assert (await api.get("/groups", full_name=group))["items"] == []


async def test_a_preview_of_no_provider_is_refused(api: Api) -> None:
    answer = await api.call("POST", "/identities/preview", {"provider_id": "nowhere", "claims": {}})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "#/provider_id"


async def test_rules_that_nobody_saved_are_tried_and_rules_that_cannot_be_are_refused(
    api: Api, configure: Configure
) -> None:
    provider = await configure(default_role="stored")

    async def tried(as_if: dict[str, object]) -> httpx2.Response:
        body = {"provider_id": provider, "claims": {"sub": "s", "groups": ["A"]}, "as_if": as_if}
        return await api.call("POST", "/identities/preview", body)

    rules = [{"expression": source, "roles": ["r"]} for source in ("'b' in groups", "'a' in groups", "1 +", "true")]
    found = (await tried({"role_mapping": {"rules": rules}, "group_sync": {"names": {"a": "here"}}})).json()
    assert (found["role_rules"], found["unknown_roles"], found["groups"]) == ([2, 4], ["r"], ["here"])
    assert (await tried({})).json()["unknown_roles"] == [], "what is left out is none, not what is stored"
    assert (await tried({"role_mapping": {"strict": True}})).json()["error"] == "access_denied"
    for wrong in (
        {"role_mapping": {"rules": [{"expression": "true"}] * 129}},
        {"role_mapping": {"rules": [{"expression": "x" * (MAX_SOURCE + 1)}]}},
        {"group_sync": {"pattern": "("}},
        {"linking": "trusted"},
        {"role_mapping": []},
    ):
        answer = await tried(wrong)
        assert answer.status_code == 400, answer.text


VOUCHED: dict[str, tuple[dict[str, object], object, bool]] = {
    "a text where the provider writes one": ({"preset": "linkedin"}, "true", True),
    "a text where it does not": ({"preset": "oidc"}, "true", False),
    "an address outside of Google": ({"preset": "google"}, True, False),
    "a provider that is never believed": ({"preset": "oidc", "email_trust": "never"}, True, False),
    "a provider that is always believed": ({"preset": "oidc", "email_trust": "always"}, None, True),
}


@pytest.mark.row(41)
@pytest.mark.parametrize(("settings", "said", "is_verified"), VOUCHED.values(), ids=VOUCHED)
async def test_a_preview_believes_what_a_sign_in_would(
    api: Api, configure: Configure, settings: dict[str, object], said: object, is_verified: bool
) -> None:
    provider = await configure(**settings)
    claims = {"sub": "s-1", "email": f"{secrets.token_hex(4)}@corp.example", "email_verified": said}
    found = await api.create("/identities/preview", provider_id=provider, claims=claims)
    assert found["email_verified"] is is_verified
