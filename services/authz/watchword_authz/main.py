"""The composition root: the only place that builds engines, brokers and clients of this service."""

from typing import Final, TypeVar

from watchword_authz import consumers, sweeper
from watchword_authz.asking import open_resources_of
from watchword_authz.clients import CopiedClients, origins_of, spender
from watchword_authz.closing import Closing
from watchword_authz.consent import by_name
from watchword_authz.context import Context
from watchword_authz.exporting import LOOKUPS, credential_exporter, invitation_exporter, session_exporter
from watchword_authz.hints import IdTokenHints
from watchword_authz.inviting import Inviting
from watchword_authz.mails import Mails
from watchword_authz.models import (
    ApiKeyCopy,
    BrandingCopy,
    ClientCopy,
    ProviderCopy,
    ResourceCopy,
    RuleCopy,
    ScopeCopy,
    UserCopy,
)
from watchword_authz.own_calls import owner_of
from watchword_authz.pairwise import finder
from watchword_authz.password_policy import PasswordPolicy
from watchword_authz.places import Places
from watchword_authz.routes import routers
from watchword_authz.sessions import Lifetimes
from watchword_authz.settings import AuthzSettings
from watchword_authz.throttle import limits_of
from watchword_events.exports import (
    ApiKeyExport,
    ClientExport,
    Export,
    ProviderExport,
    ResourceExport,
    RuleExport,
    ScopeExport,
    UserExport,
)
from watchword_events.names import Service
from watchword_runtime import outbound
from watchword_runtime.access import Access
from watchword_runtime.backbone import Backbone
from watchword_runtime.branding import follow_branding
from watchword_runtime.callers import Callers
from watchword_runtime.calls import Calls
from watchword_runtime.client_authentication import ClientAuthentication, means_of
from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.client_proofs import proofs_of
from watchword_runtime.decisions import KEY as DECISION_KEY
from watchword_runtime.decisions import DecisionLog
from watchword_runtime.dpop_proofs import EndpointProofs
from watchword_runtime.internal import router as internal_router
from watchword_runtime.pairwise import PURPOSE as PAIRWISE
from watchword_runtime.passwords import Passwords
from watchword_runtime.receipts import Endings
from watchword_runtime.rounds import Sweeper
from watchword_runtime.seal import SecretSeal
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_runtime.troubles import trouble_of
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.cookies import Cookies
from watchword_web.limits import Guesses, Limiter
from watchword_web.pages import Pages

VERSION: Final = "0.1.0"


E = TypeVar("E", bound=Export)

PAR: Final = "/oauth2/par"
# Prefixes that the gateway routes here; the longest prefix wins, so that directory's /login/identity is its own.
PATHS: Final[tuple[str, ...]] = (
    "/oauth2/authorize",
    PAR,
    "/oauth2/device_authorization",
    "/oauth2/logout",
    "/login",
    "/consent",
    "/device",
    "/account",
    "/api/v1/sessions",
    "/api/v1/consents",
    "/api/v1/credentials",
    "/api/v1/factor-requirements",
    "/api/v1/invitations",
    "/api/v1/mail",
    "/api/v1/decisions",
    "/api/v1/me",
    "/api/v1/settings",
    "/.well-known/change-password",
    "/.well-known/webfinger",
    "/.well-known/security.txt",
    "/robots.txt",
)


