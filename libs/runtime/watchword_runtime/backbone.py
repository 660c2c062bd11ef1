"""What every service stands on: its database, its line to NATS, and its copies of what others own."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from fastapi import FastAPI

from watchword_database import Database
from watchword_database.base import CopyColumns
from watchword_database.outbox import Relay
from watchword_events.exports import ENTITIES, Export, RuleExport
from watchword_events.names import Service
from watchword_runtime.books import Book
from watchword_runtime.broker import Broker, wire_hints, wire_relay
from watchword_runtime.copies import Copy
from watchword_runtime.key_uses import KeyUses
from watchword_runtime.lifecycle import Lifecycle
from watchword_runtime.rules import RuleBook
from watchword_runtime.service import ASGIApp, ServiceApp
from watchword_runtime.settings import ServiceSettings
from watchword_runtime.shared import Shared

E = TypeVar("E", bound=Export)
T = TypeVar("T")


class Backbone(Lifecycle):
    """Made first by a service's `build`, which adds what it needs beside it."""

    def __init__(self, service: Service, settings: ServiceSettings, shared: Shared, *, pool_size: int = 4) -> None:
        """pool_size: connections to PostgreSQL that are kept."""
        super().__init__()
        self._service = service
        self._feed = shared.feed
        self.database = Database(settings.database_url.get_secret_value(), service=service, pool_size=pool_size)
        self.closes(self.database.dispose)
        self.broker = self.runs(Broker(settings, self.database))
        self.relay = self.runs(Relay(self.database, lambda: self.broker.nc))
        self.pulls = shared.internal.of(settings, service)
        self.key_uses = self.runs(KeyUses(self.database))
        shared.positions.follow(self.broker)
        wire_hints(self.database, self.broker)
        wire_relay(self.relay, self.broker)

    def copy(self, entity: str, table: type[CopyColumns], export: type[E]) -> Copy[E]:
        """A copy of what another service owns; the service waits until it has been filled."""
        made = Copy(
            entity=entity,
            owner=ENTITIES[entity][0],
            table=table,
            export=export,
            database=self.database,
            internal=self.pulls,
        )
        self._feed.on_epoch(made.begin_anew)
        return self.awaits(f"its copy of {entity}s", self.runs(made))

    def book(self, entity: str, copy: Copy[E], make: Callable[[Sequence[E]], T]) -> Book[E, T]:
        """A book made of a copy; the service waits until it has been read."""
        made = Book(entity, copy, self.broker, owner=ENTITIES[entity][0], make=make)
        return self.awaits(f"its book of {entity}s", self.runs(made))

    def rules(self, copy: Copy[RuleExport]) -> RuleBook:
        """The access rules; the service waits until they have been read."""
        return self.awaits("its book of rules", self.runs(RuleBook(copy, self.broker)))

    def service(self, app: FastAPI, *, hot: Mapping[str, ASGIApp] | None = None) -> ServiceApp:
        """The service, built but not started."""
        return ServiceApp(
            self._service,
            app,
            hot=hot or {},
            start=self.start,
            stop=self.stop,
            ready=self.waits_for,
            database=self.database,
            relayed=lambda: self.relay.published,
        )
