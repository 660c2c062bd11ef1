"""One root, sealed under the master key: wherever that is kept, and whenever its rotation is interrupted."""

import base64
import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from watchword import installation as installation_module
from watchword import master_key
from watchword.installation import BrokenInstallation, Installation, open_root, rotate_master_key
from watchword.master_key import (
    COMMAND_VARIABLE,
    FILE_VARIABLE,
    KEY_VARIABLE,
    NEW_KEY_VARIABLE,
    CommandKey,
    LocalKey,
    MasterKeyError,
    Sealed,
    Target,
)
from watchword_events.names import Service

WATCHWORD = Path(sys.executable).with_name("watchword")
# What a key-management service would do: it keeps a key of its own and hands out what it made with it.
KMS = """
import base64, sys
from pathlib import Path
from cryptography.fernet import Fernet
key = Path(__file__).with_suffix(".key")
if not key.exists():
    key.write_bytes(Fernet.generate_key())
verb, given = sys.argv[1], base64.b64decode(sys.stdin.buffer.read())
box = Fernet(key.read_bytes())
print(base64.b64encode(box.encrypt(given) if verb == "wrap" else box.decrypt(given)).decode())
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The secrets of a new installation."""
    Installation.opened(tmp_path / "secrets")
    return tmp_path / "secrets"


def kms(tmp_path: Path, name: str = "kms", program: str = KMS) -> str:
    """A command that wraps and unwraps."""
    path = tmp_path / f"{name}.py"
    path.write_text(program)
    return f"{sys.executable} {path}"


def key_text() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def older(directory: Path) -> Installation:
    """An installation as releases before the envelope made it: its master key was the root."""
    made = Installation.opened(directory)
    (directory / "root.sealed").unlink()
    (directory / "master.key").write_text(master_key.encoded(made.root))
    return made


# Where the master key is ---------------------------------------------------------------------------------------------


def test_the_root_is_sealed_and_every_service_is_derived_from_it(home: Path) -> None:
    root = open_root(home, {})
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for text in (root, base64.b64encode(root), base64.urlsafe_b64encode(root).rstrip(b"="), root.hex().encode()):
        assert text not in everything
    opened = Installation.opened(home)
    assert opened.keys_of(Service.TOKEN) == (home / "token" / "keys").read_text()
    for name in ("root.sealed", "master.key"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    document = json.loads((home / "root.sealed").read_text())
    assert document["version"] == 1
    assert document["wrappings"][0]["master"] == master_key.from_file(home / "master.key").key_id


def test_the_key_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {KEY_VARIABLE: key_text()}
    made = Installation.opened(tmp_path / "secrets", environment)
    assert not (tmp_path / "secrets" / "master.key").exists()
    assert Installation.opened(tmp_path / "secrets", environment) == made
    with pytest.raises(BrokenInstallation, match=KEY_VARIABLE):
        Installation.opened(tmp_path / "secrets", {KEY_VARIABLE: key_text()})
    with pytest.raises(BrokenInstallation, match=r"master\.key is missing"):
        Installation.opened(tmp_path / "secrets")


def test_the_key_may_come_from_a_file_elsewhere(tmp_path: Path) -> None:
    environment = {FILE_VARIABLE: str(tmp_path / "elsewhere")}
    made = Installation.opened(tmp_path / "secrets", environment)
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o600
    assert not (tmp_path / "secrets" / "master.key").exists()
    assert Installation.opened(tmp_path / "secrets", environment) == made


def test_the_key_may_stay_with_a_key_management_service(tmp_path: Path) -> None:
    environment = {COMMAND_VARIABLE: kms(tmp_path)}
    made = Installation.opened(tmp_path / "secrets", environment)
    assert Installation.opened(tmp_path / "secrets", environment) == made
    with pytest.raises(BrokenInstallation, match="ended with 1"):
        Installation.opened(tmp_path / "secrets", {COMMAND_VARIABLE: kms(tmp_path, "another")})


def test_a_command_sees_neither_key_nor_root_in_its_arguments_or_environment(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    program = (
        f"import json, os, sys; open({str(noted)!r}, 'w').write(json.dumps((sys.argv[1:], sorted(os.environ))))\n" + KMS
    )
    environment = {"PATH": os.environ["PATH"], KEY_VARIABLE: "secret", NEW_KEY_VARIABLE: "secret", "AWS_REGION": "x"}
    CommandKey(kms(tmp_path, program=program), environment).wrap(b"r" * 32)
    arguments, names = json.loads(noted.read_text())
    assert arguments == ["wrap"]
    assert {"PATH", "AWS_REGION"} <= set(names)
    assert not {KEY_VARIABLE, NEW_KEY_VARIABLE} & set(names)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param("/nonexistent/kms", "absolute path", id="no such program"),
        pytest.param("'unclosed", "command line", id="not a command line"),
        pytest.param("{python} -c 'import sys; sys.exit(\"no credentials\")'", "no credentials", id="it fails"),
        pytest.param("{python} -c pass", "did not print base64", id="it says nothing"),
        pytest.param("{python} -c 'print(\"%%%\")'", "did not print base64", id="it says something else"),
        pytest.param("{python} -c 'import time; time.sleep(60)'", "within 0.5 s", id="it hangs"),
        pytest.param("{python} -c 'print(\"AAAA\")'", "something else", id="it answers with something else"),
    ],
)
def test_a_command_that_fails_is_named_with_the_reason(home: Path, command: str, said: str) -> None:
    wrapper = CommandKey(command.format(python=sys.executable), {}, timeout_s=0.5)
    root = open_root(home, {})
    with pytest.raises(MasterKeyError, match=COMMAND_VARIABLE) as refused:
        master_key.seal(home, root, [wrapper])
    assert said in str(refused.value)
    assert open_root(home, {}) == root


