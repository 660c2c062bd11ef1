"""The composition root of the federation service: the only place that constructs."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Final, TypeVar

import structlog

from watchword_events.exports import ENTITIES, ApiKeyExport, Export, IdentityExport, ProviderExport, UserExport
from watchword_events.names import Service
from watchword_federation import sweeper
from watchword_federation.connectors.oauth2 import OAuth2Connector
from watchword_federation.connectors.oidc import OidcConnector
from watchword_federation.connectors.saml import SamlConnector
from watchword_federation.connectors.saml_keys import KeyStore
from watchword_federation.connectors.saml_logout import SamlLogout
from watchword_federation.connectors.saml_sources import Sources
from watchword_federation.connectors.saml_sp import BASE, ServiceProvider
from watchword_federation.connectors.saml_watch import Watch
from watchword_federation.connectors.token_requests import TokenRequests
from watchword_federation.connectors.ways import Ways
from watchword_federation.consumers import Consumers
from watchword_federation.edge import Federation, FindIdentities
from watchword_federation.fetched import Fetched
from watchword_federation.flows import FlowSeal
from watchword_federation.metadata import PlainHttp
from watchword_federation.models import BrandingCopy, ProviderCopy
from watchword_federation.routes import routers
from watchword_federation.routes.saml import MAX_FORM
from watchword_federation.settings import FederationSettings
from watchword_runtime.access import Access
from watchword_runtime.backbone import Backbone
from watchword_runtime.branding import follow_branding
from watchword_runtime.callers import Callers
from watchword_runtime.internal import InternalClient
from watchword_runtime.keyring import Keyring, Sealer, Unsealable
from watchword_runtime.rounds import Sweeper
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_runtime.troubles import trouble_of
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.cookies import Cookies
from watchword_web.limits import Limiter
from watchword_web.pages import Pages

PATHS: Final[tuple[str, ...]] = ("/api/auth/sso/", "/api/v1/upstream", "/api/v1/providers/*/test")

# Each holds a connection to PostgreSQL while the provider answers.
RENEWALS: Final = 2

E = TypeVar("E", bound=Export)

log = structlog.get_logger()


def build(settings: FederationSettings, shared: Shared) -> ServiceApp:
    """The federation service of one process, not yet started."""
    backbone = Backbone(Service.FEDERATION, settings, shared)
    database, broker, pulls = backbone.database, backbone.broker, backbone.pulls
    keyring = settings.keyring
    providers = backbone.copy("provider", ProviderCopy, ProviderExport)
    identities_of = asked_identities(pulls)
    ways = Ways(settings)
    backbone.closes(ways.close)
    fetched = Fetched(database, shared.now)
    sources = Sources(database, ways, shared.now)
    keys = KeyStore(database, keyring.key("saml-keys"), public_url=settings.public_url, now=shared.now)
    saml = SamlConnector(sources, keys, ServiceProvider(settings.public_url), shared.now)
    access = Access(
        settings,
        feed=shared.feed,
        internal=pulls,
        find_user=asked(pulls, "user", UserExport),
        find_api_key=asked(pulls, "api_key", ApiKeyExport),
        key_uses=backbone.key_uses,
        now=shared.now,
        broker=broker,
    )
    pages = Pages(["watchword_web", "watchword_federation"], settings)
    branding = follow_branding(backbone, BrandingCopy, pages)
    requests = TokenRequests(secret_opener(keyring))
    plain_http = PlainHttp(settings.environment == "demo", tuple(settings.outbound_allow))
    oidc = OidcConnector(fetched, ways, requests, plain_http=plain_http, public_url=settings.public_url)
    oauth2 = OAuth2Connector(ways, requests, plain_http=plain_http)
    federation = Federation(
        settings=settings,
        database=database,
        providers=providers,
        connectors={
            "oidc": oidc,
            "oauth2": oauth2,
            "saml": saml,
        },
        oidc=oidc,
        oauth2=oauth2,
        saml=saml,
        logout=SamlLogout(saml),
        ways=ways,
        requests=requests,
        seal=FlowSeal(keyring.key("upstream-flow"), database),
        feed=shared.feed,
        cookies=Cookies(settings),
        pages=pages,
        callers=Callers(access, settings, shared.now),
        cursor=Cursor(keyring.key("cursor")),
        forms_key=keyring.key("forms"),
        renewals=asyncio.Semaphore(RENEWALS),
        identities_of=identities_of,
        limiter=Limiter(settings.federation_address_rate, settings.federation_address_burst),
        audit=shared.audit,
        now=shared.now,
    )
    backbone.runs(Watch(database, sources, keys, shared.now))
    backbone.runs(Sweeper(lambda: sweeper.sweep(database, now=shared.now()), every_s=sweeper.EVERY_S))
    Consumers(database, providers, branding, fetched, sources, identities_of, shared.now).subscribe(broker)
    app = create_app(
        Service.FEDERATION.value,
        title="Watchword federation",
        settings=settings,
        routers=routers(federation),
        version=version("watchword-federation"),
        pages=pages,
        judge=trouble_of,
        large_below={f"{BASE}/acs/": MAX_FORM, f"{BASE}/slo/": MAX_FORM},
    )
    return backbone.service(app)


def asked(pulls: InternalClient, entity: str, export: type[E]) -> Callable[[str], Awaitable[E | None]]:
    """Finds an entity by asking its owner each time.

    Administrators call seldom, and the service that parses what strangers send shall hold no copy of all people.
    """

    async def find(id: str) -> E | None:  # noqa: A002 - the entity's own word
        page = await pulls.export(ENTITIES[entity][0], entity, {"id": [id]})
        found = next((item for item in page.items if item.id == id and not item.deleted), None)
        return None if found is None else export.model_validate(found.data)

    return find


def asked_identities(pulls: InternalClient) -> FindIdentities:
    """Finds the identities that lead to a user by asking directory each time: what was unlinked is gone at once."""

    async def find(user_id: str) -> Sequence[IdentityExport]:
        page = await pulls.export(Service.DIRECTORY, "identity", {"user_id": user_id})
        return [IdentityExport.model_validate(item.data) for item in page.items if not item.deleted]

    return find


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
