"""Background tasks that really end, and how they wait."""

import asyncio
import contextlib
from typing import Any, Final

_AGAIN_S: Final = 0.5


async def end(*tasks: "asyncio.Task[Any] | None") -> None:
    """The tasks are over, whatever they raised.

    A cancellation is repeated until it is obeyed: Python 3.11's `wait_for`, which client libraries use, swallows one
    that arrives together with its result, and a loop around it would go on for ever.
    """
    left = {task for task in tasks if task is not None}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that nobody is told later that nobody looked


async def woken(event: asyncio.Event, within_s: float | None) -> None:
    """Somebody has set the event, or the time is over; None waits for ever.

    Python 3.11's `wait_for` may swallow a cancellation here.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
