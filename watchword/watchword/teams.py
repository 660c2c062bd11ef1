"""Giving a program of another team a look at events, and taking it back, while everything runs.

A grant is a seed file for the program, a user in nats.conf and a durable consumer. nats-server reads nats.conf again
when its system user says so, in a container like beside us, and ends the connections of users that are gone.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nats
import nkeys
from nats.aio.client import Client
from nats.errors import Error as NatsError

from watchword import grants as book
from watchword.embedded.process import write_private
from watchword.grants import Grant
from watchword.installation import Installation, Operator
from watchword.nats_conf import render
from watchword.provision import connected, ensure_readers
from watchword_events.teams import EVENTS_API, api_calls

_CONTAINER_STORE = "/data/jetstream"
_ANSWER_S = 5.0
_QUIET_S = 0.5
_WORKS_WITHIN_S = 5.0

Text = Callable[[Installation, Sequence[Grant]], str]


class NotInForce(RuntimeError):
    """It is written down, and nats-server has not read it; the text says what to do."""


@dataclass(frozen=True)
class Place:
    """An installation on disk. servers: where nats-server is reached from here; empty while it does not run.

    conf, text: its configuration and how that is written; None where the next start does it.
    """

    secrets: Path
    servers: tuple[str, ...]
    conf: Path | None
    text: Text

    @property
    def grants(self) -> tuple[Grant, ...]:
        """Who may read."""
        return book.load_grants(book.grants_path(self.secrets))

    def seed_file(self, name: str) -> Path:
        """Where a grant's seed is."""
        return self.secrets / "teams" / f"{book.check_name(name)}.nkey"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else grants or revokes meanwhile."""
        directory = self.secrets / "teams"
        directory.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    async def put_in_force(self, grants: Sequence[Grant]) -> None:
        """These grants are on disk, and nats-server obeys them where it runs. Raises NotInForce when it does not."""
        installation = Installation.load(self.secrets)
        book.save_grants(book.grants_path(self.secrets), grants)
        if self.conf is not None:
            write_private(self.conf, self.text(installation, grants))
        if not self.servers:
            return
        try:
            await reload(self.servers, installation.seeds[Operator.SYSTEM])
            async with asyncio.timeout(_ANSWER_S):
                async with connected(self.servers, installation.seeds[Operator.PROVISION]) as client:
                    await ensure_readers(client.jetstream(), grants)
        except (NatsError, OSError, TimeoutError) as error:
            raise NotInForce(
                f"nats-server at {', '.join(self.servers)} does not answer ({type(error).__name__}): it obeys when it "
                "is started again"
            ) from None


def embedded_text(data_dir: Path, port: int) -> Text:
    """nats.conf of the server that `watchword up` runs. data_dir: absolute."""
    store = str(data_dir / "nats" / "jetstream")
    return lambda installation, grants: render(installation.nats_public_keys(), port=port, store=store, grants=grants)


def container_text(installation: Installation, grants: Sequence[Grant] = ()) -> str:
    """nats.conf of a server in a container."""
    return render(
        installation.nats_public_keys(),
        port=4222,
        store=_CONTAINER_STORE,
        host="0.0.0.0",  # noqa: S104 - inside a container; what is published is compose.yaml's business
        monitor="127.0.0.1:8222",
        grants=grants,
    )


async def grant(
    place: Place, name: str, *, subjects: Collection[str], feed: bool, since: datetime | None, now: datetime
) -> tuple[Grant, Path]:
    """A program may read; comes back with the grant and the file of its seed. Raises GrantRefused, NotInForce."""
    with place.alone():
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        public = nkeys.from_seed(bytearray(seed)).public_key.decode()
        grants, made = book.added(
            place.grants, name, public_key=public, subjects=subjects, feed=feed, since=since, now=now
        )
        file = place.seed_file(name)
        write_private(file, seed.decode())
        await place.put_in_force(grants)
    if place.servers and not await _works(place.servers, seed.decode(), name):
        raise NotInForce(
            "nats-server does not know the accounts of other teams yet, because it was started by an older version: "
            "restart it once. The grant is written down"
        )
    return made, file


async def revoke(place: Place, name: str) -> None:
    """A program may read no longer; its connections are ended. Raises GrantRefused, NotInForce."""
    with place.alone():
        left = book.without(place.grants, name)
        place.seed_file(name).unlink(missing_ok=True)
        await place.put_in_force(left)


async def reload(servers: Sequence[str], seed: str) -> None:
    """Every nats-server has read its configuration again. seed: the system user's. Raises NotInForce, NatsError."""
    async with asyncio.timeout(_ANSWER_S), _connection(servers, seed) as client:
        ids = await _server_ids(client)
        for each in ids:
            answer = json.loads((await client.request(f"$SYS.REQ.SERVER.{each}.RELOAD", b"", timeout=_ANSWER_S)).data)
            if "error" in answer:
                said = answer["error"].get("description", "no reason given")
                raise NotInForce(f"nats-server refuses its configuration: {said}. Restart it")
        if len(ids) < len(servers):
            raise NotInForce(f"{len(ids)} of {len(servers)} nats-servers answered: restart the others")


async def _server_ids(client: Client) -> list[str]:
    """Whoever answers to the system user's call, until nobody else does."""
    inbox = client.new_inbox()
    heard = await client.subscribe(inbox)
    await client.publish("$SYS.REQ.SERVER.PING", b"", reply=inbox)
    found = [json.loads((await heard.next_msg(_ANSWER_S)).data)["server"]["id"]]
    with contextlib.suppress(NatsError, TimeoutError):
        while True:
            found.append(json.loads((await heard.next_msg(_QUIET_S)).data)["server"]["id"])
    return found


async def _works(servers: Sequence[str], seed: str, name: str) -> bool:
    """Whether a program with the seed is let in and finds its consumer."""
    subject = f"{EVENTS_API}.{api_calls(name)['look at its consumer']}"
    deadline = time.monotonic() + _WORKS_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with _connection(servers, seed) as client:
                answer = json.loads((await client.request(subject, b"", timeout=1)).data)
                if "error" not in answer:
                    return True
        await asyncio.sleep(0.2)
    return False


@asynccontextmanager
async def _connection(servers: Sequence[str], seed: str) -> AsyncIterator[Client]:
    """One attempt, without the client's own complaints."""
    client = await nats.connect(
        servers=list(servers),
        nkeys_seed_str=seed,
        name="watchword-events",
        allow_reconnect=False,
        max_reconnect_attempts=0,
        connect_timeout=2,
        error_cb=_ignore,
    )
    try:
        yield client
    finally:
        with contextlib.suppress(NatsError, OSError):
            await client.close()


async def _ignore(error: Exception) -> None:
    """What matters is raised."""
