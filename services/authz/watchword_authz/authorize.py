"""The checks of an authorization request, in order: what must hold before anybody is asked to sign in.

First the client and the redirect URI: until both are genuine every refusal is a page. From then on a refusal goes to
the application by redirect. `STEPS` is the whole list; each step looks at one thing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from watchword_authz import redirects
from watchword_authz.hints import Hint
from watchword_authz.requests import AuthorizationRefused, AuthorizationRequest, OAuthCode, Prompt, ResponseMode
from watchword_events.exports import ClientExport
from watchword_web.errors import PageError

_VSCHAR: Final = re.compile(r"[\x20-\x7e]{1,2048}")  # RFC 6749 A.5
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 3.3
_S256: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636 4.2: base64url of 32 bytes
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_MAX_HINT: Final = 254  # the longest e-mail address (RFC 5321 4.5.3.1.3)
_MAX_NONCE: Final = 512


@dataclass(frozen=True, slots=True)
class Asked:
    """What a step may look at. hint: a verified `id_token_hint`; None when there is none, or it is none of ours.

    params: read strictly at the edge: none is repeated (RFC 6749 3.1; that refusal is a page), none is empty.
    """

    params: Mapping[str, str]
    client: ClientExport
    hint: Hint | None = None

    def get(self, name: str) -> str | None:
        """The parameter, or None when it is absent."""
        return self.params.get(name)


def find_redirect_uri(params: Mapping[str, str], client: ClientExport) -> str:
    """The redirect URI to answer at. Raises PageError when the request names none that is this client's.

    Only a client with a single registered URI may leave it out, and only outside OpenID Connect.
    Spec: RFC 6749 3.1.2.3, 3.1.2.4; OpenID Connect Core 3.1.2.1.
    """
    asked = params.get("redirect_uri")
    if asked is None and len(client.redirect_uris) == 1 and "openid" not in params.get("scope", "").split():
        asked = client.redirect_uris[0]
    if not asked:
        raise PageError(
            "invalid_request", "Cannot sign in from here", "The application did not say where to return to."
        )
    # RFC 9700 2.1: exact string matching; RFC 6749 4.1.2.1: never redirect to a URI that did not match.
    if not redirects.is_registered(asked, client.redirect_uris) or not redirects.is_usable(asked):
        raise PageError(
            "invalid_redirect_uri",
            "Cannot sign in from here",
            "The address to return to is not registered for this application. Its administrator has to add it.",
            detail=f"client {client.client_id}",
        )
    return asked


def check(asked: Asked) -> AuthorizationRequest:
    """The request as it may be acted on. Raises PageError before, AuthorizationRefused after the redirect URI holds."""
    request = AuthorizationRequest(
        client_id=asked.client.client_id,
        redirect_uri=find_redirect_uri(asked.params, asked.client),
        redirect_uri_given="redirect_uri" in asked.params,
    )
    for step in STEPS:
        request = step(asked, request)
    return request


def _refuse(request: AuthorizationRequest, error: OAuthCode, description: str) -> NoReturn:
    raise AuthorizationRefused(request, error, description)


def keep_state(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The state goes back as it came. Spec: RFC 6749 4.1.2, A.5."""
    state = asked.get("state")
    if state is not None and not _VSCHAR.fullmatch(state):
        _refuse(request, OAuthCode.INVALID_REQUEST, "state holds characters that it may not hold, or is too long")
    return request.model_copy(update={"state": state})


