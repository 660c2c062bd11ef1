"""`require(scope=…)`: a FastAPI dependency that lets through who holds a good access token with these scopes."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import HTTPException, Request

from watchword_verifier.tokens import Claims, TokenRefused
from watchword_verifier.verifier import Verifier

_STATE: Final = "watchword_verifier"


def install(state: object, verifier: Verifier) -> None:
    """`require` finds this verifier: `install(app.state, verifier)`."""
    setattr(state, _STATE, verifier)


def require(*, scope: str = "", verifier: Verifier | None = None) -> Callable[[Request], Awaitable[Claims]]:
    """A dependency that gives the claims of the caller's token.

    scope: scopes that the token must all have, separated by spaces.  verifier: without it, the installed one.
    Answers 401 without a good token, 403 without the scope, 503 while nobody can know, each with its challenge.
    Spec: RFC 6750 2.1, 3, 3.1.
    """
    needed = frozenset(scope.split())

    async def claims(request: Request) -> Claims:
        chosen = verifier or getattr(request.app.state, _STATE)
        try:
            found = await chosen.verify(_bearer(request))
        except TokenRefused as refused:
            if refused.is_temporary:
                raise HTTPException(503, "temporarily_unavailable", {"Retry-After": "1"}) from None
            raise _challenge(401, "invalid_token") from None
        if not needed <= found.scope:
            raise _challenge(403, "insufficient_scope", " ".join(sorted(needed)))
        return found

    return claims


def _bearer(request: Request) -> str:
    """The one token of the Authorization header; never one from the query, which ends up in logs."""
    headers = request.headers.getlist("authorization")
    if not headers:
        # RFC 6750 3.1: who sent no credentials is told nothing but how to.
        raise _challenge(401)
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or not token:
        raise _challenge(400, "invalid_request")
    if scheme.lower() != "bearer":
        raise _challenge(401)
    return token.strip(" ")


def _challenge(status: int, error: str = "", scope: str = "") -> HTTPException:
    parts = [f'error="{error}"'] if error else []
    parts += [f'scope="{scope}"'] if scope else []
    challenge = f"Bearer {', '.join(parts)}" if parts else "Bearer"
    return HTTPException(status, error or "unauthorized", {"WWW-Authenticate": challenge})
