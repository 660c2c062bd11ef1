"""examples/subscriber as another team runs it: a process with a granted key beside a `watchword up`."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.watchword.test_up import PATIENCE_S, Up

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.signin import Party
from watchword_verifier import ClientCredentials, HttpFeed, NatsFeed, TokenRefused, Verifier

EXAMPLE = Path(__file__).parents[2] / "examples" / "subscriber"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A platform."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHWORD_TOKEN_JWKS_MAX_AGE_S", "1")  # a next key takes over soon
        up = Up(tmp_path_factory.mktemp("up") / "data").until_ready()
    yield up
    up.process.send_signal(signal.SIGTERM)
    assert up.until_ended() == 0


def test_what_the_readme_installs_has_the_command_that_it_runs() -> None:
    """`faststream run` is in an extra of its own."""
    readme = (EXAMPLE / "README.md").read_text()
    (extras,) = re.findall(r"pip install 'faststream\[([\w,]+)\]", readme)
    assert "faststream run subscriber:app" in readme
    assert {"nats", "cli"} <= set(extras.split(","))
    assert {"nats", "cli"} <= set(metadata("faststream").get_all("Provides-Extra") or [])


def events(up: Up, *words: str) -> str:
    """What `watchword events` said."""
    command = [BIN / "watchword", "events", words[0], "--data-dir", up.data, *words[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Program:
    """The example as a process. output: what it printed and logged."""

    def __init__(self, up: Up, name: str, output: Path, **more: str) -> None:
        (grant,) = [each for each in json.loads(events(up, "list", "--json")) if each["name"] == name]
        told = {"EVENTS_URL": up.access["nats_url"], "EVENTS_NAME": name, "EVENTS_KEY_FILE": grant["key_file"]}
        self.output = output
        with output.open("wb") as out:
            self.process = subprocess.Popen(
                [BIN / "faststream", "run", "subscriber:app"],
                cwd=EXAMPLE,
                env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **told, **more},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def until(self, line: str) -> None:
        """It has printed a line."""
        deadline = time.monotonic() + PATIENCE_S
        while line not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """It has ended."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def program(running: Up, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts the example; every one has ended after the test."""
    started: list[Program] = []

    def start(name: str, **more: str) -> Program:
        started.append(Program(running, name, tmp_path / f"{name}-{len(started)}.out", **more))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(10)


def created(up: Up, username: str) -> str:
    """The id of a new user."""
    made = up.call("POST", "/users", username=username)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def disabled(up: Up, user: str) -> None:
    """A user may no longer sign in."""
    assert up.call("PATCH", f"/users/{user}", active=False).is_success


def test_the_program_hears_of_a_disabled_user_and_a_rotated_key(running: Up, program: Callable[..., Program]) -> None:
    began = datetime.now(UTC)
    assert running.access["nats_url"] in events(running, "grant", "billing")
    first = program("billing")
    eve, mallory = created(running, "eve"), created(running, "mallory")
    disabled(running, eve)
    first.until(f"user {eve} was disabled")
    (made,) = running.call("POST", "/keys/rotate", alg="EdDSA").json()["items"]
    first.until(f"key {made['kid']} signs from now on")

    first.stop()
    disabled(running, mallory)
    second = program("billing")
    second.until(f"user {mallory} was disabled")
    assert eve not in second.output.read_text(), "what was acknowledged does not come again"
    second.stop()

    third = program("billing", EVENTS_SINCE=began.isoformat())
    for line in (f"user {eve} was disabled", f"user {mallory} was disabled", f"key {made['kid']} signs"):
        third.until(line)

    events(running, "revoke", "billing")
    disabled(running, created(running, "trudy"))
    time.sleep(1)
    assert third.output.read_text().count("was disabled") == 2, "a revoked program hears nothing more"


async def test_a_verifier_hears_the_feed_with_a_grant(running: Up, canary: Canary) -> None:
    events(running, "grant", "orders", "--feed")
    seed = (running.data / "secrets" / "teams" / "orders.nkey").read_text()
    api = Api(running.access["issuer"], running.access["admin_token"], canary)
    metadata = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    shop = await Party.registered(
        api, running.access["issuer"], canary, scope="orders:read", audience=["https://orders.example"], **metadata
    )
    own = await Party.registered(api, running.access["issuer"], canary, scope="revocations:read", **metadata)
    assert own.client_secret is not None
    http = HttpFeed(own.issuer, ClientCredentials(own.issuer, own.client_id, own.client_secret))
    with capture_logs() as logs:
        feed = NatsFeed(running.access["nats_url"], http, seed=seed)
        async with Verifier(own.issuer, "https://orders.example", feed=feed) as verifier:
            async with asyncio.timeout(30):
                while not any(each["event"] == "revocation_feed.nats_connected" for each in logs):
                    await asyncio.sleep(0.02)
            token = (await shop.tokens(grant_type="client_credentials", scope="orders:read"))["access_token"]
            assert (await verifier.verify(token)).client_id == shop.client_id
            await shop.ask("revoke", token=token)
            async with asyncio.timeout(30):
                while await _is_accepted(verifier, token):
                    await asyncio.sleep(0.005)
    assert not [each for each in logs if each["event"].startswith("revocation_feed.nats_error")]
    await api.close()


async def _is_accepted(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except TokenRefused:
        return False
    return True


@pytest.mark.chaos
def test_what_happens_while_nats_restarts_is_not_lost(running: Up, program: Callable[..., Program]) -> None:
    events(running, "grant", "crm")
    crm = program("crm")
    ann, bob = created(running, "ann"), created(running, "bob")
    disabled(running, ann)
    crm.until(f"user {ann} was disabled")
    os.kill(running.children()["nats"], signal.SIGKILL)
    disabled(running, bob)
    crm.until(f"user {bob} was disabled")


@pytest.mark.chaos
def test_a_program_goes_on_when_nats_has_lost_everything(running: Up, program: Callable[..., Program]) -> None:
    events(running, "grant", "erp")
    erp = program("erp")
    ada, ben = created(running, "ada"), created(running, "ben")
    disabled(running, ada)
    erp.until(f"user {ada} was disabled")
    running.process.send_signal(signal.SIGSTOP)  # until there is nothing left to find
    os.kill(running.children()["nats"], signal.SIGKILL)
    shutil.rmtree(running.data / "nats" / "jetstream")
    running.process.send_signal(signal.SIGCONT)
    disabled(running, ben)
    erp.until(f"user {ben} was disabled")
    assert erp.output.read_text().count(f"user {ada} was disabled") == 1, "it came again, and was recognised"
    late = program("erp", EVENTS_SINCE="2026-01-01T00:00:00Z")
    late.until(f"user {ada} was disabled")
