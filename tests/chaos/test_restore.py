"""A database comes back from a back-up: what was given out before dies everywhere, and nobody is restarted for it."""

import asyncio
import os
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import asyncpg
import pytest
from tests.chaos.conftest import Crowd, Observe, assert_healed, ready_again, revive
from tests.chaos.sentries import Ring, ring_of

from watchword.bootstrap import noted_administrator
from watchword.containers import save_for_containers
from watchword.embedded.postgres import PostgresServer
from watchword_events.names import epoch_of
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.installations import PlatformFactory

pytestmark = pytest.mark.chaos

WATCHWORD = Path(sys.executable).with_name("watchword")


async def ran(*words: str | Path, **environment: str) -> str:
    """What a program said. Raises AssertionError when it failed."""
    pipe = asyncio.subprocess.PIPE
    env = {"PATH": os.environ["PATH"], **environment}
    process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, env=env)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


class BackUp:
    """A back-up by PostgreSQL's own programs, as docs/operations.md says."""

    def __init__(self, platform: WorkerPlatform, file: Path) -> None:
        assert isinstance(platform.postgres, PostgresServer)
        assert platform.postgres.programs is not None
        self._bin, self._file, self._database = platform.postgres.programs.bin, file, platform.database
        self._server = platform.postgres

    async def make(self) -> None:
        """The file holds the database as it is now."""
        await ran(self._bin / "pg_dump", "-Fc", "-f", self._file, self._database.admin_url)

    async def restore(self) -> None:
        """The database is as it was then; whoever was connected to it is not any more."""
        url, name = self._server.url(), self._database.name
        connection = await asyncpg.connect(url)
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()
        await ran(self._bin / "pg_restore", "--exit-on-error", "-d", self._database.admin_url, self._file)


async def restored(platform: WorkerPlatform, secrets: Path) -> tuple[str, float]:
    """What `watchword restore` said, and when it was through."""
    said = await ran(
        WATCHWORD,
        "restore",
        "--yes",
        "--secrets",
        secrets,
        WATCHWORD_DATABASE_URL=platform.database.admin_url,
        WATCHWORD_NATS_URL=platform.nats.url,
    )
    return said, time.monotonic()


@asynccontextmanager
async def services_stopped(platform: WorkerPlatform) -> AsyncIterator[None]:
    """No instance runs during the block."""
    for worker in platform.workers:
        worker.kill()
    yield
    for worker in platform.workers:
        revive(platform, worker)


async def never_accepted(ring: Ring, tokens: list[str], over: asyncio.Event) -> list[str]:
    """Who accepted any of these tokens before the end."""
    found: list[str] = []
    while not over.is_set():
        for sentry in list(ring.sentries):
            for token in tokens:
                if await sentry.accepts(token):
                    found.append(sentry.name)
        await asyncio.sleep(0.02)
    return found


async def dead(crowd: Crowd, tokens: dict[str, str]) -> bool:
    """Whether a refresh token gives nothing."""
    answer = await crowd.party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    return answer.status_code == 400 and answer.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("stopped", [False, True], ids=["while the services run", "while the services are stopped"])
@pytest.mark.parametrize("seed", [1])
async def test_nothing_from_before_a_restore_is_accepted_and_verifiers_heal_by_themselves(
    platform_factory: PlatformFactory, canary: Canary, observed: Observe, tmp_path: Path, seed: int, *, stopped: bool
) -> None:
    chance = random.Random(seed)
    platform = await platform_factory(workers=2, own_postgres=True)
    secrets = tmp_path / "secrets"
    save_for_containers(platform.site.installation, secrets, database="unused", owner=None)
    shutil.copy(platform.site.home / "administrator.json", secrets / "admin.json")
    pids = [worker.pid for worker in platform.workers]
    crowd, api = await Crowd.gathered(platform, canary), platform.api(canary)
    async with ring_of(platform) as ring:
        ring.add_doors()
        await ring.add_verifier("verifier on HTTP")
        await ring.add_verifier("verifier on NATS", nats_at=platform.nats.url)
        live, revoked = [await ring.token() for _ in range(3)], [await ring.token() for _ in range(3)]
        signed_in = await crowd.sign_in(0)
        back_up = BackUp(platform, tmp_path / "watchword.dump")
        await back_up.make()

        # What the back-up does not know.
        live += [await ring.token()]
        (key,) = [each for each in (await api.get("/keys"))["items"] if each["alg"] == "RS256"]
        await api.create("/revocations", claim="kid", value=key["kid"])
        for token in revoked:
            await ring.last_acceptance_s(token, since=await ring.revoke(token))
        await ring.all_accept(live[0])
        before = ring.verifiers[0].position
        over = asyncio.Event()
        watching = asyncio.create_task(never_accepted(ring, revoked, over))

        async with services_stopped(platform) if stopped else nullcontext():
            await back_up.restore()
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            said, since = await restored(platform, secrets)
        observed(*await asyncio.gather(*[ring.last_acceptance_s(token, since=since) for token in live]))
        await ready_again(platform)
        await assert_healed(ring)
        over.set()
        assert await watching == []

        epoch = epoch_of(before) + 1
        assert f"Epoch {epoch} begins" in said
        assert all(epoch_of(verifier.position) == epoch for verifier in ring.verifiers)
        assert key["kid"] in said
        assert await dead(crowd, signed_in)
        await crowd.sign_in(1)
        await assert_administrator(platform, secrets, api, kid=key["kid"])
    if not stopped:
        assert [worker.pid for worker in platform.workers] == pids


async def assert_administrator(platform: WorkerPlatform, secrets: Path, old: Api, *, kid: str) -> None:
    """The old API key is dead; the new one is noted, and shows that the lost revocation of a key was made again."""
    assert (await old.call("GET", "/keys")).status_code == 401
    api = platform.api(token=noted_administrator(secrets / "admin.json").admin_token)
    keys = {each["kid"]: each["state"] for each in (await api.get("/keys"))["items"]}
    assert keys[kid] == "revoked"
    assert list(keys.values()).count("active") == 4
