"""Builds any of the five services in this process and what they share: the feed, pulls, the clock."""

import asyncio
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Protocol, get_type_hints

import structlog

from watchword.gateway import BasePath, Gateway, by_prefix
from watchword.leaving import Leaving
from watchword_database.engine import Database
from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_runtime.audit_log import AuditLog, Calls
from watchword_runtime.broker import Broker
from watchword_runtime.clock import Clock, utc_now
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClients
from watchword_runtime.positions import Positioned, Positions
from watchword_runtime.service import ASGIApp, ServiceApp
from watchword_runtime.settings import ServiceSettings, load
from watchword_runtime.shared import Shared
from watchword_runtime.telemetry import Measured, Telemetry
from watchword_web.hot import HotPaths

log = structlog.get_logger()


class Main(Protocol):
    """A service's `main` module. PATHS: the path prefixes that are its own, without the base path."""

    PATHS: tuple[str, ...]
    build: Callable[[ServiceSettings, Shared], ServiceApp]


def main_of(service: Service) -> Main:
    """The composition root of a service; imports nothing of the others."""
    return importlib.import_module(f"watchword_{service}.main")


def settings_of(service: Service, given: Mapping[str, object]) -> ServiceSettings:
    """The service's own kind of settings: `given`, then the environment. Raises SystemExit with the remedy."""
    wanted: type[ServiceSettings] = get_type_hints(main_of(service).build)["settings"]
    return load(wanted, **given)


@dataclass
class Process:
    """The services of one process: built, not yet started."""

    app: ASGIApp
    services: tuple[ServiceApp, ...]
    shared: Shared
    database: Database
    broker: Broker
    leaving: Leaving
    hot: frozenset[str]
    _started: list[ServiceApp] = field(default_factory=list)

    async def start(self) -> None:
        """Every service was started; none waited for NATS or for another."""
        await self.broker.start()
        await self.shared.feed.start()
        self.shared.audit.start()
        for service in self.services:
            self._started.append(service)
            await service.start()

    async def stop(self) -> None:
        """Everything that start() began has ended, in the opposite order."""
        for service in reversed(self._started):
            await service.stop()
        self._started.clear()
        await self.shared.audit.stop()
        await self.shared.feed.stop()
        await self.broker.stop()
        await self.shared.internal.close()
        await self.database.dispose()

    def waiting_for(self) -> dict[str, str]:
        """Why the process is not ready, by service; empty when it is."""
        reasons = {service.name.value: service.ready() for service in self.services}
        if not self.shared.feed.ready:
            reasons["feed"] = "the revocation ledger has not been loaded, or cannot be followed"
        return {name: reason for name, reason in reasons.items() if reason}

    async def until_ready(self, within_s: float) -> None:
        """Returns when the process is ready. Raises TimeoutError with what it waits for."""
        try:
            async with asyncio.timeout(within_s):
                while self.waiting_for():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"not ready within {within_s:.0f} s: {self.waiting_for()}") from None


def compose(settings: Mapping[Service, ServiceSettings], *, now: Clock = utc_now, alone: bool = False) -> Process:
    """The services that `settings` names behind one gateway.

    alone: the process serves one service of several behind an outer gateway, so /internal is reachable for the others.
    """
    keeper = Service.TOKEN if Service.TOKEN in settings else next(iter(settings))
    common = settings[keeper]
    database = Database(common.database_url.get_secret_value(), service=keeper, pool_size=2)
    broker = Broker(common, database)
    apps: dict[Service, ASGIApp] = {}
    instance = new_id()
    feed = Feed(database, broker, instance=instance, name=" ".join(service.value for service in settings))
    telemetry = Telemetry(version("watchword"))
    audit, positions = AuditLog(database, telemetry), Positions(database, feed)
    shared = Shared(
        feed=feed,
        internal=InternalClients(apps, now),
        now=now,
        instance=instance,
        audit=audit,
        telemetry=telemetry,
        positions=positions,
    )
    built = []
    for service, own in settings.items():
        service_app = main_of(service).build(own, shared)
        apps[service] = service_app.app
        built.append(service_app)
    prefixes = by_prefix((main_of(each.name).PATHS, each.app) for each in built)
    gateway = Gateway(
        prefixes,
        default=built[0].app,
        internal=alone,
        home=f"{common.public_url}/admin",
    )
    leaving = Leaving(Calls(gateway, audit))
    hot = {path: app for each in built for path, app in each.hot.items()}
    front: ASGIApp = Positioned(HotPaths(leaving, hot), positions, frozenset(hot))
    front = Measured(front, telemetry.requests, hot)
    if common.base_path:
        front = BasePath(front, common.base_path)
    return Process(front, tuple(built), shared, database, broker, leaving, frozenset(hot))
