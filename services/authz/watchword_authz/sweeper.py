"""The sweeper: sessions whose time is over end for everyone, and rows that decide nothing any more are deleted.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

from datetime import datetime, timedelta
from typing import Final

import structlog

from watchword_authz import sessions
from watchword_database.engine import Database, transaction
from watchword_database.forgetting import forget
from watchword_runtime.feed import Feed

log = structlog.get_logger()

EVERY_S: Final = 5.0
KEEP_DECISIONS: Final = timedelta(days=30)
_MAX_ENDED: Final = 10_000
_NOT_AT_ALL: Final = timedelta()
_ANY_OVER: Final = "SELECT EXISTS (SELECT FROM authz.session WHERE ended_at IS NULL AND ends_at <= $1)"
# By table: the moment from which nothing is decided by a row, and for how long it is kept after that.
_FORGOTTEN: Final = {
    "authz.throttle": ("expires_at", _NOT_AT_ALL),
    "authz.remembered_device": ("expires_at", _NOT_AT_ALL),
    "authz.flow": ("expires_at", timedelta(hours=1)),
    "authz.pushed_request": ("expires_at", _NOT_AT_ALL),
    "authz.device_request": ("expires_at", timedelta(hours=1)),
    "authz.session": ("ended_at", timedelta(days=30)),  # for people who ask where they were signed in
    "authz.issued_grant": ("keep_until", _NOT_AT_ALL),
    "bus.handover": ("receiver = current_user AND keep_until", _NOT_AT_ALL),
}


async def sweep(database: Database, *, feed: Feed, now: datetime, keep_decisions: timedelta = KEEP_DECISIONS) -> int:
    """Everything whose time is over is over, or gone; how many sessions ended."""
    ended = 0
    while ended < _MAX_ENDED and await database.ask(_ANY_OVER, now):
        async with transaction(database) as session:
            found = await sessions.end_expired(session, feed=feed, now=now)
        if not found:  # another instance sees to them
            break
        ended += found
    if ended:
        log.info("sessions.expired", count=ended)
    for table, (moment, kept) in (_FORGOTTEN | {"bus.decisions": ("at", keep_decisions)}).items():
        await forget(database, table, f"{moment} <= $1", now - kept)
    return ended
