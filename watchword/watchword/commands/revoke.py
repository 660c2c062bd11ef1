"""`watchword revoke`: end a token, a grant, a session, a person's access, a client's, a provider's, or everything."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

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
    fail,
    remote,
    say,
    show,
    tell,
)

Value = str | None


def revoke(
    token_id: Annotated[Value, typer.Option("--token-id", help="jti of one access token")] = None,
    grant: Annotated[Value, typer.Option(help="gid: a grant with all its tokens")] = None,
    session: Annotated[Value, typer.Option(help="sid: a session with all that descends from it")] = None,
    user: Annotated[Value, typer.Option(help="Id of a person: signed out everywhere")] = None,
    client: Annotated[Value, typer.Option(help="client_id: all that a client holds")] = None,
    provider: Annotated[Value, typer.Option(help="Id of a provider: all that descends from it")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everybody and everything")] = False,
    issued_before: Annotated[
        datetime | None, typer.Option(help="Only what was issued before this time, UTC unless it says otherwise")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would end")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when nobody accepts it any more")] = False,
    timeout_s: Annotated[float, typer.Option(help="With --wait: at the latest after so many seconds")] = 10.0,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """End what matches, everywhere, in milliseconds."""
    named = {
        "jti": token_id,
        "gid": grant,
        "sid": session,
        "sub": user,
        "client_id": client,
        "idp": provider,
        "all": "" if everything else None,
    }
    chosen = [(claim, value) for claim, value in named.items() if value is not None]
    if len(chosen) != 1:
        fail("name exactly one thing to end, for example --user ID")
    claim, value = chosen[0]
    body: dict[str, Any] = {"claim": claim} if claim == "all" else {"claim": claim, "value": value}
    if claim == "all":
        body["value"] = None
    if issued_before is not None:
        body["issued_before"] = issued_before.isoformat() + ("" if issued_before.tzinfo else "Z")
    params = {"dry_run": "true"} if dry_run else {}
    if wait and not dry_run:
        params |= {"wait": "all", "timeout_s": str(timeout_s)}
    with remote(data_dir, url, token, timeout_s=90) as installation:
        if claim == "all" and not dry_run:
            confirm("End everything? Everybody is signed out, and every token and API key is dead.", yes)
        done = installation.call("POST", "/revocations", body, params=params)
    if dry_run:
        say(json.dumps(done)) if as_json else _tell(done)
        return
    said = f"revoked {claim} {value or ''}".rstrip() + f" (entry {done['id']})"
    if as_json:
        say(json.dumps(done))
    elif done.get("complete") is not False:
        say(said + (", everywhere" if wait else ""))
    if claim == "all" and not as_json:
        say("The key that this command used ended with it: `watchword admin key` draws another.")
    check_everywhere(said, done)


def _tell(counted: Mapping[str, Any]) -> None:
    """What would end, and of whom the most."""
    tell({name: counted[name] for name in ("grants", "sessions", "users", "clients")}, as_json=False)
    for whose, columns in (("user", ("grants", "sessions")), ("client", ("grants",))):
        rows = [{**each, whose: each["id"]} for each in counted[f"by_{whose}"]]
        if rows:
            say("")
            show(rows, (whose, *columns), as_json=False)
    if not counted["is_complete"]:
        say("\nThere is more than was counted.")
