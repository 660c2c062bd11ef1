"""Mail to people: written in the transaction that it tells of, sent behind it, tried again while the server is away.

What is in a mail may be a secret: until it is sent it stands sealed in the table.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid, parseaddr
from typing import Final

import orjson
import structlog

from watchword_authz import mail_store
from watchword_authz.mail_server import FAILURES, MailServer
from watchword_authz.models import Mail
from watchword_database.engine import Database, Session, transaction
from watchword_database.ids import new_id
from watchword_runtime.clock import Clock
from watchword_runtime.keyring import Unsealable
from watchword_runtime.rounds import Rounds
from watchword_runtime.seal import SecretSeal
from watchword_web.branding import PRODUCT, Branding
from watchword_web.texts import Text, Words

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 2.0  # for what another process left behind
_SEND_WITHIN_S: Final = 20.0
_TRY_WITHIN_S: Final = 4.0  # somebody waits for it, and the console for five seconds at most
_FIRST_WAIT: Final = timedelta(seconds=30)
_TRIES: Final = 8  # the last one about an hour after the first


class NotSent(Exception):
    """A mail was not taken. answer: what the mail server said, or what was in the way to it; never a secret of ours."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class Mails(Rounds):
    """The mails of one installation, on their way."""

    def __init__(
        self,
        database: Database,
        seal: SecretSeal,
        now: Clock,
        *,
        server: MailServer,
        sender: str,
        branding: Branding,
        public_url: str,
    ) -> None:
        """server: one without a host for none: then nothing is ever sent.  sender: who mails are from; an installation
        with a name of its own writes under that name.
        """
        super().__init__(every_s=_LOOK_EVERY_S, failure="mail.interrupted")
        self._database, self._seal, self._now, self._server = database, seal, now, server
        self._sender, self._branding, self._public_url = sender, branding, public_url

    @property
    def are_sent(self) -> bool:
        """Whether there is a mail server."""
        return bool(self._server.host)

    async def write(self, session: Session, to: str, subject: Text, paragraphs: Sequence[str], *, words: Words) -> None:
        """The mail leaves after this transaction. to: an address of directory's.  paragraphs: without the product's
        line.  words: of the language in which it is written.
        """
        if not self.are_sent:
            return
        mail_id, now = new_id(), self._now()
        plain = orjson.dumps(_letter(to, subject, paragraphs, words))
        sealed = await self._seal.seal(plain, mail_id.encode())
        session.add(Mail(id=mail_id, sealed=sealed, due_at=now, created_at=now))

    async def try_out(self, to: str, subject: Text, paragraphs: Sequence[str], *, words: Words) -> None:
        """The server has taken the mail, at the first try and at once. Arguments as of `write`. Raises NotSent."""
        letter = _letter(to, subject, paragraphs, words)
        try:
            await self._server.submit(self._message(new_id(), letter, self._now()), _TRY_WITHIN_S)
        except (*FAILURES, ValueError) as error:  # ValueError: a sender that is no address
            raise NotSent(self._server.told(error)) from error

    def start(self) -> None:
        """Mails are sent in the background until stop()."""
        if self.are_sent:
            super().start()

    async def once(self) -> None:
        """Every mail that is due was sent or put off."""
        while await self._database.ask(mail_store.ANY_DUE, self._now()) and await self._send_next():
            pass

    async def _send_next(self) -> bool:
        """True when there was a mail that is due. While it is sent nobody else takes it."""
        now = self._now()
        async with transaction(self._database) as session:
            row = await mail_store.claim_due(session, now, first_wait=_FIRST_WAIT)
        if row is None:
            return False
        try:
            await self._send(row, now)
        except (*FAILURES, Unsealable) as error:
            is_over = row.attempts >= _TRIES
            log.warning("mail.not_sent", mail_id=row.id, error=type(error).__name__, attempt=row.attempts, over=is_over)
            if not is_over:
                return True
        else:
            log.info("mail.sent", mail_id=row.id)
        async with transaction(self._database) as session:
            await mail_store.delete_mail(session, row.id)
        return True

    async def _send(self, row: Mail, now: datetime) -> None:
        letter = orjson.loads(self._seal.open(row.sealed, row.id.encode()))
        await self._server.submit(self._message(row.id, letter, now), _SEND_WITHIN_S)

    def _message(self, mail_id: str, letter: Mapping[str, str], now: datetime) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._from()
        message["To"] = letter["to"]
        message["Subject"] = letter["subject"]
        message["Date"] = formatdate(now.timestamp())
        message["Message-ID"] = make_msgid(idstring=mail_id, domain=self._sender.rpartition("@")[2].rstrip(">"))
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: nobody's out-of-office answers
        message.set_content(f"{letter['text']}\n\n-- \n{self._branding.brand.name}\n{self._public_url}\n")
        # After the content, whose headers replace all others that begin with Content-.
        message["Content-Language"] = letter.get("language", "en")  # a mail of an older release has none
        return message

    def _from(self) -> str | Address:
        name = self._branding.brand.name
        if name == PRODUCT:
            return self._sender
        return Address(name, addr_spec=parseaddr(self._sender)[1])


def _letter(to: str, subject: Text, paragraphs: Sequence[str], words: Words) -> dict[str, str]:
    """What is said to whom, as it stands sealed in the table."""
    text = "\n\n".join(words.of(paragraph) for paragraph in paragraphs)
    return {"to": to, "subject": words.of(subject), "text": text, "language": words.language}
