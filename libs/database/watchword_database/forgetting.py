"""Rows that decide nothing any more are deleted, however many they are."""

from typing import Final

from watchword_database.engine import Database

_AT_ONCE: Final = 5_000


async def forget(database: Database, table: str, where: str, *parameters: object) -> None:
    """The rows that a condition holds for are gone, a piece at a time, so that nobody waits for it.

    where: what decides nothing any more, with $1, $2, … for the parameters.
    """
    pool = await database.raw_pool()
    piece = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {where} LIMIT {_AT_ONCE}))"
    while await pool.execute(piece, *parameters) == f"DELETE {_AT_ONCE}":
        pass
