"""A clock that tests own: it goes with the real time, and can be moved forward."""

from datetime import datetime, timedelta

import pytest

from watchword_runtime.clock import utc_now


class TestClock:
    """A `Clock` whose time is the real one plus what advance() added."""

    __test__ = False

    def __init__(self) -> None:
        self._offset = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self._offset

    def advance(self, by: timedelta) -> datetime:
        """The time after `by` has passed at once. Raises ValueError for a step back: stored times would be wrong."""
        if by < timedelta():
            raise ValueError("time does not go back")
        self._offset += by
        return self()


@pytest.fixture
def clock() -> TestClock:
    """The test's clock."""
    return TestClock()
