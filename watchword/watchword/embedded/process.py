"""One server process: started, remembered across a crash of its parent, and ended for certain.

A record file names the process by pid *and* start time, so that a pid that the system has handed to somebody else is
never signalled.
"""

import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_NEVER_OUTGOING = range(20_000, 32_768)  # Linux gives an outgoing connection a port from 32768 on, others later ones
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StartError(RuntimeError):
    """A server that did not come up; the text says why and what to do, and is shown to the operator as it is."""


@dataclass(frozen=True)
class Account:
    """The numeric account that a child runs under."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Step:
    """One attempt to end a process: the signal, and how long to wait for its effect."""

    signal: signal.Signals
    wait_s: float


@dataclass
class Child:
    """A running server that this process started."""

    name: str
    popen: subprocess.Popen[bytes]
    record: Path
    steps: Sequence[Step] = field(default=(Step(signal.SIGTERM, 10.0), Step(signal.SIGKILL, 5.0)))

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    def tell(self, orders: bytes) -> None:
        """The child has read, or can read, its orders to the end. It was started with `waits_for_orders`."""
        if self.popen.stdin is None:
            raise RuntimeError(f"{self.name} does not wait for orders")
        with contextlib.suppress(BrokenPipeError):  # it died: whoever watches it will see that
            self.popen.stdin.write(orders)
            self.popen.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.close()

    def stop(self) -> None:
        """The process has ended and its record is gone; the signals of `steps` were tried in order."""
        for step in self.steps:
            if not self.is_alive:
                break
            self.popen.send_signal(step.signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(step.wait_s)
        self.record.unlink(missing_ok=True)

    def kill(self) -> None:
        """The process is gone as if the power had failed; the record stays, as it would."""
        self.popen.kill()
        self.popen.wait(10)


def start_time(pid: int) -> str | None:
    """A text that no later process with the same pid can have; None when there is no such process."""
    if not _PROC.is_dir():
        shown = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return shown.stdout.strip() or None
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{fields[19]}"


def spawn(
    name: str,
    argv: Sequence[str | Path],
    *,
    record: Path,
    log: Path,
    steps: Sequence[Step],
    account: Account | None = None,
    keep_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    waits_for_orders: bool = False,
) -> Child:
    """A running child in a session of its own, so that Ctrl-C in the terminal reaches only its parent.

    On Linux it receives `steps[0].signal` when the thread that called this ends, however that happens: call it from
    the main thread.  waits_for_orders: its standard input stays open for `Child.tell`.
    """
    with log.open("ab") as output:
        os.chmod(log, 0o600)
        popen = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.PIPE if waits_for_orders else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=None if env is None else dict(env),
            pass_fds=keep_fds,
            start_new_session=True,
            preexec_fn=_die_with_parent(steps[0].signal),
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    started = start_time(popen.pid)
    if started is not None:
        write_private(record, json.dumps({"name": name, "pid": popen.pid, "started": started}))
    return Child(name, popen, record, steps)


def end_leftover(record: Path, steps: Sequence[Step]) -> bool:
    """True when a process of an earlier run was still there; it has ended now. A foreign process is never touched."""
    try:
        kept = json.loads(record.read_text())
        pid, started = int(kept["pid"]), str(kept["started"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        record.unlink(missing_ok=True)
        return False
    found = start_time(pid) == started
    if found:
        end_process(pid, started, steps)
    record.unlink(missing_ok=True)
    return found


def end_process(pid: int, started: str, steps: Sequence[Step]) -> None:
    """The process with this pid and start time has ended; raises StartError when it will not."""
    for step in steps:
        if start_time(pid) != started:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, step.signal)
        deadline = time.monotonic() + step.wait_s
        while time.monotonic() < deadline:
            if start_time(pid) != started:
                return
            time.sleep(0.02)
    if start_time(pid) == started:
        raise StartError(f"process {pid}, left over from an earlier run, does not end; end it by hand and start again")


def free_port() -> int:
    """A loopback TCP port that was free a moment ago, and that no outgoing connection is given meanwhile."""
    for port in random.sample(_NEVER_OUTGOING, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StartError(f"no free port between {_NEVER_OUTGOING[0]} and {_NEVER_OUTGOING[-1]}")


def write_private(path: Path, text: str) -> None:
    """The file holds the text and only its owner can read it; it is replaced in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    draft.replace(path)


def write_durably(path: Path, text: str) -> None:
    """Like write_private(), and so also after a power failure; the file keeps the owner of the one it replaces."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    owner = path.stat() if path.exists() else path.parent.stat()
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
        if os.geteuid() == 0:
            os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
    draft.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """The names in the directory are as they are also after a power failure."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def tail_of(log: Path, lines: int = 8, *, offset: int = 0) -> str:
    """The last lines of what a log file holds after `offset` bytes, for an error message; empty when there is none."""
    try:
        return "\n".join(log.read_bytes()[offset:].decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    libc = _LIBC
    if libc is None:
        return None
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
