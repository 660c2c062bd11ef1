"""Second factors: an authenticator app, and recovery codes for who lost it.

A code is tried only by somebody who passed the first factor, is counted before it is compared, and counts once.
"""

import hashlib
import re
import secrets
from base64 import b32encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from fastapi import Request

from watchword_authz import credentials, factor_store, notices, store, throttle, totp
from watchword_authz.context import Context
from watchword_authz.devices import known_device
from watchword_authz.models import Authenticator
from watchword_authz.throttle import Limit
from watchword_database.engine import Session, transaction
from watchword_database.ids import new_id
from watchword_events.exports import UserExport
from watchword_web.addresses import address_prefix

log = structlog.get_logger()

AMR: Final = ("otp", "mfa")  # RFC 8176 2: a recovery code is a one-time password as well
RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10  # 80 bits: a hash without salt is enough, nobody can try them all
_PENDING_FOR: Final = timedelta(minutes=15)  # an enrolment that is looked at again shows the same secret
_TOTP: Final = re.compile(rf"[0-9]{{{totp.DIGITS}}}")
_RECOVERY: Final = re.compile(r"[A-Z2-7]{16}")
_MAX_TYPED: Final = 64


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An authenticator app on its way. uri: what its QR code says.  spelled: the secret for typing."""

    uri: str
    spelled: str


@dataclass(frozen=True, slots=True)
class WrongCode:
    """The code was not accepted; nothing says why. wait: how long none is tried, zero for a wrong one."""

    wait: timedelta = timedelta(0)


async def enrolment(context: Context, user_id: str, account: str) -> Enrolment | None:
    """What the person's app has to know; None for a person who has an authenticator that counts.

    account: under which the app lists it.
    """
    now = context.now()
    async with transaction(context.database) as session:
        row = await factor_store.find_authenticator(session, user_id)
        if row is not None and row.confirmed_at is not None:
            return None
        if row is not None and row.created_at > now - _PENDING_FOR:
            secret = context.seal.open(row.secret, row.id.encode())
        else:
            secret, authenticator_id = totp.new_secret(), new_id()
            sealed = await context.seal.seal(secret, authenticator_id.encode())
            made = Authenticator(user_id=user_id, id=authenticator_id, secret=sealed, created_at=now)
            if not await factor_store.put_authenticator(session, made):
                return None
    uri = totp.enrolment_uri(secret, issuer=context.settings.host, account=account)
    return Enrolment(uri, totp.spelled(secret))


async def confirm(
    context: Context, request: Request, user: UserExport, typed: str, *, address: str
) -> tuple[str, ...] | WrongCode:
    """The authenticator counts from now on; the person's new recovery codes, to be shown once. The person is told.

    Appends CredentialChanged.
    """
    now, user_id = context.now(), user.id
    refused = await _count(context, request, user_id, address, now)
    if refused is not None:
        return refused
    async with transaction(context.database) as session:
        row = await factor_store.find_authenticator(session, user_id)
        step = _step(context, row, typed, now)
        if row is None or step is None:
            return WrongCode()
        if not await factor_store.claim_confirmation(session, user_id, row.id, step, now):
            return WrongCode()
        codes = await renew_recovery_codes(session, user_id, now)
        credentials.announce(session, user_id, "totp", now)
        await notices.tell(context, session, user, "totp")
        await _settle(context, request, session, user_id, address)
    context.mails.look()
    log.info("factor.enrolled", user_id=user_id)
    return codes


async def spend(context: Context, request: Request, user_id: str, typed: str, *, address: str) -> WrongCode | None:
    """None when the code was right, which it never is again: of the authenticator app, or a recovery code."""
    now = context.now()
    refused = await _count(context, request, user_id, address, now)
    if refused is not None:
        return refused
    async with transaction(context.database) as session:
        used = await _spend(context, session, user_id, typed, now)
        if used is None:
            log.info("factor.refused", user_id=user_id)
            context.audit.note("factor.refused", user_id=user_id, address=address)
            return WrongCode()
        await _settle(context, request, session, user_id, address)
        if used == "recovery":
            credentials.announce(session, user_id, "recovery_codes", now)
    log.info("factor.accepted", user_id=user_id, factor=used)
    return None


async def _spend(context: Context, session: Session, user_id: str, typed: str, now: datetime) -> str | None:
    """What kind of code was used up; None for a wrong one."""
    recovery_code = _read_recovery_code(typed)
    if recovery_code is not None:
        is_theirs = await factor_store.claim_recovery_code(session, user_id, recovery_code, now)
        return "recovery" if is_theirs else None
    row = await factor_store.find_authenticator(session, user_id)
    step = _step(context, row, typed, now)
    if row is None or step is None or not await factor_store.claim_step(session, user_id, row.id, step, now):
        return None
    return "totp"


def _step(context: Context, row: Authenticator | None, typed: str, now: datetime) -> int | None:
    code = typed.replace(" ", "")
    if row is None or not _TOTP.fullmatch(code):
        return None
    return totp.matching_step(context.seal.open(row.secret, row.id.encode()), code, now)


async def remove(session: Session, user_id: str, now: datetime) -> bool:
    """True when the person had an authenticator; now there is none, and no recovery code. Appends CredentialChanged."""
    if not await factor_store.delete_authenticator(session, user_id):
        return False
    await factor_store.delete_recovery_codes(session, user_id)
    await store.forget_devices(session, user_id)
    credentials.announce(session, user_id, "totp", now)
    return True


async def renew_recovery_codes(session: Session, user_id: str, now: datetime) -> tuple[str, ...]:
    """Ten new codes, to be shown once; older ones are worth nothing any more. Appends CredentialChanged."""
    codes = [b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode() for _ in range(RECOVERY_CODES)]
    await factor_store.put_recovery_codes(session, user_id, [_hash(code) for code in codes], now)
    credentials.announce(session, user_id, "recovery_codes", now)
    return tuple("-".join(code[start : start + 4] for start in range(0, len(code), 4)).lower() for code in codes)


def _read_recovery_code(typed: str) -> bytes | None:
    code = re.sub(r"[\s-]", "", typed[:_MAX_TYPED]).upper()
    return _hash(code) if _RECOVERY.fullmatch(code) else None


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


def _counters(context: Context, request: Request, user_id: str, address: str) -> tuple[tuple[Limit, str], ...]:
    """A known device has a counter of its own: who guesses elsewhere with a stolen password does not lock it out."""
    device = known_device(context, request, user_id)
    limits = context.limits
    own = (limits.factor, user_id) if device is None else (limits.device_factor, device)
    return own, (limits.address, address_prefix(address))


async def _count(context: Context, request: Request, user_id: str, address: str, now: datetime) -> WrongCode | None:
    """An attempt is counted; the refusal, where it may not be made now."""
    async with transaction(context.database) as session:
        attempt = await throttle.claim_attempts(session, _counters(context, request, user_id, address), now)
    if attempt.allowed:
        return None
    log.warning("factor.throttled", user_id=user_id)
    context.audit.note("factor.throttled", user_id=user_id, address=address)
    return WrongCode(attempt.wait)


async def _settle(context: Context, request: Request, session: Session, user_id: str, address: str) -> None:
    """The counters forget an attempt that turned out right."""
    await throttle.settle(session, _counters(context, request, user_id, address))
