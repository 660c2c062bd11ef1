"""The console's paths, each behind the same guard: an administrator's live session, or the way to one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from watchword_admin.bootstrap import CALLBACK
from watchword_admin.console import (
    audit,
    branding,
    configuration,
    edits,
    events,
    groups,
    issuers,
    keys,
    mail,
    mapping,
    organizations,
    overview,
    pages,
    providers,
    records,
    revocations,
    roles,
    rules,
    scim,
    trials,
    users,
    wizard,
)
from watchword_admin.console.answers import worded
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.rooms import CALLS, may_enter
from watchword_admin.console.sessions import HOME
from watchword_runtime.calls import Refused, SessionOver
from watchword_web.errors import PageError
from watchword_web.surfaces import Surface
from watchword_web.texts import Text

_APPLICATION: Final = "/admin/applications/{client_id}"
_PROVIDER: Final = "/admin/providers/{provider_id}"
ADVICE: Final = (
    Text("Go back to the console: its menu has what your role is for."),
    Text(
        "What you look for may be gone, or belong to another organization. Ask whoever administers this installation."
    ),
)

GET: Final[Mapping[str, Handler]] = {
    **overview.GET,
    "/admin/applications": pages.list_applications,
    "/admin/applications/new": pages.new_application,
    **wizard.GET,
    _APPLICATION: pages.show_application,
    f"{_APPLICATION}/edit": pages.edit_application,
    f"{_APPLICATION}/delete": edits.ask_to_delete_application,
    **trials.GET,
    "/admin/providers/new": pages.new_provider,
    **providers.GET,
    **mapping.GET,
    _PROVIDER: pages.edit_provider,
    **events.GET,
    **issuers.GET,
    **audit.GET,
    **branding.GET,
    **mail.GET,
    **configuration.GET,
    **users.GET,
    **groups.GET,
    **organizations.GET,
    **roles.GET,
    **rules.GET,
    **revocations.GET,
    **keys.GET,
    **scim.GET,
    **records.GET,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/applications": edits.add_application,
    **wizard.POST,
    _APPLICATION: edits.save_application,
    f"{_APPLICATION}/secret": edits.replace_secret,
    f"{_APPLICATION}/secrets": edits.add_secret,
    f"{_APPLICATION}/secrets/{{secret_id}}/remove": edits.remove_secret,
    f"{_APPLICATION}/enable": edits.switch_application(enabled=True),
    f"{_APPLICATION}/disable": edits.switch_application(enabled=False),
    f"{_APPLICATION}/delete": edits.delete_application,
    **trials.POST,
    "/admin/providers": edits.add_provider,
    _PROVIDER: edits.save_provider,
    **providers.POST,
    **mapping.POST,
    "/admin/sign-out": edits.sign_out,
    **issuers.POST,
    **branding.POST,
    **mail.POST,
    **users.POST,
    **groups.POST,
    **organizations.POST,
    **roles.POST,
    **rules.POST,
    **revocations.POST,
    **keys.POST,
    **records.POST,
}


def refused_page(refused: Refused) -> PageError:
    """What somebody reads who has done something without a form to which it could return."""
    text = next(iter(worded(refused.errors).values()))
    if refused.status == 403:
        return PageError("not_allowed", "You may not do that", text, 403, advice=ADVICE, leave=HOME)
    return PageError("refused", refused.title, text, refused.status, advice=ADVICE, leave=HOME)


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
            title=Text("You are signed out"),
            message=Text("The console has forgotten you."),
            action={"label": Text("Sign in again"), "href": HOME, "id": "sign-in-again"},
        )

    @router.get("/admin/")
    async def without_slash() -> Response:
        return RedirectResponse(f"{console.parts.settings.public_url}{HOME}", 308)

    def limit(request: Request) -> None:
        console.parts.console_calls.check(console.parts.address(request), console.parts.now(), Surface.PAGE)

    def guarded(method: str, path: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        if (method, path) not in CALLS:
            raise LookupError(f"rooms does not say what {method} {path} does at /api/v1")

        async def endpoint(request: Request) -> Response:
            limit(request)
            visit = await console.sessions.visit(request)
            if visit is not None and not may_enter(visit.roles, method, path):
                raise PageError(
                    "not_allowed", "You may not do that", "Your role does not allow it.", 403, advice=ADVICE, leave=HOME
                )
            try:
                if visit is not None:
                    return await handler(console, request, visit)
            except SessionOver:
                pass  # the sign-in that it came from is over
            except PageError as error:  # what an owner does not let the visitor see
                if error.status in {403, 404} and not error.advice:
                    error.advice, error.leave = ADVICE, HOME
                raise
            except Refused as refused:
                raise refused_page(refused) from refused
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
        router.add_api_route(path, guarded("GET", path, handler), methods=["GET"], response_model=None)
    for path, handler in POST.items():
        router.add_api_route(path, guarded("POST", path, handler), methods=["POST"], response_model=None)
    return router
