"""How many passwords may be tried: atomic counters in PostgreSQL, per account, per address and over all.

An attempt is counted before the password is verified, in one conditional statement, so that a hundred parallel
guesses are as many as a hundred in a row. Up to a number of attempts nothing happens; then each has to wait twice as
long as the one before; then the counter is locked for a while. A browser in which somebody signed in before has a
counter of its own for that account: a stranger's guesses lock strangers out, never the owner's own device.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from watchword_authz.settings import AuthzSettings
from watchword_database.engine import Session

_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_MAX_DOUBLINGS: Final = 20
_CODES: Final = 5
_CODES_WINDOW: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Limit:
    """The rule of one kind of counter.

    free: attempts without a wait.  first_wait: what the next one waits, doubled for each further up to `longest_wait`.
    lock_at: the attempt that locks for `lock_for`; None when nothing locks.  window: a counter begins anew this long
    after its last attempt where it `slides`, else after its first.
    """

    kind: str
    free: int
    first_wait: timedelta
    longest_wait: timedelta
    window: timedelta
    slides: bool = False
    lock_at: int | None = None
    lock_for: timedelta = timedelta(0)

    def key(self, subject: str) -> str:
        """The counter of one subject. Only a hash is stored: no user name and no address."""
        return f"{self.kind}:{hashlib.sha256(subject.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules of an installation."""

    account: Limit
    device: Limit
    factor: Limit
    device_factor: Limit
    address: Limit
    everywhere: Limit
    user_codes: Limit
    mails: Limit
    mails_by_address: Limit
    mail_tests: Limit


