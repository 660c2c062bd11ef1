"""Where directory hands a sign-in back: `/login/complete` with a user, `/login/prove` with an account to prove."""

from fastapi import APIRouter, Request, Response

from watchword_authz import flows, store
from watchword_authz.arrivals import Arrival, arrive
from watchword_authz.context import Context
from watchword_authz.models import Flow
from watchword_authz.routes.edge import address_of
from watchword_authz.sessions import SignIn
from watchword_authz.steps import see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import ProveAccount, SignedIn
from watchword_web.errors import PageError
from watchword_web.forms import read_query


def router(context: Context) -> APIRouter:
    """The hops that end at a ticket for this service."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login/complete", summary="Complete a sign-in through a provider")
    async def complete_sign_in(request: Request) -> Response:
        flow, payload = await _take(context, request, SignedIn)
        if payload is None:
            return see_other(context, f"/login?flow={flow.id}")
        await _check_person(context, flow, payload)
        who = SignIn(
            user_id=payload.user_id,
            provider_id=payload.provider_id,
            auth_time=payload.auth_time,
            amr=payload.amr,
            acr=payload.acr,
            # The ticket was made after the flow began: what ended the person's or the provider's access since then,
            # ends this sign-in, too.
            rev=flow.rev,
            issuer=payload.issuer,
            address=address_of(context, request),
            user_agent=request.headers.get("user-agent", ""),
            upstream_session=payload.upstream_session,
        )
        response = await arrive(context, request, flow, Arrival(who))
        context.cookies.set_provider(response, payload.provider_id)
        return response

    @api.get("/login/prove", summary="Prove an account before an identity is linked to it")
    async def prove_account(request: Request) -> Response:
        flow, payload = await _take(context, request, ProveAccount)
        if payload is not None:
            async with transaction(context.database) as session:
                await store.claim_flow(session, flow.id, context.now(), proof=payload.model_dump(mode="json"))
        return see_other(context, f"/login?flow={flow.id}")

    return api


async def _take(context: Context, request: Request, kind: type[bus.P]) -> tuple[Flow, bus.P | None]:
    """The flow that a ticket belongs to, in this browser, and what it stands for: None when it was taken before.

    The cookie is compared before anything is taken, so that another browser cannot use a ticket up.
    """
    ticket = read_query(request).get("ticket", "")
    seen = await bus.look(context.database, kind, ticket)
    if seen is None:
        raise PageError(
            "ticket_unknown", "This step is over", "Go back to the application and start the sign-in there again."
        )
    flow, _ = await flows.open_flow(context, request, seen.flow)
    if seen.payload.binding != flow.binding:  # type: ignore[attr-defined]  # both kinds that come here carry it
        raise PageError("flow_not_here", "This sign-in was not started here", "Start it again.", 403)
    taken = await bus.claim(context.database, kind, ticket, now=context.now())
    return flow, taken.payload if taken is not None else None


async def _check_person(context: Context, flow: Flow, payload: SignedIn) -> None:
    """The user and the provider may still sign in. Raises PageError."""
    provider = await context.providers.get(payload.provider_id)
    if provider is None or not provider.enabled or not provider.sign_in:
        raise PageError(
            "provider_disabled", "This way to sign in is switched off", "Go back and choose another one.", 403
        )
    user = await context.users.get(payload.user_id, payload.user_version)
    claims = {"rev": flow.rev, "sub": payload.user_id, "idp": payload.provider_id}
    if user is None or not user.active or not context.feed.is_live(claims):
        raise PageError(
            "account_unavailable",
            "You cannot sign in",
            "This account may not be used here. Ask the people who run this service.",
            403,
        )
