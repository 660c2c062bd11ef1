"""The certified `oidc-provider` upstream: pushed requests, private_key_jwt, DPoP with nonces, sign-outs both ways."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest
from joserfc.jwk import ECKey
from tests.flows.test_access_rules import eventually
from tests.interop.conftest import HERE

from watchword.embedded.process import free_port
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform
from watchword_testkit.signin import REDIRECT_URI, Party, SignIn

pytestmark = pytest.mark.interop

BYE = "https://app.example/bye"
KEY = ECKey.generate_key("P-256")
CLIENT = "watchword"
KEEPER_SECRET = secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Upstream:
    """The running provider, as configured here. keeper_id: under which it is configured for its tokens."""

    issuer: str
    provider_id: str
    keeper_id: str


@pytest.fixture(scope="module")
async def upstream(module_platform: Platform) -> AsyncIterator[Upstream]:
    """A provider in a process of Node's, at which anybody may sign in."""
    provider_id, port = f"Node-{secrets.token_hex(4)}", free_port()
    keeper_id = f"Keeper-{secrets.token_hex(4)}"
    sso = f"{module_platform.issuer}/api/auth/sso"
    client = {
        "client_id": CLIENT,
        "redirect_uris": [f"{sso}/callback/{provider_id}"],
        "post_logout_redirect_uris": [f"{sso}/logout/{provider_id}/done"],
        "backchannel_logout_uri": f"{sso}/backchannel-logout/{provider_id}",
        "backchannel_logout_session_required": True,
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [{**KEY.as_dict(private=False), "kid": "k1", "alg": "ES256", "use": "sig"}]},
        "id_token_signed_response_alg": "ES256",
        "dpop_bound_access_tokens": True,
        "require_pushed_authorization_requests": True,
    }
    keeper = {
        "client_id": "keeper",
        "client_secret": KEEPER_SECRET,
        "redirect_uris": [f"{sso}/callback/{keeper_id}"],
        "grant_types": ["authorization_code", "refresh_token"],
        "id_token_signed_response_alg": "ES256",
    }
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "upstream.mjs")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=None,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"port": port, "clients": [client, keeper]}).encode() + b"\n")
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield Upstream(json.loads(line)["issuer"], provider_id, keeper_id)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def configured(api: Api, upstream: Upstream) -> Upstream:
    """Configured once for the module: its id stands in what the provider knows of us."""
    body = {
        "preset": "oidc",
        "display_name": "Node",
        "issuer": upstream.issuer,
        "client_id": CLIENT,
        "token_endpoint_auth_method": "private_key_jwt",
        "private_key": KEY.as_pem(private=True).decode(),
        "private_key_id": "k1",
        "dpop": "required",
        "par": "required",
    }
    if (await api.call("GET", f"/providers/{upstream.provider_id}")).status_code == 404:
        await api.create("/providers", id=upstream.provider_id, enabled=True, **body)
    return upstream


async def arrive(browser: Browser, page: Page) -> Page:
    """The page at the end of the redirects, over origins; the one that leads to the application if one does."""
    for _ in range(20):
        if not page.location or page.location.startswith("https://app.example"):
            return page
        page = await browser.open(page.location)
    raise AssertionError(f"redirected without end: {page.url}")


async def sign_in(browser: Browser, party: Party, upstream: Upstream, provider_id: str = "") -> dict[str, str]:
    """The tokens of somebody who is new each time."""
    signing = SignIn(browser, party)
    await signing.start()
    page = await browser.click_soon(f"provider-{provider_id or upstream.provider_id}")
    if not provider_id:
        assert "request_uri=" in page.location, page.error_code
        assert "nonce=" not in page.location, "the request itself stays between the servers"
    page = await arrive(browser, page)
    page = await arrive(browser, await browser.submit("login", login=f"p{secrets.token_hex(4)}", password="x"))
    assert page.location.startswith(REDIRECT_URI), f"{page.url} {page.status} {page.error_code} {page.body[:500]}"
    return await signing.redeem()


async def confirmed(browser: Browser) -> Page:
    """After the provider's question whether to sign out there; its button stands outside of the form."""
    form = browser.page.form_with("xsrf")
    return await browser.send("POST", form.action, {**form.fields, "logout": "yes"})


