"""authz's part of `/api/v1`: sessions, consents, and the state of people's passwords, for administrators."""

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from watchword_authz import (
    break_glass,
    consent,
    credentials,
    factor_store,
    notices,
    passkey_store,
    sessions,
    store,
    throttle,
)
from watchword_authz.context import Context
from watchword_authz.models import Consent, EndReason, UserSession
from watchword_authz.places import Named
from watchword_authz.routes.edge import check_way_in, known_user, require_reach
from watchword_database.engine import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page, ProblemDocument
from watchword_web.errors import Problem

log = structlog.get_logger()

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most this many items")]
Id = Annotated[str, Query(min_length=1, max_length=128)]
_ERRORS: dict[int | str, dict[str, object]] = {
    401: {"model": ProblemDocument},
    403: {"model": ProblemDocument},
    404: {"model": ProblemDocument},
}


class SessionItem(BaseModel):
    """A session that is not over. provider_id is null after a password.

    place: where the address is, by language; nothing where that is not known.
    """

    id: str
    user_id: str
    provider_id: str | None
    auth_time: datetime
    amr: list[str]
    address: str
    place: dict[str, str]
    user_agent: str
    created_at: datetime
    seen_at: datetime
    ends_at: datetime
    expires_at: datetime


class ConsentItem(BaseModel):
    """What a user allowed a client. scope: without a resource.  scope_at: by resource (RFC 8707)."""

    id: str
    user_id: str
    client_id: str
    scope: list[str]
    scope_at: dict[str, list[str]]
    granted_at: datetime


class CredentialState(BaseModel):
    """Which credentials a user has, and whether strangers' guesses have locked the account for now."""

    user_id: str
    has_password: bool
    password_changed_at: datetime | None
    authenticator_since: datetime | None
    recovery_codes_left: int
    passkeys: int
    locked_until: datetime | None


class Ended(BaseModel):
    """How many sessions ended."""

    ended: int


def router(context: Context) -> APIRouter:
    """Every route is for administrators: deny is the default of the router, not of a route.

    An organization's administrators see and end the sessions of its people, and help them to sign in again.
    """
    api = APIRouter(
        prefix="/api/v1",
        tags=["administration"],
        dependencies=[Depends(context.callers.administrator)],
        responses=_ERRORS,
        route_class=RevokingRoute,
    )
    _sessions(api, context)
    _consents(api, context)
    _credentials(api, context)
    return api


