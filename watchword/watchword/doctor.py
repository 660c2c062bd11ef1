"""What is wrong with an installation, and what to do about it. Nothing is changed.

Each check gives findings; one that cannot be made because something is away is an error of that something.
"""

import asyncio
import json
import platform
import stat
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError

from watchword import master_key
from watchword.embedded.programs import MINIMUM_MAJOR
from watchword.feed_stream import published
from watchword.installation import Operator
from watchword.nats_conf import FEED_STREAM
from watchword.provision import connected, drift
from watchword.reach import Reach
from watchword_events.names import Position, Service, epoch_of
from watchword_runtime.keyring import derive_service_keys

NATS_MINIMUM: Final = (2, 12)
SKEW_WARNING_S: Final = 1.0
SKEW_ERROR_S: Final = 5.0
WAITS_S: Final = 5.0  # an entry without a position for so long has no leader
_CONNECT_S: Final = 5.0
_SHOWN: Final = 5
_LOOKED_BACK: Final = 500  # entries of the feed
_AT: Final = "SELECT position, at FROM bus.revocations WHERE position = ANY($1::bigint[])"

_LEADER: Final = """
SELECT a.usename, coalesce(host(a.client_addr), 'a socket') AS host
  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_FEED: Final = """
SELECT l.position,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(at)) FROM bus.revocations WHERE position IS NULL), 0)
           AS waits_s
  FROM bus.ledger AS l
"""
_SILENT: Final = """
SELECT DISTINCT name FROM bus.followers
 WHERE heard_at < clock_timestamp() - (bound_s + 1) * interval '1 second' ORDER BY name
"""


class Level(StrEnum):
    """How bad it is: an error makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line, and what to do."""

    check: str
    level: Level
    said: str
    remedy: str = ""


def on_this_machine(secrets: Path, environment: Mapping[str, str]) -> list[Finding]:
    """What needs no server: the interpreter and the secrets."""
    return [python(), *_modes(secrets), _master_key(secrets, environment)]


async def of_the_servers(reach: Reach, *, replicas: int = 1) -> list[Finding]:
    """PostgreSQL with what stands in it, and NATS. replicas: of each stream."""
    from watchword import outgoing

    found: list[Finding] = []
    has_ledger = False
    try:
        connection = await _connected(reach)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        remedy = "start it, and check WATCHWORD_DATABASE_URL and the network between"
        found.append(Finding("postgresql", Level.ERROR, f"cannot be reached: {_why(error)}", remedy))
    else:
        try:
            found += [_postgres_version(connection), await _clock(connection)]
            pending = await _migrations(connection, reach.url)
            found.append(pending)
            if pending.level is Level.OK:
                has_ledger = True
                found += [*await _feed(connection), await _dead_letters(connection)]
                found += [*await outgoing.waiting(connection), *await _ends(reach)]
        finally:
            await connection.close()
    return found + await _nats(reach, has_ledger=has_ledger, replicas=replicas)


async def _connected(reach: Reach) -> asyncpg.Connection:
    return await asyncpg.connect(reach.url, timeout=_CONNECT_S, command_timeout=_CONNECT_S)


def python(arguments: str | None = None) -> Finding:
    """The interpreter. arguments: with which it was configured."""
    given = sysconfig.get_config_var("CONFIG_ARGS") if arguments is None else arguments
    name = f"{platform.python_implementation()} {platform.python_version()}"
    missing = [
        what
        for what, option in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto"))
        if option not in (given or "")
    ]
    if not missing:
        return Finding("python", Level.OK, f"{name}, built with PGO and LTO")
    return Finding(
        "python",
        Level.WARNING,
        f"{name} ({sys.executable}) does not say that it was built with {' and '.join(missing)}",
        "an unoptimised interpreter costs about a third of the speed: use one from python.org's image, or from "
        "`uv python install`",
    )


def _modes(secrets: Path) -> list[Finding]:
    """Nobody else may read the secrets."""
    if not secrets.is_dir():
        return [Finding("secrets", Level.ERROR, f"{secrets} is not there", "name it with --data-dir or --secrets")]
    try:
        paths = sorted(secrets.rglob("*"))  # what is in it: its own mode shows names only
        open_ones = [path for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    except OSError as error:
        remedy = "run this as the account that owns them"
        return [Finding("secrets", Level.ERROR, f"{error.filename}: {error.strerror}", remedy)]
    if not open_ones:
        return [Finding("secrets", Level.OK, f"{len(paths)} files and directories are readable by their owner only")]
    named = ", ".join(map(str, open_ones[:_SHOWN])) + (", …" if len(open_ones) > _SHOWN else "")
    return [Finding("secrets", Level.ERROR, f"others may read {named}", f"chmod -R go= {secrets}")]


def _master_key(secrets: Path, environment: Mapping[str, str]) -> Finding:
    """The root opens, and the services' keys were derived from it."""
    name = "master key"
    if not (secrets / master_key.ROOT_FILE).exists() and (secrets / master_key.MASTER_FILE).exists():
        remedy = "`watchword master-key rotate`, or the next start, seals it under a key of its own"
        return Finding(name, Level.WARNING, "is the root itself, as in earlier releases", remedy)
    try:
        present = master_key.master_key(secrets, environment)
        sealed = master_key.Sealed.read(secrets)
        root = sealed.opened_by(present, secrets)
        kept = json.loads((secrets / Service.TOKEN / "keys").read_text())
    except (master_key.MasterKeyError, OSError, ValueError) as error:
        return Finding(name, Level.ERROR, str(error), "see docs/operations.md, Master key")
    derived = derive_service_keys(root, Service.TOKEN)
    if any(derived.get(purpose) != key for purpose, key in kept.items()):
        said = f"opens a root from which the keys in {secrets / Service.TOKEN} were not derived"
        return Finding(name, Level.ERROR, said, "restore the whole directory of secrets from one back-up")
    if len(sealed.wrappings) > 1:
        said = "a rotation was interrupted: another key opens the root as well"
        return Finding(name, Level.WARNING, said, "`watchword master-key rotate`")
    return Finding(name, Level.OK, f"{present.key_id} in {present.place} opens the root")


