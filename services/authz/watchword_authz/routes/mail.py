"""`/api/v1/mail`: by which server mails leave, and a test message to whoever asks for one."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from watchword_authz import throttle
from watchword_authz.context import Context
from watchword_authz.mail_server import Security
from watchword_authz.mails import NotSent
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import ProblemDocument
from watchword_web.errors import Problem
from watchword_web.limits import too_many_requests
from watchword_web.surfaces import Surface
from watchword_web.texts import Text

log = structlog.get_logger()

_ERRORS: dict[int | str, dict[str, object]] = {401: {"model": ProblemDocument}, 403: {"model": ProblemDocument}}
_CANNOT: dict[int | str, dict[str, object]] = {409: {"model": ProblemDocument}, 429: {"model": ProblemDocument}}


class MailServer(BaseModel):
    """By which server mails leave. host: null where there is none, and nothing is sent.  username: null where none is
    needed.  to: where a test message of the caller would go, their verified address; null where they have none.
    """

    host: str | None
    port: int
    security: Security
    username: str | None
    sender: str
    to: str | None


class MailTest(BaseModel):
    """What became of a test message. answer: what the server said, or what was in the way; null where it was sent."""

    to: str
    sent: bool
    answer: str | None


def router(context: Context) -> APIRouter:
    """For administrators of the installation. Nobody chooses where a message goes, nor what it says."""
    api = APIRouter(prefix="/api/v1/mail", tags=["administration"], responses=_ERRORS)

    @api.get("", summary="By which server mails leave")
    async def get_mail_server(caller: Annotated[Caller, Depends(context.callers.administrator)]) -> MailServer:
        settings = context.settings
        user = await context.users.get(caller.user_id) if caller.user_id is not None else None
        return MailServer(
            host=settings.smtp_host or None,
            port=settings.smtp_port,
            security=settings.smtp_security,
            username=settings.smtp_username or None,
            sender=settings.mail_from,
            to=_address_of(user),
        )

    @api.post("/test", summary="Send a test message to one's own verified address", responses=_CANNOT)
    async def test_mail(caller: Annotated[Caller, Depends(context.callers.person)]) -> MailTest:
        user = await context.users.get(caller.person_id)
        to = _address_of(user)
        if not context.mails.are_sent:
            raise Problem(409, "There is no mail server", "Nothing is sent here: no mail server is set.")
        if user is None or to is None:
            raise Problem(
                409, "This cannot be sent", "A test message goes to your own verified address: you have none."
            )
        async with transaction(context.database) as session:
            attempt = await throttle.claim_attempt(session, context.limits.mail_tests, user.id, context.now())
        if not attempt.allowed:
            raise too_many_requests(attempt.wait.total_seconds(), Surface.API)
        answer: str | None = None
        try:
            await context.mails.try_out(
                to,
                Text("A test message"),
                [
                    Text(
                        "You asked for this message, %(username)s. It has arrived, so the mails of this installation "
                        "leave.",
                        username=user.username,
                    )
                ],
                words=context.pages.words(user.locale),
            )
        except NotSent as failed:
            answer = failed.answer
        log.info("mail.tested", sent=answer is None, **actor(caller))
        return MailTest(to=to, sent=answer is None, answer=answer)

    return api


def _address_of(user: UserExport | None) -> str | None:
    """The address that is known to be the person's own."""
    return user.email if user is not None and user.email_verified else None
