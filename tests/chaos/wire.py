"""A piece of network between a program and a server that a test can cut and mend."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum


class Cut(StrEnum):
    """How a connection ends: everybody hears of it, or nothing is heard any more."""

    CLOSED = "closed"
    SILENT = "silent"


class Wire:
    """Passes TCP connections on to a port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    async def start(self) -> None:
        """Connections are accepted, from the second time on at the same port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def cut(self, how: Cut) -> None:
        """Nothing passes any more."""
        self._flows.clear()
        if how is Cut.CLOSED:
            await self._close()

    async def mend(self) -> None:
        """What was held back passes, and new connections do."""
        self._flows.set()
        if self._server is None:
            await self.start()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def stop(self) -> None:
        """Every connection is closed."""
        await self._close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                there = asyncio.create_task(self._pass(reader, far_writer))
                back = asyncio.create_task(self._pass(far_reader, writer))
                try:
                    await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    there.cancel()
                    back.cancel()
            finally:
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the wire was cut
        finally:
            writer.close()
            self._open.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(64 * 1024):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def wired(target: int) -> AsyncIterator[Wire]:
    """A wire to a port."""
    wire = Wire(target)
    await wire.start()
    try:
        yield wire
    finally:
        await wire.stop()
