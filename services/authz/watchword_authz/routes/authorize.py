"""`/oauth2/authorize`: a checked request becomes a flow, or is answered at once."""

from fastapi import APIRouter, Request, Response

from watchword_authz import authorize, flows
from watchword_authz.context import Context
from watchword_authz.flow import Step
from watchword_authz.requests import AuthorizationRefused, Prompt
from watchword_authz.routes.edge import limit_beginnings
from watchword_authz.steps import answer_refusal, find_client, go_on, look, see_other
from watchword_database.engine import transaction
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
    flows.require_ledger(context)
    rev = context.feed.position
    client = await find_client(context, params.get("client_id"))
    hint = await context.hints.verify(params["id_token_hint"]) if "id_token_hint" in params else None
    try:
        request = authorize.check(authorize.Asked(params, client, hint))
    except AuthorizationRefused as refusal:
        return answer_refusal(context, http, refusal)
    flow, secret = flows.new_flow(rev, context.now(), request=request)
    if may_answer_now:
        situation = await look(context, flow, context.cookies.read_session(http), rev=rev)
        if situation.step is Step.FINISH or Prompt.NONE in request.prompt:
            return await go_on(context, http, situation, is_stored=False)
    async with transaction(context.database) as session:
        session.add(flow)
    response = see_other(context, f"/login?flow={flow.id}")
    context.cookies.set_flow(http, response, flow.id, secret)
    return response
