"""Settings of the authz service beyond those that every service has."""

from datetime import timedelta

from pydantic import Field

from watchword_runtime.settings import ServiceSettings


class AuthzSettings(ServiceSettings):
    """How long sign-ins last and how many wrong passwords are borne."""

    session_idle_s: int = Field(24 * 3600, ge=60, description="A session ends when it was not used for this long")
    session_max_s: int = Field(7 * 86_400, ge=60, description="The longest that a session lasts")
    account_attempts: int = Field(
        5, ge=1, description="Wrong passwords for one account before each further try waits, twice as long each time"
    )
    account_wait_s: int = Field(1, ge=1, description="The first of those waits")
    account_lock_attempts: int = Field(10, ge=2, description="Wrong passwords for one account before it is locked")
    account_lock_s: int = Field(900, ge=1, description="How long a locked account stays so for unknown devices")
    address_attempts: int = Field(
        100, ge=1, description="Wrong passwords from one address (IPv6: /64) in an hour before each further try waits"
    )
    address_wait_s: int = Field(1, ge=1, description="The first of those waits; the longest is five minutes")
    global_attempts: int = Field(
        6000, ge=1, description="Wrong passwords in a minute, over all accounts, before unknown devices have to wait"
    )
    flows_per_s: int = Field(
        100, ge=1, description="Sign-ins that one address may begin in a second; five times as many in a burst"
    )
    refusal_floor_ms: int = Field(
        400,
        ge=0,
        description="A refused sign-in is answered after a multiple of this time: its speed tells nothing",
    )

    @property
    def session_idle(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.session_idle_s)

    @property
    def session_max(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.session_max_s)
