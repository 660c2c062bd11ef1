"""What a client that nobody here vouches for may ask for."""

from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from watchword_admin.client_documents import Scope
from watchword_admin.uris import HOST_PATTERN
from watchword_policy.scopes import RESERVED_PREFIX, is_privileged

SelfGrant = Literal["authorization_code", "refresh_token", "client_credentials"]
SELF_GRANTS: Final = frozenset(get_args(SelfGrant))
HostPattern = Annotated[str, Field(max_length=255, pattern=HOST_PATTERN)]


def _not_privileged(value: str) -> str:
    if any(map(is_privileged, value.split())):
        raise ValueError(f"scopes that begin with {RESERVED_PREFIX} are given to registered clients only")
    return value


class Terms(BaseModel):
    """Bounds of a registration; a client is held to them for as long as it exists.

    scope: what it may ask for, and gets when it asks for nothing.  redirect_hosts: where its redirect URIs may lead,
    `app.example.com` or `*.example.com`; anywhere when empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: Annotated[Scope, AfterValidator(_not_privileged)]
    grant_types: Annotated[tuple[SelfGrant, ...], Field(min_length=1, max_length=8)] = (
        "authorization_code",
        "refresh_token",
    )
    redirect_hosts: Annotated[tuple[HostPattern, ...], Field(max_length=64)] = ()
