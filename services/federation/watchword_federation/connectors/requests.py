"""Requests and answers at the authorization endpoint, and whom the userinfo endpoint speaks of: for OAuth 2.0 with
OpenID Connect and without.

Spec: RFC 6749 4.1.1, 4.1.2; RFC 7636 4.3; RFC 9126 4; RFC 9207 2.4; OpenID Connect Core 3.1.2.1, 5.3.
"""

import re
from collections.abc import Mapping
from typing import Final

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from httpx2 import AsyncClient, HTTPError
from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_federation.claim_paths import find
from watchword_federation.connectors import Answer, Secrets, Wishes
from watchword_federation.connectors.token_requests import Tokens, error_code
from watchword_federation.failures import Failure, SignInFailed, failure_of
from watchword_federation.fetched import reason_of
from watchword_federation.metadata import Endpoints
from watchword_runtime.documents import UnusableDocument, parse_object
from watchword_runtime.outbound import MAX_BYTES, BadAnswer

_MAX_USER: Final = 4096
_NAMES: Final = {"given_name": "firstName", "family_name": "lastName"}
_TENANT: Final = "[A-Za-z0-9_.-]+"
_PLACE: Final = re.compile(r"\\\{\w+\\\}")


def request_of(
    provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str, scopes: tuple[str, ...]
) -> dict[str, str]:
    """The parameters of the authorization request. What an administrator added never replaces one of ours."""
    request: dict[str, str | None] = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": callback,
        "scope": " ".join(scopes) or None,
        "state": state,
        "response_mode": "form_post" if provider.response_mode == "form_post" else None,
        "prompt": " ".join(wishes.prompt) or None,
        "max_age": None if wishes.max_age_s is None else str(wishes.max_age_s),
        "acr_values": " ".join(wishes.acr_values) or None,
        "login_hint": wishes.login_hint,
    }
    if provider.pkce:
        request["code_challenge"] = create_s256_code_challenge(secrets.verifier)
        request["code_challenge_method"] = "S256"
    said = {name: value for name, value in request.items() if value is not None}
    return {**provider.oauth.authorization_parameters, **said}


def address_of(endpoint: str, request: Mapping[str, str]) -> str:
    """The endpoint, whose own query stays, with a request."""
    return str(add_params_to_uri(endpoint, list(request.items())))


def check_issuer(provider: ProviderExport, answer: Answer, endpoints: Endpoints) -> None:
    """The answer names the issuer that was asked, or the provider never promised to. Raises SignInFailed.

    Spec: RFC 9207 2.4.
    """
    if answer.issuer is None:
        if endpoints.sends_issuer:
            raise SignInFailed(Failure.ISSUER_MISMATCH, "iss is missing although the provider sends it")
        return
    pattern = provider.oauth.issuer_template if endpoints.is_pattern else None
    fits = pattern is not None and re.fullmatch(_PLACE.sub(_TENANT, re.escape(pattern)), answer.issuer)
    if answer.issuer not in (endpoints.issuer, *provider.oauth.issuer_aliases) and not fits:
        raise SignInFailed(Failure.ISSUER_MISMATCH, "iss of the authorization response")


def code_of(answer: Answer) -> str:
    """The authorization code. Raises SignInFailed named after the provider's error, or when there is neither."""
    if answer.error is not None:
        raise SignInFailed(failure_of(answer.error), f"authorization endpoint: {error_code(answer.error)}")
    if answer.code is None:
        raise SignInFailed(Failure.PROVIDER_ERROR, "neither code nor error")
    return answer.code


def names_in(answer: Answer) -> dict[str, JsonValue]:
    """The person's names, as Apple's page posts them; no address, since nobody signed this.

    https://developer.apple.com/documentation/signinwithapple/incorporating-sign-in-with-apple-into-other-platforms
    """
    try:
        said = parse_object((answer.user or "").encode(), max_bytes=_MAX_USER).get("name")
    except UnusableDocument:
        return {}
    name = said if isinstance(said, dict) else {}
    return {ours: name[theirs] for ours, theirs in _NAMES.items() if isinstance(name.get(theirs), str)}


async def userinfo(client: AsyncClient, url: str, tokens: Tokens) -> dict[str, JsonValue]:
    """What an endpoint says of the access token's owner. Raises SignInFailed(userinfo_failed).

    Spec: OpenID Connect Core 5.3.1.
    """
    try:
        response = await tokens.show(client, "GET", url)
        if not response.is_success:
            raise BadAnswer(f"answered {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise BadAnswer(f"answered with content type {kind[:64]!r}, not JSON")
        return parse_object(response.content, max_bytes=MAX_BYTES)
    except (HTTPError, TimeoutError, UnusableDocument) as error:
        raise SignInFailed(Failure.USERINFO_FAILED, reason_of(error)) from error


def check_required(provider: ProviderExport, claims: Mapping[str, JsonValue]) -> None:
    """Every claim that the settings ask for has one of the accepted values. Raises SignInFailed(access_denied)."""
    for path, accepted in provider.oauth.required_claims.items():
        value = find(claims, path)
        values = value if isinstance(value, list) else [value]
        if not any(isinstance(each, str) and each in accepted for each in values):
            raise SignInFailed(Failure.ACCESS_DENIED, f"required claim {path}: missing, or another value than accepted")
