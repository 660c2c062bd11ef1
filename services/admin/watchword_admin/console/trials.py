"""Trying an application for somebody: what would become of their sign-in, and what it would be told of them."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin import store
from watchword_admin.console import documents as seen
from watchword_admin.console.groups import user_named
from watchword_admin.console.pages import Console, Handler, read_application
from watchword_admin.console.sessions import Visit
from watchword_database import transaction
from watchword_runtime.calls import Refused
from watchword_web.texts import Text

_TRIAL: Final = "/admin/applications/{client_id}/trial"
_MANY: Final = 200
_OPTIONAL: Final = ("scope", "redirect_uri", "provider_id", "address")


async def ask(console: Console, request: Request, visit: Visit) -> Response:
    """The form, with whoever is here."""
    return await _page(console, request, visit, values={"username": visit.user.username})


async def show(console: Console, request: Request, visit: Visit) -> Response:
    """What would become of it. Nobody signs in, and no token is made."""
    form = await console.sessions.read_form(request, visit)
    user = await user_named(console, visit, form.get("username", ""))
    if user is None:
        return await _page(
            console, request, visit, values=form, errors={"username": Text("there is nobody with this user name")}
        )
    who = {"client_id": str(request.path_params["client_id"]), "user_id": user.id}
    given = {name: form[name] for name in _OPTIONAL if form.get(name)}
    try:
        trial = await console.calls.post(visit.token, "decisions/trial", seen.SignInTrial, who | given)
        told = None
        if trial.refusal is None:
            place = {"provider_id": given.get("provider_id"), "address": given.get("address", "")}
            body = {**who, **place, "scope": trial.scope, "issuer": trial.issuer}
            told = await console.calls.post(visit.token, "grants/trial", seen.Told, body)
    except Refused as refused:
        return await _page(console, request, visit, values=form, errors=refused.errors)
    return await _page(console, request, visit, values=form, user=user, trial=trial, told=told)


async def _page(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    user: seen.User | None = None,
    trial: seen.SignInTrial | None = None,
    told: seen.Told | None = None,
) -> Response:
    application = await read_application(console, str(request.path_params["client_id"]))
    async with transaction(console.parts.database) as session:
        providers = await store.list_providers(session, after="", limit=_MANY)
    return console.form(
        request,
        visit,
        "application_trial.html",
        here="applications",
        application=application,
        providers=[(each.id, each.display_name) for each in providers],
        values=values,
        errors=errors,
        user=user,
        trial=trial,
        told=told,
    )


GET: Final[Mapping[str, Handler]] = {_TRIAL: ask}
POST: Final[Mapping[str, Handler]] = {_TRIAL: show}
