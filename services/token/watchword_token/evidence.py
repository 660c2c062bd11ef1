"""Evidence: a signed document that says what was ended, who had applied it when, and who could not be reached.

Its type tells it from every token, so that neither is ever taken for the other. Spec: RFC 7515 3.1; RFC 8725 3.11.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import orjson
from pydantic import BaseModel
from sqlalchemy import text

from watchword_database import Session
from watchword_database.ids import new_id
from watchword_runtime.receipts import Receipts, receipts_at
from watchword_token.encoding import b64url
from watchword_token.keys import Keys
from watchword_token.revocations import RevocationView, entries_where

TYPE: Final = "watchword-evidence+jwt"
MEDIA_TYPE: Final = f"application/{TYPE}"
ENTRIES: Final = 1_000  # in one document about a person
_ALG: Final = "ES256"
# What a person's entries name: the person, their grants and API keys, and the sessions that their grants came from.
_ABOUT: Final = text("""
SELECT 'gid' AS claim, id AS value FROM token.grants WHERE user_id = :sub
 UNION SELECT 'sid', sid FROM token.grants WHERE user_id = :sub
 UNION SELECT 'gid', id FROM token.api_keys WHERE user_id = :sub
 UNION SELECT 'sub', :sub
""")


class Proved(RevocationView, Receipts):
    """An entry of the ledger with its receipts."""


class Evidence(BaseModel):
    """What the document says.

    user_id: of whom, when it is about a person.  ended: whether everything of theirs is dead at this moment, also what
    they might be granted.  complete: of all its entries, if there are any.
    """

    iss: str
    iat: int
    jti: str
    user_id: str | None = None
    ended: bool | None = None
    complete: bool
    truncated: Literal[True] | None = None
    revocations: list[Proved]


async def proved(session: Session, entry: RevocationView) -> Proved:
    """The entry with the receipts that there are now."""
    receipts = await receipts_at(session, entry.position, entry.at)
    return Proved.model_construct(**dict(entry), **dict(receipts))


async def evidence_of(session: Session, entry: RevocationView, *, keys: Keys, issuer: str, now: datetime) -> bytes:
    """A JWS in compact form about one entry of the ledger."""
    return await sign(await _document(session, [entry], issuer=issuer, now=now), keys)


async def evidence_about(
    session: Session, user_id: str, *, ended: bool, keys: Keys, issuer: str, now: datetime
) -> bytes:
    """A JWS in compact form about all entries that name a person, what they were granted, or a session of it.

    The newest ENTRIES, oldest first; `truncated` says that there are more. A session that no application was granted
    anything in is not among them.
    """
    connection = await session.connection()
    named = (await connection.execute(_ABOUT, {"sub": user_id})).all()
    entries = await entries_where(session, [(row.claim, row.value) for row in named], limit=ENTRIES + 1)
    document = await _document(session, entries[-ENTRIES:], issuer=issuer, now=now)
    document.user_id, document.ended = user_id, ended
    if len(entries) > ENTRIES:
        document.truncated = True
    return await sign(document, keys)


async def _document(session: Session, entries: Sequence[RevocationView], *, issuer: str, now: datetime) -> Evidence:
    revocations = [await proved(session, entry) for entry in entries]
    complete = bool(revocations) and all(each.complete for each in revocations)
    return Evidence.model_construct(
        iss=issuer, iat=int(now.timestamp()), jti=new_id(), complete=complete, revocations=revocations
    )


async def sign(document: Evidence, keys: Keys) -> bytes:
    """The document as a JWS that anybody can check with the published keys."""
    key = await keys.signer(_ALG)
    header = b64url(orjson.dumps({"alg": key.alg, "typ": TYPE, "kid": key.kid}))
    signed = header + b"." + b64url(document.model_dump_json(exclude_none=True).encode())
    return signed + b"." + b64url(key.sign(signed))
