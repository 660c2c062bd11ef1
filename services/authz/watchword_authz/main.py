"""The composition root: the only place that builds engines, brokers and clients of this service."""

from typing import Final, TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from watchword_authz import consumers
from watchword_authz.context import Context
from watchword_authz.hints import IdTokenHints
from watchword_authz.models import ApiKeyCopy, ClientCopy, ProviderCopy, UserCopy
from watchword_authz.routes import routers
from watchword_authz.sessions import Lifetimes
from watchword_authz.settings import AuthzSettings
from watchword_authz.sweeper import Sweeper
from watchword_authz.throttle import limits_of
from watchword_database.base import CopyColumns
from watchword_database.engine import Database
from watchword_database.outbox import Relay
from watchword_events.exports import ENTITIES, ApiKeyExport, ClientExport, Export, ProviderExport, UserExport
from watchword_events.names import Service
from watchword_runtime.access import Access
from watchword_runtime.broker import Broker, wire_hints, wire_relay
from watchword_runtime.copies import Copy
from watchword_runtime.passwords import Passwords
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.cookies import Cookies
from watchword_web.failures import OUTAGES
from watchword_web.limits import Limiter
from watchword_web.pages import Pages

VERSION: Final = "0.1.0"

# PostgreSQL is away, or this service's pool is exhausted: 503, try again.
_AWAY: Final = (DBAPIError, PoolTimeout, asyncpg.PostgresError, asyncpg.InterfaceError)

E = TypeVar("E", bound=Export)

# Prefixes that the gateway routes here; the longest prefix wins, so that directory's /login/identity is its own.
PATHS: Final[tuple[str, ...]] = (
    "/oauth2/authorize",
    "/oauth2/logout",
    "/login",
    "/consent",
    "/api/v1/sessions",
    "/api/v1/consents",
    "/api/v1/credentials",
)


def build(settings: AuthzSettings, shared: Shared) -> ServiceApp:
    """The service, not yet started."""
    database = Database(settings.database_url.get_secret_value(), service=Service.AUTHZ)
    broker = Broker(settings, database)
    relay = Relay(database, lambda: broker.nc)
    wire_hints(database, broker)
    wire_relay(relay, broker)
    internal = shared.internal.of(settings, Service.AUTHZ)

    def copy(entity: str, table: type[CopyColumns], export: type[E]) -> Copy[E]:
        owner = ENTITIES[entity][0]
        return Copy(entity=entity, owner=owner, table=table, export=export, database=database, internal=internal)

    users = copy("user", UserCopy, UserExport)
    clients = copy("client", ClientCopy, ClientExport)
    providers = copy("provider", ProviderCopy, ProviderExport)
    api_keys = copy("api_key", ApiKeyCopy, ApiKeyExport)
    copies = (users, clients, providers, api_keys)
    passwords = Passwords()
    context = Context(
        settings=settings,
        database=database,
        feed=shared.feed,
        now=shared.now,
        users=users,
        clients=clients,
        providers=providers,
        hints=IdTokenHints(internal, issuer=settings.issuer, feed=shared.feed, now=shared.now),
        access=Access(
            settings,
            feed=shared.feed,
            internal=internal,
            find_user=users.get,
            find_api_key=api_keys.get,
            now=shared.now,
            broker=broker,
        ),
        passwords=passwords,
        pages=Pages(["watchword_web", "watchword_authz"], settings),
        cookies=Cookies(settings),
        cursor=Cursor(settings.keyring.key("cursor")),
        forms_key=settings.keyring.key("forms"),
        limits=limits_of(settings),
        lifetimes=Lifetimes(idle=settings.session_idle, longest=settings.session_max),
        beginnings=Limiter(settings.flows_per_s, 5 * settings.flows_per_s),
    )
    consumers.listen(
        broker,
        {
            "user": consumers.on_user(context),
            "client": clients.on_events,
            "provider": providers.on_events,
            "api_key": api_keys.on_events,
        },
    )
    app = create_app(
        Service.AUTHZ.value,
        title="Watchword authz",
        settings=settings,
        routers=routers(context),
        version=VERSION,
        pages=context.pages,
        outages=(*OUTAGES, *_AWAY),
    )
    sweeper = Sweeper(database, feed=shared.feed, now=shared.now)

    async def start() -> None:
        await broker.start()
        relay.start()
        for each in copies:
            each.start()
        sweeper.start()

    async def stop() -> None:
        await sweeper.stop()
        for each in copies:
            await each.stop()
        await relay.stop()
        await broker.stop()
        passwords.close()
        await database.dispose()

    def ready() -> str:
        return "" if all(each.ready for each in copies) else "copies are being filled"

    return ServiceApp(Service.AUTHZ, app, start=start, stop=stop, ready=ready)
