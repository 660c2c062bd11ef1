"""Limits per address and per client, all in memory: generous for work, tight for guessing."""

from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from watchword_runtime.settings import Network
from watchword_token.settings import TokenSettings
from watchword_web.addresses import address_prefix, client_address
from watchword_web.limits import Guesses, too_many_requests
from watchword_web.surfaces import Surface

_REMEMBERED: Final = 10_000
# What a wrong guess looks like; other refusals are mistakes of a client that is who it says it is.
GUESSES: Final = frozenset({"invalid_client", "invalid_grant"})


class PerSecond:
    """At most `limit` requests of each key in each second. A twentieth of what a token bucket costs: it is asked twice
    for every token."""

    __slots__ = ("_counts", "_limit", "_second")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second = 0
        self._counts: dict[str, int] = {}

    def take(self, key: str, now_s: float) -> bool:
        """Whether one more may pass."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._counts = {}
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        return count <= self._limit


class Throttle:
    """Keeps one address or client from taking everything, and any address from guessing."""

    def __init__(self, settings: TokenSettings) -> None:
        self._trusted: Sequence[Network] = settings.trusted_proxies
        self._addresses = PerSecond(settings.token_address_rate)
        self._clients = PerSecond(settings.token_client_rate)
        self._guesses = Guesses(settings.token_failure_rate, settings.token_failure_burst)
        self._prefixes: dict[str, str] = {}

    def enter(self, scope: Scope, now_s: float) -> str:
        """The key of the caller's address. Raises OAuthError 429 while it asks too much or has guessed too much."""
        address = self._prefix(scope)
        self._guesses.check(address, now_s)
        if not self._addresses.take(address, now_s):
            raise too_many_requests(1.0, Surface.OAUTH)
        return address

    def client(self, client_id: str, now_s: float) -> None:
        """One more request of an authenticated client. Raises OAuthError 429."""
        if not self._clients.take(client_id, now_s):
            raise too_many_requests(1.0, Surface.OAUTH)

    def failed(self, address: str, now_s: float) -> None:
        """One more wrong credential, code or token came from an address."""
        self._guesses.note(address, now_s)

    def _prefix(self, scope: Scope) -> str:
        """The address as limits see it; parsing one takes longer than everything else here, so it is remembered."""
        peer: str = scope["client"][0] if scope.get("client") else ""
        if self._trusted:
            return address_prefix(client_address(scope["headers"], peer, self._trusted))
        known = self._prefixes.get(peer)
        if known is None:
            known = address_prefix(client_address((), peer, ()))
            if len(self._prefixes) >= _REMEMBERED:
                self._prefixes.clear()
            self._prefixes[peer] = known
        return known
