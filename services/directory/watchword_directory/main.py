"""Composition root of the directory: the only place that constructs."""

from importlib.metadata import version
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from watchword_database import Database, transaction
from watchword_database.outbox import Relay
from watchword_directory import consumers, store
from watchword_directory.api import identity_router, user_router
from watchword_directory.edge import Parts
from watchword_directory.models import ApiKeyCopy, ProviderCopy
from watchword_directory.profiles import export
from watchword_directory.routes import internal, sign_in_router
from watchword_directory.settings import DirectorySettings
from watchword_directory.sweeper import Sweeper
from watchword_events.exports import ApiKeyExport, ProviderExport, UserExport
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
from watchword_web.cookies import Cookies
from watchword_web.failures import OUTAGES
from watchword_web.limits import Limiter

PATHS: Final[tuple[str, ...]] = ("/login/identity", "/api/v1/users", "/api/v1/identities")
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


def build(settings: DirectorySettings, shared: Shared) -> ServiceApp:
    """The directory, built but not started."""
    database = Database(
        settings.database_url.get_secret_value(), service=Service.DIRECTORY, pool_size=settings.pool_size
    )
    broker = Broker(settings, database)
    relay = Relay(database, lambda: broker.nc)
    wire_hints(database, broker)
    wire_relay(relay, broker)
    pulls = shared.internal.of(settings, Service.DIRECTORY)
    providers = Copy(
        entity="provider",
        owner=Service.ADMIN,
        table=ProviderCopy,
        export=ProviderExport,
        database=database,
        internal=pulls,
    )
    api_keys = Copy(
        entity="api_key",
        owner=Service.TOKEN,
        table=ApiKeyCopy,
        export=ApiKeyExport,
        database=database,
        internal=pulls,
    )
    consumers.subscribe(broker, providers=providers, api_keys=api_keys)

    async def find_user(user_id: str) -> UserExport | None:
        async with transaction(database) as session:
            user = await store.find_user(session, user_id)
        return None if user is None else export(user).data

    parts = Parts(
        settings=settings,
        database=database,
        feed=shared.feed,
        access=Access(
            settings,
            feed=shared.feed,
            internal=pulls,
            find_user=find_user,
            find_api_key=api_keys.get,
            now=shared.now,
            broker=broker,
        ),
        passwords=Passwords(),
        providers=providers,
        cookies=Cookies(settings),
        cursor=Cursor(settings.keyring.key("cursor")),
        now=shared.now,
        refused=Limiter(settings.refused_calls_per_s, settings.refused_calls_burst),
        sign_ins=Limiter(50, 200),
    )
    sweeper = Sweeper(database, now=shared.now)
    app = create_app(
        Service.DIRECTORY.value,
        title="Watchword directory",
        settings=settings,
        routers=[sign_in_router(parts), user_router(parts), identity_router(parts), internal(parts)],
        version=version("watchword-directory"),
        outages=(*OUTAGES, *AWAY),
    )

    async def start() -> None:
        await broker.start()
        relay.start()
        providers.start()
        api_keys.start()
        sweeper.start()

    async def stop() -> None:
        await sweeper.stop()
        await providers.stop()
        await api_keys.stop()
        await relay.stop()
        await broker.stop()
        parts.passwords.close()
        await database.dispose()

    def ready() -> str:
        waiting = [name for name, copy in (("providers", providers), ("API keys", api_keys)) if not copy.ready]
        return f"copies being filled: {', '.join(waiting)}" if waiting else ""

    return ServiceApp(Service.DIRECTORY, app, start=start, stop=stop, ready=ready)
