"""Which permission a route asks for, and which roles give it."""

import pytest

from watchword_policy.administration import (
    ADMINISTRATOR,
    AUDITOR,
    HELP_DESK,
    ORGANIZATION_ADMINISTRATOR,
    OWNER,
    gives,
    is_administrative,
    is_delegated,
    opens,
    permission_of,
)

EVERYBODY = {OWNER, ADMINISTRATOR, HELP_DESK, AUDITOR, ORGANIZATION_ADMINISTRATOR, ""}


@pytest.mark.parametrize(
    ("method", "path", "permission", "roles"),
    [
        ("GET", "/api/v1/users", "watchword:users:read", {OWNER, ADMINISTRATOR, HELP_DESK, AUDITOR}),
        ("PATCH", "/api/v1/users/{user_id}", "watchword:users:write", {OWNER, ADMINISTRATOR, HELP_DESK}),
        ("PUT", "/api/v1/users/{user_id}/roles", "watchword:assignments:write", {OWNER, ADMINISTRATOR}),
        ("POST", "/api/v1/users/{user_id}/merge", "watchword:assignments:write", {OWNER, ADMINISTRATOR}),
        ("POST", "/api/v1/groups", "watchword:groups:write", {OWNER, ADMINISTRATOR}),
        ("POST", "/api/v1/rules/test", "watchword:rules:read", {OWNER, ADMINISTRATOR, AUDITOR}),
        ("DELETE", "/api/v1/keys/{kid}", "watchword:keys:write", {OWNER, ADMINISTRATOR}),
        ("GET", "/api/v1/apply/admin", "watchword:apply:read", {OWNER, ADMINISTRATOR, AUDITOR}),
        ("GET", "/api/v1/made-tomorrow", "watchword:made-tomorrow:read", {OWNER, ADMINISTRATOR, AUDITOR}),
        ("POST", "/api/v1/made-tomorrow", "watchword:made-tomorrow:write", {OWNER, ADMINISTRATOR}),
        ("POST", "/api/v1/me/api-keys", "watchword:me:write", EVERYBODY),
    ],
)
def test_each_route_has_a_permission_and_its_roles(method: str, path: str, permission: str, roles: set[str]) -> None:
    assert permission_of(method, path) == permission
    assert is_administrative(permission)
    assert {role for role in EVERYBODY if gives([role] if role else [], permission)} == roles


@pytest.mark.parametrize(
    "name", ["", "tickets:use", "watchword:", "watchword:admin", "watchword:users", "watchword:users:all",
             "watchword:Users:read", "watchword:users:read ", "watchword:users:read\n", "watchword::read"]
)  # fmt: skip
def test_what_is_no_permission_is_nobodys(name: str) -> None:
    assert not is_administrative(name)
    assert not gives([OWNER, ADMINISTRATOR], name)


def test_a_role_that_an_administrator_named_so_gives_nothing() -> None:
    assert not gives(["owners", "Administrator", "AUDITOR", "users:read"], "watchword:users:read")


def test_an_organization_s_administrator_has_routes_and_no_permission() -> None:
    """So that a route which nobody narrowed is closed to them, whatever its area."""
    roles = [ORGANIZATION_ADMINISTRATOR]
    assert opens(roles, "PATCH", "/api/v1/users/{user_id}")
    assert not gives(roles, "watchword:users:write")
    assert is_delegated("watchword:users:write")
    assert not is_delegated("watchword:keys:read")
    for method, path in (("POST", "/api/v1/users/{user_id}/merge"), ("PUT", "/api/v1/users/{user_id}/roles"),
                         ("POST", "/api/v1/organizations"), ("GET", "/api/v1/made-tomorrow")):  # fmt: skip
        assert not opens(roles, method, path)
