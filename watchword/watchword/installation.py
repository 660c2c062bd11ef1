"""What an installation is on disk: the sealed root, and everything that is derived from it or drawn once.

`secrets/` (directories 0700, files 0600) has a directory for each reader, so that a container can be given exactly its
own; a service's files are named like its settings:

    root.sealed                       the root that every service's keys are derived from, sealed under the master key
    master.key                        the master key, unless it is kept elsewhere: see master_key.py
    postgres/postgres.password        the superuser's
    <service>/keys                    the keys derived for the service
    <service>/nats_seed               its NATS user
    <service>/database_password       its PostgreSQL role; with `database_url` beside it where the address is known
    provision/nats_seed, system/nats_seed
    nats/nats.conf                    where a server of its own reads it: public keys only
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import nkeys

from watchword import master_key
from watchword.embedded.process import write_durably, write_private
from watchword.master_key import MASTER_FILE, ROOT_FILE, KeyWrapper, LocalKey, MasterKeyError, Sealed, Target
from watchword_events.names import Service
from watchword_runtime.keyring import derive_service_keys

DATABASE = "watchword"
_SUPERUSER = "postgres/postgres.password"
_LOCK = ".lock"
# There while the files of a new installation are being written: what it stands beside was never used.
_UNFINISHED = ".unfinished"


class BrokenInstallation(RuntimeError):
    """The secrets on disk are incomplete or unreadable; the text names the file and the remedy."""


class Operator(StrEnum):
    """NATS users that are not services."""

    PROVISION = "provision"
    SYSTEM = "system"


NatsUser = Service | Operator
NATS_USERS: tuple[NatsUser, ...] = (*Service, *Operator)


@dataclass(frozen=True)
class Installation:
    """The secrets of one installation. root: empty while it is sealed.  seeds: nkey seeds by NATS user."""

    root: bytes = field(repr=False)
    superuser_password: str = field(repr=False)
    database_passwords: Mapping[Service, str] = field(repr=False)
    seeds: Mapping[NatsUser, str] = field(repr=False)

    @classmethod
    def drawn(cls) -> "Installation":
        """A new installation: every secret freshly drawn."""
        return cls(
            root=master_key.drawn(),
            superuser_password=secrets.token_urlsafe(24),
            database_passwords={service: secrets.token_urlsafe(24) for service in Service},
            seeds={user: nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode() for user in NATS_USERS},
        )

    @classmethod
    def opened(cls, directory: Path, environment: Mapping[str, str] | None = None) -> "Installation":
        """The installation whose secrets are in `directory`, its root open; drawn and saved there when there is none.

        environment: says where the master key is, by default in `directory`. Raises BrokenInstallation.
        """
        if not cls.exists(directory):
            cls.drawn().save(directory, environment=environment)
        return replace(cls.load(directory), root=open_root(directory, environment or {}))

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether `directory` holds a whole installation. Raises BrokenInstallation when it holds one without its root.

        What an interrupted first start left is none.
        """
        if (directory / _UNFINISHED).exists():
            return False
        if (directory / ROOT_FILE).exists() or (directory / MASTER_FILE).exists():
            return True
        if (directory / Service.TOKEN / "keys").exists():
            raise BrokenInstallation(
                f"{directory / ROOT_FILE} is missing: restore it from your back-up. Without it what is in the database "
                "cannot be opened; to begin afresh, delete the database and all the secrets"
            )
        return False

    @classmethod
    def load(cls, directory: Path) -> "Installation":
        """What save() wrote, with the root still sealed. Raises BrokenInstallation."""
        if (directory / _UNFINISHED).exists():
            raise BrokenInstallation(f"{directory} was left unfinished by an interrupted first start: begin it again")
        return cls(
            root=b"",
            superuser_password=_read(directory / _SUPERUSER),
            database_passwords={service: _read(directory / service / "database_password") for service in Service},
            seeds={user: _read(directory / user / "nats_seed") for user in NATS_USERS},
        )

    def save(
        self, directory: Path, more: Mapping[str, str] | None = None, *, environment: Mapping[str, str] | None = None
    ) -> None:
        """`directory` holds the secrets, and `more` files by relative path.

        The master key is the one that the environment names, or a new one in its file. Raises BrokenInstallation.
        """
        environment = environment or {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(directory / _UNFINISHED, "")
        for name, text in {**(more or {}), **self.files()}.items():
            path = directory / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, text)
        with _explained():
            file = master_key.file_of(directory, environment)
            if file is not None and (file == master_key.own_file(directory) or not file.exists()):
                write_durably(file, master_key.encoded(master_key.drawn()))
            master_key.seal(directory, self.root, [master_key.master_key(directory, environment)])
        master_key.remove_durably(directory / _UNFINISHED)

    def files(self) -> dict[str, str]:
        """The content of each secret's file but the root's and the master key's, by its path in the directory."""
        found = {_SUPERUSER: self.superuser_password}
        for service in Service:
            found[f"{service}/database_password"] = self.database_passwords[service]
            found[f"{service}/keys"] = self.keys_of(service)
        for user in NATS_USERS:
            found[f"{user}/nats_seed"] = self.seeds[user]
        return found

    def keys_of(self, service: Service) -> str:
        """The derived keys of a service, as its setting `keys` wants them. The root must be open."""
        return json.dumps(derive_service_keys(self.root, service))

    def nats_public_keys(self) -> dict[NatsUser, str]:
        """What the server's configuration names each user by."""
        return {user: nkeys.from_seed(seed.encode()).public_key.decode() for user, seed in self.seeds.items()}

    def settings_of(self, service: Service, *, database_url: str, nats_url: str) -> dict[str, str]:
        """The settings of a service that only this installation knows, by setting name."""
        return {
            "database_url": database_url,
            "nats_url": nats_url,
            "nats_seed": self.seeds[service],
            "keys": self.keys_of(service),
        }


