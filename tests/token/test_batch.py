"""Statements that requests share."""

import asyncio
from collections.abc import Sequence

import pytest

from watchword_token.batch import Batch


class Recorder:
    """A statement that notes what it was run with. bad: items that make a run fail."""

    def __init__(self, *, bad: frozenset[str] = frozenset()) -> None:
        self.runs: list[list[str]] = []
        self.bad = bad
        self.under_way = 0

    async def __call__(self, items: Sequence[str]) -> list[str]:
        self.runs.append(list(items))
        self.under_way += 1
        assert self.under_way == 1, "two runs at a time"
        await asyncio.sleep(0)
        self.under_way -= 1
        if self.bad.intersection(items):
            raise ValueError("bad item")
        return [item.upper() for item in items]


def batch(run: Recorder, **given: int) -> Batch[str, str]:
    return Batch(run, key=lambda item: item[0], **given)


async def test_a_lone_item_waits_for_nobody() -> None:
    run = Recorder()
    assert await batch(run).do("a1") == "A1"
    assert run.runs == [["a1"]]


async def test_items_that_wait_share_a_run_and_each_gets_its_own_result() -> None:
    run = Recorder()
    shared = batch(run)
    assert await asyncio.gather(*[shared.do(item) for item in ("a", "b", "c")]) == ["A", "B", "C"]
    assert run.runs == [["a", "b", "c"]]


async def test_items_with_the_same_key_never_share_a_run_and_keep_their_order() -> None:
    run = Recorder()
    shared = batch(run)
    assert await asyncio.gather(*[shared.do(item) for item in ("a1", "b1", "a2", "a3")]) == ["A1", "B1", "A2", "A3"]
    assert run.runs == [["a1", "b1"], ["a2"], ["a3"]]


async def test_a_run_takes_no_more_than_the_limit() -> None:
    run = Recorder()
    shared = batch(run, limit=2)
    await asyncio.gather(*[shared.do(item) for item in "abcde"])
    assert [len(items) for items in run.runs] == [2, 2, 1]


async def test_one_bad_item_fails_alone() -> None:
    shared = batch(Recorder(bad=frozenset("b")))
    results = await asyncio.gather(*[shared.do(item) for item in "abc"], return_exceptions=True)
    assert results[0] == "A"
    assert isinstance(results[1], ValueError)
    assert results[2] == "C"


async def test_an_item_whose_request_went_away_disturbs_nobody() -> None:
    shared = batch(Recorder())
    gone = asyncio.create_task(shared.do("a"))
    stays = asyncio.create_task(shared.do("b"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == "B"
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_an_outage_fails_all_without_trying_each() -> None:
    class Away(Recorder):
        async def __call__(self, items: Sequence[str]) -> list[str]:
            self.runs.append(list(items))
            raise ConnectionError

    run = Away()
    shared = batch(run)
    results = await asyncio.gather(*[shared.do(item) for item in "ab"], return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    assert len(run.runs) == 1
