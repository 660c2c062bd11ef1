"""Composition root of admin: the only place that constructs."""

import asyncio
from importlib.metadata import version
from typing import Final

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from watchword_admin import consumers
from watchword_admin.api import client_router, provider_router
from watchword_admin.bootstrap import ensure_console
from watchword_admin.console.pages import Console
from watchword_admin.console.routes import console_router
from watchword_admin.console.sessions import ConsoleCookies, Sessions
from watchword_admin.edge import Parts
from watchword_admin.live import Live
from watchword_admin.models import ApiKeyCopy, UserCopy
from watchword_admin.providers import SecretSeal
from watchword_admin.routes import event_router, internal
from watchword_admin.settings import AdminSettings
from watchword_database import Database
from watchword_database.outbox import Relay
from watchword_events.exports import ApiKeyExport, UserExport
from watchword_events.names import Service
from watchword_runtime.access import Access
from watchword_runtime.broker import Broker, wire_hints, wire_relay
from watchword_runtime.copies import Copy
from watchword_runtime.internal import Unreachable
from watchword_runtime.passwords import Busy, Passwords
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.failures import OUTAGES
from watchword_web.limits import Limiter
from watchword_web.pages import Pages

PATHS: Final[tuple[str, ...]] = ("/api/v1/clients", "/api/v1/providers", "/api/v1/events", "/admin")
# What says that a server we need is away, beyond the usual network errors.
AWAY: Final = (
    DBAPIError,
    PoolTimeout,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    Unreachable,
    Busy,
)
_RETRY_S: Final = 0.5

log = structlog.get_logger()


def build(settings: AdminSettings, shared: Shared) -> ServiceApp:
    """admin, built but not started."""
    database = Database(settings.database_url.get_secret_value(), service=Service.ADMIN, pool_size=settings.pool_size)
    broker = Broker(settings, database)
    relay = Relay(database, lambda: broker.nc)
    wire_hints(database, broker)
    wire_relay(relay, broker)
    pulls = shared.internal.of(settings, Service.ADMIN)
    users = Copy(
        entity="user", owner=Service.DIRECTORY, table=UserCopy, export=UserExport, database=database, internal=pulls
    )
    api_keys = Copy(
        entity="api_key", owner=Service.TOKEN, table=ApiKeyCopy, export=ApiKeyExport, database=database, internal=pulls
    )
    consumers.subscribe(broker, users=users, api_keys=api_keys)
    keyring = settings.keyring
    parts = Parts(
        settings=settings,
        database=database,
        feed=shared.feed,
        access=Access(
            settings,
            feed=shared.feed,
            internal=pulls,
            find_user=users.get,
            find_api_key=api_keys.get,
            now=shared.now,
            broker=broker,
        ),
        passwords=Passwords(),
        cursor=Cursor(keyring.key("cursor")),
        seal=SecretSeal(keyring.key("provider-secrets")),
        live=Live(broker, streams=settings.event_streams, now=shared.now),
        now=shared.now,
        refused=Limiter(settings.refused_calls_per_s, settings.refused_calls_burst),
        console_calls=Limiter(20, 100),
    )
    pages = Pages(["watchword_web", "watchword_admin"], settings, static_path="/admin/static")
    sessions = Sessions(parts, users, shared.internal, ConsoleCookies(settings), keyring.key("forms"))
    app = create_app(
        Service.ADMIN.value,
        title="Watchword administration",
        settings=settings,
        routers=[
            client_router(parts),
            provider_router(parts),
            event_router(parts),
            console_router(Console(parts, sessions, pages)),
            internal(parts),
        ],
        version=version("watchword-admin"),
        pages=pages,
        outages=(*OUTAGES, *AWAY),
    )
    registered = asyncio.Event()

    async def register_console() -> None:
        while not registered.is_set():
            try:
                await ensure_console(database, public_url=settings.public_url, now=shared.now())
                registered.set()
            except (OSError, *AWAY) as error:
                log.warning("console.not_registered", error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    background: list[asyncio.Task[None]] = []

    async def start() -> None:
        await broker.start()
        relay.start()
        users.start()
        api_keys.start()
        parts.live.start()
        background.append(asyncio.create_task(register_console(), name="register-console"))

    async def stop() -> None:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await parts.live.stop()
        await users.stop()
        await api_keys.stop()
        await relay.stop()
        await broker.stop()
        parts.passwords.close()
        await database.dispose()

    def ready() -> str:
        waiting = [name for name, copy in (("users", users), ("API keys", api_keys)) if not copy.ready]
        if waiting:
            return f"copies being filled: {', '.join(waiting)}"
        return "" if registered.is_set() else "the console is being registered"

    return ServiceApp(Service.ADMIN, app, start=start, stop=stop, ready=ready)
