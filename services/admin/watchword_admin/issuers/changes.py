"""Changes of trusted issuers, each in its caller's transaction, with its events and its ledger entry.

A trust has an id of its own, which stands as `idp` in what came of it. Once removed it never comes back: who trusts the
same issuer again begins a new one.
"""

import uuid
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from watchword_admin.clients import GRANT_LIFE, TOKEN_LIFE
from watchword_admin.issuers import store
from watchword_admin.issuers.documents import IssuerDocument, document_of
from watchword_admin.models import TrustedIssuer
from watchword_admin.store import Unknown
from watchword_database import Session, bus
from watchword_events.contracts import IssuerRemoved, IssuerTrusted, IssuerUpdated
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed


class AlreadyTrusted(Exception):
    """The issuer is trusted already."""


class PrefixTaken(Exception):
    """Another issuer's subjects have this prefix."""


class OtherIssuer(Exception):
    """A trust keeps its issuer: what came of it says whose it was."""


async def trust_issuer(session: Session, document: IssuerDocument, *, now: datetime) -> TrustedIssuer:
    """The issuer's tokens are exchanged from now on. Raises AlreadyTrusted, PrefixTaken. Appends IssuerTrusted."""
    issuer = TrustedIssuer(
        id=str(uuid.uuid4()),
        version=1,
        iss=document.iss,
        prefix=document.prefix,
        document=document.model_dump(mode="json"),
        created_at=now,
        updated_at=now,
    )
    if not await store.claim_new_issuer(session, issuer):
        stands = await store.list_issuers(session, after="", limit=1, iss=document.iss)
        raise AlreadyTrusted(document.iss) if stands else PrefixTaken(document.prefix)
    session.emit(IssuerTrusted(id=issuer.id, version=1))
    return issuer


async def change_issuer(session: Session, issuer: TrustedIssuer, document: IssuerDocument, *, now: datetime) -> None:
    """The issuer is as described. issuer: locked. Nothing happens when nothing differs.

    What was exchanged before stays. Raises OtherIssuer, PrefixTaken. Appends IssuerUpdated.
    """
    if document.iss != issuer.iss:
        raise OtherIssuer(issuer.id)
    if document == document_of(issuer):
        return
    issuer.prefix, issuer.document = document.prefix, document.model_dump(mode="json")
    issuer.version += 1
    issuer.updated_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise PrefixTaken(document.prefix) from error
    session.emit(IssuerUpdated(id=issuer.id, version=issuer.version))


async def remove_issuer(session: Session, issuer_id: str, *, feed: Feed, now: datetime) -> list[int]:
    """Nothing of the issuer is exchanged any more, and what was exchanged is refused; the ledger entries to settle.

    A tombstone stays; doing it again changes nothing. Raises Unknown. Appends IssuerRemoved.
    """
    try:
        issuer = await store.get_issuer_for_change(session, issuer_id)
    except Unknown:
        if await store.is_removed_issuer(session, issuer_id):
            return []
        raise
    issuer.document, issuer.deleted_at, issuer.updated_at = {}, now, now
    issuer.version += 1
    await session.flush()
    entry = await bus.revoke(
        session,
        claim=Claim.IDP,
        value=issuer.id,
        kind=RevocationKind.STATE,
        reason="issuer.removed",
        until=now + TOKEN_LIFE,
        keep_until=now + GRANT_LIFE,
    )
    feed.pend(entry, Claim.IDP, issuer.id)
    session.emit(IssuerRemoved(id=issuer.id, version=issuer.version))
    return [entry]
