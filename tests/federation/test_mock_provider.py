"""A whole sign-in through an OpenID provider that somebody else wrote: oidc-provider-mock from PyPI."""

import base64
import json
import secrets
from collections.abc import Iterator

import oidc_provider_mock
import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn


@pytest.fixture(scope="module")
def mock_issuer() -> Iterator[str]:
    """The issuer of a provider at which alice and bob are known."""
    users = [
        oidc_provider_mock.User(
            sub=name,
            claims={
                "email": f"{name}-{secrets.token_hex(4)}@mock.test",
                "email_verified": True,
                "name": name.title(),
                "groups": ["dev"],
            },
        )
        for name in ("alice", "bob")
    ]
    with oidc_provider_mock.run_server_in_thread(require_nonce=True, user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
async def mock_provider(api: Api, mock_issuer: str) -> str:
    """The id under which an administrator configured it."""
    made = await api.create(
        "/providers",
        id=f"Mock-{secrets.token_hex(4)}",
        preset="oidc",
        enabled=True,
        display_name="Mock",
        issuer=mock_issuer,
        client_id=f"watchword-{secrets.token_hex(4)}",
        client_secret="mock-secret-4711",
    )
    return str(made["id"])


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


async def test_a_denial_that_forgets_the_state_is_nobodys_answer(
    api: Api, platform: Platform, mock_provider: str, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    await SignIn(browser_session, party).start()
    page = await browser_session.click(f"provider-{mock_provider}")
    await browser_session.open(page.location)
    page = await browser_session.submit("action", "deny")
    # RFC 6749 4.1.2.1 requires it also beside an error; this provider leaves it out.
    assert "error=access_denied" in page.url
    assert "state=" not in page.url
    assert (page.status, page.error_code) == (400, "state_mismatch")
