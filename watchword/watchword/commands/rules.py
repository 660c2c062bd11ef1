"""`watchword rules`: who may use applications, and what other rules would have decided."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from watchword.commands import clients
from watchword.commands.declare import files_in
from watchword.commands.remote import (
    DATA_DIR,
    AsJson,
    DataDir,
    Remote,
    Token,
    Url,
    fail,
    progress,
    remote,
    say,
    show,
    tell,
)

app = typer.Typer(help="Access rules.", no_args_is_help=True)

_COLUMNS = ("precedence", "name", "organization", "clients", "service_account", "roles", "enabled", "id")
_CHANGES = {"gains": "gets in", "loses": "is turned away", "others": "gets in otherwise"}
_AFFECTED = ("user_id", "client_id", "now", "then", "change", "decision_id")
_NO_PART_OF_IT = {"roles", "description"}  # of who gets in
Members = dict[str, Any]


@app.command("list")
def list_rules(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All access rules, in the order in which they are asked."""
    with remote(data_dir, url, token) as installation:
        show(installation.items("/rules"), _COLUMNS, as_json=as_json)


@app.command("dry-run")
def dry_run(
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="YAML with AccessRule documents, or a directory of such files"),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A rule as if it were gone: name, or organization/name; may be repeated")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say who of the last 30 days would get in, and who would not any more, and change nothing."""
    described = list(_described(files or ()))
    if not described and not without:
        fail("give AccessRule documents with --file, or name a rule with --without")
    with remote(data_dir, url, token) as installation, progress("Trying the rules"):
        rules = [_proposed(installation, each) for each in described]
        removed = [_saved(installation, each)["id"] for each in without or ()]
        found = installation.call("POST", "/decisions/dry-run", {"rules": rules, "removed": removed})
    if as_json:
        say(json.dumps(found, indent=2))
    else:
        _tell(found)


def _described(files: Sequence[Path]) -> Iterator[Members]:
    from watchword import documents

    try:
        for path in files_in(files):
            yield from (each.members for each in documents.read(path) if each.kind == "AccessRule")
    except documents.DocumentError as error:
        fail(str(error))


def _proposed(installation: Remote, members: Members) -> Members:
    """The rule as the API asks for it: by ids, in the place of the saved one of this name."""
    rule = {name: value for name, value in members.items() if name not in _NO_PART_OF_IT}
    if isinstance(rule.get("clients"), list):
        rule["clients"] = [clients.find(installation, str(each))["client_id"] for each in rule["clients"]]
    organization = str(rule.get("organization") or "")
    if organization:
        named = installation.call("GET", "/organizations", params={"short_name": organization})["items"]
        rule["organization"] = named[0]["id"] if named else organization
    saved = _find(installation, str(rule.get("name", "")), organization)
    return rule | ({"id": saved[0]["id"]} if saved else {})


def _saved(installation: Remote, which: str) -> Members:
    organization, _, name = which.rpartition("/")
    found = _find(installation, name, organization)
    return found[0] if found else fail(f"there is no rule {which}")


def _find(installation: Remote, name: str, organization: str) -> list[Members]:
    given = {"name": name, "organization": organization}
    return list(installation.call("GET", "/rules", params=given)["items"])


def _tell(found: Mapping[str, Any]) -> None:
    counts = ("since", "sign_ins", "asked", "not_recorded", "gone")
    tell(
        {name: found[name] for name in counts} | {said: found[f"{name}_count"] for name, said in _CHANGES.items()},
        as_json=False,
    )
    rows = [
        {**each, "change": said, "now": _verdict(each["before"]), "then": _verdict(each["after"])}
        for name, said in _CHANGES.items()
        for each in found[name]
    ]
    if rows:
        say("")
        show(rows, _AFFECTED, as_json=False)
    if not found["is_complete"]:
        say("\nThere are more sign-ins than could be asked about.")


def _verdict(verdict: Mapping[str, Any]) -> str:
    said = verdict["rule"] or ("open" if verdict["allowed"] else "no rule")
    return f"{said} as {verdict['service_account']}" if verdict["service_account"] else str(said)
