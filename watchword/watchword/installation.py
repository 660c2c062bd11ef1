"""What an installation is on disk: the master key, and everything that is derived from it or drawn once.

`secrets/` (directories 0700, files 0600) has a directory for each reader, so that a container can be given exactly its
own; a service's files are named like its settings:

    master.key                        the supervisor's and one-shot jobs' alone; every other key is derived from it
    postgres/postgres.password        the superuser's
    <service>/keys                    the keys derived for the service
    <service>/nats_seed               its NATS user
    <service>/database_password       its PostgreSQL role; with `database_url` beside it where the address is known
    provision/nats_seed, system/nats_seed
    nats/nats.conf                    where a server of its own reads it: public keys only
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import nkeys

from watchword.embedded.process import write_private
from watchword_events.names import Service
from watchword_runtime.keyring import KEY_BYTES, derive_service_keys

DATABASE = "watchword"
_MASTER = "master.key"
_SUPERUSER = "postgres/postgres.password"


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
    """The secrets of one installation. seeds: nkey seeds by NATS user."""

    master: bytes = field(repr=False)
    superuser_password: str = field(repr=False)
    database_passwords: Mapping[Service, str] = field(repr=False)
    seeds: Mapping[NatsUser, str] = field(repr=False)

    @classmethod
    def drawn(cls) -> "Installation":
        """A new installation: every secret freshly drawn."""
        return cls(
            master=secrets.token_bytes(KEY_BYTES),
            superuser_password=secrets.token_urlsafe(24),
            database_passwords={service: secrets.token_urlsafe(24) for service in Service},
            seeds={user: nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode() for user in NATS_USERS},
        )

    @classmethod
    def opened(cls, directory: Path) -> "Installation":
        """The installation whose secrets are in `directory`; drawn and saved there when there is none."""
        if not cls.exists(directory):
            cls.drawn().save(directory)
        return cls.load(directory)

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether `directory` holds a whole installation: the master key is written last."""
        return (directory / _MASTER).exists()

    @classmethod
    def load(cls, directory: Path) -> "Installation":
        """What save() wrote. Raises BrokenInstallation."""
        try:
            master = base64.urlsafe_b64decode(_read(directory / _MASTER) + "=")
        except ValueError:
            raise BrokenInstallation(f"{directory / _MASTER} is not base64url: restore it from your back-up") from None
        if len(master) != KEY_BYTES:
            raise BrokenInstallation(f"{directory / _MASTER} does not hold {KEY_BYTES} bytes: restore it")
        return cls(
            master=master,
            superuser_password=_read(directory / _SUPERUSER),
            database_passwords={service: _read(directory / service / "database_password") for service in Service},
            seeds={user: _read(directory / user / "nats_seed") for user in NATS_USERS},
        )

    def save(self, directory: Path, more: Mapping[str, str] | None = None) -> None:
        """`directory` holds the secrets, and `more` files by relative path; the master key comes last."""
        files = {**(more or {}), **self.files()}
        master = files.pop(_MASTER)
        for name, text in (*files.items(), (_MASTER, master)):
            path = directory / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, text)

    def files(self) -> dict[str, str]:
        """The content of each secret's file, by its path in the directory."""
        found = {
            _MASTER: base64.urlsafe_b64encode(self.master).decode().rstrip("="),
            _SUPERUSER: self.superuser_password,
        }
        for service in Service:
            found[f"{service}/database_password"] = self.database_passwords[service]
            found[f"{service}/keys"] = self.keys_of(service)
        for user in NATS_USERS:
            found[f"{user}/nats_seed"] = self.seeds[user]
        return found

    def keys_of(self, service: Service) -> str:
        """The derived keys of a service, as its setting `keys` wants them."""
        return json.dumps(derive_service_keys(self.master, service))

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


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise BrokenInstallation(f"{path} is missing: restore it from your back-up") from None
    except OSError as error:
        raise BrokenInstallation(f"cannot read {path}: {error.strerror}") from None
