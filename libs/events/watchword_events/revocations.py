"""Entries of the revocation ledger (`bus.revocations`) and of the feed that spreads them.

A cut at position p kills what matches and carries `rev < p`. A state kills whatever matches until it is lifted; the
lift leaves a cut at its own position, so that old tokens stay dead.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Claim(StrEnum):
    """What of a token an entry names."""

    JTI = "jti"
    GID = "gid"
    SID = "sid"
    SUB = "sub"
    CLIENT_ID = "client_id"
    KID = "kid"
    IDP = "idp"
    ALL = "all"


class RevocationKind(StrEnum):
    """How an entry kills."""

    CUT = "cut"
    STATE = "state"
    LIFT = "lift"


class RevocationEntry(BaseModel):
    """One entry, as it stands in the table and travels on the feed.

    claim and kind are plain strings on the wire: an unknown one makes a verifier stale instead of silently ignorant.
    until: until when a live access token can match (a verifier may forget).  keep_until: until when a grant or a
    session can match (the table may forget).  issued_before narrows a cut to tokens with an older `iat`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    position: int
    claim: str
    value: str
    kind: str
    until: datetime
    keep_until: datetime
    issued_before: datetime | None = None
    reason: str = ""
    at: datetime
