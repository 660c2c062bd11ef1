"""Composition root of admin: the only place that constructs."""

from importlib.metadata import version
from typing import Final

import structlog

from watchword_admin import consumers
from watchword_admin.api import client_router, provider_router
from watchword_admin.audit.api import audit_router
from watchword_admin.audit.my_activity import my_activity_router
from watchword_admin.audit.seals import PURPOSE as AUDIT_SEALS
from watchword_admin.audit.seals import Seals
from watchword_admin.bootstrap import ensure_own_clients
from watchword_admin.branding.api import BRANDING, MAX_BODY, branding_router
from watchword_admin.console.owners import owner_of
from watchword_admin.console.pages import Console
from watchword_admin.console.routes import console_router
from watchword_admin.console.sessions import HOME, ConsoleCookies, Sessions
from watchword_admin.declared import kinds
from watchword_admin.edge import PROVIDER_BODY, Parts
from watchword_admin.issuers.api import issuer_router
from watchword_admin.live import Live
from watchword_admin.models import ApiKeyCopy, OrganizationCopy, UserCopy
from watchword_admin.presets import Presets
from watchword_admin.registration.api import token_router
from watchword_admin.registration.documents import Documents
from watchword_admin.registration.documents_api import document_router
from watchword_admin.registration.reaper import Reaper
from watchword_admin.registration.routes import METHODS, REGISTER, register_router
from watchword_admin.resource_metadata import metadata_router
from watchword_admin.routes import SCHEMA, event_router, internal, schema_router
from watchword_admin.rules.api import account_router, rule_router
from watchword_admin.scopes.api import resource_router, scope_router
from watchword_admin.sector_addresses import Sectors
from watchword_admin.settings import AdminSettings
from watchword_admin.webhooks.api import webhook_router
from watchword_admin.webhooks.deliveries import Deliveries
from watchword_events.exports import ApiKeyExport, InvitationExport, OrganizationExport, UserExport
from watchword_events.names import Service
from watchword_runtime import outbound
from watchword_runtime.access import Access
from watchword_runtime.backbone import Backbone
from watchword_runtime.callers import RESOURCE_METADATA, Callers
from watchword_runtime.calls import Calls
from watchword_runtime.lifecycle import Once
from watchword_runtime.passwords import Passwords
from watchword_runtime.plans import Plans
from watchword_runtime.plans_api import MAX_BYTES, apply_path, plan_router
from watchword_runtime.receipts import Endings
from watchword_runtime.seal import SecretSeal
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_runtime.troubles import trouble_of
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.limits import Limiter
from watchword_web.pages import Pages

PATHS: Final[tuple[str, ...]] = (
    "/api/v1/audit",
    BRANDING,
    "/api/v1/clients",
    "/api/v1/me/activity",
    "/api/v1/providers",
    "/api/v1/client-documents",
    "/api/v1/issuers",
    "/api/v1/registration-tokens",
    "/api/v1/rules",
    "/api/v1/webhooks",
    "/api/v1/service-accounts",
    "/api/v1/scopes",
    "/api/v1/resources",
    "/api/v1/events",
    SCHEMA,
    apply_path(Service.ADMIN),
    REGISTER,
    RESOURCE_METADATA,
    "/admin",
)

log = structlog.get_logger()


