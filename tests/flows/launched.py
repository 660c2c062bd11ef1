"""`watchword up` as people run it."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

WITHIN_S = 90  # the start on a loaded machine; `make bench` measures it


@dataclass
class Running:
    """What `watchword up` printed and wrote."""

    access: dict[str, str]
    demo: str
    banner: str


@asynccontextmanager
async def launched(data_dir: Path, *options: str, **environment: str) -> AsyncIterator[Running]:
    """`watchword up` is ready: access.json exists and the banner stands.

    Ctrl-C ends it with 0; it takes access.json with it and leaves no process of its own.
    """
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "watchword", "up", "--data-dir", data_dir, "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    access = data_dir / "access.json"
    try:
        banner = await _banner(process)
        demo = re.search(r"Demo app\s+(http://\S+)", banner)
        assert access.stat().st_mode & 0o777 == 0o600
        yield Running(json.loads(access.read_text()), demo[1] if demo else "", banner)
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    assert not access.exists()
    assert not left_over(data_dir / "run")


async def _banner(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    printed = ""
    async with asyncio.timeout(WITHIN_S):
        while "Stop " not in printed:
            line = await process.stdout.readline()
            assert line, f"ended early: {printed}"
            printed += line.decode()
    return printed


def left_over(run: Path) -> list[int]:
    """Processes that were noted and still exist."""
    noted = [int(json.loads(path.read_text())["pid"]) for path in run.glob("*.process.json")]
    return [pid for pid in noted if Path(f"/proc/{pid}").exists()]
