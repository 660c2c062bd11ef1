"""Pushed authorization requests: stored for a minute, used once. Spec: RFC 9126 2.2, 4."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final

from pydantic import BaseModel, ConfigDict

from watchword_authz import store
from watchword_authz.hints import Hint
from watchword_authz.models import PushedRequest
from watchword_database.bus import ticket_hash
from watchword_database.engine import Database, Session

PREFIX: Final = "urn:ietf:params:oauth:request_uri:"  # RFC 9126 2.2
LIFE: Final = timedelta(seconds=60)


class Pushed(BaseModel):
    """What was pushed: parameters that were checked then and are checked again when they are used.

    hint: what the `id_token_hint` said; the token itself is not stored.  is_signed: they stood in a request object.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    params: Mapping[str, str]
    hint: Hint | None = None
    is_signed: bool = False


async def push(database: Database, pushed: Pushed, *, client_id: str, rev: int, now: datetime) -> str:
    """The `request_uri` with which this client, and nobody else, can use the request once within `LIFE`.

    rev: the ledger position noted before the client was read.  Spec: RFC 9126 2.2, 7.1 (a guess has 2^-256).
    """
    reference = token_urlsafe(32)
    asked = pushed.model_dump(mode="json")
    await store.put_pushed_request(
        database, ticket_hash(reference), client_id=client_id, asked=asked, rev=rev, now=now, expires_at=now + LIFE
    )
    return f"{PREFIX}{reference}"


async def claim(session: Session, request_uri: str, *, client_id: str, now: datetime) -> PushedRequest | None:
    """The request behind a `request_uri`, which nobody can use again.

    None when it is unknown, expired, used before or another client's. Spec: RFC 9126 4, 7.3.
    """
    reference_hash = ticket_hash(request_uri.removeprefix(PREFIX))
    return await store.claim_pushed_request(session, reference_hash, client_id=client_id, now=now)


def lineage(row: PushedRequest) -> dict[str, object]:
    """What the ledger compares of a pushed request."""
    return {"rev": row.rev, "iat": row.created_at.timestamp(), "client_id": row.client_id}
