"""`/consent`: the person decides what an application may see and do."""

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import consent, flows
from watchword_authz.context import Context
from watchword_authz.flow import Step
from watchword_authz.requests import OAuthCode, Prompt
from watchword_authz.steps import Person, Situation, finish, go_on, look, refuse
from watchword_database.engine import transaction
from watchword_web.forms import read_form, read_query

log = structlog.get_logger()


def router(context: Context) -> APIRouter:
    """The consent page. Spec: OpenID Connect Core 3.1.2.4."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/consent", summary="Ask what an application may see and do")
    async def show_consent(request: Request) -> Response:
        situation, secret = await _situation(context, request)
        asked, client, person = situation.request, situation.client, situation.person
        is_silent = asked is not None and Prompt.NONE in asked.prompt
        if situation.step is not Step.CONSENT or is_silent or asked is None or client is None or person is None:
            return await go_on(context, request, situation)
        return context.pages.render(
            request,
            "consent.html",
            form_action=[asked.redirect_uri],
            action=f"/consent?flow={situation.flow.id}",
            switch_action=f"/login?flow={situation.flow.id}",
            csrf=flows.csrf_of(context, _page_of(person), situation.flow, secret),
            switch_csrf=flows.csrf_of(context, "login", situation.flow, secret),
            client=client,
            user=person.user,
            permissions=consent.describe(asked.scope, person.user),
        )

    @api.post("/consent", summary="Allow or deny")
    async def submit_consent(request: Request) -> Response:
        situation, secret = await _situation(context, request)
        form = await read_form(request)
        asked, person = situation.request, situation.person
        # Whoever is not at this step (signed out meanwhile, or allowed in another tab) decides nothing.
        if situation.step is not Step.CONSENT or asked is None or person is None:
            return await go_on(context, request, situation)
        flows.check_form(context, request, form, _page_of(person), situation.flow, secret)
        match form.get("decision"):
            case "allow":
                log.info("consent.granted", client_id=asked.client_id, user_id=person.user.id)
                return await finish(context, request, situation, allow=asked.scope)
            case "deny":
                return await refuse(context, request, situation, OAuthCode.ACCESS_DENIED, "the person did not allow it")
            case _:
                return await go_on(context, request, situation)

    return api


def _page_of(person: Person) -> str:
    """What the form's token is for: a decision that one person was asked for is not another's to send."""
    return f"consent {person.session.id}"


async def _situation(context: Context, request: Request) -> tuple[Situation, str]:
    rev = context.feed.position
    async with transaction(context.database) as session:
        flow, secret = await flows.open_flow(context, session, request, read_query(request).get("flow"))
    return await look(context, flow, context.cookies.read_session(request), rev=rev), secret
