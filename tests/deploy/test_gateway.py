"""The Caddyfile: every path reaches its owner, nothing internal is reachable, and no secret is logged."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.deploy.conftest import CADDYFILE, SERVICES, Document, Gateway, Names, Upstream, at, running_gateway

from watchword.composition import main_of
from watchword_events.names import Service

BASES = pytest.mark.parametrize("base", ["", "/auth"])


async def ask(port: int, target: str, *headers: str) -> tuple[int, str]:
    """Status and body of a GET whose target is sent exactly as given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(20):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


@pytest.fixture(scope="module")
async def upstreams() -> AsyncIterator[dict[str, list[Upstream]]]:
    """Two stand-ins for each service."""
    made = {name: [Upstream(name), Upstream(name)] for name in SERVICES}
    async with AsyncExitStack() as stack:
        for each in (each for pair in made.values() for each in pair):
            await each.start()
            stack.push_async_callback(each.stop)
        yield made


@pytest.fixture(scope="module", params=["", "/auth"], ids=["root", "base"])
def base(request: pytest.FixtureRequest) -> str:
    """The path of the public URL."""
    return str(request.param)


@pytest.fixture(scope="module")
def gateway(
    caddy: Path, upstreams: dict[str, list[Upstream]], base: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Caddy in front of the stand-ins."""
    ports = {name: at(*[each.port for each in pair]) for name, pair in upstreams.items()}
    with running_gateway(caddy, tmp_path_factory.mktemp("caddy"), ports, WATCHWORD_BASE_PATH=base) as running:
        yield running


def adapted(caddy: Path, **variables: str) -> Document:
    """The Caddyfile as Caddy understands it."""
    told = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables}
    done = subprocess.run([caddy, "adapt", "--config", CADDYFILE], env=told, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def routes(config: Document) -> list[tuple[set[str], Document]]:
    """Paths and handler of each route, in order; no paths for the last."""
    (server,) = config["apps"]["http"]["servers"].values()
    found = server["routes"][0]["handle"][0]["routes"]
    assert len({each.get("group") for each in found}) == 1, "the routes exclude each other"
    return [
        (set(each["match"][0]["path"]) if "match" in each else set(), each["handle"][0]["routes"][0]["handle"][0])
        for each in found
    ]


def below(path: str) -> tuple[str, ...]:
    """What follows a claimed path in the Caddyfile: everything below it, unless one of its segments may be any."""
    return ("",) if "*" in path else ("", "/*")


def owner_of(handler: Document) -> str:
    return str(handler["dynamic_upstreams"]["name"])


@BASES
def test_each_service_has_exactly_the_prefixes_of_its_main_module(caddy: Path, base: str) -> None:
    found = routes(adapted(caddy, WATCHWORD_BASE_PATH=base))
    assert found[0][0] == {"/internal", "/internal/*", f"{base}/internal", f"{base}/internal/*"}
    assert found[0][1]["status_code"] == 404
    assert found[-1][0] == set()
    assert owner_of(found[-1][1]) == Service.AUTHZ, "what is nobody's goes to authz"
    prefixes = {owner_of(handler): paths for paths, handler in found[1:-1]}
    assert set(prefixes) == set(Service) - {Service.AUTHZ}
    for name, paths in prefixes.items():
        wanted = {f"{base}{path.rstrip('/')}{more}" for path in main_of(Service(name)).PATHS for more in below(path)}
        if name == Service.TOKEN:
            wanted.add(f"/.well-known/oauth-authorization-server{base}")
        if name == Service.ADMIN:
            wanted |= {"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/*"}
        assert paths == wanted, name


def test_a_service_stands_for_every_address_of_its_compose_name(caddy: Path, compose: Document) -> None:
    for _, handler in routes(adapted(caddy))[1:]:
        wanted = handler["dynamic_upstreams"]
        assert wanted == {"source": "a", "name": wanted["name"], "port": "8000", "refresh": 1_000_000_000}
        assert wanted["name"] in compose["services"]


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHWORD_BASE_PATH": "/auth", "WATCHWORD_GATEWAY_PROXIES": "10.0.0.0/8 192.0.2.7/32"}],
    ids=["defaults", "behind another proxy"],
)
def test_caddy_accepts_the_file(caddy: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    done = subprocess.run(
        [caddy, "validate", "--adapter", "caddyfile", "--config", CADDYFILE],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **variables},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


async def test_every_prefix_reaches_its_owner(gateway: Gateway, base: str) -> None:
    for service in Service:
        for path in main_of(service).PATHS:
            prefix = base + path.rstrip("/")
            targets = [prefix, f"{prefix}?a=b", *([] if "*" in path else [f"{prefix}/more/of-it"])]
            for target in targets:
                assert await ask(gateway.port, target) == (200, service.value), target


@pytest.mark.parametrize("path", ["/", "/static/0/watchword.css", "/nothing", "/oauth2/tokenx", "/login/identityx"])
async def test_what_is_nobodys_goes_to_authz(gateway: Gateway, base: str, path: str) -> None:
    assert await ask(gateway.port, base + path) == (200, "authz")


@pytest.mark.spec("RFC 8414 3.1")
async def test_metadata_stands_before_the_issuers_path(gateway: Gateway, base: str) -> None:
    assert await ask(gateway.port, f"/.well-known/oauth-authorization-server{base}") == (200, "token")


@pytest.mark.parametrize(
    "target",
    [
        "/internal",
        "/internal/export/client",
        "/Internal/export/client",
        "/%69nternal/export/client",
        "/internal%2fexport%2fclient",
        "//internal/export/client",
        "/./internal/export/client",
        "/login/../internal/export/client",
        "/login/%2e%2e/internal/export/client",
        "/oauth2/token/..%2f../internal/export/client",
        "http://localhost/internal/export/client",
    ],
)
async def test_pulls_between_services_are_out_of_reach(
    gateway: Gateway, base: str, upstreams: dict[str, list[Upstream]], target: str
) -> None:
    everybody = [each for pair in upstreams.values() for each in pair]
    for prefix in {"", base}:
        for each in everybody:
            each.asked.clear()
        status, _ = await ask(gateway.port, target if target.startswith("http") else prefix + target)
        came_through = [unquote(path.partition("?")[0]) for each in everybody for path, _ in each.asked]
        assert status in {400, 404} or came_through
        for path in came_through:  # services do not resolve dots or double slashes
            assert not path.lower().removeprefix(base).startswith("/internal"), path


async def test_a_stream_flows_and_ends_with_its_reader(
    gateway: Gateway, base: str, upstreams: dict[str, list[Upstream]]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {base}/revocations/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(30):
        await reader.readuntil(b"data: first")
    writer.close()
    served = [each for each in upstreams["token"] if each.asked and each.asked[-1][0].endswith("/stream")]
    async with asyncio.timeout(30):
        await served[0].left.wait()


async def test_instances_take_turns(gateway: Gateway, base: str, upstreams: dict[str, list[Upstream]]) -> None:
    before = [len(each.asked) for each in upstreams["directory"]]
    for _ in range(10):
        await ask(gateway.port, f"{base}/api/v1/users")
    assert [len(each.asked) - seen for each, seen in zip(upstreams["directory"], before, strict=True)] == [5, 5]


async def test_the_host_stays_and_a_made_up_client_address_is_dropped(
    gateway: Gateway, base: str, upstreams: dict[str, list[Upstream]]
) -> None:
    for _ in range(2):
        await ask(gateway.port, f"{base}/oauth2/jwks", "X-Forwarded-For: 203.0.113.9")
    for each in upstreams["token"]:
        _, headers = each.asked[-1]
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["host"] == "localhost"


async def test_a_proxy_in_front_is_believed(caddy: Path, tmp_path: Path, upstreams: dict[str, list[Upstream]]) -> None:
    ports = {name: at(pair[0].port) for name, pair in upstreams.items()}
    with running_gateway(caddy, tmp_path, ports, WATCHWORD_GATEWAY_PROXIES="127.0.0.0/8") as front:
        await ask(front.port, "/oauth2/jwks", "X-Forwarded-For: 203.0.113.9")
    assert upstreams["token"][0].asked[-1][1]["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"


async def test_a_name_stands_for_all_instances_that_run(caddy: Path, tmp_path: Path) -> None:
    first = Upstream("first", host="127.0.0.1")
    await first.start()
    second = Upstream("second", host="127.0.0.2", port=first.port)
    await second.start()
    names = Names({"token": ["127.0.0.1", "127.0.0.2"]})
    await names.start()
    with running_gateway(caddy, tmp_path, {"token": names.upstreams("token", first.port)}) as front:
        seen = [(await ask(front.port, "/oauth2/jwks"))[1] for _ in range(4)]
        assert sorted(seen) == ["first", "first", "second", "second"]
        names.addresses["token"] = ["127.0.0.2"]
        await first.stop()
        assert {await ask(front.port, "/oauth2/jwks") for _ in range(4)} == {(200, "second")}
        await asyncio.sleep(1.1)
        names.addresses["token"] = []
        await second.stop()
        await asyncio.sleep(1.1)
        assert (await ask(front.port, "/oauth2/jwks"))[0] in {502, 503}
    await names.stop()


async def test_a_dead_instance_is_passed_by_and_failures_are_said_without_secrets(caddy: Path, tmp_path: Path) -> None:
    token, gone, directory = Upstream("token"), Upstream("token"), Upstream("directory")
    for each in (token, gone, directory):
        await each.start()
    for each in (gone, directory):
        await each.stop()
    ports = dict.fromkeys(SERVICES, at(directory.port)) | {"token": at(gone.port, token.port)}
    with running_gateway(caddy, tmp_path, ports, WATCHWORD_GATEWAY_LOG_LEVEL="DEBUG") as front:
        for _ in range(6):
            assert await ask(front.port, "/oauth2/jwks") == (200, "token")
        key = "Watchword-API-Key: ww_secret-in-a-header"
        status, body = await ask(front.port, "/login/complete?ticket=secret-in-a-query", key)
    await token.stop()
    assert status in {502, 503}
    assert "does not answer at the moment" in body
    assert "secret" not in front.log.read_text()
    assert "/login/complete" in front.log.read_text()
