"""The command `watchword`. The only place that reads the environment and the command line."""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, NoReturn

import typer

# Nothing heavy up here: `watchword health` runs every few seconds in each container.
from watchword.commands import admin, audit, clients, declare, events, keys, master_key, providers, rules, scim, users
from watchword.commands.doctor import doctor
from watchword.commands.login import login
from watchword.commands.restore import restore
from watchword.commands.revoke import revoke
from watchword.embedded.process import StartError
from watchword_events.names import Service
from watchword_runtime.settings import from_directory

app = typer.Typer(
    name="watchword",
    help="Self-hosted single sign-on whose revocations reach everyone in milliseconds.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they hold secrets
)

# Of every setting. Not imported from `watchword_runtime.settings`: the supervisor has no use for all that it loads.
PREFIX = "WATCHWORD_"
DATA_DIR = Path(".data")
MANAGEMENT_PORT = 9000

DataDir = Annotated[Path, typer.Option(help="Where everything is kept", file_okay=False)]
Secrets = Annotated[
    Path | None, typer.Option(envvar="WATCHWORD_SECRETS", help="Directory with secrets, from `watchword init`")
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"watchword {version('watchword')}")
        raise typer.Exit


@app.callback()
def environment(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end")
    ] = False,
) -> None:
    """Commands in modules of their own find the environment in the context."""
    context.obj = dict(os.environ)


@app.command()
def up(
    data_dir: DataDir = DATA_DIR,
    port: Annotated[int, typer.Option(help="Port of the one origin; 0 for any free one", min=0, max=65535)] = 8080,
    workers: Annotated[int, typer.Option(help="Processes, each serving all five services", min=1, max=64)] = 1,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Also start the demo application")] = True,
    public_url: Annotated[str | None, typer.Option(envvar="WATCHWORD_PUBLIC_URL", help="The issuer")] = None,
    pg_bin: Annotated[str | None, typer.Option(envvar="WATCHWORD_PG_BIN", help="PostgreSQL's bin directory")] = None,
    nats_bin: Annotated[str | None, typer.Option(envvar="WATCHWORD_NATS_BIN", help="The nats-server program")] = None,
) -> None:
    """Run everything here, with embedded PostgreSQL and NATS, until Ctrl-C."""
    from watchword import supervisor
    from watchword.installation import BrokenInstallation

    environment = _environment()
    options = supervisor.Options(
        data_dir=data_dir.absolute(),
        port=port,
        workers=workers,
        demo=demo,
        environment=environment,
        public_url=public_url,
        pg_bin=pg_bin,
        nats_bin=nats_bin,
    )
    try:
        asyncio.run(supervisor.up(options, say=_say))
    except (StartError, BrokenInstallation) as error:
        _fail(str(error))


