"""The master key, which seals the one root that every service's keys are derived from. See ADR 12.

The root stands in `root.sealed`, once for each key that opens it: one, and two while a rotation is under way, so that
it opens whatever the moment of a crash. The master key is a file, an environment variable, or a command that asks a
key-management service; services never see it.
"""

import base64
import binascii
import json
import secrets
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.embedded.process import sync_directory, write_durably
from watchword_runtime.keyring import KEY_BYTES, fingerprint

MASTER_FILE: Final = "master.key"
ROOT_FILE: Final = "root.sealed"
KEY_VARIABLE: Final = "WATCHWORD_MASTER_KEY"
FILE_VARIABLE: Final = "WATCHWORD_MASTER_KEY_FILE"
COMMAND_VARIABLE: Final = "WATCHWORD_MASTER_KEY_COMMAND"
NEW_KEY_VARIABLE: Final = "WATCHWORD_NEW_MASTER_KEY"
# What children must not inherit.
VARIABLES: Final = (KEY_VARIABLE, FILE_VARIABLE, COMMAND_VARIABLE, NEW_KEY_VARIABLE)
COMMAND_S: Final = 30.0
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_SHOWN: Final = 300  # characters of what a failing command said


class MasterKeyError(RuntimeError):
    """The root cannot be opened or sealed; the text names the place and the remedy."""


