"""Events that consumers gave up, in all services' schemas: which, to be tried again, or forgotten."""

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


class NoSuchLetter(LookupError):
    """No dead letter has the id."""


@dataclass(frozen=True)
class Letter:
    """about: the id that the event is about.  error: why it was given up, or empty while it is to be tried again."""

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
    """Every dead letter, by service, the oldest first. url: of the database, as superuser."""
    connection = await asyncpg.connect(url)
    try:
        return [
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
    finally:
        await connection.close()


async def retry(url: str, ids: Sequence[str]) -> list[str]:
    """Instances of their services try them again within seconds; comes back with their ids. Raises NoSuchLetter."""
    return await _changed(url, ids, _RETRY)


async def forget(url: str, ids: Sequence[str]) -> list[str]:
    """They are gone, and what they stood for does not happen; comes back with their ids. Raises NoSuchLetter."""
    return await _changed(url, ids, _FORGET)


async def _changed(url: str, ids: Sequence[str], statement: str) -> list[str]:
    """All of them or none."""
    wanted: dict[Service, set[int]] = {}
    for each in ids:
        name, _, number = each.partition("/")
        if name not in list(Service) or not (number.isascii() and number.isdigit()) or len(number) > _DIGITS:
            raise NoSuchLetter(each)
        wanted.setdefault(Service(name), set()).add(int(number))
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for service, numbers in wanted.items():
                found = {row["id"] for row in await connection.fetch(statement.format(schema=service), list(numbers))}
                for missing in sorted(numbers - found):
                    raise NoSuchLetter(f"{service}/{missing}")
    finally:
        await connection.close()
    return list(dict.fromkeys(ids))
