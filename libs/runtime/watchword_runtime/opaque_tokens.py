"""Opaque access tokens: `token` alone can open one; another service asks it what the token says.

The token travels in the body of an internal call. What it says is remembered for a moment, by the token's hash; whether
it is live is asked of the ledger at each use, as for any other token.
"""

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from watchword_events.names import Service
from watchword_runtime.clock import Clock
from watchword_runtime.internal import InternalClient, Reply, Unreachable
from watchword_runtime.jwks import MAX_TOKEN_BYTES, Genuine

QUESTION: Final = "opaque-token"
_REMEMBERED: Final = 2_000
_KEPT: Final = timedelta(seconds=5)
# Without an encrypted key: it is the key of `token` itself. Spec: RFC 7516 7.1; RFC 7518 4.5.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.(?:\.[A-Za-z0-9_-]+){3}")

# What an opaque access token says that this installation made and whose time is not over; None for any other text.
OpenOpaque = Callable[[str], Awaitable[Genuine | None]]


class _Opened(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    kid: str
    claims: dict[str, Any]


def reply_of(open_opaque: OpenOpaque) -> Reply:
    """What `token` says to a service that asks it about a token."""

    async def reply(asked: bytes) -> bytes | None:
        opened = await open_opaque(asked.decode("ascii", "replace"))
        return None if opened is None else orjson.dumps({"kid": opened.kid, "claims": opened.claims})

    return reply


class _Kept(NamedTuple):
    since: datetime
    until: datetime
    opened: Genuine


class OpaqueTokens:
    """Asks `token` what opaque access tokens say."""

    def __init__(self, internal: InternalClient, now: Clock) -> None:
        self._internal = internal
        self._now = now
        self._known: OrderedDict[bytes, _Kept] = OrderedDict()  # by the SHA-256 of the token

    async def open(self, token: str) -> Genuine | None:
        """What the token says, at most five seconds ago; None when it is none of ours or its time is over.

        Raises Unreachable.
        """
        if len(token) > MAX_TOKEN_BYTES or not _COMPACT.fullmatch(token):
            return None
        digest, now = sha256(token.encode()).digest(), self._now()
        known = self._known.pop(digest, None)
        if known is None or not known.since <= now < known.until:
            opened = await self._ask(token)
            if opened is None:
                return None
            known = _Kept(now, min(now + _KEPT, datetime.fromtimestamp(opened.claims["exp"], now.tzinfo)), opened)
        self._known[digest] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known.opened

    async def _ask(self, token: str) -> Genuine | None:
        answer = await self._internal.ask(Service.TOKEN, QUESTION, token.encode())
        if answer is None:
            return None
        try:
            opened = _Opened.model_validate_json(answer)
        except ValidationError as error:
            raise Unreachable(f"token: {error.error_count()} errors in what it says of a token") from error
        return Genuine(opened.claims, opened.kid)
