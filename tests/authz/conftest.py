"""authz by itself on a real PostgreSQL and a real NATS, with owners that answer pulls by the real protocol."""

import asyncio
import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI, Response
from joserfc import jwk, jwt

from watchword.installation import Operator
from watchword.provision import connected
from watchword_authz.main import build
from watchword_authz.models import UserSession
from watchword_authz.settings import AuthzSettings
from watchword_database import bus
from watchword_database.engine import Database, transaction
from watchword_events.catalogue import row_of
from watchword_events.contracts import Event
from watchword_events.envelope import headers_of
from watchword_events.exports import (
    BrandingExport,
    ClientExport,
    Exported,
    IdentityExport,
    ProviderExport,
    ResourceExport,
    RuleExport,
    ScopeExport,
    UserExport,
)
from watchword_events.handovers import Code, Payload, SetPassword, SignedIn
from watchword_events.names import Service
from watchword_runtime.audit_log import AuditLog
from watchword_runtime.broker import Broker
from watchword_runtime.feed import Feed
from watchword_runtime.internal import ExportQuery, InternalClients, router
from watchword_runtime.keyring import Keyring, derive_service_keys
from watchword_runtime.positions import Positions
from watchword_runtime.service import ServiceApp
from watchword_runtime.settings import ServiceSettings, load
from watchword_runtime.shared import Shared
from watchword_runtime.telemetry import Telemetry
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.platform import Site, prepared
from watchword_testkit.servers import Postgres
from watchword_token.ledger import Ledger

ISSUER = "http://localhost:8080"
CALLBACK = "https://app.example/cb"
PASSWORD = "correct horse battery staple"
_HASHER = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
HASH = _HASHER.hash(PASSWORD)


@dataclass
class Owners:
    """What the other services export, and the keys with which `token` signs."""

    master: bytes
    clock: TestClock
    users: dict[str, Exported[UserExport]] = field(default_factory=dict)
    clients: dict[str, Exported[ClientExport]] = field(default_factory=dict)
    providers: dict[str, Exported[ProviderExport]] = field(default_factory=dict)
    rules: dict[str, Exported[RuleExport]] = field(default_factory=dict)
    scopes: dict[str, Exported[ScopeExport]] = field(default_factory=dict)
    resources: dict[str, Exported[ResourceExport]] = field(default_factory=dict)
    branding: dict[str, Exported[BrandingExport]] = field(default_factory=dict)
    lone: dict[str, Exported[IdentityExport]] = field(default_factory=dict)
    keys_away: int = 0  # so many times in a row `token` has no key set
    key: jwk.ECKey = field(
        default_factory=lambda: jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256", "use": "sig"})
    )

    def apps(self) -> dict[Service, FastAPI]:
        """The insides of directory, admin and token."""
        directory, admin, token = FastAPI(), FastAPI(), FastAPI()
        lookups = {"user": frozenset({"username", "email"}), "identity": frozenset({"only_provider_id"})}
        exports = {
            Service.DIRECTORY: (directory, {"user": self._from(self.users), "identity": self._lone}),
            Service.ADMIN: (
                admin,
                {
                    "client": self._from(self.clients),
                    "provider": self._from(self.providers),
                    "rule": self._from(self.rules),
                    "scope": self._from(self.scopes),
                    "resource": self._from(self.resources),
                    "branding": self._from(self.branding),
                },
            ),
            Service.TOKEN: (token, {"api_key": self._from({})}),
        }
        for owner, (app, exporters) in exports.items():
            app.include_router(router(self.ring(owner), owner, exporters, lookups=lookups, now=self.clock))

        @token.get("/oauth2/jwks")
        async def jwks(response: Response) -> dict[str, Any]:
            if self.keys_away:
                self.keys_away -= 1
                response.status_code = 503
                return {}
            return {"keys": [self.key.as_dict(private=False)]}

        return {Service.DIRECTORY: directory, Service.ADMIN: admin, Service.TOKEN: token}

    def ring(self, service: Service) -> Keyring:
        """The keys that a service holds."""
        return Keyring(json.dumps(derive_service_keys(self.master, service)))

    async def _lone(self, query: ExportQuery) -> Sequence[Exported[IdentityExport]]:
        assert query.lookup is not None
        found = [each for each in self.lone.values() if each.data and each.data.provider_id == query.lookup[1]]
        return sorted((each for each in found if each.id > query.after), key=lambda each: each.id)[: query.limit]

    @staticmethod
    def _from(rows: dict[str, Any]) -> Any:
        async def export(query: ExportQuery) -> Sequence[Exported[Any]]:
            if query.lookup is not None:
                column, value = query.lookup
                return [row for row in rows.values() if row.data and getattr(row.data, column) == value]
            if query.ids:
                return [rows[each] for each in query.ids if each in rows]
            return [rows[each] for each in sorted(rows) if each > query.after][: query.limit]

        return export


