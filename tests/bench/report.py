"""What a measurement of revocations prints."""

import sys
from dataclasses import dataclass, field

from tests.bench.ring import Measured

from watchword_runtime.feed import STALE_S

PROMISE_MS = 50.0  # p99, on one machine


@dataclass
class Report:
    """The table, and what must be 0."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    besides: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    musts: dict[str, int] = field(default_factory=dict)
    total: Measured = field(default_factory=Measured)

    def add(self, name: str, found: Measured, *, besides: bool = False) -> None:
        """A line of the table; its faults are counted. besides: it was measured beside more than sign-ins and tokens,
        and stands below the sum."""
        (self.besides if besides else self.rows).append(_row(name, found))
        sys.stderr.write(" ".join(_row(name, found)) + "\n")
        if not besides:
            self.total.add(found)
        self.must(f"accepted later than the staleness bound of {STALE_S:g} s", found.late)
        self.must("good tokens that a verifier refused before their revocation", found.good_refused)

    @property
    def over_promise(self) -> int:
        """Revocations that took longer than promised, beyond the one in a hundred that may."""
        slow = sum(delay_ms > PROMISE_MS for delay_ms in self.total.delays_ms)
        return max(0, slow - len(self.total.delays_ms) // 100)

    def must(self, name: str, count: int) -> None:
        """Counts something that must be 0."""
        self.musts[name] = self.musts.get(name, 0) + count

    def fact(self, name: str, value: str) -> None:
        """A line of the second table."""
        self.facts.append((name, value))
        sys.stderr.write(f"{name}: {value}\n")

    def text(self) -> str:
        """Everything as Markdown."""
        lines = ["| revoked | times | p50, ms | p99, ms | max, ms |", "|---|---:|---:|---:|---:|"]
        rows = (*self.rows, _row("**all of these**", self.total), *self.besides)
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", "| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in self.facts)]
        lines += ["", "| must be 0 | |", "|---|---:|", *(f"| {name} | {count} |" for name, count in self.musts.items())]
        return "\n".join(lines)


def _row(name: str, found: Measured) -> tuple[str, str, str, str, str]:
    p50, p99, most = found.p50_p99_max
    return name, f"{len(found.delays_ms):,}", f"{p50:.1f}", f"{p99:.1f}", f"{most:.1f}"