def limits_of(settings: AuthzSettings) -> Limits:
    """The rules that the settings ask for."""
    lock_for = timedelta(seconds=settings.account_lock_s)
    account = Limit(
        "account",
        free=settings.account_attempts,
        first_wait=timedelta(seconds=settings.account_wait_s),
        longest_wait=lock_for,
        window=max(_HOUR, 2 * lock_for),
        slides=True,
        lock_at=settings.account_lock_attempts,
        lock_for=lock_for,
    )
    return Limits(
        account=account,
        device=replace(account, kind="device"),
        factor=replace(account, kind="factor"),
        device_factor=replace(account, kind="device-factor"),
        address=Limit(
            "address",
            free=settings.address_attempts,
            first_wait=timedelta(seconds=settings.address_wait_s),
            longest_wait=timedelta(minutes=5),
            window=_HOUR,
        ),
        # No lock over all: it would let anybody close the door for everybody. Known devices do not wait for it at all.
        everywhere=Limit("all", settings.global_attempts, timedelta(milliseconds=50), timedelta(seconds=2), _MINUTE),
        # Threat 27: as many wrong codes of devices, from one address and account, while a code lives.
        user_codes=Limit(
            "user-code",
            free=_CODES,
            first_wait=_CODES_WINDOW,
            longest_wait=_CODES_WINDOW,
            window=_CODES_WINDOW,
            slides=True,
            lock_at=_CODES,
            lock_for=_CODES_WINDOW,
        ),
        mails=Limit("mail", free=3, first_wait=_HOUR, longest_wait=_HOUR, window=_HOUR),
        mails_by_address=Limit(
            "mail-address", free=20, first_wait=_MINUTE, longest_wait=timedelta(minutes=5), window=_HOUR
        ),
        # More than mails: who sets a mail server up tries it out again and again.
        mail_tests=Limit("mail-test", free=10, first_wait=_MINUTE, longest_wait=timedelta(minutes=5), window=_HOUR),
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a claim. allowed: the password may be verified.  locked: this attempt locked the counter."""

    allowed: bool
    locked: bool = False
    wait: timedelta = timedelta(0)


# The WHERE is evaluated again on the newest row after waiting for its lock: parallel claims pass one by one. Where
# nobody has to wait stands 'epoch', not the time of this attempt: one that began earlier may be counted after it.
_CLAIM = text("""
INSERT INTO authz.throttle AS t (key, attempts, not_before, expires_at)
VALUES (:key, 1, 'epoch', :expires_at)
ON CONFLICT (key) DO UPDATE SET
    attempts = CASE WHEN t.expires_at <= :now THEN 1 ELSE t.attempts + 1 END,
    not_before = CASE
        WHEN t.expires_at <= :now OR t.attempts + 1 < :free THEN 'epoch'
        WHEN t.attempts + 1 >= :lock_at THEN :now + CAST(:lock_for AS interval)
        ELSE :now + LEAST(CAST(:first_wait AS interval) * power(2, LEAST(t.attempts + 1 - :free, :doublings)),
                          CAST(:longest_wait AS interval)) END,
    expires_at = CASE WHEN t.expires_at <= :now OR :slides THEN :expires_at ELSE t.expires_at END
WHERE t.expires_at <= :now OR t.not_before <= :now
RETURNING attempts
""")
_NOT_BEFORE = text("SELECT not_before FROM authz.throttle WHERE key = :key")
_GIVE_BACK = text("""
UPDATE authz.throttle SET attempts = attempts - 1, not_before = 'epoch'
 WHERE key = :key AND attempts > 0
""")
_FORGET = text("DELETE FROM authz.throttle WHERE key = :key")

_NEVER: Final = 2**31 - 1


async def claim_attempt(session: Session, limit: Limit, subject: str, now: datetime) -> Attempt:
    """One attempt is counted, if it may be made now; an attempt that may not changes nothing."""
    connection = await session.connection()
    key = limit.key(subject)
    lock_at = _NEVER if limit.lock_at is None else limit.lock_at
    result = await connection.execute(
        _CLAIM,
        {
            "key": key,
            "now": now,
            "expires_at": now + limit.window,
            "slides": limit.slides,
            "free": limit.free,
            "lock_at": lock_at,
            "lock_for": limit.lock_for,
            "first_wait": limit.first_wait,
            "longest_wait": limit.longest_wait,
            "doublings": _MAX_DOUBLINGS,
        },
    )
    attempts = result.scalar_one_or_none()
    if attempts is not None:
        return Attempt(allowed=True, locked=attempts >= lock_at)
    not_before = (await connection.execute(_NOT_BEFORE, {"key": key})).scalar_one_or_none()
    return Attempt(allowed=False, wait=max(not_before - now, timedelta(0)) if not_before else timedelta(0))


async def claim_attempts(session: Session, claims: Sequence[tuple[Limit, str]], now: datetime) -> Attempt:
    """The first refusal among the counters, or else what the first counter says."""
    attempts = [await claim_attempt(session, limit, subject, now) for limit, subject in claims]
    return next((attempt for attempt in attempts if not attempt.allowed), attempts[0])


async def settle(session: Session, claims: Sequence[tuple[Limit, str]]) -> None:
    """The counters forget an attempt that succeeded: those that lock altogether, the others this attempt."""
    for limit, subject in claims:
        if limit.lock_at is not None:
            await forget(session, limit, subject)
        else:
            await give_back(session, limit, subject)


async def give_back(session: Session, limit: Limit, subject: str) -> None:
    """An attempt that turned out right counts no more; what others tried before stays counted."""
    connection = await session.connection()
    await connection.execute(_GIVE_BACK, {"key": limit.key(subject)})


async def forget(session: Session, limit: Limit, subject: str) -> None:
    """The counter is gone, and with it a wait or a lock."""
    connection = await session.connection()
    await connection.execute(_FORGET, {"key": limit.key(subject)})


async def locked_until(session: Session, limit: Limit, subject: str, now: datetime) -> datetime | None:
    """Until when no attempt is allowed; None when one is."""
    connection = await session.connection()
    not_before: datetime | None = (
        await connection.execute(_NOT_BEFORE, {"key": limit.key(subject)})
    ).scalar_one_or_none()
    return not_before if not_before is not None and not_before > now else None
