"""`/login/language` and `/login/theme`: a person chooses how the pages speak and look in this browser."""

from fastapi import APIRouter, Request, Response

from watchword_authz.context import Context
from watchword_authz.steps import see_other
from watchword_web.colours import THEMES
from watchword_web.csrf import same_origin
from watchword_web.errors import PageError
from watchword_web.forms import read_form
from watchword_web.targets import is_local_path


def router(context: Context) -> APIRouter:
    """What the menus at the foot of every page post to."""
    api = APIRouter(tags=["sign-in"])

    @api.post("/login/language", summary="Choose the language of the pages in this browser")
    async def choose_language(request: Request) -> Response:
        language, response = await _chosen(context, request, "language")
        if language in context.pages.languages:
            context.cookies.set_language(response, language)
        return response

    @api.post("/login/theme", summary="Choose the light or the dark theme in this browser, or that of the device")
    async def choose_theme(request: Request) -> Response:
        chosen, response = await _chosen(context, request, "theme")
        theme = next((each for each in THEMES if each == chosen), None)
        if theme is not None or chosen == "auto":
            context.cookies.set_theme(response, theme)
        return response

    return api


async def _chosen(context: Context, request: Request, name: str) -> tuple[str, Response]:
    """What was chosen, and the way back to the page where that was. Raises PageError for a form of another site."""
    form = await read_form(request)
    if not same_origin(request, context.settings):
        raise PageError("form_not_ours", "This form cannot be accepted", "Go back and load the page again.", 403)
    back = form.get("back", "")
    return form.get(name, ""), see_other(context, back if is_local_path(back) else "/login")
