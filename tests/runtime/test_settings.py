"""Settings: where they come from, and what is said when one is missing or wrong."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from annotated_types import Le

from watchword_admin.settings import AdminSettings
from watchword_authz.settings import AuthzSettings
from watchword_directory.settings import DirectorySettings
from watchword_events.names import Service
from watchword_federation.settings import FederationSettings
from watchword_runtime.keyring import derive_service_keys
from watchword_runtime.settings import ServiceSettings, load
from watchword_token.settings import TokenSettings

ALL = [ServiceSettings, AdminSettings, AuthzSettings, DirectorySettings, FederationSettings, TokenSettings]
KEYS = json.dumps(derive_service_keys(b"k" * 32, Service.AUTHZ))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("WATCHWORD_DATABASE_URL", "postgresql://watchword_authz:pw@db/watchword")
    monkeypatch.setenv("WATCHWORD_KEYS", KEYS)
    monkeypatch.delenv("WATCHWORD_PUBLIC_URL", raising=False)
    return monkeypatch


def complaint() -> str:
    with pytest.raises(SystemExit) as stopped:
        load(ServiceSettings)
    return str(stopped.value)


def test_a_missing_setting_names_its_variable_and_the_remedy(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("WATCHWORD_DATABASE_URL")
    said = complaint()
    assert "WATCHWORD_DATABASE_URL is missing" in said
    assert "WATCHWORD_DATABASE_URL_FILE" in said


def test_every_wrong_setting_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("WATCHWORD_DATABASE_URL")
    environment.setenv("WATCHWORD_PUBLIC_URL", "sso.example.com")
    assert len(complaint().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "value", "means"),
    [
        pytest.param("PUBLIC_URL", "ftp://sso.example.com", "http", id="scheme"),
        pytest.param("PUBLIC_URL", "https://sso.example.com/", "trailing slash", id="trailing slash"),
        pytest.param("PUBLIC_URL", "https://sso.example.com?x=1", "query", id="query"),
        pytest.param("PUBLIC_URL", "https://me@sso.example.com", "user", id="user"),
        pytest.param("PUBLIC_URL", "https://sso.example.com/a//b", "slash", id="double slash"),
        pytest.param("TRUSTED_PROXIES", "10.0.0.0/8, nonsense", "network", id="network"),
        pytest.param("TRUSTED_PROXIES", "10.0.0.1/8", "network", id="host bits"),
        pytest.param("KEYS", "{}x", "JSON", id="keys"),
        pytest.param("KEYS", '{"forms": "c2hvcnQ"}', "bytes", id="short key"),
        pytest.param("ENVIRONMENT", "staging", "production", id="environment"),
        pytest.param("INTERNAL_URLS", "nonsense", "INTERNAL_URLS", id="mapping that is not JSON"),
    ],
)
def test_an_invalid_setting_is_named_with_what_is_wrong(
    environment: pytest.MonkeyPatch, name: str, value: str, means: str
) -> None:
    environment.setenv(f"WATCHWORD_{name}", value)
    said = complaint()
    assert f"WATCHWORD_{name}" in said
    assert means in said


def test_a_wrong_secret_is_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATCHWORD_KEYS", '{"forms": "canary-secret"}')
    assert "canary-secret" not in complaint()


def test_a_secret_is_read_from_its_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from/file\n")
    environment.delenv("WATCHWORD_DATABASE_URL")
    environment.setenv("WATCHWORD_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert load(ServiceSettings).database_url.get_secret_value() == "postgresql://from/file"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing file", "no text"])
def test_an_unreadable_file_is_named(environment: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    environment.delenv("WATCHWORD_KEYS")
    environment.setenv("WATCHWORD_KEYS_FILE", str(path))
    said = complaint()
    assert "WATCHWORD_KEYS_FILE" in said
    assert str(path) in said


def test_networks_are_given_with_commas_or_spaces(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATCHWORD_TRUSTED_PROXIES", "10.0.0.0/8, ::1/128 192.0.2.7/32")
    assert load(ServiceSettings).trusted_proxies == [
        ip_network(each) for each in ("10.0.0.0/8", "::1/128", "192.0.2.7/32")
    ]


@pytest.mark.parametrize(
    ("url", "base_path", "origin", "secure"),
    [
        ("http://localhost:8080", "", "http://localhost:8080", False),
        ("https://sso.example.com/auth", "/auth", "https://sso.example.com", True),
    ],
)
def test_a_public_url_may_carry_a_path(
    environment: pytest.MonkeyPatch, url: str, base_path: str, origin: str, secure: bool
) -> None:
    environment.setenv("WATCHWORD_PUBLIC_URL", url)
    settings = load(ServiceSettings)
    assert (settings.issuer, settings.base_path, settings.origin, settings.secure) == (url, base_path, origin, secure)


def test_secrets_do_not_show_in_the_representation() -> None:
    assert "pw@db" not in repr(load(ServiceSettings))
    assert json.loads(KEYS)["forms"] not in repr(load(ServiceSettings))


@pytest.mark.parametrize("settings", ALL)
def test_no_time_leads_out_of_the_calendar(settings: type[ServiceSettings]) -> None:
    """What a setting may ask for can be added to a moment of now, and to one as far ahead as that."""
    units = {"_s": 1, "_days": 86_400, "_ms": 0.001}
    for name, field in settings.model_fields.items():
        unit = next((unit for end, unit in units.items() if name.endswith(end)), None)
        if unit is None or field.annotation not in (int, float, int | None) or name.endswith("_per_s"):
            continue
        longest = next((each.le for each in field.metadata if isinstance(each, Le)), None)
        assert isinstance(longest, int | float), f"{name} has no end"
        assert datetime.now(UTC) + 4 * timedelta(seconds=longest * unit) < datetime.max.replace(tzinfo=UTC)
