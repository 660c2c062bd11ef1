"""`/account/applications`: where a person can go, and what they let use their account."""

from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import account, consent
from watchword_authz.account import Visitor
from watchword_authz.applications import usable
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.edge import address_of
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_database.engine import transaction
from watchword_web.forms import Params

log = structlog.get_logger()

_PATH: Final = "/account/applications"
_MAX_ID: Final = 2048
_MOST_TILES: Final = 200


def router(context: Context) -> APIRouter:
    """The tiles, and the list from which a consent is withdrawn."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PATH, show_own_applications, summary="The applications that a person may use, and those that use them")
    pages.take(_PATH, withdraw_own_consent, summary="Withdraw what an application was allowed")
    return api


async def show_own_applications(context: Context, request: Request, visitor: Visitor) -> Response:
    """A tile for each application that the person may use and that says where it begins."""
    tiles = []
    async for client in usable(context, visitor.user, address=address_of(context, request)):
        if client.main_uri is not None:
            tiles.append(client)
        if len(tiles) == _MOST_TILES:
            break
    async with transaction(context.database) as session:
        places = await account.places_of(context, session, visitor)
    return visitors.render(
        context,
        request,
        visitor,
        "account_applications.html",
        _PATH,
        tiles=sorted(tiles, key=lambda each: (each.client_name.casefold(), each.client_id)),
        used=await account.used_by(context, visitor, places),
    )


async def withdraw_own_consent(context: Context, _request: Request, visitor: Visitor, form: Params) -> Response:
    """What the application was allowed is over, and every token that came of it with it."""
    client_id = form.get("client_id", "")[:_MAX_ID]
    async with transaction(context.database) as session:
        entries = await consent.withdraw_from(session, visitor.user.id, client_id, feed=context.feed, now=context.now())
    await context.feed.settle(entries)
    log.info("account.application_withdrawn", user_id=visitor.user.id, client_id=client_id)
    return see_other(context, f"{_PATH}?done=withdrawn#used")
