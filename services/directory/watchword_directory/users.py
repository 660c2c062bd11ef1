"""Users: the changes that administrators make, each with its events and its ledger entry."""

import uuid
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy.exc import IntegrityError

from watchword_database import Session, bus
from watchword_directory import store
from watchword_directory.models import User
from watchword_directory.names import check_sign_in_names
from watchword_directory.profiles import PROFILE, NewUser, UserChanges
from watchword_events.contracts import (
    IdentityUnlinked,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserProvisioned,
    UserUpdated,
)
from watchword_events.handovers import SetPassword
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed

# How long entries of the ledger can matter: the longest access token (a day) and the longest grant (a year) that a
# client may have, with a margin.
TOKEN_LIFE: Final = timedelta(hours=25)
GRANT_LIFE: Final = timedelta(days=400)
PASSWORD_WAITS: Final = timedelta(days=30)  # for authz, which takes it as soon as it hears of the user


class NameTaken(Exception):
    """Another user has this name or address already. field: `username` or `email`."""

    def __init__(self, field: Literal["username", "email"]) -> None:
        super().__init__(field)
        self.field = field


class LastAdministrator(Exception):
    """The change would leave the installation without an active administrator."""


def new_user(*, username: str, now: datetime, email: str | None = None, email_verified: bool = False) -> User:
    """A user that does not exist yet; its id is random and never used again."""
    return User(
        id=str(uuid.uuid4()),
        version=1,
        claims_version=1,
        username=username,
        email=email,
        email_verified=email_verified,
        created_at=now,
        updated_at=now,
    )


async def create_user(
    session: Session, new: NewUser, *, password_hash: str | None, feed: Feed, now: datetime
) -> tuple[User, list[int]]:
    """The user exists, and may sign in at once with the password when one is given; ledger entries to settle.

    Raises NameTaken. Appends UserProvisioned, and UserDisabled for one who is created inactive.
    """
    user = new_user(username=new.username, email=new.email, email_verified=new.email is not None, now=now)
    user.profile = {name: value for name in PROFILE if (value := getattr(new, name)) is not None}
    user.groups = new.groups
    user.password_set_at = now if password_hash else None
    if not await store.claim_new_user(session, user):
        taken = await store.find_user_by_username(session, user.username)
        raise NameTaken("username" if taken else "email")
    session.emit(UserProvisioned(id=user.id, version=1, claims_version=1, origin="api"))
    await release_email(session, user, now=now)
    if password_hash:
        await hand_over_password(session, user.id, password_hash, now=now)
    if new.active is not False:
        return user, []
    user = await store.get_user_for_change(session, user.id)
    return user, [await _set_active(session, user, active=False, feed=feed, now=now)]


async def change_user(
    session: Session,
    user_id: str,
    changes: UserChanges,
    *,
    password_hash: str | None,
    end_sessions: bool = False,
    feed: Feed,
    now: datetime,
) -> tuple[User, list[int]]:
    """The user as changed, and the ledger entries to settle; nothing at all happens when nothing differs.

    end_sessions: every session and token of the user ends too. Raises UnknownUser, NameTaken, InvalidUsername,
    LastAdministrator. Appends UserUpdated, and UserDisabled or UserEnabled.
    """
    others = 1
    if changes.active is False:  # administrators are locked before the user, always in one order
        others = await store.count_other_administrators(session, user_id)
    user = await store.get_user_for_change(session, user_id)
    if changes.active is False and store.ADMINISTRATOR in user.roles and not others:
        raise LastAdministrator(user_id)
    await _change_claims(session, user, changes, password_hash=password_hash, now=now)
    entries: list[int] = []
    if end_sessions:
        cut = RevocationKind.CUT
        entries.append(await revoke_user(session, user_id, cut, feed=feed, reason="administrator", now=now))
    if changes.active is not None and changes.active != user.active:
        entries.append(await _set_active(session, user, active=changes.active, feed=feed, now=now))
    return user, entries


async def _change_claims(
    session: Session, user: User, changes: UserChanges, *, password_hash: str | None, now: datetime
) -> None:
    given = changes.model_fields_set
    before = (user.username, user.email, user.email_verified, dict(user.profile), user.groups)
    if changes.username is not None:
        user.username = changes.username
    if "email" in given:
        user.email, user.email_verified = changes.email, changes.email is not None
    profile = dict(user.profile) | {name: getattr(changes, name) for name in PROFILE if name in given}
    user.profile = {name: value for name, value in profile.items() if value is not None}
    if changes.groups is not None:
        user.groups = changes.groups
    check_sign_in_names(user.username, user.email)
    changed = before != (user.username, user.email, user.email_verified, user.profile, user.groups)
    if not changed and password_hash is None:
        return
    rise(user, claims=changed, now=now)
    if password_hash is not None:
        user.password_set_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken("username" if "uq_users_username" in str(error.orig) else "email") from error
    if password_hash is not None:
        await hand_over_password(session, user.id, password_hash, now=now)
    await release_email(session, user, now=now)
    session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))


