"""`watchword events dead`, `retry` and `forget`: what consumers gave up, with access to the database alone."""

import asyncio
import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from watchword.containers import save_for_containers
from watchword_events.contracts import ClientUpdated
from watchword_events.envelope import headers_of
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

WATCHWORD = Path(sys.executable).with_name("watchword")
Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def run(platform: Platform, tmp_path: Path) -> Run:
    """Exit status and output of a command beside the database."""
    directory = tmp_path / "secrets"
    save_for_containers(platform.site.installation, directory, database="unused:1/none", owner=None)

    async def typed(*words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            WATCHWORD, "events", *words, "--secrets", directory, "--database-url", platform.database.admin_url,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    return typed


async def given_up(platform: Platform, client_id: str, *, version: int, body: str | None = None) -> str:
    """The dead letter of an event about a client, as `authz` leaves it behind."""
    event = ClientUpdated(id=client_id, version=version)
    headers = headers_of(
        "client.updated", Service.ADMIN, event_id=secrets.token_hex(16), aggregate_id=client_id, version=version,
        at=utc_now(),
    )  # fmt: skip
    async with platform.database.postgres.admin(platform.database.name) as admin:
        number = await admin.fetchval(
            "INSERT INTO authz.dead_letter (consumer, stream_seq, subject, headers, body, error)"
            " VALUES ('authz-client', $1, 'auth.admin.client.updated', $2, $3, 'RuntimeError at x.py:1') RETURNING id",
            secrets.randbelow(1 << 40), json.dumps(headers), body or event.model_dump_json(),
        )  # fmt: skip
    return f"authz/{number}"


async def listed(run: Run) -> dict[str, dict[str, str]]:
    """The dead letters by id."""
    code, out = await run("dead", "--json")
    assert code == 0, out
    return {each["id"]: each for each in json.loads(out)}


async def test_what_was_given_up_is_listed_tried_again_and_gone(run: Run, platform: Platform, api: Api) -> None:
    client = await api.create("/clients", client_name="Lost", redirect_uris=["https://lost.test/cb"])
    client_id = str(client["client_id"])
    good = await given_up(platform, client_id, version=1)
    bad = await given_up(platform, client_id, version=1, body="no JSON")
    found = await listed(run)
    assert (found[good]["consumer"], found[good]["type"]) == ("authz-client", "client.updated")
    assert (found[good]["about"], found[good]["error"]) == (client_id, "RuntimeError at x.py:1")
    code, out = await run("retry", good, bad, "--json")
    assert (code, json.loads(out)) == (0, {"retried": [good, bad]})
    async with asyncio.timeout(60):  # the instances look every ten seconds
        while good in (found := await listed(run)) or "UnknownEvent" not in found[bad]["error"]:
            await asyncio.sleep(0.5)
    assert "say --yes" in (await run("forget", bad))[1]
    assert await run("forget", bad, "--yes") == (0, f"forgotten: {bad}\n")
    assert bad not in await listed(run)


async def unheard(platform: Platform, name: str) -> str:
    """A notice of a session's end that a client did not take for a day, as `token` leaves it behind."""
    key = f"{name}-{secrets.token_hex(4)}"
    async with platform.database.postgres.admin(platform.database.name) as admin:
        await admin.execute(
            "INSERT INTO token.deliveries (id, sid, client_id, user_id, state, attempts, created_at, next_attempt_at,"
            " give_up_at, ended_at, error) VALUES ($1, $1, 'nobody-hears', 'u', 'dead', 30,"
            " now() - interval '25 hours', now(), now() - interval '1 hour', now() - interval '1 hour', 'status 500')",
            key,
        )
    return f"sign-out/{key}"


async def test_sign_out_notices_are_among_them(run: Run, platform: Platform) -> None:
    again, gone = await unheard(platform, "again"), await unheard(platform, "gone")
    found = await listed(run)
    assert {found[each]["error"] for each in (again, gone)} == {"status 500"}
    assert found[again]["consumer"] == "nobody-hears"
    assert found[again]["about"] == again.removeprefix("sign-out/")
    assert await run("forget", gone, "--yes") == (0, f"forgotten: {gone}\n")
    assert gone not in await listed(run)
    code, out = await run("retry", again, gone)
    assert code == 1
    assert f"no dead letter {gone}" in out
    assert (await listed(run))[again]["error"] == "status 500", "all of them or none"
    assert await run("retry", again) == (0, f"tried again: {again}\n")
    async with asyncio.timeout(30):  # a second later an instance has tried: there is no such client
        while (await listed(run)).get(again, {"error": ""})["error"] != "the client no longer wants to hear of it":
            await asyncio.sleep(0.2)
    assert (await run("forget", again, "--yes"))[0] == 0


@pytest.mark.parametrize("command", ["retry", "forget"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param((), "or say --all", id="none"),
        pytest.param(("authz/1", "--all"), "or say --all", id="one and all"),
        pytest.param(("authz/999999999",), "no dead letter authz/999999999", id="unknown"),
        pytest.param(("authz/99999999999999999999999",), "no dead letter", id="no number of a row"),
        pytest.param(("authz/1; DROP",), "no dead letter", id="no number"),
        pytest.param(("nobody/1",), "no dead letter", id="no service"),
        pytest.param(("7",), "no dead letter", id="a number alone"),
        pytest.param(("sign-out/none",), "no dead letter sign-out/none", id="no notice"),
        pytest.param(("sign-out/",), "no dead letter", id="half a notice"),
    ],
)
async def test_what_is_no_dead_letter_is_said(run: Run, command: str, words: tuple[str, ...], said: str) -> None:
    yes = ("--yes",) if command == "forget" else ()
    code, out = await run(command, *words, *yes)
    assert code == 1
    assert said in out
    assert "Traceback" not in out
