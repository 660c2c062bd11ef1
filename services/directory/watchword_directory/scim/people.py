"""A user as SCIM shows it, and what SCIM says of a user.

What a client said is kept as it was said (`users.scim`), and what Watchword understands of it is the user's name,
address and profile. Shown is what was said, except where the user has been changed otherwise since.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import JsonValue, TypeAdapter, ValidationError
from scim2_models import InvalidValueException, Resource

from watchword_directory.models import User
from watchword_directory.names import RESERVED
from watchword_directory.profiles import NewUser
from watchword_directory.texts import Link, Locale, Phone, Text, ZoneInfo
from watchword_policy.identifiers import InvalidEmail, InvalidUsername, canonical_email, canonical_username

Said = dict[str, JsonValue]

# Where SCIM says it, as which claim it is known here, and of what kind that is.
_CLAIMS: Final[tuple[tuple[tuple[str, ...], str, TypeAdapter[str]], ...]] = (
    (("displayName",), "name", TypeAdapter(Text)),
    (("name", "givenName"), "given_name", TypeAdapter(Text)),
    (("name", "familyName"), "family_name", TypeAdapter(Text)),
    (("name", "middleName"), "middle_name", TypeAdapter(Text)),
    (("nickName",), "nickname", TypeAdapter(Text)),
    (("profileUrl",), "profile", TypeAdapter(Link)),
    (("locale",), "locale", TypeAdapter(Locale)),
    (("timezone",), "zoneinfo", TypeAdapter(ZoneInfo)),
)
CLAIMS: Final = (*(claim for _, claim, _ in _CLAIMS), "phone_number")
_PHONE: Final = TypeAdapter[str](Phone)
# These have columns of their own, or are nobody's to say.
_ELSEWHERE: Final = ("schemas", "id", "meta", "externalId", "userName", "active", "groups")
# What a user name was as it was said, and what it became here.
_NAME: Final = "userName"
_BECAME: Final = "became"
# Whether the user was active when a client withdrew what it had said of that.
_WITHDRAWN: Final = "withdrawn"


@dataclass(frozen=True, slots=True)
class Person:
    """What SCIM says of a user. username: None where the name said cannot be one here, and one is found."""

    said: Said
    external_id: str | None
    user_name: str
    username: str | None
    email: str | None
    claims: dict[str, str]
    active: bool | None


def person_of(resource: Resource[Any]) -> Person:
    """What the resource says. Raises InvalidValueException for an address that cannot be compared safely.

    A user name that is an address is the person's own address where none is said.
    """
    payload: Said = resource.model_dump()
    user_name, active = str(payload["userName"]), payload.get("active")
    said = {name: value for name, value in payload.items() if name not in _ELSEWHERE}
    email = _email(said)
    try:
        username = canonical_username(user_name)
    except InvalidUsername:
        username = None
    if email is None and "@" in user_name:
        email = _canonical(user_name)
    if username is not None and "@" in username and username != email:
        username = None
    external_id = payload.get("externalId")
    return Person(
        said=said,
        external_id=external_id if isinstance(external_id, str) else None,
        user_name=user_name,
        username=username,
        email=email,
        claims=claims_of(said),
        active=active if isinstance(active, bool) else None,
    )


def new_user_of(person: Person, username: str) -> NewUser:
    """The person as a new user who is called so here."""
    given = {"username": username, "email": person.email, "active": person.active}
    return NewUser.model_validate(given | person.claims)


def stored(person: Person, username: str, *, active: bool | None = None) -> Said:
    """What is kept of it for a user who is called so here. active: what an existing user is."""
    said = dict(person.said)
    if person.user_name != username:
        said |= {_NAME: person.user_name, _BECAME: username}
    if person.active is None and active is not None:
        said[_WITHDRAWN] = active  # not shown any more; who is active stays so
    return said


def claims_of(said: Mapping[str, JsonValue]) -> dict[str, str]:
    """The claims about the person, as far as what was said is fit for them."""
    claims: dict[str, str] = {}
    for path, claim, kind in _CLAIMS:
        if (value := _valid(kind, _at(said, path))) is not None:
            claims[claim] = value
    if "name" not in claims:
        parts = " ".join(claims[each] for each in ("given_name", "family_name") if each in claims)
        whole = _valid(_CLAIMS[0][2], _at(said, ("name", "formatted"))) or parts
        if whole:
            claims["name"] = whole
    if (phone := _valid(_PHONE, _primary(said.get("phoneNumbers")))) is not None:
        claims["phone_number"] = phone
    return claims


def shown_email(user: User) -> str | None:
    """The address that is shown: a verified one, or what a client itself said.

    Else whoever claims somebody's address would be found by it, and taken for that person.
    """
    said = _canonical(_primary(user.scim.get("emails")))
    return user.email if user.email_verified or user.email == said else None


def of_an_organization(person: Person) -> Person:
    """The person as the client of one organization may say it: without what would count beyond it.

    A name with an @ is somebody's address, some names are an installation's own, and a phone number counts as proved.
    """
    is_fit = person.username is not None and "@" not in person.username and person.username not in RESERVED
    username = person.username if is_fit else None
    said = {name: value for name, value in person.said.items() if name != "phoneNumbers"}
    claims = {name: value for name, value in person.claims.items() if name != "phone_number"}
    return replace(person, username=username, said=said, claims=claims)


def payload_of(user: User, groups: Mapping[str, str]) -> dict[str, Any]:
    """The user as SCIM shows it, without `schemas`. groups: by id, what each is called."""
    shown: dict[str, Any] = deepcopy(dict(user.scim))
    name, became = shown.pop(_NAME, None), shown.pop(_BECAME, None)
    withdrawn = shown.pop(_WITHDRAWN, None)
    known = claims_of(shown)
    for path, claim, _ in _CLAIMS:
        if user.profile.get(claim) != known.get(claim):
            _put(shown, path, user.profile.get(claim))
    if user.profile.get("phone_number") != known.get("phone_number"):
        _put(shown, ("phoneNumbers",), _one(user.profile.get("phone_number")))
    if _canonical(_primary(shown.get("emails"))) != shown_email(user):
        _put(shown, ("emails",), _one(shown_email(user)))
    shown |= {
        "id": user.id,
        "userName": name if became == user.username else user.username,
        "meta": {
            "resourceType": "User",
            "created": user.created_at,
            "lastModified": user.updated_at,
            "version": f'W/"{user.version}"',
        },
    }
    if withdrawn != user.active:
        shown["active"] = user.active
    if user.external_id is not None:
        shown["externalId"] = user.external_id
    if groups:
        shown["groups"] = [
            {"value": group_id, "$ref": f"Groups/{group_id}", "display": called, "type": "direct"}
            for group_id, called in groups.items()
        ]
    return shown


def _email(said: Said) -> str | None:
    """The address of the person: the primary one, else the first. Raises InvalidValueException."""
    value = _primary(said.get("emails"))
    if value is None:
        return None
    email = _canonical(value)
    if email is None:
        raise InvalidValueException(detail="The e-mail address is none that can be compared safely.")
    return email


def _canonical(value: str | None) -> str | None:
    try:
        return canonical_email(value) if value else None
    except InvalidEmail:
        return None


def _primary(entries: JsonValue) -> str | None:
    """The value of the primary entry, else of the first."""
    if not isinstance(entries, list):
        return None
    valued = [each for each in entries if isinstance(each, dict) and isinstance(each.get("value"), str)]
    chosen = next((each for each in valued if each.get("primary") is True), valued[0] if valued else None)
    return None if chosen is None else str(chosen["value"])


def _one(value: object) -> list[dict[str, object]] | None:
    return None if value is None else [{"value": value, "primary": True}]


def _at(said: Mapping[str, JsonValue], path: tuple[str, ...]) -> JsonValue:
    found: JsonValue = dict(said)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _put(shown: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    *above, last = path
    for name in above:
        shown = shown.setdefault(name, {})
    if value is None:
        shown.pop(last, None)
    else:
        shown[last] = value


def _valid(kind: TypeAdapter[str], value: object) -> str | None:
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError:
        return None