async def release_email(session: Session, user: User, *, now: datetime) -> None:
    """Accounts that only claimed this address lose it, so that whoever registered it in advance gains nothing."""
    if user.email is None or not user.email_verified:
        return
    for loser in await store.release_unverified_email(session, user.email, besides=user.id, now=now):
        session.emit(UserUpdated(id=loser.id, version=loser.version, claims_version=loser.claims_version))


async def _set_active(session: Session, user: User, *, active: bool, feed: Feed, now: datetime) -> int:
    """The ledger entry of a user who is disabled, or enabled again; every token from before is dead either way."""
    user.active = active
    rise(user, claims=True, now=now)
    await session.flush()
    event = UserEnabled if active else UserDisabled
    session.emit(event(id=user.id, version=user.version, claims_version=user.claims_version))
    kind = RevocationKind.LIFT if active else RevocationKind.STATE
    return await revoke_user(session, user.id, kind, feed=feed, reason=event.type_name(), now=now)


async def delete_user(session: Session, user_id: str, *, feed: Feed, now: datetime) -> list[int]:
    """The user is gone with every link; a tombstone without personal data stays. Returns ledger entries to settle.

    Doing it again changes nothing. Raises UnknownUser for one who never was, LastAdministrator. Appends
    IdentityUnlinked for each link, and UserDeleted.
    """
    others = await store.count_other_administrators(session, user_id)
    try:
        user = await store.get_user_for_change(session, user_id)
    except store.UnknownUser:
        if await store.is_tombstone(session, user_id):
            return []
        raise
    if store.ADMINISTRATOR in user.roles and user.active and not others:
        raise LastAdministrator(user_id)
    for link in await store.claim_links_of(session, user_id):
        session.emit(IdentityUnlinked(id=link.id, version=2, user_id=user_id, provider_id=link.provider_id))
    user.username, user.email, user.email_verified, user.profile = "", None, False, {}
    user.roles, user.groups = [], []
    user.active, user.provider_id, user.password_set_at, user.deleted_at = False, None, None, now
    rise(user, claims=True, now=now)
    await session.flush()
    session.emit(UserDeleted(id=user.id, version=user.version, claims_version=user.claims_version))
    entry = await revoke_user(session, user_id, RevocationKind.STATE, feed=feed, reason="user.deleted", now=now)
    return [entry]


async def set_roles(session: Session, user_id: str, roles: list[str], *, now: datetime) -> User:
    """The user has exactly these roles. Raises UnknownUser, LastAdministrator. Appends UserUpdated."""
    others = await store.count_other_administrators(session, user_id)
    user = await store.get_user_for_change(session, user_id)
    if store.ADMINISTRATOR in user.roles and store.ADMINISTRATOR not in roles and user.active and not others:
        raise LastAdministrator(user_id)
    if sorted(user.roles) != sorted(roles):
        user.roles = sorted(roles)
        rise(user, claims=True, now=now)
        session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
    return user


async def hand_over_password(session: Session, user_id: str, password_hash: str, *, now: datetime) -> None:
    """authz, which alone keeps credentials, takes the hash when it hears of the user or at the next sign-in."""
    payload = SetPassword(user_id=user_id, password_hash=password_hash)
    await bus.hand_over(session, payload, flow=f"user:{user_id}", now=now, ttl=PASSWORD_WAITS)


async def revoke_user(
    session: Session, user_id: str, kind: RevocationKind, *, feed: Feed, reason: str, now: datetime
) -> int:
    """The ledger entry about everything of this user; here it counts at once, everywhere else in milliseconds."""
    entry = await bus.revoke(
        session,
        claim=Claim.SUB,
        value=user_id,
        kind=kind,
        reason=reason,
        until=now + TOKEN_LIFE,
        keep_until=now + GRANT_LIFE,
    )
    feed.pend(entry, Claim.SUB, user_id)
    return entry


def rise(user: User, *, claims: bool, now: datetime) -> None:
    """The user stands at its next version. claims: whether what applications learn about the person changed."""
    user.version += 1
    user.updated_at = now
    if claims:
        user.claims_version = user.version
