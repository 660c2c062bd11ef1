"""Two instances of each service as processes of their own behind one origin: what `docker compose up` starts.

Secrets come from `watchword init`, the schema from `watchword migrate`, streams from `watchword provision --watch`,
each instance from `watchword serve`, and the origin is Caddy with the Caddyfile of compose.yaml. As in Docker the
instances of a service have one name and one port, and addresses of their own.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
import pytest
from tests.deploy.conftest import STOP_STEPS, Names, free_ports, reserved_port, running_gateway

from watchword.embedded.nats import NatsServer
from watchword.embedded.postgres import PostgresServer
from watchword.embedded.process import Child, spawn
from watchword.installation import Installation
from watchword_events.names import Service
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.signin import Party, SignIn

WATCHWORD: Final = Path(sys.executable).with_name("watchword")
PASSWORD: Final = "correct horse battery staple"
# Each service's part of /api/v1; federation has none.
API: Final = {
    Service.AUTHZ: "/api/v1/sessions",
    Service.TOKEN: "/api/v1/keys",
    Service.DIRECTORY: "/api/v1/users",
    Service.ADMIN: "/api/v1/clients",
}
READY_WITHIN_S: Final = 120.0
# The promise is 50 ms on an idle machine; a test only tells "soon" from "not".
SOON_S: Final = 5.0
ADDRESSES: Final = ("127.0.0.1", "127.0.0.2")


@dataclass
class Instance:
    """One `watchword serve`."""

    service: Service
    address: str
    port: int
    management_port: int
    child: Child

    @property
    def url(self) -> str:
        """Where it answers by itself, without the gateway."""
        return f"http://{self.address}:{self.port}"

    @property
    def management(self) -> str:
        """Where it says how it is."""
        return f"http://{self.address}:{self.management_port}"

    async def metric(self, name: str) -> float:
        """A number that it tells about itself."""
        async with http_client() as http:
            answer = await http.get(f"{self.management}/metrics")
        return float(next(line for line in answer.text.splitlines() if line.startswith(f"{name} ")).split(" ")[1])


@dataclass
class Fleet:
    """Ten instances behind one origin. secrets: what `watchword init` wrote, and the administrator."""

    issuer: str
    home: Path
    secrets: Path
    names: Names
    instances: list[Instance] = field(default_factory=list)
    canary: Canary = field(default_factory=Canary)

    @property
    def access(self) -> dict[str, str]:
        """What `watchword migrate` noted: the administrator's name, password and API key."""
        return dict(json.loads((self.secrets / "admin.json").read_text()))

    def of(self, service: Service) -> list[Instance]:
        """The instances of a service that live."""
        return [each for each in self.instances if each.service is service and each.child.is_alive]

    def kill(self, instance: Instance) -> None:
        """The instance died at once; its name stands for the others only, as Docker sees to."""
        instance.child.kill()
        self.names.addresses[instance.service].remove(instance.address)

    def api(self) -> Api:
        """`/api/v1` through the gateway."""
        return Api(self.issuer, self.access["admin_token"], self.canary)


def run(*arguments: str, env: dict[str, str]) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        [WATCHWORD, *arguments], env={"PATH": "/usr/bin:/bin", **env}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nats_of(secrets: Path, home: Path) -> NatsServer:
    """A server with the accounts that `init` wrote, at another place than in its container."""
    text = (secrets / "nats" / "nats.conf").read_text()

    def configuration(port: int) -> str:
        here = re.sub(r'^listen: ".*"$', f'listen: "127.0.0.1:{port}"', text, flags=re.MULTILINE)
        here = re.sub(r"^http: .*$", "", here, flags=re.MULTILINE)
        return here.replace("/data/jetstream", str(home / "jetstream"))

    return NatsServer(home, configuration=configuration, log=home / "run" / "nats.log")


