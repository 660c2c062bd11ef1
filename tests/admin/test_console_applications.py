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
