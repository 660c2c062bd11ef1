"""`watchword doctor`: what is wrong with this installation, and what to do."""

import asyncio
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, access_of, progress, say
from watchword.commands.restore import DATABASE_URL, NATS_URL, DatabaseUrl, NatsUrl, Secrets
from watchword.embedded.process import StartError

if TYPE_CHECKING:
    from watchword.doctor import Finding


def doctor(
    context: typer.Context,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    nats_url: NatsUrl = NATS_URL,
    replicas: Annotated[int, typer.Option(envvar="WATCHWORD_NATS_REPLICAS", help="3 in a cluster")] = 1,
    url: Annotated[
        str | None, typer.Option(envvar="WATCHWORD_PUBLIC_URL", help="The issuer; read from access.json when left out")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at this machine, secrets, servers and the public URL; the exit code is 1 when something is wrong."""
    from watchword.containers import UnusableUrl
    from watchword.doctor import Finding, Level, of_the_servers, on_this_machine
    from watchword.installation import BrokenInstallation
    from watchword.outgoing import at_the_mail_server
    from watchword.public_face import at_the_public_url
    from watchword.reach import reach_of_data, reach_of_secrets
    from watchword_runtime import logging

    logging.configure("doctor", "error", sys.stderr)
    directory = (data_dir / "secrets" if secrets is None else secrets).absolute()
    found = on_this_machine(directory, context.obj)
    try:
        with ExitStack() as stack, progress("Looking at secrets and servers"):
            if secrets is not None:
                reach = reach_of_secrets(directory, database_url=database_url, nats_url=nats_url)
            else:
                reach = stack.enter_context(reach_of_data(data_dir.absolute(), start=False))
            found += asyncio.run(of_the_servers(reach, replicas=replicas))
            found.append(asyncio.run(at_the_mail_server(directory / "authz")))
            if url is None and reach.access is not None:
                url = access_of(data_dir)["issuer"]
    except UnusableUrl as error:
        found.append(Finding("postgresql", Level.ERROR, str(error), "correct it in the environment or the option"))
    except BrokenInstallation as error:
        found.append(Finding("installation", Level.ERROR, str(error), "restore it from your back-up"))
    except StartError as error:
        found.append(Finding("servers", Level.WARNING, str(error), "the other checks need it"))
    if url is not None:
        with progress(f"Looking at {url}"):
            found += asyncio.run(at_the_public_url(url.rstrip("/"), in_container=secrets is not None))
    if as_json:
        say(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _show(found)
    if any(each.level is Level.ERROR for each in found):
        raise typer.Exit(1)


def _show(found: "list[Finding]") -> None:
    for each in found:
        say(f"{each.level:<8} {each.check:<11} {each.said}")
        if each.remedy:
            say(f"{'':<20} → {each.remedy}")
