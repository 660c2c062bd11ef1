"""`watchword audit`: who changed what, and whether the log still is what was written."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, Token, Url, fail, progress, remote, say, show, told

app = typer.Typer(help="Who changed what, before and after.", no_args_is_help=True)

_COLUMNS = ("seq", "at", "action", "resource", "actor", "address")


@app.command("list")
def list_entries(
    action: Annotated[str | None, typer.Option(help="Such as client.updated, or client.* for several")] = None,
    actor: Annotated[str | None, typer.Option(help="Id of who did it")] = None,
    resource: Annotated[str | None, typer.Option(help="Id of what was changed")] = None,
    limit: Annotated[int, typer.Option(help="How many", min=1, max=200)] = 50,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The newest entries."""
    wanted = {"action": action, "actor": actor, "resource": resource, "limit": str(limit)}
    with remote(data_dir, url, token) as installation:
        params = {name: value for name, value in wanted.items() if value is not None}
        found = installation.call("GET", "/audit", params=params)["items"]
    rows = [{**each, "actor": each["actor"]["name"] or each["actor"]["sub"]} for each in found]
    show(found if as_json else rows, _COLUMNS, as_json=as_json)


@app.command()
def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, a line for each entry", dir_okay=False)
    ],
    after: Annotated[int, typer.Option(help="Only entries behind this number", min=0)] = 0,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write the log to a file, as it is stored; `verify --file` checks it anywhere, without this installation."""
    with remote(data_dir, url, token) as installation, progress("Reading"), output.open("wb") as file:
        count = 0
        for piece in installation.stream("/audit/export", {"after": str(after)}):
            file.write(piece)
            count += piece.count(b"\n")
    told(f"{count} entries are in {output}", {"entries": count, "file": str(output)}, as_json=as_json)


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="An export, checked here; else the installation is asked")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say whether an entry was changed, removed or put in between; exit code 1 when one was."""
    if file is not None:
        found = _of_file(file)
    else:
        with remote(data_dir, url, token, timeout_s=600) as installation, progress("Verifying"):
            found = installation.call("GET", "/audit/verification")
    if as_json:
        say(json.dumps(found, indent=2))
    else:
        for each in found["breaks"]:
            say(f"entry {each['seq']}: {each['what']}")
        if found["valid"]:
            say(f"{found['entries']} entries are what was written; the last hash is {found['hash']}")
    if not found["valid"]:
        raise typer.Exit(1)


def _of_file(path: Path) -> dict[str, Any]:
    """What an export says of itself. It begins where it was asked to; what was before it is taken for granted."""
    from watchword_database.audit import Chain, imported

    chain: Chain | None = None
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    entry = imported(line.rstrip("\n"))
                except (ValueError, KeyError, TypeError):
                    fail(f"{path}, line {number}: this is no line of an export")
                if chain is None:
                    chain = Chain() if entry.seq == 1 else Chain.behind(entry)
                    if entry.seq != 1:
                        continue
                chain.follow(entry)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}")
    chain = chain or Chain()
    breaks = [{"seq": each.seq, "what": each.what} for each in chain.breaks]
    return {"valid": not breaks, "entries": chain.count, "hash": chain.hash.hex(), "breaks": breaks}