class KeyWrapper(Protocol):
    """Seals and opens 32 bytes. kind, key_id: noted beside what it sealed.  place: where it is, for people.

    Both methods raise MasterKeyError with the remedy.
    """

    @property
    def kind(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def place(self) -> str: ...
    def wrap(self, plain: bytes) -> bytes: ...
    def unwrap(self, wrapped: bytes) -> bytes: ...


@dataclass(frozen=True)
class LocalKey:
    """32 bytes that this process holds for a moment. Spec: NIST SP 800-38D 8.2.2."""

    key: bytes = field(repr=False)
    place: str
    kind: str = "key"

    @property
    def key_id(self) -> str:
        """A name of the key that says nothing about it."""
        return fingerprint(self.key)

    def wrap(self, plain: bytes) -> bytes:
        """AES-256-GCM; the nonce is random, since a master key seals a handful of values in its life."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, plain, self._aad)

    def unwrap(self, wrapped: bytes) -> bytes:
        """What wrap() was given."""
        try:
            return AESGCM(self.key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], self._aad)
        except (InvalidTag, ValueError):
            raise MasterKeyError(
                f"the master key in {self.place} does not open {ROOT_FILE}: it was altered; restore both from the same "
                "back-up"
            ) from None

    @property
    def _aad(self) -> bytes:
        return f"watchword/root/v{_VERSION}/{self.key_id}".encode()


@dataclass(frozen=True)
class CommandKey:
    """A program that asks a key-management service: `wrap` or `unwrap` as last argument, base64 in and out.

    environment: its whole environment, in which such programs find their credentials.
    """

    command: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = COMMAND_S
    kind: str = "command"
    key_id: str = "command"

    @property
    def place(self) -> str:
        """The setting that names it."""
        return COMMAND_VARIABLE

    def wrap(self, plain: bytes) -> bytes:
        """What the program made of the bytes."""
        return self._asked("wrap", plain)

    def unwrap(self, wrapped: bytes) -> bytes:
        """What the program says they were."""
        return self._asked("unwrap", wrapped)

    def _asked(self, verb: str, given: bytes) -> bytes:
        try:
            argv = [*shlex.split(self.command), verb]
            done = subprocess.run(
                argv,
                input=base64.b64encode(given),
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
                env={name: value for name, value in self.environment.items() if name not in VARIABLES},
            )
        except ValueError as error:
            raise self._failed(verb, f"cannot be read as a command line ({error})") from None
        except OSError as error:
            raise self._failed(verb, f"cannot be run: {error.strerror}; give its absolute path") from None
        except subprocess.TimeoutExpired:
            raise self._failed(verb, f"did not answer within {self.timeout_s:g} s") from None
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())[-_SHOWN:] or "it said nothing"
            raise self._failed(verb, f"ended with {done.returncode}: {said}")
        try:
            answer = base64.b64decode(b"".join(done.stdout.split()), validate=True)
        except binascii.Error:
            answer = b""
        if not answer:
            raise self._failed(verb, "did not print base64 on its standard output")
        return answer

    def _failed(self, verb: str, why: str) -> MasterKeyError:
        return MasterKeyError(f"{COMMAND_VARIABLE}: the command {why} (asked to {verb} the root)")


@dataclass(frozen=True)
class Sealed:
    """The content of `root.sealed`. root_id: the root's fingerprint, so that a wrong answer is noticed."""

    root_id: str
    wrappings: Sequence[tuple[str, str, bytes]]  # kind, key id, sealed root

    @classmethod
    def read(cls, directory: Path) -> "Sealed":
        """What is in the directory. Raises MasterKeyError."""
        path = directory / ROOT_FILE
        try:
            found = json.loads(path.read_text())
            if found["version"] != _VERSION:
                raise MasterKeyError(f"{path} was written by a later release: use that one")
            wrappings = [
                (str(each["kind"]), str(each["master"]), base64.b64decode(each["sealed"], validate=True))
                for each in found["wrappings"]
            ]
            return cls(str(found["root"]), wrappings)
        except OSError as error:
            raise MasterKeyError(f"cannot read {path}: {error.strerror}; restore it from your back-up") from None
        except (ValueError, KeyError, TypeError):
            raise MasterKeyError(f"{path} is damaged: restore it from your back-up") from None

    def write(self, directory: Path) -> None:
        """The file holds this, also after a power failure."""
        shown = [
            {"kind": kind, "master": key_id, "sealed": base64.b64encode(sealed).decode()}
            for kind, key_id, sealed in self.wrappings
        ]
        document = {"version": _VERSION, "root": self.root_id, "wrappings": shown}
        write_durably(directory / ROOT_FILE, json.dumps(document, indent=2) + "\n")

    def opened_by(self, master: KeyWrapper, directory: Path) -> bytes:
        """The root. Raises MasterKeyError when this master key does not open it."""
        problem: MasterKeyError | None = None
        for kind, key_id, sealed in self.wrappings:
            if (kind, key_id) != (master.kind, master.key_id):
                continue
            try:
                root = master.unwrap(sealed)
            except MasterKeyError as error:
                problem = error
                continue
            if len(root) == KEY_BYTES and fingerprint(root) == self.root_id:
                return root
            problem = MasterKeyError(f"{master.place} opens {directory / ROOT_FILE}, but to something else: wrong key")
        raise problem or MasterKeyError(self._wrong(master, directory))

    def _wrong(self, master: KeyWrapper, directory: Path) -> str:
        wanted = ", ".join("a command" if kind == "command" else f"key {key_id}" for kind, key_id, _ in self.wrappings)
        given = "a command" if master.kind == "command" else f"key {master.key_id}"
        return (
            f"{directory / ROOT_FILE} is sealed under {wanted}, and {master.place} holds {given}: restore the master "
            f"key that belongs to it, or name where it is ({FILE_VARIABLE}, {KEY_VARIABLE} or {COMMAND_VARIABLE})"
        )


def master_key(directory: Path, environment: Mapping[str, str]) -> KeyWrapper:
    """What opens the root of the secrets in `directory`, as the environment says; by default the file beside it.

    Raises MasterKeyError with the remedy.
    """
    named = [name for name in (KEY_VARIABLE, FILE_VARIABLE, COMMAND_VARIABLE) if environment.get(name)]
    if len(named) > 1:
        raise MasterKeyError(f"{' and '.join(named)} are set: the master key is in one place, unset the others")
    if environment.get(KEY_VARIABLE):
        return LocalKey(decoded(environment[KEY_VARIABLE], KEY_VARIABLE), KEY_VARIABLE)
    if environment.get(COMMAND_VARIABLE):
        return CommandKey(environment[COMMAND_VARIABLE], environment)
    return from_file(_named_file(directory, environment))


def file_of(directory: Path, environment: Mapping[str, str]) -> Path | None:
    """The file that the master key is read from; None when it comes from elsewhere."""
    if environment.get(KEY_VARIABLE) or environment.get(COMMAND_VARIABLE):
        return None
    return _named_file(directory, environment)


def _named_file(directory: Path, environment: Mapping[str, str]) -> Path:
    named = environment.get(FILE_VARIABLE)
    return Path(named).absolute() if named else own_file(directory)


def own_file(directory: Path) -> Path:
    """Where the master key is unless it is elsewhere."""
    return (directory / MASTER_FILE).absolute()


def from_file(path: Path) -> LocalKey:
    """The master key in a file. Raises MasterKeyError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise MasterKeyError(
            f"{path} is missing: restore it from your back-up, or say where the master key is with {FILE_VARIABLE}, "
            f"{KEY_VARIABLE} or {COMMAND_VARIABLE}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise MasterKeyError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}") from None
    return LocalKey(decoded(text, str(path)), str(path))


def decoded(text: str, place: str) -> bytes:
    """The 32 bytes of a key as text, base64 of either alphabet. Raises MasterKeyError."""
    plain = "".join(text.split()).rstrip("=").replace("+", "-").replace("/", "_")
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise MasterKeyError(f"{place} is not base64: restore the master key from your back-up") from None
    if len(key) != KEY_BYTES:
        raise MasterKeyError(
            f"{place} does not hold {KEY_BYTES} bytes: restore the master key from your back-up "
            f"(a new one is made with `openssl rand -base64 {KEY_BYTES}`)"
        )
    return key


def encoded(key: bytes) -> str:
    """The text of a key, for a file."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def drawn() -> bytes:
    """A new key."""
    return secrets.token_bytes(KEY_BYTES)


def seal(directory: Path, root: bytes, masters: Sequence[KeyWrapper]) -> None:
    """`root.sealed` holds the root for exactly these master keys, each of which has been seen to open it."""
    found = Sealed(fingerprint(root), [(each.kind, each.key_id, each.wrap(root)) for each in masters])
    for each in masters:
        found.opened_by(each, directory)
    found.write(directory)


@dataclass(frozen=True)
class Target:
    """The master key of tomorrow. file: where it has to stand, if it is kept in a file."""

    wrapper: KeyWrapper
    file: Path | None = None
    text: str = field(default="", repr=False)

    @classmethod
    def in_file(cls, path: Path, *, key: bytes | None = None) -> "Target":
        """A key in a file: the given one, or a new one."""
        made = drawn() if key is None else key
        return cls(LocalKey(made, str(path)), path, encoded(made))


def rewrap(directory: Path, root: bytes, present: KeyWrapper, target: Target, *, gone: Callable[[], None]) -> None:
    """The target's key alone opens the root. gone: what is left of the old key is removed.

    Every step leaves an installation that opens: first both keys do, then the new one stands where it is looked for
    and has been seen to open what is on disk, and only then the old one is dropped.
    """
    seal(directory, root, [present, target.wrapper])
    if target.file is not None:
        target.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(target.file, target.text)
    reread = from_file(target.file) if target.file is not None else target.wrapper
    if Sealed.read(directory).opened_by(reread, directory) != root:
        raise MasterKeyError(f"{reread.place} does not open {directory / ROOT_FILE}: nothing was dropped")
    gone()
    seal(directory, root, [reread])


def remove_durably(path: Path) -> None:
    """The file is gone, also after a power failure."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)