@app.command()
def serve(
    service: Annotated[Service, typer.Argument(help="Which of the five")],
    port: Annotated[int, typer.Option(help="Port for requests", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 in a container")] = "127.0.0.1",
    management_port: Annotated[
        int, typer.Option(envvar="WATCHWORD_MANAGEMENT_PORT", help="Port for /livez, /readyz and /metrics")
    ] = MANAGEMENT_PORT,
    secrets: Secrets = None,
) -> None:
    """Run one instance of one service; its settings come from the environment (WATCHWORD_…)."""
    from watchword import lean
    from watchword.sockets import listen

    try:
        public, management = listen(port, (host,)), listen(management_port, (host,))
    except StartError as error:
        _fail(str(error))
    orders = {
        "settings": {service: _from_directory(secrets)},
        "listen_fds": [each.detach() for each in public],
        "management_fd": management[0].detach(),
        "alone": True,
    }
    lean.replace_process([service], json.dumps(orders).encode())


@app.command()
def init(
    directory: Annotated[Path, typer.Option(help="Where the secrets go", file_okay=False)] = Path("secrets"),
    database: Annotated[str, typer.Option(help="host:port/name of PostgreSQL")] = "postgres:5432/watchword",
    owner: Annotated[str | None, typer.Option(help="uid:gid that the services run under")] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Directory that the owner keeps data in; may be repeated", file_okay=False)
    ] = None,
) -> None:
    """Draw the secrets of a new installation for `docker compose`; existing ones are never touched."""
    from watchword.containers import configure_nats, give, save_for_containers
    from watchword.installation import BrokenInstallation, Installation, seal_root

    environment = _environment()
    if owner is not None:
        give(owner, data or ())
    try:
        if Installation.exists(directory):
            seal_root(directory, environment)
            configure_nats(directory, owner=owner)
            _say(f"{directory} holds the secrets of an installation; nothing was changed.")
            return
        drawn = Installation.drawn()
        save_for_containers(drawn, directory, database=database, owner=owner, environment=environment)
    except BrokenInstallation as error:
        _fail(str(error))
    _say(f"Secrets are in {directory}. Back them up: without root.sealed and the master key the database is lost.")


@app.command()
def migrate(
    secrets: Secrets = None,
    database_url: Annotated[
        str, typer.Option(envvar="WATCHWORD_DATABASE_URL", help="PostgreSQL as its superuser; no password needed")
    ] = "postgresql://postgres@127.0.0.1:5432/watchword",
    admin_file: Annotated[Path | None, typer.Option(help="Where the first administrator is noted")] = None,
    public_url: Annotated[
        str, typer.Option(envvar="WATCHWORD_PUBLIC_URL", help="The issuer")
    ] = "http://localhost:8080",
) -> None:
    """Bring the database up to date, and make the first administrator when asked for."""
    from watchword.containers import migrate_once
    from watchword.installation import BrokenInstallation, Installation

    if secrets is None:
        _fail("name the directory of `watchword init` with --secrets")
    try:
        asyncio.run(
            migrate_once(Installation.load(secrets), database_url, public_url=public_url, admin_file=admin_file)
        )
    except (BrokenInstallation, OSError) as error:
        _fail(str(error))


@app.command()
def provision(
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and re-create what is missing")] = False,
    secrets: Secrets = None,
    nats_url: Annotated[str, typer.Option(envvar="WATCHWORD_NATS_URL")] = "nats://127.0.0.1:4222",
    replicas: Annotated[int, typer.Option(envvar="WATCHWORD_NATS_REPLICAS", help="3 in a cluster")] = 1,
) -> None:
    """Create the streams and durable consumers of the catalogue."""
    from watchword.containers import provision_for
    from watchword.grants import GRANTS_FILE

    seed = _from_directory(secrets).get("nats_seed") or os.environ.get(f"{PREFIX}NATS_SEED")
    if not seed:
        _fail(f"no NATS seed: set WATCHWORD_SECRETS to the provisioner's directory, or {PREFIX}NATS_SEED")
    grants = None if secrets is None else secrets / GRANTS_FILE
    asyncio.run(provision_for(nats_url, seed, watching=watch, replicas=replicas, grants=grants, say=_say))


@app.command()
def health(
    port: Annotated[int, typer.Option(envvar="WATCHWORD_MANAGEMENT_PORT")] = MANAGEMENT_PORT,
) -> None:
    """Say whether the instance on this machine is ready; the exit code tells a container's health check."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # HTTP_PROXY is not for this machine
    try:
        with direct.open(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            _say(answer.read().decode())
    except urllib.error.HTTPError as error:
        _fail(error.read().decode())
    except OSError as error:
        _fail(f"no answer on port {port}: {error}")


app.add_typer(users.app, name="users")
app.add_typer(clients.app, name="clients")
app.add_typer(providers.app, name="providers")
app.add_typer(rules.app, name="rules")
app.add_typer(scim.app, name="scim")
app.add_typer(keys.app, name="keys")
app.add_typer(events.app, name="events")
app.add_typer(audit.app, name="audit")
app.add_typer(admin.app, name="admin")
app.add_typer(master_key.app, name="master-key")
app.command()(revoke)
app.command()(restore)
app.command()(doctor)
app.command()(login)
app.command()(declare.apply)
app.command()(declare.plan)
app.command()(declare.drift)
app.command()(declare.export)


def _environment() -> dict[str, str]:
    """The environment, of which children inherit all but the master key."""
    from watchword.master_key import VARIABLES

    found = dict(os.environ)
    for name in VARIABLES:
        os.environ.pop(name, None)
    return found


def _from_directory(secrets: Path | None) -> dict[str, str]:
    """Settings from files that are named like them. Ends the command where they cannot be read."""
    try:
        return {} if secrets is None else from_directory(secrets)
    except OSError as error:
        _fail(f"WATCHWORD_SECRETS: cannot read {error.filename}: {error.strerror}")


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(why: str) -> NoReturn:
    print(f"watchword: {why}", file=sys.stderr, flush=True)
    raise typer.Exit(1)
