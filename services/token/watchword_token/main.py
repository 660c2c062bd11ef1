"""Composition root of the token service: the only place that constructs."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog
from fastapi import FastAPI
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.routing import Route

from watchword_database import Database, transaction
from watchword_database.engine import LEDGER_HINT
from watchword_database.outbox import Relay
from watchword_events.exports import ApiKeyExport, ClientExport, Exported, UserExport
from watchword_events.names import Service
from watchword_runtime.access import Access
from watchword_runtime.broker import Broker, wire_hints, wire_relay
from watchword_runtime.copies import Copy
from watchword_runtime.internal import ExportQuery
from watchword_runtime.internal import router as internal_router
from watchword_runtime.jwks import Genuine
from watchword_runtime.passwords import Passwords
from watchword_runtime.service import ASGIApp, ServiceApp
from watchword_runtime.shared import Shared
from watchword_token import api_keys, consumers
from watchword_token.clients import Clients, client_of
from watchword_token.consumers import Follower, Memory
from watchword_token.edge import Parts
from watchword_token.families import Families
from watchword_token.feed_api import FeedApi
from watchword_token.grants import Grant
from watchword_token.grants.authorization_code import AuthorizationCodeGrant
from watchword_token.grants.client_credentials import ClientCredentialsGrant
from watchword_token.grants.refresh_token import RefreshTokenGrant
from watchword_token.introspection import Introspection
from watchword_token.issuing import Issuing
from watchword_token.keys import Keys
from watchword_token.ledger import Ledger
from watchword_token.memory import Kept
from watchword_token.metadata import OAUTH_PATH, OPENID_PATH, metadata
from watchword_token.models import ClientCopy, UserCopy
from watchword_token.origins import Origins
from watchword_token.profile import User
from watchword_token.revocation import Revoking
from watchword_token.routes import described
from watchword_token.routes.api import api_routers
from watchword_token.routes.documents import Document
from watchword_token.routes.feed import feed_router
from watchword_token.routes.hot import Answer, HotEndpoint
from watchword_token.routes.protocol import (
    IntrospectionEndpoint,
    RevocationEndpoint,
    TokenEndpoint,
    UserinfoEndpoint,
)
from watchword_token.settings import TokenSettings
from watchword_token.store import HotStore
from watchword_token.throttle import Throttle
from watchword_token.tokens import InvalidToken, Tokens
from watchword_token.userinfo import Userinfo
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.cors import IsAllowed, WithCors
from watchword_web.failures import OUTAGES as WEB_OUTAGES
from watchword_web.limits import Limiter

log = structlog.get_logger()

VERSION: Final = "0.1.0"
PATHS: Final[tuple[str, ...]] = (
    "/oauth2/token",
    "/oauth2/introspect",
    "/oauth2/revoke",
    "/oauth2/userinfo",
    "/oauth2/jwks",
    OPENID_PATH,
    OAUTH_PATH,
    "/revocations",
    "/api/v1/keys",
    "/api/v1/grants",
    "/api/v1/api-keys",
    "/api/v1/revocations",
)
CLIENTS_KEPT: Final = 200_000
# Verifiers learn a new key from an event or from an unknown kid; the JWKS is asked again at this age at the latest.
JWKS_MAX_AGE_S: Final = 300
METADATA_MAX_AGE_S: Final = 3600
# Exceptions that mean "PostgreSQL or another service is away": 503, and it is tried again.
OUTAGES: Final[tuple[type[Exception], ...]] = (
    *WEB_OUTAGES,
    OSError,
    OperationalError,
    InterfaceError,
    PoolTimeout,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)
_RETRY_S: Final = 0.5
_START_S: Final = 10.0


def build(settings: TokenSettings, shared: Shared) -> ServiceApp:
    """The service, built but not started."""
    now, feed, keyring = shared.now, shared.feed, settings.keyring
    database = Database(settings.database_url.get_secret_value(), service=Service.TOKEN)
    broker = Broker(settings, database)
    relay = Relay(database, lambda: broker.nc)
    wire_relay(relay, broker)
    ledger = Ledger(database, broker, now)
    _wire_hints(database, broker, ledger)
    pulls = shared.internal.of(settings, Service.TOKEN)
    users_copy = Copy(
        entity="user",
        owner=Service.DIRECTORY,
        table=UserCopy,
        export=UserExport,
        database=database,
        internal=pulls,
    )
    clients_copy = Copy(
        entity="client",
        owner=Service.ADMIN,
        table=ClientCopy,
        export=ClientExport,
        database=database,
        internal=pulls,
    )
    consumers.listen(broker, {"user": users_copy.on_events, "client": clients_copy.on_events})

    keys = Keys(database, keyring, now=now)
    tokens = Tokens(keys, issuer=settings.issuer, remembered=settings.token_cached_signatures)
    families = Families(keyring.key("refresh"))
    users = Kept(users_copy, User, size=settings.token_cached_users)
    memory = Memory(Kept(clients_copy, client_of, size=CLIENTS_KEPT), users, Origins(database), keys)
    follower = Follower(database, broker, memory)
    passwords = Passwords()
    store = HotStore(database, now)
    revoking = Revoking(database, feed, now)
    issuing = Issuing(tokens, keys, feed)
    feed_api = FeedApi(database, broker)
    hot = _hot(
        settings,
        clients=Clients(memory.clients, passwords),
        throttle=Throttle(settings),
        memory=memory,
        issuing=issuing,
        families=families,
        revoking=revoking,
        store=store,
        database=database,
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
        audience = read.claims["aud"]
        # RFC 9068 4: the administration takes only what is meant for it.
        meant = settings.issuer in ([audience] if isinstance(audience, str) else audience)
        return Genuine(read.claims, read.kid) if meant else None

    async def export_api_keys(query: ExportQuery) -> Sequence[Exported[ApiKeyExport]]:
        async with transaction(database) as session:
            return await api_keys.export_api_keys(session, query)

    parts = Parts(
        settings=settings,
        database=database,
        feed=feed,
        access=Access(
            settings,
            feed=feed,
            internal=pulls,
            find_user=users_copy.get,
            find_api_key=find_api_key,
            now=now,
            broker=broker,
            open_opaque=open_opaque,
        ),
        keys=keys,
        revoking=revoking,
        feed_api=feed_api,
        cursor=Cursor(keyring.key("cursor")),
        now=now,
        refused=Limiter(settings.token_failure_rate, settings.token_failure_burst),
    )
    exporters = {"api_key": export_api_keys}
    app = create_app(
        Service.TOKEN.value,
        title="Watchword token",
        settings=settings,
        routers=[
            *api_routers(parts),
            feed_router(parts),
            internal_router(keyring, Service.TOKEN, exporters, now=now),
        ],
        version=VERSION,
        openapi_paths=described.PATHS,
        outages=OUTAGES,
    )
    _route_hot(app, hot)
    starting = asyncio.Event()

    async def load_keys() -> None:
        while not starting.is_set():
            try:
                await keys.start()
                starting.set()
            except OUTAGES as error:
                log.warning("keys.not_loaded", error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    background: list[asyncio.Task[None]] = []

    async def start() -> None:
        await broker.start()
        relay.start()
        ledger.start()
        users_copy.start()
        clients_copy.start()
        background.append(asyncio.create_task(load_keys(), name="token-keys"))
        await asyncio.wait(background, timeout=_START_S)
        follower.start()
        feed_api.start()

    async def stop() -> None:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await feed_api.stop()
        await follower.stop()
        await users_copy.stop()
        await clients_copy.stop()
        await ledger.stop()
        await relay.stop()
        await broker.stop()
        await store.stop()
        passwords.close()
        await database.dispose()

    def ready() -> str:
        if not starting.is_set():
            return "keys are being loaded"
        waiting = [name for name, copy in (("users", users_copy), ("clients", clients_copy)) if not copy.ready]
        return f"copies being filled: {', '.join(waiting)}" if waiting else ""

    return ServiceApp(Service.TOKEN, app, hot=hot, start=start, stop=stop, ready=ready)


def _hot(
    settings: TokenSettings,
    *,
    clients: Clients,
    throttle: Throttle,
    memory: Memory,
    issuing: Issuing,
    families: Families,
    revoking: Revoking,
    store: HotStore,
    database: Database,
    shared: Shared,
) -> dict[str, ASGIApp]:
    """The endpoints that are found before any middleware, by path."""
    now, tokens, users = shared.now, issuing.tokens, memory.users
    grants: Mapping[str, Grant] = {
        "authorization_code": AuthorizationCodeGrant(issuing, database, store, families, revoking, users),
        "refresh_token": RefreshTokenGrant(issuing, store, families, revoking, users),
        "client_credentials": ClientCredentialsGrant(issuing),
    }
    introspection = Introspection(tokens, families, store, shared.feed)
    document = metadata(settings.issuer)
    discovery = Document(lambda: document, max_age_s=METADATA_MAX_AGE_S)
    jwks = Document(lambda: memory.keys.jwks, max_age_s=JWKS_MAX_AGE_S, media_type="application/jwk-set+json")
    token = TokenEndpoint(clients, throttle, issuing, grants)
    introspect = IntrospectionEndpoint(clients, throttle, introspection)
    revoke = RevocationEndpoint(clients, throttle, tokens=tokens, families=families, revoking=revoking)
    userinfo = UserinfoEndpoint(Userinfo(tokens, shared.feed, users))
    is_allowed = memory.origins.is_allowed

    def hot(answer: Answer, *methods: str, is_allowed: IsAllowed | None = is_allowed) -> ASGIApp:
        return HotEndpoint(answer, throttle=throttle, now=now, outages=OUTAGES, methods=methods, is_allowed=is_allowed)

    return {
        "/oauth2/token": hot(token.answer, "POST"),
        "/oauth2/introspect": hot(introspect.answer, "POST", is_allowed=None),
        "/oauth2/revoke": hot(revoke.answer, "POST"),
        "/oauth2/userinfo": hot(userinfo.answer, "GET", "POST"),
        "/oauth2/jwks": WithCors(jwks, is_allowed, ("GET",)),
        OPENID_PATH: WithCors(discovery, is_allowed, ("GET",)),
        OAUTH_PATH: WithCors(discovery, is_allowed, ("GET",)),
    }


def _route_hot(app: FastAPI, hot: Mapping[str, ASGIApp]) -> None:
    """The same endpoints behind the middleware, for other services of this process and for a plain ASGI server."""
    for path, endpoint in hot.items():
        app.router.routes.append(Route(path, endpoint, include_in_schema=False))


def _wire_hints(database: Database, broker: Broker, ledger: Ledger) -> None:
    """As everywhere, and without NATS this instance's own entries are numbered at once."""
    wire_hints(database, broker)
    told = database.hint

    def hint(subject: str) -> None:
        told(subject)
        if subject == LEDGER_HINT:
            ledger.wake()

    database.hint = hint
