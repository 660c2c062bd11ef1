"""Just-in-time provisioning: the user that a new identity becomes, and what later sign-ins change of it.

What a provider claims about rights is not read here: `mapping` reads it, by the rules that an administrator wrote. An
address is taken over only as what it is, verified or not, and never decides who somebody is.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import structlog
from pydantic import JsonValue, TypeAdapter, ValidationError

from watchword_database import Session
from watchword_directory import organization_table, store
from watchword_directory.models import User
from watchword_directory.names import candidates
from watchword_directory.texts import Link, Locale, Text
from watchword_directory.users import new_user, release_emails, rise
from watchword_events.contracts import UserProvisioned, UserUpdated
from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_policy.identifiers import InvalidEmail, canonical_email

log = structlog.get_logger()

_FIELDS: Final[dict[str, TypeAdapter[str]]] = {
    "name": TypeAdapter(Text),
    "given_name": TypeAdapter(Text),
    "family_name": TypeAdapter(Text),
    "picture": TypeAdapter(Link),
    "locale": TypeAdapter(Locale),
}
_TRIES: Final = 20


class EmailClash(Exception):
    """The identity's address is the verified one of an existing user, who has to prove that it is theirs."""

    def __init__(self, user: User) -> None:
        super().__init__(user.id)
        self.user = user


def profile_of(identity: VerifiedIdentity) -> dict[str, JsonValue]:
    """The standard claims that an identity brings; one that is not what it should be is left out."""
    offered: dict[str, object] = {
        "name": identity.name,
        "given_name": identity.given_name,
        "family_name": identity.family_name,
        "picture": identity.picture,
        "locale": identity.claims.get("locale"),
    }
    profile: dict[str, JsonValue] = {}
    for name, kind in _FIELDS.items():
        try:
            profile[name] = kind.validate_python(offered[name], strict=True)
        except ValidationError:
            continue
    return profile


def email_of(identity: VerifiedIdentity) -> str | None:
    """The identity's address in canonical form; None when there is none that can be compared safely."""
    try:
        return canonical_email(identity.email) if identity.email else None
    except InvalidEmail:
        log.info("identity.email_ignored", provider_id=identity.provider_id)
        return None


def is_in(email: str, domains: Iterable[str]) -> bool:
    """Whether the address is in one of the domains, or below one."""
    domain = email.rpartition("@")[2]
    return any(domain == each or domain.endswith(f".{each}") for each in domains)


async def may_vouch(session: Session, provider: ProviderExport, email: str) -> bool:
    """Whether the provider may say that the address is somebody's own.

    Who runs the provider of an organization speaks for that organization: for the domains that it has proved, and for
    those that an administrator of the installation allowed the provider.
    """
    if provider.organization is None or is_in(email, provider.allowed_email_domains):
        return True
    return await organization_table.has_proved(session, provider.organization, email)


async def vouched(session: Session, identity: VerifiedIdentity, provider: ProviderExport) -> VerifiedIdentity:
    """The identity, with an address that is unverified unless its provider may say that it is verified."""
    email = email_of(identity) if identity.email_verified else None
    if email is None or await may_vouch(session, provider, email):
        return identity
    log.info("identity.email_not_vouched", provider_id=provider.id)
    return identity.model_copy(update={"email_verified": False})


async def provision_user(
    session: Session, identity: VerifiedIdentity, *, organization_id: str | None, now: datetime
) -> User:
    """A new user for an identity that nobody has, with a free user name. Link and events are the caller's next steps.

    Raises EmailClash.
    """
    email = email_of(identity)
    await _check_clash(session, email)
    names = candidates(identity.preferred_username, email, identity.name)
    for _, username in zip(range(_TRIES), names, strict=False):
        user = new_user(username=username, email=email, email_verified=bool(email) and identity.email_verified, now=now)
        user.profile = profile_of(identity)
        user.provider_id, user.organization_id = identity.provider_id, organization_id
        if await store.claim_new_user(session, user):
            break
        await _check_clash(session, email)  # somebody may have taken the address a moment ago
    else:
        raise RuntimeError("no free user name")
    await release_emails(session, [user], now=now)
    return user


def announce(session: Session, user: User) -> None:
    """Appends UserProvisioned for a user whose link was won."""
    event = UserProvisioned(
        id=user.id,
        version=user.version,
        claims_version=user.claims_version,
        origin="sign-in",
        provider_id=user.provider_id,
    )
    session.emit(event)


async def refresh_profile(session: Session, user_id: str, identity: VerifiedIdentity, *, now: datetime) -> User:
    """The user with the profile as the provider tells it today, if that provider first brought the user here.

    A new address is taken over only when it is verified and nobody else's. Appends UserUpdated when anything differs.
    """
    user = await store.get_user_for_change(session, user_id)
    if user.provider_id != identity.provider_id:
        return user
    email = email_of(identity)
    before = (user.email, user.email_verified, user.profile)
    told = {**user.profile, **profile_of(identity)}
    if told != user.profile:  # what is assigned is compared again before every statement, even if it is the same
        user.profile = told
    if email and identity.email_verified and (email, True) != (user.email, user.email_verified):
        with session.no_autoflush:
            owner = await store.find_user_by_email(session, email)
        if owner is None and user.username != user.email:
            user.email, user.email_verified = email, True
    if before == (user.email, user.email_verified, user.profile):
        return user
    rise(user, claims=True, now=now)
    await session.flush()
    await release_emails(session, [user], now=now)
    session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
    return user


async def _check_clash(session: Session, email: str | None) -> None:
    owner = await store.find_user_by_email(session, email) if email else None
    if owner is not None:
        raise EmailClash(owner)
