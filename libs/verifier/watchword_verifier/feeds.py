"""The two ways to the feed: over HTTP alone, and over NATS with HTTP for snapshots and gaps."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import httpx2
import orjson
import structlog

from watchword_events.names import Position
from watchword_verifier.client import TIMEOUT, Answer, ClientCredentials, IssuerUnavailable, ask
from watchword_verifier.follower import Follower, Newest, Page

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

log = structlog.get_logger()

# A snapshot of 100,000 entries takes a while to write and to send.
_SNAPSHOT_TIMEOUT: Final = httpx2.Timeout(5.0, read=30.0)
_SNAPSHOT_TOGETHER_S: Final = 120.0
_MAX_SNAPSHOT_BYTES: Final = 256 * 1024 * 1024  # 800,000 entries
_MAX_EVENT_BYTES: Final = 64 * 1024
_AGAIN_S: Final = (0.1, 3.0)
FEED_SUBJECT: Final = "feed.revocation"
KEY_SUBJECT: Final = "auth.token.key.*"
RECEIPTS_SUBJECT: Final = "sys.hint.receipts"

Bearer = Callable[[], Awaitable[str]]


class HttpFeed:
    """The issuer's feed over HTTP: needs nothing but its URL and a bearer token with scope `revocations:read`."""

    def __init__(self, issuer: str, bearer: Bearer, *, http: httpx2.AsyncClient | None = None) -> None:
        """bearer: gives a token when called, best ClientCredentials.  http: for an own certificate authority or proxy.

        issuer: where the issuer is reached, which may be an internal name; what tokens must carry is the verifier's.
        """
        self.issuer = issuer.rstrip("/")
        self._bearer = bearer
        self._own = http is None
        self._http = http

    @property
    def client(self) -> ClientCredentials | None:
        """The client that may introspect, when there is one."""
        return self._bearer if isinstance(self._bearer, ClientCredentials) else None

    async def snapshot(self) -> Page:
        """Everything that is revoked, as of one position. Raises IssuerUnavailable."""
        return await self._page()

    async def after(self, position: int) -> Page:
        """What came after a position. Raises IssuerUnavailable."""
        return await self._page({"after": str(position)})

    async def newest(self) -> Newest:
        """The newest position, and how old that answer is. Raises IssuerUnavailable."""
        return _newest(await self._ask("GET", "/revocations/position"))

    async def report(self, receipt: Mapping[str, object]) -> Newest:
        """The issuer knows how far we are, and tells the newest position after that. Raises IssuerUnavailable."""
        return _newest(await self._ask("POST", "/revocations/receipts", json=receipt))

    async def leave(self, instance: str) -> None:
        """The issuer waits no longer for an instance. Raises IssuerUnavailable."""
        _taken(await self._ask("DELETE", f"/revocations/receipts/{instance}"))

    async def jwks(self) -> bytes:
        """The JWKS document, as the issuer has it now and no cache on the way. Raises IssuerUnavailable.

        Spec: RFC 9111 5.2.1.4.
        """
        headers = {"Cache-Control": "no-cache"}
        return (await ask(self._client(), "GET", f"{self.issuer}/oauth2/jwks", headers=headers)).content()

    async def follow(self, follower: Follower) -> None:
        """What is revoked reaches the follower as it happens, until cancelled."""
        delay_s = _AGAIN_S[0]
        while True:
            await follower.loaded.wait()
            try:
                async with contextlib.aclosing(self._events(follower.revoked.position)) as events:
                    async for event, data in events:
                        delay_s = _AGAIN_S[0]
                        if event == "revocation":
                            follower.received(data.encode(), from_issuer=True)
                        elif event == "position":
                            follower.heard(_position(orjson.loads(data)))
                        elif event == "receipt":
                            follower.asked()
            except (IssuerUnavailable, orjson.JSONDecodeError) as error:
                log.info("revocation_feed.stream_lost", error=str(error))
            follower.look()
            # Spread, so that a restarted issuer does not meet all its verifiers in the same instant.
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            delay_s = min(2 * delay_s, _AGAIN_S[1])

    async def aclose(self) -> None:
        """Connections of its own are closed."""
        if self._own and self._http is not None:
            await self._http.aclose()
            self._http = None
        if self.client is not None:
            await self.client.aclose()

    async def _events(self, after: int) -> AsyncGenerator[tuple[str, str]]:
        """Server-sent events after a position, as (event, data). Raises IssuerUnavailable when the stream breaks."""
        token = await self._bearer()
        try:
            async with self._client().stream(
                "GET",
                f"{self.issuer}/revocations/stream",
                params={"after": str(after)},
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": "text/event-stream",
                    "Accept-Encoding": "identity",
                },
                timeout=TIMEOUT,  # the stream says something each second
                follow_redirects=False,
            ) as response:
                self._heed(response.status_code, token)
                if response.status_code != httpx2.codes.OK:
                    raise IssuerUnavailable(f"/revocations/stream: status {response.status_code}")
                async for event in httpx2.EventSource(response, max_event_size=_MAX_EVENT_BYTES):
                    yield event.event, event.data
        except httpx2.HTTPError as error:
            raise IssuerUnavailable(f"/revocations/stream: {type(error).__name__}") from None

    async def _page(self, params: Mapping[str, str] | None = None) -> Page:
        answer = await self._ask(
            "GET",
            "/revocations",
            params=params,
            timeout=_SNAPSHOT_TIMEOUT,
            together_s=_SNAPSHOT_TOGETHER_S,
            max_bytes=_MAX_SNAPSHOT_BYTES,
        )
        return _page(answer.object())

    async def _ask(self, method: str, path: str, **how: Any) -> Answer:
        """As client.ask, with the bearer token."""
        token = await self._bearer()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        answer = await ask(self._client(), method, self.issuer + path, headers=headers, **how)
        self._heed(answer.status, token)
        return answer

    def _heed(self, status: int, token: str) -> None:
        """A token that was refused is not used again."""
        if status == httpx2.codes.UNAUTHORIZED and self.client is not None:
            self.client.forget(token)

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None and self.client is not None:
            return self.client.http
        if self._http is None:
            self._http = httpx2.AsyncClient()
        return self._http


