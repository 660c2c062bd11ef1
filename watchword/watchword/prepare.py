"""What must be true of the database before anybody serves: migrated, first data there. A process of its own.

It runs beside the loading workers and takes its code (Alembic, SQLAlchemy, the services' models) away with it. What it
did is recorded, so that a start that has nothing to do skips it.
"""

import asyncio
import hashlib
import importlib.util
import json
import signal
import sys
from pathlib import Path

import asyncpg
from pydantic import BaseModel, ConfigDict

from watchword.embedded.process import Child, StartError, Step, end_leftover, spawn, tail_of, write_private
from watchword_events.names import Service

_STEPS = (Step(signal.SIGTERM, 10.0), Step(signal.SIGKILL, 5.0))
_MEMBERS = {"bus": "watchword_database", **{service.value: f"watchword_{service}" for service in Service}}


class Orders(BaseModel):
    """What is to be prepared. url: as superuser.  urls: as each service's role.  noted: the administrator's file."""

    model_config = ConfigDict(frozen=True)

    url: str
    urls: dict[Service, str]
    secrets: Path
    issuer: str
    noted: Path


class Preparation:
    """The preparing process of one start, and the record of what the last one did."""

    def __init__(self, run: Path, *, issuer: str) -> None:
        """run: the directory for record and log."""
        self._record, self._log, self._issuer = run / "prepared.json", run / "prepare.log", issuer
        self._child: Child | None = None
        self._process = run / "prepare.process.json"

    def begin(self) -> None:
        """Unless the record says that there is nothing to do, the process loads its code."""
        end_leftover(self._process, _STEPS)
        if self._recorded() is None:
            self._start()

    async def done(self, orders: Orders) -> None:
        """The database is prepared. Raises StartError with the reason when that failed."""
        if (versions := self._recorded()) is not None and versions == await _versions(orders.url):
            return
        child = self._child or self._start()
        child.tell(orders.model_dump_json().encode())
        while child.is_alive:
            await asyncio.sleep(0.02)
        self._process.unlink(missing_ok=True)
        if child.popen.returncode != 0:
            raise StartError(f"preparing the database failed (its log is {self._log}):\n{tail_of(self._log)}")
        kept = {"fingerprint": fingerprint(), "issuer": self._issuer, "versions": await _versions(orders.url)}
        write_private(self._record, json.dumps(kept))

    def stop(self) -> None:
        """The process has ended, whether or not it was done."""
        if self._child is not None:
            self._child.stop()

    def _start(self) -> Child:
        self._child = spawn(
            "prepare",
            [sys.executable, "-m", "watchword.prepare"],
            record=self._process,
            log=self._log,
            steps=_STEPS,
            waits_for_orders=True,
        )
        return self._child

    def _recorded(self) -> object:
        """The versions on record; None when they were noted by other code or for another issuer."""
        try:
            kept = json.loads(self._record.read_text())
            same = kept["fingerprint"] == fingerprint() and kept["issuer"] == self._issuer
            return kept["versions"] if same else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def fingerprint() -> str:
    """A digest of every migration and of the code that makes the first data."""
    digest = hashlib.sha256()
    for package in _MEMBERS.values():
        spec = importlib.util.find_spec(package)
        roots = spec.submodule_search_locations if spec is not None else None
        for root in map(Path, roots or ()):
            inside = root / "migrations"
            migrations = inside if inside.is_dir() else root.parent / "migrations"
            for path in sorted([*migrations.glob("versions/*.py"), *root.glob("bootstrap.py")]):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


async def _versions(url: str) -> dict[str, str] | None:
    """The migration at which each member stands; None where something is missing."""
    try:
        connection = await asyncpg.connect(url)
    except asyncpg.InvalidCatalogNameError:
        return None
    try:
        found = {}
        for schema in _MEMBERS:
            found[schema] = str(await connection.fetchval(f"SELECT version_num FROM {schema}.alembic_version"))
        return found
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()


def _load_code() -> None:
    """Imports what prepare() needs, which takes longer than what it does."""
    import watchword_token.bootstrap  # noqa: F401 - loaded, not used


async def prepare(orders: Orders) -> None:
    """The database is migrated; the administrator and the console exist."""
    from watchword.bootstrap import administrator, console
    from watchword.installation import Installation
    from watchword.schema import migrated
    from watchword_runtime.clock import utc_now

    await migrated(orders.url, Installation.load(orders.secrets))
    await administrator(orders.noted, orders.urls, now=utc_now())
    await console(orders.urls[Service.ADMIN], public_url=orders.issuer, now=utc_now())


if __name__ == "__main__":
    from watchword_runtime import logging

    _load_code()
    given = Orders.model_validate(json.load(sys.stdin))
    logging.configure("prepare")
    asyncio.run(prepare(given))
