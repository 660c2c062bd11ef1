"""What may be said of a group: the bodies that administrators send, and what they see."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from watchword_directory.models import Group, Membership
from watchword_directory.texts import FullName, Id, Reference, Text

MOST_MEMBERS = 1000  # in one call, which is one transaction
Parents = Annotated[list[FullName], Field(max_length=32), AfterValidator(lambda names: list(dict.fromkeys(names)))]
Ids = Annotated[list[Id], Field(max_length=MOST_MEMBERS), AfterValidator(lambda ids: list(dict.fromkeys(ids)))]


class NewGroup(BaseModel):
    """A group as an administrator describes one.

    organization: id or short name of the one that it belongs to, for ever.  parents: full names of the groups in which
    it lies: its members count as theirs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    organization: Reference | None = None
    description: Text | None = None
    parents: Parents = []

    def as_changes(self) -> "GroupChanges":
        """The changes that make an existing group equal to this."""
        return GroupChanges(name=self.name, description=self.description, parents=self.parents)


class GroupChanges(BaseModel):
    """What to change of a group: only the fields that are present; null removes a description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text | None = None
    description: Text | None = None
    parents: Parents | None = None

    @model_validator(mode="after")
    def _check_present(self) -> Self:
        for field in ("name", "parents"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be removed")
        return self


class MemberChanges(BaseModel):
    """Users to put into a group and to take out of it, by id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    add: Ids = []
    remove: Ids = []

    @model_validator(mode="after")
    def _check_apart(self) -> Self:
        if not set(self.add).isdisjoint(self.remove):
            raise ValueError("remove: somebody is to be added, too")
        return self


class GroupView(BaseModel):
    """A group as the API shows it."""

    id: str
    name: str
    full_name: str = Field(description="What tokens and rules call it: with the organization's short name in front")
    organization: str | None = Field(description="The id of the organization that it belongs to")
    description: str | None
    parents: list[str] = Field(description="Full names of the groups in which it lies")
    external_id: str | None = Field(description="What a SCIM client that keeps it calls it")
    version: int
    created_at: datetime
    updated_at: datetime


class MemberView(BaseModel):
    """A user in a group."""

    user_id: str
    provider_id: str | None = Field(description="The provider that says so; null when it was given here")
    created_at: datetime


def group_view(group: Group, parents: Sequence[str]) -> GroupView:
    """What the API answers about a group."""
    fields = group.model_dump(include=set(GroupView.model_fields))
    return GroupView.model_validate(fields | {"organization": group.organization_id, "parents": list(parents)})


def member_view(membership: Membership) -> MemberView:
    """What the API answers about a membership."""
    return MemberView.model_validate(membership.model_dump(include=set(MemberView.model_fields)))
