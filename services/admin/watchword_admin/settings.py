"""Settings of admin."""

from datetime import timedelta

from pydantic import Field

from watchword_runtime.settings import ServiceSettings


class AdminSettings(ServiceSettings):
    """How long the console stays open, and how many programs may follow the events."""

    refused_calls_per_s: float = Field(
        10, gt=0, description="Calls of the administration API without a live credential that one address may make"
    )
    refused_calls_burst: int = Field(600, ge=1, description="Such calls that one address may make at once")
    pool_size: int = Field(4, ge=1, le=50, description="Connections to PostgreSQL that one process keeps")
    console_idle_s: int = Field(1800, ge=60, description="A session at the console ends when it was idle for this long")
    console_max_s: int = Field(8 * 3600, ge=60, description="A session at the console ends after this at the latest")
    event_streams: int = Field(100, ge=1, description="Live event streams that one process serves at once")

    @property
    def console_idle(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.console_idle_s)

    @property
    def console_max(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.console_max_s)
