"""The next step of a flow, looked up and acted on: a page of ours, or the answer to the application."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from watchword_authz import consent, flows, redirects, sessions, store
from watchword_authz import flow as steps
from watchword_authz.codes import issue_code
from watchword_authz.context import Context
from watchword_authz.flow import Standing, Step
from watchword_authz.models import ClientCopy, Flow, UserCopy, UserSession
from watchword_authz.requests import AuthorizationRefused, AuthorizationRequest, OAuthCode, Prompt, ResponseMode
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport, UserExport
from watchword_web.errors import PageError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in in this browser."""

    session: UserSession
    user: UserExport


@dataclass(frozen=True, slots=True)
class Situation:
    """A flow and what is true around it. rev: the ledger position noted before any of it was read.

    request and client are None for a flow that returns to a page of ours.
    """

    flow: Flow
    request: AuthorizationRequest | None
    client: ClientExport | None
    person: Person | None
    consented: frozenset[str]
    step: Step
    rev: int
    now: datetime


async def find_client(context: Context, client_id: str | None) -> ClientExport:
    """The client, as new as a millisecond ago. Raises PageError when there is none that may be used."""
    client = await context.clients.get(client_id) if client_id else None
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


async def find_person(context: Context, secret: str | None, now: datetime) -> Person | None:
    """Who is signed in behind a session cookie; None when nobody who may be."""
    async with transaction(context.database) as session:
        row = await sessions.find_live(session, secret, feed=context.feed, now=now)
    if row is None:
        return None
    user = await context.users.get(row.user_id)
    return Person(row, user) if user is not None and user.active else None


async def look(context: Context, flow: Flow, session_secret: str | None, *, rev: int) -> Situation:
    """Where the flow stands for the browser with this session cookie."""
    now = context.now()
    request = flows.request_of(flow)
    client = await find_client(context, request.client_id) if request is not None else None
    person = await find_person(context, session_secret, now)
    consented: frozenset[str] = frozenset()
    if person is not None and request is not None:
        async with transaction(context.database) as session:
            consented = await consent.granted_scope(session, person.user.id, request.client_id)
    step = _step(flow, request, client, person, consented, now)
    return Situation(flow, request, client, person, consented, step, rev, now)


def _step(
    flow: Flow,
    request: AuthorizationRequest | None,
    client: ClientExport | None,
    person: Person | None,
    consented: frozenset[str],
    now: datetime,
) -> Step:
    if flow.proof is not None:
        return Step.SIGN_IN
    if request is None or client is None:
        is_here = person is not None and (not flow.again or flow.sid == person.session.id)
        return Step.FINISH if is_here else Step.SIGN_IN
    standing = None
    if person is not None:
        sid = person.session.id
        standing = Standing(
            user_id=person.user.id,
            auth_time=person.session.auth_time,
            is_fresh=flow.sid == sid,
            is_chosen=flow.chosen_sid == sid,
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


async def go_on(context: Context, http: Request, situation: Situation, *, is_stored: bool = True) -> Response:
    """The way to the flow's step. is_stored: whether the flow has a row; one that is answered at once needs none."""
    request = situation.request
    is_silent = request is not None and Prompt.NONE in request.prompt
    if situation.step is Step.WRONG_ACCOUNT or (is_silent and situation.step is not Step.FINISH):
        error, description = steps.error_of(situation.step)
        return await refuse(context, http, situation, error, description, is_stored=is_stored)
    match situation.step:
        case Step.FINISH:
            return await finish(context, http, situation, is_stored=is_stored)
        case Step.CONSENT:
            return see_other(context, f"/consent?flow={situation.flow.id}")
        case Step.SIGN_IN | Step.CHOOSE_ACCOUNT:
            return see_other(context, f"/login?flow={situation.flow.id}")


async def finish(
    context: Context,
    http: Request,
    situation: Situation,
    *,
    is_stored: bool = True,
    allow: frozenset[str] | None = None,
) -> Response:
    """The flow is finished, once: the application gets its code, or the person goes on to the page of ours.

    allow: scopes that the person has just allowed, stored in the same transaction.
    """
    flow, request, client = situation.flow, situation.request, situation.client
    person, now = situation.person, situation.now
    if person is None:
        raise ValueError("nobody is signed in")
    code = None
    async with transaction(context.database) as session:
        if is_stored and not await store.claim_flow(session, flow.id, now, finished_at=now):
            raise PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")
        await sessions.note_use(session, person.session, lifetimes=context.lifetimes, now=now)
        if request is not None and client is not None:
            if allow is not None:
                await consent.grant(session, user_id=person.user.id, client_id=client.client_id, scope=allow, now=now)
            code = await issue_code(
                session,
                flow_id=flow.id,
                request=request,
                client=client,
                client_version=await store.version_of(session, ClientCopy, client.client_id),
                user=person.user,
                user_version=await store.version_of(session, UserCopy, person.user.id),
                signed_in=person.session,
                rev=situation.rev,
                now=now,
            )
    response: Response
    if request is None or code is None:
        response = see_other(context, flow.return_to or "/login")
    else:
        log.info("code.issued", client_id=request.client_id, user_id=person.user.id, sid=person.session.id)
        response = answer(context, http, request, {"code": code})
    if is_stored:
        context.cookies.drop_flow(response, flow.id)
    return response


async def refuse(
    context: Context,
    http: Request,
    situation: Situation,
    error: OAuthCode,
    description: str,
    *,
    is_stored: bool = True,
) -> Response:
    """The flow is finished, once: the application is told why it gets no code."""
    if situation.request is None:
        raise ValueError("no application to tell")
    if is_stored:
        async with transaction(context.database) as session:
            await store.claim_flow(session, situation.flow.id, situation.now, finished_at=situation.now)
    response = answer_refusal(context, http, AuthorizationRefused(situation.request, error, description))
    if is_stored:
        context.cookies.drop_flow(response, situation.flow.id)
    return response


def answer_refusal(context: Context, http: Request, refusal: AuthorizationRefused) -> Response:
    """The error on its way to the application. Spec: RFC 6749 4.1.2.1."""
    log.info("authorization.refused", client_id=refusal.request.client_id, error=refusal.error.value)
    return answer(
        context, http, refusal.request, {"error": refusal.error.value, "error_description": refusal.description}
    )


def answer(context: Context, http: Request, request: AuthorizationRequest, params: dict[str, str]) -> Response:
    """The parameters on their way to the application, with its state and with who answers.

    Spec: RFC 9207 2 (`iss` in every answer, errors included); OAuth 2.0 Form Post Response Mode 2; RFC 9700 4.12
    (303, never 307: a password must not be posted on).
    """
    if request.state is not None:
        params["state"] = request.state
    params["iss"] = context.settings.issuer
    if request.response_mode is ResponseMode.FORM_POST:
        return context.pages.render_form_post(http, request.redirect_uri, params)
    return RedirectResponse(redirects.with_params(request.redirect_uri, params), 303)


def see_other(context: Context, path: str) -> RedirectResponse:
    """On to another page of ours. path: without the base path."""
    return RedirectResponse(context.pages.url(path), 303)
