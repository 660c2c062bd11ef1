"""The form of an application: whatever client it shows, saving it changes what was changed, and nothing else."""

import json
import secrets
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from tests.admin.conftest import Make

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.holder import Holder
from watchword_testkit.platform import Platform

JWKS: Final = json.loads(json.dumps(Holder().jwks))
ALL_GRANTS: Final = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
)
NO_CODE: Final[dict[str, Any]] = {"redirect_uris": [], "response_types": []}
KINDS: Final[dict[str, dict[str, Any]]] = {
    "as usual": {},
    "every grant": {"grant_types": ALL_GRANTS},
    "implicit": {"grant_types": ["implicit", "authorization_code"], "response_types": ["code", "id_token token"]},
    "a device": {"grant_types": [ALL_GRANTS[3], "refresh_token"], **NO_CODE},
    "a service": {"grant_types": ["client_credentials"], **NO_CODE, "client_ip_ranges": ["192.0.2.0/24"]},
    "tokens that are exchanged": {
        "grant_types": ["client_credentials", ALL_GRANTS[4]],
        "exchange_policies": [{"audiences": ["https://api.example.com"], "scope": "openid"}],
        **NO_CODE,
    },
    "trusted issuers": {"grant_types": [ALL_GRANTS[5]], **NO_CODE},
    "public": {"token_endpoint_auth_method": "none"},
    "a secret in the form": {"token_endpoint_auth_method": "client_secret_post"},
    "a secret that signs": {"token_endpoint_auth_method": "client_secret_jwt"},
    "a key": {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS},
    "keys at an address": {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example.com/keys"},
    "a certificate": {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "app.example.com"},
    "a certificate of its own": {
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": [{**JWKS["keys"][0], "x5c": ["MIIB"]}]},
    },
    "as strict as banks": {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS, "profile": "fapi2"},
    "opaque": {"access_token_format": "opaque"},
    "a life of its own": {"access_token_lifetime_s": 1234},
    "what has no control of the main part": {
        "backchannel_logout_uri": "https://app.example.com/out",
        "backchannel_logout_session_required": True,
        "frontchannel_logout_uri": "https://app.example.com/frame",
        "contacts": ["Ada Lovelace <ada@example.com>", "Charles"],
        "groups_filter": ["^team a", "b$"],
        "permission_scope": [],
        "required_permission": "tickets:use",
        "access": "rules",
        "refresh_idle_s": 3600,
        "refresh_max_s": 7200,
        "subject_type": "pairwise",
        "response_modes": ["query", "form_post.jwt"],
        "response_types": ["code"],
        "id_token_signed_response_alg": "RS256",
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
    },
}


@pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)
async def test_saving_what_was_shown_changes_nothing(
    platform: Platform, console: Browser, make_client: Make, api: Api, given: dict[str, Any]
) -> None:
    made = await make_client(**given)
    path = f"/clients/{made['client_id']}"
    before = await api.get(path)
    await console.open(f"{platform.issuer}/admin/applications/{made['client_id']}/edit")
    page = await console.submit("client_name", "save")
    assert urlsplit(page.url).path == f"/admin/applications/{made['client_id']}", page.texts
    assert await api.get(path) == before
    await console.click("edit")
    await console.submit("client_name", "save", description="Changed")
    after = await api.get(path)
    own = {"description": "Changed", "version": after["version"], "updated_at": after["updated_at"]}
    assert after == before | own


async def test_a_life_that_follows_the_format_goes_on_following(
    platform: Platform, console: Browser, make_client: Make, api: Api
) -> None:
    made = await make_client()
    path = f"/clients/{made['client_id']}"
    page = await console.open(f"{platform.issuer}/admin/applications/{made['client_id']}/edit")
    assert page.form_with("client_name").fields["access_token_lifetime_s"] == ""
    await console.submit("client_name", "save", access_token_format="opaque")
    assert (await api.get(path))["access_token_lifetime_s"] == 36_000
    await console.click("edit")
    await console.submit("client_name", "save", access_token_lifetime_s="60")
    assert (await api.get(path))["access_token_lifetime_s"] == 60
    await console.click("edit")
    await console.submit("client_name", "save", access_token_lifetime_s="", access_token_format="jwt")
    assert (await api.get(path))["access_token_lifetime_s"] == 300


