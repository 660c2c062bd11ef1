"""What has to happen after a database was restored from a back-up: everything that was given out before ends.

The back-up does not know what was revoked after it was made, and positions that it gives out again were given out
before. So a new epoch begins, above every position that ever was, with a cut of everything. See ADR 13.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import asyncpg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from watchword.bootstrap import Administrator, noted_username, renew_administrator
from watchword.feed_stream import published
from watchword.nats_conf import FEED_STREAM
from watchword.provision import connected
from watchword_database.bus import CLOCKS_DIFFER
from watchword_database.engine import Database
from watchword_events.names import Position, Service, epoch_of, position_of
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_runtime.feed import SUBJECT
from watchword_runtime.keyring import Keyring

REASON: Final = "restored from a back-up"
# Numbers of the new epoch, and of processes that seal, begin where the time says: no two restores of one back-up give
# out the same, even if nobody remembers the first, as long as fewer are used than pass in the time between.
_COUNTED_FROM: Final = 1_767_225_600  # 1 January 2026
_POSITIONS_PER_S: Final = 256
_PROCESSES_PER_S: Final = 4
_ANSWER_S: Final = 5.0

_CUT: Final = """
INSERT INTO bus.revocations (position, claim, value, kind, until, keep_until, reason)
VALUES ($1, 'all', '', 'cut', $2, $3, $4)
RETURNING id, position, claim, value, kind, until, keep_until, issued_before, reason, at
"""
_SEALERS: Final = "SELECT setval('bus.sealer_id', greatest(nextval('bus.sealer_id'), $1))"
_ADMINISTRATOR: Final = """
SELECT u.id FROM directory.users u
 WHERE u.username = $1 AND u.active AND u.deleted_at IS NULL
   AND EXISTS (SELECT FROM directory.assignments a WHERE a.user_id = u.id AND a.role_id IN ('owner', 'administrator'))
"""
_LIVING_KEYS: Final = "SELECT kid FROM token.keys WHERE state IN ('next', 'active', 'retiring')"
_COPIES: Final = """
SELECT format('%I.%I', table_schema, table_name) FROM information_schema.columns
 WHERE table_schema = ANY($1) AND column_name = 'copied_at' ORDER BY 1