@pytest.fixture(scope="module")
async def fleet(caddy: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """The whole installation answers at one origin; every process is ended afterwards."""
    home = tmp_path_factory.mktemp("fleet")
    async with AsyncExitStack() as stack:
        secrets, (database_port, *instance_ports) = home / "secrets", free_ports(1 + 2 * len(Service))
        names = Names({service.value: list(ADDRESSES) for service in Service})
        gateway_port = stack.enter_context(reserved_port())
        fleet = Fleet(f"http://localhost:{gateway_port}", home, secrets, names)
        run("init", "--directory", str(secrets), "--database", f"127.0.0.1:{database_port}/watchword", env={})
        superuser = Installation.load(secrets).superuser_password
        postgres = PostgresServer(home / "pg", password=superuser, log=home / "pg.log", port=database_port)
        nats = nats_of(secrets, home / "nats")
        for server in (postgres, nats):
            stack.callback(server.stop)
            server.start()
        common = {"WATCHWORD_PUBLIC_URL": fleet.issuer, "WATCHWORD_NATS_URL": nats.url}
        url = f"postgresql://postgres@127.0.0.1:{database_port}/watchword"
        job = {**common, "WATCHWORD_SECRETS": str(secrets), "WATCHWORD_DATABASE_URL": url}
        said = run("migrate", "--admin-file", str(secrets / "admin.json"), env=job)
        assert "admin.json" in said.splitlines()[-1], "the last line says where the administrator is"
        provision = started(
            home, "provision", ["provision", "--watch"], {**common, "WATCHWORD_SECRETS": str(secrets / "provision")}
        )
        stack.callback(provision.stop)
        ports = dict(zip(Service, zip(instance_ports[::2], instance_ports[1::2], strict=True), strict=True))
        for number, address in enumerate(ADDRESSES):
            urls = json.dumps({service: f"http://{address}:{ports[service][0]}" for service in Service})
            for service, (port, management_port) in ports.items():
                env = {
                    **common,
                    "WATCHWORD_SECRETS": str(secrets / service),
                    "WATCHWORD_INTERNAL_URLS": urls,
                    "WATCHWORD_TRUSTED_PROXIES": "127.0.0.0/8",
                    "WATCHWORD_MANAGEMENT_PORT": str(management_port),
                }
                command = ["serve", service.value, "--host", address, "--port", str(port)]
                child = started(home, f"{service}-{number}", command, env)
                stack.callback(child.stop)
                fleet.instances.append(Instance(service, address, port, management_port, child))
        await names.start()
        stack.push_async_callback(names.stop)
        upstreams = {service.value: names.upstreams(service, pair[0]) for service, pair in ports.items()}
        stack.enter_context(running_gateway(caddy, home, upstreams, port=gateway_port))
        await all_ready(fleet)
        fleet.canary.add("password", fleet.access["password"])
        fleet.canary.add("token", fleet.access["admin_token"])
        yield fleet
    for log in home.glob("*.log"):
        fleet.canary.check(log.name, [log.read_text(errors="replace")])


def started(home: Path, name: str, arguments: list[str], env: dict[str, str]) -> Child:
    """A `watchword` process with its log in `home`."""
    return spawn(
        name,
        [WATCHWORD, *arguments],
        record=home / f"{name}.process.json",
        log=home / f"{name}.log",
        steps=STOP_STEPS,
        env={"PATH": "/usr/bin:/bin", **env},
    )


async def all_ready(fleet: Fleet) -> None:
    """Every instance says at its management port that it is ready."""
    deadline = time.monotonic() + READY_WITHIN_S
    waiting = list(fleet.instances)
    async with http_client(timeout=5) as http:
        while waiting:
            each = waiting[0]
            log = (fleet.home / f"{each.child.name}.log").read_text()
            assert each.child.is_alive, log
            assert time.monotonic() < deadline, f"{each.child.name} is not ready:\n{log}"
            try:
                answer = await http.get(f"{each.management}/readyz")
            except httpx2.TransportError:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code == 200:
                waiting.pop(0)
            else:
                await asyncio.sleep(0.1)


async def signed_in(fleet: Fleet, party: Party, username: str, password: str, scope: str) -> dict[str, str]:
    """A new person's tokens, from the first click on, through the gateway."""
    async with Browser(fleet.issuer, fleet.canary) as browser:
        return await SignIn(browser, party, scope=scope).with_password(username, password)


async def statuses(instances: list[Instance], path: str, token: str) -> dict[str, int]:
    """How each instance answers a GET with the token."""
    async with http_client(timeout=10) as http:
        headers = {"Authorization": f"Bearer {token}"}
        return {
            each.child.name: (await http.get(f"{each.url}{path}", headers=headers)).status_code for each in instances
        }


async def refused(instances: list[Instance], path: str, token: str) -> None:
    """Returns when every instance answers 401, which it does soon."""
    deadline = time.monotonic() + SOON_S
    while set((found := await statuses(instances, path, token)).values()) != {401}:
        assert time.monotonic() < deadline, f"{path}: {found}"
        await asyncio.sleep(0.02)


async def test_each_instance_is_healthy_and_small(fleet: Fleet) -> None:
    assert len(fleet.instances) == 10
    first = fleet.instances[0]
    assert "ready" in run("health", env={"WATCHWORD_MANAGEMENT_PORT": str(first.management_port)})
    for each in fleet.instances:
        assert await each.metric("process_resident_memory_bytes") < 200 * 1024 * 1024, each.child.name


async def test_people_sign_in_at_whichever_instance_they_meet(fleet: Fleet) -> None:
    api = fleet.api()
    user = await api.create("/users", username="ann", email="ann@example.com", name="Ann", password=PASSWORD)
    party = await Party.registered(api, fleet.issuer, fleet.canary)
    for _ in range(3):
        tokens = await signed_in(fleet, party, "ann", PASSWORD, "openid profile email offline_access")
        assert (await party.userinfo(tokens["access_token"])).json()["sub"] == user["id"]
        assert (await party.introspect(tokens["access_token"]))["active"] is True
        fresh = await party.tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        path = "/oauth2/userinfo"
        assert set((await statuses(fleet.of(Service.TOKEN), path, fresh["access_token"])).values()) == {200}
    await api.close()


async def test_what_one_instance_revokes_every_instance_refuses(fleet: Fleet) -> None:
    api = fleet.api()
    scope = "openid watchword:admin"
    party = await Party.registered(api, fleet.issuer, fleet.canary, scope=scope)
    tokens = await signed_in(fleet, party, fleet.access["username"], fleet.access["password"], scope)
    token = tokens["access_token"]
    for service, path in API.items():
        assert set((await statuses(fleet.of(service), path, token)).values()) == {200}, path
    before = {each.child.name: await each.metric("watchword_feed_position") for each in fleet.instances}
    assert (await party.ask("revoke", token=token)).status_code == 200
    for service, path in API.items():
        await refused(fleet.of(service), path, token)
    await refused(fleet.of(Service.TOKEN), "/oauth2/userinfo", token)
    assert (await party.introspect(token))["active"] is False
    for each in fleet.of(Service.FEDERATION):  # has no API of its own; it has heard of it all the same
        assert await each.metric("watchword_feed_position") > before[each.child.name]
    await api.close()


async def test_a_disabled_user_is_signed_out_everywhere(fleet: Fleet) -> None:
    api = fleet.api()
    user = await api.create("/users", username="bob", email="bob@example.com", name="Bob", password=PASSWORD)
    party = await Party.registered(api, fleet.issuer, fleet.canary)
    async with Browser(fleet.issuer, fleet.canary) as browser:
        tokens = await SignIn(browser, party).with_password("bob", PASSWORD)
        await api.change(f"/users/{user['id']}", active=False)
        await refused(fleet.of(Service.TOKEN), "/oauth2/userinfo", tokens["access_token"])
        for _ in fleet.of(Service.AUTHZ):  # one after the other
            page = await SignIn(browser, party).start()
            assert page.has("username"), "the session has ended"
    await api.close()


async def test_nothing_internal_is_reachable_through_the_origin(fleet: Fleet) -> None:
    async with http_client(base_url=fleet.issuer) as http:
        for path in ("/internal/export/client?limit=1", "/livez", "/readyz", "/metrics"):
            assert (await http.get(path)).status_code == 404, path


async def test_one_killed_instance_of_each_service_is_not_missed(fleet: Fleet) -> None:
    api = fleet.api()
    await api.create("/users", username="cleo", email="cleo@example.com", name="Cleo", password=PASSWORD)
    party = await Party.registered(api, fleet.issuer, fleet.canary)
    before = await signed_in(fleet, party, "cleo", PASSWORD, "openid profile")
    for service in Service:
        fleet.kill(fleet.of(service)[0])
    # The gateway asks for names once a second; Debian's Caddy fails a POST that meets a dead instance until then.
    await asyncio.sleep(1.2)
    for _ in range(3):
        tokens = await signed_in(fleet, party, "cleo", PASSWORD, "openid profile")
        assert (await party.userinfo(tokens["access_token"])).status_code == 200
    assert (await party.userinfo(before["access_token"])).status_code == 200, "a token outlives who issued it"
    assert (await party.ask("revoke", token=before["access_token"])).status_code == 200
    await refused(fleet.of(Service.TOKEN), "/oauth2/userinfo", before["access_token"])
    await api.close()
