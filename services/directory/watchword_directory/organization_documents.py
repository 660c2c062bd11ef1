"""What may be said of an organization: the bodies that administrators send, what they see, what others copy."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    model_validator,
)

from watchword_directory.models import Organization, OrganizationDomain
from watchword_directory.texts import Text
from watchword_events.exports import LARGEST_NUMBER, Exported, OrganizationExport
from watchword_policy.identifiers import canonical_domain

CHALLENGE_LABEL: Final = "_watchword-challenge"
CHALLENGE_PREFIX: Final = "watchword-verification="
_FOREIGN: Final = re.compile(r"[!-~]{1,64}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_DOMAIN: Final = 253 - len(CHALLENGE_LABEL) - 1


def _foreign_id(value: int | str) -> int | str:
    if isinstance(value, int):
        if not 0 <= value <= LARGEST_NUMBER:
            raise ValueError("a number is between 0 and 9007199254740991; send a larger one as text")
    elif not _FOREIGN.fullmatch(value):
        raise ValueError("an id of another system has 1 to 64 printable ASCII characters and no space")
    return value


def _no_boolean(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number or text")
    return value


def ownable_domain(value: str) -> str:
    """The domain, canonical. Raises ValueError for what is no registrable name. Spec: RFC 5891 4; RFC 1035 2.3.4."""
    domain = canonical_domain(value)
    labels = domain.split(".")
    if len(labels) < 2 or len(domain) > _MAX_DOMAIN or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ValueError("not a domain name that somebody could own")
    return domain


ShortName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
ForeignId = Annotated[StrictInt | StrictStr, BeforeValidator(_no_boolean), AfterValidator(_foreign_id)]
DomainName = Annotated[str, Field(max_length=253), AfterValidator(ownable_domain)]


class NewOrganization(BaseModel):
    """An organization as an administrator describes one.

    short_name: for ever, since it stands in tokens.  external_id, domain_id: of the system that it comes from; a number
    stays a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    short_name: ShortName
    name: Text
    external_id: ForeignId | None = None
    domain_id: ForeignId | None = None

    def as_changes(self) -> "OrganizationChanges":
        """The changes that make an existing organization equal to this."""
        return OrganizationChanges(
            short_name=self.short_name, name=self.name, external_id=self.external_id, domain_id=self.domain_id
        )


class OrganizationChanges(BaseModel):
    """What to change of an organization: only the fields that are present; null removes an imported id.

    short_name: may be repeated, not changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    short_name: ShortName | None = None
    name: Text | None = None
    external_id: ForeignId | None = None
    domain_id: ForeignId | None = None

    @model_validator(mode="after")
    def _check_present(self) -> Self:
        for field in ("short_name", "name"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be removed")
        return self


class NewDomain(BaseModel):
    """A domain that an organization says is its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: DomainName


class Record(BaseModel):
    """The DNS record that proves it."""

    name: str
    type: str = "TXT"
    value: str


class DomainView(BaseModel):
    """A domain of an organization. verified_at: since when it is proved, null while it is not."""

    domain: str
    verified_at: datetime | None
    record: Record
    created_at: datetime


class OrganizationView(BaseModel):
    """An organization as the API shows it."""

    id: str
    short_name: str
    name: str
    external_id: int | str | None
    domain_id: int | str | None
    domains: list[str] = Field(description="Those that it has proved to control")
    version: int
    created_at: datetime
    updated_at: datetime


def organization_view(organization: Organization, domains: Sequence[str]) -> OrganizationView:
    """What the API answers about an organization."""
    fields = organization.model_dump(include=set(OrganizationView.model_fields))
    return OrganizationView.model_validate(fields | {"domains": list(domains)})


def domain_view(domain: OrganizationDomain) -> DomainView:
    """What the API answers about a domain."""
    record = Record(name=challenge_name(domain.domain), value=challenge_value(domain.challenge))
    return DomainView(domain=domain.domain, verified_at=domain.verified_at, record=record, created_at=domain.created_at)


def challenge_name(domain: str) -> str:
    """Where the record stands that proves a domain."""
    return f"{CHALLENGE_LABEL}.{domain}"


def challenge_value(challenge: str) -> str:
    """What that record says."""
    return CHALLENGE_PREFIX + challenge


def export_organization(organization: Organization, domains: Sequence[str]) -> Exported[OrganizationExport]:
    """What other services copy; a deleted organization is a tombstone without data."""
    if organization.deleted_at is not None:
        return Exported(id=organization.id, version=organization.version, deleted=True)
    fields = organization.model_dump(include=set(OrganizationExport.model_fields))
    data = OrganizationExport.model_validate(fields | {"domains": tuple(domains)})
    return Exported(id=organization.id, version=organization.version, data=data)
