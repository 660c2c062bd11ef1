"""The issuer as a resource server sees it: keys, tokens, introspection and the revocation feed, on a real port.

It stands for the token service, which is another program; what it answers can be spoilt by a test.
"""

import asyncio
import socket
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
import pytest
import uvicorn
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from watchword_events.names import position_of
from watchword_events.revocations import RevocationEntry
from watchword_verifier import ClientCredentials, HttpFeed, Reason, TokenRefused, Verifier, WhenStale

CLIENT_ID, SECRET = "orders", "a secret: with % and ümlaut"
AUDIENCE = "https://orders.example"
BOUND: Final = timedelta(seconds=5)
SigningKey = ECKey | RSAKey | OKPKey
Instead = Callable[[], Awaitable[Response | None]]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: dict[str, object], payload: bytes, key: SigningKey) -> str:
    """A compact JWS over any payload, with any header."""
    message = f"{b64(orjson.dumps(header))}.{b64(payload)}"
    alg = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}[key.key_type]
    return f"{message}.{b64(jws.JWSRegistry.algorithms[alg].sign(message.encode(), key))}"


@dataclass
class Issuer:
    """Plays by the rules until a test changes one of its parts."""

    url: str = ""
    key: SigningKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    keys: list[SigningKey] = field(default_factory=list)
    epoch: int = 1
    ledger: list[RevocationEntry] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    inactive: set[str] = field(default_factory=set)
    opaque: dict[str, dict[str, object]] = field(default_factory=dict)
    age_s: float = 0.0
    heartbeat_s: float = 0.2
    streaming: bool = True  # False: connections stay open and say nothing of new entries
    at_once: int = 10_000  # entries in one answer to what came after a position
    broken: set[str] = field(default_factory=set)  # paths that answer 500
    instead: dict[str, Instead] = field(default_factory=dict)  # by path: what answers there, or waits before it does
    reported: list[dict[str, Any]] = field(default_factory=list)  # receipts
    raw_entries: list[dict[str, object]] = field(default_factory=list)  # as nobody should write them
    bearer: str = field(default_factory=lambda: uuid4().hex)
    told_caches: set[str] = field(default_factory=set)  # what Cache-Control said of reading the JWKS
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def position(self) -> int:
        return self.ledger[-1].position if self.ledger else position_of(self.epoch, 0)

    def revoke(self, claim: str, value: str, kind: str = "cut", *, silently: bool = False) -> RevocationEntry:
        """A new entry at the end of the ledger; silently: the stream says nothing of it."""
        now = datetime.now(UTC)
        entry = RevocationEntry(
            id=uuid4().int >> 80,
            position=self.position + 1,
            claim=claim,
            value=value,
            kind=kind,
            until=now + timedelta(hours=1),
            keep_until=now + timedelta(days=1),
            at=now,
        )
        self.ledger.append(entry)
        if not silently:
            self._changed.set()
        return entry

    def restore(self, entries: list[RevocationEntry]) -> None:
        """A new epoch with this ledger, as after a back-up was restored."""
        self.epoch += 1
        self.ledger = []
        for old in entries:
            self.ledger.append(old.model_copy(update={"position": self.position + 1}))

    def claims(self, **changes: object) -> dict[str, object]:
        """The claims of a good access token; a change to None leaves one out."""
        now = int(datetime.now(UTC).timestamp())
        claims: dict[str, object] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "client_id": "shop",
            "scope": "orders:read orders:write",
            "jti": str(uuid4()),
            "gid": str(uuid4()),
            "sid": "session-1",
            "idp": "okta",
            "rev": self.position,
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, key: SigningKey | None = None, header: dict[str, object] | None = None, **claims: object) -> str:
        """A signed access token, good but for what is changed."""
        key = key or self.key
        alg = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}[key.key_type]
        head: dict[str, object] = {"typ": "at+jwt", "alg": alg, "kid": key.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return signed(head, orjson.dumps(self.claims(**claims)), key)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/oauth2/jwks", self._jwks),
                Route("/oauth2/token", self._token, methods=["POST"]),
                Route("/oauth2/introspect", self._introspect, methods=["POST"]),
                Route("/revocations", self._revocations),
                Route("/revocations/stream", self._stream),
                Route("/revocations/position", self._position),
                Route("/revocations/receipts", self._receipts, methods=["POST"]),
                Route("/revocations/receipts/{instance}", self._receipts, methods=["DELETE"]),
                Route("/elsewhere", self._elsewhere, methods=["GET", "POST", "DELETE"]),
            ]
        )

    async def _refusal(self, request: Request) -> Response | None:
        path = request.url.path
        self.asked.append(path)
        if path in self.instead and (answer := await self.instead[path]()) is not None:
            return answer
        if path in self.broken:
            return Response("<html>sorry", 500)
        if path.startswith("/revocations") and request.headers.get("authorization") != f"Bearer {self.bearer}":
            return JSONResponse({"error": "invalid_token"}, 401)
        if path.startswith("/oauth2") and request.method == "POST":
            pair = "orders:a+secret%3A+with+%25+and+%C3%BCmlaut"
            if request.headers.get("authorization") != f"Basic {b64encode(pair.encode()).decode()}":
                return JSONResponse({"error": "invalid_client"}, 401)
        return None

    async def _jwks(self, request: Request) -> Response:
        self.told_caches.add(request.headers.get("cache-control", ""))
        keys = self.keys or [self.key]
        return await self._refusal(request) or JSONResponse({"keys": [key.as_dict(private=False) for key in keys]})

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        assert form == {"grant_type": "client_credentials", "scope": "revocations:read"}
        return await self._refusal(request) or JSONResponse(
            {"access_token": self.bearer, "token_type": "Bearer", "expires_in": 300}
        )

    async def _introspect(self, request: Request) -> Response:
        token = dict(parse_qsl((await request.body()).decode()))["token"]
        if token in self.inactive:
            return await self._refusal(request) or JSONResponse({"active": False})
        return await self._refusal(request) or JSONResponse({"active": True, **self.opaque.get(token, {})})

    async def _revocations(self, request: Request) -> Response:
        after = int(request.query_params.get("after", "0"))
        entries = [entry.model_dump(mode="json") for entry in self.ledger if entry.position > after]
        position = self.position
        if "after" in request.query_params and len(entries) > self.at_once:
            entries = entries[: self.at_once]
            position = entries[-1]["position"]
        body = {"position": position, "entries": entries + self.raw_entries}
        return await self._refusal(request) or JSONResponse(body)

    async def _position(self, request: Request) -> Response:
        return await self._refusal(request) or JSONResponse({"position": self.position, "age_s": self.age_s})

    async def _receipts(self, request: Request) -> Response:
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        if request.method == "DELETE":
            return Response(status_code=204)
        self.reported.append(await request.json())
        return JSONResponse({"position": self.position, "age_s": self.age_s})

    async def _elsewhere(self, request: Request) -> Response:
        return await self._refusal(request) or JSONResponse({})

    async def _stream(self, request: Request) -> Response:
        sent = int(request.query_params["after"])

        async def events() -> AsyncIterator[str]:
            nonlocal sent
            while not self._stopping:
                for entry in [entry for entry in self.ledger if entry.position > sent and self.streaming]:
                    sent = entry.position
                    yield f"event: revocation\ndata: {entry.model_dump_json()}\n\n"
                if self.streaming:
                    yield f'event: position\ndata: {{"position": {sent}}}\n\n'
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), self.heartbeat_s)
                except TimeoutError:
                    continue

        return await self._refusal(request) or StreamingResponse(events(), media_type="text/event-stream")

    _stopping: bool = False

    @asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator["Issuer"]:
        """It answers on a port of loopback, until the end of the block."""
        listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._stopping = False
        config = uvicorn.Config(self.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield self
        finally:
            self._stopping = True
            self._changed.set()
            server.should_exit = True
            await serving

    def feed(self) -> HttpFeed:
        """The feed as a resource server sets it up."""
        return HttpFeed(self.url, ClientCredentials(self.url, CLIENT_ID, SECRET))


class _Server(uvicorn.Server):
    """Serves until told to stop; signals stay pytest's."""

    def install_signal_handlers(self) -> None: ...


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer of the test's own."""
    async with Issuer().served() as running:
        yield running


async def until(happens: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Comes back when it happens; fails when it does not."""
    end = asyncio.get_running_loop().time() + within_s
    while not happens():
        assert asyncio.get_running_loop().time() < end, "did not happen in time"
        await asyncio.sleep(0.005)


@dataclass
class Clock:
    """Both clocks of a verifier: they run by themselves and jump when told."""

    ahead_s: float = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s

    def elapsed(self) -> float:
        return time.monotonic() + self.ahead_s


Make = Callable[..., AbstractAsyncContextManager[Verifier]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(issuer: Issuer, clock: Clock) -> Make:
    """Verifiers of that issuer by that clock."""

    @asynccontextmanager
    async def verifier(
        when_stale: WhenStale | Mapping[str, WhenStale] = WhenStale.INTROSPECT,
        feed: HttpFeed | None = None,
        remembered: int = 100,
        audience: str | Sequence[str] = AUDIENCE,
    ) -> AsyncIterator[Verifier]:
        made = Verifier(
            issuer.url,
            audience,
            feed=feed or issuer.feed(),
            when_stale=when_stale,
            staleness_bound=BOUND,
            min_key_refetch=timedelta(milliseconds=200),
            remembered_tokens=remembered,
            now=clock.now,
            elapsed=clock.elapsed,
        )
        async with made:
            yield made

    return verifier


async def refused(verifier: Verifier, token: str) -> Reason | None:
    try:
        await verifier.verify(token)
    except TokenRefused as error:
        return error.reason
    return None


def cut_off(issuer: Issuer) -> None:
    """The feed no longer answers; introspection does."""
    issuer.streaming = False
    issuer.broken |= {"/revocations", "/revocations/position", "/revocations/receipts", "/revocations/stream"}
