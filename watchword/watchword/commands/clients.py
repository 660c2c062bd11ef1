"""`watchword clients`: which applications there are, and which may be used."""

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
    fail,
    remote,
    show,
    tell,
    told,
)

app = typer.Typer(help="Applications.", no_args_is_help=True)

_COLUMNS = ("client_name", "short_name", "kind", "enabled", "client_id")
_LONGEST_SHORT_NAME = 64
Which = Annotated[str, typer.Argument(help="client_id, short name or name")]


@app.command("list")
def list_clients(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All clients, by name; also those that registered themselves."""
    with remote(data_dir, url, token) as installation:
        show(installation.items("/clients"), _COLUMNS, as_json=as_json)


@app.command("show")
def show_client(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """One client, without its secrets."""
    with remote(data_dir, url, token) as installation:
        tell(find(installation, which), as_json=as_json)


@app.command()
def create(
    client_name: Annotated[str, typer.Argument(help="What people see")],
    redirect_uri: Annotated[list[str] | None, typer.Option(help="Where sign-ins return to; may be repeated")] = None,
    short_name: Annotated[str | None, typer.Option(help="What documents and rules call it")] = None,
    scope: Annotated[str | None, typer.Option(help="Scopes that it may ask for")] = None,
    public: Annotated[bool, typer.Option("--public", help="Without a secret: in a browser or on a phone")] = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Register a client; its secret is shown this once."""
    body: dict[str, Any] = {"client_name": client_name, "redirect_uris": redirect_uri or []}
    body |= {} if short_name is None else {"short_name": short_name}
    body |= {} if scope is None else {"scope": scope}
    body |= {"token_endpoint_auth_method": "none"} if public else {}
    with remote(data_dir, url, token) as installation:
        tell(installation.call("POST", "/clients", body), as_json=as_json)


@app.command()
def disable(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """End everything that a client was issued, at once; nobody signs in to it until it is enabled."""
    _switch(which, data_dir, url, token, as_json=as_json, enabled=False)


@app.command()
def enable(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Let a client be used again; what it had before stays ended."""
    _switch(which, data_dir, url, token, as_json=as_json, enabled=True)


@app.command()
def delete(
    which: Which,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete a client with everything that it was issued; its id is never used again."""
    with remote(data_dir, url, token) as installation:
        found = find(installation, which)
        confirm(f"Delete the client {found['client_name']}?", yes)
        installation.call("DELETE", _path(installation, found))
        told(f"deleted {found['client_name']}", {"deleted": found["client_id"]}, as_json=as_json)


def _switch(which: str, data_dir: Any, url: str | None, token: str | None, *, as_json: bool, enabled: bool) -> None:
    with remote(data_dir, url, token) as installation:
        found = find(installation, which)
        tell(installation.call("PATCH", _path(installation, found), {"enabled": enabled}), as_json=as_json)


def _path(installation: Remote, client: dict[str, Any]) -> str:
    """Where the client is changed; a document on the web has a collection of its own, because its id is a URL."""
    if client["kind"] != "document":
        return f"/clients/{client['client_id']}"
    found = installation.call("GET", "/client-documents", params={"client_id": client["client_id"]})["items"]
    return f"/client-documents/{quote(found[0]['id'], safe='')}"


def find(installation: Remote, which: str) -> dict[str, Any]:
    """The client. Ends the command when there is none, or more than one."""
    found: list[dict[str, Any]] = []
    for name in ("client_id", "short_name", "client_name"):
        if not found and (name != "short_name" or len(which) <= _LONGEST_SHORT_NAME):
            found = installation.call("GET", "/clients", params={name: which})["items"]
    if not found:
        fail(f"there is no client {which}")
    if len(found) > 1:
        fail(f"several clients are called {which}: name one by its client_id")
    return found[0]
