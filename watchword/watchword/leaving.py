"""Ends answers that never end by themselves when the process leaves, so that stopping waits for nobody."""

import asyncio

from watchword_runtime.service import ASGIApp, Message, Receive, Scope, Send


class Leaving:
    """ASGI: after leave(), whoever streams (server-sent events) is told that the client has gone, and is finished."""

    __slots__ = ("_app", "_left")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Streams end now; other answers are not touched."""
        self._left.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application answers; a stream ends properly when the process leaves."""
        exchange = _Exchange(self._left, receive, send)
        await self._app(scope, exchange.receive, exchange.send)
        if self._left.is_set() and exchange.streams:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Exchange:
    """One request and its answer. streams: the answer has begun and is not complete."""

    __slots__ = ("_left", "_read", "_receive", "_send", "streams")

    def __init__(self, left: asyncio.Event, receive: Receive, send: Send) -> None:
        self._left, self._receive, self._send = left, receive, send
        self._read = False
        self.streams = False

    async def receive(self) -> Message:
        """The body; after it, the disconnection of the client or of this process, whichever is first."""
        if not self._read:
            message = await self._receive()
            self._read = not message.get("more_body", False)
            return message
        gone = asyncio.ensure_future(self._receive())
        left = asyncio.create_task(self._left.wait())
        try:
            done, _ = await asyncio.wait({gone, left}, return_when=asyncio.FIRST_COMPLETED)
            return gone.result() if gone in done else {"type": "http.disconnect"}
        finally:
            gone.cancel()
            left.cancel()

    async def send(self, message: Message) -> None:
        """Passed on."""
        if message["type"] == "http.response.start":
            self.streams = True
        elif message["type"] == "http.response.body":
            self.streams = bool(message.get("more_body", False))
        await self._send(message)
