"""The clock by which knowledge ages."""

import time


def elapsed() -> float:
    """Seconds on a clock that only goes forward and, where the system has one, also while it sleeps."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
