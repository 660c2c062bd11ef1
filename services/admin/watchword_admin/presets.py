"""Presets of identity providers, as data: what each fills in, and what it asks an administrator for."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict


class PresetField(BaseModel):
    """One thing that an administrator fills in. name: the member of `POST /api/v1/providers`."""

    model_config = ConfigDict(frozen=True)

    name: str
    label: str
    kind: Literal["text", "url", "secret", "list", "switch"]
    required: bool = False
    default: str | bool | tuple[str, ...] | None = None
    hint: str = ""


class Preset(BaseModel):
    """A kind of provider. fields: in the order in which they are asked for."""

    model_config = ConfigDict(frozen=True)

    preset: Literal["oidc"]
    kind: Literal["oidc"]
    display_name: str
    callback: str = "/api/auth/sso/callback/{id}"
    fields: tuple[PresetField, ...]


_INSTEAD: Final = "Instead of the discovered one"

OIDC: Final = Preset(
    preset="oidc",
    kind="oidc",
    display_name="OpenID Connect",
    fields=(
        PresetField(name="issuer", label="Issuer", kind="url", required=True, hint="Exactly as the provider spells it"),
        PresetField(name="client_id", label="Client ID", kind="text", required=True),
        PresetField(name="client_secret", label="Client secret", kind="secret", hint="Empty for a public client"),
        PresetField(
            name="scopes", label="Scopes", kind="list", default=("openid", "email", "profile"), hint="openid is needed"
        ),
        PresetField(name="pkce", label="PKCE (S256)", kind="switch", default=True),
        PresetField(name="discovery_url", label="Discovery endpoint", kind="url", hint="If not below the issuer"),
        PresetField(name="authorization_endpoint", label="Authorization endpoint", kind="url", hint=_INSTEAD),
        PresetField(name="token_endpoint", label="Token endpoint", kind="url", hint=_INSTEAD),
        PresetField(name="userinfo_endpoint", label="UserInfo endpoint", kind="url", hint=_INSTEAD),
        PresetField(name="jwks_uri", label="JWKS endpoint", kind="url", hint=_INSTEAD),
    ),
)

PRESETS: Final[tuple[Preset, ...]] = (OIDC,)