def choose_response_mode(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """query unless form_post is asked for. Spec: OAuth 2.0 Multiple Response Type Encoding Practices 2.1."""
    match asked.get("response_mode"):
        case None | ResponseMode.QUERY:
            return request
        case ResponseMode.FORM_POST if redirects.is_web(request.redirect_uri):
            return request.model_copy(update={"response_mode": ResponseMode.FORM_POST})
        case ResponseMode.FORM_POST:
            _refuse(request, OAuthCode.INVALID_REQUEST, "response_mode form_post needs an http or https redirect URI")
        case _:
            _refuse(request, OAuthCode.INVALID_REQUEST, "response_mode must be query or form_post")


def refuse_request_objects(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Request objects are not served; nothing is ever fetched from a request_uri. Spec: OpenID Connect Core 6."""
    if asked.get("request") is not None:
        _refuse(request, OAuthCode.REQUEST_NOT_SUPPORTED, "request objects are not supported")
    if asked.get("request_uri") is not None:
        _refuse(request, OAuthCode.REQUEST_URI_NOT_SUPPORTED, "request_uri is not supported")
    if asked.get("registration") is not None:
        _refuse(request, OAuthCode.REGISTRATION_NOT_SUPPORTED, "registration is not supported")
    return request


def check_response_type(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Only `code`: no token ever passes through the browser. Spec: RFC 6749 3.1.1; RFC 9700 2.1.2."""
    response_type = asked.get("response_type")
    if response_type is None:
        _refuse(request, OAuthCode.INVALID_REQUEST, "response_type is missing")
    if response_type != "code":
        _refuse(request, OAuthCode.UNSUPPORTED_RESPONSE_TYPE, "response_type must be code")
    if "code" not in asked.client.response_types or "authorization_code" not in asked.client.grant_types:
        _refuse(request, OAuthCode.UNAUTHORIZED_CLIENT, "this client may not use the authorization code grant")
    return request


def check_pkce(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """A code is bound to its requester by an S256 challenge. Spec: RFC 7636 4.3, 4.4.1; RFC 9700 2.1.1."""
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    if challenge is None:
        is_public = asked.client.token_endpoint_auth_method == "none"
        if is_public or asked.client.require_pkce:
            _refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge is missing: PKCE with S256 is required")
        if method is not None:
            _refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge_method without code_challenge")
        return request
    # RFC 7636 4.3: an absent method means plain, which is not accepted.
    if method != "S256":
        _refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge_method must be S256")
    if not _S256.fullmatch(challenge):
        _refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge must be 43 base64url characters")
    return request.model_copy(update={"code_challenge": challenge})


def narrow_scope(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Asked for ∩ allowed for the client; what is unknown is left out. Spec: RFC 6749 3.3; OpenID Connect Core 3.1.2.1.

    offline_access is left out for a client that may not refresh (OpenID Connect Core 11).
    """
    scope = asked.get("scope")
    if scope is None:
        _refuse(request, OAuthCode.INVALID_SCOPE, "scope is missing")
    if not _SCOPE.fullmatch(scope):
        _refuse(request, OAuthCode.INVALID_SCOPE, "scope is malformed")
    granted = frozenset(scope.split(" ")) & asked.client.scope
    if "refresh_token" not in asked.client.grant_types:
        granted -= {"offline_access"}
    if not granted:
        _refuse(request, OAuthCode.INVALID_SCOPE, "this client may use none of the scopes that it asks for")
    return request.model_copy(update={"scope": granted})


def keep_nonce(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The nonce goes into the ID token as it came. Spec: OpenID Connect Core 3.1.2.1."""
    nonce = asked.get("nonce")
    if nonce is not None and (len(nonce) > _MAX_NONCE or not nonce.isprintable()):
        _refuse(request, OAuthCode.INVALID_REQUEST, "nonce is malformed or too long")
    return request.model_copy(update={"nonce": nonce})


def read_prompt(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """`none` stands alone. Spec: OpenID Connect Core 3.1.2.1."""
    try:
        prompt = frozenset(Prompt(value) for value in (asked.get("prompt") or "").split())
    except ValueError:
        _refuse(request, OAuthCode.INVALID_REQUEST, "prompt must be of none, login, consent, select_account")
    if Prompt.NONE in prompt and len(prompt) > 1:
        _refuse(request, OAuthCode.INVALID_REQUEST, "prompt none cannot be combined with another")
    return request.model_copy(update={"prompt": prompt})


def read_max_age(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Seconds since the person last proved who they are. Spec: OpenID Connect Core 3.1.2.1."""
    max_age = asked.get("max_age")
    if max_age is None:
        return request
    if not _SECONDS.fullmatch(max_age):
        _refuse(request, OAuthCode.INVALID_REQUEST, "max_age must be a number of seconds")
    return request.model_copy(update={"max_age_s": int(max_age)})


def keep_hints(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """login_hint fills the form, acr_values travels upstream; neither decides. Spec: OpenID Connect Core 3.1.2.1."""
    login_hint, acr_values = asked.get("login_hint"), (asked.get("acr_values") or "")
    if login_hint is not None and (len(login_hint) > _MAX_HINT or not login_hint.isprintable()):
        _refuse(request, OAuthCode.INVALID_REQUEST, "login_hint is malformed or too long")
    if acr_values and not _VSCHAR.fullmatch(acr_values):
        _refuse(request, OAuthCode.INVALID_REQUEST, "acr_values is malformed or too long")
    return request.model_copy(update={"login_hint": login_hint, "acr_values": tuple(acr_values.split())})


def check_id_token_hint(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The answer will be about the person whom the hint names, or an error. Spec: OpenID Connect Core 3.1.2.1."""
    if asked.get("id_token_hint") is None:
        return request
    if asked.hint is None or asked.hint.client_id != asked.client.client_id:
        _refuse(request, OAuthCode.INVALID_REQUEST, "id_token_hint is not an ID token that this client got here")
    return request.model_copy(update={"hint_user_id": asked.hint.user_id})


def check_resource(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """A token is asked for an audience that is the client's to ask for. Spec: RFC 8707 2."""
    resource = asked.get("resource")
    if resource is None:
        return request
    if resource not in asked.client.audience:
        _refuse(request, OAuthCode.INVALID_TARGET, "this client may not ask for tokens for that resource")
    return request.model_copy(update={"resource": (resource,)})


Step = Callable[[Asked, AuthorizationRequest], AuthorizationRequest]

STEPS: Final[tuple[Step, ...]] = (
    keep_state,
    choose_response_mode,
    refuse_request_objects,
    check_response_type,
    check_pkce,
    narrow_scope,
    keep_nonce,
    read_prompt,
    read_max_age,
    keep_hints,
    check_id_token_hint,
    check_resource,
)
