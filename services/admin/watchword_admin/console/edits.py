"""What the console's forms do: the same changes as `/api/v1`, by the same functions."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from fastapi import Request, Response
from pydantic import ValidationError

from watchword_admin import changes, store
from watchword_admin.client_documents import NewClient
from watchword_admin.clients import BuiltIn, PublicClient, ShortNameTaken
from watchword_admin.console import fields
from watchword_admin.console.documents import AddedSecret
from watchword_admin.console.fields import Errors
from watchword_admin.console.pages import (
    Console,
    application_form,
    named,
    provider_form,
    read_application,
    read_provider,
    show_application,
    shown_of_application,
)
from watchword_admin.console.sessions import Visit
from watchword_admin.organizations import NoSuchOrganization
from watchword_admin.provider_documents import InvalidAddress
from watchword_admin.provider_kinds import new_provider
from watchword_admin.providers import ProviderExists
from watchword_runtime.calls import Refused
from watchword_web.errors import PageError
from watchword_web.texts import Text

log = structlog.get_logger()

T = TypeVar("T")


async def add_application(console: Console, request: Request, visit: Visit) -> Response:
    """A new client; its secret is on the page that follows, and nowhere else."""
    form = await console.sessions.read_form(request, visit)
    try:
        members = {name: value for name, value in fields.client_members(form).items() if value is not None}
        made = await changes.register(console.parts, NewClient.model_validate(members), console.parts.endings.here())
    except (ValidationError, Refused, ShortNameTaken, NoSuchOrganization) as wrong:
        return application_form(console, request, visit, values=form, errors=_errors(wrong))
    log.info("client.registered", client_id=made.client_id, by_user=visit.user.id)
    if made.client_secret is None:
        return console.go(f"/admin/applications/{made.client_id}")
    request.scope["path_params"] = {"client_id": made.client_id}
    return await show_application(console, request, visit, secret=made.client_secret, status=201)


async def save_application(console: Console, request: Request, visit: Visit) -> Response:
    """The client as the form says; what the form does not show stays."""
    form = await console.sessions.read_form(request, visit)
    client_id = str(request.path_params["client_id"])
    known = await read_application(console, client_id)
    try:
        members = fields.client_changes(form, await shown_of_application(console, client_id))
        if not members:
            return console.go(f"/admin/applications/{client_id}")
        saved = await changes.update_client(console.parts, client_id, members, console.parts.endings.here())
    except (ValidationError, Refused, ShortNameTaken, BuiltIn, NoSuchOrganization) as wrong:
        return application_form(console, request, visit, values=form, errors=_errors(wrong), known=known)
    log.info("client.changed", client_id=client_id, fields=sorted(members), by_user=visit.user.id)
    if saved.client_secret is None:
        return console.go(f"/admin/applications/{client_id}")
    return await show_application(console, request, visit, secret=saved.client_secret)


async def replace_secret(console: Console, request: Request, visit: Visit) -> Response:
    """A new secret in place of the old ones, shown this once."""
    await console.sessions.read_form(request, visit)
    client_id = str(request.path_params["client_id"])
    generated = await _done(changes.add_secret(console.parts, client_id, None, console.parts.endings.here()))
    log.info("client.secret_added", client_id=client_id, by_user=visit.user.id)
    return await show_application(console, request, visit, secret=generated[1])


async def add_secret(console: Console, request: Request, visit: Visit) -> Response:
    """A further secret, shown this once; the newest of the others stays good meanwhile."""
    await console.sessions.read_form(request, visit)
    path = f"clients/{named(request)['client_id']}/secrets"
    added = await console.calls.post(visit.token, path, AddedSecret, {"keep_newest": True})
    return await show_application(console, request, visit, secret=added.client_secret)


async def remove_secret(console: Console, request: Request, visit: Visit) -> Response:
    """The secret is good no more."""
    await console.sessions.read_form(request, visit)
    given = named(request)
    await console.calls.send(visit.token, "DELETE", f"clients/{given['client_id']}/secrets/{given['secret_id']}")
    return console.go(f"/admin/applications/{given['client_id']}")


def switch_application(*, enabled: bool) -> Callable[[Console, Request, Visit], Awaitable[Response]]:
    """Enables or disables a client."""

    async def switch(console: Console, request: Request, visit: Visit) -> Response:
        await console.sessions.read_form(request, visit)
        client_id = str(request.path_params["client_id"])
        await _done(changes.update_client(console.parts, client_id, {"enabled": enabled}, console.parts.endings.here()))
        log.info("client.changed", client_id=client_id, fields=["enabled"], by_user=visit.user.id)
        return console.go(f"/admin/applications/{client_id}")

    return switch


async def ask_to_delete_application(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    application = await read_application(console, str(request.path_params["client_id"]))
    return console.render(request, visit, "application_question.html", here="applications", application=application)


async def delete_application(console: Console, request: Request, visit: Visit) -> Response:
    """The client is gone."""
    await console.sessions.read_form(request, visit)
    client_id = str(request.path_params["client_id"])
    await _done(changes.delete_client(console.parts, client_id, console.parts.endings.here()))
    log.info("client.deleted", client_id=client_id, by_user=visit.user.id)
    return console.go("/admin/applications")


async def add_provider(console: Console, request: Request, visit: Visit) -> Response:
    """A new identity provider."""
    form = await console.sessions.read_form(request, visit)
    preset = console.preset(form.get("preset", ""))
    try:
        members = {name: value for name, value in fields.provider_members(preset, form).items() if value is not None}
        new = new_provider(console.parts.presets, {"id": form.get("id", ""), **members})
        await changes.configure_provider(console.parts, new, console.parts.endings.here())
    except (ValidationError, ProviderExists, InvalidAddress, NoSuchOrganization) as wrong:
        return provider_form(console, request, visit, values=form, preset=preset, errors=_errors(wrong))
    log.info("provider.configured", provider_id=new.id, by_user=visit.user.id)
    return console.go("/admin/providers")


async def save_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The provider as the form says; an empty secret stays as it was."""
    form = await console.sessions.read_form(request, visit)
    provider_id = str(request.path_params["provider_id"])
    known = await read_provider(console, provider_id)
    preset = console.preset(known.preset)
    try:
        await changes.update_provider(
            console.parts,
            provider_id,
            fields.provider_members(preset, form, known),
            console.parts.endings.here(),
            end_sessions="end_sessions" in form,
        )
    except (ValidationError, InvalidAddress, NoSuchOrganization) as wrong:
        errors = _errors(wrong)
        return provider_form(console, request, visit, values=form, preset=preset, errors=errors, known=known)
    log.info("provider.changed", provider_id=provider_id, by_user=visit.user.id)
    return console.go("/admin/providers")


async def sign_out(console: Console, request: Request, visit: Visit) -> Response:
    """The console's session is over."""
    await console.sessions.read_form(request, visit)
    return await console.sessions.sign_out(visit)


def _errors(wrong: Exception) -> Errors:
    """What to show beside which field."""
    match wrong:
        case ValidationError():
            return fields.errors_of(wrong)
        case Refused():
            return dict(wrong.errors)
        case InvalidAddress():
            return {fields.CONTROLS.get(wrong.field, wrong.field): str(wrong)}
        case ShortNameTaken():
            return {"short_name": Text("another application has this short name")}
        case NoSuchOrganization():
            return {"organization": Text("there is no such organization")}
        case ProviderExists():
            return {"id": Text("a provider has this id already")}
        case _:
            return {"": Text("this application is built in and cannot be changed")}


async def _done(change: Awaitable[T]) -> T:
    """What a change brought. Raises PageError where the API would answer with a problem."""
    try:
        return await change
    except store.Unknown:
        raise PageError("not_found", "That is gone", "It was deleted meanwhile.", 404, retry="/admin") from None
    except (BuiltIn, PublicClient):
        raise PageError(
            "not_possible", "That cannot be done", "This application is built in, or has no use for a secret.", 409
        ) from None
