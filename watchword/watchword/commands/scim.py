"""`watchword scim`: with what other systems push people and groups, and what they were refused."""

import json
from typing import Annotated, Any

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, Token, Url, Yes, confirm, remote, say, show, told

app = typer.Typer(help="SCIM tokens.", no_args_is_help=True)

_COLUMNS = ("id", "name", "organization", "provider_id", "last_used_at", "expires_at")
_FAILURES = ("at", "method", "path", "status", "detail")
Which = Annotated[str, typer.Argument(help="Which token, from `watchword scim list`")]


@app.command("list")
def list_tokens(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All tokens, with when each was used last."""
    with remote(data_dir, url, token) as installation:
        show(installation.items("/scim-tokens"), _COLUMNS, as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Which system has it")],
    organization: Annotated[str | None, typer.Option(help="Whose people and groups it reaches; left out: all")] = None,
    provider: Annotated[str | None, typer.Option(help="Id of a provider with which it ends")] = None,
    expires_at: Annotated[str | None, typer.Option(help="2027-01-31T00:00:00Z; never when left out")] = None,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once."""
    given = {"organization": organization, "provider_id": provider, "expires_at": expires_at}
    body: dict[str, Any] = {"name": name} | {key: value for key, value in given.items() if value is not None}
    with remote(data_dir, url, token) as installation:
        made = installation.call("POST", "/scim-tokens", body)
    say(json.dumps(made) if as_json else str(made["token"]))


@app.command()
def failures(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """What a token was refused lately, the newest first."""
    with remote(data_dir, url, token) as installation:
        show(installation.items(f"/scim-tokens/{which}/failures"), _FAILURES, as_json=as_json)


@app.command("revoke")
def revoke_token(
    which: Which,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Whoever has the token is refused from now on."""
    confirm(f"Revoke {which}? Whoever has it is refused at once.", yes)
    with remote(data_dir, url, token) as installation:
        installation.call("DELETE", f"/scim-tokens/{which}")
    told(f"revoked {which}", {"revoked": which}, as_json=as_json)
