"""The next step of a flow, looked up and acted on: a page of ours, or the answer to the application."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from watchword_authz import access, answers, consent, factor_store, flows, requirements, sessions, store
from watchword_authz import flow as steps
from watchword_authz.access import Verdict
from watchword_authz.clients import find_current
from watchword_authz.codes import approve
from watchword_authz.context import Context
from watchword_authz.flow import Standing, Step
from watchword_authz.held import Held, held_in
from watchword_authz.models import Flow, UserSession
from watchword_authz.pairwise import subject_of
from watchword_authz.requests import AuthorizationRefused, AuthorizationRequest, OAuthCode, Permission, Prompt
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport, UserExport
from watchword_policy.assurance import TWO_FACTORS, level_of
from watchword_runtime.internal import Unreachable
from watchword_web.errors import PageError

log = structlog.get_logger()

# Nothing that could be shown would help: the application is told.
_REFUSALS: Final = frozenset({Step.WRONG_ACCOUNT, Step.NOT_ALLOWED, Step.UNMET})


class _Moved(Exception):
    """The flow stands at another step by now: what let the person through does not hold any more."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.value)
        self.step = step


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in in this browser.

    has_factor, is_short: whether a session of one factor could be one of two, and whether it has to be.
    """

    session: UserSession
    user: UserExport
    has_factor: bool = False
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """A flow and what is true around it. rev: the ledger position noted before any of it was read.

    request and client are None for a flow that returns to a page of ours.  verdict: what access rules say, where the
    flow stands at its end.  held: who has still to prove the second factor.
    """

    flow: Flow
    request: AuthorizationRequest | None
    client: ClientExport | None
    person: Person | None
    consented: frozenset[Permission]
    step: Step
    rev: int
    now: datetime
    verdict: Verdict | None = None
    held: Held | None = None


async def find_client(context: Context, client_id: str | None) -> ClientExport:
    """The client, as new as a millisecond ago. Raises PageError when there is none that may be used."""
    client = await find_current(context.clients, client_id, context.now()) if client_id else None
    if client is None:
        raise PageError(
            "unknown_client",
            "This application is not known here",
            "The address that brought you here names no application of this installation.",
        )
    # The ledger refuses a disabled client on every instance at once, also where its copy is older.
    if not client.enabled or not context.feed.is_live({"rev": context.feed.position, "client_id": client.client_id}):
        raise PageError(
            "client_disabled", "This application is switched off", "Nobody can sign in to it at the moment.", 403
        )
    return client


async def find_person(
    context: Context, secret: str | None, now: datetime, *, client_id: str | None = None
) -> Person | None:
    """Who is signed in behind a session cookie; None when nobody who may be. client_id: what they want to use."""
    if secret is None:
        return None
    row = await sessions.find_live(context.database, secret, feed=context.feed, now=now)
    if row is None:
        return None
    user = await context.users.get(row.user_id)
    if user is None or not user.active:
        return None
    if level_of(row.amr) == TWO_FACTORS:
        return Person(row, user)
    need = await requirements.need_of(context.database, user, client_id=client_id)
    is_short = need.is_demanded and not requirements.is_enough(row.amr, is_remembered=row.is_remembered)
    return Person(row, user, has_factor=need.has_factor, is_short=is_short)


async def look(context: Context, flow: Flow, session_secret: str | None, *, address: str, rev: int) -> Situation:
    """Where the flow stands for the browser with this session cookie, at this address."""
    now = context.now()
    request = flows.request_of(flow)
    client = await find_client(context, request.client_id) if request is not None else None
    person = await find_person(context, session_secret, now, client_id=flow.client_id)
    if person is not None and client is not None and not client.is_open_to(person.user):
        person, client = await _as_of_now(context, person, client)
    held = held_in(flow, now)
    if held is not None:
        async with transaction(context.database) as session:
            has_factor = await factor_store.has_factor(session, held.who.user_id)
        step = Step.FACTOR if has_factor else Step.ENROL
        return Situation(flow, request, client, person, frozenset(), step, rev, now, held=held)
    consented: frozenset[Permission] = frozenset()
    if person is not None and request is not None:
        consented = await consent.allowed(context.database, person.user.id, request.client_id)
    subject = None if person is None else subject_of(context.settings.keyring, client, person.user.id)
    step = _step(flow, request, client, person, subject, consented, now)
    if step not in (Step.CONSENT, Step.FINISH) or person is None or client is None:
        return Situation(flow, request, client, person, consented, step, rev, now)
    verdict = await access.ask(context, person.session, person.user, client, address=address, now=now)
    if not verdict.allowed:
        person, client = await _as_of_now(context, person, client)
        await access.renew(context)
        verdict = await access.ask(context, person.session, person.user, client, address=address, now=now)
    step = step if verdict.allowed else Step.DENIED
    return Situation(flow, request, client, person, consented, step, rev, now, verdict)


async def _as_of_now(context: Context, person: Person, client: ClientExport) -> tuple[Person, ClientExport]:
    """Both as their owners have them: whoever was given the right a moment ago is not refused."""
    try:
        await context.users.pull([person.user.id])
        await context.clients.pull([client.client_id])
    except Unreachable:
        log.warning("authorization.owner_unreachable", client_id=client.client_id)
        return person, client
    user = await context.users.get(person.user.id)
    return replace(person, user=user or person.user), await context.clients.get(client.client_id) or client


def _step(
    flow: Flow,
    request: AuthorizationRequest | None,
    client: ClientExport | None,
    person: Person | None,
    subject: str | None,
    consented: frozenset[Permission],
    now: datetime,
) -> Step:
    if flow.proof is not None:
        return Step.SIGN_IN
    if request is None or client is None:
        wants_sign_in = flow.again or flow.is_renewal
        is_here = person is not None and (not wants_sign_in or flow.sid == person.session.id)
        if person is not None and is_here and person.is_short:
            return Step.FACTOR if person.has_factor else Step.SIGN_IN
        return Step.FINISH if is_here else Step.SIGN_IN
    standing = None
    if person is not None:
        sid = person.session.id
        standing = Standing(
            user_id=person.user.id,
            auth_time=person.session.auth_time,
            is_fresh=flow.sid == sid,
            is_chosen=flow.chosen_sid == sid,
            may_use=client.is_open_to(person.user),
            subject=subject,
            acr=person.session.acr,
            amr=tuple(person.session.amr),
            is_federated=person.session.provider_id is not None,
            has_factor=person.has_factor,
            is_short=person.is_short,
        )
    return steps.next_step(
        request,
        client,
        standing,
        wants_again=flow.again,
        consented=consented,
        started_at=flow.created_at,
        now=now,
    )


async def go_on(context: Context, http: Request, situation: Situation, *, new_secret: str | None = None) -> Response:
    """The way to the flow's step. new_secret: of a flow that has no row and whose browser has no cookie for it yet."""
    request = situation.request
    is_silent = request is not None and Prompt.NONE in request.prompt
    step = situation.step
    if step in _REFUSALS or (is_silent and step is not Step.FINISH):
        if step is Step.DENIED:
            return await deny(context, http, situation, new_secret=new_secret)
        error, description = steps.error_of(step)
        return await refuse(context, http, situation, error, description, new_secret=new_secret)
    match step:
        case Step.FINISH:
            return await finish(context, http, situation, new_secret=new_secret)
        case Step.FACTOR | Step.ENROL:
            return see_other(context, f"/login/factor?flow={situation.flow.id}")
        case Step.CONSENT:
            return see_other(context, f"/consent?flow={situation.flow.id}")
        case Step.DENIED:
            return see_other(context, f"/login/denied?flow={situation.flow.id}")
        case _:
            return see_other(context, f"/login?flow={situation.flow.id}")