def _sessions(api: APIRouter, context: Context) -> None:
    administrator = Annotated[Caller, Depends(context.callers.administrator)]

    @api.get("/sessions", summary="List live sessions")
    async def list_sessions(
        caller: administrator, user_id: Id | None = None, cursor: Id | None = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[SessionItem]:
        after = _after(context, "sessions", cursor)
        async with transaction(context.database) as session:
            rows = await store.list_sessions(
                session,
                context.now(),
                user_id=user_id,
                organizations=caller.reach,
                after=after,
                limit=limit + 1,
            )
        # A cut of the ledger ends sessions before their rows say so.
        live = [row for row in rows[:limit] if context.feed.is_live(sessions.lineage(row))]
        places = await context.places.find(row.address for row in live)
        items = [_session_item(row, places.get(row.address, {})) for row in live]
        return Page(items=items, next=_next(context, "sessions", [row.id for row in rows], limit))

    @api.delete("/sessions/{sid}", status_code=204, summary="End a session")
    async def end_session(sid: str, caller: administrator, ending: Annotated[Ending, Depends(context.endings)]) -> None:
        if caller.reach is not None:
            await _require_session(context, caller, sid)
        async with transaction(context.database) as session:
            entries = await sessions.end(session, [sid], EndReason.ADMINISTRATOR, feed=context.feed, now=context.now())
        if not entries:
            raise _no_session()
        await ending.finish(entries)

    @api.delete("/sessions", summary="End all sessions of a user")
    async def end_sessions(
        user_id: Id, caller: administrator, ending: Annotated[Ending, Depends(context.endings)]
    ) -> Ended:
        await require_reach(context, caller, user_id)
        async with transaction(context.database) as session:
            await credentials.forget_links(session, user_id, context.now())
            entries = await sessions.end_all(
                session, user_id, EndReason.EVERYWHERE, feed=context.feed, now=context.now()
            )
        await ending.finish(entries)
        return Ended(ended=len(entries))


def _consents(api: APIRouter, context: Context) -> None:
    @api.get("/consents", summary="List consents")
    async def list_consents(
        user_id: Id | None = None, cursor: Id | None = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[ConsentItem]:
        after = _after(context, "consents", cursor)
        async with transaction(context.database) as session:
            rows = await store.list_consents(session, user_id=user_id, after=after, limit=limit + 1)
        items = [_consent_item(row) for row in rows[:limit]]
        return Page(items=items, next=_next(context, "consents", [row.id for row in rows], limit))

    @api.delete("/consents/{consent_id}", status_code=204, summary="Withdraw a consent and end its grants")
    async def withdraw_consent(consent_id: str, ending: Annotated[Ending, Depends(context.endings)]) -> None:
        async with transaction(context.database) as session:
            entries = await consent.withdraw(session, consent_id, feed=context.feed, now=context.now())
        if entries is None:
            raise Problem(404, "There is no such consent", "It may have been withdrawn already.")
        await ending.finish(entries)


def _credentials(api: APIRouter, context: Context) -> None:
    administrator = Annotated[Caller, Depends(context.callers.administrator)]

    @api.get("/credentials/{user_id}", summary="Whether a user has a password and may try it")
    async def get_credentials(user_id: str, caller: administrator) -> CredentialState:
        await require_reach(context, caller, user_id, to_change=False)
        async with transaction(context.database) as session:
            credential = await store.find_credential(session, user_id)
            authenticator = await factor_store.find_authenticator(session, user_id)
            codes_left = await factor_store.count_recovery_codes(session, user_id)
            passkeys = await passkey_store.list_passkeys(session, user_id)
            locks = [
                await throttle.locked_until(session, limit, user_id, context.now())
                for limit in (context.limits.account, context.limits.factor)
            ]
        return CredentialState(
            user_id=user_id,
            has_password=credential is not None,
            password_changed_at=credential.changed_at if credential is not None else None,
            authenticator_since=authenticator.confirmed_at if authenticator is not None else None,
            recovery_codes_left=codes_left,
            passkeys=len(passkeys),
            locked_until=max((each for each in locks if each is not None), default=None),
        )

    @api.delete("/credentials/{user_id}/factors", status_code=204, summary="Forget second factors and passkeys")
    async def forget_factors(user_id: str, caller: administrator) -> None:
        user = await known_user(context, caller, user_id)
        check_way_in(caller, user)
        async with transaction(context.database) as session:
            had_any = await break_glass.forget_factors(session, user_id, context.now())
            await notices.tell(context, session, user, "forgotten")
        context.mails.look()
        log.info("factors.forgotten", user_id=user_id, had_any=had_any, **actor(caller))

    @api.delete("/credentials/{user_id}/lock", status_code=204, summary="Unlock an account")
    async def unlock_account(user_id: str, caller: administrator) -> None:
        await require_reach(context, caller, user_id)
        async with transaction(context.database) as session:
            for limit in (context.limits.account, context.limits.factor):
                await throttle.forget(session, limit, user_id)


async def _require_session(context: Context, caller: Caller, sid: str) -> None:
    """Raises Problem for a session of somebody whom the caller does not reach (404), or who stands above them (403)."""
    async with transaction(context.database) as session:
        found = await store.list_sessions(
            session, context.now(), ids=[sid], organizations=caller.reach, after="", limit=1
        )
    if not found:
        raise _no_session()
    await require_reach(context, caller, found[0].user_id)


def _no_session() -> Problem:
    return Problem(404, "There is no such session", "It may have ended already.")


def _after(context: Context, listing: str, cursor: str | None) -> str:
    return "" if cursor is None else str(context.cursor.read(listing, cursor)[0])


def _next(context: Context, listing: str, ids: list[str], limit: int) -> str | None:
    return context.cursor.make(listing, ids[limit - 1]) if len(ids) > limit else None


def _session_item(row: UserSession, place: Named) -> SessionItem:
    return SessionItem.model_validate({**row.model_dump(), "place": place})


def _consent_item(row: Consent) -> ConsentItem:
    return ConsentItem.model_validate(row, from_attributes=True)
