"""The command `watchword`. The only place that reads the environment and the command line."""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

# Nothing heavy up here: `watchword health` runs every few seconds in each container.
from watchword.embedded.process import StartError
from watchword_events.names import Service

app = typer.Typer(
    name="watchword",
    help="Self-hosted single sign-on whose revocations reach everyone in milliseconds.",
    no_args_is_help=True,
    add_completion=False,
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

    options = supervisor.Options(
        data_dir=data_dir.absolute(),
        port=port,
        workers=workers,
        demo=demo,
        environment=dict(os.environ),
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
    from watchword.containers import give, save_for_containers
    from watchword.installation import Installation

    if owner is not None:
        give(owner, data or ())
    if Installation.exists(directory):
        _say(f"{directory} holds the secrets of an installation; nothing was changed.")
        return
    save_for_containers(Installation.drawn(), directory, database=database, owner=owner)
    _say(f"Secrets are in {directory}. Back them up: without master.key the database cannot be read.")


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

    seed = _from_directory(secrets).get("nats_seed") or os.environ.get(f"{PREFIX}NATS_SEED")
    if not seed:
        _fail(f"no NATS seed: set WATCHWORD_SECRETS to the provisioner's directory, or {PREFIX}NATS_SEED")
    asyncio.run(provision_for(nats_url, seed, watching=watch, replicas=replicas, say=_say))


@app.command("apply")
def apply_documents(
    files: Annotated[list[Path], typer.Option("--file", "-f", help="YAML with documents; may be repeated")],
    data_dir: DataDir = DATA_DIR,
    url: Annotated[str | None, typer.Option(help="The issuer; read from access.json when left out")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="WATCHWORD_ADMIN_TOKEN", help="An administrator's API key; as above")
    ] = None,
    set_secrets: Annotated[
        bool, typer.Option("--set-secrets", help="Send secrets and passwords for what exists, too")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per document")] = False,
) -> None:
    """Create or update clients, identity providers and users as YAML documents describe them."""
    from watchword import apply

    if url is None or token is None:
        access = _access(data_dir)
        url, token = url or access["issuer"], token or access["admin_token"]
    try:
        documents = [document for file in files for document in apply.read(file)]
        for done in apply.apply(documents, url=url, token=token, set_secrets=set_secrets):
            if as_json:
                _say(json.dumps({name: value for name, value in asdict(done).items() if value is not None}))
            else:
                shown = f"   secret: {done.secret} (shown once)" if done.secret else ""
                _say(f"{done.result:<9} {done.kind} {done.name} ({done.id}){shown}")
    except apply.ApplyError as error:
        _fail(str(error))


@app.command()
def health(
    port: Annotated[int, typer.Option(envvar="WATCHWORD_MANAGEMENT_PORT")] = MANAGEMENT_PORT,
) -> None:
    """Say whether the instance on this machine is ready; the exit code tells a container's health check."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            _say(answer.read().decode())
    except urllib.error.HTTPError as error:
        _fail(error.read().decode())
    except OSError as error:
        _fail(f"no answer on port {port}: {error}")


def _access(data_dir: Path) -> dict[str, str]:
    path = data_dir / "access.json"
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        _fail(f"{path} is not there: start `watchword up`, or give --url and --token")
    except (OSError, ValueError) as error:
        _fail(f"{path}: {error}")


def _from_directory(secrets: Path | None) -> dict[str, str]:
    """Settings from files that are named like them; the environment goes first."""
    if secrets is None:
        return {}
    try:
        files = {path.name: path.read_text().strip() for path in sorted(secrets.iterdir()) if path.is_file()}
    except OSError as error:
        _fail(f"WATCHWORD_SECRETS: cannot read {error.filename}: {error.strerror}")
    return {
        name: text
        for name, text in files.items()
        if not {f"{PREFIX}{name.upper()}", f"{PREFIX}{name.upper()}_FILE"} & set(os.environ)
    }


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(why: str) -> NoReturn:
    print(f"watchword: {why}", file=sys.stderr, flush=True)
    raise typer.Exit(1)
