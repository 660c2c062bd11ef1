"""Who calls `/api/v1`: the bearer of an access token or of a personal API key."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from watchword_events.exports import ApiKeyExport, UserExport
from watchword_runtime.broker import Broker
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClient
from watchword_runtime.settings import ServiceSettings

ADMINISTRATOR = "administrator"
ADMIN_SCOPE = "watchword:admin"


class AccessDenied(Exception):
    """The caller may not. status: 401 or 403; `headers` carry the challenge (RFC 6750 3), `description` is public."""

    def __init__(self, status: int, error: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. user_id is None for a client acting for itself; api_key_id is None for a bearer token."""

    user_id: str | None
    client_id: str | None
    scope: frozenset[str]
    api_key_id: str | None = None
    roles: frozenset[str] = frozenset()

    @property
    def is_administrator(self) -> bool:
        """May call all of `/api/v1`: a person with the role, or a client with the scope `watchword:admin`."""
        return ADMINISTRATOR in self.roles if self.user_id else ADMIN_SCOPE in self.scope

    def require_administrator(self) -> "Caller":
        """The caller itself. Raises AccessDenied (403) for everyone else."""
        raise NotImplementedError

    def require_scope(self, scope: str) -> "Caller":
        """The caller itself when it is an administrator or holds the scope. Raises AccessDenied (403)."""
        raise NotImplementedError


FindUser = Callable[[str], Awaitable[UserExport | None]]
FindApiKey = Callable[[str], Awaitable[ApiKeyExport | None]]


class Access:
    """Authenticates callers of one service's part of `/api/v1`."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        feed: Feed,
        internal: InternalClient,
        find_user: FindUser,
        find_api_key: FindApiKey,
        now: Clock,
        broker: Broker | None = None,
    ) -> None:
        """find_user, find_api_key: by id; `Copy.get`, or the owner's own table.  broker: drops cached keys on key events."""
        raise NotImplementedError

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """The live caller behind `Authorization: Bearer` or `Watchword-API-Key`. Raises AccessDenied.

        headers: case-insensitive, as Starlette's. Spec: RFC 9068 4; RFC 6750 2.1, 3.
        """
        raise NotImplementedError
