"""`/api/v1/invitations`: a link with which somebody who is in the directory chooses their first password."""

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from watchword_authz import break_glass, inviting
from watchword_authz.context import Context
from watchword_authz.routes.edge import check_way_in, known_user
from watchword_database.engine import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import ProblemDocument
from watchword_web.errors import Problem
from watchword_web.texts import Text

log = structlog.get_logger()

_ERRORS: dict[int | str, dict[str, object]] = {
    401: {"model": ProblemDocument},
    403: {"model": ProblemDocument},
    404: {"model": ProblemDocument},
    409: {"model": ProblemDocument},
}


class NewInvitation(BaseModel):
    """Whom. send: by mail to their verified address; otherwise the answer has the link."""

    model_config = ConfigDict(extra="forbid")

    user_id: str = Field(min_length=1, max_length=128)
    send: bool = False


class Invitation(BaseModel):
    """A link that works once. link: shown this once, null where it was sent."""

    user_id: str
    link: str | None
    expires_at: datetime


def router(context: Context) -> APIRouter:
    """For administrators; of an organization, for its people alone."""
    api = APIRouter(prefix="/api/v1/invitations", tags=["administration"], responses=_ERRORS)

    @api.post("", status_code=201, summary="Invite somebody to choose a password")
    async def invite_user(
        body: NewInvitation, caller: Annotated[Caller, Depends(context.callers.administrator)]
    ) -> Invitation:
        settings = context.settings
        if not settings.invitations or not settings.local_passwords:
            raise Problem(403, "Invitations are switched off", "An operator of this installation decided so.")
        context.feed.require()
        rev = context.feed.position
        user = await known_user(context, caller, body.user_id)
        if not user.active:
            raise Problem(404, "No such user", "There is no user with this id.")
        check_way_in(caller, user)
        if body.send and not (context.mails.are_sent and user.email is not None and user.email_verified):
            raise Problem(409, "This cannot be sent", "There is no mail server, or the user has no verified address.")
        now = context.now()
        async with transaction(context.database) as session:
            link = await inviting.link_for(context, session, user, now, rev=rev, is_sent=body.send)
            if body.send:
                words = context.pages.words(user.locale)
                text = Text(
                    "You have an account, %(username)s. Choose a password for it before %(end)s:\n%(link)s",
                    username=user.username,
                    end=words.moment(now + break_glass.INVITED_FOR),
                    link=link,
                )
                await context.mails.write(session, user.email or "", Text("You are invited"), [text], words=words)
        context.mails.look()
        log.info("user.invited", user_id=user.id, by_mail=body.send, **actor(caller))
        return Invitation(user_id=user.id, link=None if body.send else link, expires_at=now + break_glass.INVITED_FOR)

    return api
