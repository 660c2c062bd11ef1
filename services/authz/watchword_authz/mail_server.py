"""The operator's mail server, as it is spoken to: to submit a mail, or only to see whether it would take one."""

import asyncio
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final, Literal

import aiosmtplib
from pydantic import SecretStr

Security = Literal["starttls", "tls", "none"]

FAILURES: Final = (aiosmtplib.SMTPException, OSError, TimeoutError)
_MOST_TOLD: Final = 500  # of what a server answers


@dataclass(frozen=True)
class MailServer:
    """host: "" for none.  username: "" where none is needed."""

    host: str
    port: int
    security: Security
    username: str = ""
    password: SecretStr | None = field(default=None, repr=False)

    async def submit(self, message: EmailMessage, within_s: float) -> None:
        """The server has taken the mail. Raises one of FAILURES."""
        async with asyncio.timeout(within_s), self._client(within_s) as client:
            await client.send_message(message)

    async def look(self, within_s: float) -> None:
        """The server answers and lets us in, as for a mail; nothing is sent. Raises one of FAILURES."""
        async with asyncio.timeout(within_s), self._client(within_s) as client:
            await client.noop()

    def told(self, error: Exception) -> str:
        """What somebody reads of a failure: in one line, without the password, whatever the server says of it."""
        told = " ".join(_reason(error).split())
        if login := self._login:
            username, password = login
            plain = f"\0{username}\0{password}"  # RFC 4616 2
            for each in (*(b64encode(form.encode()).decode() for form in (plain, password)), password):
                told = told.replace(each, "…") if each else told
        return "".join(filter(str.isprintable, told))[:_MOST_TOLD]

    @property
    def _login(self) -> tuple[str, str] | None:
        return (self.username, self.password.get_secret_value()) if self.username and self.password else None

    def _client(self, within_s: float) -> aiosmtplib.SMTP:
        """Connects, speaks TLS as it shall, and signs in, when it is entered."""
        login = self._login
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=login[0] if login else None,
            password=login[1] if login else None,
            use_tls=self.security == "tls",
            start_tls=self.security == "starttls",
            tls_context=None if self.security == "none" else ssl.create_default_context(),
            timeout=within_s,
        )


def _reason(error: Exception) -> str:
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            return "; ".join(map(_reason, error.recipients))
        case aiosmtplib.SMTPResponseException():
            return f"{error.code} {error.message}" if error.code > 0 else error.message
        case TimeoutError():
            return str(error) or "no answer in time"
        case _:
            return str(error) or type(error).__name__
