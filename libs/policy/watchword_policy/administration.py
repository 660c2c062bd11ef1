"""What it takes to administer Watchword: one permission for each route of `/api/v1`, and the roles that give them.

A permission is `watchword:<area>:read` or `watchword:<area>:write`. The area is the first segment of the path, so that
a new route needs a permission from its first day; `EXCEPTIONS` are the routes that are more, or less, than they look.
The whole table, by route and role, is docs/reference/permissions.md.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from watchword_policy.scopes import RESERVED_PREFIX

ADMINISTRATOR: Final = "administrator"
OWNER: Final = "owner"
AUDITOR: Final = "auditor"
HELP_DESK: Final = "help-desk"
ORGANIZATION_ADMINISTRATOR: Final = "organization-administrator"
ROLES: Final = (OWNER, ADMINISTRATOR, HELP_DESK, AUDITOR, ORGANIZATION_ADMINISTRATOR)

READ: Final = "read"
WRITE: Final = "write"
OWN: Final = "me"  # what somebody sees and does about themselves
EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    # Giving somebody a role is not a change of the person, and tells who is how powerful.
    ("PUT", "/api/v1/users/{user_id}/roles"): f"{RESERVED_PREFIX}assignments:{WRITE}",
    # One account gets the roles and groups of another.
    ("POST", "/api/v1/users/{user_id}/merge"): f"{RESERVED_PREFIX}assignments:{WRITE}",
    # What a provider says of a person is for whoever decides what is made of it.
    ("GET", "/api/v1/identities/{identity_id}/claims"): f"{RESERVED_PREFIX}providers:{WRITE}",
    # Nothing changes, but an expression asks what the claims of people say, which nobody is shown.
    ("POST", "/api/v1/decisions/dry-run"): f"{RESERVED_PREFIX}rules:{WRITE}",
    # Nothing changes.
    ("POST", "/api/v1/rules/test"): f"{RESERVED_PREFIX}rules:{READ}",
    ("POST", "/api/v1/decisions/trial"): f"{RESERVED_PREFIX}decisions:{READ}",
    # It tells of a person what an application would learn.
    ("POST", "/api/v1/grants/trial"): f"{RESERVED_PREFIX}users:{READ}",
}
# Routes that ask for a scope instead.
BY_SCOPE: Final = frozenset({("GET", "/api/v1/events/stream")})
# What organization administrators call, for their organization alone: each of these routes is narrowed to it.
DELEGATED: Final = frozenset(
    (method, f"/api/v1/{path}")
    for path, methods in {
        "organizations": ("GET",),
        "organizations/{organization_id}": ("GET",),
        "organizations/{organization_id}/domains": ("GET",),
        "users": ("GET", "POST"),
        "users/{user_id}": ("GET", "PUT", "PATCH", "DELETE"),
        "users/{user_id}/rights": ("GET",),
        "groups": ("GET", "POST"),
        "groups/{group_id}": ("GET", "PUT", "PATCH", "DELETE"),
        "groups/{group_id}/members": ("GET", "POST"),
        "roles": ("GET",),
        "roles/{role_id}": ("GET",),
        "assignments": ("GET", "POST"),
        "assignments/{assignment_id}": ("GET", "DELETE"),
        "sessions": ("GET", "DELETE"),
        "sessions/{sid}": ("DELETE",),
        "credentials/{user_id}": ("GET",),
        "credentials/{user_id}/factors": ("DELETE",),
        "credentials/{user_id}/lock": ("DELETE",),
        "invitations": ("POST",),
        "audit": ("GET",),
        "rules": ("GET", "POST"),
        "rules/{rule_id}": ("GET", "PUT", "PATCH", "DELETE"),
        "rules/test": ("POST",),
    }.items()
    for method in methods
)
_NAME: Final = re.compile(rf"{RESERVED_PREFIX}[a-z][a-z-]*:(?:{READ}|{WRITE})")
_SAFE: Final = frozenset({"GET", "HEAD"})
_PREFIX: Final = "/api/v1/"
# Who helps people to sign in: sees them, ends what they started, and gives them a new start.
_HELP: Final = frozenset(
    f"{RESERVED_PREFIX}{area}:{verb}"
    for area, verbs in {
        "users": (READ, WRITE),
        "identities": (READ, WRITE),
        "sessions": (READ, WRITE),
        "credentials": (READ, WRITE),
        "consents": (READ, WRITE),
        "grants": (READ, WRITE),
        "groups": (READ,),
        "organizations": (READ,),
        "roles": (READ,),
        "decisions": (READ,),
    }.items()
    for verb in verbs
)


def permission_of(method: str, path: str) -> str:
    """The permission that a route asks for. path: its template, below `/api/v1/`."""
    known = EXCEPTIONS.get((method, path))
    if known is not None:
        return known
    area = path.removeprefix(_PREFIX).partition("/")[0]
    return f"{RESERVED_PREFIX}{area}:{READ if method in _SAFE else WRITE}"


def is_administrative(permission: str) -> bool:
    """Whether a text is the name of a permission to administer Watchword."""
    return _NAME.fullmatch(permission) is not None


def gives(roles: Collection[str], permission: str) -> bool:
    """Whether somebody with these roles has a permission to administer Watchword; everybody has those about themselves.

    Nothing but `roles` decides: no permission of a role that administrators make begins with `watchword:`.
    """
    if not is_administrative(permission):
        return False
    area, verb = permission.removeprefix(RESERVED_PREFIX).split(":")
    if area == OWN or OWNER in roles or ADMINISTRATOR in roles:
        return True
    return (AUDITOR in roles and verb == READ) or (HELP_DESK in roles and permission in _HELP)


def opens(roles: Collection[str], method: str, path: str) -> bool:
    """Whether somebody with these roles may call a route: as they stand, or for the organization that they administer.

    roles: those that hold everywhere, and `organization-administrator` for whoever is one of any organization.
    """
    if gives(roles, permission_of(method, path)):
        return True
    return ORGANIZATION_ADMINISTRATOR in roles and (method, path) in DELEGATED


def is_delegated(permission: str) -> bool:
    """Whether a route that organization administrators call asks for this permission."""
    return permission in _DELEGATED_PERMISSIONS


_DELEGATED_PERMISSIONS: Final = frozenset(permission_of(*route) for route in DELEGATED)
