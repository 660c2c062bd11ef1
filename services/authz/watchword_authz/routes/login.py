"""`/login`: the password form, the ways to identity providers, the choice of an account."""

from datetime import timedelta
from time import monotonic
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from watchword_authz import flows, passkeys, store, ways
from watchword_authz.arrivals import Arrival, arrive, proof_of
from watchword_authz.context import Context
from watchword_authz.credentials import AMR
from watchword_authz.flow import Step
from watchword_authz.models import Flow
from watchword_authz.passwords import Refused, try_password
from watchword_authz.requests import AuthorizationRequest, Prompt
from watchword_authz.routes.edge import (
    address_of,
    even_out,
    limit_beginnings,
    retry_after,
    situation_of,
    too_many_passwords,
    wait_for,
)
from watchword_authz.sessions import SignIn
from watchword_authz.steps import Situation, find_person, go_on, see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import ProviderExport
from watchword_events.handovers import UpstreamStart
from watchword_policy.assurance import LEVELS
from watchword_runtime.passwords import Busy
from watchword_web import languages
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.targets import is_local_path
from watchword_web.texts import Text

_PAGE: Final = "login"
_MAX_NAME: Final = 254
_NO_WAY: Final = Text("No way to sign in is known for this name. Check it, or choose another way.")
_MAX_ARRIVAL: Final = 64
_MAX_PASSWORD_BYTES: Final = 1024
_WRONG_PASSKEY: Final = Text("This passkey was not accepted. Try again, or sign in another way.")
_WRONG: Final = Text("The user name or the password is not right. Check both and try again.")


