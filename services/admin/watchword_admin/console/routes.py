"""The console's paths, each behind the same guard: an administrator's live session, or the way to one."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from watchword_admin.bootstrap import CALLBACK
from watchword_admin.console import edits, pages
from watchword_admin.console.pages import Console
from watchword_admin.console.sessions import HOME, Visit
from watchword_web.errors import PageError
from watchword_web.surfaces import Surface

Handler = Callable[[Console, Request, Visit], Awaitable[Response]]

_APPLICATION: Final = "/admin/applications/{client_id}"
_PROVIDER: Final = "/admin/providers/{provider_id}"

GET: Final[dict[str, Handler]] = {
    "/admin": pages.show_overview,
    "/admin/applications": pages.list_applications,
    "/admin/applications/new": pages.new_application,
    _APPLICATION: pages.show_application,
    f"{_APPLICATION}/edit": pages.edit_application,
    f"{_APPLICATION}/delete": edits.ask_to_delete_application,
    "/admin/providers": pages.list_providers,
    "/admin/providers/new": pages.new_provider,
    _PROVIDER: pages.edit_provider,
    f"{_PROVIDER}/remove": edits.ask_to_remove_provider,
    "/admin/events": pages.show_events,
    "/admin/events/stream": pages.stream_events,
}
POST: Final[dict[str, Handler]] = {
    "/admin/applications": edits.add_application,
    _APPLICATION: edits.save_application,
    f"{_APPLICATION}/secret": edits.replace_secret,
    f"{_APPLICATION}/enable": edits.switch_application(enabled=True),
    f"{_APPLICATION}/disable": edits.switch_application(enabled=False),
    f"{_APPLICATION}/delete": edits.delete_application,
    "/admin/providers": edits.add_provider,
    _PROVIDER: edits.save_provider,
    f"{_PROVIDER}/remove": edits.remove_provider,
    "/admin/sign-out": edits.sign_out,
}


def console_router(console: Console) -> APIRouter:
    """Everything under `/admin`."""
    router = APIRouter(include_in_schema=False)

    @router.get(CALLBACK)
    async def complete_sign_in(request: Request) -> Response:
        limit(request)
        return await console.sessions.complete(request)

    @router.get("/admin/signed-out")
    async def signed_out(request: Request) -> Response:
        return console.pages.render(
            request,
            "message.html",
            title="You are signed out",
            message="The console has forgotten you.",
            action={"label": "Sign in again", "href": HOME, "id": "sign-in-again"},
        )

    @router.get("/admin/")
    async def without_slash() -> Response:
        return RedirectResponse(f"{console.parts.settings.public_url}{HOME}", 308)

    def limit(request: Request) -> None:
        console.parts.console_calls.check(console.parts.address(request), console.parts.now(), Surface.PAGE)

    def guarded(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            limit(request)
            visit = await console.sessions.visit(request)
            if visit is not None:
                return await handler(console, request, visit)
            if request.method == "GET" and request.headers.get("accept", "") != "text/event-stream":
                return console.sessions.begin(request)
            raise PageError(
                "session_over",
                "Your session is over",
                "Nothing was changed. Sign in again and repeat what you did.",
                401,
                retry=HOME,
            )

        return endpoint

    for path, handler in GET.items():
        router.add_api_route(path, guarded(handler), methods=["GET"], response_model=None)
    for path, handler in POST.items():
        router.add_api_route(path, guarded(handler), methods=["POST"], response_model=None)
    return router