class NatsFeed:
    """The feed over NATS while there is a connection, over HTTP while there is none; snapshots and gaps over HTTP."""

    def __init__(
        self,
        servers: str | Sequence[str],
        http: HttpFeed,
        *,
        seed: str | None = None,
        inbox_prefix: str = "_INBOX",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """seed: of the nkey user that may read what a grant with `--feed` allows.

        servers: `nats://` or `tls://` URLs.
        """
        self.http = http
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._seed = seed
        self._inbox_prefix = inbox_prefix
        self._tls = tls

    async def follow(self, follower: Follower) -> None:
        """What is revoked reaches the follower as it happens, until cancelled."""
        while True:
            lost = asyncio.Event()
            bridge = asyncio.create_task(self.http.follow(follower))
            client: Client | None = None
            try:
                client = await self._connected(follower, lost)
                log.info("revocation_feed.nats_connected")
                await _ended(bridge)
                # What was published while neither of the two listened.
                follower.look()
                await lost.wait()
                log.warning("revocation_feed.nats_lost")
            finally:
                await _ended(bridge)
                if client is not None:
                    with contextlib.suppress(Exception):
                        await client.close()

    async def aclose(self) -> None:
        """Connections of its own are closed."""
        await self.http.aclose()

    async def _connected(self, follower: Follower, lost: asyncio.Event) -> "Client":
        """A connection with its subscriptions in place. Tries until there is one."""
        from nats.aio.client import Client  # an extra: needed only here
        from nats.errors import Error as NatsError

        async def on_entry(message: "Msg") -> None:
            follower.received(message.data, from_issuer=False)

        async def on_key(message: "Msg") -> None:
            follower.on_key()

        async def on_asked(message: "Msg") -> None:
            follower.asked()

        async def on_lost() -> None:
            lost.set()

        async def on_error(error: Exception) -> None:
            log.warning("revocation_feed.nats_error", error=type(error).__name__)

        while True:
            client = Client()
            try:
                # Waits here until a server answers. Reconnecting is ours to do: a client that does it lets us
                # believe in a connection while HTTP could have taken over.
                await client.connect(
                    servers=self._servers,
                    nkeys_seed_str=self._seed,
                    inbox_prefix=self._inbox_prefix.encode(),
                    tls=self._tls,
                    name="watchword-verifier",
                    allow_reconnect=False,
                    reconnect_time_wait=1,
                    max_reconnect_attempts=0,
                    connect_timeout=2,
                    ping_interval=2,
                    max_outstanding_pings=2,
                    disconnected_cb=on_lost,
                    closed_cb=on_lost,
                    error_cb=on_error,
                )
                await client.subscribe(FEED_SUBJECT, cb=on_entry)
                await client.subscribe(KEY_SUBJECT, cb=on_key)
                await client.subscribe(RECEIPTS_SUBJECT, cb=on_asked)
                await client.flush(2)
            except (NatsError, OSError, TimeoutError) as error:
                log.info("revocation_feed.nats_unavailable", error=type(error).__name__)
                with contextlib.suppress(Exception):
                    await client.close()
                lost.clear()
                await asyncio.sleep(1.0)
            else:
                return client


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def _newest(answer: Answer) -> Newest:
    said = answer.object()
    age_s, jwks = said.get("age_s"), said.get("jwks")
    if not isinstance(age_s, int | float):
        raise IssuerUnavailable(f"{answer.path}: no age_s")
    return Newest(_position(said), max(0.0, age_s), jwks if isinstance(jwks, str) else "")


def _taken(answer: Answer) -> None:
    if answer.status not in {httpx2.codes.OK, httpx2.codes.NO_CONTENT}:
        raise IssuerUnavailable(f"{answer.path}: status {answer.status}")


def _page(answer: dict[str, object]) -> Page:
    entries = answer.get("entries")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise IssuerUnavailable("/revocations: no entries")
    return Page(_position(answer), entries)


def _position(answer: object) -> Position:
    position = answer.get("position") if isinstance(answer, dict) else answer
    if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 1 << 53:
        raise IssuerUnavailable("not a position")
    return Position(position)
