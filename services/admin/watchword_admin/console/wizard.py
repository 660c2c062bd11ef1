"""Setting up an application that many have: some questions, then configuration ready to paste."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from pydantic import JsonValue

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_admin.recipes import RECIPES, Recipe, Unfit, answers_of, filled, ready_to_paste
from watchword_runtime.calls import Refused
from watchword_web.errors import PageError

_WIZARD: Final = "/admin/applications/wizard"


async def choose(console: Console, request: Request, visit: Visit) -> Response:
    """A card for each application that there is a recipe for."""
    return console.render(request, visit, "recipes.html", here="applications", recipes=list(RECIPES.values()))


async def ask(console: Console, request: Request, visit: Visit) -> Response:
    """What only the administrator knows."""
    recipe = _recipe(request)
    values = {question.name: question.default for question in recipe.questions}
    return _form(console, request, visit, recipe, values=values)


async def set_up(console: Console, request: Request, visit: Visit) -> Response:
    """The application is registered, only one group may use it if that was asked for, and its configuration is shown.

    The secret is on this page, and nowhere else.
    """
    form = await console.sessions.read_form(request, visit)
    recipe = _recipe(request)
    try:
        answers = answers_of(recipe, form)
        if recipe.resource is not None:
            await console.calls.send(visit.token, "POST", "resources", _members(recipe.resource, answers))
        members = _members(recipe.client, answers)
        if answers["group"]:
            members["access"] = "rules"  # closed until the rule stands
        made = await console.calls.post(visit.token, "clients", seen.Client, members)
    except (Unfit, Refused) as wrong:
        return _form(console, request, visit, recipe, values=form, errors=wrong.errors)
    if answers["group"]:
        rule = {
            "name": f"{recipe.id}-{made.client_id[:8]}",
            "description": f"Only {answers['group']} may use {recipe.name}",
            "expression": f"'{answers['group']}' in groups",
            "clients": [made.client_id],
        }
        await console.calls.send(visit.token, "POST", "rules", rule)
    words = answers | {
        "issuer": console.parts.settings.issuer,
        "client_id": made.client_id,
        "client_secret": made.client_secret or "",
    }
    return console.render(
        request,
        visit,
        "recipe_done.html",
        here="applications",
        status=201,
        recipe=recipe,
        application=made,
        group=answers["group"],
        files=ready_to_paste(recipe, words),
    )


def _members(template: Mapping[str, JsonValue], answers: Mapping[str, str]) -> dict[str, object]:
    return {name: filled(value, answers) for name, value in template.items()}


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    recipe: Recipe,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "recipe_form.html",
        here="applications",
        recipe=recipe,
        values=values,
        errors=errors,
    )


def _recipe(request: Request) -> Recipe:
    found = RECIPES.get(str(request.path_params["recipe_id"]))
    if found is None:
        raise PageError("not_found", "There is no such recipe", "Register the application by hand.", 404, retry=_WIZARD)
    return found


GET: Final[Mapping[str, Handler]] = {_WIZARD: choose, f"{_WIZARD}/{{recipe_id}}": ask}
POST: Final[Mapping[str, Handler]] = {f"{_WIZARD}/{{recipe_id}}": set_up}
