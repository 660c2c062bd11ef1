"""compose.yaml: everything it names exists, and no container may do or see more than it needs."""

import re
import shutil
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main
from ruamel.yaml import YAML
from tests.deploy.conftest import ROOT, SERVICES, Document, read_compose
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.testing import CliRunner

from watchword.cli import MANAGEMENT_PORT, app
from watchword.composition import main_of
from watchword.containers import configure_nats, save_for_containers
from watchword.embedded.process import free_port
from watchword.grants import load_grants
from watchword.installation import BrokenInstallation, Installation, Operator
from watchword_events.names import Service
from watchword_runtime.settings import PREFIX, ServiceSettings
from watchword_web.addresses import client_address

ONE_SHOT = ("init", "migrate")
OURS = (*ONE_SHOT, "provision", *SERVICES)
NATS = ("nats", "nats-2", "nats-3")
OBSERVERS = ("prometheus", "grafana")
ACCOUNT = "10001:10001"


def command_of(container: Document) -> tuple[TyperCommand, dict[str, Any]]:
    """The subcommand that a container of ours runs, with its arguments parsed; raises what typer raises."""
    program, name, *arguments = container["command"]
    assert program == "watchword"
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands[name]
    assert isinstance(command, TyperCommand)
    return command, dict(command.make_context(name, list(arguments)).params)