async def test_every_grant_and_every_way_to_prove_itself_can_be_chosen(
    platform: Platform, console: Browser, api: Api
) -> None:
    page = await console.open(f"{platform.issuer}/admin/applications/new")
    controls = {name for name in page.form_with("client_name").fields if name.startswith("grant_")}
    assert len(controls) == len({*ALL_GRANTS, "implicit"})
    name = f"All {secrets.token_hex(4)}"
    wanted = dict.fromkeys(controls - {"grant_implicit"}, "1")
    page = await console.submit(
        "client_name", "save", client_name=name, redirect_uris="https://a.example.com/cb", **wanted
    )
    assert page.status == 201, page.body
    made = await api.get(f"/clients/{page.texts['client-id']}")
    assert made["grant_types"] == list(ALL_GRANTS)
    for method in ("client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"):
        assert f'<option value="{method}">' in (await console.send("GET", "/admin/applications/new")).body


# What the section for everything else says, as it is typed, and what the API then has.
TYPED: Final[dict[str, tuple[str, object]]] = {
    "logo_uri": ("https://app.example.com/logo.png", "https://app.example.com/logo.png"),
    "contacts": ("Ada Lovelace <ada@example.com>\r\nCharles", ["Ada Lovelace <ada@example.com>", "Charles"]),
    "backchannel_logout_uri": ("https://app.example.com/out", "https://app.example.com/out"),
    "backchannel_logout_session_required": ("1", True),
    "refresh_idle_s": ("3600", 3600),
    "refresh_max_s": ("7200", 7200),
    "access": ("rules", "rules"),
    "required_permission": ("tickets:use", "tickets:use"),
    "permission_scope": ('["tickets:use"]', ["tickets:use"]),
    "client_ip_ranges": ("192.0.2.0/24\r\n2001:db8::/32", ["192.0.2.0/24", "2001:db8::/32"]),
    "jwks": (json.dumps(JWKS), JWKS),
    "require_pushed_authorization_requests": ("1", True),
    "request_object_signing_alg": ("ES256", "ES256"),
    "subject_type": ("pairwise", "pairwise"),
    "groups_filter": ("^team a\r\nb$", ["^team a", "b$"]),
    "max_token_bytes": ("4096", 4096),
    "id_token_signed_response_alg": ("RS256", "RS256"),
    "response_modes": ("query\r\nform_post.jwt", ["query", "form_post.jwt"]),
}


async def test_what_is_everything_else_can_be_said_and_taken_back(
    platform: Platform, console: Browser, make_client: Make, api: Api
) -> None:
    made = await make_client()
    organization = await api.create("/organizations", short_name=f"s{secrets.token_hex(4)}", name="App's")
    path = f"/clients/{made['client_id']}"
    before = await api.get(path)
    edit = f"{platform.issuer}/admin/applications/{made['client_id']}/edit"
    shown = (await console.open(edit)).form_with("client_name").fields
    typed = {name: text for name, (text, _) in TYPED.items()} | {"organization": str(organization["short_name"])}
    await console.submit("client_name", "save", **typed)
    after = await api.get(path)
    assert {name: after[name] for name in TYPED} == {name: value for name, (_, value) in TYPED.items()}
    assert after["organization"] == organization["id"]
    await console.open(edit)
    assert console.page.form_with("client_name").fields["organization"] == organization["short_name"]
    await console.submit("client_name", "save", **{name: shown[name] for name in typed})
    own = ("version", "updated_at")
    back = await api.get(path)
    assert {**back, **{name: before[name] for name in own}} == before


