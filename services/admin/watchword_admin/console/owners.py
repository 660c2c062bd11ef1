"""Whose part of `/api/v1` each page of the console is made from."""

import re
from collections.abc import Mapping
from typing import Final

from watchword_events.names import Service

_PROVIDER_TEST: Final = re.compile(r"providers/[^/]+/test")  # who speaks with providers looks at them
_DECLARED: Final = re.compile(r"apply/([a-z]+)(/schema)?")  # each owner has documents of its own

OWNERS: Final[Mapping[str, Service]] = {
    "consents": Service.AUTHZ,
    "credentials": Service.AUTHZ,
    "decisions": Service.AUTHZ,
    "factor-requirements": Service.AUTHZ,
    "invitations": Service.AUTHZ,
    "mail": Service.AUTHZ,
    "sessions": Service.AUTHZ,
    "settings": Service.AUTHZ,
    "api-keys": Service.TOKEN,
    "deliveries": Service.TOKEN,
    "grants": Service.TOKEN,
    "keys": Service.TOKEN,
    "revocations": Service.TOKEN,
    "verifiers": Service.TOKEN,
    "assignments": Service.DIRECTORY,
    "attributes": Service.DIRECTORY,
    "scim-tokens": Service.DIRECTORY,
    "groups": Service.DIRECTORY,
    "identities": Service.DIRECTORY,
    "organizations": Service.DIRECTORY,
    "roles": Service.DIRECTORY,
    "users": Service.DIRECTORY,
    "upstream": Service.FEDERATION,
    "audit": Service.ADMIN,
    "branding": Service.ADMIN,
    "client-documents": Service.ADMIN,
    "clients": Service.ADMIN,
    "issuers": Service.ADMIN,
    "providers": Service.ADMIN,
    "registration-tokens": Service.ADMIN,
    "resources": Service.ADMIN,
    "rules": Service.ADMIN,
    "scopes": Service.ADMIN,
    "service-accounts": Service.ADMIN,
    "webhooks": Service.ADMIN,
}


def owner_of(path: str) -> Service:
    """Who serves a path below `/api/v1/`."""
    if declared := _DECLARED.fullmatch(path):
        return Service(declared[1])
    return Service.FEDERATION if _PROVIDER_TEST.fullmatch(path) else OWNERS[path.partition("/")[0]]
