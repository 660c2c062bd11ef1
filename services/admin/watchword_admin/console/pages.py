"""The console's pages: what is configured, and what happens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from watchword_admin import client_documents, provider_documents, store
from watchword_admin.clients import CONSOLE
from watchword_admin.console import fields
from watchword_admin.console.sessions import Sessions, Visit
from watchword_admin.edge import LedgerAway, Parts
from watchword_admin.streams import event_stream, wanted_types
from watchword_database import transaction
from watchword_web.errors import PageError
from watchword_web.forms import read_query
from watchword_web.pages import Pages

_ROWS: Final = 50
_GLANCE: Final = 6


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages are made with."""

    parts: Parts
    sessions: Sessions
    pages: Pages

    def render(
        self, request: Request, visit: Visit, template: str, *, here: str, status: int = 200, **context: object
    ) -> Response:
        """A page of the console. here: which part of it, for the navigation."""
        scripts = bool(context.pop("scripts", False))
        return self.pages.render(
            request,
            f"console/{template}",
            status=status,
            form_action=(),
            headers=None,
            scripts=scripts,
            here=here,
            visit=visit,
            csrf=visit.csrf,
            **context,
        )

    def go(self, path: str) -> Response:
        """To another page, after something was done."""
        return RedirectResponse(f"{self.parts.settings.public_url}{path}", 303)


async def show_overview(console: Console, request: Request, visit: Visit) -> Response:
    """What is configured, in numbers, and the addresses that applications need."""
    async with transaction(console.parts.database) as session:
        clients = await store.count_clients(session)
        providers = await store.count_providers(session)
        users = await store.count_users(session)
    issuer = console.parts.settings.issuer
    addresses = {
        "Issuer": issuer,
        "Discovery": f"{issuer}/.well-known/openid-configuration",
        "Revocation feed": f"{issuer}/revocations",
        "Administration API": f"{issuer}/api/v1",
    }
    return console.render(
        request,
        visit,
        "overview.html",
        here="overview",
        clients=clients,
        providers=providers,
        users=users,
        addresses=addresses,
        events=console.parts.live.recent()[:_GLANCE],
    )


async def list_applications(console: Console, request: Request, visit: Visit) -> Response:
    """All clients, a page at a time."""
    cursor = read_query(request).get("cursor")
    after = ("", "")
    if cursor:
        name, client_id = console.parts.cursor.read("console:clients", cursor)
        after = (str(name), str(client_id))
    async with transaction(console.parts.database) as session:
        found = await store.list_clients(session, after=after, limit=_ROWS + 1)
    shown = found[:_ROWS]
    more = len(found) > _ROWS
    following = (
        console.parts.cursor.make("console:clients", shown[-1].client_name.lower(), shown[-1].id) if more else ""
    )
    applications = [client_documents.view(client, ()) for client in shown]
    return console.render(
        request, visit, "applications.html", here="applications", applications=applications, following=following
    )


async def show_application(
    console: Console, request: Request, visit: Visit, *, secret: str | None = None, status: int = 200
) -> Response:
    """One client. secret: just generated, shown this once."""
    client_id = str(request.path_params["client_id"])
    application = await read_application(console, client_id)
    return console.render(
        request,
        visit,
        "application.html",
        here="applications",
        status=status,
        application=application,
        secret=secret,
        built_in=client_id == CONSOLE,
    )


async def new_application(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return application_form(console, request, visit, values=fields.new_client_values())


async def edit_application(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing client."""
    application = await read_application(console, str(request.path_params["client_id"]))
    return application_form(console, request, visit, values=fields.client_values(application), known=application)


def application_form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    known: client_documents.ClientView | None = None,
) -> Response:
    """The form, with what was typed and what is wrong with it."""
    return console.render(
        request,
        visit,
        "application_form.html",
        here="applications",
        status=400 if errors else 200,
        values=values,
        errors=errors or {},
        known=known,
    )


async def list_providers(console: Console, request: Request, visit: Visit) -> Response:
    """All identity providers."""
    public_url = console.parts.settings.public_url
    async with transaction(console.parts.database) as session:
        found = await store.list_providers(session, after="", limit=500)
    providers = [provider_documents.view(provider, public_url) for provider in found]
    return console.render(request, visit, "providers.html", here="providers", providers=providers)


async def new_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return provider_form(console, request, visit, values=fields.new_provider_values())


async def edit_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing provider."""
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    return provider_form(console, request, visit, values=fields.provider_values(provider), known=provider)


def provider_form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    known: provider_documents.ProviderView | None = None,
) -> Response:
    """The form, with what was typed and what is wrong with it."""
    return console.render(
        request,
        visit,
        "provider_form.html",
        here="providers",
        status=400 if errors else 200,
        values=values,
        errors=errors or {},
        known=known,
        callback=provider_documents.callback_url(console.parts.settings.public_url, known.id if known else "{id}"),
    )


async def show_events(console: Console, request: Request, visit: Visit) -> Response:
    """The last events; with JavaScript, those that follow as well."""
    events = console.parts.live.recent()
    return console.render(request, visit, "events.html", here="events", events=events, scripts=True)


async def stream_events(console: Console, request: Request, _visit: Visit) -> Response:
    """The events as they happen, for the page above; ends when the person's session does."""

    async def may_read() -> bool:
        try:
            return await console.sessions.visit(request) is not None
        except LedgerAway:
            return False

    return event_stream(console.parts.live, wanted_types(None), may_read, named=False)


async def read_application(console: Console, client_id: str) -> client_documents.ClientView:
    """The client. Raises PageError 404."""
    async with transaction(console.parts.database) as session:
        client = await store.find_client(session, client_id)
        secrets = await store.secrets_of(session, [client_id])
    if client is None:
        raise PageError("not_found", "There is no such application", "It may have been deleted.", 404, retry="/admin")
    return client_documents.view(client, secrets[client_id])


async def read_provider(console: Console, provider_id: str) -> provider_documents.ProviderView:
    """The provider. Raises PageError 404."""
    async with transaction(console.parts.database) as session:
        provider = await store.find_provider(session, provider_id)
    if provider is None:
        raise PageError("not_found", "There is no such provider", "It may have been removed.", 404, retry="/admin")
    return provider_documents.view(provider, console.parts.settings.public_url)
