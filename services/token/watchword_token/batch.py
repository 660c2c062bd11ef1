"""Requests that wait for the same kind of write share one statement.

Nothing waits for a timer: a statement starts at once when none is under way, and what arrives meanwhile goes with the
next. A lone request so pays nothing, and under load one commit serves up to 128 of them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

LIMIT: Final = 128


class Batch(Generic[I, R]):
    """Runs `run` over what waits, at most one run at a time; items with the same key never share a run."""

    def __init__(
        self, run: Callable[[Sequence[I]], Awaitable[Sequence[R]]], *, key: Callable[[I], Hashable], limit: int = LIMIT
    ) -> None:
        """run: one result per item, in order. When it fails for several, each is tried alone, so that one bad item
        fails by itself."""
        self._run = run
        self._key = key
        self._limit = limit
        self._waiting: deque[tuple[I, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def do(self, item: I) -> R:
        """The result for one item."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._run_one(self._next())
        finally:
            self._task = None

    def _next(self) -> list[tuple[I, asyncio.Future[R]]]:
        """The oldest that wait; the second with a key stays, before those that came after it."""
        taken: dict[Hashable, tuple[I, asyncio.Future[R]]] = {}
        passed_over: list[tuple[I, asyncio.Future[R]]] = []
        while self._waiting and len(taken) < self._limit:
            pair = self._waiting.popleft()
            key = self._key(pair[0])
            if key in taken:
                passed_over.append(pair)
            else:
                taken[key] = pair
        self._waiting.extendleft(reversed(passed_over))
        return list(taken.values())

    async def _run_one(self, pairs: list[tuple[I, asyncio.Future[R]]]) -> None:
        try:
            results = await self._run([item for item, _ in pairs])
        except Exception as error:
            if len(pairs) > 1 and not isinstance(error, ConnectionError):
                for pair in pairs:
                    await self._run_one([pair])
                return
            for _, future in pairs:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(pairs, results, strict=True):
            if not future.done():
                future.set_result(result)