def build(settings: AdminSettings, shared: Shared) -> ServiceApp:
    """admin, built but not started."""
    backbone = Backbone(Service.ADMIN, settings, shared, pool_size=settings.pool_size)
    database, broker, pulls = backbone.database, backbone.broker, backbone.pulls
    users = backbone.copy("user", UserCopy, UserExport)
    api_keys = backbone.copy("api_key", ApiKeyCopy, ApiKeyExport)
    organizations = backbone.copy("organization", OrganizationCopy, OrganizationExport)
    keyring = settings.keyring
    access = Access(
        settings,
        feed=shared.feed,
        internal=pulls,
        find_user=users.get,
        find_api_key=api_keys.get,
        key_uses=backbone.key_uses,
        now=shared.now,
        broker=broker,
    )

    async def invitation() -> InvitationExport:
        page = await pulls.export(Service.AUTHZ, "invitation", {"limit": 1})
        return InvitationExport.model_validate(page.items[0].data)

    endings = Endings(shared.feed, database)
    documents = Documents(settings, database, shared.feed, outbound.client(settings), endings, now=shared.now)
    sectors = Sectors(outbound.client(settings))
    passwords = Passwords()
    parts = Parts(
        settings=settings,
        database=database,
        feed=shared.feed,
        internal=shared.internal,
        access=access,
        organizations=organizations,
        callers=Callers(access, settings, shared.now),
        endings=endings,
        passwords=passwords,
        cursor=Cursor(keyring.key("cursor")),
        seal=SecretSeal(keyring.key("provider-secrets"), database),
        client_seal=SecretSeal(keyring.key("client-secrets"), database),
        webhook_seal=SecretSeal(keyring.key("webhook-secrets"), database),
        sectors=sectors,
        live=backbone.runs(Live(broker, streams=settings.event_streams, now=shared.now)),
        now=shared.now,
        console_calls=Limiter(settings.console_calls_per_s, settings.console_calls_burst),
        documents=documents,
        presets=Presets.load(settings.provider_presets),
        registrations=Limiter(settings.registration_calls_per_s, settings.registration_calls_burst),
        invitation=invitation,
    )
    seals = backbone.runs(Seals(database, keyring.key(AUDIT_SEALS), now=shared.now, keep=settings.audit_keep))
    deliveries = backbone.runs(Deliveries(settings, database, parts.webhook_seal, shared.telemetry, now=shared.now))
    broker.consume(
        {
            "user": consumers.on_user(database, users),
            "organization": organizations.on_events,
            "api_key": api_keys.on_events,
            "deliveries": deliveries.on_events,
        }
    )
    plans = Plans(database, shared.feed, kinds(parts), now=shared.now)
    pages = Pages(["watchword_web", "watchword_admin"], settings, static_path="/admin/static")
    sessions = Sessions(parts, users, shared.internal, ConsoleCookies(settings), keyring.key("forms"))
    app = create_app(
        Service.ADMIN.value,
        title="Watchword administration",
        settings=settings,
        routers=[
            audit_router(parts, seals),
            my_activity_router(parts),
            webhook_router(parts, deliveries),
            branding_router(parts),
            client_router(parts),
            provider_router(parts),
            issuer_router(parts),
            token_router(parts),
            document_router(parts),
            register_router(parts),
            metadata_router(parts),
            rule_router(parts),
            account_router(parts),
            plan_router(Service.ADMIN, plans, parts.callers, parts.endings, parts.cursor),
            schema_router(settings.public_url),
            scope_router(parts),
            resource_router(parts),
            event_router(parts),
            console_router(Console(parts, sessions, pages, Calls(shared.internal, settings, owner_of, HOME))),
            internal(parts),
        ],
        version=version("watchword-admin"),
        pages=pages,
        cors={REGISTER: METHODS, RESOURCE_METADATA: ("GET",)},
        large={apply_path(Service.ADMIN): MAX_BYTES},
        large_below={
            "/api/v1/providers": PROVIDER_BODY,
            "/admin/providers": PROVIDER_BODY,
            BRANDING: MAX_BODY,
            "/admin/branding": MAX_BODY,
        },
        judge=trouble_of,
    )
    backbone.runs(Reaper(database, pulls, shared.feed, endings, idle=settings.registration_idle, now=shared.now))

    async def register_own_clients() -> None:
        await ensure_own_clients(database, public_url=settings.public_url, now=shared.now())

    registering = Once(register_own_clients, failure="own_clients.not_registered")
    backbone.awaits("Watchword's own clients", backbone.runs(registering))
    for close in (documents.close, sectors.aclose, passwords.close):
        backbone.closes(close)
    return backbone.service(app)
