"""Signing in with a password: throttled before it is verified, and refused in one way whatever was wrong."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from fastapi import Request

from watchword_authz import credentials, store, throttle
from watchword_authz.context import Context
from watchword_authz.devices import known_device
from watchword_authz.identifiers import Identifier, identify
from watchword_authz.models import Credential
from watchword_authz.throttle import Limit
from watchword_database.engine import transaction
from watchword_events.contracts import AccountLocked
from watchword_events.exports import UserExport
from watchword_runtime.internal import Unreachable
from watchword_web.addresses import address_prefix

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Proved:
    """The password fits. What it was checked against is checked again in the transaction that acts on it.

    claims: the throttle counters that counted the attempt.
    """

    user: UserExport
    credential: Credential
    new_hash: str | None
    claims: tuple[tuple[Limit, str], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The password was not accepted; nothing says why. wait: how long no attempt is allowed, zero for a wrong one."""

    wait: timedelta = timedelta(0)


async def try_password(
    context: Context, request: Request, *, typed: str, password: str, address: str
) -> Proved | Refused:
    """Whether this is the password of an active user, found by user name or e-mail address.

    A name that nobody has, a user without a password and a disabled user cost the same work and count the same.
    Raises passwords.Busy when too many passwords wait.
    """
    now = context.now()
    limits = context.limits
    prefix = address_prefix(address)
    async with transaction(context.database) as session:
        attempt = await throttle.claim_attempts(session, ((limits.address, prefix),), now)
    if not attempt.allowed:
        log.warning("sign_in.throttled", by="address")
        context.audit.note("sign_in.throttled", address=address, by="address")
        return Refused(attempt.wait)
    identifier = identify(typed)
    user = await find_user(context, identifier)
    claims = _counters(context, request, user, identifier.value if identifier else typed)
    async with transaction(context.database) as session:
        attempt = await throttle.claim_attempts(session, claims, now)
    if not attempt.allowed:
        log.warning("sign_in.throttled", by="account", user_id=user.id if user else None)
        context.audit.note("sign_in.throttled", user_id=user.id if user else None, address=address, by="account")
        return Refused(attempt.wait)
    credential = await current_credential(context, user, now)
    verified = await context.passwords.verify(credential.password_hash if credential else None, password)
    if user is not None and verified.ok and not user.active:
        user = await _as_of_now(context, user)
    if user is None or credential is None or not verified.ok or not user.active:
        is_account = claims[0][0] is limits.account
        context.audit.note("sign_in.refused", user_id=user.id if user else None, address=address)
        await _note_failure(context, user, now, locked=attempt.locked and is_account)
        return Refused()
    return Proved(user, credential, verified.new_hash, ((limits.address, prefix), *claims))


def _counters(context: Context, request: Request, user: UserExport | None, typed: str) -> tuple[tuple[Limit, str], ...]:
    """A known device has a counter of its own; everyone else shares the account's, and the one over all.

    A name that nobody has is counted as if somebody had it.
    """
    device = known_device(context, request, user.id) if user else None
    if device is not None:
        return ((context.limits.device, device),)
    return ((context.limits.account, user.id if user else typed), (context.limits.everywhere, ""))


async def find_user(context: Context, identifier: Identifier | None) -> UserExport | None:
    """Whom the name means; an address means somebody only once it has been verified.

    A name that this copy does not have and that directory cannot be asked about is nobody's: an error in its place
    would tell known names from others.
    """
    if identifier is None:
        return None
    try:
        user = await context.users.find(**{identifier.column: identifier.value})
    except Unreachable:
        log.warning("sign_in.directory_unreachable")
        return None
    is_meant = user is not None and (identifier.column == "username" or user.email_verified)
    return user if is_meant else None


async def _as_of_now(context: Context, user: UserExport) -> UserExport | None:
    """Who proved to be a disabled user may have been enabled a moment ago: directory knows."""
    try:
        await context.users.pull([user.id])
        return await context.users.get(user.id)
    except Unreachable:
        log.warning("sign_in.directory_unreachable")
        return user


async def current_credential(context: Context, user: UserExport | None, now: datetime) -> Credential | None:
    """The user's password as of now: what directory handed over a millisecond ago is taken first."""
    if user is None:
        return None
    async with transaction(context.database) as session:
        entries = await credentials.take_handed_over(
            session, user.id, limits=context.limits, feed=context.feed, now=now
        )
        credential = await store.find_credential(session, user.id)
    await context.feed.settle(entries)
    return credential


async def _note_failure(context: Context, user: UserExport | None, now: datetime, *, locked: bool) -> None:
    log.info("sign_in.refused", user_id=user.id if user else None, locked=locked)
    if user is not None and locked:
        until = now + context.limits.account.lock_for
        async with transaction(context.database) as session:
            # Locks come and go without a row of their own: the time in milliseconds serves as their version.
            session.emit(AccountLocked(id=user.id, version=int(now.timestamp() * 1000), until_s=int(until.timestamp())))
