"""The console's pages: what is configured, and what happens."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from watchword_admin import client_documents, provider_kinds, store
from watchword_admin.console import fields
from watchword_admin.console.answers import worded
from watchword_admin.console.kinds.client_fields import SECTIONS
from watchword_admin.console.rooms import client_page
from watchword_admin.console.sessions import Sessions, Visit
from watchword_admin.edge import Parts
from watchword_admin.models import Client
from watchword_admin.organizations import short_names
from watchword_admin.presets import DEFAULT, Preset
from watchword_database import Session, transaction
from watchword_runtime.access import administered
from watchword_runtime.callers import OWN_CLIENTS
from watchword_runtime.calls import Calls
from watchword_web.errors import PageError
from watchword_web.forms import read_query
from watchword_web.pages import Pages
from watchword_web.texts import Text

_ROWS: Final = 50
_MOST_SEARCHED: Final = 128


@dataclass(frozen=True, slots=True)
class Names:
    """What people call things, by their ids; what has been deleted has no name any more."""

    users: Mapping[str, str]
    clients: Mapping[str, str]
    providers: Mapping[str, str]
    organizations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages are made with."""

    parts: Parts
    sessions: Sessions
    pages: Pages
    calls: Calls

    def preset(self, name: str) -> Preset:
        """The preset of this name; the one for OpenID Connect when there is none (any more)."""
        presets = self.parts.presets
        return presets.find(name) or presets.of({"preset": DEFAULT})

    def render(
        self, request: Request, visit: Visit, template: str, *, here: str, status: int = 200, **context: object
    ) -> Response:
        """A page of the console. here: which part of it, for the navigation."""
        scripts = bool(context.pop("scripts", False))
        frames = [self.parts.settings.public_url] if context.pop("has_preview", False) else []
        return self.pages.render(
            request,
            f"console/{template}",
            status=status,
            form_action=(),
            frames=frames,
            headers=None,
            scripts=scripts,
            here=here,
            may=visit.may,
            client_page=client_page,
            visit=visit,
            csrf=visit.csrf,
            **context,
        )

    def form(
        self,
        request: Request,
        visit: Visit,
        template: str,
        *,
        here: str,
        errors: Mapping[str, str] | None = None,
        **context: object,
    ) -> Response:
        """A page with a form. errors: what is wrong with what was typed, by field; the status is 400 then.

        What is wrong with something that the form has no control for is told above it.
        """
        status, wrong = (400 if errors else 200), dict(worded(errors or {}))
        page = self.render(request, visit, template, here=here, status=status, errors=wrong, **context)
        shown = bytes(page.body).decode()
        unseen = [name for name in wrong if name and f'id="{name}-note"' not in shown]
        if not unseen:
            return page
        words = self.pages.words(self.pages.language_of(request))
        wrong[""] = Text(" ".join(words.of(wrong.pop(name)) for name in ("", *unseen) if name in wrong))
        return self.render(request, visit, template, here=here, status=status, errors=wrong, **context)

    def go(self, path: str) -> Response:
        """To another page, after something was done."""
        return RedirectResponse(f"{self.parts.settings.public_url}{path}", 303)

    async def own_organization(self, visit: Visit) -> str:
        """The short name of the organization that is meant when somebody says none: the only one that is theirs."""
        theirs = administered(visit.user)
        if visit.is_everywhere or len(theirs) != 1:
            return ""
        return next(iter((await self.names(organizations=theirs)).organizations.values()), "")

    async def names(
        self,
        *,
        users: Iterable[str | None] = (),
        clients: Iterable[str | None] = (),
        providers: Iterable[str | None] = (),
        organizations: Iterable[str | None] = (),
    ) -> Names:
        """The names of things, for pages that know their ids."""
        async with transaction(self.parts.database) as session:
            return Names(
                users=await store.names_of_users(session, _known(users)),
                clients=await store.names_of_clients(session, _known(clients)),
                providers=await store.names_of_providers(session, _known(providers)),
                organizations=await short_names(session, _known(organizations)),
            )


Handler = Callable[[Console, Request, Visit], Awaitable[Response]]


def named(request: Request) -> dict[str, str]:
    """The parameters of the request's path, each fit for one segment of another."""
    return {name: quote(str(value), safe="") for name, value in request.path_params.items()}


def cursor_of(request: Request) -> dict[str, str]:
    """The cursor in a list's address, as a parameter of the same list of the API."""
    query = read_query(request)
    return {"cursor": query["cursor"]} if "cursor" in query else {}


def asked_of(request: Request, names: Iterable[str]) -> dict[str, str]:
    """What a list is narrowed by, from its address. names: of the parameters that the same list of the API has."""
    query = read_query(request)
    return {name: query[name] for name in names if name in query}


