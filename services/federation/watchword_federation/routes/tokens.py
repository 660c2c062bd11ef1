"""Tokens of providers for applications."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from watchword_federation.edge import Federation
from watchword_federation.exchanges import answer_headers, exchange, public, read
from watchword_federation.failures import SignInFailed
from watchword_web.forms import read_form
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface


def router(federation: Federation) -> APIRouter:
    """`/api/auth/sso/token/{provider_id}`."""
    routes = APIRouter(prefix="/api/auth/sso", tags=["federation"], default_response_class=JSONResponse)

    @routes.post("/token/{provider_id}")
    async def upstream_token(provider_id: Annotated[str, Path(max_length=64)], request: Request) -> Response:
        """A token of the provider about the person whose access token an application shows as Bearer.

        A form: `audience`, `resource`, `scope` and `requested_token_type` as in a token exchange, each at most once;
        all of them may be empty where the provider's settings leave nothing to choose. Spec: RFC 8693 2.1, 2.2.
        """
        federation.limit(request, Surface.OAUTH)
        caller = await federation.callers.application(request)
        asked = read(await read_form(request))
        try:
            async with federation.attempt(
                request, provider_id, action="upstream_token.refused", user_id=caller.user_id
            ) as trail:
                answer = await exchange(federation, provider_id, caller, asked, trail)
        except SignInFailed as error:
            raise public(error, reference_of(request.scope)) from None
        return JSONResponse(answer, headers=dict(answer_headers()))

    return routes