def build(settings: AuthzSettings, shared: Shared) -> ServiceApp:
    """The service, not yet started."""
    backbone = Backbone(Service.AUTHZ, settings, shared)
    database, broker, pulls = backbone.database, backbone.broker, backbone.pulls
    users = backbone.copy("user", UserCopy, UserExport)
    clients = backbone.copy("client", ClientCopy, ClientExport)
    providers = backbone.copy("provider", ProviderCopy, ProviderExport)
    api_keys = backbone.copy("api_key", ApiKeyCopy, ApiKeyExport)
    rules_copy = backbone.copy("rule", RuleCopy, RuleExport)
    scopes_copy = backbone.copy("scope", ScopeCopy, ScopeExport)
    resources_copy = backbone.copy("resource", ResourceCopy, ResourceExport)
    rules = backbone.rules(rules_copy)
    scopes = backbone.book("scope", scopes_copy, by_name)
    resources = backbone.book("resource", resources_copy, open_resources_of)
    origins = backbone.book("client", clients, origins_of)
    pages = Pages(["watchword_web", "watchword_authz"], settings)
    branding = follow_branding(backbone, BrandingCopy, pages)
    decisions = backbone.runs(DecisionLog(database, settings.keyring.key(DECISION_KEY)))
    passwords = Passwords()
    client_keys = ClientKeys(outbound.client(settings), shared.now)
    spend = spender(database)
    means = means_of(settings, feed=shared.feed, client_keys=client_keys, spend=spend, now=shared.now)
    whom = finder(database, clients, settings.keyring.key(PAIRWISE))
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
    seal = SecretSeal(settings.keyring.key("authenticators"), database)
    mails = Mails(
        database,
        seal,
        shared.now,
        server=settings.mail_server,
        sender=settings.mail_from,
        branding=pages.branding,
        public_url=settings.public_url,
    )
    password_policy = PasswordPolicy(
        outbound.client(settings),
        min_length=settings.password_min_length,
        breaches_url=settings.breached_passwords_url,
    )
    context = Context(
        settings=settings,
        database=database,
        feed=shared.feed,
        now=shared.now,
        users=users,
        clients=clients,
        providers=providers,
        rules=rules,
        decisions=decisions,
        audit=shared.audit,
        scopes=scopes,
        resources=resources,
        hints=IdTokenHints(access.keys, issuer=settings.issuer, feed=shared.feed, whom=whom),
        authentication=ClientAuthentication(CopiedClients(clients), proofs_of, passwords, means),
        client_keys=client_keys,
        proofs=EndpointProofs(
            f"{settings.issuer}/oauth2/par", settings.keyring.key("dpop-nonces"), spend, nonces_needed=False
        ),
        callers=Callers(access, settings, shared.now),
        endings=Endings(shared.feed, database),
        passwords=passwords,
        pages=pages,
        cookies=Cookies(settings),
        cursor=Cursor(settings.keyring.key("cursor")),
        forms_key=settings.keyring.key("forms"),
        seal=seal,
        mails=mails,
        password_policy=password_policy,
        places=backbone.runs(Places(settings.places_file)),
        limits=limits_of(settings),
        lifetimes=Lifetimes(idle=settings.session_idle, longest=settings.session_max),
        beginnings=Limiter(settings.flows_per_s, 5 * settings.flows_per_s),
        pushes=Limiter(settings.pushes_per_s, 5 * settings.pushes_per_s),
        guesses=Guesses(settings.client_failure_rate, settings.client_failure_burst),
        calls=Calls(shared.internal, settings, owner_of, "/account"),
    )
    inviting = Inviting(context, pulls)
    broker.consume(
        {
            "user": consumers.on_user(context),
            "client": clients.on_events,
            "provider": consumers.on_provider(context, inviting),
            "api_key": api_keys.on_events,
            "rule": rules_copy.on_events,
            "scope": scopes_copy.on_events,
            "resource": resources_copy.on_events,
            "branding": branding.on_events,
            "upstream_session": consumers.on_upstream_session(context),
        }
    )
    exporters = {
        "session": session_exporter(database, shared.now),
        "credential": credential_exporter(database, settings.local_passwords, shared.now),
        "invitation": invitation_exporter(
            are_allowed=settings.local_passwords and settings.invitations, are_sent=mails.are_sent
        ),
    }
    app = create_app(
        Service.AUTHZ.value,
        title="Watchword authz",
        settings=settings,
        routers=[
            *routers(context),
            internal_router(
                settings.keyring, Service.AUTHZ, exporters, lookups=LOOKUPS, now=shared.now, clients=shared.internal
            ),
        ],
        version=VERSION,
        pages=context.pages,
        cors={PAR: ("POST",)},
        origins=lambda origin: origins.ready and origin in origins.page,
        judge=trouble_of,
    )

    async def sweep() -> None:
        await sweeper.sweep(database, feed=shared.feed, now=shared.now(), keep_decisions=settings.decisions_keep)

    backbone.runs(Sweeper(sweep, every_s=sweeper.EVERY_S))
    backbone.runs(Closing(database, feed=shared.feed, now=shared.now))
    backbone.runs(mails)
    backbone.runs(inviting)
    for close in (password_policy.aclose, client_keys.aclose, passwords.close):
        backbone.closes(close)
    return backbone.service(app)