def secrets_of(container: Document) -> dict[str, str]:
    """The mounts of ./secrets: what of it is seen where."""
    mounts = [each.split(":") for each in container.get("volumes", []) if each.startswith("./secrets")]
    return {each[0].removeprefix("./secrets").strip("/"): each[1] for each in mounts}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `watchword init` writes."""
    directory = tmp_path_factory.mktemp("secrets")
    save_for_containers(Installation.drawn(), directory, database="postgres:5432/watchword", owner=None)
    return directory


def test_the_five_services_their_jobs_servers_and_a_gateway_are_there(compose: Document) -> None:
    assert set(compose["services"]) == {*OURS, "postgres", *NATS, "gateway", *OBSERVERS}
    assert set(SERVICES) == {service.value for service in Service}


@pytest.mark.parametrize("name", OURS)
def test_each_command_and_option_exists(compose: Document, name: str) -> None:
    command, given = command_of(compose["services"][name])
    expected = {"init": "init", "migrate": "migrate", "provision": "provision"}.get(name, "serve")
    assert command.name == expected
    if expected == "serve":
        assert given["service"] == Service(name)
        assert given["host"] == "0.0.0.0"
        assert given["port"] == 8000
        assert given["management_port"] == MANAGEMENT_PORT


def test_the_streams_are_watched(compose: Document) -> None:
    _, given = command_of(compose["services"]["provision"])
    assert given["watch"] is True


@pytest.mark.parametrize("name", [*OURS, *NATS, "gateway", *OBSERVERS])
def test_containers_are_read_only_and_without_privileges(compose: Document, name: str) -> None:
    container = compose["services"][name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    if name == "init":  # hands files to the account of the others; it sees no network
        assert container["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
        assert container["network_mode"] == "none"
    else:
        assert container["user"] == ("65534:65534" if name == "prometheus" else ACCOUNT)
        assert container.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "gateway" else [])


def test_the_account_is_the_images_and_owns_what_init_writes(compose: Document) -> None:
    _, given = command_of(compose["services"]["init"])
    assert given["owner"] == ACCOUNT
    image = (ROOT / "Dockerfile").read_text()
    assert f"USER {ACCOUNT}" in image
    assert f"--uid {ACCOUNT.partition(':')[0]}" in image


def test_volumes_of_servers_that_are_not_root_are_handed_over(compose: Document) -> None:
    init = compose["services"]["init"]
    _, given = command_of(init)
    mounted = {each.split(":")[1]: each.split(":")[0] for each in init["volumes"]}
    handed = {mounted[str(path)] for path in given["data"]}
    assert handed == {compose["services"][name]["volumes"][0].split(":")[0] for name in NATS} == set(NATS)
    assert mounted[str(given["directory"])] == "./secrets"


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_sees_its_own_secrets_alone(compose: Document, name: str) -> None:
    container = compose["services"][name]
    assert secrets_of(container) == {name: container["environment"]["WATCHWORD_SECRETS"]}
    assert all(each.endswith(":ro") for each in container["volumes"])


def test_the_other_containers_see_no_more_secrets_than_they_need(compose: Document) -> None:
    seen = {name: set(secrets_of(compose["services"][name])) for name in set(compose["services"]) - set(SERVICES)}
    whole = {""}  # they derive the keys, and note the administrator
    assert seen == {
        "init": whole,
        "migrate": whole,
        "provision": {Operator.PROVISION.value},
        "postgres": {"postgres"},
        "nats": {"nats"},
        "nats-2": {"nats"},
        "nats-3": {"nats"},
        "gateway": set(),
        "prometheus": set(),
        "grafana": set(),
    }


def test_every_secret_that_is_mounted_or_named_is_written_by_init(compose: Document, drawn: Path) -> None:
    for name, container in compose["services"].items():
        for directory, target in secrets_of(container).items():
            assert (drawn / directory).is_dir(), f"{name}: {directory}"
            named = [value for key, value in container.get("environment", {}).items() if key.endswith("_FILE")]
            for each in named:
                assert (drawn / directory / Path(each).relative_to(target)).is_file(), f"{name}: {each}"


def test_secret_files_are_named_like_settings(drawn: Path) -> None:
    for service in Service:
        fields = get_type_hints(main_of(service).build)["settings"].model_fields
        required = {name for name, field in fields.items() if field.is_required()}
        assert required <= {path.name for path in (drawn / service).iterdir()}


@pytest.mark.parametrize("name", [*SERVICES, "provision", "migrate"])
def test_every_variable_is_a_setting_or_an_option(compose: Document, name: str) -> None:
    container = compose["services"][name]
    command, _ = command_of(container)
    options = _variables(command)
    settings = {f"{PREFIX}{field.upper()}" for field in ServiceSettings.model_fields}
    assert set(container["environment"]) <= options | settings
    # A job reads options alone, and is given the common variables for the sake of one block.
    if name == "provision":
        assert {"WATCHWORD_SECRETS", "WATCHWORD_NATS_URL", "WATCHWORD_NATS_REPLICAS"} <= options
    if name == "migrate":
        assert {"WATCHWORD_SECRETS", "WATCHWORD_DATABASE_URL", "WATCHWORD_PUBLIC_URL"} <= options


@pytest.mark.parametrize("name", SERVICES)
def test_the_settings_are_valid_and_name_the_other_services(
    compose: Document, drawn: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = compose["services"][name]
    for variable, value in container["environment"].items():
        monkeypatch.setenv(variable, str(value))
    files = {path.name: path.read_text() for path in (drawn / name).iterdir()}
    wanted: type[ServiceSettings] = get_type_hints(main_of(Service(name)).build)["settings"]
    settings = wanted(**files)  # type: ignore[arg-type]  # texts, as the environment gives them
    assert settings.internal_urls == {service: f"http://{service}:8000" for service in SERVICES}
    assert settings.public_url == "http://localhost:8080"
    assert settings.environment == "production"
    assert settings.database_url.get_secret_value().endswith("@postgres:5432/watchword")
    subnets = [compose["networks"][each]["ipam"]["config"][0]["subnet"] for each in ("inside", "outside")]
    assert [str(network) for network in settings.trusted_proxies] == [*subnets, "0.0.0.0/32"]


def test_each_server_and_service_is_really_asked_whether_it_is_well(compose: Document, drawn: Path) -> None:
    checks = {name: each["healthcheck"] for name, each in compose["services"].items() if "healthcheck" in each}
    for name in SERVICES:
        assert checks[name]["test"] == ["CMD", "watchword", "health"]
    for name in (*ONE_SHOT, "provision"):
        assert checks[name] == {"disable": True}
    monitor = re.search(r'^http: "(.+)"$', (drawn / "nats" / "nats.conf").read_text(), re.MULTILINE)
    assert monitor is not None
    for name in NATS:
        assert checks[name]["test"][-1] == f"http://{monitor[1]}/healthz"
    assert "-h" in checks["postgres"]["test"], "the server that prepares the database listens on its socket alone"
    for check in checks.values():
        assert check == {"disable": True} or {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_each_starts_after_what_it_needs(compose: Document) -> None:
    containers = compose["services"]
    for name, container in containers.items():
        for needed, how in container.get("depends_on", {}).items():
            check = containers[needed]["healthcheck"] if needed not in ONE_SHOT else None
            ends = how["condition"] == "service_completed_successfully"
            assert ends == (needed in ONE_SHOT), f"{name} waits for {needed}"
            assert ends or (check is not None and "test" in check)
    for name in SERVICES:
        assert set(containers[name]["depends_on"]) == {"migrate", "nats"}
    assert set(containers["gateway"]["depends_on"]) == set(SERVICES)
    for name in ONE_SHOT:
        assert containers[name]["restart"] == "no"


def test_what_is_published_is_on_loopback(compose: Document) -> None:
    containers = compose["services"]
    assert {name: each["ports"] for name, each in containers.items() if each.get("ports")} == {
        "gateway": ["127.0.0.1:8080:8080"],
        "nats": ["127.0.0.1:4222:4222"],
        "nats-2": ["127.0.0.1:4223:4222"],
        "nats-3": ["127.0.0.1:4224:4222"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_whoever_sends_something_has_a_way_out_and_nobody_else(compose: Document) -> None:
    """authz sends mail, token tells applications of sign-outs, admin sends webhooks, directory asks DNS about domains,
    federation asks providers; all behind the outbound guard. A key-management service and the public URL are the job's.
    """
    assert compose["networks"]["inside"]["internal"] is True
    assert not {"internal"} & set(compose["networks"]["outside"])
    outside = {name for name, each in compose["services"].items() if "outside" in each["networks"]}
    assert outside == {"gateway", "migrate", *SERVICES}


def test_a_client_in_a_private_network_cannot_say_from_where_it_comes() -> None:
    """A proxy of the operator's before the gateway, which adds to X-Forwarded-For what it saw, as nginx does."""
    told = read_compose({"WATCHWORD_GATEWAY_PROXIES": "192.168.7.2/32"})["services"]["authz"]["environment"]
    trusted = [ip_network(each) for each in told["WATCHWORD_TRUSTED_PROXIES"].split()]
    gateway = str(next(trusted[0].hosts()))
    for peer in ("192.168.7.2", "10.213.77.1"):
        said = f"203.0.113.9, 192.168.1.5, {peer}".encode()
        assert client_address([(b"x-forwarded-for", said)], gateway, trusted) == "192.168.1.5"


