"""Background tasks that really end."""

import asyncio

from watchword_database.tasks import end


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(end(task), 5)
    assert task.cancelled()


async def test_what_a_task_raised_is_its_own_affair() -> None:
    async def failing() -> None:
        raise RuntimeError("at the end")

    await end(asyncio.create_task(failing()), None)
    await end()
