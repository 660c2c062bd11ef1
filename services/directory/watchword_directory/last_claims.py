"""What a provider last said of a person, sealed: so that what a mapping made of it can be judged afterwards.

One row for each identity, replaced at each sign-in, also at one that the provider's settings refused. It goes with the
identity, with the provider, and when its time is over. Tokens and secrets, which some providers put among the claims
(OpenID Connect Core 5.6.2), are not kept, and of very long claims only so much as there is room for.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_database import Session
from watchword_directory import store
from watchword_directory.models import IdentityClaims
from watchword_events.handovers import VerifiedIdentity
from watchword_runtime.seal import SecretSeal

PURPOSE: Final = "last-claims"
MAX_BYTES: Final = 16 * 1024
_MAX_NAME: Final = 256
_MAX_NAMES: Final = 64  # of claims that were cut
_MAX_DEPTH: Final = 8
REDACTED: Final = "(redacted)"
_SECRET_NAME: Final = re.compile(
    r"token|secret|passw|credential|assertion|private.?key|api.?key|cookie|authorization|jwt", re.IGNORECASE
)
_SECRET_VALUE: Final = re.compile(
    r"\beyJ[\w-]{5,}\.[\w-]*\.[\w-]*"  # a JWT, signed or encrypted, also within a longer text
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-)\w"
    r"|(?:token|secret|signature|password|code)=",
    re.IGNORECASE | re.ASCII,
)


class LastClaims(BaseModel):
    """What is kept. cut: names of claims that were too long, of which a part or nothing is here."""

    model_config = ConfigDict(frozen=True)

    claims: dict[str, JsonValue]
    cut: tuple[str, ...] = ()


class ClaimsKeeper:
    """Keeps what providers say, sealed with a key that this service alone holds. One for each process."""

    def __init__(self, seal: SecretSeal, *, keep: timedelta) -> None:
        """keep: for how long after the sign-in; nothing is kept for none."""
        self._seal = seal
        self._keep = keep

    async def keep(self, session: Session, identity_id: str, identity: VerifiedIdentity, *, now: datetime) -> None:
        """What was said at this sign-in is kept in place of what was said before."""
        if not self._keep:
            return
        said = bounded({**identity.claims, "iss": identity.issuer, "sub": identity.subject})
        row = IdentityClaims(
            identity_id=identity_id,
            provider_id=identity.provider_id,
            sealed=await self._seal.seal(said.model_dump_json().encode(), identity_id.encode()),
            said_at=now,
            keep_until=now + self._keep,
        )
        await store.put_claims(session, row)

    def opened(self, row: IdentityClaims) -> LastClaims:
        """What a row keeps. Raises Unsealable when it was altered, or is another identity's."""
        return LastClaims.model_validate_json(self._seal.open(row.sealed, row.identity_id.encode()))


def bounded(claims: Mapping[str, JsonValue]) -> LastClaims:
    """The claims without secrets, in at most MAX_BYTES of JSON: short ones first, of a long list its first items."""
    kept: dict[str, JsonValue] = {}
    cut: list[str] = []
    room = MAX_BYTES - 2
    clean = {name: REDACTED if _SECRET_NAME.search(name) else _clean(value, 1) for name, value in claims.items()}
    for name, value in sorted(clean.items(), key=lambda claim: _size(claim[1])):
        left = room - _size(name) - 4
        if len(name) > _MAX_NAME or _size(value) > left:
            cut.append(name[:_MAX_NAME])
            value = _beginning(value, left) if isinstance(value, list) else []
            if not value or len(name) > _MAX_NAME:
                continue
        kept[name] = value
        room = left - _size(value)
    return LastClaims(claims=dict(sorted(kept.items())), cut=tuple(sorted(cut)[:_MAX_NAMES]))


def _clean(value: JsonValue, depth: int) -> JsonValue:
    """The value with nothing in it that opens anything."""
    if depth > _MAX_DEPTH:
        return REDACTED
    match value:
        case str():
            return REDACTED if _SECRET_VALUE.search(value) else value
        case list():
            return [_clean(each, depth + 1) for each in value]
        case dict():
            return {
                name: REDACTED if _SECRET_NAME.search(name) else _clean(each, depth + 1) for name, each in value.items()
            }
        case _:
            return value


def _beginning(items: list[JsonValue], room: int) -> list[JsonValue]:
    """As many of the first items as there is room for."""
    found: list[JsonValue] = []
    room -= 2
    for item in items:
        room -= _size(item) + 2
        if room < 0:
            break
        found.append(item)
    return found


def _size(value: JsonValue) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
