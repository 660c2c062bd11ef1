"""Settings of a service, read from the environment once, at start.

Every setting is `WATCHWORD_<NAME>`; every secret may also be given as a file, `WATCHWORD_<NAME>_FILE`. Nothing else
in a service reads the environment.
"""

import os
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from watchword_runtime.keyring import Keyring, KeyringError

PREFIX: Final = "WATCHWORD_"
Network = IPv4Network | IPv6Network
HostPattern = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*)$")]


class UnreadableSecret(Exception):
    """A `…_FILE` setting names a file that cannot be read."""


class _Files(PydanticBaseSettingsSource):
    """Reads `WATCHWORD_X_FILE` for each secret x that is not set directly."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The file's text without the line end; nothing when no file is named."""
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path or not _is_secret(field):
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UnreadableSecret(f"{variable}: cannot read {path}: {reason}") from None

    def __call__(self) -> dict[str, Any]:
        """The values of all secrets that are given as files."""
        found = ((name, self.get_field_value(field, name)[0]) for name, field in self.settings_cls.model_fields.items())
        return {name: value for name, value in found if value is not None}


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def checked_public_url(value: str) -> str:
    """The value, if an installation can have this public URL. Raises ValueError with what it must be."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an absolute http or https URL, for example https://sso.example.com")
    if value.endswith("/") or parts.query or parts.fragment or "@" in parts.netloc or "//" in parts.path:
        raise ValueError("must carry no trailing slash, query, fragment or user")
    return value


# The longest time that a setting may ask for: ten years. What is reckoned with it stays within the calendar.
LONGEST_S: Final = 10 * 366 * 86_400
MOST: Final = 1_000_000  # of what is counted in PostgreSQL


class ServiceSettings(BaseSettings):
    """What every service needs; a service's own `settings.py` adds to it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    public_url: str = Field(
        "http://localhost:8080",
        description="Origin, and path if any, under which people and clients reach Watchword: the issuer",
    )
    database_url: SecretStr = Field(
        description="PostgreSQL, as this service's role: postgresql://role:password@host/db"
    )
    nats_url: str = Field("nats://127.0.0.1:4222", description="NATS server, or several separated by commas")
    nats_seed: SecretStr | None = Field(None, description="nkey seed of this service's NATS user")
    nats_ca_file: Path | None = Field(None, description="PEM file with the authority of a NATS server that speaks TLS")
    keys: SecretStr = Field(description="JSON object of this service's derived keys by purpose, base64url")
    internal_urls: dict[str, str] = Field(
        {}, description='Where the other services listen inside: {"directory": "http://directory:8000"}'
    )
    trusted_proxies: Annotated[list[Network], NoDecode] = Field(
        [], description="Networks whose X-Forwarded-For is believed, separated by commas or spaces"
    )
    client_certificate_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]*$",
        description="Header in which a trusted proxy passes on the TLS certificate that a client proved to hold; "
        "the proxy must remove it from what clients send",
    )
    client_ca_file: Path | None = Field(
        None, description="PEM file with the authorities that vouch for the names in client certificates"
    )
    outbound_allow: Annotated[list[Network], NoDecode] = Field(
        [], description="Private networks that outgoing requests may reach (identity providers on site)"
    )
    outbound_ca_file: Path | None = Field(
        None, description="PEM file with further certificate authorities for outgoing requests"
    )
    registration: Literal["off", "token", "open"] = Field(
        "off",
        description="Who may register clients at /oauth2/register: nobody, holders of an initial access token, anybody",
    )
    client_document_hosts: Annotated[list[HostPattern], NoDecode] = Field(
        [],
        description="Hosts whose client-ID metadata documents are clients here, comma separated: `app.example.com`, "
        "`*.example.com`, or `*` for every host; none when left out",
    )
    refused_calls_per_s: float = Field(
        10, gt=0, description="Calls of the administration API without a live credential that one address may make"
    )
    refused_calls_burst: int = Field(600, ge=1, description="Such calls that one address may make at once")
    recent_sign_in_s: int = Field(
        600,
        ge=60,
        le=LONGEST_S,
        description="Whoever changes a credential has proved who they are no longer ago than this",
    )
    environment: Literal["production", "demo"] = Field(
        "production", description="`demo` allows plain http to loopback upstreams"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity of log lines")
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        description="Where traces are sent to (OTLP over HTTP); needs the extra `otel`. Without it nothing is traced",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, variables over files; `.env` files are not read."""
        return init_settings, env_settings, _Files(settings_cls)

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        return checked_public_url(value)

    @field_validator("trusted_proxies", "outbound_allow", "client_document_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return value.replace(",", " ").split()

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, value: SecretStr) -> SecretStr:
        try:
            Keyring(value.get_secret_value())
        except KeyringError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def issuer(self) -> str:
        """The issuer identifier: exactly `public_url`."""
        return self.public_url

    @property
    def base_path(self) -> str:
        """The path part of `public_url`: "" or, for example, "/auth"."""
        return urlsplit(self.public_url).path

    @property
    def secure(self) -> bool:
        """True when people reach Watchword by https."""
        return self.public_url.startswith("https://")

    @property
    def origin(self) -> str:
        """Scheme, host and port of `public_url`."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def host(self) -> str:
        """Host and port of `public_url`, as in a Host header."""
        return urlsplit(self.public_url).netloc

    @property
    def recent_sign_in(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.recent_sign_in_s)

    @property
    def keyring(self) -> Keyring:
        """The derived keys of this service."""
        return Keyring(self.keys.get_secret_value())


def from_directory(secrets: Path) -> dict[str, str]:
    """Settings from files that are named like them; the environment goes first. Raises OSError."""
    files = {path.name: path.read_text().strip() for path in sorted(secrets.iterdir()) if path.is_file()}
    return {
        name: text
        for name, text in files.items()
        if not {f"{PREFIX}{name.upper()}", f"{PREFIX}{name.upper()}_FILE"} & set(os.environ)
    }


S = TypeVar("S", bound=ServiceSettings)


def load(cls: type[S], **given: object) -> S:
    """The settings from the environment, completed by `given`.

    Raises SystemExit with one line per missing or invalid setting: its variable, what is wrong, the remedy.
    """
    try:
        return cls(**given)  # type: ignore[arg-type]  # values are checked by the model, wherever they come from
    except UnreadableSecret as error:
        raise SystemExit(f"{error}. Make the file readable for this process, or set the variable itself.") from None
    except ValidationError as error:
        raise SystemExit("\n".join(_complaints(cls, error))) from None
    except SettingsError as error:  # a variable that should be JSON and is not; the text names the field only
        name = str(error).partition('field "')[2].partition('"')[0]
        raise SystemExit(f"{PREFIX}{name.upper()} is invalid: must be JSON.{_meaning(cls, name)}") from None


def _complaints(cls: type[ServiceSettings], error: ValidationError) -> list[str]:
    """One line per wrong setting, without the value: it may be a secret."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        field = cls.model_fields.get(name)
        variable = f"{PREFIX}{name.upper()}"
        also = f" (or {variable}_FILE)" if field and _is_secret(field) else ""
        means = _meaning(cls, name)
        if problem["type"] == "missing":
            lines.append(f"{variable} is missing. Set {variable}{also}.{means}")
        else:
            lines.append(f"{variable} is invalid: {problem['msg'].removeprefix('Value error, ')}.{means}")
    return lines


def _meaning(cls: type[ServiceSettings], name: str) -> str:
    field: FieldInfo | None = cls.model_fields.get(name)
    return f" It is: {field.description}." if field and field.description else ""
