"""`/login/factor`: the second factor of a sign-in, or the enrolment of one where it is demanded of who has none."""

from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Request, Response

from watchword_authz import factors, flows, remembered, sessions, store
from watchword_authz.arrivals import Arrival, arrive
from watchword_authz.context import Context
from watchword_authz.factors import WrongCode
from watchword_authz.flow import Step
from watchword_authz.held import Passed, passed_in
from watchword_authz.qr import qr_code
from watchword_authz.routes.edge import address_of, retry_after, situation_of, wait_for
from watchword_authz.routes.visitors import zone_of
from watchword_authz.steps import Situation, go_on, see_other
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.texts import Text

_PAGE: Final = "factor"
_WRONG: Final = Text("This code is not right, or it was used before. Wait for the next one and try again.")


def router(context: Context) -> APIRouter:
    """The page between the first factor and the session."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login/factor", summary="Ask for the second factor")
    async def show_factor(request: Request) -> Response:
        situation, secret = await situation_of(context, request)
        user = await _subject(context, situation)
        if user is None:
            return await go_on(context, request, situation)
        return await _page(context, request, situation, secret, user)

    @api.post("/login/factor", summary="Prove the second factor, or enrol one")
    async def submit_factor(request: Request) -> Response:
        situation, secret = await situation_of(context, request)
        form = await read_form(request)
        user = await _subject(context, situation)
        if user is None:
            return await go_on(context, request, situation)
        flows.check_form(context, request, form, _PAGE, situation.flow, secret)
        passed = passed_in(situation.flow)
        if form.get("choice") == "continue" and passed is not None and passed.user_id == user.id:
            return await _go_through(context, request, situation)
        if situation.step is Step.ENROL:
            return await _enrol(context, request, situation, secret, user, form)
        return await _prove(context, request, situation, secret, user, form)

    return api


async def _subject(context: Context, situation: Situation) -> UserExport | None:
    """Whose second factor is asked for; None where the flow is not at this step."""
    if situation.step not in (Step.FACTOR, Step.ENROL):
        return None
    if situation.held is not None:
        return await context.users.get(situation.held.who.user_id)
    return situation.person.user if situation.person is not None else None


async def _page(
    context: Context,
    request: Request,
    situation: Situation,
    secret: str,
    user: UserExport,
    refused: WrongCode | None = None,
) -> Response:
    asked, flow = situation.request, situation.flow
    wait = refused.wait if refused is not None else timedelta(0)
    error = None if refused is None else wait_for(wait) if wait else _WRONG
    enrolment = await factors.enrolment(context, user.id, user.username) if situation.step is Step.ENROL else None
    return context.pages.render(
        request,
        "factor_enrol.html" if enrolment is not None else "factor.html",
        status=200 if refused is None else 429 if wait else 400,
        form_action=asked.targets if asked is not None else [],
        headers=retry_after(wait),
        action=f"/login/factor?flow={flow.id}",
        switch_action=f"/login?flow={flow.id}",
        csrf=flows.csrf_of(context, _PAGE, flow, secret),
        switch_csrf=flows.csrf_of(context, "login", flow, secret),
        client=situation.client,
        user=user,
        error=error,
        enrolment=enrolment,
        qr=qr_code(enrolment.uri) if enrolment is not None else None,
        remember_days=context.settings.remember_device_days,
        with_recovery=read_query(request).get("with") == "recovery",
        refused_at=context.now().astimezone(zone_of(user)) if refused is not None and not wait else None,
        flow_id=flow.id,
    )


async def _prove(
    context: Context, request: Request, situation: Situation, secret: str, user: UserExport, form: Params
) -> Response:
    address = address_of(context, request)
    refused = await factors.spend(context, request, user.id, form.get("otp", ""), address=address)
    if refused is not None:
        return await _page(context, request, situation, secret, user, refused)
    await _note(context, situation, Passed(user_id=user.id, amr=factors.AMR))
    secret_of_device = None
    if "remember" in form:
        async with transaction(context.database) as session:
            secret_of_device = await remembered.remember(context, session, request, user.id, address=address)
    response = await _go_through(context, request, situation)
    if secret_of_device is not None:
        remembered.set_cookie(context, response, secret_of_device)
    return response


async def _enrol(
    context: Context, request: Request, situation: Situation, secret: str, user: UserExport, form: Params
) -> Response:
    """The first code of a new authenticator counts as the second factor of this sign-in."""
    address = address_of(context, request)
    codes = await factors.confirm(context, request, user, form.get("otp", ""), address=address)
    if isinstance(codes, WrongCode):
        return await _page(context, request, situation, secret, user, codes)
    await _note(context, situation, Passed(user_id=user.id, amr=factors.AMR))
    asked, flow = situation.request, situation.flow
    return context.pages.render(
        request,
        "recovery_codes.html",
        form_action=asked.targets if asked is not None else [],
        action=f"/login/factor?flow={flow.id}",
        csrf=flows.csrf_of(context, _PAGE, flow, secret),
        codes=codes,
    )


async def _note(context: Context, situation: Situation, passed: Passed) -> None:
    flow = situation.flow
    async with transaction(context.database) as session:
        if not await store.claim_flow(session, flow.id, situation.now, passed=passed.model_dump(mode="json")):
            raise _over()
    flow.passed = passed.model_dump(mode="json")


async def _go_through(context: Context, request: Request, situation: Situation) -> Response:
    """The sign-in that waited is whole; or the session at hand is one of two factors from now on."""
    held, person, flow = situation.held, situation.person, situation.flow
    if held is not None:
        return await arrive(context, request, flow, Arrival(held.who, held_version=held.password_version))
    passed = passed_in(flow)
    if person is None or passed is None:
        raise _over()
    async with transaction(context.database) as session:
        stepped = await sessions.step_up(session, person.session, passed.amr, now=situation.now)
    if stepped is None:
        raise _over()
    response = see_other(context, f"/login?flow={flow.id}")
    context.cookies.set_session(response, stepped[1])
    return response


def _over() -> PageError:
    return PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")
