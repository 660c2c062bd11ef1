"""The HTTP edge: a step of the sign-in, the directory's part of `/api/v1`, the exports for others' copies."""

from fastapi import APIRouter

from watchword_directory.edge import Parts
from watchword_directory.routes import (
    attributes,
    exports,
    groups,
    identities,
    my_account,
    organizations,
    roles,
    scim,
    scim_tokens,
    sign_in,
    users,
)

_MODULES = (
    sign_in,
    users,
    my_account,
    identities,
    groups,
    organizations,
    roles,
    attributes,
    scim_tokens,
    scim,
    exports,
)


def routers(parts: Parts) -> list[APIRouter]:
    """Every route of the service."""
    return [router for module in _MODULES for router in module.routers(parts)]
