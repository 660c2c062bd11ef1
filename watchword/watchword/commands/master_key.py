"""`watchword master-key`: where the key is that opens the installation's root, and changing it while all runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, fail, say

if TYPE_CHECKING:
    from watchword.master_key import KeyWrapper, Target

app = typer.Typer(help="The key that seals the installation's root.", no_args_is_help=True)

Secrets = Annotated[
    Path | None,
    typer.Option(envvar="WATCHWORD_SECRETS", help="Directory of `watchword init`, in place of the data directory"),
]


@app.command()
def status(
    context: typer.Context, data_dir: DataDir = DATA_DIR, secrets: Secrets = None, as_json: AsJson = False
) -> None:
    """Say where the master key is, and whether it opens the root."""
    from watchword import master_key
    from watchword.installation import Installation

    directory = _directory(data_dir, secrets)
    if not (directory / master_key.ROOT_FILE).exists():
        _require(Installation.exists(directory), directory)
        fail(f"{directory} is from an earlier release: its root is sealed at the next start, or by `rotate` now")
    try:
        present = master_key.master_key(directory, context.obj)
        sealed = master_key.Sealed.read(directory)
        sealed.opened_by(present, directory)
    except master_key.MasterKeyError as error:
        fail(str(error))
    shown = {
        "place": present.place,
        "kind": present.kind,
        "key": present.key_id,
        "root": sealed.root_id,
        "keys_that_open": len(sealed.wrappings),
    }
    if as_json:
        say(json.dumps(shown))
        return
    say(f"The master key in {present.place} ({present.key_id}) opens {directory / master_key.ROOT_FILE}.")
    if len(sealed.wrappings) > 1:
        say("A rotation was interrupted, and another key opens it as well: `watchword master-key rotate` ends that.")


@app.command()
def rotate(
    context: typer.Context,
    to_file: Annotated[
        Path | None, typer.Option(help="The new key is in this file; drawn and written there if it is not")
    ] = None,
    to_env: Annotated[
        bool, typer.Option("--to-env", help="The new key is in WATCHWORD_NEW_MASTER_KEY: 32 bytes in base64")
    ] = False,
    to_command: Annotated[
        str | None, typer.Option(help="From now on this command wraps and unwraps the root, for example with a KMS")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
) -> None:
    """Seal the root under another master key; without options under a new one in the same place. Nothing restarts."""
    from watchword import master_key
    from watchword.installation import BrokenInstallation, Installation, rotate_master_key

    directory, environment = _directory(data_dir, secrets), dict(context.obj)
    if sum(map(bool, (to_file, to_env, to_command))) > 1:
        fail("name one place for the new key: --to-file, --to-env or --to-command")
    try:
        _require(Installation.exists(directory), directory)
        if to_file is not None:
            target = _in_file(to_file.absolute(), directory, environment)
        elif to_env:
            target = _in_environment(environment)
        elif to_command is not None:
            target = master_key.Target(master_key.CommandKey(to_command, environment))
        else:
            target = _in_the_same_place(directory, environment)
        before = master_key.file_of(directory, environment)
        rotate_master_key(directory, environment, target)
    except (BrokenInstallation, master_key.MasterKeyError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}")
    say(f"The root is sealed under the master key {target.wrapper.key_id}. What was sealed before opens as it did.")
    _say_what_remains(directory, before, target.wrapper, target.file)


def _in_file(path: Path, directory: Path, environment: Mapping[str, str]) -> "Target":
    from watchword import master_key

    if path == master_key.file_of(directory, environment) or not path.exists():
        return master_key.Target.in_file(path)
    return master_key.Target.in_file(path, key=master_key.from_file(path).key)


def _in_environment(environment: Mapping[str, str]) -> "Target":
    from watchword import master_key

    given = environment.get(master_key.NEW_KEY_VARIABLE)
    if not given:
        fail(f"set {master_key.NEW_KEY_VARIABLE} to the new key, for example from `openssl rand -base64 32`")
    key = master_key.decoded(given, master_key.NEW_KEY_VARIABLE)
    return master_key.Target(master_key.LocalKey(key, master_key.KEY_VARIABLE))


def _in_the_same_place(directory: Path, environment: Mapping[str, str]) -> "Target":
    from watchword import master_key

    file = master_key.file_of(directory, environment)
    if file is not None:
        return master_key.Target.in_file(file)
    present = master_key.master_key(directory, environment)
    if present.kind != "command":
        fail(f"{present.place} cannot be set from here: give the new key with --to-env, --to-file or --to-command")
    return master_key.Target(present)


def _say_what_remains(directory: Path, before: Path | None, present: "KeyWrapper", file: Path | None) -> None:
    from watchword import master_key

    if file is None:
        variable = present.place
        say(f"Start from now on with {variable} set to it; what runs does not need it.")
    elif file != master_key.own_file(directory):
        say(f"Start from now on with {master_key.FILE_VARIABLE}={file}; what runs does not need it.")
    if before is not None and before not in {file, master_key.own_file(directory)}:
        say(f"Destroy {before}: it opens nothing any more, but back-ups of {master_key.ROOT_FILE} from before.")
    say(f"Back up {master_key.ROOT_FILE} again, and keep the master key apart from it.")


def _directory(data_dir: Path, secrets: Path | None) -> Path:
    return (data_dir / "secrets" if secrets is None else secrets).absolute()


def _require(exists: bool, directory: Path) -> None:
    if not exists:
        fail(f"{directory} holds no installation: name it with --data-dir, or with --secrets")
