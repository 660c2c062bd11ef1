"""What was started first is stopped last, and everything is stopped."""

import asyncio

import pytest

from watchword_runtime.lifecycle import Lifecycle, Once

from .conftest import eventually


class Part:
    """Writes down what is done with it."""

    def __init__(self, name: str, said: list[str], *, fails: bool = False) -> None:
        self._name, self._said, self._fails = name, said, fails
        self.ready = False

    def start(self) -> None:
        self._said.append(f"{self._name} started")

    async def stop(self) -> None:
        self._said.append(f"{self._name} stopped")
        if self._fails:
            raise RuntimeError(self._name)


async def test_what_was_added_first_is_stopped_last_and_closed_at_the_end() -> None:
    said: list[str] = []
    life = Lifecycle()
    life.runs(Part("line", said))

    async def close_pool() -> None:
        said.append("pool closed")

    life.closes(close_pool)
    life.closes(lambda: said.append("workers closed"))
    life.runs(Part("copy", said))
    await life.start()
    await life.stop()
    assert said == [
        "line started",
        "copy started",
        "copy stopped",
        "line stopped",
        "workers closed",
        "pool closed",
    ]


async def test_one_that_cannot_be_stopped_keeps_no_other_from_it() -> None:
    said: list[str] = []
    life = Lifecycle()
    life.closes(lambda: said.append("closed"))
    life.runs(Part("line", said))
    life.runs(Part("copy", said, fails=True))
    await life.start()
    with pytest.raises(RuntimeError, match="copy"):
        await life.stop()
    assert said[2:] == ["copy stopped", "line stopped", "closed"]


async def test_what_never_started_is_closed_all_the_same() -> None:
    said: list[str] = []
    life = Lifecycle()
    life.closes(lambda: said.append("closed"))
    life.runs(Part("line", said))
    await life.stop()
    assert said == ["closed"]


def test_a_service_says_what_it_waits_for() -> None:
    life, users, keys = Lifecycle(), Part("users", []), Part("keys", [])
    life.awaits("users", users)
    life.awaits("keys", keys)
    assert life.waits_for() == "waits for users, keys"
    users.ready = True
    assert life.waits_for() == "waits for keys"
    keys.ready = True
    assert life.waits_for() == ""


async def test_what_has_to_succeed_once_is_tried_until_it_has() -> None:
    tries = 0

    async def act() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError

    once = Once(act, failure="test.not_done")
    await once.start()
    assert not once.ready
    await eventually(lambda: once.ready)
    await asyncio.sleep(0)
    await once.stop()
    assert tries == 2


async def test_whoever_waits_with_patience_finds_it_done() -> None:
    async def act() -> None:
        await asyncio.sleep(0.01)

    once = Once(act, failure="test.not_done", patience_s=10)
    await once.start()
    assert once.ready
    await once.stop()
