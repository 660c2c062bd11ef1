"""What workers complained about stands in the report of a test that failed: their logs are gone with its directory."""

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from watchword.workers import Worker

_SHOWN_LINES = 40
_LEVELS = frozenset({"warning", "error", "critical"})
_workers: list[Worker] = []


@contextmanager
def shown(workers: Iterable[Worker]) -> Iterator[None]:
    """A test that fails during the block shows what they complained about."""
    added = list(workers)
    _workers.extend(added)
    try:
        yield
    finally:
        for each in added:
            _workers.remove(each)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the workers that run complained about."""
    report = yield
    if report.failed:
        for worker in _workers:
            if complaints := _complaints(worker.log):
                report.sections.append((f"{worker.name} complained", "\n".join(complaints)))
    return report


def _complaints(log: Path) -> list[str]:
    """The last lines above `info`, and those that are no log lines: what a process writes when it dies."""
    found = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or entry.get("level") in _LEVELS:
            found.append(line)
    return found[-_SHOWN_LINES:]
