"""Sessions: who is signed in, in which browser. A session dies once, in one statement, with its ledger entry.

The cookie's secret is new at each sign-in; only its SHA-256 is stored. Signing in again as the same person (prompt,
max_age) keeps the sid, so that what other applications hold of the session lives on; another person ends it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final

from watchword_authz import store
from watchword_authz.models import EndReason, UserSession
from watchword_database import bus
from watchword_database.engine import Database, Session
from watchword_database.ids import new_id
from watchword_events.contracts import SessionEnded, SessionStarted
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed
from watchword_web.cookies import FLOW_LIFETIME

_MAX_USER_AGENT: Final = 200
# What a new sign-in of the same person changes; sid and version stay.
_RENEWED: Final = frozenset(
    {"secret_hash", "provider_id", "issuer", "auth_time", "amr", "acr", "rev"}
    | {"address", "user_agent", "seen_at", "ends_at", "expires_at", "upstream_session", "is_remembered"}
)
_SEEN_EVERY: Final = timedelta(minutes=1)  # a session that is used all the time is written once a minute


class EndedThere(Exception):
    """The provider ended its session while the sign-in that came from it was on its way."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lasts without use, and altogether."""

    idle: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who proved to be whom, and how. rev: the ledger position noted before the user was read.

    provider_id: the upstream identity provider; None for a password.  issuer: as it calls itself.  address, user_agent:
    of the browser, for lists.  upstream_session: federation's name for the provider's session, where one can end
    with the other.  is_remembered: the device stood in for the second factor.
    """

    user_id: str
    provider_id: str | None
    auth_time: datetime
    amr: tuple[str, ...]
    acr: str | None
    rev: int
    issuer: str | None = None
    address: str = ""
    user_agent: str = ""
    upstream_session: str | None = None
    is_remembered: bool = False


def lineage(session: UserSession) -> dict[str, object]:
    """What the ledger compares of a session."""
    claims: dict[str, object] = {
        "rev": session.rev,
        "iat": session.auth_time.timestamp(),
        "sid": session.id,
        "sub": session.user_id,
    }
    if session.provider_id is not None:
        claims["idp"] = session.provider_id
    return claims


async def find_open(database: Database, secret: str | None, *, now: datetime) -> UserSession | None:
    """The session behind a cookie that nobody has ended yet: for who wants to end it, whatever the ledger says."""
    return None if secret is None else await store.find_session(database, bus.ticket_hash(secret), now)


async def find_live(database: Database, secret: str | None, *, feed: Feed, now: datetime) -> UserSession | None:
    """The session behind a cookie; None when there is none, it is over, or the ledger ended it."""
    row = await find_open(database, secret, now=now)
    return row if row is not None and feed.is_live(lineage(row)) else None


async def note_use(session: Session, row: UserSession, *, lifetimes: Lifetimes, now: datetime) -> None:
    """The session's idle time starts anew, written at most once a minute."""
    if now - row.seen_at >= _SEEN_EVERY:
        await store.touch_session(session, row.id, lifetimes.idle, now)


async def sign_in(
    session: Session, who: SignIn, *, before: UserSession | None, feed: Feed, lifetimes: Lifetimes, now: datetime
) -> tuple[UserSession, str, list[int]]:
    """A live session with a new secret for the cookie, and ledger entries to settle.

    before: the live session that this browser had. Of the same person it goes on under its sid with a new secret; of
    another it ends. Appends SessionStarted for a new session, SessionEnded for a replaced one. Raises EndedThere when
    the provider has ended its session already.
    """
    if who.upstream_session is not None and not await _claim_upstream(session, who.upstream_session, now):
        raise EndedThere
    secret = token_urlsafe(32)
    entries: list[int] = []
    row = UserSession(
        id=new_id(),
        user_id=who.user_id,
        secret_hash=bus.ticket_hash(secret),
        provider_id=who.provider_id,
        issuer=who.issuer,
        auth_time=who.auth_time,
        amr=list(who.amr),
        acr=who.acr,
        rev=who.rev,
        address=who.address,
        user_agent=who.user_agent[:_MAX_USER_AGENT],
        created_at=now,
        seen_at=now,
        ends_at=now + min(lifetimes.idle, lifetimes.longest),
        expires_at=now + lifetimes.longest,
        upstream_session=who.upstream_session,
        is_remembered=who.is_remembered,
    )
    if before is not None and before.user_id == who.user_id:
        renewed = await store.claim_session(session, before.id, now, **{name: getattr(row, name) for name in _RENEWED})
        if renewed is not None:
            return renewed, secret, entries
    elif before is not None:
        entries = await end(session, [before.id], EndReason.REPLACED, feed=feed, now=now)
    await store.put_session(session, row)
    session.emit(SessionStarted(id=row.id, version=1, user_id=who.user_id, provider_id=who.provider_id, amr=who.amr))
    return row, secret, entries


