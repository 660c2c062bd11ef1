"""What may be said of a user: the bodies that administrators send, what they see, what other services copy."""

from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, SecretStr, model_validator

from watchword_directory.attributes import Attributes
from watchword_directory.models import User
from watchword_directory.names import check_sign_in_names
from watchword_directory.standing import Standing
from watchword_directory.texts import (
    Birthdate,
    Email,
    Groups,
    Lines,
    Link,
    Locale,
    Phone,
    Reference,
    Text,
    Username,
    ZoneInfo,
)
from watchword_events.exports import Exported, UserExport
from watchword_runtime.passwords import MAX_BYTES

MIN_PASSWORD: Final = 8


def _password(value: SecretStr) -> SecretStr:
    plain = value.get_secret_value()
    if len(plain) < MIN_PASSWORD:
        raise ValueError(f"a password has at least {MIN_PASSWORD} characters")
    if len(plain.encode()) > MAX_BYTES:
        raise ValueError(f"a password has at most {MAX_BYTES} bytes")
    return value


Password = Annotated[SecretStr, AfterValidator(_password)]


class Address(BaseModel):
    """A postal address. Spec: OpenID Connect Core 5.1.1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formatted: Lines | None = None
    street_address: Lines | None = None
    locality: Text | None = None
    region: Text | None = None
    postal_code: Text | None = None
    country: Text | None = None


class Profile(BaseModel):
    """The standard claims of a person besides user name and e-mail address. Spec: OpenID Connect Core 5.1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text | None = None
    given_name: Text | None = None
    family_name: Text | None = None
    middle_name: Text | None = None
    nickname: Text | None = None
    profile: Link | None = None
    picture: Link | None = None
    website: Link | None = None
    gender: Text | None = None
    birthdate: Birthdate | None = None
    zoneinfo: ZoneInfo | None = None
    locale: Locale | None = None
    phone_number: Phone | None = None
    address: Address | None = None

    def claims(self) -> dict[str, JsonValue]:
        """Those that have a value."""
        return self.model_dump(mode="json", include=set(PROFILE), exclude_none=True)


PROFILE: Final = tuple(Profile.model_fields)


class NewUser(Profile):
    """A user as an administrator describes one. Fields that are not listed here are refused by name.

    An address or phone number that an administrator enters counts as verified: the administrator vouches for it. Roles
    have a call of their own, and the id is never chosen by the caller.  groups: by full name; those that do not exist
    are made.  organization: id or short name of the one that the person belongs to.  attributes: declared ones.
    active: when left out, a new user is active and an existing one stays as it is.
    """

    username: Username
    email: Email | None = None
    groups: Groups = []
    organization: Reference | None = None
    attributes: Attributes = {}
    password: Password | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        check_sign_in_names(self.username, self.email)
        return self

    def as_changes(self) -> "UserChanges":
        """The changes that make an existing user equal to this; without a password its old one stays."""
        kept = ("username", "email", "groups", "organization", "attributes", *PROFILE)
        given = {name: getattr(self, name) for name in kept}
        given |= {name: value for name in ("password", "active") if (value := getattr(self, name)) is not None}
        return UserChanges.model_construct(set(given), **given)


class UserChanges(Profile):
    """What to change of a user: only the fields that are present; null removes what may be absent.

    Whoever enters another address vouches for it; one that is only repeated stays as it was.  groups, attributes,
    address: as a whole.
    """

    username: Username | None = None
    email: Email | None = None
    groups: Groups | None = None
    organization: Reference | None = None
    attributes: Attributes | None = None
    password: Password | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _check_present(self) -> Self:
        for name in ("username", "groups", "attributes", "password", "active"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be removed")
        return self

    def address_of(self, user: User) -> tuple[str | None, bool]:
        """The address that the user has then, and whether it counts as verified."""
        email = self.email if "email" in self.model_fields_set else user.email
        if email is None:
            return None, False
        is_same = user.email is not None and email.lower() == user.email.lower()
        return email, user.email_verified if is_same else True


class VouchedChanges(UserChanges):
    """Changes by who knows whether the address is the person's; no request can say so beside other things."""

    email_verified: bool

    def address_of(self, user: User) -> tuple[str | None, bool]:
        """The address that the user has then, and whether it counts as verified."""
        email, _ = super().address_of(user)
        return email, email is not None and self.email_verified


class UserView(Profile):
    """A user as the API shows it; never a password, not even its hash."""

    id: str
    username: str
    email: str | None
    email_verified: bool
    active: bool
    groups: list[str] = Field(description="Full names of the groups that the user was put in")
    roles: list[str] = Field(description="Roles that the user itself has everywhere")
    organization: str | None = Field(description="The id of the organization that the person belongs to")
    attributes: dict[str, JsonValue]
    provider_id: str | None = Field(description="The provider through which the user first signed in")
    external_id: str | None = Field(description="What a SCIM client that keeps the user calls it")
    version: int
    created_at: datetime
    updated_at: datetime


def view(user: User, standing: Standing) -> UserView:
    """What the API answers about a user."""
    fields = user.model_dump(include=set(UserView.model_fields) - set(PROFILE)) | user.profile
    fields |= {
        "groups": list(standing.member_of),
        "roles": list(standing.given),
        "organization": user.organization_id,
    }
    return UserView.model_validate(fields)


def export(user: User, standing: Standing) -> Exported[UserExport]:
    """What other services copy; a deleted user is a tombstone without data."""
    if user.deleted_at is not None:
        return Exported(id=user.id, version=user.version, deleted=True)
    claims: dict[str, JsonValue] = {
        **user.profile,
        "preferred_username": user.username,
        "updated_at": int(user.updated_at.timestamp()),
    }
    if user.email is not None:
        claims |= {"email": user.email, "email_verified": user.email_verified}
    if "phone_number" in claims:
        claims["phone_number_verified"] = True  # no one else than an administrator enters one
    data = UserExport(
        id=user.id,
        username=user.username,
        email=user.email,
        email_verified=user.email_verified,
        active=user.active,
        claims=claims,
        claims_version=user.claims_version,
        groups=standing.groups,
        roles=standing.roles,
        permissions=standing.permissions,
        organization=user.organization_id,
        home=standing.home,
        organizations=standing.organizations,
        attributes=user.attributes,
    )
    return Exported(id=user.id, version=user.version, data=data)
