"""Secrets on disk: whole or not at all, private, the same each time."""

import json
import stat
from pathlib import Path

import pytest

from watchword.containers import save_for_containers
from watchword.installation import BrokenInstallation, Installation
from watchword_events.names import Service
from watchword_runtime.keyring import Keyring, pair_purpose


def test_an_installation_is_drawn_once_and_found_again(tmp_path: Path) -> None:
    first = Installation.opened(tmp_path / "secrets")
    assert Installation.opened(tmp_path / "secrets") == first
    assert Installation.opened(tmp_path / "other").root != first.root


def test_every_secret_is_a_private_file(tmp_path: Path) -> None:
    Installation.opened(tmp_path / "secrets")
    for path in (tmp_path / "secrets").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", ["authz/nats_seed", "token/database_password", "postgres/postgres.password"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    Installation.opened(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BrokenInstallation, match=name):
        Installation.opened(tmp_path)


def test_two_services_share_their_pair_key_and_nothing_else() -> None:
    installation = Installation.drawn()
    keys = {service: json.loads(installation.keys_of(service)) for service in Service}
    pair = pair_purpose(Service.AUTHZ, Service.ADMIN)
    assert keys[Service.AUTHZ][pair] == keys[Service.ADMIN][pair]
    assert pair not in keys[Service.TOKEN]
    assert "signing-keys" in keys[Service.TOKEN]
    for service in set(Service) - {Service.TOKEN}:
        assert "signing-keys" not in keys[service]


def test_each_container_finds_its_own_secrets(tmp_path: Path) -> None:
    installation = Installation.drawn()
    save_for_containers(installation, tmp_path, database="postgres:5432/watchword", owner=None)
    assert Installation.opened(tmp_path) == installation
    for service in Service:
        own = {path.name for path in (tmp_path / service).iterdir()}
        assert own == {"database_password", "database_url", "keys", "nats_seed"}
        url = (tmp_path / service / "database_url").read_text()
        assert url.startswith(f"postgresql://{service.role}:")
        assert url.endswith("@postgres:5432/watchword")
        Keyring((tmp_path / service / "keys").read_text())
    conf = (tmp_path / "nats" / "nats.conf").read_text()
    assert not any(seed in conf for seed in installation.seeds.values())
