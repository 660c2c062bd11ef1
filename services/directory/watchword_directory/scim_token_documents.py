"""What may be said of a SCIM token, and what administrators see of one."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from watchword_directory.models import ScimFailure, ScimToken
from watchword_directory.texts import Id, Reference, Text

Name = Annotated[Text, Field(max_length=200)]


class NewScimToken(BaseModel):
    """A SCIM token to be made.

    organization: id or short name of the one whose people and groups it sees and writes; without one it is the
    installation's.  provider_id: a provider with which it ends, and whose organization is meant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    organization: Reference | None = None
    provider_id: Id | None = None
    expires_at: AwareDatetime | None = None


class ScimTokenView(BaseModel):
    """A SCIM token without its secret. last_used_at: to within a minute; null for one that never was."""

    id: str
    name: str
    organization: str | None = Field(description="Whose people and groups it sees and writes; null for all")
    provider_id: str | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class CreatedScimToken(ScimTokenView):
    """A new SCIM token. token: its text, shown this once, to be sent as `Authorization: Bearer`."""

    token: str


class ScimFailureView(BaseModel):
    """A request that was refused. path: below `/scim/v2`.  detail: what the caller was told."""

    at: datetime
    method: str
    path: str
    status: int
    detail: str


def token_view(token: ScimToken) -> ScimTokenView:
    """What the API answers about a token."""
    fields = token.model_dump(include=set(ScimTokenView.model_fields))
    return ScimTokenView.model_validate(fields | {"organization": token.organization_id})


def failure_view(failure: ScimFailure) -> ScimFailureView:
    """What the API answers about a refused request."""
    return ScimFailureView.model_validate(failure.model_dump(include=set(ScimFailureView.model_fields)))