REFUSED: Final = {
    "jwks": ("{", '{"keys": []}', "5", '{"keys": [{"kty": "oct", "k": "AAAA"}]}', "[" * 2000),
    "exchange_policies": ("5", "[1]", '{"audiences": []}', "[{}]"),
    "permission_scope": ('{"a": 1}', '["watchword:nothing"]', "tickets:use"),
    "refresh_idle_s": ("x", "-1", "1e9", "9" * 40, "0"),
    "backchannel_logout_uri": ("javascript:alert(1)", "app"),
    "frontchannel_logout_uri": ("https://elsewhere.example/",),
    "client_ip_ranges": ("nowhere", "192.0.2.1/24"),
    "groups_filter": ("(", "(?=a)"),
    "max_token_bytes": ("1",),
    "organization": ("no-such-organization",),
    "response_modes": ("smoke",),
    "response_types": ("token",),
    "access": ("closed",),
    "tls_client_auth_san_dns": ("app.example.com",),
    "sector_identifier_uri": ("https://app.example.com/sector",),
    "contacts": ("x\n" * 17, "y" * 300),
}


@pytest.mark.parametrize(
    ("name", "typed"), [(name, typed) for name, each in REFUSED.items() for typed in each], ids=str
)
async def test_what_is_wrong_with_everything_else_stands_beside_its_control(
    platform: Platform, console: Browser, make_client: Make, api: Api, name: str, typed: str
) -> None:
    made = await make_client()
    await console.open(f"{platform.issuer}/admin/applications/{made['client_id']}/edit")
    page = await console.submit("client_name", "save", **{name: typed})
    assert page.status == 400, page.body
    assert page.texts[f"{name}-note"] != page.form_with("client_name").fields[name]
    assert f'<div class="field wrong">\n<label for="{name}">' in page.body
    assert (await api.get(f"/clients/{made['client_id']}"))["version"] == 1


async def test_the_page_of_an_application_leads_to_it_and_to_decisions(console: Browser, make_client: Make) -> None:
    client = await make_client(main_uri="https://app.example.com/start")
    page = await console.open(f"{console.issuer}/admin/applications/{client['client_id']}")
    assert page.links["open"] == "https://app.example.com/start"
    assert page.texts["discovery"] == f"{console.issuer}/.well-known/openid-configuration"
    page = await console.click("decisions")
    assert page.status == 200
    client = await make_client()
    page = await console.open(f"{console.issuer}/admin/applications/{client['client_id']}")
    assert not page.has("open")


async def test_a_sign_in_is_tried_for_somebody(console: Browser, platform: Platform, api: Api) -> None:
    name = f"trial-{secrets.token_hex(4)}"
    await api.create("/users", username=name, name="Try <Me>", groups=["ops"])
    client = await api.create(
        "/clients", client_name="Tried", redirect_uris=["https://tried.example/cb"], scope="openid groups",
        access="rules", require_consent=True,
    )  # fmt: skip
    await console.open(f"{console.issuer}/admin/applications/{client['client_id']}")
    page = await console.click("try-sign-in")
    assert page.form_with("username").fields["username"] == platform.admin.username, "oneself"
    page = await console.submit("username", "try", username="nobody-of-this-name")
    assert page.status == 400
    assert "there is nobody with this user name" in page.texts["username-note"]
    page = await console.submit("username", "try", username=name)
    assert page.status == 200, page.texts
    assert page.texts["outcome"].startswith("Try <Me> would not be let in")
    rule = await api.create("/rules", name=name, expression="'ops' in groups", clients=[client["client_id"]])
    page = await console.submit("username", "try", username=name, scope="openid groups profile")
    assert page.texts["outcome"].startswith("Try <Me> would be let in")
    assert (page.texts["rule"], page.texts["consent"]) == (name, "is asked for")
    assert page.texts["scope-granted"] == "groups openid"
    for where in ("id-token", "userinfo"):
        assert json.loads(page.texts[where])["groups"] == ["ops"]
    assert json.loads(page.texts["access-token"])["client_id"] == client["client_id"]
    page = await console.submit("username", "try", username=name, redirect_uri="https://evil.example/")
    assert "invalid_redirect_uri" in page.texts["outcome"]
    assert not page.has("id-token")
    page = await console.submit("username", "try", username=name, address="here")
    assert page.status == 400
    assert page.texts["address-note"]
    await api.delete(f"/rules/{rule['id']}")
    await api.delete(f"/clients/{client['client_id']}")
