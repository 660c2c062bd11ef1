"""Settings of admin."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import Field

from watchword_runtime.settings import LONGEST_S, ServiceSettings

# RFC 6749 3.3
SCOPE_PATTERN: Final = r"^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$"


class AdminSettings(ServiceSettings):
    """How long the console stays open, and how many programs may follow the events."""

    pool_size: int = Field(4, ge=1, le=50, description="Connections to PostgreSQL that one process keeps")
    console_idle_s: int = Field(
        1800, ge=60, le=LONGEST_S, description="A session at the console ends when it was idle for this long"
    )
    console_max_s: int = Field(
        8 * 3600,
        ge=60,
        le=LONGEST_S,
        description="A session at the console ends after this, or eight hours, at the latest",
    )
    console_calls_per_s: float = Field(
        20, gt=0, description="Pages of the console that one address may ask for in a second"
    )
    console_calls_burst: int = Field(200, ge=1, description="Such pages that one address may ask for at once")
    event_streams: int = Field(100, ge=1, description="Live event streams that one process serves at once")

    provider_presets: Path | None = Field(
        None, description="Directory with further presets of identity providers, one YAML file each (docs/providers.md)"
    )

    registration_scope: str = Field(
        "openid profile email offline_access",
        pattern=SCOPE_PATTERN,
        description="Scopes that clients which registered themselves may ask for, unless their initial access token "
        "says otherwise",
    )
    registration_limit: int = Field(
        10_000, ge=1, description="Clients that may exist beside those that an administrator registered"
    )
    registration_idle_s: int = Field(
        30 * 86_400,
        ge=3600,
        le=LONGEST_S,
        description="A client that nobody here vouches for is deleted when it was idle for this long and no grant of "
        "it is live",
    )
    registration_calls_per_s: float = Field(
        1, gt=0, description="Calls of /oauth2/register that one address may make of one instance"
    )
    registration_calls_burst: int = Field(60, ge=1, description="Such calls that one address may make at once")

    webhook_horizon_s: int = Field(
        86_400,
        ge=60,
        le=LONGEST_S,
        description="A batch that a webhook's receiver has not taken for so long is given up",
    )

    audit_keep_days: int | None = Field(
        None,
        ge=1,
        le=36_525,
        description="Entries of the audit log are let go of after so many days; without it they stay",
    )

    @property
    def audit_keep(self) -> timedelta | None:
        """As a duration."""
        return None if self.audit_keep_days is None else timedelta(days=self.audit_keep_days)

    @property
    def webhook_horizon(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.webhook_horizon_s)

    @property
    def registration_idle(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.registration_idle_s)

    @property
    def console_idle(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.console_idle_s)

    @property
    def console_max(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.console_max_s)
