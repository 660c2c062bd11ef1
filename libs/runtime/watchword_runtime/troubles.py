"""What an exception is that nobody caught: a server that is away, a conflict with somebody, or a defect of ours."""

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from watchword_runtime.passwords import Busy
from watchword_web import failures
from watchword_web.failures import Trouble

# Classes of SQLSTATE, PostgreSQL's appendix A: no connection, no room for one, shut down or cancelled, its system.
_AWAY: Final = ("08", "53", "57", "58")
# A key that is taken or gone, and what is to be tried again: serialization, deadlock, a lock.
_CONFLICTS: Final = frozenset({"23503", "23505", "23P01", "40001", "40P01", "55P03"})


def trouble_of(error: Exception) -> Trouble | None:
    """What the exception is; None for a defect: a statement or a value that PostgreSQL does not take is one."""
    if isinstance(error, (PoolTimeout, Busy)):
        return Trouble.AWAY
    cause = _of_driver(error)
    state = str(getattr(cause, "sqlstate", None) or "")
    if state in _CONFLICTS:
        return Trouble.CONFLICT
    if state.startswith(_AWAY) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return Trouble.AWAY
    # asyncpg has no state for what happens on its own side; a value that it cannot send is a ValueError besides.
    is_its_own = isinstance(cause, (asyncpg.InterfaceError, asyncpg.InternalClientError))
    if is_its_own and not isinstance(cause, ValueError):
        return Trouble.AWAY
    return failures.trouble_of(cause if isinstance(cause, Exception) else error)


def _of_driver(error: Exception) -> BaseException:
    """What asyncpg raised, where SQLAlchemy has wrapped it."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    return error.orig.__cause__ or error.orig