def test_every_setting_can_be_given_without_changing_the_file(compose: Document) -> None:
    """What compose.yaml does not name stands in a file beside it, for the services and no other container."""
    named = [{"path": "watchword.env", "required": False}]
    containers = compose["services"]
    assert {name for name, each in containers.items() if each.get("env_file")} == {"migrate", *SERVICES}
    assert all(containers[name]["env_file"] == named for name in SERVICES)
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"/watchword.env", "/.env", "/secrets/"} <= set(ignored)


def test_no_container_fills_the_disk_with_its_log_or_takes_all_memory(compose: Document) -> None:
    for name, container in compose["services"].items():
        assert set(container["logging"]["options"]) == {"max-size", "max-file"}, name
    for name in SERVICES:
        assert compose["services"][name]["mem_limit"] == "2g"
        assert compose["services"][name]["pids_limit"] == 512


def test_other_teams_reach_nats_alone_on_a_network_without_a_way_out(compose: Document, drawn: Path) -> None:
    assert {name for name, each in compose["services"].items() if "teams" in each["networks"]} == set(NATS)
    assert compose["networks"]["teams"] == {"driver_opts": {"com.docker.network.bridge.enable_ip_masquerade": "false"}}
    conf = (drawn / "nats" / "nats.conf").read_text()
    assert 'listen: "0.0.0.0:4222"' in conf
    assert 'http: "127.0.0.1:8222"' in conf, "the monitoring endpoint knows no authentication"
    published = read_compose({"WATCHWORD_NATS_PUBLISH": "192.0.2.1:14222"})["services"]["nats"]["ports"]
    assert published == ["192.0.2.1:14222:4222"]


def test_a_grant_can_be_made_in_a_container_and_is_seen_by_its_readers(
    compose: Document, drawn: Path, tmp_path: Path
) -> None:
    """`docker compose run migrate watchword events grant`: what it writes, nats and provision have mounted."""
    migrate, provision = compose["services"]["migrate"], compose["services"]["provision"]
    assert secrets_of(migrate) == {"": migrate["environment"]["WATCHWORD_SECRETS"]}
    assert not any(mount.endswith(":ro") for mount in migrate["volumes"])
    shutil.copytree(drawn, tmp_path / "secrets")
    port = free_port()
    done = CliRunner().invoke(
        app,
        ["events", "grant", "billing"],
        env={"WATCHWORD_SECRETS": str(tmp_path / "secrets"), "WATCHWORD_NATS_URL": f"nats://127.0.0.1:{port}"},
    )
    assert done.exit_code == 1, "no server runs here"
    assert "written down, but not in force" in done.output
    (grant,) = load_grants(tmp_path / "secrets" / next(iter(secrets_of(provision))) / "grants.json")
    assert grant.name == "billing"
    assert grant.public_key in (tmp_path / "secrets" / "nats" / "nats.conf").read_text()
    configure_nats(tmp_path / "secrets", owner=None)
    assert grant.public_key in (tmp_path / "secrets" / "nats" / "nats.conf").read_text(), "init keeps what is granted"
    assert Installation.load(tmp_path / "secrets") == Installation.load(drawn)


