"""The authorization request once it has been checked: what the flow keeps of it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class ResponseMode(StrEnum):
    """How the answer reaches the application. Spec: OAuth 2.0 Form Post Response Mode 2."""

    QUERY = "query"
    FORM_POST = "form_post"


class Prompt(StrEnum):
    """What the application asks to be shown. Spec: OpenID Connect Core 3.1.2.1."""

    NONE = "none"
    LOGIN = "login"
    CONSENT = "consent"
    SELECT_ACCOUNT = "select_account"


class AuthorizationRequest(BaseModel):
    """A request whose client and redirect URI are known to be genuine.

    hint_user_id: the `sub` of the `id_token_hint`, whom alone the answer may be about.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool = True
    state: str | None = None
    response_mode: ResponseMode = ResponseMode.QUERY
    scope: frozenset[str] = frozenset()
    nonce: str | None = None
    code_challenge: str | None = None
    prompt: frozenset[Prompt] = frozenset()
    max_age_s: int | None = None
    login_hint: str | None = None
    acr_values: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    hint_user_id: str | None = None


class OAuthCode(StrEnum):
    """Errors of the authorization endpoint that go to the application.

    Spec: RFC 6749 4.1.2.1; OpenID Connect Core 3.1.2.6; RFC 8707 2.
    """

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    ACCESS_DENIED = "access_denied"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    INVALID_SCOPE = "invalid_scope"
    INVALID_TARGET = "invalid_target"
    LOGIN_REQUIRED = "login_required"
    CONSENT_REQUIRED = "consent_required"
    INTERACTION_REQUIRED = "interaction_required"
    ACCOUNT_SELECTION_REQUIRED = "account_selection_required"
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
