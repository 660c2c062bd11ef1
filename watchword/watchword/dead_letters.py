"""What was given up, to be tried again or forgotten: events, in all services' schemas, and sign-out notices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from watchword_events.names import Service

_LIST: Final = """
SELECT id, consumer, subject, headers ->> 'ce-type' AS type, headers ->> 'ce-subject' AS about, error, at
  FROM {schema}.dead_letter ORDER BY id
"""
_RETRY: Final = "UPDATE {schema}.dead_letter SET error = '' WHERE id = ANY ($1) RETURNING id"
_FORGET: Final = "DELETE FROM {schema}.dead_letter WHERE id = ANY ($1) RETURNING id"
_DIGITS: Final = 18  # of what fits into a bigint
SIGN_OUT: Final = "sign-out"  # stands before the id of a notice, where that of an event has its service
_NOTICES: Final = "SELECT id, client_id, sid, error, ended_at FROM token.deliveries WHERE state = 'dead' ORDER BY id"
# For as long as the first time; an instance looks once a second.
_RETRY_NOTICES: Final = """
UPDATE token.deliveries
   SET state = 'pending', next_attempt_at = now(), give_up_at = now() + (give_up_at - created_at), locked_until = NULL,
       ended_at = NULL
 WHERE id = ANY ($1) AND state = 'dead' RETURNING id
"""
_FORGET_NOTICES: Final = "DELETE FROM token.deliveries WHERE id = ANY ($1) AND state = 'dead' RETURNING id"


class NoSuchLetter(LookupError):
    """No dead letter has the id."""


@dataclass(frozen=True)
class Letter:
    """about: the id that the event is about.  error: why it was given up, or empty while it is to be tried again.

    consumer: of an event; the client that was to be told that the session `about` ended.
    """

    id: str
    service: Service
    consumer: str
    type: str
    about: str
    error: str
    at: datetime

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "id": self.id,
            "service": self.service.value,
            "consumer": self.consumer,
            "type": self.type,
            "about": self.about,
            "error": self.error or "to be tried again",
            "at": self.at.isoformat(timespec="seconds"),
        }


async def listed(url: str) -> list[Letter]:
    """Every dead letter, by service, the oldest first; then notices. url: of the database, as superuser."""
    connection = await asyncpg.connect(url)
    try:
        events = [
            Letter(
                f"{service}/{row['id']}",
                service,
                row["consumer"],
                row["type"] or row["subject"],
                row["about"] or "",
                row["error"],
                row["at"],
            )
            for service in Service
            for row in await connection.fetch(_LIST.format(schema=service))
        ]
        return events + [
            Letter(
                f"{SIGN_OUT}/{row['id']}",
                Service.TOKEN,
                row["client_id"],
                "logout_token",
                row["sid"],
                row["error"] or "no reason was noted",
                row["ended_at"],
            )
            for row in await connection.fetch(_NOTICES)
        ]
    finally:
        await connection.close()


async def retry(url: str, ids: Sequence[str]) -> list[str]:
    """Instances of their services try them again within seconds; comes back with their ids. Raises NoSuchLetter."""
    return await _changed(url, ids, _RETRY, _RETRY_NOTICES)


async def forget(url: str, ids: Sequence[str]) -> list[str]:
    """They are gone, and what they stood for does not happen; comes back with their ids. Raises NoSuchLetter."""
    return await _changed(url, ids, _FORGET, _FORGET_NOTICES)


async def _changed(url: str, ids: Sequence[str], of_events: str, of_notices: str) -> list[str]:
    """All of them or none."""
    events: dict[Service, set[int]] = {}
    notices: set[str] = set()
    for each in ids:
        name, _, key = each.partition("/")
        if name == SIGN_OUT and key:
            notices.add(key)
            continue
        if name not in list(Service) or not (key.isascii() and key.isdigit()) or len(key) > _DIGITS:
            raise NoSuchLetter(each)
        events.setdefault(Service(name), set()).add(int(key))
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for service, numbers in events.items():
                await _change(connection, of_events.format(schema=service), numbers, service)
            await _change(connection, of_notices, notices, SIGN_OUT)
    finally:
        await connection.close()
    return list(dict.fromkeys(ids))


async def _change(connection: asyncpg.Connection, statement: str, keys: set[int] | set[str], name: str) -> None:
    """name: what stands before them. Raises NoSuchLetter."""
    found = {row["id"] for row in await connection.fetch(statement, list(keys))} if keys else set()
    for missing in sorted(keys - found):
        raise NoSuchLetter(f"{name}/{missing}")
