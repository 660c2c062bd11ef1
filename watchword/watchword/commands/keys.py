"""`watchword keys`: which keys there are, rotating them, revoking one in an emergency."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from watchword.commands.remote import (
    DATA_DIR,
    AsJson,
    DataDir,
    Token,
    Url,
    Yes,
    check_everywhere,
    confirm,
    remote,
    say,
    show,
)

app = typer.Typer(help="Signing and encryption keys.", no_args_is_help=True)

_COLUMNS = ("kid", "use", "alg", "state", "created_at", "activated_at", "retire_at", "waiting_for")
Use = Annotated[str, typer.Option(help="sig: keys that sign; enc: the key of opaque tokens")]


@app.command("list")
def list_keys(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All keys with their state; for a next one, who does not know it yet."""
    with remote(data_dir, url, token) as installation:
        show(installation.items("/keys"), _COLUMNS, as_json=as_json)


@app.command()
def rotate(
    use: Use = "sig",
    alg: Annotated[str | None, typer.Option(help="Of one algorithm only: ES256, RS256 or EdDSA")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="At once, and end all that the old ones made")] = False,
    sessions: Annotated[bool, typer.Option("--sessions", help="With --revoke: sign everybody out as well")] = False,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Publish the next keys; they take over when everyone who checks tokens knows them."""
    body: dict[str, Any] = {"use": use, "revoke": revoke, "sessions": sessions}
    if revoke:
        everybody = " Everybody is signed out." if sessions else ""
        confirm(f"Revoke the keys that are in use? Every token that they made is dead.{everybody}", yes)
    with remote(data_dir, url, token) as installation:
        made = installation.call("POST", "/keys/rotate", body if alg is None else {**body, "alg": alg})
    show(made["items"], _COLUMNS, as_json=as_json)


# A key's id may begin with a dash.
@app.command("revoke", context_settings={"ignore_unknown_options": True})
def revoke_key(
    kid: Annotated[str, typer.Argument(help="Which key, from `watchword keys list`")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when nobody accepts what it made")] = False,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """End everything that a key made, for ever; its successor takes over at once."""
    confirm(f"Revoke the key {kid} for ever? Every token that it made is dead.", yes)
    with remote(data_dir, url, token, timeout_s=90) as installation:
        done = installation.call(
            "POST", f"/keys/{quote(kid, safe='')}/revoke", params={"wait": "all"} if wait else None
        )
    if as_json:
        say(json.dumps(done))
    elif done.get("complete") is not False:
        say(f"revoked {kid}")
    check_everywhere(f"revoked {kid}", done)
