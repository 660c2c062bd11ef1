"""One token service on real servers; codes, clients and users are written as their owners would write them."""

import asyncio
import base64
import functools
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import nats
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet

from watchword.provision import provision
from watchword_database import Database, bus, transaction
from watchword_database.ids import new_id
from watchword_events.catalogue import row_of
from watchword_events.contracts import Event, RuleChanged, ScopeChanged
from watchword_events.envelope import headers_of
from watchword_events.exports import ClientExport, ClientSecret, Export, Exported, RuleExport, ScopeExport, UserExport
from watchword_events.handovers import Code
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.audit_log import AuditLog
from watchword_runtime.broker import Broker
from watchword_runtime.feed import Feed
from watchword_runtime.internal import Exporter, ExportQuery, InternalClients
from watchword_runtime.internal import router as internal_router
from watchword_runtime.keyring import Keyring, derive_service_keys
from watchword_runtime.positions import Positions
from watchword_runtime.service import ASGIApp, ServiceApp
from watchword_runtime.shared import Shared
from watchword_runtime.telemetry import Telemetry
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template, TestDatabase
from watchword_testkit.holder import Holder
from watchword_testkit.servers import Broker as NatsServer
from watchword_testkit.servers import Postgres, own_broker
from watchword_token.bootstrap import create_admin_key
from watchword_token.main import build
from watchword_token.settings import TokenSettings
from watchword_web.hot import HotPaths

ISSUER = "https://sso.example.test"
MASTER = b"a master key that is used in tests only"
CALLBACK = "https://app.example.test/callback"
VERIFIER = "a-code-verifier-of-forty-three-characters-or-more"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Owners:
    """What admin, directory and authz own, behind the real way in which services pull from each other."""

    owned: dict[str, dict[str, Exported[Any]]] = field(
        default_factory=lambda: {
            "branding": {},
            "client": {},
            "issuer": {},
            "resource": {},
            "rule": {},
            "scope": {},
            "session": {},
            "user": {},
        }
    )
    pulls: int = 0

    def app(self, owner: Service, *entities: str) -> ASGIApp:
        """The owner's application, as far as this service sees it."""
        keyring = Keyring(json.dumps(derive_service_keys(MASTER, owner)))
        app = FastAPI()
        lookups = {"session": frozenset({"user_id"}), "issuer": frozenset({"iss"})}
        exporters = {entity: self._exporter(entity) for entity in entities}
        app.include_router(internal_router(keyring, owner, exporters, lookups=lookups))
        return app

    def _exporter(self, entity: str) -> Exporter:
        async def export(query: ExportQuery) -> list[Exported[Any]]:
            self.pulls += 1
            known = self.owned[entity]
            if query.lookup is not None:
                name, value = query.lookup
                return [each for each in known.values() if each.data and getattr(each.data, name) == value]
            ids = query.ids or tuple(sorted(i for i in known if i > query.after)[: query.limit])
            return [known[i] for i in ids if i in known]

        return export


@dataclass
class App:
    """A client with the secret that only it knows ("" for a public one)."""

    export: ClientExport
    secret: str

    @property
    def id(self) -> str:
        return self.export.client_id

    @property
    def form(self) -> dict[str, str]:
        """Credentials as form fields, for public clients and client_secret_post."""
        return {"client_id": self.id} | ({"client_secret": self.secret} if self.secret else {})

    @property
    def basic(self) -> tuple[str, str] | None:
        """Credentials for the Authorization header."""
        return (self.id, self.secret) if self.export.token_endpoint_auth_method == "client_secret_basic" else None


