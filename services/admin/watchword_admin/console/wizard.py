"""Setting up an application that many have: some questions, then configuration ready to paste."""

from collections.abc import Mapping
from typing import Final, TypeVar

import structlog
from fastapi import Request, Response
from pydantic import BaseModel, JsonValue, ValidationError

from watchword_admin import changes
from watchword_admin.client_documents import NewClient
from watchword_admin.console import fields
from watchword_admin.console.group_names import unknown_groups
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_admin.recipes import RECIPES, Recipe, Unfit, answers_of, asked_by, filled, ready_to_paste
from watchword_admin.rules import changes as rules
from watchword_admin.rules.documents import RuleDocument
from watchword_admin.scopes import changes as resources
from watchword_admin.scopes.documents import ResourceDocument
from watchword_database import Session
from watchword_web.errors import PageError
from watchword_web.texts import Text

log = structlog.get_logger()

D = TypeVar("D", bound=BaseModel)

Members = Mapping[str, JsonValue]

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

    All of it is there then, or nothing. The secret is on this page, and nowhere else.
    """
    form = await console.sessions.read_form(request, visit)
    recipe = _recipe(request)
    parts = console.parts
    try:
        answers = answers_of(recipe, form)
        resource = _checked(ResourceDocument, recipe, recipe.resource, answers) if recipe.resource else None
        # Closed until the rule stands.
        closed = {"access": "rules"} if answers["group"] else {}
        client = _checked(NewClient, recipe, recipe.client | closed, answers)

        async def beside(session: Session, client_id: str) -> None:
            if resource is not None:
                await resources.have_resource(session, resource, now=parts.now())
            if answers["group"]:
                await rules.add_rule(session, _rule(recipe, answers["group"], client_id), now=parts.now())

        unknown = await unknown_groups(console, visit, [answers["group"]] if answers["group"] else [])
        made = await changes.register(parts, client, parts.endings.here(), beside)
    except (Unfit, resources.NameTaken, resources.TooMany, rules.TooManyRules) as wrong:
        return _form(console, request, visit, recipe, values=form, errors=_errors(recipe, wrong))
    log.info("client.registered", client_id=made.client_id, recipe=recipe.id, by_user=visit.user.id)
    words = answers | {
        "issuer": parts.settings.issuer,
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
        unknown=unknown,
        files=ready_to_paste(recipe, words),
    )


def _checked(kind: type[D], recipe: Recipe, template: Members, answers: Mapping[str, str]) -> D:
    """The document that the answers make of a template. Raises Unfit."""
    try:
        return kind.model_validate({name: filled(value, answers) for name, value in template.items()})
    except ValidationError as invalid:
        raise Unfit(asked_by(template, recipe.questions, fields.errors_of(invalid))) from None


def _rule(recipe: Recipe, group: str, client_id: str) -> RuleDocument:
    return RuleDocument(
        name=f"{recipe.id}-{client_id[:8]}",
        description=f"Only {group} may use {recipe.name}",
        expression=f"'{group}' in groups",
        clients=(client_id,),
    )


def _errors(recipe: Recipe, wrong: Exception) -> Mapping[str, str]:
    """What to show beside which question."""
    match wrong:
        case Unfit():
            return wrong.errors
        case resources.NameTaken():
            taken = Text("another resource server has this address and does not give everybody this scope")
            return asked_by(recipe.resource or {}, recipe.questions, {"identifier": taken})
        case resources.TooMany():
            return {"": Text("There are as many resource servers as there may be.")}
        case _:
            return {"": Text("There are as many access rules as there may be.")}


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
