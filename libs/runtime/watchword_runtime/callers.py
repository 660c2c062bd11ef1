"""Who calls a route of `/api/v1`, as a dependency; whoever may not is answered with a problem document."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from fastapi import Request

from watchword_database.audit import Origin, acting, acting_for
from watchword_runtime.access import Access, AccessDenied, Caller
from watchword_runtime.clock import Clock
from watchword_runtime.connections import origin_of
from watchword_runtime.parameters import check_parameters
from watchword_runtime.settings import ServiceSettings
from watchword_web.addresses import address_prefix, client_address
from watchword_web.errors import OAuthError, Problem
from watchword_web.forms import read_query
from watchword_web.limits import Limiter
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface

RESOURCE_METADATA: Final = "/.well-known/oauth-protected-resource"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_USER_AGENT: Final = 200
# A form of a page that asked for a recent sign-in may be sent a little later.
_ON_THE_WAY: Final = timedelta(minutes=5)
# Watchword's own clients: of the console, and of the account pages.
CONSOLE: Final = "watchword-console"
ACCOUNT: Final = "watchword-account"
OWN_CLIENTS: Final = frozenset({CONSOLE, ACCOUNT})
_VIA: Final = {CONSOLE: "console", ACCOUNT: "account"}


class Callers:
    """The caller is known by the credential alone; nothing of the body or the query says who somebody is."""

    def __init__(self, access: Access, settings: ServiceSettings, now: Clock) -> None:
        self._access = access
        self._issuer = settings.issuer
        self._trusted_proxies = settings.trusted_proxies
        self._now = now
        self._recent = settings.recent_sign_in
        # RFC 9728 3.1: the well-known name goes in front of the issuer's path.
        self._metadata_url = f"{settings.origin}{RESOURCE_METADATA}{settings.base_path}"
        self._refused = Limiter(settings.refused_calls_per_s, settings.refused_calls_burst)

    async def administrator(self, request: Request) -> Caller:
        """Who calls, if they have the permission that the route asks for: administrators have every one.

        What the call may concern is the caller's `reach`: an organization administrator's is their organizations.
        Raises Problem: 401 without a live credential, 403 for others, 429. Raises FeedAway (503) while nobody can know
        what was revoked.
        """
        return await self._caller(request, "")

    async def person(self, request: Request) -> Caller:
        """As `administrator`, for routes about the caller: a client that acts for itself is nobody there."""
        caller = await self.administrator(request)
        if caller.user_id is None:
            raise Problem(403, "Not allowed", "This is about a person; a client that acts for itself is none.")
        return caller

    async def recent_person(self, request: Request) -> Caller:
        """As `person`, for what only somebody may do who proved a moment ago who they are.

        Raises Problem: 401 with the challenge that asks for a new sign-in. Spec: RFC 9470 3.
        """
        caller = await self.person(request)
        if caller.auth_time is None or self._now() - caller.auth_time > self._recent + _ON_THE_WAY:
            challenge = 'Bearer error="insufficient_user_authentication", error_description="Sign in again"'
            max_age = f'max_age="{int(self._recent.total_seconds())}"'
            raise Problem(
                401,
                "Sign in again",
                "This needs a sign-in of a moment ago.",
                headers={"WWW-Authenticate": self._told_where(f"{challenge}, {max_age}")},
            )
        return caller

    async def holder(self, request: Request, scope: str, *, via: str | None = "api") -> Caller:
        """Who calls, if that is an administrator or somebody with the scope. via: as for `act`, None for what happens
        by itself again and again and is not audited. Raises as above.
        """
        return await self._caller(request, scope, via=via)

    async def application(self, request: Request) -> Caller:
        """The application that calls for a person, with a token that nobody else was meant to get.

        A resource server that was sent the token could show it here as well, so one that is for others is refused.
        Raises OAuthError (401, 403, 429), FeedAway (503). Spec: RFC 6750 3.1; RFC 9068 5.
        """
        try:
            caller = await self._access.caller(request.headers, origin_of(request.scope))
        except AccessDenied as denied:
            self._refused.check(address_prefix(self._address(request)), self._now(), Surface.OAUTH)
            challenge = {"WWW-Authenticate": denied.headers["WWW-Authenticate"]}
            raise OAuthError(
                denied.error or "invalid_request", denied.description, denied.status, headers=challenge
            ) from denied
        if caller.user_id is None or caller.client_id is None:
            raise OAuthError("invalid_token", "An access token that an application got for a person is needed", 401)
        if not caller.audience <= {self._issuer, caller.client_id}:
            raise OAuthError(
                "invalid_token", "The token is for others, too: ask for one for this installation alone", 401
            )
        self.act(caller, request)
        return caller

    async def _caller(self, request: Request, scope: str, *, via: str | None = "api") -> Caller:
        read_query(request)  # a repeated parameter is refused before two readers could each see another value
        try:
            caller = await self._access.caller(request.headers, origin_of(request.scope))
            if via is not None:
                self.act(caller, request, via=via)
            if scope:
                return caller.require_scope(scope)
            caller = caller.for_route(request.method, request.scope["route"].path)
        except AccessDenied as denied:
            if denied.status == 401:
                self._refused.check(address_prefix(self._address(request)), self._now(), Surface.API)
            headers = {**denied.headers, "WWW-Authenticate": self._told_where(denied.headers["WWW-Authenticate"])}
            title = "Not signed in" if denied.status == 401 else "Not allowed"
            raise Problem(denied.status, title, denied.description, headers=headers) from denied
        check_parameters(request)
        return caller

    def unknown(self, request: Request) -> Problem:
        """The refusal of a credential that a service looked at itself. Raises Problem (429) for too many of them."""
        self._refused.check(address_prefix(self._address(request)), self._now(), Surface.API)
        description = "The credential is unknown, expired or revoked."
        challenge = self._told_where(f'Bearer error="invalid_token", error_description="{description}"')
        return Problem(401, "Not signed in", description, headers={"WWW-Authenticate": challenge})

    def act(self, caller: Caller, request: Request, *, via: str = "api") -> None:
        """What this request changes is audited as the caller's from now on. via: `api` or `scim`.

        A page of ours calls other services as the person at it: the first request is the one that counts.
        """
        if request.method in _READS or acting() is not None:
            return
        acting_for(
            Origin(
                actor=caller.user_id or caller.client_id or caller.api_key_id or "",
                via=_VIA.get(caller.client_id or "", via),
                method=request.method,
                path=request.scope["path"],
                reference=reference_of(request.scope),
                client=caller.client_id,
                api_key=caller.api_key_id,
                provider=caller.provider_id,
                name=caller.name,
                address=self._address(request),
                user_agent=request.headers.get("user-agent", "")[:_MAX_USER_AGENT] or None,
            )
        )

    def _address(self, request: Request) -> str:
        peer = request.client.host if request.client else None
        return client_address(request.scope["headers"], peer, self._trusted_proxies)

    def _told_where(self, challenge: str) -> str:
        """The challenge, with the place where a client finds out who makes tokens for us. Spec: RFC 9728 5.1."""
        separator = ", " if " " in challenge else " "  # behind other parameters, or as the first
        return f'{challenge}{separator}resource_metadata="{self._metadata_url}"'


def actor(caller: Caller) -> Mapping[str, str | None]:
    """Who did it, for the log."""
    return {"by_user": caller.user_id, "by_client": caller.client_id, "by_key": caller.api_key_id}
