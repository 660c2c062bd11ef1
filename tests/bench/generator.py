"""Load from wrk, pinned to a core, and what it measured."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "wrk"
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Load:
    """How hard: closed loop, one thread. core: of the generator."""

    connections: int
    seconds: float
    core: int


@dataclass(frozen=True)
class Measured:
    """One run. errors: answers that were not 2xx, and broken connections."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    errors: int


class NoResult(RuntimeError):
    """wrk could not run or printed something else."""


def run_wrk(url: str, script: str, arguments: Sequence[str], load: Load) -> Measured:
    """One run of a script in `wrk/` against a URL. Raises NoResult."""
    if shutil.which("wrk") is None:
        raise NoResult("wrk is not installed: apt-get install wrk")
    command = [
        *("taskset", "-c", str(load.core), "wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds:g}s"),
        *("--latency", "--timeout", "5s", "-s", str(SCRIPTS / script), url, "--", *arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=load.seconds + 60)
    if done.returncode != 0:
        raise NoResult(f"{script}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return _read(done.stdout)


def _read(text: str) -> Measured:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    requests = re.search(r"(\d+) requests in", text)
    if rate is None or requests is None:
        raise NoResult(text[-500:])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(refused[1]) if refused else 0
    errors += sum(int(number) for number in broken.groups()) if broken else 0
    return Measured(int(requests[1]), float(rate[1]), _percentile(text, "50"), _percentile(text, "99"), errors)


def _percentile(text: str, percent: str) -> float:
    found = re.search(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
    if found is None:
        raise NoResult(f"no {percent} % in: {text[-300:]}")
    return float(found[1]) * _UNITS_MS[found[2]]
