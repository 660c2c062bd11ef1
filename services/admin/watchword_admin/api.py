"""HTTP edge of `/api/v1/clients` and `/api/v1/providers`."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, WrapValidator, model_validator

from watchword_admin import changes, client_documents, provider_kinds, store
from watchword_admin.client_documents import ChosenSecret, ClientView, NewClient, ReplacedClient, SecretView
from watchword_admin.edge import Parts, not_found, refusals
from watchword_admin.models import ClientKind
from watchword_admin.presets import Preset
from watchword_admin.provider_kinds import NewProvider, ProviderView, Settings
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
Members = dict[str, JsonValue]


class Listing(BaseModel):
    """Which page of a list. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)

    @property
    def name(self) -> str:
        """The list that a cursor belongs to: the filters are part of it."""
        return f"{type(self).__name__}:{self.model_dump_json(exclude={'limit', 'cursor'})}"


class ClientListing(Listing):
    """Clients by name. search: a part of the name, of the short name, of the description or of the id."""

    search: str | None = Field(None, min_length=1, max_length=128)
    client_id: str | None = Field(None, max_length=2048)
    kind: ClientKind | None = None
    enabled: bool | None = None
    client_name: str | None = Field(None, max_length=128)
    short_name: str | None = Field(None, max_length=64)


class ProviderListing(Listing):
    """Providers."""

    enabled: bool | None = None