def router(context: Context) -> APIRouter:
    """The pages of signing in."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login", summary="The sign-in page")
    async def show_login(request: Request) -> Response:
        params = read_query(request)
        if "flow" not in params:
            return await begin_here(context, request, params.get("return_to"))
        situation, secret = await situation_of(context, request)
        if situation.step in (Step.SIGN_IN, Step.CHOOSE_ACCOUNT) and not _is_silent(situation.request):
            return await page(context, request, situation, secret)
        return await go_on(context, request, situation)

    @api.post("/login", summary="Sign in with a password, or choose an account")
    async def submit_login(request: Request) -> Response:
        begun = monotonic()
        situation, secret = await situation_of(context, request)
        form = await read_form(request)
        flows.check_form(context, request, form, _PAGE, situation.flow, secret)
        match form.get("choice"):
            case None if "credential" in form:
                return await _sign_in_with_passkey(context, request, situation, secret, form)
            case None:
                return await _enter(context, request, situation, secret, form, begun)
            case choice:
                return await _choose(context, request, situation, choice)

    @api.get("/login/provider/{provider_id}", summary="Sign in through an identity provider")
    async def go_to_provider(request: Request, provider_id: str) -> Response:
        params = read_query(request)
        if "flow" not in params and "arrival" in params:
            return await _continue_arrival(context, request, provider_id, params["arrival"])
        situation, _ = await situation_of(context, request)
        provider = await offered_provider(context, provider_id)
        flow = situation.flow
        start = _upstream_start(flow, situation.request, provider)
        ticket = await bus.leave(context.database, start, flow=flow.id, now=situation.now)
        return see_other(context, f"/api/auth/sso/login/{quote(provider.id, safe='')}?ticket={ticket}")

    return api


async def _continue_arrival(context: Context, request: Request, provider_id: str, arrival: str) -> Response:
    """A flow of its own for a sign-in that began at a provider and was confirmed at federation, which goes on there.

    arrival: federation's name for it, which counts only together with that browser's cookie. It ends at a page of ours.
    """
    context.feed.require()
    provider = await offered_provider(context, provider_id)
    limit_beginnings(context, request)
    now = context.now()
    flow, secret = flows.new_flow(context.feed.position, now, return_to="/login")
    start = UpstreamStart(provider_id=provider.id, binding=flow.binding, arrival=arrival[:_MAX_ARRIVAL])
    async with transaction(context.database) as session:
        session.add(flow)
        ticket = await bus.hand_over(session, start, flow=flow.id, now=now)
    response = see_other(context, f"/api/auth/sso/login/{quote(provider.id, safe='')}?ticket={ticket}")
    context.cookies.set_flow(request, response, flow.id, secret)
    return response


async def offered_provider(context: Context, provider_id: str) -> ProviderExport:
    """The provider, if people may sign in through it. Raises PageError (404)."""
    provider = await context.providers.get(provider_id)
    if provider is None or not ways.is_offered(context, provider):
        raise PageError(
            "provider_disabled",
            "This way to sign in is switched off",
            "Go back and choose another one, or ask the people who run this service.",
            404,
        )
    return provider


async def begin_here(context: Context, request: Request, return_to: str | None) -> Response:
    """A sign-in without an application: it ends at a page of ours, by default one that says who is signed in."""
    if return_to is not None and not is_local_path(return_to):
        raise PageError("invalid_request", "Cannot sign in from here", "The address to return to is not one of ours.")
    context.feed.require()
    person = await find_person(context, context.cookies.read_session(request), context.now())
    if person is not None and not person.is_short:
        if return_to is not None:
            return see_other(context, return_to)
        languages.prefer(request.scope, of_person=person.user.locale)
        return context.pages.render(request, "signed_in.html", user=person.user)
    limit_beginnings(context, request)
    flow, secret = flows.new_flow(context.feed.position, context.now(), return_to=return_to or "/login")
    async with transaction(context.database) as session:
        session.add(flow)
    response = see_other(context, f"/login?flow={flow.id}")
    context.cookies.set_flow(request, response, flow.id, secret)
    return response


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
    user = person.user if person is not None else None
    hint = (asked.login_hint if asked is not None else None) or (user.username if user is not None else "")
    providers = await ways.offered(context)
    last_used = context.cookies.read_provider(request)
    # The password comes second where the name may lead to a provider, unless it is wanted or the name is known.
    is_name_first = proof is None and any(each.domains for each in providers)
    is_second = user is not None or typed is not None or read_query(request).get("with") == "password"
    return context.pages.render(
        request,
        template,
        status=status,
        form_action=asked.targets if asked is not None else [],
        scripts=template == "login.html",
        headers=retry_after(wait),
        action=f"/login?flow={flow.id}",
        csrf=flows.csrf_of(context, _PAGE, flow, secret),
        client=client,
        user=user,
        username=typed or hint,
        error=error,
        providers=[
            each
            for each in ways.shown_to(user, providers, last_used=last_used)
            if proof is None or each.id != proof.provider_id
        ],
        last_used=last_used,
        flow_id=flow.id,
        has_passwords=context.settings.local_passwords,
        is_name_first=is_name_first,
        asks_password=context.settings.local_passwords and (is_second or not is_name_first),
        are_mails_sent=context.mails.are_sent,
        passkey=passkeys.asking(context, flow.id, secret),
        linking=await _provider_name(context, proof.provider_id) if proof is not None else None,
    )


async def _provider_name(context: Context, provider_id: str) -> str:
    provider = await context.providers.get(provider_id)
    return provider.display_name if provider is not None else provider_id


def _upstream_start(flow: Flow, request: AuthorizationRequest | None, provider: ProviderExport) -> UpstreamStart:
    """What the provider is asked, as strictly as the application asked us."""
    if request is None:
        prompt = ("login",) if flow.is_renewal else ("select_account",) if flow.again else ()
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
        acr_values=tuple(value for value in request.acr_values if value not in LEVELS),
        login_hint=request.login_hint,
        ui_locales=request.ui_locales,
    )


async def _choose(context: Context, request: Request, situation: Situation, choice: str) -> Response:
    """The account at hand, another one, or no linking after all."""
    flow, person = situation.flow, situation.person
    match choice:
        case "continue" if person is not None:
            values: dict[str, object] = {"chosen_sid": person.session.id}
        case "other":
            values = {"again": True, "chosen_sid": None, "sid": None, "held": None}
        case "cancel":
            values = {"proof": None, "held": None}
        case _:
            return see_other(context, f"/login?flow={flow.id}")
    async with transaction(context.database) as session:
        await store.claim_flow(session, flow.id, situation.now, **values)
    return see_other(context, f"/login?flow={flow.id}")


async def _enter(
    context: Context, request: Request, situation: Situation, secret: str, form: Params, begun: float
) -> Response:
    """A name alone leads to the provider of its domain, or to the password; with a password it signs in."""
    has_passwords, typed = context.settings.local_passwords, form.get("username", "")[:_MAX_NAME]
    if form.get("password") and has_passwords:
        return await _sign_in(context, request, situation, secret, form, begun)
    providers = await ways.offered(context)
    is_name_first = proof_of(situation.flow) is None and any(each.domains for each in providers)
    if not has_passwords and not is_name_first:
        return see_other(context, f"/login?flow={situation.flow.id}")
    if not typed.strip() or not is_name_first:
        return await page(context, request, situation, secret, error=_WRONG, typed=typed, status=400)
    led_to = ways.led_to(providers, typed)
    if led_to:
        return await _lead_on(context, request, situation, typed, led_to)
    if has_passwords:
        return await page(context, request, situation, secret, typed=typed)
    return await page(context, request, situation, secret, error=_NO_WAY, typed=typed, status=400)


async def _lead_on(
    context: Context, request: Request, situation: Situation, typed: str, providers: list[ProviderExport]
) -> Response:
    """A page that goes on to the provider by itself: what the form's policy allows ends at our own origin.

    The provider is told the name, where an application's request carries it.
    """
    flow = situation.flow
    if situation.request is not None and typed.isprintable():
        asked = situation.request.model_copy(update={"login_hint": typed.strip()})
        async with transaction(context.database) as session:
            await store.claim_flow(session, flow.id, situation.now, request=asked.model_dump(mode="json"))
    path = context.pages.url(f"/login/provider/{quote(providers[0].id, safe='')}?flow={flow.id}")
    return context.pages.render(
        request,
        "onward.html",
        headers={"Refresh": f"0; url={path}"} if len(providers) == 1 else None,
        client=situation.client,
        username=typed,
        providers=providers,
        flow_id=flow.id,
        has_passwords=context.settings.local_passwords,
    )


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
        raise too_many_passwords() from None
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
    await even_out(context, begun)
    wait = tried.wait if isinstance(tried, Refused) else timedelta(0)
    error, status = (wait_for(wait), 429) if wait else (_WRONG, 400)
    return await page(context, request, situation, secret, error=error, typed=typed, status=status, wait=wait)


async def _sign_in_with_passkey(
    context: Context, request: Request, situation: Situation, secret: str, form: Params
) -> Response:
    """Both factors at once, whoever it is: the passkey says so."""
    flow = situation.flow
    passkey = await passkeys.prove(context, form["credential"], form.get("challenge", ""), flow.id, secret)
    user = await context.users.get(passkey.user_id) if passkey is not None else None
    proof = proof_of(flow)
    is_wanted = passkey is not None and (proof is None or proof.user_id == passkey.user_id)
    if passkey is None or user is None or not user.active or not is_wanted:
        return await page(context, request, situation, secret, error=_WRONG_PASSKEY, status=400)
    who = SignIn(
        user_id=user.id,
        provider_id=None,
        auth_time=context.now(),
        amr=passkeys.amr_of(passkey),
        acr=None,
        rev=situation.rev,
        address=address_of(context, request),
        user_agent=request.headers.get("user-agent", ""),
    )
    return await arrive(context, request, flow, Arrival(who))
