"""What is measured under load, and what came of it."""

import os
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.generator import Load, Measured, run_wrk
from tests.bench.peers import Peer
from tests.bench.seeding import BILLING, REDIRECT_URI, SCOPE, Seeds

EXCHANGE = urlencode(
    {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": BILLING,
    }
)
REQUEST = urlencode(
    {
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "state": "a state of some characters",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
)
WITHOUT_ID_TOKEN = urlencode({"scope": "profile email"})
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """One row. ours: the script's arguments for a run.  target: requests per second, where an issue names them.

    peer: path at the peer, and the script's arguments there.
    """

    name: str
    script: str
    path: str
    ours: Callable[[Seeds, int], list[str]]
    target: int | None = None
    peer: tuple[str, Callable[[Peer, int], list[str]]] | None = None


CASES = (
    Case(
        "client_credentials, JWT",
        "form.lua",
        "token",
        lambda s, _: [f"grant_type=client_credentials&{s.jwt.form}"],
        8_000,
        ("token", lambda p, _: [f"grant_type=client_credentials&{p.form}"]),
    ),
    Case(
        "refresh, JWT",
        "refresh.lua",
        "token",
        lambda s, n: [str(s.refresh_jwt[n]), f"{WITHOUT_ID_TOKEN}&{s.jwt.form}"],
        6_000,
    ),
    Case(
        "refresh, JWT and ID token",
        "refresh.lua",
        "token",
        lambda s, n: [str(s.refresh_id[n]), s.jwt.form],
        peer=("token", lambda p, n: [str(p.refresh[n]), p.form]),
    ),
    Case(
        "introspection, JWT",
        "tokens.lua",
        "introspect",
        lambda s, _: [str(s.access_jwt), "introspect", s.jwt.form],
        6_000,
        ("token/introspection", lambda p, _: [str(p.access), "introspect", p.form]),
    ),
    Case(
        "userinfo, JWT",
        "tokens.lua",
        "userinfo",
        lambda s, _: [str(s.access_jwt), "userinfo"],
        6_000,
        ("me", lambda p, _: [str(p.access), "userinfo"]),
    ),
    Case(
        "client_credentials, opaque",
        "form.lua",
        "token",
        lambda s, _: [f"grant_type=client_credentials&{s.opaque.form}"],
        15_000,
    ),
    Case(
        "refresh, opaque",
        "refresh.lua",
        "token",
        lambda s, n: [str(s.refresh_opaque[n]), f"{WITHOUT_ID_TOKEN}&{s.opaque.form}"],
    ),
    Case(
        "introspection, opaque",
        "tokens.lua",
        "introspect",
        lambda s, _: [str(s.access_opaque), "introspect", s.opaque.form],
        15_000,
    ),
    Case("userinfo, opaque", "tokens.lua", "userinfo", lambda s, _: [str(s.access_opaque), "userinfo"]),
    Case(
        "token exchange",
        "tokens.lua",
        "token",
        lambda s, _: [str(s.access_jwt), "exchange", f"{EXCHANGE}&{s.exchange.form}"],
    ),
    Case(
        "client_credentials, DPoP",
        "proofs.lua",
        "token",
        lambda s, _: [str(s.proofs()), f"grant_type=client_credentials&{s.jwt.form}"],
    ),
    Case("pushed request", "form.lua", "par", lambda s, _: [f"{REQUEST}&{s.jwt.form}"]),
    Case("device's codes", "form.lua", "device_authorization", lambda s, _: [f"scope=openid&{s.device.form}"]),
)


@dataclass
class Row:
    """A case, run by run. cpu_us: of the server, per request."""

    case: Case
    runs: list[Measured] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    peer_runs: list[Measured] = field(default_factory=list)

    def measure(self, issuer: str, pid: int, seeds: Seeds, load: Load, number: int) -> None:
        """One run at our server; the one with number 0 warms up and is not kept."""
        before = cpu_s(pid)
        url = f"{issuer.replace('localhost', '127.0.0.1')}/oauth2/{self.case.path}"
        measured = run_wrk(url, self.case.script, self.case.ours(seeds, number), load)
        if number:
            self.runs.append(measured)
            self.cpu_us.append((cpu_s(pid) - before) / max(1, measured.requests) * 1e6)

    def measure_peer(self, peer: Peer, load: Load, number: int) -> None:
        """One run at the peer, where it has the like."""
        if self.case.peer is None:
            return
        path, arguments = self.case.peer
        measured = run_wrk(f"{peer.issuer}/{path}", self.case.script, arguments(peer, number), load)
        if number:
            self.peer_runs.append(measured)

    def line(self, *, with_peer: bool) -> str:
        """The row of the table."""
        rates = [run.rate for run in self.runs]
        rate = statistics.median(rates)
        cells = [
            self.case.name,
            f"{rate:,.0f}",
            f"{min(rates):,.0f}–{max(rates):,.0f}",
            f"{self.case.target:,}" if self.case.target else "",
            f"{statistics.median(run.p50_ms for run in self.runs):.1f}",
            f"{statistics.median(run.p99_ms for run in self.runs):.1f}",
            f"{statistics.median(self.cpu_us):.0f}",
            str(sum(run.errors for run in self.runs + self.peer_runs)),
        ]
        if with_peer and self.peer_runs:
            peer = statistics.median(run.rate for run in self.peer_runs)
            p99 = statistics.median(run.p99_ms for run in self.peer_runs)
            cells += [f"{peer:,.0f}", f"{p99:.1f}", f"{rate / peer:.1f}"]
        elif with_peer:
            cells += ["", "", ""]
        return f"| {' | '.join(cells)} |"


def heading(*, with_peer: bool) -> str:
    """The first two lines of the table."""
    names = ["case", "requests/s", "spread", "target", "p50 ms", "p99 ms", "CPU µs", "errors"]
    if with_peer:
        names += ["peer/s", "peer p99 ms", "ratio"]
    return f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}"


def pin(pid: int, core: int) -> None:
    """A process, its threads and its children run on one core from now on."""
    for each in (pid, *_children(pid)):
        subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(each)], check=False, capture_output=True)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S