class NewSecret(BaseModel):
    """A secret to add: chosen, or generated when left out. keep_newest: the newest of the others stays good.

    compromised: the secrets that go are known to others, so everything that was issued to the client ends at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_secret: ChosenSecret | None = None
    keep_newest: bool = False
    compromised: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "NewSecret":
        if self.keep_newest and self.compromised:
            raise ValueError("a secret that others may know is not kept: leave out keep_newest or compromised")
        return self


class AddedSecret(SecretView):
    """The secret, shown once, if it was generated."""

    client_secret: str | None = None


class PresetList(BaseModel):
    """All presets; first those that stand for a whole protocol."""

    items: tuple[Preset, ...]
    next: None = None


def client_router(parts: Parts) -> APIRouter:
    """`/api/v1/clients`, for administrators only."""
    router = APIRouter(prefix="/api/v1/clients", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    ending_of = Annotated[Ending, Depends(parts.endings)]

    @router.post("", status_code=201)
    async def register_client(
        body: NewClient, caller: administrator, response: Response, ending: ending_of
    ) -> ClientView:
        """A new client, which may be used at once; its secret, unless chosen, is shown in this answer only."""
        with refusals("client"):
            registered = await changes.register(parts, body, ending)
        log.info("client.registered", client_id=registered.client_id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/clients/{registered.client_id}"
        return registered

    @router.get("")
    async def list_clients(listing: Annotated[ClientListing, Query()], _caller: administrator) -> Page[ClientView]:
        """Clients in the order of their names."""
        after = ("", "")
        if listing.cursor:
            name, client_id = parts.cursor.read(listing.name, listing.cursor)
            after = (str(name), str(client_id))
        async with transaction(parts.database) as session:
            found = await store.list_clients(
                session,
                after=after,
                limit=listing.limit + 1,
                client_id=listing.client_id,
                kind=listing.kind,
                client_name=listing.client_name,
                short_name=listing.short_name,
                enabled=listing.enabled,
                search=listing.search,
            )
            shown = found[: listing.limit]
            secrets = await store.secrets_of(session, [client.id for client in shown])
        more = len(found) > listing.limit
        last = shown[-1] if more else None
        return Page(
            items=[client_documents.view(client, secrets[client.id]) for client in shown],
            next=parts.cursor.make(listing.name, last.client_name.lower(), last.id) if last else None,
        )

    @router.get("/{client_id}")
    async def get_client(client_id: Id, _caller: administrator) -> ClientView:
        """One client, without its secret."""
        async with transaction(parts.database) as session:
            client = await store.find_client(session, client_id)
            secrets = await store.secrets_of(session, [client_id])
        if client is None:
            raise not_found("client")
        return client_documents.view(client, secrets[client_id])

    @router.put("/{client_id}")
    async def replace_client(
        client_id: Id, body: ReplacedClient, caller: administrator, ending: ending_of
    ) -> ClientView:
        """The client as described; what is left out returns to its default, but secrets and `enabled` stay."""
        with refusals("client"):
            replaced = await changes.replace_client(parts, client_id, body, ending)
        log.info("client.changed", client_id=client_id, fields=sorted(body.model_fields_set), **actor(caller))
        return replaced

    @router.patch("/{client_id}")
    async def update_client(client_id: Id, body: Members, caller: administrator, ending: ending_of) -> ClientView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        with refusals("client"):
            updated = await changes.update_client(parts, client_id, body, ending)
        log.info("client.changed", client_id=client_id, fields=sorted(body), **actor(caller))
        return updated

    @router.delete("/{client_id}", status_code=204)
    async def delete_client(client_id: Id, caller: administrator, ending: ending_of) -> None:
        """The client is gone; everything that it was issued is refused at once."""
        with refusals("client"):
            await changes.delete_client(parts, client_id, ending)
        log.info("client.deleted", client_id=client_id, **actor(caller))

    @router.post("/{client_id}/secrets", status_code=201)
    async def add_client_secret(
        client_id: Id, caller: administrator, ending: ending_of, body: NewSecret | None = None
    ) -> AddedSecret:
        """A new secret, in place of the others or, with `keep_newest`, beside the newest of them."""
        asked = body or NewSecret()
        with refusals("client"):
            added, generated = await changes.add_secret(
                parts,
                client_id,
                asked.client_secret,
                ending,
                keep_newest=asked.keep_newest,
                compromised=asked.compromised,
            )
        log.info(
            "client.secret_added",
            client_id=client_id,
            secret_id=added.id,
            compromised=asked.compromised,
            **actor(caller),
        )
        return AddedSecret(id=added.id, created_at=added.created_at, client_secret=generated)

    @router.delete("/{client_id}/secrets/{secret_id}", status_code=204)
    async def remove_client_secret(
        client_id: Id, secret_id: Id, caller: administrator, ending: ending_of, compromised: bool = False
    ) -> None:
        """The secret works no more. Refused for the last one.

        compromised: others know it, so everything that was issued to the client ends at once.
        """
        with refusals("client"):
            if not await changes.remove_secret(parts, client_id, secret_id, ending, compromised=compromised):
                raise not_found("secret")
        log.info(
            "client.secret_removed",
            client_id=client_id,
            secret_id=secret_id,
            compromised=compromised,
            **actor(caller),
        )

    return router


def provider_router(parts: Parts) -> APIRouter:
    """`/api/v1/providers`, for administrators only."""
    router = APIRouter(prefix="/api/v1/providers", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    ending_of = Annotated[Ending, Depends(parts.endings)]
    public_url = parts.settings.public_url

    def read_new(members: object, _handler: object) -> NewProvider:
        return provider_kinds.new_provider(parts.presets, members)

    def read_settings(members: object, _handler: object) -> Settings:
        return provider_kinds.settings_of(parts.presets, members)

    new_provider = Annotated[NewProvider, WrapValidator(read_new)]
    settings_said = Annotated[Settings, WrapValidator(read_settings)]

    @router.get("/presets")
    async def list_provider_presets(_caller: administrator) -> PresetList:
        """Kinds of providers with the fields that each asks for."""
        return PresetList(items=parts.presets.all)

    @router.post("", status_code=201)
    async def configure_provider(
        body: new_provider, caller: administrator, response: Response, ending: ending_of
    ) -> ProviderView:
        """A new identity provider, whose button is on the login page at once if it is enabled."""
        with refusals("provider"):
            configured = await changes.configure_provider(parts, body, ending)
        log.info("provider.configured", provider_id=body.id, **actor(caller))
        response.headers["Location"] = f"{public_url}/api/v1/providers/{body.id}"
        return configured

    @router.get("")
    async def list_providers(
        listing: Annotated[ProviderListing, Query()], _caller: administrator
    ) -> Page[ProviderView]:
        """Identity providers in the order of their ids."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_providers(session, after=after, limit=listing.limit + 1, enabled=listing.enabled)
        shown = [provider_kinds.view(provider, public_url) for provider in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].id) if more else None)

    @router.get("/{provider_id}")
    async def get_provider(provider_id: Id, _caller: administrator) -> ProviderView:
        """One identity provider, without its secret."""
        async with transaction(parts.database) as session:
            provider = await store.find_provider(session, provider_id)
        if provider is None:
            raise not_found("provider")
        return provider_kinds.view(provider, public_url)

    @router.put("/{provider_id}")
    async def replace_provider(
        provider_id: Id, body: settings_said, caller: administrator, ending: ending_of, end_sessions: bool = False
    ) -> ProviderView:
        """The provider as described; what is left out returns to its default, but secret and `enabled` stay.

        end_sessions: with `"enabled": false`, everything that came through it ends at once.
        """
        with refusals("provider"):
            replaced = await changes.replace_provider(parts, provider_id, body, ending, end_sessions=end_sessions)
        log.info("provider.changed", provider_id=provider_id, fields=sorted(body.model_fields_set), **actor(caller))
        return replaced

    @router.patch("/{provider_id}")
    async def update_provider(
        provider_id: Id,
        body: Members,
        caller: administrator,
        ending: ending_of,
        end_sessions: bool = False,
        invite: bool = False,
    ) -> ProviderView:
        """The members that are present change; null gives a default, or ends the secret. Spec: RFC 7396 2.

        invite: with `"enabled": false`, whoever has no other way in is sent a link to set a password.
        """
        with refusals("provider"):
            updated = await changes.update_provider(
                parts, provider_id, body, ending, end_sessions=end_sessions, invite=invite
            )
        log.info("provider.changed", provider_id=provider_id, fields=sorted(body), **actor(caller))
        return updated

    @router.delete("/{provider_id}", status_code=204)
    async def remove_provider(
        provider_id: Id, caller: administrator, ending: ending_of, end_sessions: bool = True, invite: bool = False
    ) -> None:
        """The provider is gone. Unless `end_sessions=false`, everything that came through it is refused at once.

        invite: whoever has no other way in is sent a link to set a password.
        """
        with refusals("provider"):
            await changes.remove_provider(parts, provider_id, ending, end_sessions=end_sessions, invite=invite)
        log.info("provider.removed", provider_id=provider_id, invites=invite, **actor(caller))

    return router
