"""Measures a whole installation: `make bench`, or `python -m tests.bench.run`.

One worker with all five services on core 0, wrk on core 1. PostgreSQL (synchronous_commit=on, fsync=on) and
nats-server run beside the generator. Closed loop; cases take turns in each round, with `--peers` at another provider as
well; the table gives medians, the spread, and the worker's CPU time per request. Then whole sign-ins, how soon a
revocation is obeyed by four workers, memory, and starting.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.bench import whole
from tests.bench.cases import CASES, Row, heading, pin
from tests.bench.generator import Load
from tests.bench.peers import Peer, prepare, running_peer
from tests.bench.seeding import Seeds, seed

from watchword.supervisor import Running, running

SERVER, GENERATOR = 0, 1  # cores
MOST_PROOFS_PER_S = 10_000  # more than the server checks


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="per run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--grants", type=int, default=1_000_000, help="grants of strangers in the table")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=40_000, help="different access tokens of each kind")
    parser.add_argument("--revocations", type=int, default=200)
    parser.add_argument("--only", default="", help="cases whose name holds this text, and nothing else")
    parser.add_argument("--peers", action="store_true", help="measure oidc-provider in the same run")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as home:
        asyncio.run(measure(chosen, Path(home)))


async def measure(chosen: argparse.Namespace, home: Path) -> None:
    """Everything, printed as it comes."""
    print(f"ES256 on this machine: {sign_rate():,.0f} signatures/s and core.\n")
    async with running(whole.options(home / "load", 1), say=lambda _line: None) as found:
        await under_load(chosen, found, home / "load")
        if chosen.only:
            return
        rate = await whole.sign_ins_per_s(found, people=40, seconds=2 * chosen.seconds, at_once=8)
        resident, proportional = whole.resident_mb(found.workers[0].pid)
    cold, warm = await whole.start_times_s(home / "starts")
    async with running(whole.options(home / "workers", 4), say=lambda _line: None) as found:
        delays = await whole.revocation_ms(found, count=chosen.revocations)
        memory = [whole.resident_mb(worker.pid) for worker in found.workers]
    print("\n| the whole | |\n|---|---|")
    print(f"| sign-ins with a password, one worker | {rate:.1f}/s |")
    print(f"| a revocation's return to its refusal by all of 4 workers, ms, {len(delays)} times | {spread(delays)} |")
    print(f"| memory of the loaded worker, resident (proportional) | {resident:.0f} MB ({proportional:.0f} MB) |")
    print(f"| memory of 4 idle workers, each | {average(memory)} |")
    print(f"| start of an empty installation, then again | {cold:.1f} s, {warm:.1f} s |")


async def under_load(chosen: argparse.Namespace, found: Running, home: Path) -> None:
    """The table of rates."""
    runs = chosen.rounds + 1
    seeds = await seed(
        found,
        home,
        grants=chosen.grants,
        users=chosen.users,
        tokens=chosen.tokens,
        runs=runs,
        proofs=int(chosen.seconds * MOST_PROOFS_PER_S),
    )
    rows = [Row(case) for case in CASES if chosen.only in case.name]
    pin(found.workers[0].pid, SERVER)
    pin(found.nats.pid, GENERATOR)
    with ExitStack() as stack:
        peer = None
        if chosen.peers:
            peer = stack.enter_context(running_peer(await prepare(found), home, runs=runs))
            pin(peer.pid, SERVER)
        for number in range(runs):
            for row in rows:
                seconds = chosen.seconds if number else 1.0
                await asyncio.to_thread(
                    one_run, row, found, seeds, peer, Load(chosen.connections, seconds, GENERATOR), number
                )
        print(
            f"One worker with all five services on core {SERVER}; wrk with {chosen.connections} connections,"
            f" PostgreSQL (synchronous_commit=on, fsync=on) and NATS on core {GENERATOR}.\n"
            f"{chosen.grants:,} grants, {chosen.users:,} users, {chosen.tokens:,} different tokens of each kind."
            f" {chosen.rounds} rounds of {chosen.seconds:g} s, medians."
        )
        if peer is not None:
            print(f"Peer: {peer.version} in the same rounds on the same cores and PostgreSQL, ES256.")
    print(f"\n{heading(with_peer=chosen.peers)}")
    for row in rows:
        print(row.line(with_peer=chosen.peers))


def one_run(row: Row, found: Running, seeds: Seeds, peer: Peer | None, load: Load, number: int) -> None:
    """A case once, here and at the peer. PostgreSQL makes new processes for new connections: each is put in place."""
    pin(found.postgres.pid, GENERATOR)
    row.measure(found.issuer, found.workers[0].pid, seeds, load, number)
    if peer is not None:
        row.measure_peer(peer, load, number)


def sign_rate() -> float:
    """ES256 signatures per second of this machine, to compare figures of different machines."""
    key, scheme = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(1_000):
            key.sign(b"x" * 500, scheme)
        rates.append(1_000 / (time.perf_counter() - started))
    return max(rates)


def spread(values: list[float]) -> str:
    """p50, p99 and the greatest of some values."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered):.1f}, p99 {p99:.1f}, max {ordered[-1]:.1f}"


def average(memory: list[tuple[float, float]]) -> str:
    """Mean resident and proportional memory."""
    resident, proportional = (statistics.mean(each) for each in zip(*memory, strict=True))
    return f"{resident:.0f} MB ({proportional:.0f} MB)"


if __name__ == "__main__":
    main()
