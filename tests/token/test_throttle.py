"""Limits per address and per client."""

import json
from typing import Any

import pytest

from watchword_events.names import Service
from watchword_runtime.keyring import derive_service_keys
from watchword_token.settings import TokenSettings
from watchword_token.throttle import PerSecond, Throttle
from watchword_web.errors import OAuthError


def throttle(**given: Any) -> Throttle:
    keys = json.dumps(derive_service_keys(bytes(32), Service.TOKEN))
    return Throttle(TokenSettings.model_validate({"database_url": "postgresql://x/y", "keys": keys, **given}))


def scope(address: str, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"type": "http", "client": (address, 1), "headers": headers}


def test_a_second_allows_so_many_and_the_next_as_many_again() -> None:
    limit = PerSecond(2)
    assert [limit.take("a", 1.0), limit.take("a", 1.5), limit.take("a", 1.9), limit.take("b", 1.9)] == [
        True,
        True,
        False,
        True,
    ]
    assert limit.take("a", 2.0)


@pytest.mark.spec("RFC 6585 4")
def test_too_many_requests_of_an_address_or_a_client_are_429_with_retry_after() -> None:
    limited = throttle(token_address_rate=1, token_client_rate=1)
    limited.enter(scope("192.0.2.1"), 1.0)
    with pytest.raises(OAuthError) as refused:
        limited.enter(scope("192.0.2.1"), 1.1)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    limited.enter(scope("192.0.2.2"), 1.1)
    limited.client("app", 1.0)
    with pytest.raises(OAuthError):
        limited.client("app", 1.0)


@pytest.mark.row(53)
def test_guessing_ends_with_429_until_it_was_forgiven() -> None:
    limited = throttle(token_failure_burst=3, token_failure_rate=0.5)
    address = limited.enter(scope("192.0.2.1"), 1.0)
    for _ in range(3):
        limited.enter(scope("192.0.2.1"), 1.0)
        limited.failed(address, 1.0)
    with pytest.raises(OAuthError) as refused:
        limited.enter(scope("192.0.2.1"), 1.0)
    assert refused.value.headers["Retry-After"] == "2"
    limited.enter(scope("192.0.2.2"), 1.0)
    limited.enter(scope("192.0.2.1"), 3.1)


@pytest.mark.row(53)
def test_an_ipv6_household_is_one_address_and_a_forwarded_one_is_believed_from_proxies_only() -> None:
    limited = throttle(token_address_rate=1)
    limited.enter(scope("2001:db8::1"), 1.0)
    with pytest.raises(OAuthError):
        limited.enter(scope("2001:db8::2"), 1.0)
    spoofed = throttle(token_address_rate=1)
    spoofed.enter(scope("192.0.2.9", "203.0.113.1"), 1.0)
    with pytest.raises(OAuthError):
        spoofed.enter(scope("192.0.2.9", "203.0.113.2"), 1.0)
    behind = throttle(token_address_rate=1, trusted_proxies="192.0.2.0/24")
    behind.enter(scope("192.0.2.9", "203.0.113.1"), 1.0)
    behind.enter(scope("192.0.2.9", "203.0.113.2"), 1.0)
