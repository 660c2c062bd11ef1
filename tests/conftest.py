"""What all tests share beyond the fixtures of `libs/testkit`."""

import gc
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.async_api import Browser

# A slow machine is no failure; `tests/bench` measures. The same examples each time: a change is what turns a test red.
settings.register_profile("watchword", deadline=None, derandomize=True)
settings.load_profile("watchword")

# The status of a run in which a secret leaked: `make` runs what failed once more, and one test alone would not leak it.
LEAKED = 6
_leaks: list[str] = []


def pytest_collection_finish() -> None:
    """The modules of thousands of tests stay until the end: looking through them again and again is a quarter of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and "secrets in " in report.longreprtext:
        _leaks.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _leaks and not hasattr(session.config, "workerinput"):
        session.exitstatus = LEAKED


@pytest.fixture(scope="module", name="chromium")
async def started_chromium() -> "AsyncIterator[Browser]":
    """The system's Chromium, for a file's stories."""
    from tests.chromium import chromium  # playwright, only for who looks at pages

    async with chromium() as browser:
        yield browser