async def finish(
    context: Context,
    http: Request,
    situation: Situation,
    *,
    new_secret: str | None = None,
    allow: frozenset[Permission] | None = None,
) -> Response:
    """The flow is finished, once: the application gets its answer, or the person goes on to the page of ours.

    new_secret: as for go_on.  allow: what the person has just allowed, stored in the same transaction. A consent
    that was withdrawn since it was looked up is none, and a second factor may be demanded by now: then the application
    is told what the person has to do.
    """
    try:
        return await _finish(context, http, situation, new_secret=new_secret, allow=allow)
    except _Moved as moved:
        error, description = steps.error_of(moved.step)
        return await refuse(context, http, situation, error, description, new_secret=new_secret)


async def _finish(
    context: Context,
    http: Request,
    situation: Situation,
    *,
    new_secret: str | None,
    allow: frozenset[Permission] | None,
) -> Response:
    """As `finish`. Raises _Moved."""
    flow, request, client = situation.flow, situation.request, situation.client
    person, now = situation.person, situation.now
    if person is None:
        raise ValueError("nobody is signed in")
    async with transaction(context.database) as session:
        if new_secret is None and not await store.claim_flow(session, flow.id, now, finished_at=now):
            raise PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")
        await sessions.note_use(session, person.session, lifetimes=context.lifetimes, now=now)
        if request is None or client is None:
            response: Response = see_other(context, flow.return_to or "/login")
            context.cookies.drop_flow(response, flow.id)
            return response
        verdict = situation.verdict
        if verdict is None or not verdict.allowed:
            raise ValueError("access rules do not let the person in, or were not asked")
        if not await requirements.is_still_enough(session, person.session, person.user, client_id=client.client_id):
            raise _Moved(Step.FACTOR)
        if allow is not None:
            await consent.grant(session, user_id=person.user.id, client_id=client.client_id, allow=allow, now=now)
        elif steps.needs_consent(request, client, frozenset()):
            held = await consent.held(session, person.user.id, client.client_id)
            if steps.needs_consent(request, client, held):
                raise _Moved(Step.CONSENT)
        client_version, user_version = await store.versions_of(session, client.client_id, person.user.id)
        approved = await approve(
            session,
            request=request,
            client=client,
            client_version=client_version,
            user=person.user,
            user_version=user_version,
            signed_in=person.session,
            verdict=verdict,
            rev=situation.rev,
            now=now,
        )
        answer = await answers.grant(session, request, approved, issuer=context.settings.issuer, flow=flow, now=now)
    decision_id = access.note(context, verdict)
    log.info(
        "authorization.granted",
        client_id=client.client_id,
        user_id=person.user.id,
        sid=person.session.id,
        decision_id=decision_id,
    )
    return answers.send(context, http, answer, flow, new_secret)