def open_root(directory: Path, environment: Mapping[str, str]) -> bytes:
    """The root of the installation in `directory`. What an interrupted rotation left behind is gone afterwards.

    One from before there was `root.sealed` gets it: what was its master key becomes its root, and nothing derived from
    that changes. Raises BrokenInstallation.
    """
    with _explained(), locked(directory):
        if not (directory / ROOT_FILE).exists():
            return _adopted(directory, environment)
        present = master_key.master_key(directory, environment)
        found = Sealed.read(directory)
        root = found.opened_by(present, directory)
        if len(found.wrappings) > 1:
            _drop_other_keys(directory, found, present)
            master_key.seal(directory, root, [present])
        return root


def _drop_other_keys(directory: Path, found: Sealed, present: KeyWrapper) -> None:
    """The key of an interrupted rotation does not stay beside the secrets."""
    file = master_key.own_file(directory)
    if present.place == str(file) or not file.exists():
        return
    with suppress(MasterKeyError):
        if master_key.from_file(file).key_id in {key_id for _, key_id, _ in found.wrappings}:
            master_key.remove_durably(file)


def seal_root(directory: Path, environment: Mapping[str, str]) -> None:
    """The installation has `root.sealed`, also if it is from before there was one. Raises BrokenInstallation."""
    if not (directory / ROOT_FILE).exists():
        open_root(directory, environment)


def _adopted(directory: Path, environment: Mapping[str, str]) -> bytes:
    """The root of an installation whose master key was its root: sealed under a key of its own from now on."""
    old = master_key.from_file(master_key.own_file(directory))
    keys = json.loads(_read(directory / Service.TOKEN / "keys"))
    derived = derive_service_keys(old.key, Service.TOKEN)
    if any(derived.get(purpose) != key for purpose, key in keys.items()):
        raise BrokenInstallation(f"{directory / ROOT_FILE} is missing: restore it from your back-up")
    file = master_key.file_of(directory, environment)
    if file == master_key.own_file(directory):
        target = Target.in_file(file)
    else:
        target = Target(master_key.master_key(directory, environment))
    _rewrap(directory, old.key, old, target)
    return old.key


def rotate_master_key(directory: Path, environment: Mapping[str, str], target: Target) -> None:
    """The target's key opens the root from now on, and the old one nothing. Raises BrokenInstallation."""
    root = open_root(directory, environment)
    with _explained(), locked(directory):
        present = master_key.master_key(directory, environment)
        _rewrap(directory, root, present, target)


def _rewrap(directory: Path, root: bytes, present: KeyWrapper, target: Target) -> None:
    file = master_key.own_file(directory)

    def gone() -> None:
        """A key that stood with the secrets is not left behind when the new one is elsewhere."""
        if isinstance(present, LocalKey) and present.place == str(file) and target.file != file:
            master_key.remove_durably(file)

    master_key.rewrap(directory, root, present, target, gone=gone)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Nobody else changes root or master key meanwhile."""
    try:
        fd = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BrokenInstallation(f"cannot write in {directory}: {error.strerror}") from None
    with open(fd, "r+") as held:
        if os.geteuid() == 0:
            owner = directory.stat()
            os.fchown(fd, owner.st_uid, owner.st_gid)
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except MasterKeyError as error:
        raise BrokenInstallation(str(error)) from None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise BrokenInstallation(f"{path} is missing: restore it from your back-up") from None
    except OSError as error:
        raise BrokenInstallation(f"cannot read {path}: {error.strerror}") from None