def test_two_places_at_once_are_refused(home: Path) -> None:
    with pytest.raises(BrokenInstallation, match="unset the others"):
        open_root(home, {KEY_VARIABLE: key_text(), COMMAND_VARIABLE: "kms"})


# What is wrong is said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "ä"])
def test_a_spoilt_master_key_is_named_and_never_replaced(home: Path, text: str) -> None:
    (home / "master.key").write_text(text)
    before = (home / "root.sealed").read_bytes()
    with pytest.raises(BrokenInstallation, match=r"master\.key"):
        Installation.opened(home)
    assert (home / "master.key").read_text() == text
    assert (home / "root.sealed").read_bytes() == before


def test_a_lost_master_key_is_named_with_the_remedy(home: Path) -> None:
    (home / "master.key").unlink()
    with pytest.raises(BrokenInstallation, match=r"master\.key is missing: restore it from your back-up"):
        Installation.opened(home)


def test_another_master_key_is_named_with_the_remedy(home: Path) -> None:
    (home / "master.key").write_text(master_key.encoded(os.urandom(32)))
    with pytest.raises(BrokenInstallation, match="restore the master key that belongs to it"):
        Installation.opened(home)


@pytest.mark.parametrize("missing", [("root.sealed",), ("root.sealed", "master.key")])
def test_a_lost_root_is_never_replaced_by_another(home: Path, missing: tuple[str, ...]) -> None:
    keys = (home / "token" / "keys").read_text()
    for name in missing:
        (home / name).unlink()
    with pytest.raises(BrokenInstallation, match=r"root\.sealed is missing: restore it"):
        Installation.opened(home)
    assert (home / "token" / "keys").read_text() == keys


def altered(document: dict[str, object], **more: object) -> str:
    return json.dumps({**document, **more})


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _found: "", id="empty"),
        pytest.param(lambda _found: "[]", id="not an object"),
        pytest.param(lambda found: altered(found, version=2), id="a later version"),
        pytest.param(lambda found: altered(found, wrappings=[]), id="no wrapping"),
        pytest.param(lambda found: altered(found, wrappings=[{"kind": "key"}]), id="half a wrapping"),
        pytest.param(lambda found: altered(found, root="0" * 16), id="another root"),
        pytest.param(
            lambda found: altered(
                found, wrappings=[{**found["wrappings"][0], "sealed": base64.b64encode(b"x" * 60).decode()}]
            ),
            id="altered",
        ),
        pytest.param(
            lambda found: altered(found, wrappings=[{**found["wrappings"][0], "sealed": "AAAA"}]), id="too short"
        ),
    ],
)
def test_a_damaged_root_is_named(home: Path, spoil: Callable[[dict[str, list[dict[str, str]]]], str]) -> None:
    path = home / "root.sealed"
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(BrokenInstallation, match=r"root\.sealed"):
        Installation.opened(home)


@pytest.mark.spec("NIST SP 800-38D 8.2.2")
def test_a_sealed_root_is_bound_to_its_key_and_no_two_are_alike() -> None:
    one, other = LocalKey(b"1" * 32, "one"), LocalKey(b"2" * 32, "other")
    assert one.wrap(b"r" * 32) != one.wrap(b"r" * 32)
    assert one.unwrap(one.wrap(b"r" * 32)) == b"r" * 32
    with pytest.raises(MasterKeyError):
        other.unwrap(one.wrap(b"r" * 32))


# Older installations -------------------------------------------------------------------------------------------------


def test_an_older_installation_gets_its_envelope_at_the_next_start(tmp_path: Path) -> None:
    made = older(tmp_path / "secrets")
    again = Installation.opened(tmp_path / "secrets")
    assert again == made
    assert again.keys_of(Service.TOKEN) == (tmp_path / "secrets" / "token" / "keys").read_text()
    assert master_key.from_file(tmp_path / "secrets" / "master.key").key != made.root
    assert Installation.opened(tmp_path / "secrets") == made


