"""Starts a worker without parts of libraries that it never uses: `python -m watchword.lean SERVICE…`.

Libraries import some packages only if they are there. For a worker these are not, which saves 5 MB in each process;
positions within a line (`-X no_debug_ranges`) are left out for the same reason.
"""

import os
import sys
from collections.abc import Sequence

ARGUMENTS = ("-X", "no_debug_ranges", "-m", "watchword.lean")
# rich: tracebacks for terminals (structlog).  pydantic.v1: models of a version that we never had (fastapi).
_NOT_HERE = ("rich", "pydantic.v1")


def replace_process(services: Sequence[str], orders: bytes) -> None:
    """This process becomes a worker with these orders (at most 64 KiB); inheritable descriptors stay open."""
    reading, writing = os.pipe()
    os.write(writing, orders)
    os.close(writing)
    os.dup2(reading, 0)
    os.execv(sys.executable, [sys.executable, *ARGUMENTS, *services])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(_NOT_HERE))  # type: ignore[arg-type]  # None is how Python spells "not here"
    from watchword.worker import main

    main(sys.argv[1:])
