"""The composition root of the federation service: the only place that constructs."""

import base64
import binascii
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import asyncpg
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from watchword_database import Database
from watchword_events.exports import ProviderExport
from watchword_events.names import Service
from watchword_federation.connectors.oidc import OidcConnector
from watchword_federation.consumers import Consumers
from watchword_federation.fetched import Fetched
from watchword_federation.flows import FlowSeal
from watchword_federation.metadata import PlainHttp
from watchword_federation.models import ProviderCopy
from watchword_federation.routes import Federation, router
from watchword_federation.settings import FederationSettings
from watchword_runtime import outbound
from watchword_runtime.broker import Broker, wire_hints
from watchword_runtime.copies import Copy
from watchword_runtime.keyring import Keyring, Sealer, Unsealable
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_web.app import create_app
from watchword_web.cookies import Cookies
from watchword_web.failures import OUTAGES
from watchword_web.limits import Limiter

PATHS: Final[tuple[str, ...]] = ("/api/auth/sso/",)
# PostgreSQL is away; a statement that is wrong is not among these.
AWAY: Final = (OperationalError, InterfaceError, PoolTimeout, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)

log = structlog.get_logger()


def build(settings: FederationSettings, shared: Shared) -> ServiceApp:
    """The federation service of one process, not yet started."""
    database = Database(settings.database_url.get_secret_value(), service=Service.FEDERATION)
    broker = Broker(settings, database)
    wire_hints(database, broker)
    providers = Copy(
        entity="provider",
        owner=Service.ADMIN,
        table=ProviderCopy,
        export=ProviderExport,
        database=database,
        internal=shared.internal.of(settings, Service.FEDERATION),
    )
    client = outbound.client(settings)
    transport = outbound.transport(settings)
    fetched = Fetched(database, client, shared.now)
    federation = Federation(
        settings=settings,
        database=database,
        providers=providers,
        connectors={
            "oidc": OidcConnector(
                fetched,
                client=client,
                transport=transport,
                open_secret=secret_opener(settings.keyring),
                plain_http=PlainHttp(settings.environment == "demo", tuple(settings.outbound_allow)),
            )
        },
        seal=FlowSeal(settings.keyring.key("upstream-flow")),
        feed=shared.feed,
        cookies=Cookies(settings),
        limiter=Limiter(settings.federation_address_rate, settings.federation_address_burst),
        now=shared.now,
    )
    Consumers(database, providers, fetched).subscribe(broker)
    app = create_app(
        Service.FEDERATION.value,
        title="Watchword federation",
        settings=settings,
        routers=[router(federation)],
        version=version("watchword-federation"),
        outages=(*OUTAGES, *AWAY),
    )

    async def start() -> None:
        await broker.start()
        providers.start()

    async def stop() -> None:
        await providers.stop()
        await broker.stop()
        await client.aclose()
        await transport.aclose()
        await database.dispose()

    def ready() -> str:
        if not providers.ready:
            return "the copy of providers has not been filled"
        return "" if shared.feed.ready else "the revocation feed is not followed"

    return ServiceApp(name=Service.FEDERATION, app=app, start=start, stop=stop, ready=ready)


def secret_opener(keyring: Keyring) -> Callable[[ProviderExport], str | None]:
    """How a provider's client secret is read: it travels sealed for this service, bound to the provider's id."""
    opener = Sealer(keyring.key("provider-secrets"), 0)

    def open_secret(provider: ProviderExport) -> str | None:
        if provider.client_secret is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(provider.client_secret + "=" * (-len(provider.client_secret) % 4))
            return opener.open(sealed, provider.id.encode()).decode()
        except (binascii.Error, ValueError, Unsealable):
            # The provider refuses the exchange, and this line says why.
            log.error("provider_secret.unreadable", provider_id=provider.id)
            return None

    return open_secret
