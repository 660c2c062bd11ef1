"""The first data of an installation: an administrator with a generated password and an API key, and the console."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from watchword.embedded.process import write_private
from watchword_events.names import Service

USERNAME = "admin"


@dataclass(frozen=True)
class Administrator:
    """Who may configure everything. admin_token: a personal API key."""

    username: str
    password: str = field(repr=False)
    admin_token: str = field(repr=False)


async def administrator(path: Path, databases: Mapping[Service, str], *, now: datetime) -> Administrator:
    """The first administrator, from `path`; made and noted there when there is none yet.

    The password is on disk before the user exists, so that an interrupted first start goes on with the same one.
    databases: URLs as the roles of directory and token.
    """
    noted = _read(path)
    if not noted.get("admin_token"):
        noted = {"username": USERNAME, "password": noted.get("password") or secrets.token_urlsafe(15)}
        write_private(path, json.dumps(noted))
        noted["admin_token"] = await _make(noted["password"], databases, now)
        write_private(path, json.dumps(noted))
    return noted_administrator(path)


def noted_administrator(path: Path) -> Administrator:
    """The first administrator as administrator() noted it. Raises KeyError when that has not happened."""
    noted = _read(path)
    return Administrator(noted["username"], noted["password"], noted["admin_token"])


def noted_username(path: Path) -> str | None:
    """The first administrator's name; None when none is noted."""
    return _read(path).get("username")


async def _make(password: str, databases: Mapping[Service, str], now: datetime) -> str:
    # Only a first start needs this code.
    from watchword_database.engine import Database
    from watchword_directory.bootstrap import ensure_administrator
    from watchword_runtime.passwords import Passwords
    from watchword_token.bootstrap import create_admin_key

    directory = Database(databases[Service.DIRECTORY], service=Service.DIRECTORY, pool_size=1)
    token = Database(databases[Service.TOKEN], service=Service.TOKEN, pool_size=1)
    passwords = Passwords()
    try:
        made = await ensure_administrator(directory, username=USERNAME, password=password, passwords=passwords, now=now)
        return await create_admin_key(token, user_id=made.user_id, now=now)
    finally:
        passwords.close()
        await directory.dispose()
        await token.dispose()


async def renew_administrator(
    path: Path, databases: Mapping[Service, str], *, user_id: str, now: datetime
) -> Administrator:
    """The first administrator has a new API key, noted in `path` in place of one that has ended. user_id: theirs."""
    from watchword_database.engine import Database
    from watchword_token.bootstrap import create_admin_key

    token = Database(databases[Service.TOKEN], service=Service.TOKEN, pool_size=1)
    try:
        shown = await create_admin_key(token, user_id=user_id, now=now, name="renewed")
    finally:
        await token.dispose()
    write_private(path, json.dumps({**_read(path), "admin_token": shown}))
    return noted_administrator(path)


async def console(database: str, *, public_url: str, now: datetime) -> None:
    """The administration console can sign people in at this public URL. database: URL as the role of admin."""
    from watchword_admin.bootstrap import ensure_own_clients
    from watchword_database.engine import Database

    admin = Database(database, service=Service.ADMIN, pool_size=1)
    try:
        await ensure_own_clients(admin, public_url=public_url, now=now)
    finally:
        await admin.dispose()


def _read(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def access_document(administrator: Administrator, *, issuer: str, console: str, nats_url: str) -> str:
    """What `access.json` holds."""
    shown = {"issuer": issuer, "console": console, "nats_url": nats_url, **asdict(administrator)}
    return json.dumps(shown, indent=2) + "\n"
