"""The application of one service."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from watchword_web.cors import CrossOrigin, IsAllowed
from watchword_web.errors import BadRequest, OAuthError, PageError, Problem
from watchword_web.failures import Judge, answer, trouble_of
from watchword_web.methods import Heads, allowed
from watchword_web.middleware import Failures, PublicHost, RequestGuard, SecurityHeaders
from watchword_web.openapi import describe
from watchword_web.pages import Pages
from watchword_web.settings import WebSettings

_REFUSALS = (OAuthError, Problem, PageError, BadRequest, RequestValidationError, HTTPException)


def create_app(
    service: str,
    *,
    title: str,
    settings: WebSettings,
    routers: Sequence[APIRouter],
    version: str,
    pages: Pages | None = None,
    openapi_paths: Mapping[str, Mapping[str, object]] | None = None,
    cors: Mapping[str, Sequence[str]] | None = None,
    origins: IsAllowed | None = None,
    large: Mapping[str, int] | None = None,
    large_below: Mapping[str, int] | None = None,
    judge: Judge = trouble_of,
) -> FastAPI:
    """A service's FastAPI application: its routers behind our middleware, with errors in our three shapes.

    service: its short name, the tag of its operations.  routers: paths without the installation's base path.  pages:
    those of the service; only ours when left out.  openapi_paths: operations of hot paths, which FastAPI does not know,
    as OpenAPI path items.  cors: methods by path prefix that scripts of other origins may call: no cookie may play a
    part there.  origins: of which ones; of every one when left out.  large: how many bytes a body may have at paths
    where 64 KiB are not enough; the route reads it with `read_json`, after it knows who sends it.  large_below: the
    same by path prefix, JSON is checked as anywhere.  judge: what is 503 or 409, and no defect (500).
    """
    pages = pages or Pages(["watchword_web"], settings)
    app = FastAPI(
        title=title,
        version=version,
        servers=[{"url": settings.public_url}],
        root_path_in_servers=False,
        telemetry={"operation_spans": False, "logs": False},  # three more spans per request tell nothing new
        openapi_url="/openapi.json",
        docs_url=None,  # the stock pages load scripts from a CDN, which our policy forbids
        redoc_url=None,
        redirect_slashes=False,  # such a redirect is built from the Host header, which anybody may choose
        generate_unique_id_function=_operation_id,
        middleware=[
            Middleware(Heads),
            *([Middleware(CrossOrigin, prefixes=cors, is_allowed=origins)] if cors else []),
            Middleware(SecurityHeaders),
            Middleware(Failures, pages=pages, judge=judge),
            Middleware(RequestGuard, large=large, large_below=large_below),
            Middleware(PublicHost, settings=settings, pages=pages),
        ],
    )

    async def on_refusal(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error.headers = {"Allow": ", ".join(allowed(app.router.routes, request.scope))}
        return answer(request.scope, error, pages, judge)

    for refusal in _REFUSALS:
        app.add_exception_handler(refusal, on_refusal)
    for router in routers:
        app.include_router(router)
    brand = Route(f"{pages.static_path}/brand/{{path:path}}", pages.branding, include_in_schema=False)
    app.router.routes.append(brand)
    app.router.routes.append(Route(f"{pages.static_path}/{{path:path}}", pages.assets, include_in_schema=False))
    describe(app, service, openapi_paths or {})
    return app


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function: stable, and what generated clients call the operation."""
    return route.name
