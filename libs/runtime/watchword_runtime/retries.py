"""How long a delivery waits for its next attempt, where somebody else's server did not take it."""

import random
from datetime import timedelta
from typing import Final

_FIRST: Final = timedelta(seconds=1)
_DOUBLINGS: Final = 20  # twelve days: longer than anybody waits


def wait_after(attempts: int, *, longest: timedelta) -> timedelta:
    """Twice as long after each of the attempts so far, from a second on, give or take a fifth: not all at once."""
    wait = min(_FIRST * 2.0 ** min(attempts - 1, _DOUBLINGS), longest)
    return wait * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
