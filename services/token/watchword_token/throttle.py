"""Limits per address and per client, all in memory: generous for work, tight for guessing."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from starlette.types import Scope

from watchword_runtime.settings import Network
from watchword_token.settings import TokenSettings
from watchword_web.addresses import address_prefix, client_address
from watchword_web.limits import Limiter, too_many_requests
from watchword_web.surfaces import Surface

_REMEMBERED: Final = 10_000
# What a wrong guess looks like; other refusals are mistakes of a client that is who it says it is.
GUESSES: Final = frozenset({"invalid_client", "invalid_grant"})


class Throttle:
    """Keeps one address or client from taking everything, and any address from guessing."""

    def __init__(self, settings: TokenSettings) -> None:
        self._trusted: Sequence[Network] = settings.trusted_proxies
        self._addresses = Limiter(settings.token_address_rate, 2 * settings.token_address_rate)
        self._clients = Limiter(settings.token_client_rate, 2 * settings.token_client_rate)
        self._failures = Limiter(settings.token_failure_rate, settings.token_failure_burst)
        self._blocked: dict[str, float] = {}
        self._prefixes: dict[str, str] = {}

    def enter(self, scope: Scope, now: datetime) -> str:
        """The key of the caller's address. Raises OAuthError 429 while it asks too much or has guessed too much."""
        address = self._prefix(scope)
        if self._blocked and (until := self._blocked.get(address)) is not None:
            wait_s = until - time.monotonic()
            if wait_s > 0:
                raise too_many_requests(wait_s, Surface.OAUTH)
            del self._blocked[address]
        if wait_s := self._addresses.wait_s(address, now):
            raise too_many_requests(wait_s, Surface.OAUTH)
        return address

    def client(self, client_id: str, now: datetime) -> None:
        """One more request of an authenticated client. Raises OAuthError 429."""
        if wait_s := self._clients.wait_s(client_id, now):
            raise too_many_requests(wait_s, Surface.OAUTH)

    def failed(self, address: str, now: datetime) -> None:
        """One more wrong credential, code or token from an address. Raises OAuthError 429 when it was one too many."""
        wait_s = self._failures.wait_s(address, now)
        if wait_s:
            if len(self._blocked) >= _REMEMBERED:
                self._blocked.clear()
            self._blocked[address] = time.monotonic() + wait_s
            raise too_many_requests(wait_s, Surface.OAUTH)

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
