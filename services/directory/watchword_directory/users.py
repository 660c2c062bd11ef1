"""Users: the changes that administrators make, each with its events and its ledger entry."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import JsonValue
from sqlalchemy.exc import IntegrityError

from watchword_database import Session, bus
from watchword_directory import group_table, groups, organization_table, role_table, store
from watchword_directory.attributes import check_attributes
from watchword_directory.delegation import check_changes, check_new, named_organization, require_nothing_beyond
from watchword_directory.groups import Moved
from watchword_directory.models import User
from watchword_directory.names import check_sign_in_names
from watchword_directory.profiles import NewUser, UserChanges
from watchword_directory.ranks import Reach, require_rank
from watchword_directory.standing import standing_of
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
from watchword_policy.administration import OWNER
from watchword_runtime.feed import Feed

# How long entries of the ledger can matter: the longest access token (a day) and the longest grant (a year) that a
# client may have, with a margin.
TOKEN_LIFE: Final = timedelta(hours=25)
GRANT_LIFE: Final = timedelta(days=400)
_NOWHERE: Final = Moved(frozenset(), frozenset())
PASSWORD_WAITS: Final = timedelta(days=30)  # for authz, which takes it as soon as it hears of the user


class NameTaken(Exception):
    """Another user has this name or address already. field: `username` or `email`."""

    def __init__(self, field: Literal["username", "email"]) -> None:
        super().__init__(field)
        self.field = field


class OtherEmail(Exception):
    """The user has another address than the one that was proved, or none."""


class LastOwner(Exception):
    """The change would leave the installation without an active owner."""


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


def user_of(new: NewUser, *, scim: dict[str, JsonValue], external_id: str | None, now: datetime) -> User:
    """A user as somebody who administers describes one, and so vouches for the address; it does not exist yet."""
    user = new_user(username=new.username, email=new.email, email_verified=new.email is not None, now=now)
    user.profile, user.attributes = new.claims(), new.attributes
    user.scim, user.external_id = scim, external_id
    return user


async def create_user(
    session: Session,
    new: NewUser,
    *,
    password_hash: str | None,
    scim: dict[str, JsonValue] | None = None,
    external_id: str | None = None,
    vouches: bool = True,
    by: Reach,
    feed: Feed,
    now: datetime,
) -> tuple[User, list[int]]:
    """The user exists, and may sign in at once with the password when one is given; ledger entries to settle.

    scim, external_id: what a SCIM client said.  vouches: whether the address counts as verified.  by: the caller's
    reach. Raises NameTaken, UnknownOrganization, WhichOrganization, InvalidAttribute, AboveOwnRank, BeyondReach.
    Appends UserProvisioned, MembershipChanged, GroupCreated, and UserDisabled for one who is created inactive.
    """
    await check_attributes(session, new.attributes)
    user = user_of(new, scim=scim or {}, external_id=external_id, now=now)
    organization = await named_organization(session, new.organization, by)
    user.organization_id = organization.id if organization is not None else None
    user.email_verified = user.email_verified and vouches
    await check_new(session, new, user.organization_id, by, vouches=vouches)
    user.password_set_at = now if password_hash else None
    if not await create_users(session, [user], now=now):
        taken = await store.find_user_by_username(session, user.username)
        raise NameTaken("username" if taken else "email")
    if new.groups:
        (await groups.put_user_in(session, user, new.groups, by=by, now=now)).announce(session, user)
    if password_hash:
        await hand_over_password(session, user.id, password_hash, now=now)
    if new.active is not False:
        return user, []
    user = await store.get_user_for_change(session, user.id)
    return user, [await _set_active(session, user, active=False, feed=feed, now=now)]


async def create_users(session: Session, users: Sequence[User], *, now: datetime) -> set[str]:
    """The ids of those who exist now; name or address of the others belong to somebody.

    users: active, and in no group. Appends UserProvisioned for each.
    """
    made = await store.claim_new_users(session, users)
    for user in users:
        if user.id in made:
            session.emit(UserProvisioned(id=user.id, version=1, claims_version=1, origin="api"))
    await release_emails(session, [user for user in users if user.id in made], now=now)
    return made


async def change_user(
    session: Session,
    user_id: str,
    changes: UserChanges,
    *,
    password_hash: str | None,
    end_sessions: bool = False,
    by: Reach,
    feed: Feed,
    now: datetime,
) -> tuple[User, list[int]]:
    """The user as changed, and the ledger entries to settle; nothing at all happens when nothing differs.

    end_sessions: every session and token of the user ends too.  by: the caller's reach. Raises UnknownUser, NameTaken,
    InvalidUsername, UnknownOrganization, InvalidAttribute, LastOwner, AboveOwnRank, BeyondReach. Appends UserUpdated,
    MembershipChanged, GroupCreated, and UserDisabled or UserEnabled.
    """
    others = 1
    if changes.active is False:  # owners are locked before the user, always in one order
        others = await role_table.count_other_owners(session, user_id)
    user = await store.get_user_for_change(session, user_id)
    standing = await standing_of(session, user_id)
    await check_changes(session, user, changes, standing, by)
    require_rank(standing.rank(by), by)
    if changes.active is False and user.active and OWNER in standing.given and not others:
        raise LastOwner(user_id)
    await check_attributes(session, changes.attributes or {})
    await _change_claims(session, user, changes, password_hash=password_hash, by=by, now=now)
    entries: list[int] = []
    if end_sessions:
        cut = RevocationKind.CUT
        entries.append(await revoke_user(session, user_id, cut, feed=feed, reason="administrator", now=now))
    if changes.active is not None and changes.active != user.active:
        entries.append(await _set_active(session, user, active=changes.active, feed=feed, now=now))
    return user, entries


async def _change_claims(
    session: Session,
    user: User,
    changes: UserChanges,
    *,
    password_hash: str | None,
    by: Reach,
    now: datetime,
) -> None:
    given = changes.model_fields_set
    before = _told(user)
    kept = {name: value for name, value in user.profile.items() if name not in given}
    user.profile = kept | changes.claims()
    if changes.attributes is not None:
        user.attributes = changes.attributes
    home = await _organization(session, changes.organization) if "organization" in given else user.organization_id
    moved = _NOWHERE
    if changes.groups is not None:
        moved = await groups.put_user_in(session, user, changes.groups, by=by, now=now)
    # Names, and where they have to be free, last: a query would write them, and meet whoever has them already.
    user.organization_id = home
    if changes.username is not None:
        if changes.username != user.username and "userName" in user.scim:
            user.scim = {name: said for name, said in user.scim.items() if name not in ("userName", "became")}
        user.username = changes.username
    user.email, user.email_verified = changes.address_of(user)
    check_sign_in_names(user.username, user.email)
    changed = before != _told(user) or bool(moved)
    if not changed and password_hash is None:
        return
    rise(user, claims=changed, now=now)
    if password_hash is not None:
        user.password_set_at = now
    await _flush_names(session)
    if password_hash is not None:
        await hand_over_password(session, user.id, password_hash, now=now)
    await release_emails(session, [user], now=now)
    moved.announce(session, user)
    session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))


async def verify_email(session: Session, user_id: str, email: str, *, now: datetime) -> None:
    """The address that the user has is verified: somebody who is signed in as the user reads its mail.

    Doing it again changes nothing. Raises UnknownUser, OtherEmail when the user has another one by now, NameTaken when
    somebody else has proved it meanwhile. Appends UserUpdated.
    """
    user = await store.get_user_for_change(session, user_id)
    if user.email != email:
        raise OtherEmail(user_id)
    if user.email_verified:
        return
    user.email_verified = True
    rise(user, claims=True, now=now)
    await _flush_names(session)
    await release_emails(session, [user], now=now)
    session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))


async def _flush_names(session: Session) -> None:
    """What was changed stands in the database. Raises NameTaken."""
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken("email" if "uq_users_email" in str(error.orig) else "username") from error


def _told(user: User) -> tuple[object, ...]:
    """What applications learn about the person, so far as it stands in the row."""
    name = (user.username, user.email, user.email_verified)
    return (*name, dict(user.profile), dict(user.attributes), user.organization_id)


async def _organization(session: Session, reference: str | None) -> str | None:
    """The id behind an id or short name. Raises UnknownOrganization."""
    return None if reference is None else (await organization_table.get_organization(session, reference)).id


async def release_emails(session: Session, users: Sequence[User], *, now: datetime) -> None:
    """Accounts that only claimed an address of one of these lose it: whoever registered it in advance gains nothing."""
    owners = [user for user in users if user.email is not None and user.email_verified]
    if not owners:
        return
    for loser in await store.release_unverified_emails(session, owners, now=now):
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


async def delete_user(session: Session, user_id: str, *, by: Reach, feed: Feed, now: datetime) -> list[int]:
    """The user is gone with every link; a tombstone without personal data stays. Returns ledger entries to settle.

    Doing it again changes nothing.  by: the caller's reach. Raises UnknownUser for one who never was, LastOwner,
    AboveOwnRank, BeyondReach. Appends IdentityUnlinked for each link, and UserDeleted.
    """
    others = await role_table.count_other_owners(session, user_id)
    try:
        user = await store.get_user_for_change(session, user_id)
    except store.UnknownUser:
        if by.organizations is None and await store.is_tombstone(session, user_id):
            return []
        raise
    standing = await standing_of(session, user_id)
    await require_nothing_beyond(session, user, standing, by)
    require_rank(standing.rank(by), by)
    if OWNER in standing.given and user.active and not others:
        raise LastOwner(user_id)
    for link in await store.claim_links_of(session, user_id):
        session.emit(IdentityUnlinked(id=link.id, version=2, user_id=user_id, provider_id=link.provider_id))
    user.username, user.email, user.email_verified, user.profile = "", None, False, {}
    user.attributes, user.organization_id = {}, None
    user.external_id, user.scim = None, {}
    await group_table.drop_memberships_of(session, user_id)
    await role_table.take_all_from(session, user_id)
    user.active, user.provider_id, user.password_set_at, user.deleted_at = False, None, None, now
    rise(user, claims=True, now=now)
    await session.flush()
    session.emit(UserDeleted(id=user.id, version=user.version, claims_version=user.claims_version))
    entry = await revoke_user(session, user_id, RevocationKind.STATE, feed=feed, reason="user.deleted", now=now)
    return [entry]


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
