"""Starts a worker without what it does not use, or not yet: `python -m watchword.lean SERVICE…`.

Libraries import some packages only if they are there. For a worker these are not, which saves 5 MB in each process;
positions within a line (`-X no_debug_ranges`) are left out for the same reason. Pydantic builds a model when it is
first used, not when its class is defined: most are used inside others only, and that saves 7 MB.
"""

import os
import sys
import warnings
from collections.abc import Sequence

ARGUMENTS = ("-X", "no_debug_ranges", "-m", "watchword.lean")
# glibc would give each thread an arena of its own and keep what a password's hash (19 MB) took for a moment.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024)}
# rich: tracebacks for terminals (structlog).  pydantic.v1: models of a version that we never had (fastapi).
# watchfiles: reloading while developing (uvicorn).
_NOT_HERE = ("rich", "pydantic.v1", "watchfiles")


def replace_process(services: Sequence[str], orders: bytes) -> None:
    """This process becomes a worker with these orders (at most 64 KiB); inheritable descriptors stay open."""
    reading, writing = os.pipe()
    os.write(writing, orders)
    os.close(writing)
    os.dup2(reading, 0)
    argv = [sys.executable, *ARGUMENTS, *services]
    os.execve(sys.executable, argv, {**ENVIRONMENT, **os.environ})  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(_NOT_HERE))  # type: ignore[arg-type]  # None is how Python spells "not here"
    from pydantic import BaseModel
    from pydantic.warnings import UnsupportedFieldAttributeWarning

    BaseModel.model_config["defer_build"] = True
    # Of parameters whose alias means nothing by itself. FastAPI silences it where it makes them, and here they are
    # built at the first request.
    warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)

    from watchword.worker import main

    main(sys.argv[1:])
