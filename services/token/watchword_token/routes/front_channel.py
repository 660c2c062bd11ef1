"""`/oauth2/authorize/answer`: the browser brings an answer that has to be completed here, and takes it on."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request, Response

from watchword_database import bus, transaction
from watchword_database.bus import Taken
from watchword_events.exports import ClientExport
from watchword_events.handovers import AuthorizationResponse
from watchword_token.clients import Client
from watchword_token.edge import Parts
from watchword_token.front_channel import FrontChannel, is_bound_to, is_of
from watchword_token.issuing import Behind, TokenRequest
from watchword_token.memory import Kept
from watchword_web.addresses import address_prefix, client_address
from watchword_web.cookies import Cookies
from watchword_web.delivery import Way, deliver
from watchword_web.errors import PageError
from watchword_web.forms import read_query
from watchword_web.limits import Limiter
from watchword_web.pages import Pages
from watchword_web.surfaces import Surface
from watchword_web.texts import Text

_CATCH_UP_S: Final = 1.0
_CATCH_UP_STEP_S: Final = 0.005
_AGAIN: Final = Text("Go back to the application and start the sign-in there again.")


def front_channel_router(
    parts: Parts, front_channel: FrontChannel, clients: Kept[ClientExport, Client], pages: Pages
) -> APIRouter:
    """The last hop of answers with tokens, and of signed ones."""
    api = APIRouter(tags=["sign-in"])
    cookies = Cookies(parts.settings)
    answers = Limiter(100, 500)  # as many as one address may begin at authz

    @api.get("/oauth2/authorize/answer", summary="Take an answer to the application")
    async def take_answer(request: Request) -> Response:
        peer = request.client.host if request.client else None
        address = client_address(request.scope["headers"], peer, parts.settings.trusted_proxies)
        answers.check(address_prefix(address), parts.now(), Surface.PAGE)
        parts.feed.require()
        query = read_query(request)
        ticket, code = query.get("ticket", ""), query.get("code")
        async with transaction(parts.database) as session:
            seen = await bus.peek(session, AuthorizationResponse, ticket)
        if seen is None:
            raise PageError("ticket_unknown", "This step is over", _AGAIN)
        payload = seen.payload
        # Compared before anything is taken, so that another browser cannot use a ticket up.
        if not is_bound_to(payload, cookies.read_flow(request, seen.flow)) or not is_of(payload, code):
            raise PageError("flow_not_here", "This sign-in was not started here", _AGAIN, 403)
        params = await _complete(seen, ticket, code)
        if params is None:
            raise PageError("ticket_unknown", "This step is over", _AGAIN)
        response = deliver(pages, request, Way(payload.way), payload.redirect_uri, params)
        cookies.drop_flow(response, seen.flow)
        return response

    async def _complete(seen: Taken[AuthorizationResponse], ticket: str, code: str | None) -> dict[str, str] | None:
        """The parameters; begun again, with everything read afresh, where this instance had not applied enough yet."""
        try:
            return await _once(seen, ticket, code)
        except Behind as behind:
            rev = behind.rev
        async with asyncio.timeout(_CATCH_UP_S):
            while parts.feed.position < rev:
                await asyncio.sleep(_CATCH_UP_STEP_S)
        return await _once(seen, ticket, code)

    async def _once(seen: Taken[AuthorizationResponse], ticket: str, code: str | None) -> dict[str, str] | None:
        position = parts.feed.position  # before anything is read that the answer depends on
        payload = seen.payload
        client = await clients.get(payload.client_id)
        is_live = parts.feed.is_live({"rev": position, "client_id": payload.client_id})
        if client is None or not client.enabled or not is_live:
            raise PageError("client_disabled", "This application is switched off", _AGAIN, 403)
        request = TokenRequest({}, client, position, parts.now().timestamp())
        return await front_channel.complete(request, payload, ticket, code)

    return api
