"""Sessions end at the provider with ours, and ours with the provider's.

    authz /oauth2/logout ──upstream-logout──▶ here ──request──▶ provider ──answer──▶ here ──▶ where the person wanted to
    provider ──request──▶ here ──upstream-ended──▶ authz /login/ended ──▶ here ──answer──▶ provider
    provider ──logout token, from server to server──▶ here ──upstream_session.ended──▶ authz

What is over here is over, whatever becomes of the provider's part.
Spec: SAML Profiles 4.4; OpenID Connect RP-Initiated Logout 2, 3; OpenID Connect Back-Channel Logout 2.5, 2.6, 2.8.
"""

from datetime import timedelta
from typing import Final
from urllib.parse import quote

import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from watchword_database import Session, bus, transaction
from watchword_events.contracts import UpstreamSessionEnded
from watchword_events.exports import ProviderExport
from watchword_events.handovers import UpstreamEnded
from watchword_events.handovers import UpstreamLogout as LogoutTicket
from watchword_federation import store, token_store
from watchword_federation.connectors.saml_logout import LogoutAsked
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import hash_of, new_state
from watchword_federation.logout_tokens import read_logout_token
from watchword_federation.models import UpstreamLogout
from watchword_web.texts import Text

LOGOUT_LIFE: Final = timedelta(minutes=5)
_THERE: Final = Text("Here, and at your identity provider.")
_HERE: Final = Text(
    "Here. At your identity provider you may still be signed in: sign out there, too, if others use this device."
)

log = structlog.get_logger()


async def begin(federation: Federation, request: Request, provider_id: str, ticket: str) -> Response:
    """303 to the provider that has to end its session, or straight to where the person wanted to go."""
    now = federation.now()
    async with transaction(federation.database) as session:
        taken = await bus.take(session, LogoutTicket, ticket, now=now)
        kept = None
        if taken is not None and taken.payload.provider_id == provider_id:
            kept = await store.find_upstream_session(session, taken.payload.upstream_session, provider_id)
    return_to = taken.payload.return_to if taken is not None else None
    provider = await federation.providers.get(provider_id)
    if kept is None or provider is None or not provider.enabled or provider.kind not in federation.connectors:
        return done(federation, request, return_to)
    state = new_state()
    try:
        opened = federation.seal.open_bytes(kept.sealed, f"session {kept.id}")
        target = await federation.connectors[provider.kind].log_out(provider, opened, state=state, now=now)
    except SignInFailed as error:
        log.warning("upstream_logout.not_asked", provider_id=provider_id, detail=error.reason)
        target = None
    if target is None:
        return done(federation, request, return_to)
    async with transaction(federation.database) as session:
        session.add(_noted(federation, provider_id, state, return_to=return_to))
    log.info("upstream_logout.asked", provider_id=provider_id)
    return RedirectResponse(target, 303)


def done(federation: Federation, request: Request, return_to: str | None, *, there: bool = False) -> Response:
    """Where the person wanted to go, or a page that says where they are signed out.

    return_to: authz has checked it.  there: whether the provider said that its session is over, too.
    """
    if return_to is not None:
        return RedirectResponse(return_to, 303)
    return federation.pages.render(
        request,
        "message.html",
        title=Text("You are signed out"),
        message=_THERE if there else _HERE,
        action={"label": Text("Sign in again"), "href": "/login", "id": "sign-in-again"},
    )


async def claim(federation: Federation, provider_id: str, state: str) -> UpstreamLogout | None:
    """The sign-out that comes back under a state, once; None when there is none."""
    async with transaction(federation.database) as session:
        return await store.claim_logout(session, hash_of(state), provider_id, now=federation.now())


async def end_here(federation: Federation, provider: ProviderExport, asked: LogoutAsked, *, back: str) -> Response:
    """303 to authz, which ends what came from these sessions, and from there back to the provider with the answer.

    back: our path at which the browser comes back.  Raises SignInFailed(state_mismatch) for a request that was obeyed.
    """
    now, state, once = federation.now(), new_state(), asked.once
    async with transaction(federation.database) as session:
        if not await bus.spend(session, purpose=once.purpose, key=once.key, expires_at=once.until):
            raise SignInFailed(Failure.STATE_MISMATCH, "this very logout request was obeyed before")
        for name in asked.sessions or (None,):
            await store.note_ended(
                session,
                provider.id,
                subject_hash=hash_of(asked.subject),
                session_hash=None if name is None else hash_of(name),
                now=now,
            )
        found = await _sessions(session, provider, asked)
        if found:
            session.add(_noted(federation, provider.id, state, answer=asked.answer))
            payload = UpstreamEnded(provider_id=provider.id, upstream_sessions=found, back=f"{back}?done={state}")
            flow = f"logout:{provider.id}"
            ticket = await bus.hand_over(session, payload, flow=flow, now=now)
    log.info("upstream_logout.received", provider_id=provider.id, sessions=len(found))
    if not found:
        return RedirectResponse(asked.answer, 303)
    return federation.redirect("/login/ended", ticket=ticket)


async def end_by_token(federation: Federation, provider: ProviderExport, token: str) -> int:
    """Sessions end that a provider's logout token names, and what came from them; their number.

    Appends UpstreamSessionEnded for each. Raises SignInFailed: id_token_invalid and the like; state_mismatch for one
    that was obeyed before.
    """
    asked = await read_logout_token(federation.oidc, provider, token, now=federation.now())
    async with transaction(federation.database) as session:
        if not await bus.spend(session, purpose=asked.once.purpose, key=asked.once.key, expires_at=asked.once.until):
            raise SignInFailed(Failure.STATE_MISMATCH, "this very logout token was obeyed before")
        subject_hash = None if asked.subject is None else hash_of(asked.subject)
        session_hash = None if asked.session is None else hash_of(asked.session)
        await store.note_ended(
            session, provider.id, subject_hash=subject_hash, session_hash=session_hash, now=federation.now()
        )
        ended = await store.claim_ended_sessions(
            session, provider.id, subject_hash=subject_hash, session_hash=session_hash
        )
        if subject_hash is not None:
            await token_store.drop_session_bound(session, provider.id, subject_hash, now=federation.now())
        for session_id in ended:
            session.emit(UpstreamSessionEnded(id=session_id, version=1, provider_id=provider.id))
    log.info("upstream_logout.received", provider_id=provider.id, sessions=len(ended))
    return len(ended)


async def _sessions(session: Session, provider: ProviderExport, asked: LogoutAsked) -> tuple[str, ...]:
    """Our names for the sessions that are to end: those that are named, or all of the person's."""
    named = [hash_of(each) for each in asked.sessions]
    return tuple(await store.list_upstream_sessions(session, provider.id, hash_of(asked.subject), named))


def _noted(
    federation: Federation, provider_id: str, state: str, *, return_to: str | None = None, answer: str | None = None
) -> UpstreamLogout:
    now = federation.now()
    return UpstreamLogout(
        id_hash=hash_of(state),
        provider_id=provider_id,
        return_to=return_to,
        answer=answer,
        created_at=now,
        expires_at=now + LOGOUT_LIFE,
    )


def path_of(base: str, provider_id: str) -> str:
    """Our path for logout messages of a provider."""
    return f"{base}/slo/{quote(provider_id, safe='')}"
