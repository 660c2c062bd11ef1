"""What may be said of a provider that speaks OAuth 2.0 without OpenID Connect."""

from typing import Literal, Self

from pydantic import ConfigDict, model_validator

from watchword_admin.oauth_documents import OAuthDocument, OAuthSecrets
from watchword_admin.provider_documents import ProviderId, Shown, Url, wrong


class OAuth2Document(OAuthDocument):
    """The settings of an OAuth 2.0 provider: its userinfo endpoint says whom it authenticated.

    issuer: under which its people are known here.  claims: `sub` has to be there, and never be somebody else's later.
    Spec: RFC 6749 4.1.
    """

    kind_of = "oauth2"

    preset: str = "oauth2"
    issuer: Url
    authorization_endpoint: Url
    token_endpoint: Url
    userinfo_endpoint: Url

    @model_validator(mode="after")
    def _check_subject(self) -> Self:
        if "sub" not in self.claims:
            raise wrong("claims", "sub has to say which member of the answer recognises a person")
        return self


class OAuth2Settings(OAuth2Document, OAuthSecrets):
    """An OAuth 2.0 provider as it is replaced, with the fields of its preset. What is secret stays if left out."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})


class NewOAuth2Provider(OAuth2Settings):
    """An OAuth 2.0 provider as it is configured first, under an id of the administrator's choice."""

    id: ProviderId


class OAuth2ProviderView(OAuth2Document, Shown):
    """An OAuth 2.0 provider as the API shows it."""

    kind: Literal["oauth2"] = "oauth2"
