"""Everybody who could still accept a token, and how long after its revocation anybody did."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2
from tests.bench.resource_server import ResourceServer

from watchword_events.names import Service
from watchword_runtime.feed import STALE_S
from watchword_testkit.api import Api
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party
from watchword_verifier import ClientCredentials, HttpFeed, NatsFeed, Reason, TokenRefused, Verifier, WhenStale
from watchword_verifier.tokens import take_apart

AUDIENCE = "https://orders.example"
BOUND_S = STALE_S
_REFUSALS = 3  # in a row: then it is refused for good, or the test's last look finds it
_LOST_S = 20.0


@dataclass(frozen=True)
class Sentry:
    """One who accepts or refuses tokens."""

    name: str
    accepts: Callable[[str], Awaitable[bool]]


@dataclass
class Ring:
    """The sentries of an installation, and a machine whose tokens they are shown.

    reader: the resource server's own client, which reads the feed and may introspect any token.
    """

    platform: Platform
    machine: Party
    reader: Party
    sentries: list[Sentry] = field(default_factory=list)
    verifiers: list[Verifier] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    async def around(cls, platform: Platform) -> "Ring":
        """With a machine of its own; no sentries yet."""
        api = platform.api()
        machine = await machine_of(api, platform, scope="orders:read", audience=[AUDIENCE])
        reader = await machine_of(api, platform, scope="revocations:read introspect:any")
        return cls(platform, machine, reader)

    async def token(self) -> str:
        """A new token of the machine, which every sentry may meet."""
        form = {"grant_type": "client_credentials", "scope": "orders:read"}
        return str((await self._asked("token", **form)).json()["access_token"])

    def add_doors(self) -> None:
        """Each worker is a sentry."""
        assert isinstance(self.platform, WorkerPlatform)
        for number, door in enumerate(self.platform.doors, start=1):
            self.sentries.append(Sentry(f"worker-{number}", self._asks(door)))

    async def add_verifier(
        self,
        name: str,
        *,
        issuer_at: str | None = None,
        nats_at: str | None = None,
        bound_s: float = BOUND_S,
        when_stale: WhenStale = WhenStale.INTROSPECT,
        **more: Any,
    ) -> Verifier:
        """A verifier in this process is a sentry. issuer_at, nats_at: where it finds them; no nats_at is HTTP only."""
        assert self.reader.client_secret is not None
        at = issuer_at or self.platform.issuer
        http = HttpFeed(at, ClientCredentials(at, self.reader.client_id, self.reader.client_secret))
        feed: HttpFeed | NatsFeed = http
        if nats_at is not None:
            feed = NatsFeed(nats_at, http, seed=self.nats_seed, inbox_prefix=f"_INBOX_{Service.ADMIN}")
        verifier = Verifier(
            self.platform.issuer,
            AUDIENCE,
            feed=feed,
            staleness_bound=timedelta(seconds=bound_s),
            when_stale=when_stale,
            **more,
        )
        await self._stack.enter_async_context(verifier)
        self.verifiers.append(verifier)
        self.sentries.append(Sentry(name, accepted_by(verifier)))
        return verifier

    async def add_process(self, name: str, *, over_nats: bool, bound_s: float, when_stale: str) -> ResourceServer:
        """A verifier in a process of its own; it is no sentry of the ring, for a test means to suspend it."""
        assert self.reader.client_secret is not None
        process = await ResourceServer.started(
            name,
            issuer=self.platform.issuer,
            audience=AUDIENCE,
            client_id=self.reader.client_id,
            secret=self.reader.client_secret,
            nats_url=self.platform.nats.url if over_nats else "",
            nats_seed=self.nats_seed,
            inbox_prefix=f"_INBOX_{Service.ADMIN}",
            bound_s=bound_s,
            when_stale=when_stale,
        )
        self._stack.push_async_callback(process.stop)
        return process

    @property
    def nats_seed(self) -> str:
        """A NATS user who may hear the feed."""
        return self.platform.site.installation.seeds[Service.ADMIN]

    async def all_accept(self, token: str) -> None:
        """Returns when every sentry accepts the token. Raises AssertionError with those who do not."""
        deadline = time.monotonic() + _LOST_S
        while refusing := [each.name for each in self.sentries if not await each.accepts(token)]:
            assert time.monotonic() < deadline, f"a good token is refused by {refusing}"
            await asyncio.sleep(0.1)

    async def last_acceptance_s(self, token: str, *, since: float) -> float:
        """How long after a moment of time.monotonic() the last sentry accepted the token; 0 when none did.

        Every sentry refuses it afterwards. Raises AssertionError when one goes on accepting it.
        """
        found = await asyncio.gather(*[_last_acceptance(each, token, since) for each in self.sentries])
        again = [each.name for each in self.sentries if await each.accepts(token)]
        assert not again, f"accepted again by {again}"
        return max(found, default=0.0)

    async def revoke(self, token: str) -> float:
        """The machine gives a token back. When the call returned, by time.monotonic()."""
        await self._asked("revoke", token=token)
        return time.monotonic()

    async def _asked(self, path: str, **form: str) -> httpx2.Response:
        """The answer to the machine, which asks again when a connection breaks: a worker may just have died."""
        deadline = time.monotonic() + _LOST_S
        while True:
            try:
                answer = await self.machine.ask(path, **form)
            except httpx2.TransportError:
                assert time.monotonic() < deadline, "nobody answers"
                await asyncio.sleep(0.05)
                continue
            assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
            return answer

    async def aclose(self) -> None:
        """Nothing of it runs any more."""
        await self._stack.aclose()

    def _asks(self, door: str) -> Callable[[str], Awaitable[bool]]:
        party = Party(door, self.reader.client_id, self.reader.client_secret)

        async def accepts(token: str) -> bool:
            """A worker that does not answer accepts nothing."""
            try:
                answer = await party.ask("introspect", token=token)
            except httpx2.TransportError:
                return False
            return answer.status_code == 200 and answer.json()["active"] is True

        return accepts


async def machine_of(api: Api, platform: Platform, **metadata: object) -> Party:
    """A client that acts for itself."""
    return await Party.registered(
        api,
        platform.issuer,
        platform.canary,
        grant_types=["client_credentials"],
        redirect_uris=[],
        response_types=[],
        **metadata,
    )


async def _last_acceptance(sentry: Sentry, token: str, since: float) -> float:
    last = refusals = 0.0
    while refusals < _REFUSALS:
        began = time.monotonic()
        if await sentry.accepts(token):
            last, refusals = max(last, began - since), 0
            assert began - since < _LOST_S, f"{sentry.name} goes on accepting a revoked token"
        else:
            refusals += 1
        await asyncio.sleep(0.01)
    return last


def accepted_by(verifier: Verifier) -> Callable[[str], Awaitable[bool]]:
    """Whether a verifier lets a token in."""

    async def accepts(token: str) -> bool:
        return await refusal(verifier, token) is None

    return accepts


async def refusal(verifier: Verifier, token: str) -> Reason | None:
    """Why a verifier refuses a token; None when it does not."""
    try:
        await verifier.verify(token)
    except TokenRefused as error:
        return error.reason
    return None


def claims_of(token: str) -> dict[str, Any]:
    """What a JWT says, unchecked."""
    return dict(take_apart(token).claims())


@asynccontextmanager
async def ring_of(platform: Platform) -> AsyncIterator[Ring]:
    """A ring that ends with the block."""
    ring = await Ring.around(platform)
    try:
        yield ring
    finally:
        await ring.aclose()


def within_bound(observed: Sequence[float], bound_s: float = BOUND_S) -> float:
    """The greatest. Raises AssertionError when it breaks the promise."""
    worst = max(observed, default=0.0)
    assert worst <= bound_s, f"accepted {worst:.2f} s after the revocation; the bound is {bound_s:g} s"
    return worst
