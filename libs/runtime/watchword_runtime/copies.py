"""Copies: tables that follow another service's entities by their versions."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from watchword_database.base import CopyColumns
from watchword_database.engine import Database
from watchword_events.exports import Export
from watchword_events.names import Service
from watchword_runtime.broker import Received
from watchword_runtime.internal import InternalClient

E = TypeVar("E", bound=Export)


class CopyNotReady(Exception):
    """The copy has never been filled and its owner cannot be reached."""


class Copy(Generic[E]):
    """This service's copy of an entity that another owns. Never older over newer; deletions leave tombstones.

    Columns of the table beyond CopyColumns are filled from the exported field of the same name, so that `find` can
    look them up.
    """

    def __init__(
        self,
        *,
        entity: str,
        owner: Service,
        table: type[CopyColumns],
        export: type[E],
        database: Database,
        internal: InternalClient,
    ) -> None:
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """True once the copy has been filled (now or in an earlier life)."""
        raise NotImplementedError

    async def get(self, id: str, min_version: int = 0) -> E | None:  # noqa: A002 - the column's name
        """The entity at `min_version` or newer, from the table or else pulled once; None when unknown or deleted."""
        raise NotImplementedError

    async def find(self, **column: str) -> E | None:
        """The entity with this value in one unique column, from the table or else pulled once; None when there is none."""
        raise NotImplementedError

    async def pull(self, ids: Iterable[str]) -> None:
        """The copy holds these entities as the owner has them now. Raises internal.Unreachable."""
        raise NotImplementedError

    async def fill(self) -> None:
        """The copy holds everything the owner has, if it was never filled before. Raises internal.Unreachable."""
        raise NotImplementedError

    async def on_events(self, received: list[Received]) -> None:
        """The handler for `Broker.work`: what the events name is pulled, unless the copy is as new already."""
        raise NotImplementedError

    def start(self) -> None:
        """The copy is being filled in the background, tried again until it is."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Nothing is being filled any more."""
        raise NotImplementedError
