"""How often one client or address may ask: token buckets in memory, one set per process."""

import math
from collections import OrderedDict
from datetime import datetime

from watchword_web.errors import OAuthError, PageError, Problem
from watchword_web.surfaces import Surface
from watchword_web.texts import Text

_MAX_KEYS = 50_000  # about 10 MB; the bucket that was idle longest is forgotten first


class Limiter:
    """Buckets of `burst` requests, refilled with `rate_per_s` a second, each under a key of its own.

    The limit holds per process: an installation of N instances allows up to N times as much. What must hold exactly
    (wrong passwords) is counted in PostgreSQL by the service that owns it.
    """

    def __init__(self, rate_per_s: float, burst: int, *, max_keys: int = _MAX_KEYS) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tokens left, seen at)

    def wait_s(self, key: str, now: datetime) -> float:
        """0.0 when the request may pass, which takes a token; else the seconds until one is there, taking nothing.

        key: for example an `address_prefix`, or `client_id`.
        """
        at = now.timestamp()
        tokens, seen_at = self._buckets.pop(key, (self._burst, at))
        tokens = min(self._burst, tokens + max(0.0, at - seen_at) * self._rate_per_s)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, at)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self._rate_per_s

    def check(self, key: str, now: datetime, surface: Surface) -> None:
        """Takes a token, or raises the surface's error with status 429.

        OAuthError and Problem carry Retry-After. Spec: RFC 6585 4; RFC 9110 10.2.3.
        """
        wait_s = self.wait_s(key, now)
        if wait_s:
            raise too_many_requests(wait_s, surface)


class Guesses:
    """Wrong credentials by the address that they came from, counted in memory and forgiven at a steady rate."""

    def __init__(self, rate_per_s: float, burst: int, *, max_keys: int = _MAX_KEYS // 5) -> None:
        """burst: as many may be wrong at once.  rate_per_s: so many are forgiven in a second."""
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._max_keys = max_keys
        self._counts: dict[str, tuple[float, float]] = {}  # how many count at a time, by address

    def check(self, address: str, now_s: float, surface: Surface = Surface.OAUTH) -> None:
        """Raises the surface's error with status 429 while the address has guessed too much."""
        if not self._counts or address not in self._counts:
            return
        counted = self._counted(address, now_s)
        if counted <= 0.0:
            del self._counts[address]
        elif counted > self._burst - 1:  # no whole one is left
            raise too_many_requests((counted + 1.0 - self._burst) / self._rate_per_s, surface)

    def note(self, address: str, now_s: float) -> None:
        """One more wrong credential, code or token came from an address."""
        if len(self._counts) >= self._max_keys and address not in self._counts:
            # The most harmless leave: an attacker with many addresses must not push out his own.
            for key, _ in sorted(self._counts.items(), key=lambda item: item[1][0])[: self._max_keys // 10]:
                del self._counts[key]
        self._counts[address] = (self._counted(address, now_s) + 1.0, now_s)

    def _counted(self, address: str, now_s: float) -> float:
        count, at = self._counts.get(address, (0.0, now_s))
        return max(0.0, count - max(0.0, now_s - at) * self._rate_per_s)


def too_many_requests(wait_s: float, surface: Surface) -> OAuthError | Problem | PageError:
    """The 429 of a surface, with Retry-After in whole seconds."""
    seconds = max(1, math.ceil(wait_s))
    headers = {"Retry-After": str(seconds)}
    match surface:
        case Surface.OAUTH:
            return OAuthError("temporarily_unavailable", "Too many requests, try again later", 429, headers=headers)
        case Surface.API:
            return Problem(429, "Too many requests", f"Try again in {seconds} s.", headers=headers)
        case Surface.PAGE:
            return PageError(
                "too_many_requests",
                "Too many attempts",
                Text.of_count(
                    "There were too many attempts in a short time. Wait a second, then try again.",
                    "There were too many attempts in a short time. Wait %(count)s seconds, then try again.",
                    seconds,
                ),
                429,
                headers=headers,
            )