@dataclass
class Rig:
    """One running authz."""

    app: ServiceApp
    owners: Owners
    site: Site
    feed: Feed
    clock: TestClock
    canary: Canary
    positions: Positions
    address: str = "192.0.2.10"

    def db(self, service: Service = Service.AUTHZ) -> Database:
        """The database as one service sees it."""
        return self.site.database.open(service, pool_size=2)

    def browser(self, address: str | None = None) -> Browser:
        """A person's browser."""
        browser = Browser(ISSUER, self.canary)
        transport = httpx2.ASGITransport(self.app.app, client=(address or self.address, 4711))
        browser.client = httpx2.AsyncClient(transport=transport, follow_redirects=False, timeout=20.0)
        return browser

    def user(self, *, password: str | None = PASSWORD, **changes: Any) -> UserExport:
        """A user of directory, as new as now: authz has heard nothing of them."""
        user_id, name = secrets.token_hex(8), f"ann-{secrets.token_hex(4)}"
        user = UserExport.model_validate(
            {
                "id": user_id,
                "username": name,
                "email": f"{name}@demo.test",
                "email_verified": True,
                "claims": {"name": "Ann Example"},
                "claims_version": 1,
                **changes,
            }
        )
        self.owners.users[user.id] = Exported(id=user.id, version=1, data=user)
        return user

    async def person(self, **changes: Any) -> UserExport:
        """A user with the password PASSWORD on its way from directory."""
        user = self.user(**changes)
        await self.hand_password(user.id)
        return user

    async def hand_password(self, user_id: str, password_hash: str = HASH) -> None:
        """directory hands a password over."""
        payload = SetPassword(user_id=user_id, password_hash=password_hash)
        async with transaction(self.db(Service.DIRECTORY)) as session:
            await bus.hand_over(session, payload, flow=f"user:{user_id}", now=self.clock(), ttl=timedelta(days=30))

    def client(self, **changes: Any) -> ClientExport:
        """A client of admin, as new as now, which asks for no consent."""
        client = ClientExport.model_validate(
            {
                "client_id": secrets.token_hex(8),
                "client_name": "Example App",
                "redirect_uris": [CALLBACK],
                "post_logout_redirect_uris": ["https://app.example/bye"],
                "grant_types": ["authorization_code", "refresh_token"],
                "scope": ["openid", "profile", "email", "offline_access"],
                "require_consent": False,
                **changes,
            }
        )
        self.owners.clients[client.client_id] = Exported(id=client.client_id, version=1, data=client)
        return client

    def provider(self, **changes: Any) -> ProviderExport:
        """An identity provider of admin."""
        provider = ProviderExport.model_validate(
            {
                "id": f"Corp-{secrets.token_hex(3)}",
                "preset": "oidc",
                "kind": "oidc",
                "display_name": "Demo Corp",
                "issuer": "https://corp.example",
                "client_id": "ww",
                **changes,
            }
        )
        self.owners.providers[provider.id] = Exported(id=provider.id, version=1, data=provider)
        return provider

    def lone(self, user: UserExport, provider: ProviderExport) -> None:
        """The user has an identity of this provider, and none of another."""
        data = IdentityExport(
            id=secrets.token_hex(8), user_id=user.id, provider_id=provider.id, issuer=provider.issuer, subject=user.id
        )
        self.owners.lone[data.id] = Exported(id=data.id, version=1, data=data)

    async def know_provider(self, provider: ProviderExport) -> None:
        """authz has heard of the provider, so that its button is shown."""
        pool = await self.db().raw_pool()
        await pool.execute(
            "INSERT INTO authz.provider_copy (id, version, deleted, data) VALUES ($1, 1, false, $2)",
            provider.id,
            provider.model_dump(mode="json"),
        )

    async def publish(self, event: Event) -> None:
        """The event as an owner's relay publishes it."""
        async with connected([self.site.nats.url], self.site.installation.seeds[Operator.PROVISION]) as client:
            row, given = row_of(event), {"aggregate_id": event.id, "version": event.version}
            headers = headers_of(row.type, row.owner, event_id=str(uuid4()), at=self.clock(), **given)
            await client.jetstream().publish(event.subject(), event.model_dump_json().encode(), headers=headers)

    async def hand_over(self, sender: Service, payload: Payload, flow: str) -> str:
        """A ticket from another service."""
        async with transaction(self.db(sender)) as session:
            return await bus.hand_over(session, payload, flow=flow, now=self.clock())

    async def until_heard(self, owner: Service, entity: str) -> None:
        """authz has dealt with whatever the owner has published of this entity."""
        async with connected([self.site.nats.url], self.site.installation.seeds[Operator.PROVISION]) as client:
            published = (await client.jetstream().stream_info(owner.stream)).state.last_seq
        async with asyncio.timeout(30):
            await self.positions.until_dealt_with(owner, entity, published)

    async def take_code(self, code: str) -> Code:
        """What `token` would get for a code."""
        async with transaction(self.db(Service.TOKEN)) as session:
            taken = await bus.take(session, Code, code, now=self.clock())
        assert taken is not None, "the code is not one"
        return taken.payload

    async def session(self, sid: str) -> UserSession | None:
        """The row of a session."""
        async with transaction(self.db()) as session:
            return await session.get(UserSession, sid)

    def id_token(self, user_id: str, client: ClientExport, sid: str | None = None, **claims: Any) -> str:
        """An ID token as `token` signs it, an hour past its expiry."""
        now_s = int(self.clock().timestamp())
        body = {
            "iss": ISSUER, "sub": user_id, "aud": client.client_id, "iat": now_s - 7200, "exp": now_s - 3600,
            **({"sid": sid} if sid else {}), **claims,
        }  # fmt: skip
        return jwt.encode({"alg": "ES256", "kid": "k1"}, body, self.owners.key)


