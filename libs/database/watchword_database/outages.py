"""Errors that must not end work in the background: whatever they are, it goes on."""

from typing import Final

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

# What PostgreSQL being away looks like. When the server has ended a session because the process stood still, and its
# farewell was read but not yet the connection's end, asyncpg answers InternalClientError ("cannot switch to state 11").
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    SQLAlchemyError,
)


def note_interruption(event: str, error: Exception, **about: str) -> None:
    """One log line about an error after which a loop tries again, with a traceback unless a server was just away."""
    log.warning(event, error=type(error).__name__, exc_info=None if isinstance(error, _AWAY) else error, **about)
