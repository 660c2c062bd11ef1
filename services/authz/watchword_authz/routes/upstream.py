"""Where federation hands over that a provider has ended a person's session: ours that came from it end, too."""

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import sessions
from watchword_authz.context import Context
from watchword_authz.steps import see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import UpstreamEnded
from watchword_web.errors import PageError
from watchword_web.forms import read_query

log = structlog.get_logger()


def router(context: Context) -> APIRouter:
    """`/login/ended`."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login/ended", summary="End what came from a session that a provider has ended")
    async def end_with_provider(request: Request) -> Response:
        context.feed.require()
        ticket = read_query(request).get("ticket", "")
        async with transaction(context.database) as session:
            seen = await bus.peek(session, UpstreamEnded, ticket)
            if seen is None:
                raise PageError("ticket_unknown", "This step is over", "You can close this page.")
            told = seen.payload
            entries: list[int] = []
            if await bus.take(session, UpstreamEnded, ticket, now=context.now()) is not None:
                entries = await sessions.end_upstream(
                    session, told.provider_id, told.upstream_sessions, feed=context.feed, now=context.now()
                )
        # The ticket is the authority, no cookie: providers do this in frames, where browsers send none.
        await context.feed.settle(entries)
        log.info("sessions.ended_by_provider", provider_id=told.provider_id, count=len(entries))
        return see_other(context, told.back)

    return api