@dataclass
class Visit:
    """One authorization request of a client, in one browser. params: the value "" leaves one out."""

    rig: Rig
    browser: Browser
    client: ClientExport
    params: dict[str, str] = field(default_factory=dict)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(8))

    @property
    def query(self) -> dict[str, str]:
        """The request's parameters."""
        challenge = urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": CALLBACK,
            "scope": "openid profile",
            "state": self.state,
            "nonce": "n-1",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **self.params,
        }
        return {name: value for name, value in asked.items() if value}

    @property
    def url(self) -> str:
        """The request."""
        return f"{ISSUER}/oauth2/authorize?{urlencode(self.query)}"

    async def start(self) -> None:
        """The first page, or the answer."""
        await self.browser.open(self.url)

    async def enter(self, username: str, password: str = PASSWORD) -> None:
        """The page after the password form."""
        await self.browser.submit("username", "sign-in", username=username, password=password)

    @property
    def answer(self) -> dict[str, str]:
        """The parameters that reached the application. Raises AssertionError when the browser is elsewhere."""
        page = self.browser.page
        assert page.location.startswith(CALLBACK), f"at {page.url} ({page.status}) {page.error_code} {page.location}"
        return {name: values[0] for name, values in parse_qs(urlsplit(page.location).query).items()}

    @property
    def flow_id(self) -> str:
        """The flow of the present page."""
        return parse_qs(urlsplit(self.browser.page.url).query)["flow"][0]

    async def code(self) -> Code:
        """What the application's code stands for."""
        assert "code" in self.answer, self.answer
        return await self.rig.take_code(self.answer["code"])

    async def signed_in_ticket(self, user: UserExport, provider: ProviderExport, **changes: Any) -> str:
        """directory's ticket for this flow, as after a sign-in at the provider."""
        payload = SignedIn.model_validate(
            {
                "binding": await self.binding(),
                "user_id": user.id,
                "user_version": 1,
                "claims_version": 1,
                "provider_id": provider.id,
                "issuer": provider.issuer,
                "auth_time": self.rig.clock(),
                "amr": ["pwd", "mfa"],
                **changes,
            }
        )
        return await self.rig.hand_over(Service.DIRECTORY, payload, self.flow_id)

    async def binding(self) -> str:
        """The hash of this flow's cookie."""
        return hashlib.sha256(self.browser.cookies[f"ww-flow-{self.flow_id}"].encode()).hexdigest()


