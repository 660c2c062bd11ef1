"""The first administrator, an owner, made by the supervisor before anybody can sign in."""

from dataclasses import dataclass
from datetime import datetime

from watchword_database import Database, transaction
from watchword_directory import roles, store
from watchword_directory.names import check_sign_in_names
from watchword_directory.users import hand_over_password, new_user, release_emails, rise
from watchword_events.contracts import UserProvisioned, UserUpdated
from watchword_policy.identifiers import canonical_email, canonical_username
from watchword_runtime.passwords import Passwords


@dataclass(frozen=True, slots=True)
class Administrator:
    """The administrator, and whether this call made the account; only then the given password is theirs."""

    user_id: str
    created: bool


async def ensure_administrator(
    database: Database, *, username: str, password: str, passwords: Passwords, now: datetime, email: str | None = None
) -> Administrator:
    """There is a user with this name and the role of an owner; a password is set only for a new one.

    database: the directory's. Safe to call at each start and in several processes at once. Raises InvalidUsername and
    InvalidEmail. Appends UserProvisioned, or UserUpdated when the user had not been an owner, and AssignmentChanged.
    """
    name = canonical_username(username)
    address = canonical_email(email) if email else None
    check_sign_in_names(name, address)
    password_hash = await passwords.hash(password)
    async with transaction(database) as session:
        user = new_user(username=name, email=address, email_verified=address is not None, now=now)
        user.profile = {"name": "Administrator"}
        user.password_set_at = now
        if await store.claim_new_user(session, user):
            session.emit(UserProvisioned(id=user.id, version=1, claims_version=1, origin="bootstrap"))
            await roles.make_owner(session, user.id, now=now)
            await release_emails(session, [user], now=now)
            await hand_over_password(session, user.id, password_hash, now=now)
            return Administrator(user.id, created=True)
        found = await store.find_user_by_username(session, name)
        if found is None:
            raise ValueError("the administrator's e-mail address belongs to another user")
        known = await store.get_user_for_change(session, found.id)
        if await roles.make_owner(session, known.id, now=now):
            rise(known, claims=True, now=now)
            session.emit(UserUpdated(id=known.id, version=known.version, claims_version=known.claims_version))
        return Administrator(known.id, created=False)
