"""`/login/denied`: access rules do not let the person in. What they can do about it, and whom to tell what."""

from typing import Final

from fastapi import APIRouter, Request, Response

from watchword_authz import access, flows
from watchword_authz.context import Context
from watchword_authz.flow import Step
from watchword_authz.routes.edge import situation_of
from watchword_authz.steps import deny, go_on
from watchword_web.forms import read_form

_PAGE: Final = "denied"


def router(context: Context) -> APIRouter:
    """The page of a refusal. Spec: RFC 6749 4.1.2.1 (access_denied)."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login/denied", summary="Say that access rules do not let the person in")
    async def show_denied(request: Request) -> Response:
        situation, secret = await situation_of(context, request)
        asked, client, person, verdict = situation.request, situation.client, situation.person, situation.verdict
        if situation.step is not Step.DENIED or asked is None or client is None or person is None or verdict is None:
            return await go_on(context, request, situation)
        return context.pages.render(
            request,
            "denied.html",
            status=403,
            form_action=asked.targets,
            action=f"/login/denied?flow={situation.flow.id}",
            switch_action=f"/login?flow={situation.flow.id}",
            csrf=flows.csrf_of(context, _PAGE, situation.flow, secret),
            switch_csrf=flows.csrf_of(context, "login", situation.flow, secret),
            client=client,
            user=person.user,
            is_device=asked.device_id is not None,
            reference=access.note(context, verdict),
        )

    @api.post("/login/denied", summary="Go back to the application, which is told so")
    async def leave(request: Request) -> Response:
        situation, secret = await situation_of(context, request)
        form = await read_form(request)
        if situation.step is not Step.DENIED:
            return await go_on(context, request, situation)
        flows.check_form(context, request, form, _PAGE, situation.flow, secret)
        return await deny(context, request, situation)

    return api
