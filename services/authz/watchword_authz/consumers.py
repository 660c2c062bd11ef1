"""The event edge: copies follow their owners, and what became of a user reaches their passwords and sessions."""

import structlog

from watchword_authz import credentials, sessions, store
from watchword_authz.context import Context
from watchword_authz.inviting import Inviting
from watchword_authz.models import EndReason
from watchword_database.engine import transaction
from watchword_events.contracts import UpstreamSessionEnded
from watchword_runtime.broker import Handler, Received

log = structlog.get_logger()


def on_user(context: Context) -> Handler:
    """Follows users: takes passwords that directory handed over, ends the sessions of who may no longer sign in."""

    async def handle(received: list[Received]) -> None:
        await context.users.on_events(received)
        ids = list(dict.fromkeys(each.event.id for each in received))
        here = await context.users.present(ids)
        waiting = await credentials.handed_over(context.database, ids, now=context.now())
        for user_id in ids:  # of most there is nothing to do
            user = here.get(user_id)
            if user is None or not user.active or user_id in waiting:
                await follow_user(context, user_id)

    return handle


def on_provider(context: Context, inviting: Inviting) -> Handler:
    """Follows providers; people of one that was closed may be to be invited."""

    async def handle(received: list[Received]) -> None:
        await context.providers.on_events(received)
        inviting.look()

    return handle


def on_upstream_session(context: Context) -> Handler:
    """Ends the sessions that came from those that a provider has ended."""

    async def handle(received: list[Received]) -> None:
        ended: dict[str, list[str]] = {}
        for each in received:
            if isinstance(each.event, UpstreamSessionEnded):
                ended.setdefault(each.event.provider_id, []).append(each.event.id)
        for provider_id, upstream_sessions in ended.items():
            now = context.now()
            async with transaction(context.database) as session:
                entries = await sessions.end_upstream(
                    session, provider_id, upstream_sessions, feed=context.feed, now=now
                )
            await context.feed.settle(entries)
            log.info("sessions.ended_by_provider", provider_id=provider_id, count=len(entries))

    return handle


async def follow_user(context: Context, user_id: str) -> None:
    """Passwords and sessions fit what the copy says of the user. The event only said where to look."""
    user = await context.users.get(user_id)
    now = context.now()
    async with transaction(context.database) as session:
        entries = await credentials.take_handed_over(
            session, user_id, limits=context.limits, feed=context.feed, now=now
        )
        if user is None or not user.active:
            # They are dead by directory's entry in the ledger already; this closes the books and says so.
            ended = await sessions.end_all(session, user_id, EndReason.USER_DISABLED, feed=context.feed, now=now)
            entries += ended
            log.info("sessions.closed", user_id=user_id, count=len(ended))
        if user is None:
            await store.delete_person(session, user_id)
    await context.feed.settle(entries)