async def deny(context: Context, http: Request, situation: Situation, *, new_secret: str | None = None) -> Response:
    """The flow is finished, once: the application is told that access rules do not let the person in."""
    if situation.verdict is None:
        raise ValueError("access rules were not asked")
    error, description = steps.error_of(Step.DENIED)
    decision_id = access.note(context, situation.verdict)
    description = f"{description} (decision {decision_id})"
    return await refuse(context, http, situation, error, description, new_secret=new_secret)


async def refuse(
    context: Context,
    http: Request,
    situation: Situation,
    error: OAuthCode,
    description: str,
    *,
    new_secret: str | None = None,
) -> Response:
    """The flow is finished, once: the application is told why it gets nothing."""
    if situation.request is None:
        raise ValueError("no application to tell")
    refusal = AuthorizationRefused(situation.request, error, description)
    return await answer_refusal(context, http, refusal, situation.flow, new_secret)


async def answer_refusal(
    context: Context, http: Request, refusal: AuthorizationRefused, flow: Flow, new_secret: str | None
) -> Response:
    """The error on its way to the application; nothing goes on in the flow. Spec: RFC 6749 4.1.2.1, 4.2.2.1."""
    log.info("authorization.refused", client_id=refusal.request.client_id, error=refusal.error.value)
    now = context.now()
    async with transaction(context.database) as session:
        if new_secret is None:
            await store.claim_flow(session, flow.id, now, finished_at=now)
        answer = await answers.refuse(session, refusal, issuer=context.settings.issuer, flow=flow, now=now)
    return answers.send(context, http, answer, flow, new_secret)


def see_other(context: Context, path: str) -> RedirectResponse:
    """On to another page of ours. path: without the base path."""
    return RedirectResponse(context.pages.url(path), 303)
