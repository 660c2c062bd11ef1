"""Who calls `/api/v1`: the bearer of an access token or of a personal API key."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NoReturn

import structlog

from watchword_events.exports import ApiKeyExport, UserExport
from watchword_policy.administration import (
    ADMINISTRATOR,
    DELEGATED,
    ORGANIZATION_ADMINISTRATOR,
    OWN,
    READ,
    gives,
    permission_of,
)
from watchword_policy.scopes import ADMIN_SCOPE, RESERVED_PREFIX
from watchword_runtime.broker import Broker
from watchword_runtime.clock import Clock
from watchword_runtime.connections import NOWHERE, Connection, Proxies
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClient
from watchword_runtime.jwks import AccessTokenKeys, Genuine, NotGenuine, check_claims
from watchword_runtime.key_uses import KeyUses
from watchword_runtime.opaque_tokens import OpaqueTokens, OpenOpaque
from watchword_runtime.settings import ServiceSettings

log = structlog.get_logger()

API_KEY_HEADERS: Final = ("watchword-api-key", "argus-api-key")
API_KEY_PREFIX: Final = "ww_"  # so that people and secret scanners see what it is
_JWE_PARTS: Final = 5
_MAX_API_KEY: Final = 256
# What a key is good for that is not for the administration: to look at what concerns its owner.
_KEYS_MAY: Final = frozenset({f"{RESERVED_PREFIX}{OWN}:{READ}"})


class AccessDenied(Exception):
    """The caller may not. status: 401 or 403; `headers` carry the challenge, `description` is public.

    Spec: RFC 6750 3, 3.1.
    """

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
        challenge = f'Bearer error="{error}", error_description="{description}"' if error else "Bearer"
        self.headers = {"WWW-Authenticate": challenge}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. user_id is None for a client acting for itself; api_key_id is None for a bearer token.

    name: what the person is called.  provider_id: through which they signed in; None for a password.
    permissions: what the client may do here for the person, when it was not given all of the administration.
    audience: for whom the token is.
    auth_time: when they last proved who they are; None where nothing says so.
    organizations: those that the person administers.  reach: what the call may concern: what belongs to one of these
    organizations; None for everything.
    """

    user_id: str | None
    client_id: str | None
    scope: frozenset[str]
    api_key_id: str | None = None
    roles: frozenset[str] = frozenset()
    name: str | None = None
    provider_id: str | None = None
    permissions: frozenset[str] = frozenset()
    audience: frozenset[str] = frozenset()
    auth_time: datetime | None = None
    organizations: frozenset[str] = frozenset()
    reach: frozenset[str] | None = None

    @property
    def person_id(self) -> str:
        """The person who calls. Raises AccessDenied (403) for a client that acts for itself."""
        if self.user_id is None:
            self._insufficient("a person")
        return self.user_id

    def may(self, permission: str) -> bool:
        """Whether the caller has a permission of `watchword_policy.administration`.

        A person has what their roles give, through a client without the scope `watchword:admin` no more than what the
        client may: never the client's own rights, never more than the person's.
        """
        if self.user_id is None:
            return self.is_administrator
        return gives(self.roles, permission) and self._may_through(permission)

    def _may_through(self, permission: str) -> bool:
        return ADMIN_SCOPE in self.scope or permission in self.permissions

    @property
    def is_administrator(self) -> bool:
        """May call all of `/api/v1`: with the scope `watchword:admin`, and a person only with the role as well.

        Both are needed: an administrator who signs in to some application gives it no administration.
        """
        return ADMIN_SCOPE in self.scope and (self.user_id is None or ADMINISTRATOR in self.roles)

    def for_route(self, method: str, path: str) -> "Caller":
        """The caller as it calls a route, by its template: with everything in reach, or only their organizations.

        Raises AccessDenied (403).
        """
        permission = permission_of(method, path)
        if self.may(permission):
            return self
        if not (self.organizations and (method, path) in DELEGATED and self._may_through(permission)):
            self._insufficient(permission)
        return replace(self, reach=self.organizations)

    def require_scope(self, scope: str) -> "Caller":
        """The caller itself when it is an administrator or holds the scope. Raises AccessDenied (403)."""
        if scope not in self.scope and not self.is_administrator:
            self._insufficient(scope)
        return self

    def _insufficient(self, scope: str) -> NoReturn:
        log.info("access.refused", user_id=self.user_id, client_id=self.client_id, needs=scope)
        raise AccessDenied(403, "insufficient_scope", "This needs more rights than the caller has.")


FindUser = Callable[[str], Awaitable[UserExport | None]]
FindApiKey = Callable[[str], Awaitable[ApiKeyExport | None]]


