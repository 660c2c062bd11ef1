"""Passwords: authz alone keeps them, as argon2id hashes. directory hands over those that an administrator sets."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from watchword_authz import consent, sessions, store, throttle
from watchword_authz.models import Credential, EndReason
from watchword_database import bus
from watchword_database.engine import Database, Session, transaction
from watchword_events.contracts import CredentialChanged
from watchword_events.handovers import ResetPassword, SetPassword
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed

AMR: Final = ("pwd",)  # RFC 8176 2
Kind = Literal["password", "totp", "recovery_codes", "passkey"]


def announce(session: Session, user_id: str, kind: Kind, now: datetime) -> None:
    """Appends CredentialChanged. What a person has stands in several rows: the time in milliseconds is its version."""
    session.emit(CredentialChanged(id=user_id, version=int(now.timestamp() * 1000), kind=kind))


async def handed_over(database: Database, user_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Those of the users for whom a password waits."""
    flows = {f"user:{user_id}": user_id for user_id in user_ids}
    async with transaction(database) as session:
        found = await bus.flows_of(session, SetPassword, flows=list(flows), now=now)
    return {flows[flow] for flow in found}


async def take_handed_over(
    session: Session, user_id: str, *, limits: throttle.Limits, feed: Feed, now: datetime
) -> list[int]:
    """Passwords that directory handed over for the user stand, the newest of them; ledger entries to settle.

    A password that replaces another ends the user's sessions and what would outlive them: whoever knew the old one is
    out, and guesses at the old one count no more. Appends CredentialChanged.
    """
    waiting = await bus.take_flow(session, SetPassword, flow=f"user:{user_id}", now=now)
    if not waiting:
        return []
    return await replace(session, user_id, waiting[-1].payload.password_hash, limits=limits, feed=feed, now=now)


async def forget_links(session: Session, user_id: str, now: datetime) -> None:
    """Links with which a password could be chosen lead nowhere any more: who has them may have read old mail."""
    await bus.take_flow(session, ResetPassword, flow=f"reset:{user_id}", now=now)


def sid_of_proofs(user_id: str, version: int) -> str:
    """What the ledger ends for proofs of an account that were given with a version of its password.

    They lead to no session, and live for a minute. The person as a whole is not cut: API keys stay (ADR 6).
    """
    return f"password:{user_id}:{version}"


async def end_proofs(session: Session, user_id: str, version: int, *, feed: Feed, now: datetime) -> int:
    """Nothing is linked any more by a proof that was given with this version of the password; the ledger entry's id."""
    value, until = sid_of_proofs(user_id, version), now + bus.TICKET_LIFE
    entry = await bus.revoke(
        session,
        claim=Claim.SID,
        value=value,
        kind=RevocationKind.CUT,
        reason="credential.changed",
        until=until,
        keep_until=until,
    )
    feed.pend(entry, Claim.SID, value)
    return entry


async def replace(
    session: Session, user_id: str, password_hash: str, *, limits: throttle.Limits, feed: Feed, now: datetime
) -> list[int]:
    """The password stands, and where it takes another's place everything that came of that ends, as above."""
    version = await store.put_password(session, user_id, password_hash, now)
    await forget_links(session, user_id, now)
    announce(session, user_id, "password", now)
    if version == 1:
        return []
    await throttle.forget(session, limits.account, user_id)
    await store.forget_devices(session, user_id)
    ended = await sessions.end_all(session, user_id, EndReason.EVERYWHERE, feed=feed, now=now)
    outliving = await consent.end_grants(
        session, user_id, client_id=None, reason="credential.changed", feed=feed, now=now
    )
    return [*ended, *outliving, await end_proofs(session, user_id, version - 1, feed=feed, now=now)]


async def is_still(session: Session, verified: Credential, new_hash: str | None) -> bool:
    """Whether the password that was verified outside this transaction is still the user's, and stays so until its end.

    verified: as it was read then.  new_hash: a stronger hash of the same password, which takes the old one's place.
    """
    return await store.claim_password(session, verified.user_id, verified.version, new_hash or verified.password_hash)
