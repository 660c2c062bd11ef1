"""What every route of the edge needs of a request."""

import asyncio
import math
from collections.abc import Iterable
from datetime import timedelta
from time import monotonic
from typing import Final

from fastapi import Request

from watchword_authz import flows
from watchword_authz.context import Context
from watchword_authz.steps import Situation, look
from watchword_events.exports import UserExport
from watchword_policy.administration import ADMINISTRATOR, OWNER, ROLES
from watchword_runtime.access import Caller, administered
from watchword_runtime.passwords import Busy
from watchword_web import languages
from watchword_web.addresses import address_prefix, client_address
from watchword_web.errors import PageError, Problem
from watchword_web.forms import read_query
from watchword_web.surfaces import Surface
from watchword_web.texts import Text

_RANKS: Final = {OWNER: 2, ADMINISTRATOR: 1}


def address_of(context: Context, request: Request) -> str:
    """The client's address, believing only proxies that the operator named."""
    peer = request.client.host if request.client else None
    return client_address(request.scope["headers"], peer, context.settings.trusted_proxies)


async def situation_of(context: Context, request: Request) -> tuple[Situation, str]:
    """Where the flow that the address names stands in this browser, and its cookie's secret. Raises PageError.

    What answers is in the language that the application asked for, or else the person's own.
    """
    rev = context.feed.position
    flow, secret = await flows.open_flow(context, request, read_query(request).get("flow"))
    session_secret = context.cookies.read_session(request)
    situation = await look(context, flow, session_secret, address=address_of(context, request), rev=rev)
    if situation.person is not None:
        languages.prefer(request.scope, of_person=situation.person.user.locale)
    return situation, secret


def limit_beginnings(context: Context, request: Request, surface: Surface = Surface.PAGE) -> None:
    """Raises the surface's error (429) for an address that begins too many sign-ins: each may leave a row behind."""
    context.beginnings.check(address_prefix(address_of(context, request)), context.now(), surface)


def wait_for(wait: timedelta) -> Text:
    """What somebody is told who tried too often."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    if seconds >= 120:
        return Text("Too many attempts. Wait %(count)s minutes, then try again.", count=math.ceil(seconds / 60))
    return Text.of_count(
        "Too many attempts. Wait a second, then try again.",
        "Too many attempts. Wait %(count)s seconds, then try again.",
        seconds,
    )


def retry_after(wait: timedelta) -> dict[str, str] | None:
    """The header that says the same to programs; None where nobody has to wait. Spec: RFC 9110 10.2.3."""
    return {"Retry-After": str(max(1, math.ceil(wait.total_seconds())))} if wait else None


async def even_out(context: Context, begun: float) -> None:
    """A refusal leaves at the next multiple of the floor: looking a user up, or pulling one, shows in no timing."""
    floor_s = context.settings.refusal_floor_ms / 1000
    if floor_s:
        spent_s = monotonic() - begun
        await asyncio.sleep(math.ceil(spent_s / floor_s) * floor_s - spent_s)


async def hashed(context: Context, password: str) -> str:
    """The argon2id hash, made before any transaction is open. Raises PageError (503) when too many wait."""
    try:
        return await context.passwords.hash(password)
    except Busy:
        raise too_many_passwords() from None


def too_many_passwords() -> PageError:
    """The hashing pool is bounded: whoever does not fit comes back."""
    return PageError(
        "temporarily_unavailable", "Too many people are signing in", "Wait a few seconds, then try again.", 503,
        headers={"Retry-After": "5"},
    )  # fmt: skip


def check_rank(caller: Caller, user: UserExport) -> None:
    """Raises Problem (403) where somebody would get into the account of who stands above them."""
    # A client that administers for itself stands where administrators do, as in directory.
    own = _rank(caller.roles) if caller.user_id is not None else _RANKS[ADMINISTRATOR]
    if _rank(user.roles) > own:
        raise _not_allowed("This person has more rights than the caller.")


def check_way_in(caller: Caller, user: UserExport) -> None:
    """Raises Problem (403) where somebody would get into an account that may more than they themselves decide about.

    An organization's administrator decides what its people may in it: whoever has anything beyond is not theirs.
    """
    check_rank(caller, user)
    if caller.reach is None:
        return
    prefix = f"{user.home.short_name}/" if user.home is not None else ""
    elsewhere = [each for each in user.organizations if each.organization not in caller.reach]
    if user.roles or user.permissions or elsewhere or not all(group.startswith(prefix) for group in user.groups):
        raise _not_allowed("The person has rights beyond the organization.")


async def require_reach(context: Context, caller: Caller, user_id: str, *, to_change: bool = True) -> None:
    """Raises Problem for whom an organization's administrator does not reach (404), or may change nothing of (403).

    That is whoever does something in the whole installation, or administers another organization.
    """
    if caller.reach is None:
        return
    user = await known_user(context, caller, user_id)
    if to_change and (not set(ROLES).isdisjoint(user.roles) or administered(user) - caller.reach):
        raise _not_allowed("This person has more rights than the caller.")


async def known_user(context: Context, caller: Caller, user_id: str) -> UserExport:
    """The user, within the caller's reach. Raises Problem (404)."""
    user = await context.users.get(user_id)
    if user is None or not (caller.reach is None or user.organization in caller.reach):
        raise Problem(404, "No such user", "There is no user with this id.")
    return user


def _rank(roles: Iterable[str]) -> int:
    return max((_RANKS.get(role, 0) for role in roles), default=0)


def _not_allowed(detail: str) -> Problem:
    return Problem(403, "Not allowed", detail, errors=[{"pointer": "#", "detail": detail}])
