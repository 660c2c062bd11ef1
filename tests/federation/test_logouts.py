"""Sessions at OpenID providers end with ours and ours with theirs, each for whom it is said, and people read where."""

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.federation.test_consumers import rows
from tests.federation.test_oidc import with_claims
from tests.federation.test_oidc_depth import logout_token
from tests.federation.test_routes import configured
from tests.flows.test_access_rules import eventually

from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

SESSIONS = "SELECT id FROM federation.upstream_session WHERE provider_id = $1"
TENANTS = ("11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002")
BOTH, HERE = "Here, and at your identity provider.", "you may still be signed in"


@dataclass
class Someone:
    """A person who signed in to an application through the provider."""

    browser: Browser
    party: Party
    tokens: dict[str, str]

    async def is_over(self) -> bool:
        return not (await self.party.introspect(self.tokens["access_token"]))["active"]


async def sign_in(
    platform: Platform, party: Party, upstream: Any, provider_id: str, browser: Browser, **claims: object
) -> Someone:
    signing_in = SignIn(browser, party)
    await signing_in.start()
    page = await browser.click_soon(f"provider-{provider_id}")
    upstream.alter = with_claims(**claims)
    query = urlencode(upstream.authorize(page.location))
    await browser.open(f"{platform.issuer}/api/auth/sso/callback/{provider_id}?{query}")
    return Someone(browser, party, await signing_in.redeem())


@pytest.mark.spec("OpenID Connect Back-Channel Logout 2.6; OpenID Connect Core 2")
@pytest.mark.parametrize("named", [{"sid": ...}, {"sub": ...}, {}], ids=["a subject", "a session", "both"])
async def test_a_tenant_ends_sessions_of_its_own_people_alone(
    platform: Platform, api: Api, upstream: Any, browser_session: Browser, named: dict[str, Any]
) -> None:
    """Subjects and sessions of two tenants may have one name: what is said of one is not said of the other."""
    subject = secrets.token_hex(8)
    upstream.user = {"sub": subject}
    pattern = f"{upstream.issuer}/{{tenantid}}/v2.0"
    upstream.metadata |= {"issuer": pattern, "backchannel_logout_supported": True}
    provider_id = await configured(api, upstream, issuer_template=pattern, userinfo="never")
    party = await Party.registered(api, platform.issuer)
    people = []
    for tenant, browser in zip(TENANTS, (browser_session, platform.browser()), strict=True):
        issuer = pattern.replace("{tenantid}", tenant)
        claims = {"iss": issuer, "tid": tenant, "sid": "s1", "email": f"{tenant}-{subject}@acme.test"}
        people.append(await sign_in(platform, party, upstream, provider_id, browser, **claims))
    assert len(await rows(platform, SESSIONS, provider_id)) == 2
    said = {"iss": pattern.replace("{tenantid}", TENANTS[0]), "tid": TENANTS[0], "sub": subject, **named}
    token = logout_token(upstream, utc_now().timestamp(), jti=secrets.token_hex(8), **said)
    async with http_client() as http:
        url = f"{platform.issuer}/api/auth/sso/backchannel-logout/{provider_id}"
        answer = await http.post(url, data={"logout_token": token})
    assert answer.status_code == 200, answer.text
    assert len(await rows(platform, SESSIONS, provider_id)) == 1
    await eventually(people[0].is_over)
    assert not await people[1].is_over()
    # Nor does it refuse who is on the way from the other tenant.
    browser, issuer = platform.browser(), pattern.replace("{tenantid}", TENANTS[1])
    claims = {"iss": issuer, "tid": TENANTS[1], "sid": "s1", "email": f"{TENANTS[1]}-{subject}@acme.test"}
    assert await sign_in(platform, party, upstream, provider_id, browser, **claims)


@pytest.fixture
async def someone(platform: Platform, api: Api, upstream: Any, browser_session: Browser) -> tuple[Someone, str]:
    """And the provider, which takes people to be signed out there."""
    name = secrets.token_hex(8)
    upstream.user = {"sub": name, "email": f"{name}@acme.test"}
    upstream.metadata["end_session_endpoint"] = f"{upstream.issuer}/end"
    provider_id = await configured(api, upstream, userinfo="never")
    party = await Party.registered(api, platform.issuer)
    return await sign_in(platform, party, upstream, provider_id, browser_session), provider_id


async def signed_out(platform: Platform, browser: Browser) -> None:
    """By the form, from a page that knows of no application to go back to."""
    await browser.open(f"{platform.issuer}/oauth2/logout")
    await browser.submit("csrf", "sign-out")
    await browser.click("continue-sign-out")


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 3")
async def test_the_page_says_where_the_person_is_signed_out(
    platform: Platform, upstream: Any, someone: tuple[Someone, str]
) -> None:
    browser, provider_id = someone[0].browser, someone[1]
    await signed_out(platform, browser)
    assert browser.page.location.startswith(f"{upstream.issuer}/end?"), browser.page.body
    (state,) = parse_qs(urlsplit(browser.page.location).query)["state"]
    done = f"{platform.issuer}/api/auth/sso/logout/{provider_id}/done"
    assert HERE in (await browser.open(f"{done}?state=x")).body, "of which nobody asked the provider"
    assert BOTH in (await browser.open(f"{done}?state={state}")).body
    assert HERE in (await browser.open(f"{done}?state={state}")).body, "once"


async def test_the_page_says_when_the_provider_was_not_asked(
    platform: Platform, api: Api, someone: tuple[Someone, str]
) -> None:
    browser, provider_id = someone[0].browser, someone[1]
    await api.change(f"/providers/{provider_id}", single_logout=False)
    await signed_out(platform, browser)
    assert (browser.page.status, browser.page.location) == (200, "")
    assert HERE in browser.page.body
    assert BOTH not in browser.page.body