async def is_active(party: Party, tokens: dict[str, str]) -> bool:
    return (await party.introspect(tokens["access_token"]))["active"] is True


@pytest.mark.spec(
    "RFC 9126 2; RFC 9126 2.1; RFC 9126 4; RFC 9449 4.2; RFC 9449 5; RFC 9449 7.1; RFC 9449 8; RFC 9449 8.2; "
    "RFC 9449 9; RFC 7523 2.2; RFC 7523 3; OpenID Connect Core 9"
)
async def test_everything_that_fapi_wants_towards_a_provider(
    platform: Platform, api: Api, canary: Canary, configured: Upstream
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.browser(canary) as browser:
        tokens = await sign_in(browser, party, configured)
        assert await is_active(party, tokens)
        attempts = await api.get(f"/upstream/attempts?provider_id={configured.provider_id}")
        assert attempts["items"] == []


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 2; OpenID Connect RP-Initiated Logout 3")
async def test_signing_out_here_signs_out_there_and_comes_back(
    platform: Platform, api: Api, canary: Canary, configured: Upstream
) -> None:
    party = await Party.registered(api, platform.issuer, canary, post_logout_redirect_uris=[BYE])
    async with platform.browser(canary) as browser:
        tokens = await sign_in(browser, party, configured)
        query = urlencode({"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": BYE, "state": "s1"})
        page = await browser.open(f"{platform.issuer}/oauth2/logout?{query}")
        assert page.location.startswith(f"{configured.issuer}/session/end?"), page.error_code
        assert not await is_active(party, tokens), "here it is over, whatever the provider does"
        await arrive(browser, page)
        page = await arrive(browser, await confirmed(browser))
        assert page.location == f"{BYE}?state=s1"


@pytest.mark.spec(
    "OpenID Connect Back-Channel Logout 2.4; OpenID Connect Back-Channel Logout 2.5; OpenID Connect Back-Channel Logout"
    " 2.6; OpenID Connect Back-Channel Logout 2.8"
)
async def test_signing_out_there_ends_everything_here(
    platform: Platform, api: Api, canary: Canary, configured: Upstream
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.browser(canary) as browser, platform.browser(canary) as another:
        tokens = await sign_in(browser, party, configured)
        others = await sign_in(another, party, configured)
        page = await arrive(browser, await browser.open(f"{configured.issuer}/session/end"))
        assert urlsplit(page.url).path == "/session/end"
        await confirmed(browser)

        async def has_ended() -> bool:
            return not await is_active(party, tokens)

        await eventually(has_ended)
        assert await is_active(party, others), "only that session"


@pytest.mark.spec("RFC 6749 6; OpenID Connect Core 12.2")
async def test_its_tokens_are_kept_and_renewed_for_an_application(
    platform: Platform, api: Api, canary: Canary, upstream: Upstream
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    await api.create(
        "/providers",
        id=upstream.keeper_id,
        preset="oidc",
        display_name="Node",
        issuer=upstream.issuer,
        client_id="keeper",
        client_secret=KEEPER_SECRET,
        keep_tokens=True,
        exchange={"clients": [{"client_id": party.client_id}]},
    )
    async with platform.browser(canary) as browser:
        tokens = await sign_in(browser, party, upstream, upstream.keeper_id)
    found = []
    async with httpx2.AsyncClient(trust_env=False, timeout=20.0) as http:
        for _ in range(2):
            answer = await http.post(
                f"{platform.issuer}/api/auth/sso/token/{upstream.keeper_id}",
                data={"requested_token_type": "urn:ietf:params:oauth:token-type:access_token"},
                headers={"Authorization": f"Bearer {tokens['access_token']}"},
            )
            assert answer.status_code == 200, answer.text
            found.append(answer.json()["access_token"])
        said = await http.get(f"{upstream.issuer}/me", headers={"Authorization": f"Bearer {found[-1]}"})
    assert found[0] != found[1], "each is over soon, and the refresh token is good once"
    assert said.json()["email"].endswith("@upstream.test")
