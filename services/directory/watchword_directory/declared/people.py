"""Users as declared documents, with their groups and with the roles that they have everywhere."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from watchword_database import Session
from watchword_directory import organization_table, roles, store, users
from watchword_directory.edge import Parts
from watchword_directory.models import User
from watchword_directory.profiles import PROFILE, NewUser, VouchedChanges
from watchword_directory.ranks import reach_of
from watchword_directory.refusals import refusals
from watchword_directory.standing import standing_of
from watchword_directory.texts import FullName, Reference
from watchword_policy.administration import OWNER
from watchword_runtime.declared import Existing, Kind, Members, Run, Written

_AN_OWNER: Final = "an owner"
_Groups = Annotated[list[FullName], AfterValidator(lambda names: sorted(set(names)))]
_Roles = Annotated[list[Reference], AfterValidator(lambda names: list(dict.fromkeys(names)))]


class DeclaredUser(NewUser):
    """A user as a document declares one. roles: all that they have everywhere; when left out, they stay as they are.

    email_verified: false for an address that the person only says is theirs, as others may say of the same one.
    groups, roles: as many as somebody has.
    """

    email_verified: bool = True
    groups: _Groups = Field(default_factory=list)
    roles: _Roles | None = None

    @property
    def is_owner(self) -> bool:
        """Whether the person could keep the installation, should others cease to."""
        return self.active is not False and OWNER in map(str.lower, self.roles or ())


class Users(Kind[DeclaredUser]):
    """Users, by their name."""

    name = "User"
    model = DeclaredUser
    secrets = ("password",)
    usual = {"active": True, "roles": []}  # noqa: RUF012 - a ClassVar by its declaration in Kind
    after = ("Organization", "Attribute", "Group", "Role")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def prepare(self, wanted: DeclaredUser) -> str | None:
        """The slow hash of a password."""
        password = wanted.password
        return None if password is None else await self._parts.passwords.hash(password.get_secret_value())

    def called(self, wanted: DeclaredUser) -> Sequence[str]:
        """By a verified address, and as an owner."""
        return [
            *([wanted.email] if wanted.email is not None and wanted.email_verified else []),
            *([_AN_OWNER] if wanted.is_owner else []),
        ]

    def needs(self, wanted: DeclaredUser) -> Sequence[str]:
        """Who only claims an address loses it to whoever proves it later; the last owner goes behind the next."""
        return [
            *([wanted.email] if wanted.email is not None and not wanted.email_verified else []),
            *([] if wanted.is_owner else [_AN_OWNER]),
        ]

    async def find(self, run: Run, wanted: DeclaredUser) -> Existing | None:
        """By `username`."""
        found = await store.find_user_by_username(run.session, wanted.username)
        return None if found is None else await _existing(run.session, found)

    async def create(self, run: Run, wanted: DeclaredUser, prepared: str | None) -> Written:
        """Somebody who may sign in at once."""
        by = reach_of(run.caller)
        with refusals():
            user, entries = await users.create_user(
                run.session,
                _new(wanted),
                password_hash=prepared,
                vouches=wanted.email_verified,
                by=by,
                feed=run.feed,
                now=run.now,
            )
            run.entries += entries
            if wanted.roles:
                user = await roles.set_user_roles(run.session, user.id, wanted.roles, by=by, now=run.now)
        return Written(await _existing(run.session, user))

    async def change(self, run: Run, existing: Existing, wanted: DeclaredUser, prepared: str | None) -> Written:
        """As `PUT` does; a password is written only when that was asked for."""
        by = reach_of(run.caller)
        said = _new(wanted, without=() if run.set_secrets else ("password",)).as_changes()
        given = {name: getattr(said, name) for name in said.model_fields_set}
        changes = VouchedChanges.model_construct(**given, email_verified=wanted.email_verified)
        with refusals():
            user, entries = await users.change_user(
                run.session,
                existing.id,
                changes,
                password_hash=prepared if run.set_secrets else None,
                by=by,
                feed=run.feed,
                now=run.now,
            )
            run.entries += entries
            if wanted.roles is not None:
                user = await roles.set_user_roles(run.session, existing.id, wanted.roles, by=by, now=run.now)
        return Written(await _existing(run.session, user))

    async def delete(self, run: Run, existing: Existing) -> None:
        """The user is gone with all that is theirs."""
        with refusals():
            run.entries += await users.delete_user(
                run.session, existing.id, by=reach_of(run.caller), feed=run.feed, now=run.now
            )

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        found = await store.list_users_by_id(session, after=after, limit=limit)
        return [await _existing(session, user) for user in found]


def _new(wanted: DeclaredUser, without: tuple[str, ...] = ()) -> NewUser:
    given = {name: getattr(wanted, name) for name in NewUser.model_fields if name not in without}
    return NewUser.model_construct(**given)


async def _existing(session: Session, user: User) -> Existing:
    await session.flush()
    standing = await standing_of(session, user.id)
    home = user.organization_id
    organization = None if home is None else await organization_table.find_organization(session, home)
    members: Members = {
        "username": user.username,
        "email": user.email,
        "email_verified": user.email is None or user.email_verified,
        **{name: user.profile.get(name) for name in PROFILE},
        "groups": list(standing.member_of),
        "organization": None if organization is None else organization.short_name,
        "attributes": dict(user.attributes),
        "roles": list(standing.given),
        "active": user.active,
    }
    # A password can be replaced, but whether there is one is authz's to know: a document does not give one to somebody
    # who signs in through a provider.
    return Existing(user.id, user.username, members, has_secret=True)
