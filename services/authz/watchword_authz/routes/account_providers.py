"""`/account/providers`: the identity providers through which a person signs in. `directory` owns the links."""

from datetime import datetime
from typing import Final
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import flows, own_calls, ways
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.edge import limit_beginnings
from watchword_authz.routes.login import offered_provider
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import LinkAccount
from watchword_runtime.calls import Document, Refused
from watchword_web.cookies import FLOW_LIFETIME
from watchword_web.forms import Params
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/account/providers"
_MAX_ID: Final = 128
LAST_WAY_IN: Final = "The last way in"  # as directory calls it


class Identity(Document):
    """An identity as `directory` shows it to the person to whom it leads."""

    id: str
    provider_id: str
    issuer: str
    subject: str
    created_at: datetime
    last_used_at: datetime


def router(context: Context) -> APIRouter:
    """A way in is added or taken away only right after a sign-in."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PATH, show_own_providers, summary="The providers through which a person signs in", is_guarded=True)
    pages.take(_PATH, change_own_providers, summary="Link a provider, or unlink one", is_guarded=True)
    return api


async def show_own_providers(context: Context, request: Request, visitor: Visitor) -> Response:
    """What is linked, and what could be."""
    return await _page(context, request, visitor)


async def change_own_providers(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """To a provider and back with a further way in, or one way in less."""
    if "unlink" in form:
        return await _unlink(context, request, visitor, form["unlink"][:_MAX_ID])
    return await _link(context, request, visitor, form.get("link", "")[:_MAX_ID])


async def _unlink(context: Context, request: Request, visitor: Visitor, identity_id: str) -> Response:
    """The link is gone, with every session and token of the person: what was started through it cannot be told apart.

    Refused, in words, for the last way in.
    """
    try:
        await own_calls.send(context, visitor, "DELETE", f"identities/{quote(identity_id, safe='') or 'none'}")
    except Refused as refused:
        return await _page(context, request, visitor, error=_told(refused))
    return see_other(context, "/account?done=unlinked")


async def _link(context: Context, request: Request, visitor: Visitor, provider_id: str) -> Response:
    """A page that leads to the provider. Whoever comes back from there in this flow is linked to the person.

    A link and no redirect: a form's answer may not lead a browser to another origin (`form-action`).
    """
    provider = await offered_provider(context, provider_id)
    limit_beginnings(context, request)
    now = context.now()
    flow, secret = flows.new_flow(visitor.rev, now, return_to=_PATH)
    asked = LinkAccount(
        binding=flow.binding,
        user_id=visitor.user.id,
        provider_id=provider.id,
        rev=visitor.rev,
        sid=visitor.session.id,
        idp=visitor.session.provider_id,
    )
    async with transaction(context.database) as session:
        session.add(flow)
        await bus.hand_over(session, asked, flow=flow.id, now=now, ttl=FLOW_LIFETIME)
    log.info("account.linking", user_id=visitor.user.id, provider_id=provider.id)
    response = visitors.render(
        context,
        request,
        visitor,
        "account_link.html",
        _PATH,
        provider=provider,
        href=f"/login/provider/{quote(provider.id, safe='')}?flow={flow.id}",
    )
    context.cookies.set_flow(request, response, flow.id, secret)
    return response


async def _page(context: Context, request: Request, visitor: Visitor, error: Text | None = None) -> Response:
    identities = await own_calls.read_all(context, visitor, "identities", Identity)
    linked = []
    for each in identities:
        provider = await context.providers.get(each.provider_id)
        name, preset = (provider.display_name, provider.preset) if provider is not None else (each.provider_id, "")
        linked.append((name, preset, each))
    return visitors.render(
        context,
        request,
        visitor,
        "account_providers.html",
        _PATH,
        status=409 if error else 200,
        error=error,
        linked=linked,
        offered=ways.shown_to(visitor.user, await ways.offered(context), last_used=None),
    )


def _told(refused: Refused) -> Text:
    if refused.title == LAST_WAY_IN:
        return Text("You could not sign in any more. Set a password, add a passkey or link another provider first.")
    return Text("This was not possible. Nothing was changed.")