def test_an_older_installation_may_move_its_key_at_once(tmp_path: Path) -> None:
    made, environment = older(tmp_path / "secrets"), {KEY_VARIABLE: key_text()}
    assert Installation.opened(tmp_path / "secrets", environment) == made
    assert not (tmp_path / "secrets" / "master.key").exists()


# Rotation ------------------------------------------------------------------------------------------------------------


def test_a_rotation_drops_the_old_key(home: Path) -> None:
    root, old = open_root(home, {}), master_key.from_file(home / "master.key")
    rotate_master_key(home, {}, Target.in_file(home / "master.key"))
    assert open_root(home, {}) == root
    with pytest.raises(MasterKeyError):
        Sealed.read(home).opened_by(old, home)
    left = "".join(path.read_text() for path in home.rglob("*") if path.is_file())
    assert master_key.encoded(old.key) not in left


def test_a_key_moves_from_a_file_to_a_service_and_to_the_environment_and_back(home: Path, tmp_path: Path) -> None:
    root, old = open_root(home, {}), (home / "master.key").read_text()
    managed = {COMMAND_VARIABLE: kms(tmp_path)}
    rotate_master_key(home, {}, Target(CommandKey(managed[COMMAND_VARIABLE], {})))
    assert open_root(home, managed) == root
    assert not (home / "master.key").exists()

    given = {KEY_VARIABLE: key_text()}
    key = master_key.decoded(given[KEY_VARIABLE], KEY_VARIABLE)
    rotate_master_key(home, managed, Target(LocalKey(key, KEY_VARIABLE)))
    assert open_root(home, given) == root
    with pytest.raises(BrokenInstallation):
        open_root(home, managed)

    rotate_master_key(home, given, Target.in_file(home / "master.key"))
    assert open_root(home, {}) == root
    assert (home / "master.key").read_text() != old


class Crash(Exception):
    """The power failed."""


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The n-th change on disk from now on is the last; n = 0 does not even happen."""
    left = [1 << 30]

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def changing(*words: object) -> None:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            change(*words)

        return changing

    for module, name in (
        (master_key, "write_durably"),
        (master_key, "remove_durably"),
        (installation_module, "write_durably"),
        (installation_module, "write_private"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))

    def after(changes: int) -> None:
        left[0] = changes

    return after


def _targets(home: Path, tmp_path: Path) -> dict[str, tuple[Target, dict[str, str]]]:
    given = key_text()
    return {
        "same file": (Target.in_file(home / "master.key"), {}),
        "another file": (Target.in_file(tmp_path / "other.key"), {FILE_VARIABLE: str(tmp_path / "other.key")}),
        "environment": (Target(LocalKey(master_key.decoded(given, ""), KEY_VARIABLE)), {KEY_VARIABLE: given}),
        "command": (Target(CommandKey(kms(tmp_path), {})), {COMMAND_VARIABLE: kms(tmp_path)}),
    }


@pytest.mark.parametrize("changes", range(5))
@pytest.mark.parametrize("name", ["same file", "another file", "environment", "command"])
def test_a_rotation_that_is_interrupted_anywhere_leaves_what_opens(
    home: Path, tmp_path: Path, crash: Callable[[int], None], name: str, changes: int
) -> None:
    root = open_root(home, {})
    target, environment = _targets(home, tmp_path)[name]
    crash(changes)
    done = True
    try:
        rotate_master_key(home, {}, target)
    except Crash:
        done = False
    crash(1 << 30)
    opened = []
    for each in (environment, {}):
        try:
            opened.append(open_root(home, each))
        except BrokenInstallation:
            continue
    assert opened
    assert set(opened) == {root}
    if not done:
        present = {} if _opens(home, {}) else environment
        rotate_master_key(home, present, target)
    assert open_root(home, environment) == root
    assert len(Sealed.read(home).wrappings) == 1
    assert (home / "master.key").exists() == (name == "same file")


def _opens(home: Path, environment: dict[str, str]) -> bool:
    try:
        open_root(home, environment)
    except BrokenInstallation:
        return False
    return True


@pytest.mark.parametrize("changes", range(4))
def test_an_older_installation_that_is_interrupted_anywhere_opens(
    tmp_path: Path, crash: Callable[[int], None], changes: int
) -> None:
    made = older(tmp_path / "secrets")
    crash(changes)
    with contextlib.suppress(Crash):
        open_root(tmp_path / "secrets", {})
    crash(1 << 30)
    assert Installation.opened(tmp_path / "secrets") == made
    assert len(Sealed.read(tmp_path / "secrets").wrappings) == 1


@pytest.mark.parametrize("changes", [0, 1, 5, 14, 18, 19, 20, 21])
def test_a_first_start_that_is_interrupted_anywhere_begins_again(
    tmp_path: Path, crash: Callable[[int], None], changes: int
) -> None:
    crash(changes)
    try:
        Installation.opened(tmp_path / "secrets")
    except Crash:
        assert not Installation.exists(tmp_path / "secrets")
    crash(1 << 30)
    made = Installation.opened(tmp_path / "secrets")
    assert Installation.opened(tmp_path / "secrets") == made
    assert made.keys_of(Service.TOKEN) == (tmp_path / "secrets" / "token" / "keys").read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from watchword import master_key
from watchword.installation import rotate_master_key
left = [int(sys.argv[2])]
replace = Path.replace
def replaced(self, to):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return replace(self, to)
Path.replace = replaced
home = Path(sys.argv[1])
rotate_master_key(home, {}, master_key.Target.in_file(home / "master.key"))
"""


