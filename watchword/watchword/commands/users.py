"""`watchword users`: who there is, and who may sign in."""

import re
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from watchword.commands.remote import (
    DATA_DIR,
    AsJson,
    DataDir,
    Remote,
    Token,
    Url,
    Yes,
    confirm,
    remote,
    show,
    tell,
    told,
)

app = typer.Typer(help="People.", no_args_is_help=True)

_COLUMNS = ("username", "name", "email", "active", "groups", "roles", "id")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Who = Annotated[str, typer.Argument(help="User name or id")]


@app.command("list")
def list_users(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Everybody, by name."""
    with remote(data_dir, url, token) as installation:
        show(installation.items("/users"), _COLUMNS, as_json=as_json)


@app.command("show")
def show_user(
    who: Who, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """One person."""
    with remote(data_dir, url, token) as installation:
        tell(_find(installation, who), as_json=as_json)


@app.command()
def create(
    username: Annotated[str, typer.Argument(help="Under which they sign in")],
    email: Annotated[str | None, typer.Option(help="Their address; it counts as verified")] = None,
    name: Annotated[str | None, typer.Option(help="What they are called")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group, made if need be; may be repeated")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read a password from stdin")] = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make somebody, who may sign in at once."""
    body: dict[str, Any] = {"username": username, "email": email, "name": name, "groups": group or []}
    if password_stdin:
        body["password"] = sys.stdin.readline().rstrip("\r\n")
    with remote(data_dir, url, token) as installation:
        tell(installation.call("POST", "/users", body), as_json=as_json)


@app.command()
def disable(
    who: Who, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """End everything of a person at once, everywhere; nobody signs in as them until they are enabled."""
    _switch(who, data_dir, url, token, as_json=as_json, active=False)


@app.command()
def enable(
    who: Who, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Let a person sign in again; what they had before stays ended."""
    _switch(who, data_dir, url, token, as_json=as_json, active=True)


@app.command()
def delete(
    who: Who,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete a person with all that is theirs, for ever."""
    with remote(data_dir, url, token) as installation:
        found = _find(installation, who)
        confirm(f"Delete {found['username']} for ever?", yes)
        installation.call("DELETE", f"/users/{found['id']}")
        told(f"deleted {found['username']}", {"deleted": found["id"]}, as_json=as_json)


def _switch(who: str, data_dir: Any, url: str | None, token: str | None, *, as_json: bool, active: bool) -> None:
    with remote(data_dir, url, token) as installation:
        found = _find(installation, who)
        tell(installation.call("PATCH", f"/users/{found['id']}", {"active": active}), as_json=as_json)


def _find(installation: Remote, who: str) -> dict[str, Any]:
    named = installation.call("GET", "/users", params={"username": who})["items"] if not _ID.fullmatch(who) else []
    return dict(named[0]) if named else dict(installation.call("GET", f"/users/{quote(who, safe='')}"))
