"""What may be said of roles and of who has them: the bodies that administrators send, and what they see."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from watchword_directory.models import Assignment, Role
from watchword_directory.standing import Standing
from watchword_directory.texts import Id, Reference, Text
from watchword_events.exports import HomeOrganization, OrganizationRights
from watchword_policy.permissions import check_permission

RoleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._:/-]{0,126}[A-Za-z0-9])?$")]
Permission = Annotated[str, AfterValidator(check_permission)]
Permissions = Annotated[list[Permission], Field(max_length=256), AfterValidator(lambda names: sorted(set(names)))]
Names = Annotated[list[Reference], Field(max_length=64), AfterValidator(lambda names: list(dict.fromkeys(names)))]


class NewRole(BaseModel):
    """A role as an administrator describes one: a name for permissions that go together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: RoleName
    description: Text | None = None
    permissions: Permissions = []

    def as_changes(self) -> "RoleChanges":
        """The changes that make an existing role equal to this."""
        return RoleChanges(name=self.name, description=self.description, permissions=self.permissions)


class RoleChanges(BaseModel):
    """What to change of a role: only the fields that are present; null removes a description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: RoleName | None = None
    description: Text | None = None
    permissions: Permissions | None = None

    @model_validator(mode="after")
    def _check_present(self) -> Self:
        for field in ("name", "permissions"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be removed")
        return self


class NewAssignment(BaseModel):
    """Who shall have a role. role: its id or name.  user, group: the id of one of the two.

    organization: id or short name of the one within which the role counts; everywhere when left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Reference
    user: Id | None = None
    group: Id | None = None
    organization: Reference | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise ValueError("user: either a user or a group has a role")
        return self


class UserRoles(BaseModel):
    """All roles that a user has everywhere, by id or name; what it has within an organization or by a group stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: Names


class RoleView(BaseModel):
    """A role as the API shows it."""

    id: str
    name: str
    description: str | None
    permissions: list[str]
    is_built_in: bool = Field(description="Watchword's own, which nobody changes")
    version: int
    created_at: datetime
    updated_at: datetime


class AssignmentView(BaseModel):
    """Who has a role, by ids."""

    id: str
    role: str
    user: str | None
    group: str | None
    organization: str | None
    provider_id: str | None = Field(description="The provider that says so; null when it was given here")
    created_at: datetime


class RightsView(BaseModel):
    """What a user is and may, with everything that follows from groups and roles."""

    groups: tuple[str, ...]
    roles: tuple[str, ...] = Field(description="Those that count everywhere")
    permissions: tuple[str, ...] = Field(description="Those that count everywhere")
    organizations: tuple[OrganizationRights, ...] = Field(description="What counts within one organization besides")
    home: HomeOrganization | None


def role_view(role: Role) -> RoleView:
    """What the API answers about a role."""
    return RoleView.model_validate(role.model_dump(include=set(RoleView.model_fields)))


def rights_view(standing: Standing) -> RightsView:
    """What the API answers about a user's rights."""
    return RightsView(
        groups=standing.groups,
        roles=standing.roles,
        permissions=standing.permissions,
        organizations=standing.organizations,
        home=standing.home,
    )


def assignment_view(assignment: Assignment) -> AssignmentView:
    """What the API answers about an assignment."""
    return AssignmentView(
        id=assignment.id,
        role=assignment.role_id,
        user=assignment.user_id,
        group=assignment.group_id,
        organization=assignment.organization_id,
        provider_id=assignment.provider_id,
        created_at=assignment.created_at,
    )
