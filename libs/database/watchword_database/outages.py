"""Errors that must not end work in the background: whatever they are, it goes on."""

from typing import Final

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

# What PostgreSQL being away looks like. Clients have more ways to fail: asyncpg once answers InternalClientError when
# the server has ended its session behind its back.
_AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError)


def note_interruption(event: str, error: Exception, **about: str) -> None:
    """One log line about an error after which a loop tries again, with a traceback unless a server was just away."""
    log.warning(event, error=type(error).__name__, exc_info=None if isinstance(error, _AWAY) else error, **about)
