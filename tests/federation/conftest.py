"""Another company's provider on a real port, as honest or as hostile as a test wants it."""

import asyncio
import base64
import hashlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from tests.federation.saml_idp import Idp, Pair, pair

from watchword_events.exports import ProviderExport
from watchword_events.names import Service
from watchword_federation.settings import FederationSettings
from watchword_runtime.keyring import derive_service_keys
from watchword_testkit.databases import Template, TestDatabase
from watchword_testkit.servers import Postgres

CLIENT_ID = "watchword-at-acme"
CLIENT_SECRET = "s3cret: with %, + and blanks"
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

Claims = dict[str, Any]
SigningKey = RSAKey | ECKey | OKPKey


def epoch(moment: datetime) -> int:
    return int(moment.timestamp())


@dataclass
class Upstream:
    """An OpenID provider that plays by the rules until a test changes one of its parts.

    Each `…_answer`, when set, replaces what that endpoint answers; `alter` changes the claims of each ID token; `sign`
    replaces how it is signed.  keys_gate: its keys wait for it.  renewable: whether it gives refresh tokens.
    binds: its tokens are bound to the key of a proof.  resource_nonce: what its resources want in one.
    admits_all: every client is believed, whatever it shows.
    """

    issuer: str = ""
    key: SigningKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    alg: str = "ES256"
    now: datetime = NOW
    metadata: Claims = field(default_factory=dict)
    user: Claims = field(default_factory=lambda: {"sub": "alice-1", "email": "alice@acme.test", "email_verified": True})
    userinfo: Claims | None = None
    alter: Callable[[Claims], Claims | None] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    token_answer: Response | None = None
    keys_answer: Response | None = None
    keys_gate: asyncio.Event | None = None
    userinfo_answer: Response | None = None
    metadata_answer: Response | None = None
    groups_answer: Response | None = None
    registered: list[str] | None = None
    token_response: Claims = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    token_requests: list[dict[str, str]] = field(default_factory=list)
    renewable: bool = False
    binds: bool = False
    admits_all: bool = False
    resource_nonce: str = ""
    proofs: list[Claims] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)
    exchange_answer: Response | None = None
    _codes: dict[str, Claims] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
    _bound: dict[str, str] = field(default_factory=dict)
    _refresh: set[str] = field(default_factory=set)

    def authorize(self, url: str, **answer: str) -> dict[str, str]:
        """The parameters with which the person comes back after signing in at `url`."""
        parts = urlsplit(url)
        request = dict(parse_qsl(parts.query, strict_parsing=True))
        assert url.startswith(f"{self.issuer}/authorize?")
        assert request["client_id"] == CLIENT_ID
        assert request["response_type"] == "code"
        assert "openid" in request["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = request
        return {"code": code, "state": request["state"], **answer}

    def id_token(self, request: Claims, access_token: str) -> str:
        """What this provider says about the person."""
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: Claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "exp": epoch(self.now) + 300,
            "iat": epoch(self.now),
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **self.user,
        }
        if "nonce" in request:
            claims["nonce"] = request["nonce"]
        claims = self.alter(claims) or claims
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": self.alg, "kid": self.key.kid}, claims, self.key, algorithms=[self.alg])

    async def _metadata(self, _request: Request) -> Response:
        self.asked.append("metadata")
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            **self.metadata,
        }
        return self.metadata_answer or JSONResponse({name: value for name, value in document.items() if value != ""})

    async def _authorize(self, request: Request) -> Response:
        """For a browser that nobody is signed in with. registered: the callbacks that are known here; None for all."""
        asked = request.query_params
        if self.registered is not None and asked["redirect_uri"] not in self.registered:
            return Response("redirect_uri", 400)
        answer = urlencode({"error": "login_required", "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{answer}", 303)

    async def _keys(self, _request: Request) -> Response:
        self.asked.append("keys")
        if self.keys_gate is not None:
            await self.keys_gate.wait()
        return self.keys_answer or JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _token(self, request: Request) -> Response:
        self.asked.append("token")
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        client_id, _, secret = base64.b64decode(pair).decode().partition(":")
        self.token_requests.append({"scheme": scheme, **form})
        is_known = scheme == "Basic" and unquote(client_id) == CLIENT_ID and unquote(secret) == CLIENT_SECRET
        if not (is_known or self.admits_all):
            return JSONResponse({"error": "invalid_client"}, 401)
        if form["grant_type"] == "refresh_token":
            return self._renewed(form["refresh_token"])
        asked = self._codes.pop(form["code"], None)
        if asked is None and self.token_answer is not None:
            return self.token_answer
        if form["grant_type"] != "authorization_code" or asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if "code_challenge" in asked:
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
        access_token = secrets.token_urlsafe(16)
        self._tokens[access_token] = self.user["sub"]
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "id_token": self.id_token(asked, access_token),
            "refresh_token": self._refresh_token(),
            **self.token_response,
        }
        if self.binds:
            self._bound[access_token] = proof_of(request)[0].thumbprint()
            answer["token_type"] = "DPoP"
        return self.token_answer or JSONResponse({name: value for name, value in answer.items() if value != ""})

    def _refresh_token(self) -> str:
        """Good once; "" where this provider gives none."""
        token = secrets.token_urlsafe(16) if self.renewable else ""
        self._refresh.add(token)
        return token

    def _renewed(self, refresh_token: str) -> Response:
        if self.token_answer is not None:
            return self.token_answer
        if not refresh_token or refresh_token not in self._refresh:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self._refresh.remove(refresh_token)
        access_token = secrets.token_urlsafe(16)
        return JSONResponse(
            {
                "access_token": access_token,
                "token_type": "Bearer",
                "expires_in": 300,
                "id_token": self.id_token({}, access_token),
                "refresh_token": self._refresh_token(),
            }
        )

    async def _exchange(self, request: Request) -> Response:
        """Another token for a token: what was asked stands in `exchanges`, with the header that authenticates."""
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        self.exchanges.append({"authorization": request.headers.get("authorization", ""), **form})
        return self.exchange_answer or JSONResponse(
            {"access_token": "downstream", "token_type": "Bearer", "expires_in": 60}
        )

    async def _userinfo(self, request: Request) -> Response:
        self.asked.append("userinfo")
        if (refusal := self._refusal(request)) is not None:
            return refusal
        subject = self._tokens[request.headers["authorization"].partition(" ")[2]]
        return self.userinfo_answer or JSONResponse({"sub": subject, **(self.userinfo or {})})

    async def _groups(self, request: Request) -> Response:
        self.asked.append("groups")
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if request.query_params.get("page", "last") == "1":
            following = f"{self.issuer}/groups?page=2"
            return JSONResponse({"value": ["g1"]}, headers={"Link": f'<{following}>; rel="next"'})
        return self.groups_answer or Response(status_code=404)

    def _refusal(self, request: Request) -> Response | None:
        """None for a token of this provider that is shown as its kind demands. Spec: RFC 9449 4.3, 7.1, 9."""
        scheme, _, token = request.headers["authorization"].partition(" ")
        if token not in self._tokens or scheme != ("DPoP" if self.binds else "Bearer"):
            return Response(status_code=401)
        if self.binds:
            key, claims = proof_of(request)
            half = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
            url = f"{self.issuer}{request.url.path}"
            is_right = (claims["htm"], claims["htu"], claims.get("ath")) == (request.method, url, half)
            is_new = claims["jti"] not in {each["jti"] for each in self.proofs}
            self.proofs.append(claims)
            if not is_right or not is_new or key.thumbprint() != self._bound[token]:
                return Response(status_code=401)
            if self.resource_nonce and claims.get("nonce") != self.resource_nonce:
                return Response(status_code=401, headers={"DPoP-Nonce": self.resource_nonce})
        return None

    def app(self) -> Starlette:
        """The provider as a web application."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/authorize", self._authorize),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/exchange", self._exchange, methods=["POST"]),
                Route("/userinfo", self._userinfo),
                Route("/groups", self._groups, methods=["GET", "POST"]),
            ]
        )

    def provider(self, provider_id: str = "acme", **settings: object) -> ProviderExport:
        """How an administrator configured this provider. The secret is in clear here."""
        values: dict[str, object] = {
            "id": provider_id,
            "preset": "oidc",
            "kind": "oidc",
            "display_name": "Acme",
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            **settings,
        }
        return ProviderExport.model_validate(values)


def proof_of(request: Request) -> tuple[ECKey, Claims]:
    """The key and the claims of a request's DPoP proof, whose signature holds."""
    proof = request.headers["dpop"]
    header = json.loads(base64.urlsafe_b64decode(proof.partition(".")[0] + "=="))
    key = ECKey.import_key(header["jwk"])
    return key, jwt.decode(proof, key, algorithms=["ES256"]).claims


