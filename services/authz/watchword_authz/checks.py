"""What an authorization request says, parameter by parameter: each step reads one thing, or refuses it.

`authorize` has the order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from watchword_authz.claims_parameter import InvalidClaims, parse_claims
from watchword_authz.hints import Hint
from watchword_authz.requests import (
    CODE,
    ID_TOKEN,
    AuthorizationRefused,
    AuthorizationRequest,
    OAuthCode,
    Prompt,
)
from watchword_events.exports import ClientExport
from watchword_events.handovers import ClaimsRequest
from watchword_policy.claims import within
from watchword_policy.details import InvalidDetails, parse_details
from watchword_policy.scopes import RESERVED_PREFIX, SIGN_IN

_VSCHAR: Final = re.compile(r"[\x20-\x7e]{1,2048}")  # RFC 6749 A.5
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 3.3
_TO_BE_NAMED: Final = frozenset({"openid", "offline_access", SIGN_IN})
SHA256: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url of 32 bytes (RFC 7636 4.2, RFC 9449 10)
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_MAX_HINT: Final = 254  # the longest e-mail address (RFC 5321 4.5.3.1.3)
_MAX_NONCE: Final = 512
_LANGUAGE: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}")  # RFC 5646 2.1, as far as it matters
_MAX_LANGUAGES: Final = 16
# Ours, and the one that applications send which were written for Keycloak.
IDP_HINTS: Final = frozenset({"idp_hint", "kc_idp_hint"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a step may look at. hint: a verified `id_token_hint`; None when there is none, or it is none of ours.

    params: read strictly at the edge: none is repeated (RFC 6749 3.1; that refusal is a page), none is empty.
    is_pushed: the client authenticated itself and pushed them.  is_signed: they stood in a request object.
    open_resources: for which every client may ask.
    """

    params: Mapping[str, str]
    client: ClientExport
    hint: Hint | None = None
    is_pushed: bool = False
    is_signed: bool = False
    open_resources: frozenset[str] = frozenset()

    def get(self, name: str) -> str | None:
        """The parameter, or None when it is absent."""
        return self.params.get(name)


def refuse(request: AuthorizationRequest, error: OAuthCode, description: str) -> NoReturn:
    """The application is told."""
    raise AuthorizationRefused(request, error, description)


