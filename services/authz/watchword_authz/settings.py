"""Settings of the authz service beyond those that every service has."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr

from watchword_authz.mail_server import MailServer, Security
from watchword_runtime.settings import LONGEST_S, MOST, ServiceSettings


class AuthzSettings(ServiceSettings):
    """How long sign-ins last and how many wrong passwords are borne."""

    session_idle_s: int = Field(
        24 * 3600, ge=60, le=LONGEST_S, description="A session ends when it was not used for this long"
    )
    session_max_s: int = Field(7 * 86_400, ge=60, le=LONGEST_S, description="The longest that a session lasts")
    remember_device_days: int = Field(
        30, ge=0, le=365, description="How long a device need not prove the second factor again; 0 to remember none"
    )
    password_min_length: int = Field(
        15, ge=8, le=64, description="Characters that a password which somebody chooses has to have"
    )
    breached_passwords_url: str = Field(
        "",
        description="Range API that knows stolen passwords by the first five digits of their SHA-1, for example "
        "`https://api.pwnedpasswords.com/range`; nobody is asked when left out, nor turned away while it is silent",
    )
    security_contact: str = Field(
        "",
        pattern=r"^((mailto:|tel:|https://)[\x21-\x7e]+)?$",
        description="Whom /.well-known/security.txt names for reports of weaknesses: `mailto:…` or `https://…`; "
        "without it there is no such document",
    )
    local_passwords: bool = Field(True, description="Whether people may have passwords and sign in with them here")
    invitations: bool = Field(True, description="Whether administrators may invite people to choose a password")
    smtp_host: str = Field("", description="Mail server; without one nothing is sent, and no password is reset by mail")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port")
    smtp_security: Security = Field(
        "starttls", description="`starttls` (port 587), `tls` from the first byte (port 465), `none` on one machine"
    )
    smtp_username: str = Field("", description="Under which mail is submitted, where the server asks for it")
    smtp_password: SecretStr | None = Field(None, description="The password that belongs to it")
    mail_from: str = Field(
        "Watchword <no-reply@localhost>",
        pattern=r"^[^\r\n]*@[^\s@]+$",
        description="Who mails are from; an installation with a name of its own (docs/branding.md) writes under that",
    )
    places_file: Path | None = Field(
        None,
        description="GeoIP database in MaxMind DB format (cities, or countries alone): lists of sessions then show "
        "where an address is; read anew when it changes",
    )
    account_attempts: int = Field(
        5,
        ge=1,
        le=MOST,
        description="Wrong passwords for one account before each further try waits, twice as long each time",
    )
    account_wait_s: int = Field(1, ge=1, le=LONGEST_S, description="The first of those waits")
    account_lock_attempts: int = Field(
        10, ge=2, le=MOST, description="Wrong passwords for one account before it is locked"
    )
    account_lock_s: int = Field(
        900, ge=1, le=LONGEST_S, description="How long a locked account stays so for unknown devices"
    )
    address_attempts: int = Field(
        100,
        ge=1,
        le=MOST,
        description="Wrong passwords from one address (IPv6: /64) in an hour before each further try waits",
    )
    address_wait_s: int = Field(
        1, ge=1, le=LONGEST_S, description="The first of those waits; the longest is five minutes"
    )
    global_attempts: int = Field(
        6000,
        ge=1,
        le=MOST,
        description="Wrong passwords in a minute, over all accounts, before unknown devices have to wait",
    )
    flows_per_s: int = Field(
        100, ge=1, description="Sign-ins that one address may begin in a second; five times as many in a burst"
    )
    pushes_per_s: int = Field(
        1000, ge=1, description="Requests that one address may push in a second; five times as many in a burst"
    )
    client_failure_rate: float = Field(
        5.0, gt=0, description="Wrong client credentials per second that one address gets away with"
    )
    client_failure_burst: int = Field(
        100, ge=1, description="Wrong client credentials that one address may present at once"
    )
    decisions_keep_days: int = Field(
        30, ge=1, le=3650, description="How long it can be looked up what access rules decided, and why"
    )
    refusal_floor_ms: int = Field(
        400,
        ge=0,
        le=60_000,
        description="A refused sign-in is answered after a multiple of this time: its speed tells nothing",
    )

    @property
    def mail_server(self) -> MailServer:
        """By which mails leave."""
        return MailServer(self.smtp_host, self.smtp_port, self.smtp_security, self.smtp_username, self.smtp_password)

    @property
    def session_idle(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.session_idle_s)

    @property
    def remember_device(self) -> timedelta:
        """As a duration."""
        return timedelta(days=self.remember_device_days)

    @property
    def decisions_keep(self) -> timedelta:
        """As a duration."""
        return timedelta(days=self.decisions_keep_days)

    @property
    def session_max(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.session_max_s)
