"""A whole sign-in through an OpenID provider that somebody else wrote: oidc-provider-mock from PyPI."""

import base64
import json
import secrets

import pytest

from watchword_database import transaction
from watchword_events.names import Service
from watchword_federation import store
from watchword_federation.flows import hash_of
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock


@pytest.fixture
async def mock_provider(api: Api, mock_issuer: str) -> str:
    """The id under which an administrator configured it."""
    return await configure_mock(api, mock_issuer)


async def test_a_new_kind_of_provider_needs_one_yaml_file(
    platform: Platform, api: Api, mock_issuer: str, canary: Canary
) -> None:
    """The preset `mock` is a file in a directory that the installation's settings name."""
    made = await api.create(
        "/providers",
        id=f"Preset-{secrets.token_hex(4)}",
        preset="mock",
        base=mock_issuer,
        client_id=f"watchword-{secrets.token_hex(4)}",
        client_secret="mock-secret-4711",
    )
    assert (made["display_name"], made["issuer"], made["parameters"]) == ("Mock", mock_issuer, {"base": mock_issuer})
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.browser(canary) as browser:
        tokens = await SignIn(browser, party).through(str(made["id"]), sub="bob")
    assert claims_of(tokens["id_token"])["name"] == "Bob"


def claims_of(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


async def test_a_person_signs_in_through_it_twice_and_is_the_same_user(
    platform: Platform, api: Api, mock_provider: str, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    subjects = set()
    for _ in range(2):
        async with platform.browser(canary) as browser:
            tokens = await SignIn(browser, party).through(mock_provider, sub="alice")
            claims = claims_of(tokens["id_token"])
            assert claims["name"] == "Alice"
            assert str(claims["email"]).startswith("alice-")
            subjects.add(claims["sub"])
    assert len(subjects) == 1


async def test_a_session_that_ends_there_while_the_sign_in_is_on_its_way_never_begins_here(
    api: Api, platform: Platform, mock_provider: str, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    await SignIn(browser_session, party).start()
    page = await browser_session.click_soon(f"provider-{mock_provider}")
    await browser_session.open(page.location)
    async with transaction(platform.database.open(Service.FEDERATION)) as session:  # as its logout token does
        await store.note_ended(session, mock_provider, subject_hash=hash_of("alice"), session_hash=None, now=utc_now())
    page = await browser_session.submit("sub", sub="alice")
    assert (page.status, page.error_code) == (403, "access_denied")


async def test_a_denial_that_forgets_the_state_is_nobodys_answer(
    api: Api, platform: Platform, mock_provider: str, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    await SignIn(browser_session, party).start()
    page = await browser_session.click_soon(f"provider-{mock_provider}")
    await browser_session.open(page.location)
    page = await browser_session.submit("action", "deny")
    # RFC 6749 4.1.2.1 requires it also beside an error; this provider leaves it out.
    assert "error=access_denied" in page.url
    assert "state=" not in page.url
    assert (page.status, page.error_code) == (400, "state_mismatch")
