"""What may be said of a user: the bodies that administrators send, what they see, what other services copy."""

import re
from datetime import datetime
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, SecretStr, model_validator

from watchword_directory.emails import canonical_email
from watchword_directory.models import User
from watchword_directory.names import canonical_username, check_sign_in_names
from watchword_events.exports import Exported, UserExport
from watchword_runtime.passwords import MAX_BYTES

MIN_PASSWORD: Final = 8
PROFILE: Final = ("name", "given_name", "family_name", "picture", "locale")
# Control characters, and marks that turn the direction of what follows: a name shows what it is.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean_text(value: str) -> str:
    """Text of one line that shows what it is. Raises ValueError for control and direction-changing characters."""
    if _CONTROL.search(value):
        raise ValueError("control characters are not accepted")
    if not value.strip():
        raise ValueError("an empty text is not accepted: leave the field out, or send null")
    return value.strip()


def web_address(value: str) -> str:
    """An http or https address. Raises ValueError."""
    if not re.fullmatch(r"https?://[!-~]+", value) or not urlsplit(value).hostname:
        raise ValueError("must be an http or https address")
    return value


def _password(value: SecretStr) -> SecretStr:
    plain = value.get_secret_value()
    if len(plain) < MIN_PASSWORD:
        raise ValueError(f"a password has at least {MIN_PASSWORD} characters")
    if len(plain.encode()) > MAX_BYTES:
        raise ValueError(f"a password has at most {MAX_BYTES} bytes")
    return value


Username = Annotated[str, Field(max_length=128), AfterValidator(canonical_username)]
Email = Annotated[str, Field(max_length=254), AfterValidator(canonical_email)]
Text = Annotated[str, Field(max_length=256), AfterValidator(clean_text)]
Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35)]
Link = Annotated[str, Field(max_length=2048), AfterValidator(web_address)]
Groups = Annotated[list[Text], Field(max_length=200), AfterValidator(lambda names: sorted(set(names)))]
Password = Annotated[SecretStr, AfterValidator(_password)]


class NewUser(BaseModel):
    """A user as an administrator describes one. Fields that are not listed here are refused by name.

    An address that an administrator enters counts as verified: the administrator vouches for it. Roles have a call of
    their own, and the id is never chosen by the caller.  active: when left out, a new user is active and an existing
    one stays as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: Username
    email: Email | None = None
    name: Text | None = None
    given_name: Text | None = None
    family_name: Text | None = None
    picture: Link | None = None
    locale: Locale | None = None
    groups: Groups = []
    password: Password | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        check_sign_in_names(self.username, self.email)
        return self

    def as_changes(self) -> "UserChanges":
        """The changes that make an existing user equal to this; without a password its old one stays."""
        given = {name: getattr(self, name) for name in ("username", "email", "groups", *PROFILE)}
        given |= {name: value for name in ("password", "active") if (value := getattr(self, name)) is not None}
        return UserChanges.model_validate(given)


class UserChanges(BaseModel):
    """What to change of a user: only the fields that are present; null removes what may be absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: Username | None = None
    email: Email | None = None
    name: Text | None = None
    given_name: Text | None = None
    family_name: Text | None = None
    picture: Link | None = None
    locale: Locale | None = None
    groups: Groups | None = None
    password: Password | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _check_present(self) -> Self:
        for name in ("username", "groups", "password", "active"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be removed")
        return self


class UserView(BaseModel):
    """A user as the API shows it; never a password, not even its hash."""

    id: str
    username: str
    email: str | None
    email_verified: bool
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    picture: str | None = None
    locale: str | None = None
    active: bool
    groups: list[str]
    roles: list[str]
    provider_id: str | None = Field(description="The provider through which the user first signed in")
    version: int
    created_at: datetime
    updated_at: datetime


def view(user: User) -> UserView:
    """What the API answers about a user."""
    fields = user.model_dump(include=set(UserView.model_fields)) | user.profile
    return UserView.model_validate(fields)


def export(user: User) -> Exported[UserExport]:
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
    data = UserExport(
        id=user.id,
        username=user.username,
        email=user.email,
        email_verified=user.email_verified,
        active=user.active,
        claims=claims,
        claims_version=user.claims_version,
        groups=tuple(user.groups),
        roles=tuple(user.roles),
    )
    return Exported(id=user.id, version=user.version, data=data)
