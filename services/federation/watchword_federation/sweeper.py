"""The sweeper: refusals of directory stand among the attempts, and rows that decide nothing any more are deleted.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

from datetime import datetime
from typing import Final

from watchword_database import Database, transaction
from watchword_database.forgetting import forget
from watchword_federation.attempts import record_refused
from watchword_federation.store import KEEP_FLOWS
from watchword_federation.token_store import drop_expired

EVERY_S: Final = 30.0
# By table: the moment from which nothing is decided by a row.
_FORGOTTEN: Final = {
    "federation.upstream_flow": "expires_at",
    "federation.upstream_arrival": "expires_at",
    "federation.upstream_logout": "expires_at",
    "federation.upstream_session": "keep_until",
    "federation.ended_upstream_session": "keep_until",
    "federation.trial": "keep_until",
    "bus.handover": "receiver = current_user AND keep_until",
}


async def sweep(database: Database, *, now: datetime) -> None:
    """What directory refused can be read under its references, and what was long over is gone."""
    async with transaction(database) as session:
        await record_refused(session, now=now)
        await drop_expired(session, now=now)
    for table, moment in _FORGOTTEN.items():
        await forget(database, table, f"{moment} < $1", now - KEEP_FLOWS if moment == "expires_at" else now)
