"""Sign-ins that begin at the provider: verified, then confirmed by the person, then resumed in a flow of our own.

Whoever can make a browser send a form could sign it in as somebody else; so that nothing happens before the person has
read as whom, and pressed a button of our page. No such sign-in ever links an account (threat 38).

    ACS ──verified──▶ confirmation page ──button──▶ authz /login/provider/P: a flow ──ticket──▶ here again ──▶ directory
"""

import secrets
from datetime import timedelta
from typing import Final
from urllib.parse import quote

import structlog
from fastapi import Request
from pydantic import BaseModel, ConfigDict, JsonValue
from starlette.responses import Response

from watchword_database import bus, transaction
from watchword_database.bus import Taken
from watchword_events.exports import ProviderExport
from watchword_events.handovers import UpstreamStart, VerifiedIdentity
from watchword_federation import store
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Arrived, ProviderSession
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import binding_of, configuration_of, is_bound_to
from watchword_federation.models import UpstreamArrival
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.forms import Params
from watchword_web.texts import Text

ARRIVAL_LIFE: Final = timedelta(minutes=5)
_PAGE: Final = "arrival"
PATH: Final = "/api/auth/sso/arrivals"

log = structlog.get_logger()


class _Kept(BaseModel):
    """What waits, sealed."""

    model_config = ConfigDict(frozen=True)

    identity: VerifiedIdentity
    session: ProviderSession | None
    steps: tuple[dict[str, JsonValue], ...] = ()


async def keep(
    federation: Federation, request: Request, provider: ProviderExport, arrived: Arrived, rev: int, trail: Trail
) -> Response:
    """303 to the page that asks the person, bound to this browser.

    rev: the position that was applied before the provider was read.  Raises SignInFailed when it was used before.
    """
    now, arrival_id, secret = federation.now(), secrets.token_hex(16), secrets.token_urlsafe(32)
    kept = _Kept(identity=arrived.identity, session=arrived.session, steps=tuple(trail.steps))
    plain = kept.model_dump_json().encode()
    async with transaction(federation.database) as session:
        await federation.note_arrival(session, arrived)
        session.add(
            UpstreamArrival(
                id=arrival_id,
                binding=binding_of(secret),
                provider_id=provider.id,
                configuration=configuration_of(provider),
                sealed=await federation.seal.seal_bytes(plain, f"arrival {arrival_id}"),
                rev=rev,
                created_at=now,
                expires_at=now + ARRIVAL_LIFE,
            )
        )
    log.info("upstream_sign_in.waits_for_confirmation", provider_id=provider.id)
    response = federation.redirect(f"{PATH}/{arrival_id}")
    federation.cookies.set_flow(request, response, arrival_id, secret, ARRIVAL_LIFE)
    return response


async def ask(federation: Federation, request: Request, arrival_id: str) -> Response:
    """The page that says who would be signed in, through whom. Raises SignInFailed."""
    arrival, secret = await _of_this_browser(federation, request, arrival_id)
    provider = await _still_usable(federation, arrival)
    identity = _opened(federation, arrival).identity
    who = identity.email or identity.name or identity.preferred_username or ""
    return federation.pages.render(
        request,
        "confirm.html",
        title=Text("Sign in as %(who)s?", who=who),
        message=Text(
            "%(provider)s sent you here to sign in as %(who)s. Go on only if you came from there and this is you.",
            provider=provider.display_name,
            who=who,
        ),
        action=f"{PATH}/{arrival_id}",
        csrf=form_token(federation.forms_key, _PAGE, arrival_id, secret),
        confirm={"label": Text("Sign in"), "id": "confirm"},
        cancel={"label": Text("Not me"), "href": "/login"},
    )


async def confirm(federation: Federation, request: Request, arrival_id: str, form: Params) -> Response:
    """303 to a flow of authz, once the person has confirmed. Raises SignInFailed."""
    arrival, secret = await _of_this_browser(federation, request, arrival_id)
    token = form.get("csrf", "")
    if not same_origin(request, federation.settings) or not check_form_token(
        federation.forms_key, token, _PAGE, arrival_id, secret
    ):
        raise SignInFailed(Failure.STATE_MISMATCH, "the confirmation was not sent from our page")
    async with transaction(federation.database) as session:
        await store.claim_confirmation(session, arrival_id, now=federation.now())
    return federation.redirect(f"/login/provider/{quote(arrival.provider_id, safe='')}", arrival=arrival_id)


async def resume(
    federation: Federation, request: Request, start: Taken[UpstreamStart], ticket: str, *, arrival_id: str
) -> Response:
    """303 to directory with the confirmed identity, in the flow that authz began for it. Raises SignInFailed."""
    arrival, _ = await _of_this_browser(federation, request, arrival_id)
    if arrival.provider_id != start.payload.provider_id:
        raise SignInFailed(Failure.STATE_MISMATCH, "the sign-in came through another provider")
    await federation.refresh(arrival.provider_id)
    await _still_usable(federation, arrival)
    kept, now = _opened(federation, arrival), federation.now()
    async with transaction(federation.database) as session:
        if not await store.claim_arrival(session, arrival_id, now=now):
            raise SignInFailed(Failure.STATE_MISMATCH, "not confirmed, or resumed before")
        if await bus.take(session, UpstreamStart, ticket, now=now) is None:
            raise SignInFailed(Failure.STATE_MISMATCH, "the flow's ticket was used before")
        identity = await federation.hand_on(
            session,
            Arrived(kept.identity, session=kept.session),
            flow=start.flow,
            binding=start.payload.binding,
            began=arrival.created_at,
            solicited=False,
            ui_locales=start.payload.ui_locales,
            steps=kept.steps,
        )
    response = federation.redirect("/login/identity", ticket=identity)
    federation.cookies.drop_flow(response, arrival_id)
    return response


async def _of_this_browser(federation: Federation, request: Request, arrival_id: str) -> tuple[UpstreamArrival, str]:
    secret = federation.cookies.read_flow(request, arrival_id)
    async with transaction(federation.database) as session:
        arrival = await store.find_arrival(session, arrival_id, now=federation.now())
    if arrival is None:
        raise SignInFailed(Failure.STATE_MISMATCH, "no such sign-in waits, or it is over")
    if secret is None or not is_bound_to(arrival.binding, secret):
        raise SignInFailed(Failure.STATE_MISMATCH, "the sign-in arrived in another browser")
    return arrival, secret


async def _still_usable(federation: Federation, arrival: UpstreamArrival) -> ProviderExport:
    provider = await federation.usable_provider(arrival.provider_id, arrival.rev)
    if configuration_of(provider) != arrival.configuration:
        raise SignInFailed(Failure.PROVIDER_DISABLED, "settings changed since the sign-in arrived")
    return provider


def _opened(federation: Federation, arrival: UpstreamArrival) -> _Kept:
    return _Kept.model_validate_json(federation.seal.open_bytes(arrival.sealed, f"arrival {arrival.id}"))