def _postgres_version(connection: asyncpg.Connection) -> Finding:
    version = connection.get_server_version()
    shown = f"{version.major}.{version.micro}"  # asyncpg counts as before version 10, where it had three numbers
    if version.major < MINIMUM_MAJOR:
        return Finding("postgresql", Level.ERROR, f"version {shown}", f"use {MINIMUM_MAJOR} or later")
    return Finding("postgresql", Level.OK, f"answers, version {shown}")


async def _clock(connection: asyncpg.Connection) -> Finding:
    """This machine's clock against the database's; half of the way there and back is not known."""
    before = time.time()
    there = (await connection.fetchval("SELECT clock_timestamp()")).timestamp()
    after = time.time()
    skew = max(0.0, abs(there - (before + after) / 2) - (after - before) / 2)
    said = f"differs from PostgreSQL's by {skew:.3f} s"
    if skew < SKEW_WARNING_S:
        return Finding("clock", Level.OK, said)
    level = Level.WARNING if skew < SKEW_ERROR_S else Level.ERROR
    return Finding("clock", level, said, "let NTP set the clocks of both machines")


async def _migrations(connection: asyncpg.Connection, url: str) -> Finding:
    from alembic.script import ScriptDirectory

    from watchword_database.migrate import MEMBERS, config_of

    behind = []
    for member in MEMBERS:
        wanted = ScriptDirectory.from_config(config_of(member, url)).get_current_head()
        try:
            found = await connection.fetchval(f"SELECT version_num FROM {member}.alembic_version")
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            found = None
        if found != wanted:
            behind.append(f"{member} ({found or 'none'}, not {wanted})")
    if behind:
        said = f"not at this release's: {', '.join(behind)}"
        remedy = "run `watchword migrate`, or start `watchword up` again; if the database is newer, use its release"
        return Finding("migrations", Level.ERROR, said, remedy)
    return Finding("migrations", Level.OK, f"all {len(MEMBERS)} schemas are up to date")


async def _feed(connection: asyncpg.Connection) -> list[Finding]:
    """Position, leader, and who does not follow."""
    from watchword_token.ledger import LOCK

    position, waits_s = await connection.fetchrow(_FEED)
    found = [Finding("feed", Level.OK, f"stands at position {position}, in epoch {epoch_of(Position(position))}")]
    leaders = await connection.fetch(_LEADER, *LOCK)
    remedy = "start an instance of `token`; revocations reach nobody until then"
    if not leaders:
        found.append(Finding("leader", Level.ERROR, "nobody leads the ledger", remedy))
    elif waits_s > WAITS_S:
        said = f"a revocation waits for its position since {waits_s:.0f} s"
        found.append(Finding("leader", Level.ERROR, said, "look for ledger.interrupted in the logs of `token`"))
    else:
        found.append(Finding("leader", Level.OK, f"{leaders[0]['usename']} from {leaders[0]['host']} leads the ledger"))
    silent = [row["name"] for row in await connection.fetch(_SILENT)]
    if silent:
        said = f"not heard of: {', '.join(silent[:_SHOWN])}"
        remedy = "they refuse or ask by themselves; `GET /api/v1/verifiers` shows more"
        found.append(Finding("followers", Level.WARNING, said, remedy))
    else:
        found.append(Finding("followers", Level.OK, "everybody who follows the ledger has been heard"))
    return found