async def step_up(
    session: Session, row: UserSession, amr: Sequence[str], *, now: datetime
) -> tuple[UserSession, str] | None:
    """The session with further methods and a new secret for the cookie; None when it is over.

    When the person signed in, and how long the session may last, stays as it was.
    """
    secret = token_urlsafe(32)
    merged = list(dict.fromkeys((*row.amr, *amr)))
    stepped = await store.claim_session(session, row.id, now, secret_hash=bus.ticket_hash(secret), amr=merged)
    return None if stepped is None else (stepped, secret)


async def end(
    session: Session,
    sids: Sequence[str],
    reason: EndReason,
    *,
    feed: Feed,
    now: datetime,
    known: Collection[str] = (),
) -> list[int]:
    """Those of the sessions that were not over are over; the ids of their ledger entries, to be settled.

    known: those that the ledger ended already, with all that belongs to them; they get no entry. Appends SessionEnded
    for each.
    """
    ended = await store.claim_ends(session, sids, reason, now)
    for row in ended:
        session.emit(SessionEnded(id=row.id, version=row.version, user_id=row.user_id, reason=reason.value))
    return [await _bury(session, row, reason, feed=feed, now=now) for row in ended if row.id not in known]


async def end_dead(
    session: Session, rows: Sequence[UserSession], reason: EndReason, *, feed: Feed, now: datetime
) -> int:
    """Those of the sessions that the ledger ended are over here as well, as `end`; how many. rows: locked.

    What an entry ended for its age alone gets one of its own: that ends what was made of the session later. Raises
    FeedAway.
    """
    dead = [row for row in rows if feed.is_revoked(lineage(row))]
    known = {row.id for row in dead if feed.is_revoked({**lineage(row), "iat": now.timestamp()})}
    await end(session, [row.id for row in dead], reason, feed=feed, now=now, known=known)
    return len(dead)


async def end_upstream(
    session: Session, provider_id: str, upstream_sessions: Sequence[str], *, feed: Feed, now: datetime
) -> list[int]:
    """Every session that came from these at a provider is over, as `end`; one that is about to begin never does.

    A sign-in takes its provider's session once, as this does. If it came first, and has not committed yet, this waits
    for it and then sees its session; if this came first, the sign-in is refused.
    """
    for upstream_session in sorted(upstream_sessions):
        await _claim_upstream(session, upstream_session, now)
    sids = await store.sids_from(session, provider_id, upstream_sessions)
    return await end(session, sids, EndReason.SIGN_OUT, feed=feed, now=now)


async def _claim_upstream(session: Session, upstream_session: str, now: datetime) -> bool:
    """True for the first sign-in, or end, of a session at a provider. No sign-in is on its way for longer than kept."""
    expires_at = now + 2 * FLOW_LIFETIME
    return await bus.spend(session, purpose="upstream-session", key=upstream_session, expires_at=expires_at)


async def end_all(session: Session, user_id: str, reason: EndReason, *, feed: Feed, now: datetime) -> list[int]:
    """Every session of a user is over, as `end`."""
    return await end(session, await store.sids_of(session, user_id), reason, feed=feed, now=now)


async def end_expired(session: Session, *, feed: Feed, now: datetime, limit: int = 200) -> int:
    """Sessions whose time is over are over for everyone, too; how many that were. Safe beside other instances."""
    found = await store.lock_expired(session, now, limit)
    for reason, sids in (
        (EndReason.IDLE, [sid for sid, was_idle in found if was_idle]),
        (EndReason.EXPIRED, [sid for sid, was_idle in found if not was_idle]),
    ):
        await end(session, sids, reason, feed=feed, now=now)
    return len(found)


async def _bury(session: Session, row: UserSession, reason: EndReason, *, feed: Feed, now: datetime) -> int:
    """The ledger says that the session is over. No token that belongs to it outlives `expires_at` (design 5)."""
    until = max(row.expires_at, now + timedelta(minutes=1))
    entry = await bus.revoke(
        session,
        claim=Claim.SID,
        value=row.id,
        kind=RevocationKind.CUT,
        reason=f"session.{reason.value}",
        until=until,
        keep_until=until,
    )
    feed.pend(entry, Claim.SID, row.id)
    return entry
