"""Measures a whole installation: `python -m tests.bench.run`, or `make bench`.

One worker with all five services on one core, wrk on the other. PostgreSQL (synchronous_commit=on, fsync=on) and
nats-server run beside the generator, or beside the worker with `--postgres-core`. Closed loop, 32 connections; cases
take turns in each round; the table gives medians, the spread, and the worker's CPU time per request.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.bench.generator import Load, Measured, run_wrk
from tests.bench.seeding import Seeds, seed

from watchword.supervisor import Options, Running, running

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """One row. target: requests per second that it must reach; None where no issue names one."""

    name: str
    script: str
    path: str
    arguments: Callable[[Seeds, int], list[str]]
    target: int | None


CASES = (
    Case(
        "client_credentials, JWT",
        "form.lua",
        "token",
        lambda s, _: [f"grant_type=client_credentials&{s.jwt.form}"],
        8000,
    ),
    Case("refresh, JWT", "refresh.lua", "token", lambda s, n: [str(s.refresh_jwt[n]), s.jwt.form], 6000),
    Case(
        "introspection, JWT",
        "tokens.lua",
        "introspect",
        lambda s, _: [str(s.access_jwt), "introspect", s.jwt.form],
        6000,
    ),
    Case("userinfo, JWT", "tokens.lua", "userinfo", lambda s, _: [str(s.access_jwt), "userinfo"], 6000),
    Case(
        "client_credentials, opaque",
        "form.lua",
        "token",
        lambda s, _: [f"grant_type=client_credentials&{s.opaque.form}"],
        15000,
    ),
    Case("refresh, opaque", "refresh.lua", "token", lambda s, n: [str(s.refresh_opaque[n]), s.opaque.form], None),
    Case(
        "introspection, opaque",
        "tokens.lua",
        "introspect",
        lambda s, _: [str(s.access_opaque), "introspect", s.opaque.form],
        15000,
    ),
    Case("userinfo, opaque", "tokens.lua", "userinfo", lambda s, _: [str(s.access_opaque), "userinfo"], None),
)


@dataclass
class Row:
    """What a case came to, run by run. cpu_us: of the worker, per request."""

    case: Case
    runs: list[Measured] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def line(self) -> str:
        """The row of the table."""
        rates = [run.rate for run in self.runs]
        rate = statistics.median(rates)
        p50 = statistics.median(run.p50_ms for run in self.runs)
        p99 = statistics.median(run.p99_ms for run in self.runs)
        errors = sum(run.errors for run in self.runs)
        target = f"{self.case.target:,}" if self.case.target else ""
        return (
            f"| {self.case.name} | {rate:,.0f} | {min(rates):,.0f}–{max(rates):,.0f} | {target} | {p50:.1f} |"
            f" {p99:.1f} | {statistics.median(self.cpu_us):.0f} | {errors} |"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="per run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--grants", type=int, default=1_000_000, help="grants of strangers in the table")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=40_000, help="different access tokens of each kind")
    parser.add_argument("--postgres-core", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--data", type=Path, help="a data directory to keep (default: one that is deleted)")
    parser.add_argument(
        "--profile", type=Path, help="write what the worker does in the first round as a flame graph (py-spy)"
    )
    options = parser.parse_args()
    if options.data is not None:
        asyncio.run(measure(options, options.data))
        return
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as data:
        asyncio.run(measure(options, Path(data)))


async def measure(options: argparse.Namespace, data: Path) -> None:
    """Starts, fills, measures, prints."""
    wanted = Options(data, 0, 1, demo=False, environment=os.environ)
    async with running(wanted, say=lambda _line: None) as found:
        worker = found.workers[0].pid
        pin(worker, 0)
        pin(found.postgres.pid, options.postgres_core)
        pin(found.nats.pid, options.postgres_core)
        seeds = await seed(
            found,
            data,
            grants=options.grants,
            users=options.users,
            tokens=options.tokens,
            runs=options.rounds + 1,
        )
        cases = [case for case in CASES if options.only in case.name]
        rows = [Row(case) for case in cases]
        for row in rows:
            await run(row, found, seeds, Load(options.connections, 1.0, 1), options.postgres_core, 0)
        for number in range(1, options.rounds + 1):
            for row in rows:
                load = Load(options.connections, options.seconds, 1)
                await run(row, found, seeds, load, options.postgres_core, number)
        print_table(options, rows, resident_mb(worker))


async def run(row: Row, found: Running, seeds: Seeds, load: Load, postgres_core: int, number: int) -> None:
    """One run of a case; the one with number 0 warms up and is not kept."""
    pid, case = found.workers[0].pid, row.case
    pin(found.postgres.pid, postgres_core)
    before = cpu_s(pid)
    url = f"{found.issuer.replace('localhost', '127.0.0.1')}/oauth2/{case.path}"
    measured = await asyncio.to_thread(run_wrk, url, case.script, case.arguments(seeds, number), load)
    if number:
        row.runs.append(measured)
        row.cpu_us.append((cpu_s(pid) - before) / max(1, measured.requests) * 1e6)


def pin(pid: int, core: int) -> None:
    """A process, its threads and its children run on one core from now on."""
    for each in (pid, *children(pid)):
        subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(each)], check=False, capture_output=True)


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_mb(pid: int) -> float:
    """Memory of a process that is its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def sign_rate() -> float:
    """ES256 signatures per second of this machine, to compare figures of different machines."""
    key, scheme = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    started, count = time.perf_counter(), 5_000
    for _ in range(count):
        key.sign(b"x" * 500, scheme)
    return count / (time.perf_counter() - started)


def print_table(options: argparse.Namespace, rows: list[Row], resident: float) -> None:
    """The one table, with what one must know to repeat it."""
    print(f"One worker with all five services on core 0; wrk, {options.connections} connections, on core 1.")
    print(
        f"PostgreSQL (synchronous_commit=on, fsync=on) and NATS on core {options.postgres_core};"
        f" {options.grants:,} grants, {options.users:,} users, {options.tokens:,} different tokens."
    )
    print(f"{options.rounds} rounds of {options.seconds:g} s; medians. ES256 here: {sign_rate():,.0f} signatures/s.\n")
    print("| case | requests/s | spread | target | p50 ms | p99 ms | CPU µs | errors |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(row.line())
    print(f"\nResident memory of the worker: {resident:.0f} MB.")


if __name__ == "__main__":
    main()
