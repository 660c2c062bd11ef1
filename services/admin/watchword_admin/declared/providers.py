"""Identity providers as declared documents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue, create_model

from watchword_admin import changes, provider_kinds, providers, store
from watchword_admin.declared.organizations import organization_called, organization_of
from watchword_admin.edge import Parts, refusals
from watchword_admin.models import Provider
from watchword_admin.oidc_documents import NewOidcProvider
from watchword_admin.presets import DEFAULT, Presets
from watchword_admin.provider_kinds import NEW, NewProvider
from watchword_database import Session
from watchword_runtime.declared import Existing, Kind, Run, Written


class Providers(Kind[NewProvider]):
    """Identity providers, by their id."""

    name = "IdentityProvider"
    model = NewOidcProvider
    secrets = ("client_secret", "private_key", "exchange_client_secret", "exchange_private_key")
    usual = {"enabled": True, "preset": "oidc"}  # noqa: RUF012

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def models(self) -> Sequence[type[BaseModel]]:
        """One for each protocol, with the own fields of all its presets."""
        return [_with_own_fields(self._parts.presets, kind) for kind in NEW]

    def model_of(self, members: Mapping[str, JsonValue]) -> type[BaseModel]:
        """By the preset. Raises ValidationError."""
        return provider_kinds.new_model(self._parts.presets, members)

    async def resolve(self, wanted: NewProvider, *, is_rehearsal: bool) -> NewProvider:
        """With its organization's id."""
        organization = await organization_of(self._parts, wanted.organization, is_rehearsal=is_rehearsal)
        return wanted.model_copy(update={"organization": organization})

    def read(self, members: Mapping[str, JsonValue]) -> BaseModel:
        """Completed by its preset. Raises ValidationError."""
        return provider_kinds.new_provider(self._parts.presets, members)

    async def find(self, run: Run, wanted: NewProvider) -> Existing | None:
        """By `id`."""
        if await store.find_provider(run.session, wanted.id) is None:
            return None
        provider = await store.get_provider_for_change(run.session, wanted.id)
        return await _existing_provider(run.session, provider)

    async def create(self, run: Run, wanted: NewProvider, prepared: None) -> Written:
        """The provider's button is on the login page if it is enabled."""
        parts = self._at(run)
        with refusals("provider"):
            parts.check_addresses(wanted)
            provider, entries = await providers.configure_provider(
                run.session,
                wanted.id,
                provider_kinds.document_in(wanted),
                client_secret=await changes.sealed(parts, wanted.id, wanted),
                exchange_secret=await changes.sealed_for_exchange(parts, wanted.id, wanted),
                enabled=wanted.enabled is not False,
                feed=run.feed,
                now=run.now,
            )
        run.entries += entries
        return Written(await _existing_provider(run.session, provider))

    async def change(self, run: Run, existing: Existing, wanted: NewProvider, prepared: None) -> Written:
        """As `PUT` does; a secret is written where there is none, or when that was asked for."""
        provider = await store.get_provider_for_change(run.session, existing.id)
        asked = set(wanted.model_fields_set)
        for stored, names in ((provider.client_secret, self.secrets[:2]), (provider.exchange_secret, self.secrets[2:])):
            if stored is not None and not run.set_secrets:
                asked -= set(names)
        settings = provider_kinds.settings_in(wanted, asked)
        with refusals("provider"):
            run.entries += await changes.change_provider(
                self._at(run), run.session, provider, settings, end_sessions=False
            )
        return Written(await _existing_provider(run.session, provider))

    async def delete(self, run: Run, existing: Existing) -> None:
        """The provider is gone, and everything that came through it."""
        run.entries += await providers.remove_provider(
            run.session, existing.id, end_sessions=True, feed=run.feed, now=run.now
        )

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All but those of an organization that is gone: without it they would be the installation's."""
        found = await store.list_declared_providers(session, after=after, limit=limit)
        return [await _existing_provider(session, each) for each in found]

    def _at(self, run: Run) -> Parts:
        """The service's parts, telling the run's feed."""
        return replace(self._parts, feed=run.feed, now=lambda: run.now)


async def _existing_provider(session: Session, provider: Provider) -> Existing:
    """The provider, with its organization by its short name, or by its id when it is gone."""
    found = provider_kinds.document_of(provider)
    document = found.model_dump(mode="json", exclude={"parameters", "filled"})
    document["organization"] = await organization_called(session, document["organization"]) or document["organization"]
    members = {"id": provider.id, **document, **found.parameters, "enabled": provider.enabled}
    return Existing(provider.id, provider.id, members, has_secret=provider.client_secret is not None)


def _with_own_fields(presets: Presets, kind: str) -> type[BaseModel]:
    """The shape of a kind's documents with what its presets ask for beside it, for editors."""
    own: dict[str, Any] = {
        field.name: (JsonValue, Field(None, description=field.label))
        for preset in presets.all
        if preset.kind == kind
        for field in preset.fields
        if field.name in preset.own
    }
    names = tuple(preset.preset for preset in presets.all if preset.kind == kind)
    own["preset"] = (Literal[names], DEFAULT if kind == DEFAULT else ...)
    shape: type[BaseModel] = create_model(NEW[kind].__name__, __base__=NEW[kind], **own)
    return shape