@asynccontextmanager
async def held(rig: Rig, lock: str) -> AsyncIterator[None]:
    """Rows or tables are locked until the block ends; whoever wants to change them waits in the middle of it."""
    connection = await asyncpg.connect(rig.site.database.admin_url)
    try:
        async with connection.transaction():
            await connection.execute(lock)
            yield
    finally:
        await connection.close()


async def waiting_or_done(rig: Rig, task: asyncio.Task[None], at_least: int = 1) -> None:
    """Returns when the task is done, or when authz waits in so many places for what another transaction holds."""
    connection = await asyncpg.connect(rig.site.database.admin_url)
    sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND datname = $2 AND wait_event_type = 'Lock'"
    try:
        async with asyncio.timeout(20):
            while not task.done():
                if await connection.fetchval(sql, Service.AUTHZ.role, rig.site.database.name) >= at_least:
                    return
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


@asynccontextmanager
async def running(
    postgres: Postgres, template: Template, home: Path, clock: TestClock, canary: Canary, **settings: str
) -> AsyncIterator[Rig]:
    """authz on a database and a NATS server of its own, started and ready."""
    async with prepared(postgres, template, home) as site:
        owners = Owners(site.installation.root, clock)
        # Waits of a minute, so that a slow machine does not outwait them.
        told = site.settings(
            ISSUER, {"refusal_floor_ms": "0", "account_wait_s": "60", "address_wait_s": "60", **settings}
        )
        made = load(AuthzSettings, **told[Service.AUTHZ])
        ledger_database = site.database.open(Service.TOKEN, pool_size=2)
        broker = Broker(load(ServiceSettings, **told[Service.TOKEN]), ledger_database)
        feed, ledger = Feed(ledger_database, broker, clock), Ledger(ledger_database, broker)
        telemetry = Telemetry("test")
        audit, positions = AuditLog(ledger_database, telemetry), Positions(ledger_database, feed)
        internal = InternalClients(owners.apps(), clock)
        app = build(made, Shared(feed, internal, clock, "test", audit, telemetry, positions))
        await broker.start()
        ledger.start()
        await feed.start()
        await app.start()
        async with asyncio.timeout(30):
            while app.ready() or not broker.connected:
                await asyncio.sleep(0.01)
        yield Rig(app, owners, site, feed, clock, canary, positions)
        await app.stop()
        await feed.stop()
        await ledger.stop()
        await broker.stop()


@pytest.fixture(scope="module")
async def rig(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    """The module's authz: tests make people and clients of their own."""
    home = tmp_path_factory.mktemp("authz")
    async with running(postgres, database_template, home, TestClock(), Canary()) as made:
        yield made


@pytest.fixture
async def own_rig(
    postgres: Postgres, database_template: Template, tmp_path: Path, clock: TestClock, canary: Canary
) -> AsyncIterator[Rig]:
    """An authz of the test's own, whose clock is `clock`."""
    async with running(postgres, database_template, tmp_path, clock, canary) as made:
        yield made
