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
from watchword_admin.console.fields import Errors
from watchword_admin.console.pages import (
    Console,
    application_form,
    provider_form,
    read_application,
    read_provider,
    show_application,
)
from watchword_admin.console.sessions import Visit
from watchword_admin.provider_documents import InvalidAddress, NewProvider
from watchword_admin.providers import ProviderExists
from watchword_web.errors import PageError

log = structlog.get_logger()

T = TypeVar("T")


async def add_application(console: Console, request: Request, visit: Visit) -> Response:
    """A new client; its secret is on the page that follows, and nowhere else."""
    form = await console.sessions.read_form(request, visit)
    try:
        members = {name: value for name, value in fields.client_members(form).items() if value is not None}
        made = await changes.register(console.parts, NewClient.model_validate(members))
    except (ValidationError, ShortNameTaken) as wrong:
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
        saved = await changes.update_client(console.parts, client_id, fields.client_members(form))
    except (ValidationError, ShortNameTaken, BuiltIn) as wrong:
        return application_form(console, request, visit, values=form, errors=_errors(wrong), known=known)
    log.info("client.changed", client_id=client_id, by_user=visit.user.id)
    if saved.client_secret is None:
        return console.go(f"/admin/applications/{client_id}")
    return await show_application(console, request, visit, secret=saved.client_secret)


async def replace_secret(console: Console, request: Request, visit: Visit) -> Response:
    """A new secret in place of the old ones, shown this once."""
    await console.sessions.read_form(request, visit)
    client_id = str(request.path_params["client_id"])
    generated = await _done(changes.add_secret(console.parts, client_id, None, keep_newest=False))
    log.info("client.secret_added", client_id=client_id, by_user=visit.user.id)
    return await show_application(console, request, visit, secret=generated[1])


def switch_application(*, enabled: bool) -> Callable[[Console, Request, Visit], Awaitable[Response]]:
    """Enables or disables a client."""

    async def switch(console: Console, request: Request, visit: Visit) -> Response:
        await console.sessions.read_form(request, visit)
        client_id = str(request.path_params["client_id"])
        await _done(changes.update_client(console.parts, client_id, {"enabled": enabled}))
        log.info("client.changed", client_id=client_id, fields=["enabled"], by_user=visit.user.id)
        return console.go(f"/admin/applications/{client_id}")

    return switch


async def ask_to_delete_application(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    application = await read_application(console, str(request.path_params["client_id"]))
    return console.pages.render(
        request,
        "confirm.html",
        title=f"Delete {application.client_name}?",
        message="Nobody can sign in to it any more, and every token that it was issued is refused at once.",
        action=f"/admin/applications/{application.client_id}/delete",
        csrf=visit.csrf,
        confirm={"label": "Delete", "id": "delete", "kind": "danger"},
        cancel={"label": "Keep it", "href": f"/admin/applications/{application.client_id}"},
    )


async def delete_application(console: Console, request: Request, visit: Visit) -> Response:
    """The client is gone."""
    await console.sessions.read_form(request, visit)
    client_id = str(request.path_params["client_id"])
    await _done(changes.delete_client(console.parts, client_id))
    log.info("client.deleted", client_id=client_id, by_user=visit.user.id)
    return console.go("/admin/applications")


async def add_provider(console: Console, request: Request, visit: Visit) -> Response:
    """A new identity provider."""
    form = await console.sessions.read_form(request, visit)
    try:
        members = {name: value for name, value in fields.provider_members(form).items() if value is not None}
        new = NewProvider.model_validate({"id": form.get("id", ""), **members})
        await changes.configure_provider(console.parts, new)
    except (ValidationError, ProviderExists, InvalidAddress) as wrong:
        return provider_form(console, request, visit, values=form, errors=_errors(wrong))
    log.info("provider.configured", provider_id=new.id, by_user=visit.user.id)
    return console.go("/admin/providers")


async def save_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The provider as the form says; an empty secret stays as it was."""
    form = await console.sessions.read_form(request, visit)
    provider_id = str(request.path_params["provider_id"])
    known = await read_provider(console, provider_id)
    try:
        await changes.update_provider(
            console.parts, provider_id, fields.provider_members(form), end_sessions="end_sessions" in form
        )
    except (ValidationError, InvalidAddress) as wrong:
        return provider_form(console, request, visit, values=form, errors=_errors(wrong), known=known)
    log.info("provider.changed", provider_id=provider_id, by_user=visit.user.id)
    return console.go("/admin/providers")


async def ask_to_remove_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    return console.pages.render(
        request,
        "confirm.html",
        title=f"Remove {provider.display_name}?",
        message="Its people must use another way to sign in. Sessions and tokens that came through it end at once.",
        action=f"/admin/providers/{provider.id}/remove",
        csrf=visit.csrf,
        confirm={"label": "Remove", "id": "remove", "kind": "danger"},
        cancel={"label": "Keep it", "href": f"/admin/providers/{provider.id}"},
    )


async def remove_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The provider is gone, and with it everything that came through it."""
    await console.sessions.read_form(request, visit)
    provider_id = str(request.path_params["provider_id"])
    await _done(changes.remove_provider(console.parts, provider_id, end_sessions=True))
    log.info("provider.removed", provider_id=provider_id, by_user=visit.user.id)
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
        case InvalidAddress():
            return {wrong.field: str(wrong)}
        case ShortNameTaken():
            return {"short_name": "another application has this short name"}
        case ProviderExists():
            return {"id": "a provider has this id already"}
        case _:
            return {"": "this application is built in and cannot be changed"}


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
