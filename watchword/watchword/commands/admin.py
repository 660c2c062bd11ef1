"""`watchword admin`: a way in with access to the database alone, when nobody can sign in to give one."""

import asyncio
import secrets as random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, access_of, fail, progress, say, told
from watchword.commands.restore import DATABASE_URL, NATS_URL, DatabaseUrl, PgBin, Secrets
from watchword.embedded.process import StartError
from watchword_events.names import Service

if TYPE_CHECKING:
    from watchword.reach import Reach

app = typer.Typer(help="A way in with access to the database alone.", no_args_is_help=True)

Username = Annotated[str, typer.Argument(help="Under which they sign in")]
PublicUrl = Annotated[
    str | None, typer.Option(envvar="WATCHWORD_PUBLIC_URL", help="The issuer, for the link; known while it runs here")
]
_ISSUER = "http://localhost:8080"


@app.command()
def invite(
    username: Username = "admin",
    email: Annotated[str | None, typer.Option(help="Their address; it counts as verified")] = None,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    public_url: PublicUrl = None,
    pg_bin: PgBin = None,
    as_json: AsJson = False,
) -> None:
    """Make somebody an owner, new or not, and show a link with which they choose their password, once."""
    with reached(data_dir, secrets, database_url, pg_bin) as reach:
        ticket = asyncio.run(_invited(reach, username, email))
        _show(ticket, reach, data_dir, public_url, as_json=as_json)


@app.command()
def reset(
    username: Username = "admin",
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    public_url: PublicUrl = None,
    pg_bin: PgBin = None,
    as_json: AsJson = False,
) -> None:
    """Forget somebody's second factors and passkeys, and show a link with which they choose a new password, once."""
    with reached(data_dir, secrets, database_url, pg_bin) as reach:
        ticket = asyncio.run(_reset(reach, username))
        if ticket is None:
            fail(f"There is no active user {username}.")
        _show(ticket, reach, data_dir, public_url, as_json=as_json)


@app.command()
def key(
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    pg_bin: PgBin = None,
    as_json: AsJson = False,
) -> None:
    """Give the first administrator a new API key, where the old one ended with everything else."""
    with reached(data_dir, secrets, database_url, pg_bin) as reach:
        if not asyncio.run(_renewed(reach)):
            fail(f"Who is noted in {reach.admin_file} is no active administrator: `watchword admin invite` makes one.")
        told(f"The new key is in {reach.admin_file}.", {"file": str(reach.admin_file)}, as_json=as_json)


@contextmanager
def reached(data_dir: Path, secrets: Path | None, database_url: str, pg_bin: str | None) -> Iterator["Reach"]:
    """The database of the installation, also while nothing of it runs. Ends the command where there is none."""
    from watchword.installation import BrokenInstallation
    from watchword.reach import reach_of_data, reach_of_secrets
    from watchword_runtime import logging

    logging.configure("admin", "error", sys.stderr)
    try:
        with ExitStack() as stack, progress("Working in the database"):
            if secrets is not None:
                yield reach_of_secrets(secrets.absolute(), database_url=database_url, nats_url=NATS_URL)
            else:
                yield stack.enter_context(reach_of_data(data_dir.absolute(), start=True, pg_bin=pg_bin))
    except (BrokenInstallation, StartError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"PostgreSQL cannot be reached: {error}")


async def _renewed(reach: "Reach") -> bool:
    import asyncpg

    from watchword.bootstrap import access_document
    from watchword.embedded.process import write_private
    from watchword.restore import renewed

    connection = await asyncpg.connect(reach.url)
    try:
        administrator = await renewed(connection, reach.admin_file, reach.urls, now=datetime.now(UTC))
    finally:
        await connection.close()
    if administrator is not None and reach.access is not None:
        noted = access_of(reach.access.parent)
        told = {name: noted[name] for name in ("issuer", "console", "nats_url")}
        write_private(reach.access, access_document(administrator, **told))
    return administrator is not None


async def _invited(reach: "Reach", username: str, email: str | None) -> str:
    from watchword_database.engine import Database
    from watchword_directory.bootstrap import ensure_administrator
    from watchword_runtime.passwords import Passwords

    now, passwords = datetime.now(UTC), Passwords()
    directory = Database(reach.urls[Service.DIRECTORY], service=Service.DIRECTORY, pool_size=1)
    try:
        # A password that nobody knows: the link is the way in.
        made = await ensure_administrator(
            directory, username=username, email=email, password=random.token_urlsafe(32), passwords=passwords, now=now
        )
    finally:
        passwords.close()
        await directory.dispose()
    return await _opened(reach, made.user_id, forget=False)


async def _reset(reach: "Reach", username: str) -> str | None:
    from watchword_database.engine import Database, transaction
    from watchword_directory import store
    from watchword_policy.identifiers import canonical_username

    directory = Database(reach.urls[Service.DIRECTORY], service=Service.DIRECTORY, pool_size=1)
    try:
        async with transaction(directory) as session:
            user = await store.find_user_by_username(session, canonical_username(username))
    finally:
        await directory.dispose()
    return None if user is None or not user.active else await _opened(reach, user.id, forget=True)


async def _opened(reach: "Reach", user_id: str, *, forget: bool) -> str:
    from watchword_authz.break_glass import open_again
    from watchword_database.engine import Database

    authz = Database(reach.urls[Service.AUTHZ], service=Service.AUTHZ, pool_size=1)
    try:
        return await open_again(authz, user_id, forget=forget, now=datetime.now(UTC))
    finally:
        await authz.dispose()


def _show(ticket: str, reach: "Reach", data_dir: Path, public_url: str | None, *, as_json: bool) -> None:
    issuer = public_url or (access_of(data_dir)["issuer"] if reach.access is not None else _ISSUER)
    link = f"{issuer}/login/reset?ticket={ticket}"
    if not as_json:
        say("Open this link within three days; it works once:")
    told(link, {"link": link}, as_json=as_json)
