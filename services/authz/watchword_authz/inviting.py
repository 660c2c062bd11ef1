"""Invitations to choose a password: of one person, and of everybody who lost their only way in with a provider.

admin hands over which provider was closed. Its people are looked at page by page, behind the call that closed it: what
was looked at and the mails that follow from it stand in one transaction, so that nobody gets two and nobody none.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from watchword_authz import break_glass, inviting_store
from watchword_authz.context import Context
from watchword_authz.models import ClosedProvider
from watchword_database import bus
from watchword_database.engine import Session, transaction
from watchword_events.exports import IdentityExport, UserExport
from watchword_events.handovers import InvitePeople, ResetPassword, SetPassword
from watchword_events.names import Service
from watchword_runtime.internal import MAX_IDS, InternalClient
from watchword_runtime.rounds import Rounds
from watchword_web.texts import Text

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 2.0  # for what was handed over while no event came
_AT_ONCE: Final = MAX_IDS


async def link_for(
    context: Context, session: Session, user: UserExport, now: datetime, *, rev: int, is_sent: bool
) -> str:
    """The link with which the person chooses a password; those of before lead nowhere any more.

    rev: noted before the person was read.  is_sent: to the person's address, and good for as long as it is theirs.
    """
    ticket = await break_glass.way_in(session, user.id, rev=rev, now=now, email=user.email if is_sent else None)
    return f"{context.settings.public_url}/login/reset?ticket={ticket}"


class Inviting(Rounds):
    """Invites the people of closed providers, in the background; any number of instances may."""

    def __init__(self, context: Context, pulls: InternalClient) -> None:
        super().__init__(every_s=_LOOK_EVERY_S, failure="inviting.interrupted")
        self._context, self._pulls = context, pulls

    async def once(self) -> None:
        """Whoever was to be invited has been. Raises internal.Unreachable and FeedAway."""
        context, handed = self._context, InvitePeople
        if not await context.database.ask(inviting_store.ANY_TO_LOOK_AT, handed.kind.value, handed.FLOW, context.now()):
            return
        async with transaction(context.database) as session:
            for taken in await bus.take_flow(session, handed, flow=handed.FLOW, now=context.now()):
                await inviting_store.put_closed(session, taken.payload.provider_id, taken.payload.version)
        while await self._invite_next():
            pass

    async def _invite_next(self) -> bool:
        """True when a page of people was looked at, here or elsewhere."""
        context = self._context
        context.feed.require()
        rev = context.feed.position
        async with transaction(context.database) as session:
            closed = await inviting_store.find_closed(session)
        if closed is None:
            return False
        provider = await context.providers.get(closed.provider_id, closed.version)
        is_open = provider is not None and provider.enabled  # again, and nobody has lost anything
        asked: dict[str, str | int] = {"only_provider_id": closed.provider_id, "after": closed.after, "limit": _AT_ONCE}
        page = None if is_open else await self._pulls.export(Service.DIRECTORY, "identity", asked)
        found = [] if page is None else [IdentityExport.model_validate(each.data) for each in page.items]
        users = await self._people(sorted({each.user_id for each in found}))
        async with transaction(context.database) as session:
            if await inviting_store.claim_page(session, closed, following=page.next if page is not None else None):
                await self._invite(session, closed, users, rev)
        context.mails.look()
        return True

    async def _people(self, user_ids: Sequence[str]) -> list[UserExport]:
        """Those who may sign in, from the copy or else pulled."""
        users = self._context.users
        known = await users.present(user_ids)
        if missing := [user_id for user_id in user_ids if user_id not in known]:
            await users.pull(missing)
            known = await users.present(user_ids)
        return [user for user in known.values() if user.active]

    async def _invite(self, session: Session, closed: ClosedProvider, users: Sequence[UserExport], rev: int) -> None:
        """Mails for those who have no way in, are known at an address, and were sent no link that is still good."""
        now = self._context.now()
        ids = [user.id for user in users]
        has_way_in = await inviting_store.with_credentials(session, ids)
        coming = [f"user:{user_id}" for user_id in ids]
        sent = [f"reset:{user_id}" for user_id in ids]
        settled = await bus.flows_of(session, SetPassword, flows=coming, now=now)
        links = {each.flow: each for each in await bus.waiting_in(session, ResetPassword, flows=sent, now=now)}
        invited = unreachable = 0
        for user in users:
            if user.id in has_way_in or f"user:{user.id}" in settled:
                continue
            link = links.get(f"reset:{user.id}")
            if link is not None and break_glass.is_good(link, user, self._context.feed):
                continue
            if user.email is None or not user.email_verified:
                unreachable += 1
                continue
            await self._write(session, user, now, rev)
            invited += 1
        log.info("users.invited", provider_id=closed.provider_id, count=invited, unreachable=unreachable)

    async def _write(self, session: Session, user: UserExport, now: datetime, rev: int) -> None:
        words = self._context.pages.words(user.locale)
        paragraphs = [
            Text(
                "The way in which you signed in to your account %(username)s until now was closed.",
                username=user.username,
            ),
            Text(
                "To sign in again, choose a password before %(end)s:\n%(link)s",
                end=words.moment(now + break_glass.INVITED_FOR),
                link=await link_for(self._context, session, user, now, rev=rev, is_sent=True),
            ),
        ]
        await self._context.mails.write(session, user.email or "", Text("Choose a password"), paragraphs, words=words)
