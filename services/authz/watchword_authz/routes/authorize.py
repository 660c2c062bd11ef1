"""`/oauth2/authorize`: a checked request becomes a flow, or is answered at once."""

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from watchword_authz import authorize, flows, store, ways
from watchword_authz.asking import asked_at_authorize
from watchword_authz.context import Context
from watchword_authz.flow import Step
from watchword_authz.requests import AuthorizationRefused, Prompt
from watchword_authz.routes.edge import address_of, limit_beginnings
from watchword_authz.steps import Situation, answer_refusal, find_client, go_on, look, see_other
from watchword_web.forms import Params, read_form, read_query


def router(context: Context) -> APIRouter:
    """The authorization endpoint. Spec: RFC 6749 3.1; OpenID Connect Core 3.1.2."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/oauth2/authorize", summary="Start a sign-in")
    async def start_sign_in(request: Request) -> Response:
        return await begin(context, request, read_query(request), may_answer_now=True)

    # OpenID Connect Core 3.1.2.1: POST must work, too. It comes from another site, so that the session cookie (Lax)
    # is not there yet: the flow is stored, and the GET that follows looks for the session.
    @api.post("/oauth2/authorize", summary="Start a sign-in", name="start_sign_in_by_post")
    async def start_by_post(request: Request) -> Response:
        return await begin(context, request, await read_form(request), may_answer_now=False)

    return api


async def begin(context: Context, http: Request, params: Params, *, may_answer_now: bool) -> Response:
    """The answer to the application, or the way to the first page of a new flow."""
    limit_beginnings(context, http)
    context.feed.require()
    rev = context.feed.position
    client = await find_client(context, params.get("client_id"))
    asked = await asked_at_authorize(context, params, client)
    try:
        request = authorize.check(asked)
    except AuthorizationRefused as refusal:
        flow, secret = flows.new_flow(rev, context.now(), request=refusal.request)
        return await answer_refusal(context, http, refusal, flow, secret)
    flow, secret = flows.new_flow(rev, context.now(), request=request)
    first_page = f"/login?flow={flow.id}"
    if may_answer_now:
        address = address_of(context, http)
        situation = await look(context, flow, context.cookies.read_session(http), address=address, rev=rev)
        if situation.step is Step.FINISH or Prompt.NONE in request.prompt:
            return await go_on(context, http, situation, new_secret=secret)
        if situation.step is Step.SIGN_IN:
            first_page = await _first_page(context, situation)
    await store.put_flow(context.database, flow)
    response = see_other(context, first_page)
    context.cookies.set_flow(http, response, flow.id, secret)
    return response


async def _first_page(context: Context, situation: Situation) -> str:
    """The sign-in page, or straight to the provider that the application names, or to which its login_hint leads.

    The latter only for whoever is not signed in.
    Spec: OpenID Connect Core 3.1.2.1.
    """
    flow_id, request, client = situation.flow.id, situation.request, situation.client
    login_page = f"/login?flow={flow_id}"
    if request is None or client is None or not (request.idp_hint or request.login_hint):
        return login_page
    providers = await ways.offered(context)
    led_to = ways.hinted(providers, client, request.idp_hint)
    if not led_to and request.login_hint and situation.person is None:
        led_to = ways.led_to(providers, request.login_hint)
    if len(led_to) != 1:
        return login_page
    return f"/login/provider/{quote(led_to[0].id, safe='')}?flow={flow_id}"