def test_every_service_scales(compose: Document) -> None:
    for name in SERVICES:
        container = compose["services"][name]
        assert not {"container_name", "hostname", "ports"} & set(container)
        assert all(":/run/watchword:ro" in each for each in container["volumes"]), "nothing of its own on disk"


def test_every_file_volume_and_network_that_is_named_exists(compose: Document, drawn: Path) -> None:
    for name, container in compose["services"].items():
        for mount in container.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./secrets"):
                assert (drawn / source.removeprefix("./secrets").strip("/")).is_dir(), f"{name}: {source}"
            elif source.startswith("."):
                assert (ROOT / source).is_file(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"
        for network in container["networks"]:
            assert network in compose["networks"]


def test_the_nats_servers_read_what_init_writes(compose: Document, drawn: Path) -> None:
    ha = _ha_environment()
    for text in (compose, read_compose(ha)):
        for name in NATS:
            container = text["services"][name]
            program, option, path = container["command"]
            assert (program, option) == ("nats-server", "-c")
            assert (drawn / "nats" / Path(path).relative_to("/etc/watchword")).is_file()
            assert f'store_dir: "{container["volumes"][0].split(":")[1]}/' in (drawn / "nats/nats.conf").read_text()


def test_three_nats_nodes_are_a_profile(compose: Document) -> None:
    three = read_compose(_ha_environment())["services"]
    profiles = {name: each["profiles"] for name, each in three.items() if "profiles" in each}
    assert profiles == {"nats-2": ["ha"], "nats-3": ["ha"], **{each: ["observability"] for each in OBSERVERS}}
    for name in (*SERVICES, "provision"):
        assert three[name]["environment"]["WATCHWORD_NATS_URL"].split(",") == [f"nats://{node}:4222" for node in NATS]
        assert compose["services"][name]["environment"]["WATCHWORD_NATS_URL"] == "nats://nats:4222"
    assert three["provision"]["environment"]["WATCHWORD_NATS_REPLICAS"] == "3"
    assert {each: three[each]["environment"]["WATCHWORD_NATS_NAME"] for each in NATS} == {each: each for each in NATS}


def test_a_profile_watches_every_instance_and_shows_the_dashboard_to_nobody_else(compose: Document) -> None:
    def read(path: str) -> Document:
        return dict(YAML(typ="safe").load(ROOT / "deploy" / path))

    prometheus, grafana = (compose["services"][name] for name in OBSERVERS)
    mounts = {each.split(":")[1]: each.split(":")[0] for each in (*prometheus["volumes"], *grafana["volumes"])}
    config = read("prometheus/prometheus.yaml")
    assert mounts["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus/prometheus.yaml"
    assert [mounts[each] for each in config["rule_files"]] == ["./deploy/prometheus/alerts.yaml"]
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert (set(found["names"]), found["type"], found["port"]) == (set(SERVICES), "A", MANAGEMENT_PORT)
    assert prometheus["networks"] == ["inside"]
    (source,) = read("grafana/datasources.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (dashboards,) = read("grafana/dashboards.yaml")["providers"]
    shown = f"{dashboards['options']['path']}/watchword.json"
    assert mounts[shown] == "./deploy/grafana/watchword.json"
    environment = grafana["environment"]
    assert environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == shown
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true", "there is no admin:admin"
    assert "masquerade" in str(compose["networks"]["observers"])


def test_an_interrupted_init_is_begun_again(drawn: Path, tmp_path: Path) -> None:
    for path in drawn.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(drawn)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(drawn)).write_text("half")
    (tmp_path / ".unfinished").touch()
    assert not Installation.exists(tmp_path)
    with pytest.raises(BrokenInstallation, match="unfinished"):
        Installation.load(tmp_path)
    fresh = Installation.drawn()
    save_for_containers(fresh, tmp_path, database="postgres:5432/watchword", owner=None)
    assert Installation.opened(tmp_path) == fresh


def test_the_builder_is_sent_no_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*", "nothing but what is named"
    allowed = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    assert allowed == {"pyproject.toml", "uv.lock", "LICENSE", "libs", "services", "watchword"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == allowed


def _variables(command: TyperCommand) -> set[str]:
    """The environment variables that a command's options are read from."""
    found: set[str] = set()
    for parameter in command.params:
        assert isinstance(parameter, TyperOption | TyperArgument)
        names = parameter.envvar or []
        found |= {names} if isinstance(names, str) else set(names)
    return found


def _ha_environment() -> dict[str, str]:
    lines = (ROOT / "deploy" / "ha.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