"""


@dataclass(frozen=True)
class Done:
    """What restore() did. keys: that were replaced.  lost: states of the ledger that the back-up did not know.

    asked_nats: False when it did not answer, so that nobody knows what was lost.
    """

    before: Position
    position: Position
    tickets: int
    copies: int
    keys: tuple[str, ...]
    lost: tuple[RevocationEntry, ...]
    asked_nats: bool
    administrator: Administrator | None = field(repr=False)

    @property
    def epoch(self) -> int:
        """The new one."""
        return epoch_of(self.position)


async def restore(
    url: str,
    urls: Mapping[Service, str],
    *,
    token_keys: str,
    servers: Sequence[str],
    nats_seed: str,
    admin_file: Path | None,
    now: datetime,
) -> Done:
    """Nothing that was given out before this call is good, and everybody who follows the ledger notices by himself.

    url: of the migrated database as superuser.  urls: as each service's role.  token_keys: the derived keys of
    `token`.  servers: of NATS, by which it is faster, and which may know what was lost.  admin_file: where the first
    administrator is noted, who gets a new API key.
    """
    connection = await asyncpg.connect(url)
    try:
        head = Position(await connection.fetchval("SELECT position FROM bus.ledger"))
        async with _jetstream(servers, nats_seed) as js:
            lost = await _lost(js, head) if js is not None else []
            newest = max([head, *(entry.position for entry in lost)])
            # First: whoever seals afterwards has a number that nobody had.
            entry, tickets, copies = await _begin_epoch(connection, newest, now=now)
            named = [each.value for each in lost if each.claim == Claim.KID]
            living = [row["kid"] for row in await connection.fetch(_LIVING_KEYS)]
            kids = tuple(dict.fromkeys([*named, *living]))
            await _revoke_keys(urls[Service.TOKEN], token_keys, kids, now=now)
            if js is not None:
                with contextlib.suppress(NatsError, OSError, TimeoutError):
                    await js.publish(SUBJECT, entry.model_dump_json().encode(), timeout=_ANSWER_S)
        administrator = await renewed(connection, admin_file, urls, now=now)
    finally:
        await connection.close()
    states = tuple(each for each in lost if each.kind == RevocationKind.STATE and each.claim != Claim.KID)
    position = Position(entry.position)
    return Done(head, position, tickets, copies, kids, states, js is not None, administrator)


async def renewed(
    connection: asyncpg.Connection, admin_file: Path | None, urls: Mapping[Service, str], *, now: datetime
) -> Administrator | None:
    """The first administrator with a new API key; None when none is noted, or who is noted is none any more."""
    if admin_file is None:
        return None
    user_id = await connection.fetchval(_ADMINISTRATOR, noted_username(admin_file))
    return None if user_id is None else await renew_administrator(admin_file, urls, user_id=user_id, now=now)


async def _revoke_keys(url: str, token_keys: str, kids: Sequence[str], *, now: datetime) -> None:
    """Nobody knows whether one of them was revoked after the back-up: whoever has it could sign with any `rev`."""
    from watchword_token.bootstrap import revoke_keys

    database = Database(url, service=Service.TOKEN, pool_size=1)
    try:
        await revoke_keys(database, Keyring(token_keys), kids, reason=REASON, now=now)
    finally:
        await database.dispose()


async def _begin_epoch(
    connection: asyncpg.Connection, newest: int, *, now: datetime
) -> tuple[RevocationEntry, int, int]:
    """The cut of everything, as the first entry of a new epoch; how many tickets ended and copies were emptied."""
    from watchword_token.lifetimes import FOR_EVER, LONGEST_ACCESS_TOKEN

    async with connection.transaction():
        head = await connection.fetchval("SELECT position FROM bus.ledger FOR UPDATE")
        clock = await connection.fetchval("SELECT clock_timestamp()")
        passed = max(0, int(clock.timestamp()) - _COUNTED_FROM)
        position = position_of(epoch_of(Position(max(head, newest))) + 1, passed * _POSITIONS_PER_S)
        until = now + LONGEST_ACCESS_TOKEN + CLOCKS_DIFFER
        row = await connection.fetchrow(_CUT, position, until, now + FOR_EVER, REASON)
        await connection.execute("UPDATE bus.ledger SET position = $1", position)
        await connection.execute(_SEALERS, passed * _PROCESSES_PER_S)
        tickets = await connection.execute("DELETE FROM bus.handover")
        tables = [each[0] for each in await connection.fetch(_COPIES, [service.value for service in Service])]
        for table in (*tables, *(f"{service.value}.copy_state" for service in Service)):
            await connection.execute(f"DELETE FROM {table}")
    return RevocationEntry.model_validate(dict(row)), int(tickets.rpartition(" ")[2]), len(tables)


@contextlib.asynccontextmanager
async def _jetstream(servers: Sequence[str], seed: str) -> AsyncIterator[JetStreamContext | None]:
    """JetStream of the installation; None when it does not answer."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            if not servers:
                raise TimeoutError
            async with asyncio.timeout(_ANSWER_S):
                client = await stack.enter_async_context(connected(servers, seed))
            js = client.jetstream(timeout=_ANSWER_S)
            await js.stream_info(FEED_STREAM)
        except (NatsError, OSError, TimeoutError):
            yield None
            return
        yield js


async def _lost(js: JetStreamContext, head: int) -> list[RevocationEntry]:
    """What NATS still knows of entries above a position, oldest first."""
    found: list[RevocationEntry] = []
    async with contextlib.aclosing(published(js)) as entries:
        async for entry in entries:
            if entry.position <= head:
                break
            found.append(entry)
    return found[::-1]