def administered(user: UserExport) -> frozenset[str]:
    """The ids of the organizations that a person administers."""
    return frozenset(each.organization for each in user.organizations if ORGANIZATION_ADMINISTRATOR in each.roles)


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
        key_uses: KeyUses,
        now: Clock,
        broker: Broker | None = None,
        open_opaque: OpenOpaque | None = None,
    ) -> None:
        """find_user, find_api_key: by id; `Copy.get`, or the owner's own table.

        broker: tells of changed keys; make Access before the broker's start().  open_opaque: that of `token`, whom the
        others ask.
        """
        self._feed = feed
        self._find_user = find_user
        self._find_api_key = find_api_key
        self._key_uses = key_uses
        self._now = now
        self._open_opaque = open_opaque or OpaqueTokens(internal, now).open
        self._issuer = settings.issuer
        self._proxies = Proxies(settings)
        self.keys = AccessTokenKeys(internal, issuer=settings.issuer)
        if broker is not None:
            broker.listen("auth.token.key.*", lambda _data: self.keys.changed())

    async def caller(self, headers: Mapping[str, str], connection: Connection = NOWHERE) -> Caller:
        """The live caller behind `Authorization: Bearer` or `Watchword-API-Key`. Raises AccessDenied.

        headers: case-insensitive, as Starlette's.  connection: where the request came from.
        Raises internal.Unreachable (503) when keys, user or what an opaque token says cannot be had, and FeedAway (503)
        while nobody can know what was revoked.
        Spec: RFC 9068 4; RFC 6750 2.1, 3.1; RFC 9449 7.2.
        """
        self._feed.require()
        authorization = headers.get("authorization", "")
        keys = [value for name in API_KEY_HEADERS if (value := headers.get(name))]
        if len(keys) + bool(authorization) > 1:
            raise AccessDenied(401, "invalid_request", "Send one credential, not several.")
        if keys:
            return await self._by_api_key(keys[0])
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise AccessDenied(401, "", "Send an access token as Bearer, or an API key.")
        token = token.strip()
        if token.startswith(API_KEY_PREFIX):  # programs that call over SCIM often know one header only
            return await self._by_api_key(token)
        return await self._by_token(token, connection)

    async def _by_token(self, token: str, connection: Connection) -> Caller:
        genuine = await self._genuine(token)
        claims = genuine.claims
        self._require_live(claims, "revoked", kid=genuine.kid)
        if "cnf" in claims:
            # RFC 9449 7.2: what is bound to a key is not taken from a bearer.
            self._unknown("bound to a key, which this API does not ask for")
        if not self._proxies.keeps_to_session(claims, connection):
            self._unknown("used for another address than the session's")
        user_id, client_id = str(claims["sub"]), str(claims["client_id"])
        scope = frozenset(str(claims.get("scope", "")).split())
        if user_id == client_id:  # RFC 9068 2.2: no resource owner is involved
            return Caller(None, client_id, scope)
        user = await self._user(user_id)
        idp, given, audience = claims.get("idp"), claims.get("permissions"), claims["aud"]
        auth_time = claims.get("auth_time")
        return Caller(
            user_id,
            client_id,
            scope,
            roles=frozenset(user.roles),
            organizations=administered(user),
            name=user.username,
            provider_id=idp if isinstance(idp, str) else None,
            permissions=frozenset(map(str, given)) if isinstance(given, list) else frozenset(),
            audience=frozenset(map(str, audience if isinstance(audience, list) else [audience])),
            auth_time=datetime.fromtimestamp(auth_time, UTC) if isinstance(auth_time, int) else None,
        )

    async def _genuine(self, token: str) -> Genuine:
        """What a token says that is ours, for this API and in time: one that is signed, or one that `token` sealed."""
        try:
            if token.count(".") != _JWE_PARTS - 1:
                return await self.keys.verify(token, self._now())
            opened = await self._open_opaque(token)
            if opened is None:
                raise NotGenuine("opaque, and not ours or expired")
            check_claims(opened.claims, issuer=self._issuer, now=self._now())
            return opened
        except NotGenuine as error:
            self._unknown(str(error))

    async def _by_api_key(self, presented: str) -> Caller:
        """An API key is `<id>.<secret>`; its tokens and itself carry the key's id as gid."""
        key_id, _, secret = presented.partition(".")
        if not key_id or not secret or len(presented) > _MAX_API_KEY or not presented.isascii():
            self._unknown("malformed API key")
        key = await self._find_api_key(key_id)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        if key is None or not hmac.compare_digest(digest, key.secret_hash):
            self._unknown("unknown API key")
        if key.expires_at_s is not None and key.expires_at_s <= self._now().timestamp():
            self._unknown("expired API key")
        lineage = {"gid": key.id, "sub": key.user_id, "rev": key.rev, "iat": key.created_at_s}
        self._require_live(lineage, "revoked API key")
        user = await self._user(key.user_id)
        self._key_uses.note(key.id, self._now())
        return Caller(
            key.user_id,
            None,
            key.scope,
            api_key_id=key.id,
            roles=frozenset(user.roles),
            organizations=administered(user),
            name=user.username,
            permissions=_KEYS_MAY,
        )

    async def _user(self, user_id: str) -> UserExport:
        user = await self._find_user(user_id)
        if user is None or not user.active:
            self._unknown("unknown or disabled user")
        return user

    def _require_live(self, claims: Mapping[str, object], reason: str, kid: str | None = None) -> None:
        if self._feed.is_revoked(claims, kid):
            self._unknown(reason)

    def _unknown(self, reason: str) -> NoReturn:
        """One answer to every kind of bad credential; the reason is for the log."""
        log.info("access.denied", reason=reason)
        raise AccessDenied(401, "invalid_token", "The credential is unknown, expired or revoked.")
