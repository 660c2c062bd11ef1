"""What may be said of an OpenID Connect provider."""

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from watchword_admin.oauth_documents import OAuthDocument, OAuthSecrets, Scope, Word
from watchword_admin.provider_documents import ProviderId, Shown, Url

ENDPOINTS: Final = (
    "discovery_url",
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "pushed_authorization_request_endpoint",
    "end_session_endpoint",
    "back_channel_base",
)


class OidcDocument(OAuthDocument):
    """The settings of an OpenID Connect provider.

    issuer_template: what the tokens' issuer looks like where discovery names this pattern instead of an issuer; each
    `{…}` in it stands for the claim `issuer_claim`.  issuer_aliases: other issuers that are the same.
    back_channel_base: where this server reaches what lies below the issuer, if elsewhere than browsers do.
    Spec: OpenID Connect Core 3.1.
    """

    kind_of = "oidc"
    addresses = ENDPOINTS

    preset: str = "oidc"
    issuer: Url
    issuer_template: Url | None = None
    issuer_claim: Word = "tid"
    issuer_aliases: Annotated[tuple[Url, ...], Field(max_length=8)] = ()
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32)] = ("openid", "email", "profile")
    nonce: Literal["required", "optional", "off"] = "required"
    userinfo: Literal["never", "merge", "required"] = "merge"
    discovery_url: Url | None = None
    jwks_uri: Url | None = None
    pushed_authorization_request_endpoint: Url | None = None
    end_session_endpoint: Url | None = None
    back_channel_base: Url | None = None
    dpop: Literal["auto", "required", "off"] = "auto"
    par: Literal["auto", "required", "off"] = "auto"
    client_assertion_audience: Literal["token_endpoint", "issuer"] = "token_endpoint"
    clock_skew_s: Annotated[int, Field(ge=0, le=300)] = 60
    single_logout: bool = True
    logout_redirect_parameter: Word = "post_logout_redirect_uri"

    @model_validator(mode="after")
    def _check_scopes(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes: openid is needed, without it there is no ID token")
        return self

    def shown(self, public_url: str, provider_id: str) -> dict[str, object]:
        """What the API shows of the settings, and the other addresses of ours that the provider may be told."""
        return super().shown(public_url, provider_id) | {
            "post_logout_redirect_uri": f"{public_url}/api/auth/sso/logout/{provider_id}/done",
            "backchannel_logout_uri": f"{public_url}/api/auth/sso/backchannel-logout/{provider_id}",
        }


class OidcSettings(OidcDocument, OAuthSecrets):
    """An OpenID Connect provider as it is replaced, with the fields of its preset. What is secret stays if left out."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})


class NewOidcProvider(OidcSettings):
    """An OpenID Connect provider as it is configured first, under an id of the administrator's choice."""

    id: ProviderId


class OidcProviderView(OidcDocument, Shown):
    """An OpenID Connect provider as the API shows it.

    post_logout_redirect_uri, backchannel_logout_uri: may be registered at the provider for sign-outs.
    """

    kind: Literal["oidc"] = "oidc"
    post_logout_redirect_uri: str
    backchannel_logout_uri: str
