"""State, cookie, provider and settings belong together."""

import hashlib
from datetime import UTC, datetime

import pytest

from watchword_database.bus import Taken
from watchword_events.exports import ProviderExport
from watchword_events.handovers import UpstreamStart
from watchword_federation.failures import SignInFailed
from watchword_federation.flows import (
    FLOW_LIFE,
    check_return,
    check_start,
    configuration_of,
    hash_of,
    is_bound_to,
    new_secrets,
    new_state,
    open_flow,
)
from watchword_federation.models import UpstreamFlow

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
COOKIE = "c" * 43
BINDING = hashlib.sha256(COOKIE.encode()).hexdigest()


def provider(**settings: object) -> ProviderExport:
    values: dict[str, object] = {"id": "Acme", "preset": "oidc", "kind": "oidc", "display_name": "Acme"}
    values |= {"issuer": "https://idp.test", "client_id": "us", **settings}
    return ProviderExport.model_validate(values)


def start() -> Taken[UpstreamStart]:
    return Taken(UpstreamStart(provider_id="Acme", binding=BINDING, max_age_s=30), "flow-1", NOW, NOW + FLOW_LIFE, None)


def flow(**settings: object) -> UpstreamFlow:
    return open_flow(start(), provider(**settings), state="s", sealed=b"", rev=7, now=NOW)


@pytest.mark.spec("RFC 7636 4.1, 7.1")
def test_state_nonce_and_verifier_are_fresh_and_long() -> None:
    made = {new_state() for _ in range(100)}
    assert len(made) == 100
    assert all(len(state) == 43 for state in made)
    kept = new_secrets()
    assert len({kept.nonce, kept.verifier}) == 2
    assert 43 <= len(kept.verifier) <= 128
    assert kept.nonce not in repr(kept)
    assert kept.verifier not in repr(kept)


def test_a_flow_remembers_what_it_was_opened_for() -> None:
    opened = flow(response_mode="form_post")
    assert opened.state_hash == hash_of("s")
    assert (opened.flow, opened.binding, opened.provider_id) == ("flow-1", BINDING, "Acme")
    assert (opened.response_mode, opened.max_age_s, opened.rev) == ("form_post", 30, 7)
    assert opened.expires_at - opened.created_at == FLOW_LIFE


@pytest.mark.parametrize("cookie", [None, "", "C" * 43, COOKIE + "c", BINDING])
def test_only_the_browser_with_the_cookie_is_bound(cookie: str | None) -> None:
    assert not is_bound_to(BINDING, cookie)
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_start(start(), "Acme", cookie)
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_return(flow(), "Acme", "query", cookie)


def test_the_browser_that_began_may_go_on() -> None:
    assert is_bound_to(BINDING, COOKIE)
    assert check_start(start(), "Acme", COOKIE).flow == "flow-1"
    assert check_return(flow(), "Acme", "query", COOKIE).flow == "flow-1"


@pytest.mark.parametrize("provider_id", ["acme", "Acme ", "Other", ""])
def test_ticket_and_state_are_for_one_provider(provider_id: str) -> None:
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_start(start(), provider_id, COOKIE)
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_return(flow(), provider_id, "query", COOKIE)


@pytest.mark.spec("OAuth 2.0 Form Post Response Mode 2")
def test_an_answer_comes_in_the_mode_that_was_asked_for() -> None:
    assert check_return(flow(response_mode="form_post"), "Acme", "form_post", None).flow == "flow-1"
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_return(flow(response_mode="form_post"), "Acme", "query", COOKIE)
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_return(flow(), "Acme", "form_post", COOKIE)


def test_unknown_ticket_or_state() -> None:
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_start(None, "Acme", COOKIE)
    with pytest.raises(SignInFailed, match="state_mismatch"):
        check_return(None, "Acme", "query", COOKIE)


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": "https://other.test"},
        {"client_id": "them"},
        {"client_secret": "other"},
        {"token_endpoint": "https://evil.test/token"},
        {"jwks_uri": "https://evil.test/keys"},
        {"discovery_url": "https://evil.test/"},
        {"token_endpoint_auth_method": "none"},
        {"pkce": False},
        {"response_mode": "form_post"},
        {"userinfo": "never"},
        {"scopes": ["openid"]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_setting_that_a_check_depends_on_changes_the_configuration(settings: dict[str, object]) -> None:
    assert configuration_of(provider(**settings)) != configuration_of(provider())


def test_looks_do_not_change_the_configuration() -> None:
    assert configuration_of(provider(display_name="ACME", order=3, domains=["acme.test"])) == configuration_of(
        provider()
    )
