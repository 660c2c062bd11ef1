"""`/consent`: the person decides what an application may see and do."""

from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import consent, device_requests, flows
from watchword_authz.context import Context
from watchword_authz.flow import Step
from watchword_authz.requests import AuthorizationRequest, OAuthCode, Prompt
from watchword_authz.routes.edge import situation_of
from watchword_authz.steps import Person, finish, go_on, refuse
from watchword_database.engine import transaction
from watchword_web.forms import read_form
from watchword_web.texts import Text

log = structlog.get_logger()


def router(context: Context) -> APIRouter:
    """The consent page. Spec: OpenID Connect Core 3.1.2.4."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/consent", summary="Ask what an application may see and do")
    async def show_consent(request: Request) -> Response:
        situation, secret = await situation_of(context, request)
        asked, client, person = situation.request, situation.client, situation.person
        is_silent = asked is not None and Prompt.NONE in asked.prompt
        if situation.step is not Step.CONSENT or is_silent or asked is None or client is None or person is None:
            return await go_on(context, request, situation)
        return context.pages.render(
            request,
            "consent.html",
            form_action=asked.targets,
            action=f"/consent?flow={situation.flow.id}",
            switch_action=f"/login?flow={situation.flow.id}",
            csrf=flows.csrf_of(context, _page_of(person), situation.flow, secret),
            switch_csrf=flows.csrf_of(context, "login", situation.flow, secret),
            client=client,
            client_host=host_of(client.client_id),
            return_host=host_of(asked.redirect_uri),
            user=person.user,
            permissions=consent.describe(asked.consent_scope, person.user, client, context.scopes.page),
            links=consent.links_of(client),
            details=consent.describe_details(asked.details),
            resources=asked.resource,
            device=await _device(context, asked),
        )

    @api.post("/consent", summary="Allow or deny")
    async def submit_consent(request: Request) -> Response:
        situation, secret = await situation_of(context, request)
        form = await read_form(request)
        asked, person = situation.request, situation.person
        # Whoever is not at this step (signed out meanwhile, or allowed in another tab) decides nothing.
        if situation.step is not Step.CONSENT or asked is None or person is None:
            return await go_on(context, request, situation)
        flows.check_form(context, request, form, _page_of(person), situation.flow, secret)
        match form.get("decision"):
            case "allow":
                log.info("consent.granted", client_id=asked.client_id, user_id=person.user.id)
                return await finish(context, request, situation, allow=asked.permissions)
            case "deny":
                return await refuse(context, request, situation, OAuthCode.ACCESS_DENIED, "the person did not allow it")
            case _:
                return await go_on(context, request, situation)

    return api


def host_of(uri: str) -> str:
    """Whom an address belongs to, as people may judge it: the host, or the scheme of an installed application."""
    parts = urlsplit(uri)
    return parts.hostname or f"{parts.scheme}:"


async def _device(context: Context, asked: AuthorizationRequest) -> dict[str, str] | None:
    """What there is to compare with the device that asks: the code that it shows, and where it is.

    Spec: RFC 8628 3.3, 5.4.
    """
    if asked.device_id is None:
        return None
    async with transaction(context.database) as session:
        row = await device_requests.find(session, asked.device_id)
    user_code = device_requests.user_code_of(context.forms_key, asked.device_id)
    return {"user_code": user_code, "address": (row.address if row is not None else "") or Text("unknown")}


def _page_of(person: Person) -> str:
    """What the form's token is for: a decision that one person was asked for is not another's to send."""
    return f"consent {person.session.id}"
