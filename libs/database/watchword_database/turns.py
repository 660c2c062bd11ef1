"""Turns: what only one transaction at a time may do, for example count and then add."""

from typing import Final

from sqlalchemy import text

from watchword_database.engine import Session

TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"  # as a plain statement
_TURN: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_PART: Final = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")


async def take_turn(session: Session, name: str) -> None:
    """Whoever took a turn of this name before has ended their transaction; who does so later waits for this one.

    A count that is read after it is one that nobody else adds to. name: begins with the service.
    """
    await (await session.connection()).execute(_TURN, {"name": name})


async def share_turn(session: Session, name: str) -> None:
    """As `take_turn`, beside others who share: nobody takes the turn before all of their transactions have ended."""
    await (await session.connection()).execute(_PART, {"name": name})
