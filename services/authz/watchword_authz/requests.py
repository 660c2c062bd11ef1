"""The authorization request once it has been checked: what the flow keeps of it."""

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_events.handovers import ClaimsRequest
from watchword_policy.claims import SCOPE_OF
from watchword_web.delivery import Way

_SIGNED: Final = ".jwt"
CODE: Final = "code"
TOKEN: Final = "token"
ID_TOKEN: Final = "id_token"
# What a person is asked for: a scope, and at which resource it may be used.
Permission = tuple[str, str]
ANYWHERE: Final = ""  # no resource was named


class ResponseMode(StrEnum):
    """How the answer reaches the application. Spec: OAuth 2.0 Form Post Response Mode 2; JARM 2.3."""

    QUERY = "query"
    FRAGMENT = "fragment"
    FORM_POST = "form_post"
    QUERY_JWT = "query.jwt"
    FRAGMENT_JWT = "fragment.jwt"
    FORM_POST_JWT = "form_post.jwt"

    @property
    def way(self) -> Way:
        """Where the parameters stand."""
        return Way(self.value.removesuffix(_SIGNED))

    @property
    def is_signed(self) -> bool:
        """Whether they stand there as one JWT."""
        return self.value.endswith(_SIGNED)

    @property
    def signed(self) -> "ResponseMode":
        """The same way, signed."""
        return self if self.is_signed else ResponseMode(f"{self.value}{_SIGNED}")


class Prompt(StrEnum):
    """What the application asks to be shown. Spec: OpenID Connect Core 3.1.2.1."""

    NONE = "none"
    LOGIN = "login"
    CONSENT = "consent"
    SELECT_ACCOUNT = "select_account"


class AuthorizationRequest(BaseModel):
    """A request whose client and redirect URI are known to be genuine.

    details: rich authorization requests. claims: those asked for by name, within the client's scope. response_type:
    what is asked for, of code, token and id_token. hint_user_id: the `sub` of the `id_token_hint`, whom alone the
    answer may be about, and hint_subject the one that a pairwise client names in `claims`. idp_hint: id of the provider
    to go to, if it is one. dpop_jkt: thumbprint of the key that alone may redeem the code. device_id: of the device
    that asks; it has no redirect URI, and learns the answer by itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool = True
    state: str | None = None
    response_type: frozenset[str] = frozenset({CODE})
    response_mode: ResponseMode = ResponseMode.QUERY
    scope: frozenset[str] = frozenset()
    nonce: str | None = None
    code_challenge: str | None = None
    prompt: frozenset[Prompt] = frozenset()
    max_age_s: int | None = None
    login_hint: str | None = None
    idp_hint: str | None = None
    acr_values: tuple[str, ...] = ()
    acr_essential: bool = False
    ui_locales: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    details: tuple[dict[str, JsonValue], ...] = ()
    claims: ClaimsRequest | None = None
    dpop_jkt: str | None = None
    hint_user_id: str | None = None
    hint_subject: str | None = None
    device_id: str | None = None

    @property
    def consent_scope(self) -> frozenset[str]:
        """What the person is asked about: the scope, and the scopes to which claims asked for by name belong."""
        if self.claims is None:
            return self.scope
        return self.scope | {SCOPE_OF[claim] for claim in (*self.claims.id_token, *self.claims.userinfo)}

    @property
    def permissions(self) -> frozenset[Permission]:
        """What of it stands allowed once the person has said so: each scope, at each resource that is named.

        Spec: RFC 8707 2.
        """
        return frozenset((at, scope) for at in self.resource or (ANYWHERE,) for scope in self.consent_scope)

    @property
    def targets(self) -> list[str]:
        """Where a POST from a page of ours may end, beside our own origin."""
        return [self.redirect_uri] if self.redirect_uri else []

    @property
    def wants_tokens(self) -> bool:
        """Whether tokens are asked for from the authorization endpoint itself."""
        return not self.response_type <= {CODE}


class OAuthCode(StrEnum):
    """Errors of the authorization endpoint that go to the application.

    Spec: RFC 6749 4.1.2.1; OpenID Connect Core 3.1.2.6; RFC 8707 2; RFC 9101 7; RFC 9396 5; RFC 9470 5.
    """

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    ACCESS_DENIED = "access_denied"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    INVALID_SCOPE = "invalid_scope"
    INVALID_TARGET = "invalid_target"
    INVALID_AUTHORIZATION_DETAILS = "invalid_authorization_details"
    LOGIN_REQUIRED = "login_required"
    CONSENT_REQUIRED = "consent_required"
    INTERACTION_REQUIRED = "interaction_required"
    ACCOUNT_SELECTION_REQUIRED = "account_selection_required"
    UNMET_AUTHENTICATION_REQUIREMENTS = "unmet_authentication_requirements"
    INVALID_REQUEST_OBJECT = "invalid_request_object"
    INVALID_REQUEST_URI = "invalid_request_uri"
    REQUEST_NOT_SUPPORTED = "request_not_supported"
    REQUEST_URI_NOT_SUPPORTED = "request_uri_not_supported"
    REGISTRATION_NOT_SUPPORTED = "registration_not_supported"


class AuthorizationRefused(Exception):
    """The application is told, by redirect, why it gets no code. `request` says where and how."""

    def __init__(self, request: AuthorizationRequest, error: OAuthCode, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.request = request
        self.error = error
        self.description = description
