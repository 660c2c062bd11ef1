"""Broken rules of this service as problem documents."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from watchword_directory.attributes import InUse, InvalidAttribute, OtherKind, TooMany
from watchword_directory.delegation import BeyondReach, WhichOrganization
from watchword_directory.domains import DnsAway
from watchword_directory.group_table import UnknownGroup
from watchword_directory.groups import Circle, GroupExists, NamedAsAnothers, NameTooLong, NoSuchGroups, NoSuchUsers
from watchword_directory.linking import LastWayIn
from watchword_directory.merging import SameUser
from watchword_directory.organization_table import UnknownOrganization
from watchword_directory.organizations import DomainTaken, NotEmpty, OrganizationExists, ShortNameStays
from watchword_directory.ranks import AboveOwnRank
from watchword_directory.role_table import UnknownRole
from watchword_directory.roles import BuiltInRole, NoSuchRoles, RoleExists, WrongPlace
from watchword_directory.scim_tokens import ExpiryPassed, UnknownToken
from watchword_directory.store import UnknownUser
from watchword_directory.users import LastOwner, NameTaken
from watchword_policy.identifiers import InvalidUsername
from watchword_web.errors import FieldError, Problem

_TAKEN: Final = {"username": "user name", "email": "e-mail address"}
_EXISTING: Final = {"short_name": "short name", "external_id": "external id"}
_CONFLICTS: Final[Mapping[type[Exception], tuple[str, str]]] = {
    LastOwner: ("The last owner", "Make somebody else an owner first: this is the only active one."),
    LastWayIn: (
        "The last way in",
        "Without this identity the user could not sign in. Set a password first, or disable or delete the user.",
    ),
    SameUser: ("The same user", "Name another account: nobody is merged with themselves."),
    Circle: ("A circle", "A group cannot lie in itself, nor in a group that lies in it."),
    NotEmpty: ("Not empty", "Remove its groups, the roles within it, and the people whose organization it is, first."),
    ShortNameStays: ("A short name stays", "It stands in tokens and rules, and is never changed."),
    BuiltInRole: ("Built in", "This is one of Watchword's own roles, which nobody changes."),
    OtherKind: ("Declared otherwise", "The attribute is declared with another kind of value."),
    InUse: ("In use", "Some users have this attribute. Remove it from them first."),
    TooMany: ("Too many", "No more attributes can be declared."),
}
_KINDS: Final[Mapping[type[Exception], str]] = {
    UnknownUser: "user",
    UnknownGroup: "group",
    UnknownOrganization: "organization",
    UnknownRole: "role",
    UnknownToken: "SCIM token",
}


@contextmanager
def refusals(about: str = "user") -> Iterator[None]:
    """What a rule refused is answered with its reason.

    about: the kind of thing that the path names. A thing of another kind that is not known was named in the body.
    """
    try:
        yield
    except (UnknownUser, UnknownGroup, UnknownOrganization, UnknownRole, UnknownToken) as unknown:
        raise _unknown(unknown, about) from None
    except (NameTaken, GroupExists, OrganizationExists, RoleExists, DomainTaken) as taken:
        raise _taken(taken) from None
    except (InvalidUsername, InvalidAttribute, NoSuchGroups, NoSuchUsers, NoSuchRoles, WrongPlace) as invalid:
        raise _invalid(invalid) from None
    except AboveOwnRank:
        detail = "It concerns somebody, or a role, that stands above the caller."
        raise _not_allowed("", detail, detail) from None
    except BeyondReach as beyond:
        sentence = f"{beyond}."
        raise _not_allowed(beyond.field, sentence[:1].upper() + sentence[1:], beyond.what) from None
    except NameTooLong:
        raise _wrong("#/groups", "a group's name has at most 256 characters") from None
    except NamedAsAnothers:
        raise _named_as_anothers() from None
    except WhichOrganization:
        raise _wrong("#/organization", "say which: the caller administers several") from None
    except ExpiryPassed:
        raise _wrong("#/expires_at", "lies in the past") from None
    except DnsAway:
        detail = "No name server answered. Try again later."
        raise Problem(503, "DNS is away", detail, headers={"Retry-After": "10"}) from None
    except tuple(_CONFLICTS) as conflict:
        title, detail = _CONFLICTS[type(conflict)]
        raise Problem(409, title, detail) from None


def _not_allowed(field: str, detail: str, error: str) -> Problem:
    """field: what says too much; "" for the whole of what is asked for."""
    pointer = f"#/{field}" if field else "#"
    return Problem(403, "Not allowed", detail, errors=[{"pointer": pointer, "detail": error}])


def _unknown(unknown: Exception, about: str) -> Problem:
    kind = _KINDS[type(unknown)]
    if kind == about:
        return Problem(404, f"No such {kind}", f"There is no {kind} with this id.")
    return _wrong(f"#/{kind}", f"there is no such {kind}")


def _taken(taken: Exception) -> Problem:
    match taken:
        case NameTaken(field=field):
            where, error = f"#/{field}", f"another user has this {_TAKEN[field]}"
        case OrganizationExists(field=field):
            where, error = f"#/{field}", f"another organization has this {_EXISTING[field]}, or a group begins with it"
        case DomainTaken():
            where, error = "#/domain", "another organization has proved that this domain is its own"
        case _:
            kind = "group" if isinstance(taken, GroupExists) else "role"
            where, error = "#/name", f"another {kind} has this name"
    return Problem(409, "Already taken", errors=[{"pointer": where, "detail": error}])


def _named_as_anothers() -> Problem:
    detail = "the groups of an organization are called so: name the organization, or give another name"
    return Problem(409, "A name of an organization's groups", errors=[{"pointer": "#/name", "detail": detail}])


def _invalid(invalid: Exception) -> Problem:
    match invalid:
        case InvalidUsername():
            return _wrong("#/username", str(invalid))
        case InvalidAttribute(name=name):
            return _wrong(f"#/attributes/{name}", str(invalid))
        case NoSuchGroups(places=places):
            return _wrong_ones("parents", places, "there is no such group")
        case NoSuchUsers(places=places):
            return _wrong_ones("add", places, "there is no such user")
        case NoSuchRoles(places=places):
            return _wrong_ones("roles", places, "there is no such role")
        case _:
            return _wrong("#/role", str(invalid))


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem(400, "The request is not valid", errors=[{"pointer": pointer, "detail": detail}])


def _wrong_ones(field: str, places: Sequence[int], detail: str) -> Problem:
    errors: list[FieldError] = [{"pointer": f"#/{field}/{place}", "detail": detail} for place in places]
    return Problem(400, "The request is not valid", errors=errors)
