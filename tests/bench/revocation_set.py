"""Prints what the revocation set costs: `python tests/bench/revocation_set.py`.

Decisions are the best of several short runs of processor time, as in verifier.py.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from watchword_events.names import position_of
from watchword_events.revocations import RevocationEntry
from watchword_verifier.revocations import RevocationSet

ENTRIES = 100_000
RUNS, CALLS = 10, 20_000  # each call asks about another token
CLAIMS = ("gid", "jti", "sid", "sub")


def main() -> None:
    """Prints microseconds per decision, bytes per entry and the cost of loading and expiring."""
    now = datetime.now(UTC)
    entries = [
        RevocationEntry(
            id=n,
            position=position_of(1, n),
            claim=CLAIMS[n % len(CLAIMS)],
            value=str(uuid4()),
            kind="cut",
            until=now + timedelta(seconds=n % 36_000),
            keep_until=now + timedelta(days=30),
            at=now,
        )
        for n in range(1, ENTRIES + 1)
    ]
    revoked = RevocationSet(tokens_only=True)
    started = time.perf_counter()
    for entry in entries:
        revoked.apply(entry)
    applied_s = time.perf_counter() - started

    live = [_claims(*CLAIMS, "client_id", idp="okta") for _ in range(CALLS)]
    dead = [claims | {"sub": entries[4 * n + 2].value} for n, claims in enumerate(live)]
    service = [_claims("jti", "gid", "sub", "client_id") for _ in range(CALLS)]
    assert all(revoked.is_live(claims) for claims in live + service)
    assert not any(revoked.is_live(claims) for claims in dead)
    rows = [
        ("is_live, a person's token", f"{_microseconds(revoked, live):.2f} µs"),
        ("is_live, a machine's token", f"{_microseconds(revoked, service):.2f} µs"),
        ("is_live, revoked", f"{_microseconds(revoked, dead):.2f} µs"),
        ("apply", f"{applied_s / ENTRIES * 1e6:.2f} µs"),
        ("memory per entry (value included)", f"{_bytes_per_entry(entries):.0f} B"),
        ("drop_expired, nothing to do", f"{_once(lambda: revoked.drop_expired(now)) * 1e6:.0f} µs"),
        ("drop_expired, full call", f"{_once(lambda: revoked.drop_expired(now + timedelta(days=1))) * 1e3:.1f} ms"),
    ]
    while revoked.drop_expired(now + timedelta(days=1)):
        pass
    rows.append(("entries left when all have ended", f"{len(revoked)}"))
    sys.stdout.write(f"{ENTRIES} revocations\n" + "".join(f"{name:36}{figure:>10}\n" for name, figure in rows))


def _claims(*names: str, **more: object) -> dict[str, object]:
    return {name: str(uuid4()) for name in names} | {"rev": position_of(1, 0), "iat": 1} | more


def _microseconds(revoked: RevocationSet, tokens: Sequence[Mapping[str, object]]) -> float:
    best_s = float("inf")
    for _ in range(RUNS):
        started = time.process_time()
        for claims in tokens:
            revoked.is_live(claims, "key-1")
        best_s = min(best_s, time.process_time() - started)
    return best_s / CALLS * 1e6


def _bytes_per_entry(entries: list[RevocationEntry]) -> float:
    """Memory that a set holds, with values of its own as after parsing."""
    gc.collect()
    tracemalloc.start()
    revoked = RevocationSet(tokens_only=True)
    for entry in entries:
        revoked.apply(entry.model_copy(update={"value": "".join(list(entry.value))}))
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(revoked)


def _once(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
