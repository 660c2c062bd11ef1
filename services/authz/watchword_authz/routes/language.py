"""`/login/language`: a person chooses the language of the pages in this browser."""

from fastapi import APIRouter, Request, Response

from watchword_authz.context import Context
from watchword_authz.steps import see_other
from watchword_web.csrf import same_origin
from watchword_web.errors import PageError
from watchword_web.forms import read_form
from watchword_web.targets import is_local_path


def router(context: Context) -> APIRouter:
    """What the menu at the foot of every page posts to."""
    api = APIRouter(tags=["sign-in"])

    @api.post("/login/language", summary="Choose the language of the pages in this browser")
    async def choose_language(request: Request) -> Response:
        form = await read_form(request)
        language, back = form.get("language", ""), form.get("back", "")
        if not same_origin(request, context.settings):
            raise PageError("form_not_ours", "This form cannot be accepted", "Go back and load the page again.", 403)
        response = see_other(context, back if is_local_path(back) else "/login")
        if language in context.pages.languages:
            context.cookies.set_language(response, language)
        return response

    return api
