"""Presets of providers: every file is right, fills in what it promises, and asks for nothing else."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.admin.conftest import Make

from watchword_admin import provider_kinds
from watchword_admin.presets import Preset, Presets, said
from watchword_testkit.api import Api

PRESETS = Presets.load()
_EXAMPLES = {"host": "login.acme.example", "url": "https://login.acme.example", "list": ["one"], "choice": "com"}

# What an administrator says, and what comes of it.
FILLED: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "okta": (
        {"domain": "https://acme.okta.com/"},
        {"issuer": "https://acme.okta.com", "dpop": "auto", "groups_claim": "groups", "display_name": "Okta"},
    ),
    "okta with an authorization server": (
        {"preset": "okta", "domain": "acme.okta.com", "authorization_server": "default"},
        {"issuer": "https://acme.okta.com/oauth2/default"},
    ),
    "google": ({}, {"issuer": "https://accounts.google.com", "email_trust": "google", "required_claims": {}}),
    "google for a Workspace": (
        {"preset": "google", "hosted_domains": "acme.example, acme.test"},
        {"required_claims": {"hd": ("acme.example", "acme.test")}},
    ),
    "github": (
        {},
        {
            "kind_of": "oauth2",
            "pkce": True,
            "authorization_endpoint": "https://github.com/login/oauth/authorize",
            "userinfo_endpoint": "https://api.github.com/user",
            "scopes": ("read:user", "user:email"),
        },
    ),
    "github enterprise": (
        {"preset": "github", "url": "https://git.acme.example", "api_url": "https://git.acme.example/api/v3/"},
        {"userinfo_endpoint": "https://git.acme.example/api/v3/user", "issuer": "https://git.acme.example"},
    ),
    "gitlab": ({}, {"issuer": "https://gitlab.com", "scopes": ("openid", "email", "profile"), "userinfo": "required"}),
    "gitlab of one's own": (
        {"preset": "gitlab", "url": "https://acme.example/gitlab/"},
        {"issuer": "https://acme.example/gitlab"},
    ),
    "entra": (
        {"tenant": "4a3b-0001"},
        {
            "issuer": "https://login.microsoftonline.com/4a3b-0001/v2.0",
            "issuer_template": "https://login.microsoftonline.com/{tenantid}/v2.0",
            "claims": {"sub": "oid", "email_verified": "xms_edov"},
            "required_claims": {},
        },
    ),
    "auth0": ({"domain": "acme.eu.auth0.com"}, {"issuer": "https://acme.eu.auth0.com/"}),
    "keycloak": (
        {"url": "https://kc.acme.example", "realm": "my team", "back_channel_url": "http://10.0.0.7:8080"},
        {
            "issuer": "https://kc.acme.example/realms/my%20team",
            "back_channel_base": "http://10.0.0.7:8080/realms/my%20team",
        },
    ),
    "keycloak without another address": (
        {"preset": "keycloak", "url": "https://kc.acme.example/auth", "realm": "team"},
        {"issuer": "https://kc.acme.example/auth/realms/team", "back_channel_base": None},
    ),
    "keycloak-saml": (
        {"url": "https://kc.acme.example", "realm": "team"},
        {"metadata_url": "https://kc.acme.example/realms/team/protocol/saml/descriptor", "signature": "response"},
    ),
    "said wins": (
        {"preset": "okta", "domain": "acme.okta.com", "scopes": ["openid"], "issuer": "https://login.acme.example"},
        {"issuer": "https://login.acme.example", "scopes": ("openid",)},
    ),
}


def members(preset: Preset) -> dict[str, Any]:
    """What an administrator would say at least."""
    found: dict[str, Any] = {"id": "P", "preset": preset.preset}
    for field in preset.fields:
        if field.required:
            found[field.name] = _EXAMPLES.get(field.kind, "word")
    if preset.preset == preset.kind:
        found["display_name"] = "P"
    return found


@pytest.mark.parametrize("preset", PRESETS.all, ids=lambda preset: preset.preset)
def test_every_preset_needs_only_what_it_asks_for_at_once(preset: Preset) -> None:
    asked = {field.name for field in preset.fields[: preset.first]}
    assert {field.name for field in preset.fields if field.required} <= asked
    given = members(preset)
    if preset.preset == "saml":
        given["metadata_url"] = "https://login.acme.example/metadata"
    if preset.preset == "oauth2":
        given["claims"] = {"sub": "id"}
    made = provider_kinds.new_provider(PRESETS, given)
    assert made.kind_of == preset.kind
    assert set(made.filled) <= set(preset.sets)
    assert preset.docs_url.startswith("https://")
    assert preset.steps
    for name in preset.sets:
        assert name in type(made).model_fields, f"{preset.preset} sets {name}, which does not exist"


@pytest.mark.parametrize("case", FILLED)
@pytest.mark.seed(81, 82, 83, 84, 85, 88, 92)
def test_what_a_preset_fills_in(case: str) -> None:
    given, expected = FILLED[case]
    preset = PRESETS.of({"preset": case} | given)
    made = provider_kinds.new_provider(PRESETS, members(preset) | given)
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize("preset", ["okta", "keycloak", "auth0", "entra", "pingone"])
def test_an_issuer_stands_for_what_it_would_be_made_of(preset: str) -> None:
    given = {"id": "P", "client_id": "x", "preset": preset, "issuer": "https://login.acme.example"}
    made = provider_kinds.new_provider(PRESETS, given)
    document = provider_kinds.document_in(provider_kinds.settings_in(made, set()))
    said_of_it = document.model_dump(mode="json", exclude_defaults=True)
    assert said_of_it["issuer"] == "https://login.acme.example"
    assert not [value for value in said_of_it.values() if isinstance(value, str) and ("//" in value) > ("://" in value)]
    assert said_of_it.get("end_session_endpoint") is None
    assert set(PRESETS.of({"preset": preset}).derived) & set(made.filled) <= {"issuer_template", "required_claims"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        pytest.param({"preset": "okta", "domain": None}, "domain", id="a field of its own is missing"),
        pytest.param({"preset": "okta", "domain": "acme.okta.com/../x"}, "domain", id="a path for a host"),
        pytest.param({"preset": "okta", "domain": "a@b"}, "domain", id="a user for a host"),
        pytest.param({"preset": "okta", "domain": {"a": 1}}, "domain", id="an object for a host"),
        pytest.param({"preset": "keycloak", "url": "javascript:1", "realm": "r"}, "url", id="a script for an address"),
        pytest.param({"preset": "keycloak", "url": "https://a/{realm}", "realm": "r"}, "url", id="braces"),
        pytest.param({"preset": "google", "hosted_domains": [{"a": 1}]}, "hosted_domains", id="an object in a list"),
        pytest.param({"preset": "pingone", "region": "xyz"}, "region", id="no such choice"),
        pytest.param({"preset": "google", "domain": "acme.example"}, "domain", id="a field of another preset"),
        pytest.param({"preset": "Okta"}, "preset", id="another spelling of a preset"),
        pytest.param({"preset": ["okta"]}, "preset", id="a list of presets"),
        pytest.param(
            {"preset": "google", "authorization_parameters": {"state": "x"}},
            "authorization_parameters",
            id="a parameter of ours",
        ),
        pytest.param({"preset": "google", "private_key": "x"}, "private_key", id="no key at all"),
        pytest.param({"preset": "google", "domains": ["ac me"]}, "domains", id="no domain"),
        pytest.param({"preset": "google", "root_ca": "x"}, "root_ca", id="no certificate"),
        pytest.param({"preset": "github", "claims": {"name": "name"}}, "claims", id="nobody to recognise"),
        pytest.param({"preset": "apple", "client_secret": "x", "team_id": "T"}, "client_secret", id="a secret"),
    ],
)
def test_what_cannot_be_meant_is_refused_beside_its_field(given: dict[str, object], field: str) -> None:
    defaults = {"id": "P", "client_id": "x"}
    with pytest.raises(ValidationError) as refused:
        provider_kinds.new_provider(PRESETS, defaults | given)
    assert field in {str(each["loc"][0]) for each in refused.value.errors()}


def test_what_was_said_can_be_told_from_what_was_filled() -> None:
    given = {"id": "P", "preset": "okta", "client_id": "x", "domain": "acme.okta.com", "scopes": ["openid", "groups"]}
    document = provider_kinds.document_in(
        provider_kinds.settings_in(provider_kinds.new_provider(PRESETS, given), set())
    )
    kept = said(document.model_dump(mode="json", exclude_defaults=True) | {"filled": list(document.filled)})
    assert kept == {"preset": "okta", "client_id": "x", "domain": "acme.okta.com", "scopes": ["openid", "groups"]}


async def test_a_changed_field_changes_what_was_made_of_it(api: Api, make_provider: Make) -> None:
    made = await api.create("/providers", id=f"P-{secrets.token_hex(4)}", preset="keycloak", client_id="x",
                            url="https://kc.acme.example", realm="one")  # fmt: skip
    path = f"/providers/{made['id']}"
    assert (await api.change(path, realm="two"))["issuer"] == "https://kc.acme.example/realms/two"
    assert (await api.change(path, issuer="https://kc.test/realms/x"))["issuer"] == "https://kc.test/realms/x"
    assert (await api.change(path, realm="three"))["issuer"] == "https://kc.test/realms/x", "it was said"
    assert (await api.change(path, issuer=None))["issuer"] == "https://kc.acme.example/realms/three"
    assert (await api.change(path, scopes=["openid"]))["scopes"] == ["openid"]
    refused = await api.call("PATCH", path, {"realm": None})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "#/realm"
    assert (await api.get(path))["kind"] == "oidc"


async def test_the_api_says_what_each_preset_asks_for(api: Api) -> None:
    listed = {each["preset"]: each for each in (await api.get("/providers/presets"))["items"]}  # type: ignore[attr-defined]
    okta = listed["okta"]
    assert [field["name"] for field in okta["fields"][: okta["first"]]][:3] == ["domain", "client_id", "client_secret"]
    assert [field["name"] for field in okta["fields"] if field["required"]] == ["domain", "client_id"]
    assert okta["callback"] == "/api/auth/sso/callback/{id}"
    assert "mock" in listed, "of the directory that the settings name"


@pytest.mark.parametrize(
    "text",
    ["{", "display_name: A", "display_name: A\nkind: wsfed\ndocs_url: x\nasks: []\nsteps: []\n",
     "display_name: A\nkind: oidc\ndocs_url: x\nasks: [{name: a, label: A, kind: colour}]\nsteps: []\n",
     "display_name: A\nkind: oidc\ndocs_url: x\nasks: [no_such_field]\nsteps: []\n"],
    ids=["no YAML", "half a preset", "no such protocol", "no such control", "no such field"],
)  # fmt: skip
def test_a_bad_file_stops_the_start_and_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "acme.yaml").write_text(text)
    with pytest.raises(SystemExit, match="acme"):
        Presets.load(tmp_path)
