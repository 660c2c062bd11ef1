"""Roles as declared documents, and who has them: groups, and people within an organization."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from watchword_database import Session
from watchword_directory import group_table, organization_table, role_table, roles, store
from watchword_directory.edge import Parts
from watchword_directory.models import Assignment, Group, Role, User
from watchword_directory.ranks import reach_of
from watchword_directory.refusals import refusals
from watchword_directory.role_documents import NewAssignment, NewRole
from watchword_directory.texts import Reference, Username
from watchword_runtime.declared import Existing, Kind, Members, Run, Written
from watchword_web.errors import FieldError, Problem


class Roles(Kind[NewRole]):
    """Roles, by their name; Watchword's own are nobody's to declare."""

    name = "Role"
    model = NewRole

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, run: Run, wanted: NewRole) -> Existing | None:
        """By `name`."""
        found = (await role_table.find_roles_by_name(run.session, [wanted.name])).get(wanted.name.lower())
        return None if found is None else _role(found)

    async def create(self, run: Run, wanted: NewRole, prepared: None) -> Written:
        """Nobody has it yet."""
        with refusals("role"):
            return Written(_role(await roles.create_role(run.session, wanted, now=run.now)))

    async def change(self, run: Run, existing: Existing, wanted: NewRole, prepared: None) -> Written:
        """As `PUT` does."""
        with refusals("role"):
            changed, due = await roles.change_role(run.session, existing.id, wanted.as_changes(), now=run.now)
        run.afterwards.append(lambda: self._parts.claims.settle(due))
        return Written(_role(changed))

    async def delete(self, run: Run, existing: Existing) -> None:
        """Nobody has it any more."""
        with refusals("role"):
            due = await roles.delete_role(run.session, existing.id, now=run.now)
        run.afterwards.append(lambda: self._parts.claims.settle(due))

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """Those that are not built in."""
        return [_role(each) for each in await role_table.list_own_by_id(session, after=after, limit=limit)]


class DeclaredAssignment(BaseModel):
    """Who has a role, by names. organization: within which it counts; everywhere when left out.

    A role that a person has everywhere stands in the `roles` of the User.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Reference
    user: Username | None = None
    group: str | None = Field(None, max_length=320)
    organization: Reference | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise ValueError("user: either a user or a group has a role")
        if self.user is not None and self.organization is None:
            raise ValueError("user: what somebody is everywhere stands in the roles of the User")
        return self


class Assignments(Kind[DeclaredAssignment]):
    """Assignments, by all that they say: there is nothing to change about one."""

    name = "RoleAssignment"
    model = DeclaredAssignment
    after = ("Organization", "Group", "Role", "User")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, run: Run, wanted: DeclaredAssignment) -> Existing | None:
        """By everything."""
        new = await self._by_id(run.session, wanted)
        with refusals("assignment"):
            role = await role_table.get_role(run.session, new.role)
        like = Assignment(
            id="",
            role_id=role.id,
            user_id=new.user,
            group_id=new.group,
            organization_id=new.organization,
            created_at=run.now,
        )
        found = await role_table.find_same_assignment(run.session, like)
        return None if found is None else await _assignment(run.session, found)

    async def create(self, run: Run, wanted: DeclaredAssignment, prepared: None) -> Written:
        """The role is theirs."""
        with refusals("assignment"):
            made, _, due = await roles.give_role(
                run.session, await self._by_id(run.session, wanted), by=reach_of(run.caller), now=run.now
            )
        run.afterwards.append(lambda: self._parts.claims.settle(due))
        return Written(await _assignment(run.session, made))

    async def change(self, run: Run, existing: Existing, wanted: DeclaredAssignment, prepared: None) -> Written:
        """Nothing differs."""
        return Written(existing)

    async def delete(self, run: Run, existing: Existing) -> None:
        """The role is theirs no more."""
        with refusals("assignment"):
            due = await roles.take_role(run.session, existing.id, by=reach_of(run.caller), now=run.now)
        run.afterwards.append(lambda: self._parts.claims.settle(due or []))

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """Those that were given here, but what people are everywhere."""
        found = await role_table.list_declared_assignments(session, after=after, limit=limit)
        return [await _assignment(session, each) for each in found]

    async def _by_id(self, session: Session, wanted: DeclaredAssignment) -> NewAssignment:
        """The same with ids in place of names. Raises Problem."""
        user_id = group_id = organization_id = None
        if wanted.user is not None:
            user = await store.find_user_by_username(session, wanted.user)
            user_id = _known("user", user).id
        if wanted.group is not None:
            found = await group_table.find_groups_by_name(session, [wanted.group])
            group_id = _known("group", found.get(wanted.group.lower())).id
        if wanted.organization is not None:
            with refusals("assignment"):
                organization_id = (await organization_table.get_organization(session, wanted.organization)).id
        return NewAssignment(role=wanted.role, user=user_id, group=group_id, organization=organization_id)


def _role(role: Role) -> Existing:
    members = role.model_dump(mode="json", include=set(NewRole.model_fields))
    return Existing(role.id, role.name, members)


async def _assignment(session: Session, assignment: Assignment) -> Existing:
    role = await role_table.get_role(session, assignment.role_id)
    user = await store.find_user(session, assignment.user_id) if assignment.user_id is not None else None
    group = await group_table.find_group(session, assignment.group_id) if assignment.group_id is not None else None
    within = assignment.organization_id
    organization = None if within is None else await organization_table.find_organization(session, within)
    members: Members = {
        "role": role.name,
        "user": None if user is None else user.username,
        "group": None if group is None else group.full_name,
        "organization": None if organization is None else organization.short_name,
    }
    name = " ".join(str(each) for each in members.values() if each is not None)
    return Existing(assignment.id, name, members)


def _known(field: str, found: User | Group | None) -> User | Group:
    if found is None:
        error: FieldError = {"pointer": f"#/{field}", "detail": f"there is no such {field}"}
        raise Problem(400, "The request is not valid", errors=[error])
    return found
