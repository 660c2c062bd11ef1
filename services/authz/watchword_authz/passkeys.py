"""Passkeys: key pairs on people's devices, unlocked there with a finger, a face or a PIN.

One is two factors by itself: the device, and what unlocks it, which is demanded each time. Each challenge is bound to
one browser and counts once.  Spec: WebAuthn Level 3 7.1, 7.2.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import structlog
import webauthn
from webauthn.helpers import parse_authentication_credential_json, parse_registration_credential_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from watchword_authz import credentials, notices, passkey_store
from watchword_authz.context import Context
from watchword_authz.models import Passkey
from watchword_database import bus
from watchword_database.engine import Session, transaction
from watchword_events.exports import UserExport
from watchword_web.csrf import check_form_token, form_token

log = structlog.get_logger()

_LIFE: Final = timedelta(minutes=30)  # a sign-in page may stand open for as long as its flow
_CHALLENGE: Final = re.compile(r"(?P<nonce>[\w-]{22})\.(?P<at_s>[0-9]{1,12})\.(?P<mac>[\w-]{43})", re.ASCII)
_PURPOSE: Final = "passkey"
_MAX_NAME: Final = 60
MOST: Final = 20  # of one person: all of them stand in each request for a new one


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What a browser is asked to do. options: for its API, as JSON.  challenge: comes back with the form."""

    options: str
    challenge: str


class TooMany(Exception):
    """The person has as many passkeys as anybody may have."""


def amr_of(passkey: Passkey) -> tuple[str, ...]:
    """How somebody signed in with it: a key that left its device by synchronizing is one of software (RFC 8176 2)."""
    return ("swk" if passkey.is_synced else "hwk", "user", "mfa")


def asking(context: Context, *bound_to: str) -> Ceremony:
    """Any passkey of this installation is asked for. bound_to: the browser."""
    challenge = _new_challenge(context, *bound_to)
    options = webauthn.generate_authentication_options(
        rp_id=_rp_id(context),
        challenge=challenge.encode(),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Ceremony(webauthn.options_to_json(options), challenge)


def making(context: Context, user: UserExport, own: Sequence[Passkey], *bound_to: str) -> Ceremony:
    """A new passkey is asked for, on a device that has none of this person's. own: those that they have."""
    challenge = _new_challenge(context, *bound_to)
    options = webauthn.generate_registration_options(
        rp_id=_rp_id(context),
        rp_name=context.settings.host,
        user_id=user.id.encode(),
        user_name=user.username,
        user_display_name=str(user.claims.get("name") or user.username),
        challenge=challenge.encode(),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each.credential_id) for each in own],
    )
    return Ceremony(webauthn.options_to_json(options), challenge)


async def prove(context: Context, answer: str, challenge: str, *bound_to: str) -> Passkey | None:
    """The passkey with which a browser answered; None for anything that is not one of ours, used properly, once."""
    now = context.now()
    try:
        given = parse_authentication_credential_json(answer)
    except Exception as error:
        return _refused("malformed", error)
    async with transaction(context.database) as session:
        passkey = await passkey_store.find_passkey(session, given.raw_id)
        if passkey is None or not await _claim_challenge(context, session, challenge, now, *bound_to):
            return _refused("unknown passkey or challenge")
    if given.response.user_handle not in (None, passkey.user_id.encode()):
        return _refused("of another user")
    try:
        verified = webauthn.verify_authentication_response(
            credential=given,
            expected_challenge=challenge.encode(),
            expected_rp_id=_rp_id(context),
            expected_origin=context.settings.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,  # compared below, in one statement
            require_user_verification=True,
        )
    except Exception as error:
        return _refused("not verified", error)
    async with transaction(context.database) as session:
        if not await passkey_store.claim_use(session, passkey.credential_id, verified.new_sign_count, now):
            # WebAuthn 6.1.1: somebody else has a copy of the key.
            log.warning("passkey.counter_went_back", user_id=passkey.user_id)
            return None
    return passkey


async def enrol(
    context: Context, user: UserExport, answer: str, challenge: str, name: str, *bound_to: str
) -> Passkey | None:
    """The person's new passkey; None for anything that is not one. Raises TooMany. Appends CredentialChanged."""
    now = context.now()
    try:
        given = parse_registration_credential_json(answer)
    except Exception as error:
        return _refused("malformed", error)
    async with transaction(context.database) as session:
        if not await _claim_challenge(context, session, challenge, now, *bound_to):
            return _refused("unknown challenge")
    try:
        verified = webauthn.verify_registration_response(
            credential=given,
            expected_challenge=challenge.encode(),
            expected_rp_id=_rp_id(context),
            expected_origin=context.settings.origin,
            require_user_verification=True,
        )
    except Exception as error:
        return _refused("not verified", error)
    made = Passkey(
        credential_id=verified.credential_id,
        user_id=user.id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        name=name.strip()[:_MAX_NAME] or "Passkey",
        is_synced=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        created_at=now,
    )
    async with transaction(context.database) as session:
        if len(await passkey_store.hold_passkeys(session, user.id)) >= MOST:
            raise TooMany
        if not await passkey_store.claim_new_passkey(session, made):
            return _refused("somebody's already")
        credentials.announce(session, user.id, "passkey", now)
        await notices.tell(context, session, user, "passkey")
    log.info("passkey.enrolled", user_id=user.id, synced=made.is_synced)
    return made


def _rp_id(context: Context) -> str:
    """The host, without the port, of which the keys are. Spec: WebAuthn Level 3 5.1.3 (rp.id)."""
    return urlsplit(context.settings.origin).hostname or ""


def _new_challenge(context: Context, *bound_to: str) -> str:
    nonce, at_s = secrets.token_urlsafe(16), str(int(context.now().timestamp()))
    return f"{nonce}.{at_s}.{form_token(context.forms_key, _PURPOSE, nonce, at_s, *bound_to)}"


async def _claim_challenge(context: Context, session: Session, challenge: str, now: datetime, *bound_to: str) -> bool:
    """True for the first use of a challenge of ours, in the browser for which it was made."""
    parts = _CHALLENGE.fullmatch(challenge)
    if parts is None:
        return False
    if not check_form_token(context.forms_key, parts["mac"], _PURPOSE, parts["nonce"], parts["at_s"], *bound_to):
        return False
    expires_at = datetime.fromtimestamp(int(parts["at_s"]), now.tzinfo) + _LIFE
    if expires_at <= now:
        return False
    return await bus.spend(session, purpose=_PURPOSE, key=challenge, expires_at=expires_at)


def _refused(why: str, error: Exception | None = None) -> Passkey | None:
    # The library's parsers raise whatever they stumble over; none of it is more than a refusal.
    log.info("passkey.refused", why=why, error=type(error).__name__ if error is not None else None)
    return None
