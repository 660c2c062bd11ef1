"""The canary: no secret that was issued during a test may stand in a log line, an event or a column.

Whatever issues or accepts secrets on behalf of a test (the browser, the API client, a test itself) tells the canary.
At the end of the test its captured output is searched; a platform searches its log files, outboxes and tables.
"""

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import pytest

# Maximal runs of token characters; the parts of a JWT are runs of their own.
_RUN = re.compile(r"[A-Za-z0-9_\-]{16,}")
_SHORTEST = 8
_BEGINNING = 16  # characters: as long as the shortest run
_KEY = pytest.StashKey["Canary"]()


@dataclass
class Canary:
    """The secrets of one test (or of a platform), by value, with what each of them was."""

    secrets: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, *values: str) -> None:
        """These values must not be found anywhere from now on.

        Values of fewer than 8 characters, or of one repeated like `xxxx…`, prove nothing: others write them, too.
        """
        for value in values:
            if len(value) >= _SHORTEST and len(set(value)) > 2:
                self.secrets[value] = kind

    def found_in(self, *texts: str) -> set[str]:
        """The kinds of the secrets that stand in texts.

        A JWT leaks with its signature; a token as a whole run, or inside one; anything else as it is.
        """
        return self._search(texts)

    def check(self, where: str, texts: Iterable[str]) -> None:
        """Raises AssertionError with the kinds, never the values, when a secret stands in one of the texts."""
        found = self._search(texts)
        assert not found, f"secrets in {where}: {', '.join(sorted(found))}"

    def _search(self, texts: Iterable[str]) -> set[str]:
        """Once through the texts, and once through their runs: a database has too many of them for each secret."""
        whole: dict[str, str] = {}
        inside: dict[str, list[str]] = {}  # by how they begin
        spoken: dict[str, str] = {}
        for value, kind in self.secrets.items():
            parts = value.split(".")
            if len(parts) in {3, 5} and all(_RUN.fullmatch(part) for part in (parts[0], parts[-1])):
                whole[parts[-1]] = kind
            elif _RUN.fullmatch(value):
                inside.setdefault(value[:_BEGINNING], []).append(value)
            else:
                spoken[value] = kind
        runs: set[str] = set()
        found: set[str] = set()
        for text in texts:
            runs.update(_RUN.findall(text))
            found.update(kind for value, kind in spoken.items() if value in text)
        found.update(whole[run] for run in runs & whole.keys())
        for run in runs:
            for place in range(len(run) - _BEGINNING + 1):
                for value in inside.get(run[place : place + _BEGINNING], ()):
                    if run.startswith(value, place):
                        found.add(self.secrets[value])
        return found


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest) -> Canary:
    """The secrets of this test; its captured output is searched for them when it is over."""
    found = Canary()
    request.node.stash[_KEY] = found
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test whose captured output holds one of its secrets fails."""
    report = yield
    if report.when == "teardown" and (canary := item.stash.get(_KEY, None)) is not None:
        leaked = canary.found_in(*(text for name, text in report.sections if name.startswith("Captured")))
        if leaked:
            report.outcome = "failed"
            report.longrepr = f"secrets in the captured output: {', '.join(sorted(leaked))}"
    return report