def following(path: str, asked: Mapping[str, str], cursor: str | None) -> str:
    """The path of a list's next page; "" on the last."""
    return f"{path}?{urlencode({**asked, 'cursor': cursor})}" if cursor else ""


def _known(ids: Iterable[str | None]) -> set[str]:
    return {each for each in ids if each}


async def list_applications(console: Console, request: Request, visit: Visit) -> Response:
    """All clients, a page at a time."""
    asked, cursor = asked_of(request, ("search",)), read_query(request).get("cursor")
    search = asked.get("search", "")[:_MOST_SEARCHED]
    listing = f"console:clients:{search}"
    after = ("", "")
    if cursor:
        name, client_id = console.parts.cursor.read(listing, cursor)
        after = (str(name), str(client_id))
    async with transaction(console.parts.database) as session:
        found = await store.list_clients(session, after=after, limit=_ROWS + 1, search=search or None)
    shown = found[:_ROWS]
    last = shown[-1] if len(found) > _ROWS else None
    cursor = console.parts.cursor.make(listing, last.client_name.lower(), last.id) if last else None
    applications = [client_documents.view(client, ()) for client in shown]
    return console.render(
        request,
        visit,
        "applications.html",
        here="applications",
        applications=applications,
        asked=asked,
        following=following("/admin/applications", asked, cursor),
        built_in=OWN_CLIENTS,
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
        built_in=client_id in OWN_CLIENTS,
    )


async def new_application(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return application_form(console, request, visit, values=fields.new_client_values())


async def edit_application(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing client."""
    client_id = str(request.path_params["client_id"])
    application, values = await read_application(console, client_id), await shown_of_application(console, client_id)
    return application_form(console, request, visit, values=values, known=application)


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
    return console.form(
        request,
        visit,
        "application_form.html",
        here="applications",
        values=values,
        errors=errors,
        known=known,
        grants=[(fields.grant_control(grant), label) for grant, label in fields.GRANTS.items()],
        methods=list(fields.METHODS.items()),
        sections=SECTIONS,
    )


async def new_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form of one kind of provider."""
    preset = console.preset(read_query(request).get("preset", ""))
    return provider_form(console, request, visit, values=fields.new_provider_values(preset), preset=preset)


async def edit_provider(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing provider."""
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    preset = console.preset(provider.preset)
    values = fields.provider_values(preset, provider)
    return provider_form(console, request, visit, values=values, preset=preset, known=provider)


def provider_form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    preset: Preset,
    errors: Mapping[str, str] | None = None,
    known: provider_kinds.ProviderView | None = None,
) -> Response:
    """The form that a preset asks for, with what was typed and what is wrong with it."""
    public_url = console.parts.settings.public_url
    return console.form(
        request,
        visit,
        "provider_form.html",
        here="providers",
        scripts=True,
        values=values,
        errors=errors,
        known=known,
        preset=preset,
        rules=_rules_of(known) if known else (0, 0),
        callback=known.callback_url
        if known
        else f"{public_url}{preset.callback}".replace("{id}", values.get("id", "")),
    )


def _rules_of(provider: provider_kinds.ProviderView) -> tuple[int, int]:
    """How many rules give roles, and how many groups."""
    mapping, sync = provider.role_mapping, provider.group_sync
    return len(mapping.rules) if mapping is not None else 0, len(sync.rules) if sync is not None else 0


async def read_application(console: Console, client_id: str) -> client_documents.ClientView:
    """The client. Raises PageError 404."""
    async with transaction(console.parts.database) as session:
        client = await _client(session, client_id)
        secrets = await store.secrets_of(session, [client_id])
    return client_documents.view(client, secrets[client_id])


async def shown_of_application(console: Console, client_id: str) -> fields.Values:
    """What the form of the client shows. Raises PageError 404."""
    async with transaction(console.parts.database) as session:
        client = await _client(session, client_id)
    document = client_documents.document_of(client)
    names = await console.names(organizations=[document.organization])
    return fields.client_values(document, names.organizations.get(document.organization or "", document.organization))


async def _client(session: Session, client_id: str) -> Client:
    client = await store.find_client(session, client_id)
    if client is None:
        raise PageError("not_found", "There is no such application", "It may have been deleted.", 404, retry="/admin")
    return client


async def read_provider(console: Console, provider_id: str) -> provider_kinds.ProviderView:
    """The provider. Raises PageError 404."""
    async with transaction(console.parts.database) as session:
        provider = await store.find_provider(session, provider_id)
    if provider is None:
        raise PageError("not_found", "There is no such provider", "It may have been removed.", 404, retry="/admin")
    return provider_kinds.view(provider, console.parts.settings.public_url)
