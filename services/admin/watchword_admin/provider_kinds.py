"""Every kind of identity provider: which document belongs to it, how it is read, shown and exported.

What comes in names a preset, which says the kind and fills in what was not said; what is stored says its kind itself.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic import JsonValue

from watchword_admin.models import Provider
from watchword_admin.oauth2_documents import NewOAuth2Provider, OAuth2Document, OAuth2ProviderView, OAuth2Settings
from watchword_admin.oidc_documents import NewOidcProvider, OidcDocument, OidcProviderView, OidcSettings
from watchword_admin.presets import Presets, said
from watchword_admin.provider_documents import wrong
from watchword_admin.saml_documents import NewSamlProvider, SamlDocument, SamlProviderView, SamlSettings
from watchword_events.exports import Exported, ProviderExport

Document: TypeAlias = OidcDocument | OAuth2Document | SamlDocument
Settings: TypeAlias = OidcSettings | OAuth2Settings | SamlSettings
NewProvider: TypeAlias = NewOidcProvider | NewOAuth2Provider | NewSamlProvider
ProviderView: TypeAlias = OidcProviderView | OAuth2ProviderView | SamlProviderView


@dataclass(frozen=True, slots=True)
class _Kind:
    document: type[Document]
    settings: type[Settings]
    new: type[NewProvider]
    view: type[ProviderView]


_KINDS: Final[dict[str, _Kind]] = {
    "oidc": _Kind(OidcDocument, OidcSettings, NewOidcProvider, OidcProviderView),
    "oauth2": _Kind(OAuth2Document, OAuth2Settings, NewOAuth2Provider, OAuth2ProviderView),
    "saml": _Kind(SamlDocument, SamlSettings, NewSamlProvider, SamlProviderView),
}
NEW: Final[dict[str, type[NewProvider]]] = {name: kind.new for name, kind in _KINDS.items()}


# Unions that pydantic tells apart by itself would put the kind into each error's place, between body and member.
def new_provider(presets: Presets, members: Any) -> NewProvider:
    """A provider as it is configured first. Raises ValidationError."""
    preset = presets.of(members)
    return _KINDS[preset.kind].new.model_validate(preset.fill(members))


def new_model(presets: Presets, members: Mapping[str, JsonValue]) -> type[NewProvider]:
    """The shape of a new provider of the preset that its members name. Raises ValidationError."""
    return _KINDS[presets.of(members).kind].new


def settings_of(presets: Presets, members: Any) -> Settings:
    """A provider's members, completed and checked. Raises ValidationError."""
    preset = presets.of(members)
    return _KINDS[preset.kind].settings.model_validate(preset.fill(members))


def changed_settings(presets: Presets, provider: Provider, members: Mapping[str, JsonValue]) -> Settings:
    """A provider's settings with members changed; null takes one away. Raises ValidationError.

    Spec: RFC 7396 2.
    """
    known = document_of(provider)
    result = {**said(known.model_dump(mode="json")), **members}
    kept = {name: value for name, value in result.items() if value is not None or name not in type(known).model_fields}
    if presets.find(known.preset) is None and "preset" not in members:
        # Its preset is gone: what it filled in stays, as if it had been said.
        return type_of(known).model_validate(known.model_dump(mode="json") | kept)
    settings = settings_of(presets, kept)
    if settings.kind_of != known.kind_of:
        raise wrong("preset", "the protocol of a provider does not change: configure another one")
    return settings


def type_of(document: Document) -> type[Settings]:
    """The shape of a document's settings."""
    return _KINDS[document.kind_of].settings


def settings_in(new: NewProvider, given: AbstractSet[str]) -> Settings:
    """A new provider's settings, as if only these members had been said: for one that exists already."""
    model = _KINDS[new.kind_of].settings
    return model.model_construct(set(given) - {"id"}, **{name: getattr(new, name) for name in model.model_fields})


def document_of(provider: Provider) -> Document:
    """The stored settings; they were checked when they were written."""
    stored = {name: value for name, value in provider.document.items() if name != "kind"}
    # Before there were presets beside the protocols, the preset was the kind.
    kind = provider.document.get("kind", stored.get("preset", "oidc"))
    return _KINDS[str(kind)].document.model_validate(stored)


def document_in(settings: Settings) -> Document:
    """The settings alone, without what is not stored beside them."""
    document = _KINDS[settings.kind_of].document
    return document.model_construct(**{name: getattr(settings, name) for name in document.model_fields})


def view(provider: Provider, public_url: str) -> ProviderView:
    """What the API answers about a provider."""
    document = document_of(provider)
    fields: dict[str, Any] = document.shown(public_url, provider.id) | {
        "id": provider.id,
        "enabled": provider.enabled,
        "has_client_secret": provider.client_secret is not None,
        "has_exchange_secret": provider.exchange_secret is not None,
        "version": provider.version,
        "created_at": provider.created_at,
        "updated_at": provider.updated_at,
    }
    return _KINDS[document.kind_of].view.model_validate(fields)


def export(provider: Provider) -> Exported[ProviderExport]:
    """What other services copy; a removed provider is a tombstone without data."""
    if provider.deleted_at is not None:
        return Exported(id=provider.id, version=provider.version, deleted=True)
    document = document_of(provider)
    fields = document.exported() | {
        "id": provider.id,
        "kind": document.kind_of,
        "enabled": provider.enabled,
        "client_secret": _sealed(provider.client_secret),
        "exchange_secret": _sealed(provider.exchange_secret),
    }
    return Exported(id=provider.id, version=provider.version, data=ProviderExport.model_validate(fields))


def _sealed(secret: bytes | None) -> str | None:
    return None if secret is None else urlsafe_b64encode(secret).decode().rstrip("=")
