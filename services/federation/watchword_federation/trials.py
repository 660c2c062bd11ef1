"""Trial sign-ins: an administrator sees what a provider says of somebody, and nobody is signed in or created.

    POST /api/v1/upstream/trials ──▶ a link ──any browser──▶ the provider ──▶ a page with what it said, and the API

What comes back passes every check of a sign-in. It is sealed, and kept for an hour.
"""

import json
import secrets
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from watchword_database import transaction
from watchword_database.ids import new_id
from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_federation import store
from watchword_federation.attempts import Trail
from watchword_federation.claim_paths import find
from watchword_federation.connectors import Arrived, Wishes
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import FLOW_LIFE, binding_of, hash_of, new_secrets, new_state, trial_flow
from watchword_federation.models import Trial, UpstreamFlow
from watchword_web.references import reference_of

KEEP: Final = timedelta(hours=1)
PATH: Final = "/api/auth/sso/trials"
_FLOW: Final = "trial-"

log = structlog.get_logger()


class TrialIdentity(BaseModel):
    """Whom the provider authenticated, as Watchword understands it, and everything that it said.

    groups: what stands at the provider's `groups_claim`.  claims: as the directory's rules see them:
    `POST /api/v1/identities/preview` says what would become of the person, and which rule decides.
    """

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str | None
    preferred_username: str | None
    amr: tuple[str, ...]
    auth_time: datetime
    groups: JsonValue
    claims: dict[str, JsonValue]


class TrialView(BaseModel):
    """A trial sign-in. url: where a browser begins it, shown once.  failure: the name of the page that ended it.

    steps: what was done, as of `GET /api/v1/upstream/attempts`.
    """

    id: str
    provider_id: str
    state: Literal["waiting", "succeeded", "failed"]
    expires_at: datetime
    url: str | None = None
    failure: str | None = None
    reference: str | None = None
    steps: list[dict[str, JsonValue]] = []
    identity: TrialIdentity | None = None


async def offer(federation: Federation, provider: ProviderExport) -> TrialView:
    """A link with which one browser may try to sign in through the provider, for ten minutes."""
    now, ticket = federation.now(), secrets.token_urlsafe(32)
    trial = Trial(
        id=new_id(),
        ticket_hash=hash_of(ticket),
        provider_id=provider.id,
        created_at=now,
        expires_at=now + FLOW_LIFE,
        keep_until=now + KEEP,
    )
    async with transaction(federation.database) as session:
        session.add(trial)
    shown = view_of(federation, trial)
    return shown.model_copy(update={"url": f"{federation.settings.public_url}{PATH}/{provider.id}?ticket={ticket}"})


async def begin(federation: Federation, request: Request, provider_id: str, ticket: str, trail: Trail) -> Response:
    """303 to the provider, for the one browser that opened the link. Raises SignInFailed."""
    now, rev = federation.now(), federation.feed.position
    provider = await federation.known_provider(provider_id, rev)
    async with transaction(federation.database) as session:
        trial_id = await store.claim_trial(session, hash_of(ticket), provider_id, now=now)
    if trial_id is None:
        raise SignInFailed(Failure.STATE_MISMATCH, "no such trial, or it was begun before")
    state, kept, cookie = new_state(), new_secrets(), secrets.token_urlsafe(32)
    target = await federation.connectors[provider.kind].depart(
        provider, Wishes(), secrets=kept, state=state, callback=federation.callback_of(provider), trail=trail
    )
    flow = f"{_FLOW}{trial_id}"
    sealed = await federation.seal.seal(kept, hash_of(state))
    async with transaction(federation.database) as session:
        session.add(
            trial_flow(provider, flow=flow, binding=binding_of(cookie), state=state, sealed=sealed, rev=rev, now=now)
        )
    response = RedirectResponse(target, 303)
    federation.cookies.set_flow(request, response, flow, cookie, FLOW_LIFE)
    return response


def is_trial(flow: UpstreamFlow) -> bool:
    """Whether nobody is to be signed in when this flow comes back."""
    return flow.flow.startswith(_FLOW)


async def conclude(
    federation: Federation, request: Request, flow: UpstreamFlow, arriving: Awaitable[Arrived], trail: Trail
) -> Response:
    """The page that says what the provider said. arriving: every check of the answer.  Raises SignInFailed."""
    trial_id, reference = flow.flow.removeprefix(_FLOW), reference_of(request.scope)
    try:
        arrived = await arriving
    except SignInFailed as error:
        failed: list[dict[str, JsonValue]] = [*trail.steps, {"step": "refused", "detail": error.reason}]
        async with transaction(federation.database) as session:
            await store.claim_trial_end(
                session, trial_id, failure=error.failure.value, reference=reference, steps=failed, now=federation.now()
            )
        raise
    async with transaction(federation.database) as session:
        await federation.note_arrival(session, arrived)
        plain = arrived.identity.model_dump_json().encode()
        sealed = await federation.seal.seal_bytes(plain, f"trial {trial_id}")
        await store.claim_trial_end(
            session, trial_id, sealed=sealed, reference=reference, steps=trail.steps, now=federation.now()
        )
    log.info("upstream_trial.succeeded", provider_id=flow.provider_id)
    provider = await federation.known_provider(flow.provider_id, flow.rev)
    identity = _identity(provider, arrived.identity)
    response = federation.pages.render(
        request,
        "trial.html",
        provider=provider,
        identity=identity,
        claims=[(name, json.dumps(value, ensure_ascii=False)) for name, value in sorted(identity.claims.items())],
        steps=trail.steps,
    )
    federation.cookies.drop_flow(response, flow.flow)
    return response


def view_of(federation: Federation, trial: Trial, provider: ProviderExport | None = None) -> TrialView:
    """A trial as the API shows it. Raises SignInFailed when what was kept cannot be opened."""
    identity = None
    if trial.sealed is not None and provider is not None:
        opened = federation.seal.open_bytes(trial.sealed, f"trial {trial.id}")
        identity = _identity(provider, VerifiedIdentity.model_validate_json(opened))
    state: Literal["waiting", "succeeded", "failed"] = "waiting"
    if trial.finished_at is not None:
        state = "succeeded" if trial.failure is None else "failed"
    return TrialView(
        id=trial.id,
        provider_id=trial.provider_id,
        state=state,
        expires_at=trial.expires_at,
        failure=trial.failure,
        reference=trial.reference,
        steps=trial.steps or [],
        identity=identity,
    )


def _identity(provider: ProviderExport, identity: VerifiedIdentity) -> TrialIdentity:
    groups = find(identity.claims, provider.groups_claim) if provider.groups_claim else None
    return TrialIdentity.model_validate({**identity.model_dump(), "groups": groups})
