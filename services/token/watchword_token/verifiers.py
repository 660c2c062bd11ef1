"""Verifiers: programs of other teams that check our tokens by themselves, and say how far they follow the ledger."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Final, Literal

from asyncpg.pool import PoolConnectionProxy
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Database, Session, followers
from watchword_database.ids import new_id
from watchword_database.turns import TURN
from watchword_runtime.access import Caller
from watchword_token.models import Verifier

OWN_NAMES: Final = 100  # verifiers that one client may name by itself
INSTANCES: Final = 1_000  # of one verifier
LONGEST_BOUND_S: Final = 300.0
_PATIENCE_S: Final = 2.0

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Instance = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Audience = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[\x21-\x7e]+$")]
BoundS = Annotated[float, Field(ge=0.1, le=LONGEST_BOUND_S, allow_inf_nan=False)]
Policy = Literal["introspect", "refuse", "accept"]

_COUNT_INSTANCES: Final = "SELECT count(*) FROM bus.followers WHERE name = $1 AND kind = 'verifier' AND id <> $2"
_KNOWN: Final = "SELECT EXISTS (SELECT FROM bus.followers WHERE id = $1)"
# Whoever reports first under the name of a verifier without a client is its client from then on.
_CLAIM_NAME: Final = """
UPDATE token.verifiers SET client_id = $2 WHERE name = $1 AND client_id IS NULL
"""
_OWNER: Final = "SELECT client_id FROM token.verifiers WHERE name = $1"
_NAME_ONE: Final = f"""
INSERT INTO token.verifiers (id, name, audience, staleness_bound_s, policy, client_id, is_registered, created_at)
SELECT $1, $2, $3, $4, $5, $6, false, $7
 WHERE (SELECT count(*) FROM token.verifiers WHERE client_id = $6 AND NOT is_registered) < {OWN_NAMES}
ON CONFLICT (name) DO NOTHING
"""
_LEAVE: Final = """
DELETE FROM bus.followers WHERE kind = 'verifier' AND id IN (
    SELECT name || '/' || $1::text FROM token.verifiers WHERE client_id = $2)
"""
_FORGET_INSTANCES: Final = text("DELETE FROM bus.followers WHERE name = :name AND kind = 'verifier'")


class ForeignName(PermissionError):
    """The name belongs to another client."""


class TooMany(Exception):
    """The client names too many verifiers, or the verifier has too many instances."""


class NameTaken(Exception):
    """There is a verifier of this name."""


class NewVerifier(BaseModel):
    """A verifier to register. client_id: who alone may report for it; else whoever is the first to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    audience: Audience
    staleness_bound_s: BoundS = 5.0
    policy: Policy = "introspect"
    client_id: str | None = Field(None, min_length=1, max_length=128)


