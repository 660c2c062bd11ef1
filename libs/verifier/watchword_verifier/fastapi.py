"""`require(scope=…)`: a FastAPI dependency that lets through who holds a good access token with these scopes."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.requests import HTTPConnection

from watchword_verifier.asgi import CertificateOf, Message, asked_in
from watchword_verifier.bearer import Challenge, Needs, admit
from watchword_verifier.resource import ProtectedResource
from watchword_verifier.tokens import Claims
from watchword_verifier.verifier import Verifier

_STATE: Final = "watchword_verifier"
_RESOURCE: Final = "watchword_resource"


def install(state: object, verifier: Verifier, *, resource: ProtectedResource | None = None) -> None:
    """`require` finds this verifier: `install(app.state, verifier)`.

    resource: what this server says about itself, named to whoever is refused; `serve` answers it.
    """
    setattr(state, _STATE, verifier)
    setattr(state, _RESOURCE, resource)


def serve(app: FastAPI, resource: ProtectedResource) -> None:
    """The application says where its tokens come from, at the place where clients look. Spec: RFC 9728 3.1."""
    methods = ["GET", "HEAD", "OPTIONS"]

    async def get_protected_resource(request: Request) -> Response:
        answer = _Sent()
        await resource.serve(request.scope, request.receive, answer.send)
        return Response(answer.body, answer.status, answer.headers)

    app.add_api_route(resource.path, get_protected_resource, methods=methods, include_in_schema=False)


class _Sent:
    """What an ASGI endpoint sent, for the framework to send on."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, dict[str, str](), b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]


def require(
    *,
    scope: str = "",
    acr: str = "",
    max_age: timedelta | None = None,
    verifier: Verifier | None = None,
    certificate_of: CertificateOf | None = None,
) -> Callable[[HTTPConnection], Awaitable[Claims]]:
    """A dependency that gives the claims of the caller's token, for routes of HTTP and of WebSockets.

    scope: scopes that the token must all have, separated by spaces.  acr, max_age: how well and how lately the person
    must have signed in (RFC 9470).  verifier: without it, the installed one.  certificate_of: as for `RequireToken`.
    Answers 401 without a good token, 403 without the scope, 503 while nobody can know, each with its challenge.
    Spec: RFC 6750 2.1, 3, 3.1; RFC 9449 7.1; RFC 9470 3; RFC 9728 5.1.
    """
    needs = Needs(scope, acr, max_age)

    async def claims(request: HTTPConnection) -> Claims:
        chosen = verifier or getattr(request.app.state, _STATE)
        resource: ProtectedResource | None = getattr(request.app.state, _RESOURCE, None)
        url = "" if resource is None else resource.url
        try:
            return await admit(chosen, asked_in(request.scope, certificate_of), needs, url)
        except Challenge as challenge:
            raise HTTPException(challenge.status, challenge.error, dict(challenge.headers)) from None

    return claims