def keep_state(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The state goes back as it came. Spec: RFC 6749 4.1.2, A.5."""
    state = asked.get("state")
    if state is not None and not _VSCHAR.fullmatch(state):
        refuse(request, OAuthCode.INVALID_REQUEST, "state holds characters that it may not hold, or is too long")
    return request.model_copy(update={"state": state})


def narrow_scope(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Asked for ∩ allowed for the client; what is unknown is left out.

    Who names no scope gets what the client may use, but for what has to be asked for: an ID token, to stay, and to act
    for the person elsewhere. offline_access is left out where no refresh token can come of it.
    Spec: RFC 6749 3.3; OpenID Connect Core 3.1.2.1, 3.2.2.1, 11.
    """
    scope = asked.get("scope")
    if scope is None and request.details:
        return request  # RFC 9396 3: the details alone may say what is asked for
    if scope is not None and not _SCOPE.fullmatch(scope):
        refuse(request, OAuthCode.INVALID_SCOPE, "scope is malformed")
    granted = _usual(asked.client) if scope is None else frozenset(scope.split(" ")) & asked.client.scope
    if "refresh_token" not in asked.client.grant_types or CODE not in request.response_type:
        granted -= {"offline_access"}
    if ID_TOKEN in request.response_type and "openid" not in granted:
        refuse(request, OAuthCode.INVALID_SCOPE, "an ID token needs the scope openid")
    if scope is not None and not granted:
        refuse(request, OAuthCode.INVALID_SCOPE, "this client may use none of the scopes that it asks for")
    return request.model_copy(update={"scope": granted})


def _usual(client: ClientExport) -> frozenset[str]:
    return frozenset(one for one in client.scope - _TO_BE_NAMED if not one.startswith(RESERVED_PREFIX))


def read_details(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """What exactly the client wants to do, of types that it may use. Spec: RFC 9396 2, 5."""
    raw = asked.get("authorization_details")
    if raw is None:
        return request
    try:
        details = parse_details(raw, asked.client.authorization_details_types)
    except InvalidDetails as error:
        refuse(request, OAuthCode.INVALID_AUTHORIZATION_DETAILS, str(error))
    return request.model_copy(update={"details": details})


def read_claims(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Claims that are asked for by name, as far as a scope of the client opens them; how to sign in; who.

    Spec: OpenID Connect Core 5.5, 5.5.1.1.
    """
    raw = asked.get("claims")
    if raw is None or "openid" not in request.scope:
        return request
    try:
        found = parse_claims(raw)
    except InvalidClaims as error:
        refuse(request, OAuthCode.INVALID_REQUEST, str(error))
    may = asked.client.scope
    named = ClaimsRequest(id_token=within(found.id_token, may), userinfo=within(found.userinfo, may))
    update: dict[str, object] = {"claims": named if named.id_token or named.userinfo else None}
    if found.acr_values:
        update |= {"acr_values": found.acr_values, "acr_essential": found.acr_essential}
    if found.subject is not None and asked.client.sector is not None:
        update["hint_subject"] = found.subject
    elif found.subject is not None:
        if request.hint_user_id not in (None, found.subject):
            refuse(request, OAuthCode.INVALID_REQUEST, "claims and id_token_hint name two people")
        update["hint_user_id"] = found.subject
    return request.model_copy(update=update)


def keep_nonce(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The nonce goes into the ID token as it came; one that travels through the browser needs it.

    Spec: OpenID Connect Core 3.1.2.1, 3.2.2.1, 3.3.2.11.
    """
    nonce = asked.get("nonce")
    if nonce is None and ID_TOKEN in request.response_type:
        refuse(request, OAuthCode.INVALID_REQUEST, "nonce is missing")
    if nonce is not None and (len(nonce) > _MAX_NONCE or not nonce.isprintable()):
        refuse(request, OAuthCode.INVALID_REQUEST, "nonce is malformed or too long")
    return request.model_copy(update={"nonce": nonce})


def read_prompt(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """`none` stands alone. Spec: OpenID Connect Core 3.1.2.1."""
    try:
        prompt = frozenset(Prompt(value) for value in (asked.get("prompt") or "").split())
    except ValueError:
        refuse(request, OAuthCode.INVALID_REQUEST, "prompt must be of none, login, consent, select_account")
    if Prompt.NONE in prompt and len(prompt) > 1:
        refuse(request, OAuthCode.INVALID_REQUEST, "prompt none cannot be combined with another")
    return request.model_copy(update={"prompt": prompt})


def read_max_age(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Seconds since the person last proved who they are. Spec: OpenID Connect Core 3.1.2.1."""
    max_age = asked.get("max_age")
    if max_age is None:
        return request
    if not _SECONDS.fullmatch(max_age):
        refuse(request, OAuthCode.INVALID_REQUEST, "max_age must be a number of seconds")
    return request.model_copy(update={"max_age_s": int(max_age)})


def keep_hints(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """login_hint fills the form; acr_values says how the person has to sign in, ui_locales in which languages the pages
    may be, the best first. A language that is none is no reason to refuse.

    Spec: OpenID Connect Core 3.1.2.1; RFC 9470 4.
    """
    login_hint, acr_values = asked.get("login_hint"), (asked.get("acr_values") or "")
    if login_hint is not None and (len(login_hint) > _MAX_HINT or not login_hint.isprintable()):
        refuse(request, OAuthCode.INVALID_REQUEST, "login_hint is malformed or too long")
    if acr_values and not _VSCHAR.fullmatch(acr_values):
        refuse(request, OAuthCode.INVALID_REQUEST, "acr_values is malformed or too long")
    locales = tuple(each for each in (asked.get("ui_locales") or "").split() if _LANGUAGE.fullmatch(each))
    return request.model_copy(
        update={
            "login_hint": login_hint,
            "acr_values": tuple(acr_values.split()),
            "ui_locales": locales[:_MAX_LANGUAGES],
        }
    )


def keep_idp_hint(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The id of the provider through which the application would have people sign in.

    One that is unknown is no reason to refuse, as it is none at Keycloak: the person chooses.
    """
    given = {hint for name in sorted(IDP_HINTS) if (hint := asked.get(name)) is not None}
    if len(given) > 1:
        refuse(request, OAuthCode.INVALID_REQUEST, "idp_hint and kc_idp_hint name two providers")
    idp_hint = next(iter(given), None)
    if idp_hint is not None and (len(idp_hint) > _MAX_HINT or not idp_hint.isprintable()):
        refuse(request, OAuthCode.INVALID_REQUEST, "idp_hint is malformed or too long")
    return request.model_copy(update={"idp_hint": idp_hint})


def check_id_token_hint(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The answer will be about the person whom the hint names, or an error. Spec: OpenID Connect Core 3.1.2.1."""
    if asked.get("id_token_hint") is None:
        return request
    if asked.hint is None or asked.hint.client_id != asked.client.client_id:
        refuse(request, OAuthCode.INVALID_REQUEST, "id_token_hint is not an ID token that this client got here")
    return request.model_copy(update={"hint_user_id": asked.hint.user_id})


def check_resource(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """Tokens are asked for audiences that are the client's to ask for. Spec: RFC 8707 2."""
    resource = tuple((asked.get("resource") or "").split())
    if not set(resource) <= asked.open_resources.union(asked.client.audience):
        refuse(request, OAuthCode.INVALID_TARGET, "this client may not ask for tokens for that resource")
    return request.model_copy(update={"resource": resource})


def keep_key(asked: Asked, request: AuthorizationRequest) -> AuthorizationRequest:
    """The code can be redeemed only by who holds this key. Spec: RFC 9449 10, 10.1."""
    thumbprint = asked.get("dpop_jkt")
    if thumbprint is not None and not SHA256.fullmatch(thumbprint):
        refuse(request, OAuthCode.INVALID_REQUEST, "dpop_jkt must be 43 base64url characters")
    return request.model_copy(update={"dpop_jkt": thumbprint})