@dataclass
class Site:
    """An installation of one token instance, its database, and what tests need from the other services' side."""

    database: TestDatabase
    nats_url: str
    clock: TestClock
    canary: Canary
    service: ServiceApp
    feed: Feed
    http: httpx2.AsyncClient
    owners: Owners
    positions: Positions
    nats: NatsServer | None = None
    _databases: dict[Service, Database] = field(default_factory=dict)

    def db(self, service: Service) -> Database:
        """A connection as the role of a service."""
        if service not in self._databases:
            self._databases[service] = self.database.open(service)
        return self._databases[service]

    # What other services own ------------------------------------------------------------------------------------------

    async def client(
        self, *, version: int = 1, secret: str | None = None, client_id: str = "", copied: bool = True, **given: Any
    ) -> App:
        """A client that admin has. secret: a given one instead of a generated one.  copied: the copy has it as well."""
        method = given.setdefault("token_endpoint_auth_method", "client_secret_basic")
        shown = "" if method == "none" else secret or secrets.token_urlsafe(32)
        digest = f"sha256:{hashlib.sha256(shown.encode()).hexdigest()}"
        given.setdefault("secrets", [ClientSecret(id="1", hash=digest)] if shown else [])
        given.setdefault("grant_types", ["authorization_code", "refresh_token", "client_credentials"])
        given.setdefault("scope", ["openid", "profile", "email", "groups", "offline_access", "read", "write"])
        given.setdefault("redirect_uris", [CALLBACK])
        export = ClientExport(client_id=client_id or new_id(), client_name="An application", **given)
        await self._own("client", export.client_id, export, version, copied=copied)
        self.canary.add("client secret", shown)
        return App(export, shown)

    async def user(self, *, version: int = 1, user_id: str = "", copied: bool = True, **given: Any) -> UserExport:
        """A user that directory has. copied: the copy has it as well."""
        given.setdefault("username", f"ada-{secrets.token_hex(4)}")
        given.setdefault("claims", {"name": "Ada Lovelace", "locale": "en"})
        export = UserExport(id=user_id or new_id(), claims_version=version, **given)
        await self._own("user", export.id, export, version, copied=copied)
        return export

    async def rule(self, app: App, expression: str, *, version: int = 1, rule_id: str = "", **given: Any) -> RuleExport:
        """A rule of admin for a client, which this instance knows."""
        name = rule_id or f"r-{secrets.token_hex(4)}"
        export = RuleExport(id=name, name=name, expression=expression, clients=frozenset({app.id}), **given)
        self.owners.owned["rule"][name] = Exported(id=name, version=version, data=export)
        await self.publish(RuleChanged(id=name, version=version), heard=True)
        return export

    async def scope(self, name: str, *claims: dict[str, Any]) -> None:
        """A scope of admin with these claims, which this instance knows."""
        export = ScopeExport(id=name, name=name, description="Something", claims=claims)
        self.owners.owned["scope"][name] = Exported(id=name, version=1, data=export)
        await self.publish(ScopeChanged(id=name, version=1), heard=True)

    async def drop_rule(self, rule: RuleExport, version: int) -> None:
        """The rule is gone, and this instance knows."""
        self.owners.owned["rule"][rule.id] = Exported(id=rule.id, version=version, deleted=True)
        await self.publish(RuleChanged(id=rule.id, version=version), heard=True)

    async def _own(self, entity: str, entity_id: str, export: Export, version: int, *, copied: bool) -> None:
        """The owner has it, and a row of the copy too; nobody was told."""
        self.owners.owned[entity][entity_id] = Exported(id=entity_id, version=version, data=export)
        if not copied:
            return
        async with self.database.postgres.admin(self.database.name) as connection:
            await connection.execute(
                f"INSERT INTO token.{entity}_copy (id, version, deleted, data) VALUES ($1, $2, false, $3)"
                " ON CONFLICT (id) DO UPDATE SET version = excluded.version, data = excluded.data, copied_at = now()",
                entity_id,
                version,
                export.model_dump_json(),
            )

    async def gone(self, entity: str, entity_id: str, version: int) -> None:
        """The owner deleted it, and nobody was told."""
        self.owners.owned[entity][entity_id] = Exported(id=entity_id, version=version, deleted=True)

    async def service_memory_follows(self, app: App) -> None:
        """The instance has noticed a client that was written behind its back, as its poll would within seconds."""
        deadline = asyncio.get_running_loop().time() + 30
        origin = next(iter(app.export.allowed_origins))
        while (
            "access-control-allow-origin"
            not in (await self.http.options("/oauth2/token", headers={"Origin": origin})).headers
        ):
            assert asyncio.get_running_loop().time() < deadline, "the origin was not noticed"
            await asyncio.sleep(0.1)

    async def publish(self, event: Event, *, heard: bool = False) -> None:
        """The event stands in its owner's stream, as the owner's relay puts it there. heard: and was dealt with."""
        row = row_of(event)
        given = {"event_id": new_id(), "aggregate_id": event.id, "version": event.version, "at": self.clock()}
        headers = headers_of(row.type, row.owner, **given)
        connection = await nats.connect(self.nats_url)
        js = connection.jetstream()
        body = event.model_dump_json().encode()
        published = await js.publish(row.subject, body, stream=row.owner.stream, headers=headers)
        await connection.close()
        if heard:
            async with asyncio.timeout(30):
                await self.positions.until_dealt_with(row.owner, row.event.entity, published.seq)

    async def code(self, app: App, user: UserExport, **given: Any) -> str:
        """An authorization code as authz hands it over."""
        now = self.clock()
        life = given.pop("ttl", timedelta(seconds=60))
        keep = given.pop("keep", timedelta(hours=1))
        payload = Code(
            **{
                "gid": new_id(),
                "sid": new_id(),
                "user_id": user.id,
                "user_version": 1,
                "claims_version": 1,
                "client_id": app.id,
                "client_version": 1,
                "redirect_uri": CALLBACK,
                "redirect_uri_given": True,
                "code_challenge": CHALLENGE,
                "scope": ("openid", "profile", "email"),
                "nonce": "a-nonce",
                "auth_time": now - timedelta(seconds=30),
                "amr": ("pwd",),
                "rev": self.feed.position,
                "session_expires_at": now + timedelta(hours=8),
                **given,
            }
        )
        async with transaction(self.db(Service.AUTHZ)) as session:
            code = await bus.hand_over(session, payload, flow="flow", now=now, ttl=life, keep=keep)
        self.canary.add("code", code)
        return code

    async def revoke(
        self,
        claim: Claim,
        value: str,
        *,
        kind: RevocationKind = RevocationKind.CUT,
        by: Service = Service.TOKEN,
    ) -> None:
        """A ledger entry of some service, applied by this instance."""
        later = self.clock() + timedelta(days=30)
        async with transaction(self.db(by)) as session:
            entry_id = await bus.revoke(
                session, claim=claim, value=value, kind=kind, reason="test", until=later, keep_until=later
            )
        assert await self.feed.settle([entry_id], timeout=5)

    # What clients do --------------------------------------------------------------------------------------------------

    async def post(self, path: str, app: App | None, form: Mapping[str, str], **given: Any) -> httpx2.Response:
        """A form from a client, with its own way of authentication."""
        fields = dict(form)
        if app is not None:
            if app.basic is None:
                fields = {**app.form, **fields}
            elif "headers" not in given:
                given["auth"] = app.basic
        answer = await self.http.post(path, data=fields, **given)
        if answer.status_code == 200 and answer.content:
            body = answer.json()
            self.canary.add("token", *(body[k] for k in ("access_token", "refresh_token", "id_token") if k in body))
        return answer

    async def token(self, app: App, **form: str) -> httpx2.Response:
        """A request at the token endpoint."""
        return await self.post("/oauth2/token", app, form)

    async def redeem(self, app: App, code: str, /, **form: str | None) -> httpx2.Response:
        """A code redeemed as it should be; form overrides, None leaves out."""
        given = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **form}
        return await self.token(
            app, grant_type="authorization_code", **{k: v for k, v in given.items() if v is not None}
        )

    async def sign_in(self, app: App, user: UserExport | None = None, **given: Any) -> dict[str, Any]:
        """The token answer of a whole sign-in."""
        answer = await self.redeem(app, await self.code(app, user or await self.user(), **given))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def machine_token(self, app: App, **form: str) -> str:
        """An access token of client_credentials."""
        answer = await self.token(app, grant_type="client_credentials", **form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def introspect(self, app: App, token: str) -> dict[str, Any]:
        """What the introspection endpoint says."""
        answer = await self.post("/oauth2/introspect", app, {"token": token})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def is_active(self, app: App, token: str) -> bool:
        """Whether introspection calls the token active."""
        return bool((await self.introspect(app, token))["active"])

    async def prove(
        self, app: App, form: Mapping[str, str], proof: str | None, path: str = "/oauth2/token"
    ) -> httpx2.Response:
        """A form from a client with a DPoP proof, which is None for none."""
        headers = {} if proof is None else {"DPoP": proof}
        fields = dict(form) if app.basic is not None else {**app.form, **form}
        return await self.http.post(path, data=fields, auth=app.basic, headers=headers)

    async def nonce(self, app: App) -> str:
        """The nonce that the token endpoint gives out to who brings none."""
        refused = await self.prove(app, {"grant_type": "client_credentials"}, self.proof(Holder()))
        assert refused.json()["error"] == "use_dpop_nonce", refused.text
        return refused.headers["dpop-nonce"]

    def proof(self, holder: Holder, **changes: Any) -> str:
        """A proof for the token endpoint."""
        return holder.proof(
            changes.pop("method", "POST"),
            changes.pop("url", f"{ISSUER}/oauth2/token"),
            now=changes.pop("now", self.clock().timestamp()),
            **changes,
        )

    async def userinfo(self, token: str) -> httpx2.Response:
        """What userinfo answers to a bearer."""
        return await self.http.get("/oauth2/userinfo", headers={b"Authorization": f"Bearer {token}".encode()})

    async def claims(self, token: str, alg: str = "ES256") -> dict[str, Any]:
        """The claims of a signed token, verified with the published keys by somebody else's library."""
        keys = KeySet.import_key_set((await self.http.get("/oauth2/jwks")).json())
        return dict(jwt.decode(token, keys, algorithms=[alg]).claims)

    async def events(self, type_: str) -> list[dict[str, Any]]:
        """Bodies of the events of one type in the outbox, oldest first."""
        async with self.database.postgres.admin(self.database.name) as connection:
            rows = await connection.fetch("SELECT body FROM token.outbox WHERE type = $1 ORDER BY id", type_)
        return [json.loads(row["body"]) for row in rows]


@asynccontextmanager
async def running(
    postgres: Postgres, template: Template, home: Path, clock: TestClock, canary: Canary, **settings: Any
) -> AsyncIterator[Site]:
    """A site with one instance; its copies count as filled.

    Its NATS server is its own: two installations must never share one, since each believes what it hears there.
    """
    database = TestDatabase(postgres, await postgres.create_database(template=template.name), template.passwords)
    async with postgres.admin(database.name) as connection:
        await connection.execute(
            "INSERT INTO token.copy_state (entity, filled_at)"
            " VALUES ('user', now()), ('client', now()), ('rule', now())"
        )
    with own_broker(home) as nats_server:
        connection = await nats.connect(nats_server.url)
        await provision(connection.jetstream())
        await connection.close()
        async with instance(database, nats_server.url, clock, canary, **settings) as site:
            site.nats = nats_server
            yield site
    await database.close()
    await postgres.drop_database(database.name)


@asynccontextmanager
async def instance(
    database: TestDatabase,
    nats_url: str,
    clock: TestClock,
    canary: Canary,
    *,
    owners: Owners | None = None,
    **settings: Any,
) -> AsyncIterator[Site]:
    """One instance of the service on a database; several may run on the same one."""
    keys = json.dumps(derive_service_keys(MASTER, Service.TOKEN))
    given = {
        "public_url": ISSUER,
        "database_url": database.url(Service.TOKEN),
        "nats_url": nats_url,
        "keys": keys,
        "token_failure_burst": 10_000,
        **settings,
    }
    own = TokenSettings.model_validate(given)
    feed_database = Database(database.url(Service.TOKEN), service=Service.TOKEN, pool_size=1)
    feed_broker = Broker(own, feed_database)
    feed = Feed(feed_database, feed_broker, clock)
    owners = owners or Owners()
    apps = {
        Service.ADMIN: owners.app(Service.ADMIN, "branding", "client", "issuer", "resource", "rule", "scope"),
        Service.DIRECTORY: owners.app(Service.DIRECTORY, "user"),
        Service.AUTHZ: owners.app(Service.AUTHZ, "session"),
    }
    internal = InternalClients(apps, clock)
    telemetry = Telemetry("test")
    positions = Positions(feed_database, feed)
    audit = AuditLog(feed_database, telemetry)
    service = build(own, Shared(feed, internal, clock, new_id(), audit, telemetry, positions))
    await feed_broker.start()
    await feed.start()
    await service.start()
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            while service.ready():
                await asyncio.sleep(0.01)
    front = HotPaths(service.app, service.hot)
    apps[Service.TOKEN] = front
    # Failures must reach the test as answers, as they reach a client.
    transport = httpx2.ASGITransport(app=front, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        yield Site(database, nats_url, clock, canary, service, feed, http, owners, positions)
    await service.stop()
    await feed.stop()
    await feed_broker.stop()
    await internal.close()
    await feed_database.dispose()


@pytest.fixture(scope="module")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """The module's installation: tests make clients and users of their own."""
    home = tmp_path_factory.mktemp("token")
    async with running(postgres, database_template, home, TestClock(), Canary()) as made:
        yield made


@pytest.fixture
async def own_site(
    postgres: Postgres, database_template: Template, tmp_path: Path, clock: TestClock, canary: Canary
) -> AsyncIterator[Site]:
    """An installation of the test's own, whose clock it may move."""
    async with running(postgres, database_template, tmp_path, clock, canary) as made:
        yield made


@pytest.fixture
def site_factory(
    postgres: Postgres, database_template: Template, tmp_path: Path, clock: TestClock, canary: Canary
) -> Callable[..., AbstractAsyncContextManager[Site]]:
    """Makes installations with settings of the test's own."""
    return functools.partial(running, postgres, database_template, tmp_path, clock, canary)


@pytest.fixture
async def administrator(site: Site) -> dict[str, str]:
    """Headers of an administrator of the module's installation."""
    return await administrator_of(site)


@pytest.fixture
async def own_administrator(own_site: Site) -> dict[str, str]:
    """Headers of an administrator of the test's own installation."""
    return await administrator_of(own_site)


async def administrator_of(site: Site) -> dict[str, str]:
    """Headers with the API key of a new administrator."""
    user = await site.user(roles=["administrator"])
    key = await create_admin_key(site.db(Service.TOKEN), user_id=user.id, now=site.clock())
    site.canary.add("API key", key)
    return {"Watchword-API-Key": key}