@pytest.mark.parametrize("changes", range(4))
def test_a_rotation_that_is_killed_leaves_what_opens(home: Path, changes: int) -> None:
    root = open_root(home, {})
    done = subprocess.run([sys.executable, "-c", KILLED, home, str(changes)], check=False, capture_output=True)
    assert (done.returncode == 0) == (changes == 3), done.stderr
    assert open_root(home, {}) == root
    assert len(Sealed.read(home).wrappings) == 1
    rotate_master_key(home, {}, Target.in_file(home / "master.key"))
    assert open_root(home, {}) == root


# The command ---------------------------------------------------------------------------------------------------------


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], **environment}
    command = [str(WATCHWORD), "master-key", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own)


def test_the_command_rotates_and_says_where_the_key_is(home: Path, tmp_path: Path) -> None:
    root, old = open_root(home, {}), master_key.from_file(home / "master.key")
    first = json.loads(run("status", "--secrets", home, "--json").stdout)
    assert (first["key"], first["keys_that_open"]) == (old.key_id, 1)

    done = run("rotate", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    new = master_key.from_file(home / "master.key")
    assert new.key_id in done.stdout
    assert new.key != old.key
    assert master_key.encoded(new.key) not in done.stdout + done.stderr

    given = key_text()
    done = run("rotate", "--secrets", home, "--to-env", WATCHWORD_NEW_MASTER_KEY=given)
    assert done.returncode == 0, done.stderr
    assert "WATCHWORD_MASTER_KEY" in done.stdout
    assert not (home / "master.key").exists()
    assert run("status", "--secrets", home).returncode == 1
    assert run("status", "--secrets", home, WATCHWORD_MASTER_KEY=given).returncode == 0

    done = run("rotate", "--secrets", home, "--to-command", kms(tmp_path), WATCHWORD_MASTER_KEY=given)
    assert done.returncode == 0, done.stderr
    done = run("rotate", "--secrets", home, WATCHWORD_MASTER_KEY_COMMAND=kms(tmp_path))
    assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "keys" / "master"
    done = run("rotate", "--secrets", home, "--to-file", elsewhere, WATCHWORD_MASTER_KEY_COMMAND=kms(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"WATCHWORD_MASTER_KEY_FILE={elsewhere}" in done.stdout
    assert open_root(home, {FILE_VARIABLE: str(elsewhere)}) == root


def test_a_given_file_is_taken_as_it_is(home: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.key"
    given.write_text(key_text())
    key = master_key.from_file(given)
    assert run("rotate", "--secrets", home, "--to-file", given).returncode == 0
    assert master_key.from_file(given).key == key.key
    assert _opens(home, {FILE_VARIABLE: str(given)})


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        pytest.param(("--to-env",), {}, "WATCHWORD_NEW_MASTER_KEY", id="no new key"),
        pytest.param(("--to-env",), {NEW_KEY_VARIABLE: "AAAA"}, "32 bytes", id="a short one"),
        pytest.param(("--to-env", "--to-command", "kms"), {}, "one place", id="two places"),
        pytest.param(("--to-command", "/nonexistent"), {}, "absolute path", id="no such command"),
        pytest.param((), {KEY_VARIABLE: "A" * 43}, "WATCHWORD_MASTER_KEY", id="another present key"),
        pytest.param(("--to-file", "/proc/nowhere"), {}, "/proc", id="a place that cannot be written"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    home: Path, words: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    root = open_root(home, {})
    done = run("rotate", "--secrets", home, *words, **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert open_root(home, {}) == root


def test_no_installation_is_said(tmp_path: Path) -> None:
    for word in ("status", "rotate"):
        done = run(word, "--secrets", tmp_path)
        assert done.returncode == 1
        assert "holds no installation" in done.stderr
