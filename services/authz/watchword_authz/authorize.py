"""The checks of an authorization request, in order: what must hold before anybody is asked to sign in.

First the client and the redirect URI: until both are genuine every refusal is a page. From then on a refusal goes to
the application by redirect. `STEPS` is the whole list; each step looks at one thing.
"""

from collections.abc import Callable, Mapping
from typing import Final

from watchword_authz import redirects
from watchword_authz.checks import (
    IDP_HINTS,
    SHA256,
    Asked,
    check_id_token_hint,
    check_resource,
    keep_hints,
    keep_idp_hint,
    keep_key,
    keep_nonce,
    keep_state,
    narrow_scope,
    read_claims,
    read_details,
    read_max_age,
    read_prompt,
    refuse,
)
from watchword_authz.requests import CODE, ID_TOKEN, TOKEN, AuthorizationRequest, OAuthCode, ResponseMode
from watchword_events.exports import ClientExport
from watchword_web.delivery import Way
from watchword_web.errors import PageError

# Everything that the steps read; whatever else a request says is ignored (RFC 6749 3.1).
PARAMETERS: Final = frozenset(
    {"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge"}
    | {"code_challenge_method", "prompt", "max_age", "login_hint", "acr_values", "id_token_hint", "resource"}
    | {"request", "request_uri", "registration", "dpop_jkt", "claims", "authorization_details", "ui_locales"}
    | IDP_HINTS
)


def find_redirect_uri(params: Mapping[str, str], client: ClientExport) -> str:
    """The redirect URI to answer at. Raises PageError when the request names none that is this client's.

    Only a client with a single registered URI may leave it out, and only outside OpenID Connect.
    Spec: RFC 6749 3.1.2.3, 3.1.2.4; OpenID Connect Core 3.1.2.1.
    """
    asked = params.get("redirect_uri")
    may_be_left_out = client.profile is None and "openid" not in params.get("scope", "").split()
    if asked is None and len(client.redirect_uris) == 1 and may_be_left_out:
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


def _may_use(client: ClientExport, response_type: frozenset[str]) -> bool:
    """Whether the client registered for the response type, and for the grants behind it. Spec: RFC 7591 2.1."""
    needed = {"authorization_code" if part == CODE else "implicit" for part in response_type}
    # RFC 9449 5: a token that has to be bound to a key needs a proof, which only the token endpoint receives.
    is_bound = TOKEN in response_type and client.is_bound
    return " ".join(sorted(response_type)) in client.response_types and needed <= client.grant_types and not is_bound


def choose_response_mode(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The mode that is asked for and that the client registered; a refusal goes by the response type's own.

    That is query for a code, fragment where tokens are asked for. Tokens never stand in a query.
    Spec: OAuth 2.0 Multiple Response Type Encoding Practices 2.1, 3, 5; JARM 2.3.
    """
    response_type = frozenset((asked.get("response_type") or "").split(" "))
    has_tokens = not response_type <= {CODE} and _may_use(asked.client, response_type)
    default = ResponseMode.FRAGMENT if has_tokens else ResponseMode.QUERY
    request = request.model_copy(update={"response_mode": default})
    try:
        match asked.get("response_mode"):
            case None:
                mode = default
            case "jwt":
                mode = default.signed
            case value:
                mode = ResponseMode(value)
    except ValueError:
        refuse(request, OAuthCode.INVALID_REQUEST, "response_mode is not one that is offered")
    if mode not in asked.client.response_modes:
        refuse(request, OAuthCode.INVALID_REQUEST, "response_mode is not one that this client may use")
    if has_tokens and mode.way is Way.QUERY:
        refuse(request, OAuthCode.INVALID_REQUEST, "response_mode must not be query where tokens are asked for")
    if mode.way is Way.FORM_POST and not redirects.is_web(request.redirect_uri):
        refuse(request, OAuthCode.INVALID_REQUEST, "response_mode form_post needs an http or https redirect URI")
    return request.model_copy(update={"response_mode": mode})


def refuse_foreign_requests(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Nothing is ever fetched from a request_uri, and a request object is for clients that registered how they sign.

    Spec: OpenID Connect Core 6; RFC 9101 5.2, 10.5.
    """
    if asked.get("request") is not None:
        refuse(request, OAuthCode.REQUEST_NOT_SUPPORTED, "this client registered no algorithm for request objects")
    if asked.get("request_uri") is not None:
        refuse(request, OAuthCode.REQUEST_URI_NOT_SUPPORTED, "request_uri must be one that was pushed")
    if asked.get("registration") is not None:
        refuse(request, OAuthCode.REGISTRATION_NOT_SUPPORTED, "registration is not supported")
    if asked.client.require_signed_request_object and not asked.is_signed:
        refuse(request, OAuthCode.INVALID_REQUEST, "this client has to sign its requests")
    return request


def require_pushed(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """A client that registered to push its requests is taken at its word. Spec: RFC 9126 6."""
    if asked.client.require_pushed_authorization_requests and not asked.is_pushed:
        refuse(request, OAuthCode.INVALID_REQUEST, "this client has to push its requests")
    return request


def check_response_type(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """`code`; tokens in the browser only for a client for which an administrator said so.

    Spec: RFC 6749 3.1.1; RFC 9700 2.1.2; OAuth 2.0 Multiple Response Type Encoding Practices 3, 5.
    """
    given = asked.get("response_type")
    if given is None:
        refuse(request, OAuthCode.INVALID_REQUEST, "response_type is missing")
    parts = given.split(" ")
    response_type = frozenset(parts)
    if not response_type <= {CODE, TOKEN, ID_TOKEN} or len(parts) != len(response_type):
        refuse(request, OAuthCode.UNSUPPORTED_RESPONSE_TYPE, "response_type must be of code, id_token and token")
    if not _may_use(asked.client, response_type):
        refuse(request, OAuthCode.UNAUTHORIZED_CLIENT, "this client may not use that response_type")
    return request.model_copy(update={"response_type": response_type})


def check_pkce(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """A code is bound to its requester by an S256 challenge. Spec: RFC 7636 4.3, 4.4.1; RFC 9700 2.1.1."""
    if CODE not in request.response_type:
        return request
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    if challenge is None:
        is_public = asked.client.token_endpoint_auth_method == "none"
        if is_public or asked.client.require_pkce:
            refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge is missing: PKCE with S256 is required")
        if method is not None:
            refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge_method without code_challenge")
        return request
    # RFC 7636 4.3: an absent method means plain, which is not accepted.
    if method != "S256":
        refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge_method must be S256")
    if not SHA256.fullmatch(challenge):
        refuse(request, OAuthCode.INVALID_REQUEST, "code_challenge must be 43 base64url characters")
    return request.model_copy(update={"code_challenge": challenge})


Step = Callable[[Asked, AuthorizationRequest], AuthorizationRequest]

STEPS: Final[tuple[Step, ...]] = (
    keep_state,
    choose_response_mode,
    refuse_foreign_requests,
    require_pushed,
    check_response_type,
    check_pkce,
    read_details,
    narrow_scope,
    keep_nonce,
    read_prompt,
    read_max_age,
    keep_hints,
    keep_idp_hint,
    check_id_token_hint,
    read_claims,
    check_resource,
    keep_key,
)