async def _dead_letters(connection: asyncpg.Connection) -> Finding:
    counts = {each.value: await connection.fetchval(f"SELECT count(*) FROM {each}.dead_letter") for each in Service}
    given_up = [f"{name} {count}" for name, count in counts.items() if count]
    if given_up:
        remedy = "`watchword events dead` says which and why; `watchword events retry` or `forget` deals with them"
        return Finding("events", Level.WARNING, f"could not be dealt with: {', '.join(given_up)}", remedy)
    return Finding("events", Level.OK, "none was given up")


async def _ends(reach: Reach) -> list[Finding]:
    """Certificates and tokens that end soon, as each service knows its own."""
    from watchword.ends import look
    from watchword.expiry import findings
    from watchword_database.engine import Database

    now = datetime.now(UTC)
    databases = [Database(url, service=service, pool_size=1) for service, url in reach.urls.items()]
    try:
        return findings(await look(databases, now), now)
    finally:
        for each in databases:
            await each.dispose()


async def _nats(reach: Reach, *, has_ledger: bool, replicas: int) -> list[Finding]:
    """The server, its streams and consumers, and whether its feed goes on from the table's."""
    remedy = "start it, and check WATCHWORD_NATS_URL and the network between"
    try:
        async with _nats_client(reach) as client:
            version = client.connected_server_version
            shown = f"{version.major}.{version.minor}.{version.patch}"
            found = [_nats_version(shown, (version.major, version.minor))]
            js = client.jetstream(timeout=_CONNECT_S)
            wrong = await drift(js, replicas=replicas)
            found.append(_streams(wrong))
            if has_ledger and FEED_STREAM not in wrong:
                found += await _remembered(client, reach)
            return found
    except (NatsError, OSError, TimeoutError) as error:
        return [Finding("nats", Level.ERROR, f"cannot be reached: {_why(error)}", remedy)]


@asynccontextmanager
async def _nats_client(reach: Reach) -> AsyncIterator[Client]:
    async with asyncio.timeout(_CONNECT_S) as patience:
        async with connected(reach.servers, reach.installation.seeds[Operator.PROVISION]) as client:
            patience.reschedule(None)
            yield client


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _nats_version(shown: str, version: tuple[int, int]) -> Finding:
    if version < NATS_MINIMUM:
        return Finding("nats", Level.ERROR, f"version {shown}", f"use {'.'.join(map(str, NATS_MINIMUM))} or later")
    return Finding("nats", Level.OK, f"answers, version {shown}")


def _streams(wrong: Sequence[str]) -> Finding:
    if not wrong:
        return Finding("streams", Level.OK, "streams and consumers are as the catalogue wants them")
    remedy = "keep `watchword provision --watch` running; it makes and corrects them (`watchword up` does it itself)"
    return Finding("streams", Level.ERROR, f"missing or not as wanted: {', '.join(wrong[:_SHOWN])}", remedy)


async def _remembered(client: Client, reach: Reach) -> list[Finding]:
    """Whether what was published lately still stands in the table: else a back-up was restored, and nobody said so."""
    js = client.jetstream(timeout=_CONNECT_S)
    remembered = [(each.position, each.at) async for each in published(js, most=_LOOKED_BACK)]
    connection = await _connected(reach)  # after that, so that the table is not behind by what is written meanwhile
    try:
        head = Position(await connection.fetchval("SELECT position FROM bus.ledger"))
        rows = await connection.fetch(_AT, [at for at, _ in remembered])
    finally:
        await connection.close()
    stand = {row["position"]: row["at"] for row in rows}  # what nobody needs any more is there no more
    lost = [
        at
        for at, made in remembered
        if epoch_of(Position(at)) >= epoch_of(head) and (at > head or stand.get(at, made) != made)
    ]
    if not lost:
        return []
    text = f"NATS remembers position {max(lost)}, the table at {head} has another or none: a back-up was restored"
    return [Finding("restore", Level.ERROR, text, "stop the services, run `watchword restore`, start them")]
