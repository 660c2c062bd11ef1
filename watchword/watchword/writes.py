"""uvicorn's HTTP protocol with one write for each answer instead of two.

uvicorn writes the head and the body of an answer separately, and uvloop sends each write at once: two system calls, two
packets, and two times somebody is woken up at the other end. Here everything that is written in one turn of the event
loop leaves together at its end.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class GatheringTransport:
    """A transport whose writes of one turn of the loop leave together; everything else is the transport's own."""

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """What a transport can do otherwise, for example tell the peer's address."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """The data leaves before the loop waits for anything again, or with the next close()."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """What was written leaves, then the transport closes."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))


class GatheringProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, over a transport that gathers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Answers on this connection leave in one piece."""
        super().connection_made(GatheringTransport(transport, self.loop))  # type: ignore[arg-type]  # all it calls