class Reported(BaseModel):
    """What a verifier says of one of its instances.

    name: of a registered verifier, or the client's own name for one.  position: up to which the instance has applied
    the ledger; nothing above the newest one counts.  kids: the keys that it would accept.  fresh: whether it follows
    the ledger within its bound at this moment.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    instance: Instance
    audience: Audience
    position: int = Field(ge=0, lt=1 << 53, strict=True)
    staleness_bound_s: BoundS
    policy: Policy
    kids: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(default=[], max_length=100)
    fresh: bool = True


class InstanceView(BaseModel):
    """An instance as last heard. is_reachable: heard within its staleness bound and a second."""

    instance: str
    position: int
    heard_at: datetime
    fresh: bool
    is_reachable: bool


class VerifierView(BaseModel):
    """A verifier. is_registered: by an administrator, not only by its own reports."""

    id: str
    name: str
    audience: str
    staleness_bound_s: float
    policy: str
    client_id: str | None
    is_registered: bool
    created_at: datetime
    instances: list[InstanceView]


async def register(session: Session, new: NewVerifier, *, now: datetime) -> VerifierView:
    """The verifier is known: as unreachable until one of its instances reports. Raises NameTaken."""
    row = Verifier(id=new_id(), is_registered=True, created_at=now, **new.model_dump())
    claim = insert(Verifier).values(**row.model_dump()).on_conflict_do_nothing().returning(col(Verifier.id))
    if (await session.exec(claim)).scalar_one_or_none() is None:
        raise NameTaken(new.name)
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO bus.followers (id, kind, name, position, bound_s, policy, audience)"
            " VALUES (:name, 'verifier', :name, :unheard, :bound_s, :policy, :audience)"
        ),
        {
            "name": row.name,
            "unheard": followers.UNHEARD,
            "bound_s": row.staleness_bound_s,
            "policy": row.policy,
            "audience": row.audience,
        },
    )
    return _view(row, [])


async def list_verifiers(session: Session, *, after: str, limit: int) -> Sequence[VerifierView]:
    """Verifiers with their instances, oldest first, behind the id `after`."""
    statement = select(Verifier).where(col(Verifier.id) > after).order_by(col(Verifier.id)).limit(limit)
    rows = (await session.exec(statement)).all()
    known = await followers.list_followers(session)
    return [_view(row, known) for row in rows]


async def find_verifier(session: Session, verifier_id: str) -> VerifierView | None:
    """One verifier with its instances."""
    row = await session.get(Verifier, verifier_id)
    return None if row is None else _view(row, await followers.list_followers(session))


async def forget(session: Session, verifier_id: str) -> bool:
    """The verifier and its instances are not waited for any more; False when there is none.

    One that still runs is known again, under its client's name, when it reports the next time.
    """
    row = await session.get(Verifier, verifier_id, with_for_update=True)
    if row is None:
        return False
    await (await session.connection()).execute(_FORGET_INSTANCES, {"name": row.name})
    await session.delete(row)
    return True


class Verifiers:
    """The reports of verifiers, which come many times a second: plain statements, no ORM."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, caller: Caller, said: Reported, *, now: datetime) -> None:
        """The instance has been heard. Raises ForeignName, TooMany."""
        pool = await self._database.raw_pool()
        name = await self._name(caller, said, now)
        follower = followers.Report(
            id=f"{name}/{said.instance}",
            kind="verifier",
            name=name,
            position=said.position,
            bound_s=said.staleness_bound_s,
            policy=said.policy,
            audience=said.audience,
            kids=said.kids,
            fresh=said.fresh,
        )
        if await pool.fetchval(_KNOWN, follower.id):
            await followers.report(pool, follower, timeout=_PATIENCE_S)
            return
        async with self._turn(f"token.verifiers.instances.{name}") as connection:
            if await connection.fetchval(_COUNT_INSTANCES, name, follower.id) >= INSTANCES:
                raise TooMany(name)
            await followers.report(connection, follower, timeout=_PATIENCE_S)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[PoolConnectionProxy]:
        """A transaction beside which no other has a turn of this name: what it counts stays so many."""
        pool = await self._database.raw_pool()
        async with pool.acquire(timeout=_PATIENCE_S) as connection, connection.transaction():
            await connection.execute(TURN, name, timeout=_PATIENCE_S)
            yield connection

    async def leave(self, caller: Caller, instance: str) -> None:
        """The instance of this client's accepts nothing any more and is not waited for."""
        pool = await self._database.raw_pool()
        await pool.execute(_LEAVE, instance, owner_of(caller), timeout=_PATIENCE_S)

    async def _name(self, caller: Caller, said: Reported, now: datetime) -> str:
        """The registered name, or else the one that this client has for it. Raises ForeignName, TooMany."""
        pool = await self._database.raw_pool()
        row = await pool.fetchrow(_OWNER, said.name)
        if row is not None:
            if row["client_id"] is None:
                await pool.execute(_CLAIM_NAME, said.name, owner_of(caller))
                row = await pool.fetchrow(_OWNER, said.name)
            if row is None or row["client_id"] != owner_of(caller):
                raise ForeignName(said.name)
            return said.name
        name = own_name(caller, said.name)
        if await pool.fetchrow(_OWNER, name) is not None:
            return name
        owner = owner_of(caller)
        values = (new_id(), name, said.audience, said.staleness_bound_s, said.policy, owner, now)
        async with self._turn(f"token.verifiers.names.{owner}") as connection:
            added = await connection.execute(_NAME_ONE, *values)
            if added == "INSERT 0 0" and await connection.fetchrow(_OWNER, name) is None:
                raise TooMany(name)
        return name


def owner_of(caller: Caller) -> str:
    """Whose names they are: the client's, or those of the person whose API key calls."""
    return caller.client_id or caller.user_id or ""


def own_name(caller: Caller, name: str) -> str:
    """What an unregistered verifier is called; no registered one can be called so."""
    return f"{owner_of(caller)}:{name}"


def _view(row: Verifier, known: Sequence[followers.Follower]) -> VerifierView:
    instances = [
        InstanceView(
            instance=each.id.rpartition("/")[2],
            position=each.position,
            heard_at=each.heard_at,
            fresh=each.fresh,
            is_reachable=not each.is_unreachable,
        )
        for each in known
        if each.kind == "verifier" and each.name == row.name and each.heard_at is not None
    ]
    return VerifierView(**row.model_dump(), instances=instances)
