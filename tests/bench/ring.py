"""An installation of service instances with verifier processes around it, for measuring when who refuses what."""

import asyncio
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
from tests.bench.resource_server import ResourceServer

from watchword_database import Database
from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_runtime.feed import STALE_S
from watchword_runtime.keyring import Keyring
from watchword_testkit.api import Api
from watchword_testkit.databases import TestDatabase, migrated_template
from watchword_testkit.factory import WorkerPlatform, in_processes
from watchword_testkit.platform import prepared
from watchword_testkit.servers import Postgres, embedded_postgres
from watchword_testkit.signin import Party
from watchword_token.keys import Keys
from watchword_token.tokens import compact

AUDIENCE = "https://orders.example"
GIVE_UP_S = 15.0
CALLS_AT_ONCE = 2


@dataclass
class Measured:
    """Revocations of one kind. delays_ms: from the return of the call to the last refusal, each."""

    delays_ms: list[float] = field(default_factory=list)
    late: int = 0  # accepted by somebody later than the staleness bound, or never refused
    after_return: int = 0  # accepted by somebody after the call had returned
    good_refused: int = 0  # good tokens that somebody refused before
    incomplete: int = 0  # `wait=all` that answered 202
    call_ms: list[float] = field(default_factory=list)

    def add(self, other: "Measured") -> None:
        """The other's revocations count here as well."""
        self.delays_ms += other.delays_ms
        self.call_ms += other.call_ms
        for name in ("late", "after_return", "good_refused", "incomplete"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def p50_p99_max(self) -> tuple[float, float, float]:
        ordered = sorted(self.delays_ms)
        return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]


class Mint:
    """Makes access tokens with the installation's own keys: what is measured is their end, not their making."""

    def __init__(self, platform: WorkerPlatform, client_id: str) -> None:
        installation, url = platform.site.installation, platform.database.url(Service.TOKEN)
        self._database = Database(url, service=Service.TOKEN)
        self.keys = Keys(self._database, Keyring(installation.keys_of(Service.TOKEN)))
        self._issuer, self._client_id = platform.issuer, client_id

    async def close(self) -> None:
        await self._database.dispose()

    @property
    def kid(self) -> str:
        """The key that signs."""
        return self.keys.signing("ES256").kid

    def token(self, rev: int, **claims: Any) -> str:
        """A person's token at the application."""
        now_s = int(utc_now().timestamp())
        made: dict[str, Any] = {
            "iss": self._issuer,
            "sub": new_id(),
            "aud": [AUDIENCE],
            "exp": now_s + 3600,
            "iat": now_s,
            "jti": new_id(),
            "client_id": self._client_id,
            "rev": rev,
            "scope": "openid",
            "gid": new_id(),
            "sid": new_id(),
            "idp": "okta",
            **claims,
        }
        key = self.keys.signing("ES256")
        return compact(key, key.access_header, orjson.dumps(made)).decode()


@dataclass
class Ring:
    """Everybody who may accept a token. app: whose tokens are revoked.  reader: the verifiers' own client.

    sleepers: verifiers that are not asked about tokens.  pace_s: from the beginning of one revocation to that of the
    next, 0 for as soon as it can.
    """

    platform: WorkerPlatform
    api: Api
    app: Party
    reader: Party
    mint: Mint
    servers: list[ResourceServer] = field(default_factory=list)
    sleepers: list[ResourceServer] = field(default_factory=list)
    calls: httpx2.AsyncClient = field(default_factory=lambda: httpx2.AsyncClient(timeout=30, trust_env=False))
    doors: list[httpx2.AsyncClient] = field(default_factory=list)
    first_start_s: float = 0.0
    pace_s: float = 0.0
    _next_turn: float = 0.0

    async def stop(self) -> None:
        """No verifier runs any more."""
        await asyncio.gather(*[each.stop() for each in (*self.servers, *self.sleepers)])

    async def at_token(self, path: str, **form: str) -> httpx2.Response:
        """The answer of `/oauth2/<path>` to the application, on a connection that stays open."""
        login = self.app.client_id, self.app.client_secret or ""
        answer = await self.calls.post(f"{self.platform.issuer}/oauth2/{path}", data=form, auth=login)
        return answer.raise_for_status()

    async def position(self) -> int:
        """The newest position of the ledger."""
        async with self.platform.database.postgres.admin(self.platform.database.name) as connection:
            return int(await connection.fetchval("SELECT position FROM bus.ledger"))

    async def server(self, name: str, *, over_nats: bool) -> ResourceServer:
        """One more verifier process."""
        assert self.reader.client_secret is not None
        return await ResourceServer.started(
            name,
            issuer=self.platform.issuer,
            audience=AUDIENCE,
            client_id=self.reader.client_id,
            secret=self.reader.client_secret,
            nats_url=self.platform.nats.url if over_nats else "",
            nats_seed=self.platform.site.installation.seeds[Service.ADMIN] if over_nats else "",
            inbox_prefix=f"_INBOX_{Service.ADMIN}",
        )

    async def measure(
        self, tokens: Sequence[str], revoke: Callable[[int], Awaitable[bool]], *, doors_every: int
    ) -> Measured:
        """Every token is revoked; what the verifiers, and for each `doors_every`-th the instances, did with it.

        revoke: ends the token of that index; False when the answer was not complete.
        """
        found = Measured()
        begun = await asyncio.gather(*[each.watch(tokens, within_s=GIVE_UP_S) for each in self.servers])
        found.good_refused = sum(refusal is not None for refusals, _ in begun for refusal in refusals)
        returned, complete = [0.0] * len(tokens), [True] * len(tokens)
        at_once = asyncio.Semaphore(CALLS_AT_ONCE)
        at_doors: dict[int, tuple[float | None, float]] = {}

        async def one(index: int) -> None:
            async with at_once:
                await self._turn()
                began = time.monotonic()
                complete[index] = await revoke(index)
                returned[index] = time.monotonic()
                found.call_ms.append((returned[index] - began) * 1000)
                if index % doors_every == 0:
                    at_doors[index] = await self._refused_at_doors(tokens[index])

        await asyncio.gather(*[one(index) for index in range(len(tokens))])
        ends = await asyncio.gather(
            *[each.watched(number, within_s=GIVE_UP_S) for each, (_, number) in zip(self.servers, begun, strict=True)]
        )
        for index, at in enumerate(returned):
            refused = [end.refused[index] for end in ends]
            accepted = [end.accepted[index] for end in ends]
            if index in at_doors:
                refused.append(at_doors[index][0])
                accepted.append(at_doors[index][1])
            times = [each for each in refused if each is not None]
            if len(times) < len(refused) or max(accepted) - at > STALE_S:
                found.late += 1
            if not complete[index]:
                found.incomplete += 1
            elif max(accepted) > at:
                found.after_return += 1
            found.delays_ms.append(max(0.0, max(times, default=at + GIVE_UP_S) - at) * 1000)
        return found

    async def _turn(self) -> None:
        """Returns when the next revocation may begin."""
        loop = asyncio.get_running_loop()
        self._next_turn = max(self._next_turn, loop.time()) + self.pace_s
        await asyncio.sleep(self._next_turn - self.pace_s - loop.time())

    async def _refused_at_doors(self, token: str) -> tuple[float | None, float]:
        found = await asyncio.gather(*[self._refused_at(door, token) for door in self.doors])
        refused = [at for at, _ in found if at is not None]
        return (max(refused) if len(refused) == len(found) else None), max(at for _, at in found)

    async def _refused_at(self, door: httpx2.AsyncClient, token: str) -> tuple[float | None, float]:
        """When a door first refused, and when it was last asked and accepted.

        One that never accepted had refused when it was asked; how long its answer travelled says nothing about that.
        """
        accepted, ends = 0.0, time.monotonic() + GIVE_UP_S
        login = self.reader.client_id, self.reader.client_secret or ""
        while (began := time.monotonic()) < ends:
            answer = await door.post("/oauth2/introspect", data={"token": token}, auth=login)
            if not answer.raise_for_status().json()["active"]:
                return time.monotonic() if accepted else began, accepted
            accepted = began
        return None, accepted


