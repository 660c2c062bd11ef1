"""What a service starts and stops, in order, and what it waits for before it is ready."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol, TypeVar

from watchword_database.outages import note_interruption
from watchword_database.tasks import end

_RETRY_S: Final = 0.5


class Runs(Protocol):
    """Something that works in the background between start() and stop()."""

    def start(self) -> Awaitable[None] | None: ...
    async def stop(self) -> None: ...


class Awaited(Protocol):
    """Something without which a service is not ready."""

    @property
    def ready(self) -> bool: ...


R = TypeVar("R", bound=Runs)
A = TypeVar("A", bound=Awaited)


class Lifecycle:
    """What was added first is started first and stopped last; one that cannot be stopped keeps no other from it."""

    def __init__(self) -> None:
        self._running: list[Runs] = []
        self._awaited: list[tuple[str, Awaited]] = []
        self._stack = AsyncExitStack()

    def runs(self, part: R) -> R:
        """The part is started after those before it, and stopped before them."""
        self._running.append(part)
        return part

    def awaits(self, name: str, part: A) -> A:
        """The service is not ready before the part is. name: for people."""
        self._awaited.append((name, part))
        return part

    def closes(self, close: Callable[[], object]) -> None:
        """`close` is called, and awaited where it is a coroutine function, once nothing runs any more."""

        async def closing() -> None:
            result = close()
            if inspect.isawaitable(result):
                await result

        self._stack.push_async_callback(closing)

    async def start(self) -> None:
        """Every part has been started; call it once."""
        for part in self._running:
            self._stack.push_async_callback(part.stop)
            starting = part.start()
            if starting is not None:
                await starting

    async def stop(self) -> None:
        """Whatever was started has been stopped, and everything is closed. Raises what the last of them raised."""
        await self._stack.aclose()

    def waits_for(self) -> str:
        """Why the service is not ready, or "" when it is."""
        waiting = [name for name, part in self._awaited if not part.ready]
        return f"waits for {', '.join(waiting)}" if waiting else ""


class Once:
    """Something that has to succeed once; it is tried again until it has."""

    def __init__(self, act: Callable[[], Awaitable[None]], *, failure: str, patience_s: float = 0.0) -> None:
        """failure: the event in the log.  patience_s: how long start() waits for it before it goes on without."""
        self._act, self._failure, self._patience_s = act, failure, patience_s
        self._task: asyncio.Task[None] | None = None
        self.ready = False

    async def start(self) -> None:
        """It is done, or being tried in the background."""
        self._task = asyncio.create_task(self._until_done(), name=self._failure)
        await asyncio.wait([self._task], timeout=self._patience_s)

    async def stop(self) -> None:
        """It is tried no more."""
        await end(self._task)

    async def _until_done(self) -> None:
        while not self.ready:
            try:
                await self._act()
                self.ready = True
            except Exception as error:
                note_interruption(self._failure, error)
                await asyncio.sleep(_RETRY_S)
