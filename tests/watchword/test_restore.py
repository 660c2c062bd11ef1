"""`watchword restore`: a new epoch above all that ever was, and what people are told."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from tests.watchword.test_up import Up, _until

from watchword import restore as restore_module
from watchword.containers import save_for_containers
from watchword.installation import Installation
from watchword.restore import Done, restore
from watchword_events.names import Service, epoch_of
from watchword_runtime.clock import utc_now
from watchword_testkit.databases import TestDatabase

WATCHWORD = Path(sys.executable).with_name("watchword")


async def done_on(database: TestDatabase, **more: object) -> Done:
    """restore() on a database, without NATS."""
    installation = Installation.drawn()
    given: dict[str, object] = {
        "token_keys": installation.keys_of(Service.TOKEN),
        "servers": (),
        "nats_seed": installation.seeds[Service.TOKEN],
        "admin_file": None,
        "now": utc_now(),
    }
    urls = {service: database.url(service) for service in Service}
    return await restore(database.admin_url, urls, **{**given, **more})  # type: ignore[arg-type]


async def test_a_new_epoch_begins_with_a_cut_of_everything(database: TestDatabase) -> None:
    async with database.postgres.admin(database.name) as admin:
        before = await admin.fetchval("SELECT position FROM bus.ledger")
        await admin.execute(
            "INSERT INTO token.user_copy (id, version, deleted, data) VALUES ('ada', 7, false, '{}');"
            "INSERT INTO token.copy_state VALUES ('user', now())"
        )
        done = await done_on(database)
        assert (epoch_of(done.before), done.before, done.epoch) == (1, before, 2)
        row = await admin.fetchrow("SELECT * FROM bus.revocations")
        assert (row["position"], row["claim"], row["kind"], row["value"]) == (done.position, "all", "cut", "")
        assert row["keep_until"].year > utc_now().year + 50, "what it ended must never live again"
        assert await admin.fetchval("SELECT position FROM bus.ledger") == done.position
        assert await admin.fetchval("SELECT count(*) FROM token.user_copy") == 0
        assert await admin.fetchval("SELECT count(*) FROM token.copy_state") == 0
        assert done.copies >= 11
        assert not done.asked_nats


async def test_two_restores_of_one_back_up_give_out_nothing_twice(database: TestDatabase) -> None:
    """Nobody remembers the first: the database forgot it, and NATS is away."""
    sealers, positions = [], []
    async with database.postgres.admin(database.name) as admin:
        for _ in range(3):
            await admin.execute(
                "UPDATE bus.ledger SET position = (1::bigint << 40) + 5; DELETE FROM bus.revocations;"
                "SELECT setval('bus.sealer_id', 40)"
            )
            positions.append((await done_on(database)).position)
            sealers.append(await admin.fetchval("SELECT nextval('bus.sealer_id')"))
            await asyncio.sleep(1.1)
    assert min(sealers) > 40
    assert all(b - a >= restore_module._PROCESSES_PER_S for a, b in pairwise(sealers))
    assert all(b - a >= restore_module._POSITIONS_PER_S for a, b in pairwise(positions))
    assert all(position < 1 << 53 for position in positions)


async def test_numbers_of_sealing_processes_never_go_back(database: TestDatabase) -> None:
    async with database.postgres.admin(database.name) as admin:
        await admin.execute("SELECT setval('bus.sealer_id', 4000000000)")
        await done_on(database)
        assert await admin.fetchval("SELECT nextval('bus.sealer_id')") == 4000000003, (
            "one for those before, one for the keys that were replaced"
        )


async def test_sign_ins_that_were_under_way_end(database: TestDatabase) -> None:
    async with database.postgres.admin(database.name) as admin:
        await admin.execute(
            "INSERT INTO bus.handover (ticket_hash, kind, sender, receiver, flow, payload, created_at, expires_at,"
            " keep_until) VALUES ('x', 'code', 'watchword_authz', 'watchword_token', 'f', '{}', now(), now(), now())"
        )
        assert (await done_on(database)).tickets == 1
        assert await admin.fetchval("SELECT count(*) FROM bus.handover") == 0


async def test_an_administrator_who_is_none_any_more_gets_no_key(database: TestDatabase, tmp_path: Path) -> None:
    noted = tmp_path / "admin.json"
    noted.write_text(json.dumps({"username": "admin", "password": "old", "admin_token": "old"}))
    done = await done_on(database, admin_file=noted)
    assert done.administrator is None
    assert json.loads(noted.read_text())["admin_token"] == "old"


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(WATCHWORD), "restore", *map(str, words)]
    own = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own, stdin=subprocess.DEVNULL)


def test_nothing_happens_without_a_yes(tmp_path: Path) -> None:
    save_for_containers(Installation.drawn(), tmp_path / "secrets", database="x", owner=None)
    asked = run("--secrets", tmp_path / "secrets", WATCHWORD_DATABASE_URL="postgresql://postgres@127.0.0.1:1/none")
    assert asked.returncode == 1
    assert "say --yes" in asked.stderr
    assert "Traceback" not in asked.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--secrets", "{home}/secrets"), "PostgreSQL cannot be reached", id="no PostgreSQL"),
        pytest.param(("--secrets", "{home}/nothing"), "is missing", id="no secrets"),
        pytest.param(("--data-dir", "{home}"), "postgres", id="no data"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    save_for_containers(Installation.drawn(), tmp_path / "secrets", database="x", owner=None)
    given = [word.format(home=tmp_path) for word in words]
    refused = run(
        "--yes",
        *given,
        WATCHWORD_DATABASE_URL="postgresql://postgres@127.0.0.1:1/none",
        WATCHWORD_PG_BIN="/nonexistent",
    )
    assert refused.returncode == 1
    assert said.lower() in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


def test_a_data_directory_that_was_copied_back(tmp_path: Path) -> None:
    """As docs/operations.md says: stop, copy, and after copying back `watchword restore`; also while it runs."""
    data = tmp_path / "data"
    first = Up(data).until_ready()
    old = first.access
    first.process.send_signal(signal.SIGTERM)
    assert first.until_ended() == 0
    subprocess.run(["cp", "-a", data, tmp_path / "back-up"], check=True)

    second = Up(data).until_ready()
    second.call("POST", "/users", username="lost", name="Lost", password="a password to lose")
    second.process.send_signal(signal.SIGTERM)
    assert second.until_ended() == 0
    shutil.rmtree(data / "postgres")
    subprocess.run(["cp", "-a", tmp_path / "back-up" / "postgres", data / "postgres"], check=True)
    done = run("--yes", "--data-dir", data)
    assert done.returncode == 0, done.stderr
    assert "Epoch 2 begins" in done.stdout

    third = Up(data).until_ready()
    try:
        assert third.access["password"] == old["password"]
        assert third.access["admin_token"] != old["admin_token"]
        assert [each["username"] for each in third.call("GET", "/users").json()["items"]] == ["admin"]
        before = third.access["admin_token"]
        done = run("--yes", "--data-dir", data, "--json")
        assert done.returncode == 0, done.stderr
        assert (json.loads(done.stdout)["epoch"], json.loads(done.stdout)["lost"]) == (3, [])
        assert third.access["admin_token"] != before
        _until(lambda: third.call("GET", "/users").status_code == 200)
    finally:
        third.process.send_signal(signal.SIGTERM)
        assert third.until_ended() == 0
