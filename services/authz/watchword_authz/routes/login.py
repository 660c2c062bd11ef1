"""`/login`: the password form, the ways to identity providers, the choice of an account."""

import asyncio
import math
from datetime import timedelta
from time import monotonic
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from watchword_authz import flows, store
from watchword_authz.arrivals import Arrival, arrive, proof_of
from watchword_authz.context import Context
from watchword_authz.credentials import AMR
from watchword_authz.flow import Step
from watchword_authz.models import Flow, ProviderCopy
from watchword_authz.passwords import Refused, try_password
from watchword_authz.requests import AuthorizationRequest, Prompt
from watchword_authz.routes.edge import address_of, limit_beginnings
from watchword_authz.sessions import SignIn
from watchword_authz.steps import Situation, find_person, go_on, look, see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import ProviderExport
from watchword_events.handovers import UpstreamStart
from watchword_runtime.passwords import Busy
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.targets import is_local_path

_PAGE: Final = "login"
_MAX_NAME: Final = 254
_MAX_PASSWORD_BYTES: Final = 1024
_WRONG: Final = "The user name or the password is not right. Check both and try again."


def router(context: Context) -> APIRouter:
    """The pages of signing in."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login", summary="The sign-in page")
    async def show_login(request: Request) -> Response:
        params = read_query(request)
        if "flow" not in params:
            return await begin_here(context, request, params.get("return_to"))
        situation, secret = await _situation(context, request, params["flow"])
        if situation.step in (Step.SIGN_IN, Step.CHOOSE_ACCOUNT) and not _is_silent(situation.request):
            return await page(context, request, situation, secret)
        return await go_on(context, request, situation)

    @api.post("/login", summary="Sign in with a password, or choose an account")
    async def submit_login(request: Request) -> Response:
        begun = monotonic()
        situation, secret = await _situation(context, request, read_query(request).get("flow"))
        form = await read_form(request)
        flows.check_form(context, request, form, _PAGE, situation.flow, secret)
        match form.get("choice"):
            case None:
                return await _sign_in(context, request, situation, secret, form, begun)
            case choice:
                return await _choose(context, request, situation, choice)

    @api.get("/login/provider/{provider_id}", summary="Sign in through an identity provider")
    async def go_to_provider(request: Request, provider_id: str) -> Response:
        situation, _ = await _situation(context, request, read_query(request).get("flow"))
        provider = await context.providers.get(provider_id)
        if provider is None or not _is_offered(context, provider):
            raise PageError(
                "provider_disabled",
                "This way to sign in is switched off",
                "Go back and choose another one, or ask the people who run this service.",
                404,
            )
        flow = situation.flow
        async with transaction(context.database) as session:
            ticket = await bus.hand_over(
                session, _upstream_start(flow, situation.request, provider), flow=flow.id, now=situation.now
            )
        return see_other(context, f"/api/auth/sso/login/{quote(provider.id, safe='')}?ticket={ticket}")

    return api


async def begin_here(context: Context, request: Request, return_to: str | None) -> Response:
    """A sign-in without an application: it ends at a page of ours, by default one that says who is signed in."""
    if return_to is not None and not is_local_path(return_to):
        raise PageError("invalid_request", "Cannot sign in from here", "The address to return to is not one of ours.")
    flows.require_ledger(context)
    person = await find_person(context, context.cookies.read_session(request), context.now())
    if person is not None:
        if return_to is not None:
            return see_other(context, return_to)
        return context.pages.render(request, "signed_in.html", user=person.user)
    limit_beginnings(context, request)
    flow, secret = flows.new_flow(context.feed.position, context.now(), return_to=return_to or "/login")
    async with transaction(context.database) as session:
        session.add(flow)
    response = see_other(context, f"/login?flow={flow.id}")
    context.cookies.set_flow(request, response, flow.id, secret)
    return response


async def _situation(context: Context, request: Request, flow_id: str | None) -> tuple[Situation, str]:
    rev = context.feed.position
    async with transaction(context.database) as session:
        flow, secret = await flows.open_flow(context, session, request, flow_id)
    return await look(context, flow, context.cookies.read_session(request), rev=rev), secret


def _is_silent(request: AuthorizationRequest | None) -> bool:
    return request is not None and Prompt.NONE in request.prompt


async def page(
    context: Context,
    request: Request,
    situation: Situation,
    secret: str,
    *,
    error: str | None = None,
    typed: str | None = None,
    status: int = 200,
    wait: timedelta = timedelta(0),
) -> Response:
    """The sign-in page of a flow, or the choice between the account at hand and another one."""
    asked, client, flow = situation.request, situation.client, situation.flow
    proof = proof_of(flow)
    template = "choose.html" if situation.step is Step.CHOOSE_ACCOUNT and proof is None else "login.html"
    # Whoever asked for another account is not reminded of this one.
    person = situation.person if not flow.again else None
    hint = (asked.login_hint if asked is not None else None) or (person.user.username if person else "")
    return context.pages.render(
        request,
        template,
        status=status,
        form_action=[asked.redirect_uri] if asked is not None else [],
        headers={"Retry-After": str(max(1, math.ceil(wait.total_seconds())))} if wait else None,
        action=f"/login?flow={flow.id}",
        csrf=flows.csrf_of(context, _PAGE, flow, secret),
        client=client,
        user=person.user if person else None,
        username=typed or hint,
        error=error,
        providers=[each for each in await _offered(context) if proof is None or each.id != proof.provider_id],
        flow_id=flow.id,
        linking=await _provider_name(context, proof.provider_id) if proof is not None else None,
    )


async def _offered(context: Context) -> list[ProviderExport]:
    """Providers that one can sign in with, in the order that the administrator chose."""
    async with transaction(context.database) as session:
        rows = await store.live_data(session, ProviderCopy)
    providers = [ProviderExport.model_validate(row) for row in rows]
    offered = [provider for provider in providers if _is_offered(context, provider)]
    return sorted(offered, key=lambda provider: (provider.order, provider.display_name.casefold(), provider.id))


def _is_offered(context: Context, provider: ProviderExport) -> bool:
    is_trusted = context.feed.is_live({"rev": context.feed.position, "idp": provider.id})
    return provider.enabled and provider.sign_in and is_trusted


async def _provider_name(context: Context, provider_id: str) -> str:
    provider = await context.providers.get(provider_id)
    return provider.display_name if provider is not None else provider_id


def _upstream_start(flow: Flow, request: AuthorizationRequest | None, provider: ProviderExport) -> UpstreamStart:
    """What the provider is asked, as strictly as the application asked us."""
    if request is None:
        prompt = ("select_account",) if flow.again else ()
        return UpstreamStart(provider_id=provider.id, binding=flow.binding, prompt=prompt)
    if Prompt.LOGIN in request.prompt or request.max_age_s == 0:
        prompt = ("login",)
    elif flow.again or Prompt.SELECT_ACCOUNT in request.prompt:
        prompt = ("select_account",)
    else:
        prompt = ()
    return UpstreamStart(
        provider_id=provider.id,
        binding=flow.binding,
        prompt=prompt,
        max_age_s=request.max_age_s,
        acr_values=request.acr_values,
        login_hint=request.login_hint,
    )


async def _choose(context: Context, request: Request, situation: Situation, choice: str) -> Response:
    """The account at hand, another one, or no linking after all."""
    flow, person = situation.flow, situation.person
    match choice:
        case "continue" if person is not None:
            values: dict[str, object] = {"chosen_sid": person.session.id}
        case "other":
            values = {"again": True, "chosen_sid": None, "sid": None}
        case "cancel":
            values = {"proof": None}
        case _:
            return see_other(context, f"/login?flow={flow.id}")
    async with transaction(context.database) as session:
        await store.claim_flow(session, flow.id, situation.now, **values)
    return see_other(context, f"/login?flow={flow.id}")


async def _sign_in(
    context: Context, request: Request, situation: Situation, secret: str, form: Params, begun: float
) -> Response:
    typed, password = form.get("username", ""), form.get("password", "")
    too_long = len(typed) > _MAX_NAME or len(password.encode()) > _MAX_PASSWORD_BYTES
    if not typed or not password or too_long:
        return await page(context, request, situation, secret, error=_WRONG, typed=typed[:_MAX_NAME], status=400)
    address = address_of(context, request)
    try:
        tried = await try_password(context, request, typed=typed, password=password, address=address)
    except Busy:
        raise PageError(
            "temporarily_unavailable", "Too many people are signing in", "Wait a few seconds, then try again.", 503,
            headers={"Retry-After": "5"},
        ) from None  # fmt: skip
    proof = proof_of(situation.flow)
    if not isinstance(tried, Refused) and (proof is None or proof.user_id == tried.user.id):
        who = SignIn(
            user_id=tried.user.id,
            provider_id=None,
            auth_time=context.now(),
            amr=AMR,
            acr=None,
            rev=situation.rev,
            address=address,
            user_agent=request.headers.get("user-agent", ""),
        )
        return await arrive(context, request, situation.flow, Arrival(who, tried))
    await _even_out(context, begun)
    wait = tried.wait if isinstance(tried, Refused) else timedelta(0)
    error, status = (_wait_for(wait), 429) if wait else (_WRONG, 400)
    return await page(context, request, situation, secret, error=error, typed=typed, status=status, wait=wait)


def _wait_for(wait: timedelta) -> str:
    seconds = max(1, math.ceil(wait.total_seconds()))
    shown = "a second" if seconds == 1 else f"{seconds} seconds"
    if seconds >= 120:
        shown = f"{math.ceil(seconds / 60)} minutes"
    return f"Too many attempts. Wait {shown}, then try again."


async def _even_out(context: Context, begun: float) -> None:
    """A refusal leaves at the next multiple of the floor: looking a user up, or pulling one, shows in no timing."""
    floor_s = context.settings.refusal_floor_ms / 1000
    if floor_s:
        spent_s = monotonic() - begun
        await asyncio.sleep(math.ceil(spent_s / floor_s) * floor_s - spent_s)
