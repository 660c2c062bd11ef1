"""Composition root of the token service: with `hot`, the only place that constructs."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Final

import structlog
from fastapi import FastAPI
from starlette.routing import Route

from watchword_database import Database, transaction
from watchword_database.engine import LEDGER_HINT
from watchword_events.exports import (
    ApiKeyExport,
    ClientExport,
    Exported,
    IssuerExport,
    ResourceExport,
    RuleExport,
    ScopeExport,
    UserExport,
)
from watchword_events.names import Service
from watchword_events.revocations import Claim
from watchword_runtime import opaque_tokens, outbound
from watchword_runtime.access import Access
from watchword_runtime.backbone import Backbone
from watchword_runtime.branding import follow_branding
from watchword_runtime.callers import Callers
from watchword_runtime.client_authentication import means_of
from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.decisions import KEY as DECISION_KEY
from watchword_runtime.decisions import DecisionLog
from watchword_runtime.internal import ExportQuery
from watchword_runtime.internal import router as internal_router
from watchword_runtime.jwks import JWKS_PATH, Genuine
from watchword_runtime.lifecycle import Once
from watchword_runtime.pairwise import PURPOSE as PAIRWISE
from watchword_runtime.passwords import Passwords
from watchword_runtime.receipts import Endings
from watchword_runtime.rounds import Sweeper
from watchword_runtime.service import ASGIApp, ServiceApp
from watchword_runtime.shared import Shared
from watchword_runtime.troubles import trouble_of
from watchword_token import api_keys, sweeper
from watchword_token.access import AccessRules
from watchword_token.additions import Additions
from watchword_token.approvals import Approvals
from watchword_token.backchannel import Deliveries
from watchword_token.binding import Bindings
from watchword_token.client_use import client_use_exporter
from watchword_token.clients import Clients, client_of
from watchword_token.consumers import Follower, Memory
from watchword_token.edge import Parts
from watchword_token.families import Families
from watchword_token.feed_api import FeedApi
from watchword_token.foreign import TrustedIssuers
from watchword_token.formats import Formats
from watchword_token.front_channel import FrontChannel
from watchword_token.hot import hot_endpoints
from watchword_token.issuing import Issuing
from watchword_token.keys import Keys
from watchword_token.ledger import Ledger
from watchword_token.memory import Kept
from watchword_token.metadata import JWKS_ALIAS, OAUTH_PATH, OPENID_PATH
from watchword_token.models import BrandingCopy, ClientCopy, IssuerCopy, ResourceCopy, RuleCopy, ScopeCopy, UserCopy
from watchword_token.own_claims import scopes_of
from watchword_token.pairwise import Names
from watchword_token.profile import User
from watchword_token.registered import Registered
from watchword_token.resources import resources_of
from watchword_token.revocation import Revoking
from watchword_token.rotation import Rotation
from watchword_token.routes import described
from watchword_token.routes.api import api_routers
from watchword_token.routes.feed import feed_router
from watchword_token.routes.front_channel import front_channel_router
from watchword_token.settings import TokenSettings
from watchword_token.spent import Spent
from watchword_token.store import HotStore
from watchword_token.throttle import Throttle
from watchword_token.tokens import InvalidToken, Tokens
from watchword_token.trial import Trials
from watchword_token.verifiers import Verifiers
from watchword_token.workloads import Workloads
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.pages import Pages

log = structlog.get_logger()

VERSION: Final = "0.1.0"
PATHS: Final[tuple[str, ...]] = (
    "/oauth2/token",
    "/oauth2/introspect",
    "/oauth2/revoke",
    "/oauth2/userinfo",
    JWKS_PATH,
    JWKS_ALIAS,
    "/oauth2/authorize/answer",
    OPENID_PATH,
    OAUTH_PATH,
    "/revocations",
    "/api/v1/keys",
    "/api/v1/grants",
    "/api/v1/api-keys",
    "/api/v1/me/api-keys",
    "/api/v1/revocations",
    "/api/v1/verifiers",
    "/api/v1/deliveries",
)
CLIENTS_KEPT: Final = 200_000
_START_S: Final = 10.0


def build(settings: TokenSettings, shared: Shared) -> ServiceApp:
    """The service, built but not started."""
    now, feed, keyring = shared.now, shared.feed, settings.keyring
    backbone = Backbone(Service.TOKEN, settings, shared)
    database, broker, pulls = backbone.database, backbone.broker, backbone.pulls
    ledger = backbone.runs(Ledger(database, broker))
    backbone.runs(Sweeper(lambda: sweeper.sweep(database, now=now()), every_s=sweeper.EVERY_S))
    _wake_at_hints(database, ledger)
    users_copy = backbone.copy("user", UserCopy, UserExport)
    clients_copy = backbone.copy("client", ClientCopy, ClientExport)
    rules_copy = backbone.copy("rule", RuleCopy, RuleExport)
    issuers_copy = backbone.copy("issuer", IssuerCopy, IssuerExport)
    scopes_copy = backbone.copy("scope", ScopeCopy, ScopeExport)
    resources_copy = backbone.copy("resource", ResourceCopy, ResourceExport)
    rules = backbone.rules(rules_copy)
    resources = backbone.book("resource", resources_copy, resources_of)
    scopes = backbone.book("scope", scopes_copy, scopes_of)
    pages = Pages(["watchword_web"], settings, speaks=["watchword_token"])
    branding = follow_branding(backbone, BrandingCopy, pages)
    decisions = backbone.runs(DecisionLog(database, keyring.key(DECISION_KEY)))
    keys = Keys(database, keyring, is_revoked=partial(feed.is_ended, Claim.KID))
    loading = Once(keys.start, failure="keys.not_loaded", patience_s=_START_S)
    backbone.awaits("keys", backbone.runs(loading))
    feed.kids = keys.accepted
    keys.when_changed(feed.report_soon)
    subjects = Names(database, keyring.key(PAIRWISE), feed)
    deliveries = backbone.runs(
        Deliveries(
            database,
            keys,
            clients_copy.get,
            outbound.client(settings),
            name=subjects.name,
            issuer=settings.issuer,
            horizon=timedelta(seconds=settings.token_logout_retry_s),
            counted=shared.telemetry.logouts,
            now=now,
        )
    )
    broker.consume(
        {
            "user": users_copy.on_events,
            "client": clients_copy.on_events,
            "rule": rules_copy.on_events,
            "issuer": issuers_copy.on_events,
            "scope": scopes_copy.on_events,
            "resource": resources_copy.on_events,
            "branding": branding.on_events,
            "session": deliveries.on_sessions,
        }
    )
    rotation = backbone.runs(
        Rotation(
            database,
            keys,
            max_age=timedelta(seconds=settings.token_jwks_max_age_s),
            lifetime=timedelta(seconds=settings.token_key_lifetime_s),
        )
    )
    feed.on_key(rotation.look)  # verifiers that hear of a revoked key ask for its successor now
    tokens = Tokens(keys, issuer=settings.issuer, remembered=settings.token_cached_signatures)
    families = Families(keyring.key("refresh"))
    users = Kept(users_copy, lambda export: User(export, scopes.page), size=settings.token_cached_users)
    scopes.on_change(users.forget)
    memory = Memory(
        Kept(clients_copy, client_of, size=CLIENTS_KEPT),
        users,
        Registered(database, "allowed_origins"),
        Registered(database, "authorization_details_types"),
        keys,
    )
    backbone.runs(Follower(database, broker, memory))
    passwords = Passwords()
    store = HotStore(database, now)
    revoking = Revoking(database, feed, now)
    endings = Endings(feed, database)
    spent = Spent(database)
    client_keys = ClientKeys(outbound.client(settings), now)
    issuing = Issuing(tokens, keys, feed, Formats(keys, client_keys), subjects, resources, Additions(users, scopes))
    means = means_of(settings, feed=feed, client_keys=client_keys, spend=spent.spend, now=now)
    feed_api = backbone.runs(FeedApi(database, broker))
    access_rules = AccessRules(rules, decisions, users_copy, issuer=settings.issuer)
    approvals = Approvals(issuing, families, users, access_rules)
    issuers = TrustedIssuers(issuers_copy, lambda pem: outbound.client(settings, authorities=pem), now)
    bindings = Bindings(
        settings.issuer,
        keyring.key("dpop-nonces"),
        spent.spend,
        means.proxies,
        nonces_needed=settings.token_dpop_nonces,
    )
    hot = hot_endpoints(
        settings,
        bindings=bindings,
        proxies=means.proxies,
        assertions=means.assertions,
        scopes=scopes,
        branding=pages.branding,
        clients=Clients(memory.clients, attrgetter("proofs"), passwords, means),
        throttle=Throttle(settings),
        memory=memory,
        issuing=issuing,
        approvals=approvals,
        workloads=Workloads(issuing, issuers, rules, decisions),
        families=families,
        revoking=revoking,
        endings=endings,
        store=store,
        access_rules=access_rules,
        database=database,
        key_uses=backbone.key_uses,
        shared=shared,
    )

    async def find_api_key(key_id: str) -> ApiKeyExport | None:
        async with transaction(database) as session:
            found = await api_keys.find_api_key(session, key_id)
        return None if found is None else api_keys.export_api_key(found)

    async def open_opaque(token: str) -> Genuine | None:
        try:
            read = await tokens.read(token, now().timestamp())
        except InvalidToken:
            return None
        return Genuine(read.claims, read.kid)

    async def export_api_keys(query: ExportQuery) -> Sequence[Exported[ApiKeyExport]]:
        async with transaction(database) as session:
            return await api_keys.export_api_keys(session, query)

    access = Access(
        settings,
        feed=feed,
        internal=pulls,
        find_user=users_copy.get,
        find_api_key=find_api_key,
        key_uses=backbone.key_uses,
        now=now,
        broker=broker,
        open_opaque=open_opaque,
    )
    parts = Parts(
        settings=settings,
        database=database,
        feed=feed,
        callers=Callers(access, settings, now),
        pulls=pulls,
        keys=keys,
        rotation=rotation,
        deliveries=deliveries,
        revoking=revoking,
        trials=Trials(issuing, memory.clients, users, access_rules, feed),
        feed_api=feed_api,
        verifiers=Verifiers(database),
        endings=endings,
        cursor=Cursor(keyring.key("cursor")),
        now=now,
    )
    exporters = {"api_key": export_api_keys, "client_use": client_use_exporter(database, now)}
    replies = {opaque_tokens.QUESTION: opaque_tokens.reply_of(open_opaque)}
    app = create_app(
        Service.TOKEN.value,
        title="Watchword token",
        settings=settings,
        routers=[
            *api_routers(parts),
            feed_router(parts),
            front_channel_router(parts, FrontChannel(issuing, approvals, database), memory.clients, pages),
            internal_router(keyring, Service.TOKEN, exporters, replies=replies, now=now, clients=shared.internal),
        ],
        version=VERSION,
        pages=pages,
        openapi_paths=described.PATHS,
        judge=trouble_of,
    )
    _route_hot(app, hot)
    for close in (client_keys.aclose, passwords.close, store.stop, issuers.close):
        backbone.closes(close)
    return backbone.service(app, hot=hot)


def _route_hot(app: FastAPI, hot: Mapping[str, ASGIApp]) -> None:
    """The same endpoints behind the middleware, for other services of this process and for a plain ASGI server."""
    for path, endpoint in hot.items():
        app.router.routes.append(Route(path, endpoint, include_in_schema=False))


def _wake_at_hints(database: Database, ledger: Ledger) -> None:
    """Without NATS, too, this instance's own entries are numbered at once."""
    told = database.hint

    def hint(subject: str) -> None:
        told(subject)
        if subject == LEDGER_HINT:
            ledger.wake()

    database.hint = hint