_ENTRIES: Final = """
INSERT INTO bus.revocations (position, claim, value, kind, until, keep_until, reason)
SELECT $1::bigint + n, (ARRAY['jti', 'gid', 'sid', 'sub'])[1 + n % 4], gen_random_uuid()::text, 'cut',
       now() + interval '1 hour', now() + interval '1 day', 'bench'
  FROM generate_series(1, $2::bigint) AS n
"""


async def fill(platform: TestDatabase, entries: int) -> None:
    """So many revocations of strangers are live."""
    async with platform.postgres.admin(platform.name) as connection, connection.transaction():
        sql = "UPDATE bus.ledger SET position = position + $1 RETURNING position"
        head = await connection.fetchval(sql, entries)
        await connection.execute(_ENTRIES, head - entries, entries)
        await connection.execute("ANALYZE bus.revocations")  # as autovacuum does within a minute


@asynccontextmanager
async def gathered(
    *, workers: int, over_http: int, over_nats: int, entries: int, **settings: str
) -> AsyncIterator[Ring]:
    """A whole installation on durable servers of its own, with so many live revocations, and its verifiers."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="watchword-bench-")))
        os.chmod(home, 0o711)  # PostgreSQL may run as somebody else
        postgres = embedded_postgres(home)
        postgres.start()
        stack.callback(postgres.stop)
        server = Postgres(postgres.url())
        site = await stack.enter_async_context(prepared(server, await migrated_template(server), home))
        await fill(site.database, entries)
        platform = await stack.enter_async_context(in_processes(site, workers, postgres=postgres, settings=settings))
        api = platform.api()
        app = await _machine(api, platform, scope="read")
        reader = await _machine(api, platform, scope="revocations:read introspect:any")
        mint = Mint(platform, app.client_id)
        await mint.keys.start()
        stack.push_async_callback(mint.close)
        ring = Ring(platform, api, app, reader, mint)
        stack.push_async_callback(ring.calls.aclose)
        for door in platform.doors:
            client = httpx2.AsyncClient(base_url=door, timeout=30, trust_env=False)
            stack.push_async_callback(client.aclose)
            ring.doors.append(client)
        names = [(f"verifier-{number + 1}", number >= over_http) for number in range(over_http + over_nats)]
        began = time.monotonic()
        ring.servers.append(await ring.server(names[0][0], over_nats=names[0][1]))  # alone, to be measured
        ring.first_start_s = time.monotonic() - began
        stack.push_async_callback(ring.stop)
        ring.servers += await asyncio.gather(*[ring.server(name, over_nats=over) for name, over in names[1:]])
        yield ring


async def _machine(api: Api, platform: WorkerPlatform, *, scope: str) -> Party:
    return await Party.registered(
        api,
        platform.issuer,
        client_name=f"bench {secrets.token_hex(2)}",
        grant_types=["client_credentials"],
        redirect_uris=[],
        response_types=[],
        scope=scope,
        audience=[AUDIENCE],
    )
