"""The master key changes in the middle of traffic: nobody notices, then or after the next start."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from watchword.embedded.process import free_port
from watchword.master_key import from_file
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock

WATCHWORD = Path(sys.executable).with_name("watchword")
PASSWORD = "correct horse battery staple"
READY_WITHIN_S = 120.0
ROTATIONS = 3


@asynccontextmanager
async def up(data: Path, port: int) -> AsyncIterator[dict[str, str]]:
    """`watchword up` runs during the block; what access.json says."""
    command = [WATCHWORD, "up", "--data-dir", data, "--port", str(port), "--no-demo"]
    with data.with_suffix(".out").open("ab") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not (data / "access.json").exists():
            assert process.returncode is None, data.with_suffix(".out").read_text()
            assert time.monotonic() < deadline, "not ready"
            await asyncio.sleep(0.05)
        yield dict(json.loads((data / "access.json").read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), READY_WITHIN_S)


async def kids(issuer: str) -> set[str]:
    """The keys that an installation shows."""
    async with http_client() as http:
        return {key["kid"] for key in (await http.get(f"{issuer}/oauth2/jwks")).json()["keys"]}


async def signed_in(issuer: str, party: Party, canary: Canary, provider: str) -> None:
    """Somebody signs in with a password, and somebody else through the provider."""
    async with Browser(issuer, canary) as browser:
        await SignIn(browser, party).with_password("rotating-rita", PASSWORD)
    async with Browser(issuer, canary) as browser:
        await SignIn(browser, party).through(provider, sub="alice")


async def test_a_rotation_in_the_middle_of_traffic_loses_nothing(
    tmp_path: Path, canary: Canary, mock_issuer: str
) -> None:
    data, port = tmp_path / "data", free_port()
    master = data / "secrets" / "master.key"
    async with up(data, port) as access:
        issuer, api = access["issuer"], Api(access["issuer"], access["admin_token"], canary)
        provider = await configure_mock(api, mock_issuer)
        await api.create("/users", username="rotating-rita", name="Rita", password=PASSWORD)
        party = await Party.registered(api, issuer, canary)
        async with Browser(issuer, canary) as browser:
            offline = SignIn(browser, party, scope="openid offline_access")
            tokens = await offline.with_password("rotating-rita", PASSWORD)
        before, drawn = await kids(issuer), {from_file(master).key}
        over, count = asyncio.Event(), 0

        async def traffic() -> None:
            nonlocal count
            while not over.is_set():
                await signed_in(issuer, party, canary, provider)
                count += 1

        going = asyncio.create_task(traffic())
        for _ in range(ROTATIONS):
            seen = count
            process = await asyncio.create_subprocess_exec(WATCHWORD, "master-key", "rotate", "--data-dir", data)
            assert await process.wait() == 0
            drawn.add(from_file(master).key)
            while count < seen + 2 and not going.done():
                await asyncio.sleep(0.02)
        over.set()
        await going
        assert len(drawn) == ROTATIONS + 1
        await api.close()

    async with up(data, port) as access:
        api = Api(access["issuer"], access["admin_token"], canary)
        assert await kids(issuer) == before
        assert (await party.userinfo(tokens["access_token"])).status_code == 200
        renewed = await party.tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        assert (await party.userinfo(renewed["access_token"])).status_code == 200
        await signed_in(issuer, party, canary, provider)
        assert [each["id"] for each in (await api.get("/providers"))["items"]] == [provider]
        await api.close()
    left = "".join(path.read_text(errors="replace") for path in data.rglob("*.log"))
    assert not any(text in left for text in (master.read_text().strip(), "mock-secret-4711"))
