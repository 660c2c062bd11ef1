"""A resource server with the verifier in a process of its own, which its starter may question, suspend and wake.

The process reads commands from standard input and answers on standard output, a JSON line each. Times are seconds of
CLOCK_MONOTONIC, which every process of a machine shares.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from watchword_verifier import ClientCredentials, HttpFeed, NatsFeed, TokenRefused, Verifier, WhenStale

_PROBE_EVERY_S: Final = 0.003  # how often a watch looks whether the feed has moved; eight do so beside each other
_LOOK_ANYWAY_S: Final = 0.05
_LINE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Watched:
    """What became of watched tokens. refused: when first refused, None for never; accepted: when last accepted."""

    refused: list[float | None]
    accepted: list[float]


class Silent(RuntimeError):
    """The process did not answer."""


@dataclass
class ResourceServer:
    """The starter's side of one process."""

    name: str
    _process: asyncio.subprocess.Process
    _reader: "asyncio.Task[None] | None" = None
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _waiting: dict[int, "asyncio.Future[dict[str, Any]]"] = field(default_factory=dict)

    @classmethod
    async def started(
        cls,
        name: str,
        *,
        issuer: str,
        audience: str,
        client_id: str,
        secret: str,
        nats_url: str = "",
        nats_seed: str = "",
        inbox_prefix: str = "",
        bound_s: float = 5.0,
        when_stale: str = "introspect",
    ) -> "ResourceServer":
        """It has loaded keys and revocations. nats_url: empty for the feed over HTTP."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.resource_server"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        made = cls(name, process)
        made._reader = asyncio.create_task(made._read(), name=f"resource-server-{name}")
        orders = {
            "issuer": issuer,
            "audience": audience,
            "client_id": client_id,
            "secret": secret,
            "nats_url": nats_url,
            "nats_seed": nats_seed,
            "inbox_prefix": inbox_prefix,
            "bound_s": bound_s,
            "when_stale": when_stale,
        }
        try:
            if not (await made.ask("start", within_s=60, **orders))["loaded"]:
                raise Silent(f"{name} found no feed")
        except Silent:
            await made.stop()
            raise
        return made

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, command: str, *, within_s: float = 30.0, **more: object) -> dict[str, Any]:
        """Its answer. Raises Silent."""
        return await self.answer_to(self.send(command, **more), within_s=within_s)

    def send(self, command: str, **more: object) -> int:
        """The command waits in its input, and is read when it can. Comes back with a number for answer_to()."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"n": number, "do": command, **more}).encode() + b"\n")
        return number

    async def answer_to(self, number: int, *, within_s: float = 30.0) -> dict[str, Any]:
        """The answer to a command. Raises Silent."""
        try:
            async with asyncio.timeout(within_s):
                return await self._waiting[number]
        except TimeoutError:
            raise Silent(f"{self.name} did not answer") from None
        finally:
            del self._waiting[number]

    async def refusals(self, tokens: Sequence[str]) -> list[str | None]:
        """For each token why it is refused, or None."""
        return list((await self.ask("verify", tokens=list(tokens)))["refusals"])

    async def watch(self, tokens: Sequence[str], *, within_s: float) -> tuple[list[str | None], int]:
        """From now on each token is looked at until it is refused. The refusals now, and a number for watched()."""
        begun = await self.ask("watch", tokens=list(tokens), within_s=30, for_s=within_s)
        number = int(begun["watch"])
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process_write({"n": number, "do": "go"})
        return list(begun["refusals"]), number

    async def watched(self, number: int, *, within_s: float) -> Watched:
        """What became of watched tokens. Raises Silent."""
        answer = await self.answer_to(number, within_s=within_s + 10)
        return Watched(answer["refused"], answer["accepted"])

    def suspend(self) -> None:
        """The process stands still."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """The process goes on."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """The process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.wake()
            self._process.terminate()
        await self._process.wait()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    def _process_write(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            waiting = self._waiting.get(answer["n"])
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Silent(f"{self.name} has ended"))


class _Child:
    """The side of the process itself."""

    def __init__(self) -> None:
        self._verifier: Verifier | None = None
        self._watches: dict[int, tuple[list[str], float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def verifier(self) -> Verifier:
        assert self._verifier is not None
        return self._verifier

    async def run(self) -> None:
        """Commands are obeyed until the input ends."""
        reader = asyncio.StreamReader(limit=_LINE_BYTES)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            message = json.loads(line)
            number, command = message.pop("n"), message.pop("do")
            if command == "start":
                self._say(number, loaded=await self._start(message))
            elif command == "verify":
                self._say(number, refusals=[await self._refusal(token) for token in message["tokens"]])
            elif command == "state":
                self._say(number, fresh=self.verifier.is_fresh, position=self.verifier.position)
            elif command == "watch":
                tokens = message["tokens"]
                self._watches[-number - 1] = (tokens, message["for_s"])
                self._say(number, watch=-number - 1, refusals=[await self._refusal(token) for token in tokens])
            else:
                task = asyncio.create_task(self._watch(number))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        if self._verifier is not None:
            await self._verifier.aclose()

    async def _start(self, orders: dict[str, Any]) -> bool:
        issuer = orders["issuer"]
        http = HttpFeed(issuer, ClientCredentials(issuer, orders["client_id"], orders["secret"]))
        feed: HttpFeed | NatsFeed = http
        if orders["nats_url"]:
            seed, prefix = orders["nats_seed"] or None, orders["inbox_prefix"] or "_INBOX"
            feed = NatsFeed(orders["nats_url"], http, seed=seed, inbox_prefix=prefix)
        self._verifier = Verifier(
            issuer,
            orders["audience"],
            feed=feed,
            staleness_bound=timedelta(seconds=orders["bound_s"]),
            when_stale=WhenStale(orders["when_stale"]),
        )
        return await self._verifier.start(wait=timedelta(seconds=50))

    async def _refusal(self, token: str) -> str | None:
        try:
            await self.verifier.verify(token)
        except TokenRefused as error:
            return str(error.reason)
        return None

    async def _watch(self, number: int) -> None:
        """Looks again when the feed has moved, and twenty times a second anyway."""
        tokens, for_s = self._watches.pop(number)
        refused: list[float | None] = [None] * len(tokens)
        accepted = [0.0] * len(tokens)
        left = dict(enumerate(tokens))
        position, looked, ends = -1, 0.0, time.monotonic() + for_s
        while left and time.monotonic() < ends:
            now = time.monotonic()
            if self.verifier.position != position or now - looked > _LOOK_ANYWAY_S:
                position, looked = self.verifier.position, now
                for index, token in list(left.items()):
                    began = time.monotonic()
                    if await self._refusal(token) is None:
                        accepted[index] = began
                    else:
                        refused[index] = time.monotonic()
                        del left[index]
            await asyncio.sleep(_PROBE_EVERY_S)
        self._say(number, refused=refused, accepted=accepted)

    @staticmethod
    def _say(number: int, **answer: object) -> None:
        sys.stdout.write(json.dumps({"n": number, **answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(_Child().run())
