"""`watchword apply`, `plan`, `drift` and `export`: an installation as documents say it is."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, Token, Url, access, fail, progress, say

if TYPE_CHECKING:
    from watchword.apply import Installation, OwnersPlan, Step

DIFFERS = 2  # the exit code of `watchword drift` when something does

Files = Annotated[
    list[Path],
    typer.Option("--file", "-f", help="YAML with documents, or a directory of such files; may be repeated"),
]
Prune = Annotated[
    bool, typer.Option("--prune", help="What no document describes goes, of the kinds in the files, but no people")
]
PrunePeople = Annotated[bool, typer.Option("--prune-people", help="With --prune: people, too")]
SetSecrets = Annotated[
    bool, typer.Option("--set-secrets", help="Write secrets and passwords also for what has one already")
]
_SIGNS = {"create": "+", "change": "~", "delete": "-", "unchanged": "="}
_COLOURS = {"create": typer.colors.GREEN, "change": typer.colors.YELLOW, "delete": typer.colors.RED}
_LONGEST = 400  # characters of a value
_DONE = {"create": "created", "change": "updated", "delete": "deleted", "unchanged": "unchanged"}


def apply(
    context: typer.Context,
    files: Files,
    prune: Prune = False,
    prune_people: PrunePeople = False,
    set_secrets: SetSecrets = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make an installation what documents say: check everything, then change what differs."""
    from watchword.apply import ApplyError

    with _installation(data_dir, url, token) as installation, progress("Applying"):
        plans = _plans(context, installation, files, prune, prune_people, set_secrets)
        done: list[Step] = []
        try:
            for step in installation.apply(plans):
                done.append(step)
                _show_done(step, as_json=as_json)
        except ApplyError as error:
            waiting = ", ".join(plan.owner.name for plan in plans[_owners_done(plans, done) :])
            fail(f"{error}\n{len(done)} documents were applied, nothing of {waiting}. Apply again: it goes on there.")


def plan(
    context: typer.Context,
    files: Files,
    prune: Prune = False,
    prune_people: PrunePeople = False,
    set_secrets: SetSecrets = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what `watchword apply` would change, and change nothing."""
    with _installation(data_dir, url, token) as installation, progress("Comparing"):
        plans = _plans(context, installation, files, prune, prune_people, set_secrets)
    _show_plan([step for each in plans for step in each.steps], as_json=as_json)


def drift(
    context: typer.Context,
    files: Files,
    prune: Prune = False,
    prune_people: PrunePeople = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say whether an installation is still what documents say; exit code 2 when it is not."""
    with _installation(data_dir, url, token) as installation, progress("Comparing"):
        plans = _plans(context, installation, files, prune, prune_people, False)
    steps = [step for each in plans for step in each.steps if step.action != "unchanged"]
    _show_plan(steps, as_json=as_json)
    if steps:
        raise typer.Exit(DIFFERS)


def export(
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be repeated")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write", dir_okay=False)] = None,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write what there is as documents that apply to no change. Secrets are not among it: they cannot be read."""
    from watchword_runtime import declarations

    with _installation(data_dir, url, token) as installation, progress("Reading"):
        found = list(installation.export(kind or ()))
        schema = installation.schema_url
    text = json.dumps(found, indent=2) if as_json else declarations.write(found, schema=schema).rstrip("\n")
    if output is None:
        say(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


@contextmanager
def _installation(data_dir: Path, url: str | None, token: str | None) -> "Iterator[Installation]":
    from watchword.apply import Installation
    from watchword.documents import DocumentError

    installation = Installation(*access(data_dir, url, token))
    try:
        yield installation
    except DocumentError as error:
        fail(str(error))
    finally:
        installation.close()


def _plans(
    context: typer.Context,
    installation: "Installation",
    files: Sequence[Path],
    prune: bool,
    prune_people: bool,
    set_secrets: bool,
) -> "list[OwnersPlan]":
    from watchword import documents

    found = [document for file in files_in(files) for document in documents.read(file)]
    if not found:
        fail(f"{', '.join(map(str, files))}: there is no document")
    return installation.plan(
        found, environment=context.obj, prune=prune, prune_people=prune_people, set_secrets=set_secrets
    )


def files_in(paths: Sequence[Path]) -> Iterator[Path]:
    """The files themselves; of a directory those with YAML, below it as well."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix in {".yaml", ".yml"})
        else:
            yield path


def _owners_done(plans: "Sequence[OwnersPlan]", done: "Sequence[Step]") -> int:
    left = len(done)
    for number, each in enumerate(plans):
        if left < len(each.steps) or not each.steps:
            return number
        left -= len(each.steps)
    return len(plans)


def _show_done(step: "Step", *, as_json: bool) -> None:
    if as_json:
        said: dict[str, Any] = {"kind": step.kind, "name": step.name, "id": step.id, "result": _DONE[step.action]}
        if step.changes:
            said["changes"] = list(step.changes)
        if step.secret:
            said["secret"] = step.secret
        say(json.dumps(said))
        return
    shown = f"   secret: {step.secret} (shown once)" if step.secret else ""
    say(f"{_DONE[step.action]:<9} {step.kind} {step.name} ({step.id}){shown}")


def _show_plan(steps: "Sequence[Step]", *, as_json: bool) -> None:
    if as_json:
        say(json.dumps([_as_json(step) for step in steps], indent=2))
        return
    for step in steps:
        if step.action == "unchanged":
            continue
        line = f"{_SIGNS[step.action]} {step.kind} {step.name}"
        say(typer.style(line, fg=_COLOURS[step.action]) if sys.stdout.isatty() else line)
        for change in step.changes:
            say(f"    {_difference(change, step.action)}")
    counts = {action: sum(step.action == action for step in steps) for action in _SIGNS}
    say(
        ", ".join(
            f"{count} to {action}" if action != "unchanged" else f"{count} unchanged"
            for action, count in counts.items()
        )
    )


def _as_json(step: "Step") -> dict[str, Any]:
    return {
        "kind": step.kind,
        "name": step.name,
        "id": step.id,
        "action": step.action,
        "changes": list(step.changes),
    }


def _difference(change: Mapping[str, Any], action: str) -> str:
    """One member, before and after."""
    if change["is_secret"]:
        return f"{change['field']}: (set)"
    before, after = (_short(json.dumps(change[name], ensure_ascii=False)) for name in ("before", "after"))
    return f"{change['field']}: {after}" if action == "create" else f"{change['field']}: {before} → {after}"


def _short(value: str) -> str:
    """A value for a line of a terminal: of a picture the beginning says enough."""
    return value if len(value) <= _LONGEST else f"{value[:80]}… ({len(value)} characters)"