class _Server(uvicorn.Server):
    """Serves until told to stop; signals stay pytest's."""

    def install_signal_handlers(self) -> None: ...


@asynccontextmanager
async def serving(config: uvicorn.Config, listening: socket.socket) -> AsyncIterator[None]:
    """The application answers at the socket until the block ends."""
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await running


class Stage:
    """A port on which one provider after another plays."""

    def __init__(self) -> None:
        self.playing = Upstream()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.issuer = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self.playing.app()(scope, receive, send)

    async def serve(self) -> AsyncIterator["Stage"]:
        config = uvicorn.Config(
            self._app, interface="asgi3", log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        async with serving(config, self._listener):
            yield self

    def play(self, upstream: Upstream) -> Upstream:
        upstream.issuer = self.issuer
        self.playing = upstream
        return upstream


@pytest.fixture(scope="session")
async def first_stage() -> AsyncIterator[Stage]:
    async for stage in Stage().serve():
        yield stage


@pytest.fixture(scope="session")
async def second_stage() -> AsyncIterator[Stage]:
    async for stage in Stage().serve():
        yield stage


@pytest.fixture
def upstream(first_stage: Stage) -> Upstream:
    """A provider of a test's own."""
    return first_stage.play(Upstream())


@pytest.fixture
def other_upstream(second_stage: Stage) -> Upstream:
    """A second provider, which has nothing to do with the first."""
    return second_stage.play(Upstream(user={"sub": "alice-1", "email": "mallory@evil.test"}))


@pytest.fixture(scope="session")
def idp_keys() -> Pair:
    """What Acme's SAML provider signs with."""
    return pair("idp.acme.test")


@pytest.fixture(scope="session")
def expired_keys() -> Pair:
    """A key whose certificate is no longer in time."""
    return pair("expired", days=-1)


@pytest.fixture
def idp(idp_keys: Pair, tmp_path: Path) -> Idp:
    """Acme's SAML provider, which does not know us yet."""
    return Idp(tmp_path, idp_keys)


MASTER = b"m" * 32


@pytest.fixture(scope="module")
async def module_database(postgres: Postgres, database_template: Template) -> AsyncIterator[TestDatabase]:
    """A migrated database for the tests of a module that can share one."""
    found = TestDatabase(
        postgres, await postgres.create_database(template=database_template.name), database_template.passwords
    )
    yield found
    await found.close()
    await postgres.drop_database(found.name)


@pytest.fixture
async def fetched_nothing(module_database: TestDatabase) -> AsyncIterator[TestDatabase]:
    """The module's database, in which nothing of any provider is kept yet."""
    yield module_database
    await module_database.close()
    async with module_database.postgres.admin(module_database.name) as connection:
        await connection.execute("TRUNCATE federation.upstream_document, federation.upstream_flow")


@pytest.fixture(scope="module")
def settings(module_database: TestDatabase) -> FederationSettings:
    """Settings of an installation on https whose upstream providers are on this machine."""
    return FederationSettings.model_validate(
        {
            "public_url": "https://sso.test",
            "database_url": module_database.url(Service.FEDERATION),
            "keys": json.dumps(derive_service_keys(MASTER, Service.FEDERATION)),
            "environment": "demo",
        }
    )


@dataclass
class ManualClock:
    """The time, which only the test moves."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at

    def tick(self, **delta: float) -> None:
        self.at += timedelta(**delta)


@pytest.fixture
def manual_clock() -> ManualClock:
    """Noon of a day on which nothing else happens."""
    return ManualClock()
