"""Client metadata as strangers send them (RFC 7591 section 2), and as they are answered."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import JsonValue, ValidationError

from watchword_admin.client_documents import OUR_NAMES, ClientDocument, in_our_names
from watchword_admin.registration.terms import Terms
from watchword_admin.uris import InvalidUri, Network, check_endpoint, matches_host
from watchword_runtime.outbound import may_reach
from watchword_web.errors import OAuthError

# What a stranger may say of itself, by our names. What else a ClientDocument holds is an administrator's to give, and
# refused: a setting that is added there is out of a stranger's reach until it is added here.
OWN: Final = frozenset(
    {
        "authorization_signed_response_alg",
        "backchannel_logout_session_required",
        "backchannel_logout_uri",
        "client_name",
        "contacts",
        "dpop_bound_access_tokens",
        "frontchannel_logout_session_required",
        "frontchannel_logout_uri",
        "grant_types",
        "id_token_encrypted_response_alg",
        "id_token_encrypted_response_enc",
        "id_token_signed_response_alg",
        "introspection_encrypted_response_alg",
        "introspection_encrypted_response_enc",
        "introspection_signed_response_alg",
        "jwks",
        "jwks_uri",
        "logo_uri",
        "main_uri",
        "policy_uri",
        "post_logout_redirect_uris",
        "redirect_uris",
        "request_object_signing_alg",
        "require_pushed_authorization_requests",
        "require_signed_request_object",
        "response_types",
        "scope",
        "software_id",
        "software_version",
        "tls_client_auth_san_dns",
        "tls_client_auth_san_email",
        "tls_client_auth_san_ip",
        "tls_client_auth_san_uri",
        "tls_client_auth_subject_dn",
        "tls_client_certificate_bound_access_tokens",
        "token_endpoint_auth_method",
        "token_endpoint_auth_signing_alg",
        "tos_uri",
        "userinfo_encrypted_response_alg",
        "userinfo_encrypted_response_enc",
        "userinfo_signed_response_alg",
    }
)
_RFC_NAMES: Final = {ours: theirs for theirs, ours in OUR_NAMES.items()}
# Addresses that Watchword itself would call.
_CALLED: Final = ("backchannel_logout_uri", "jwks_uri", "logo_uri")


def read_metadata(
    asked: Mapping[str, object], terms: Terms, *, allowed: tuple[Network, ...] = (), demo: bool = False
) -> ClientDocument:
    """The client that the metadata describe, within the terms. Raises OAuthError with RFC 7591's codes.

    asked: a JSON object; null means absent.  allowed, demo: as for `uris.check_endpoint`. Members that nobody here
    knows are ignored; what only an administrator may set is refused by name.
    Spec: RFC 7591 2, 3.2.2.
    """
    given = {name: value for name, value in in_our_names(asked).items() if value is not None}
    if "software_statement" in given:
        raise OAuthError("unapproved_software_statement", "No issuer of software statements is trusted here")
    for name in sorted(given.keys() - OWN):
        if name in ClientDocument.model_fields:
            raise _invalid(f"{name} can only be set by an administrator")
    own = {name: value for name, value in given.items() if name in OWN}
    own.setdefault("client_name", _name_from(own.get("redirect_uris")))
    own["scope"] = _within(own.get("scope"), terms)
    try:
        document = ClientDocument.model_validate(own)
    except ValidationError as error:
        raise _refusal(error) from None
    _check_terms(document, terms)
    for name in _CALLED:
        if (url := getattr(document, name)) is not None:
            _check_called(name, url, allowed=allowed, demo=demo)
    return document.model_copy(update={"allowed_origins": origins_of(document.redirect_uris)})


def with_given(stated: ClientDocument, before: ClientDocument) -> ClientDocument:
    """What a client states of itself now, with what an administrator had given it. Raises OAuthError."""
    given = before.model_dump(mode="json", exclude=set(OWN) | {"allowed_origins"})
    try:
        return ClientDocument.model_validate(stated.model_dump(mode="json") | given)
    except ValidationError as error:
        raise _refusal(error) from None


def origins_of(redirect_uris: tuple[str, ...]) -> tuple[str, ...]:
    """The origins of the redirect URIs that are pages: from there a browser application may call the endpoints."""
    parts = (urlsplit(uri) for uri in redirect_uris)
    return tuple(dict.fromkeys(f"{p.scheme}://{p.netloc.lower()}" for p in parts if p.scheme in {"http", "https"}))


def show_metadata(document: ClientDocument) -> dict[str, JsonValue]:
    """All that is registered about a client, by the names of RFC 7591. Spec: RFC 7591 3.2.1."""
    shown = document.model_dump(mode="json", include=set(OWN), exclude_none=True)
    shown["response_types"] = list(document.types)
    return {_RFC_NAMES.get(name, name): value for name, value in shown.items() if value != []} | {
        "response_types": shown["response_types"]
    }


def _name_from(redirect_uris: object) -> str:
    """A name for a client that gives none: the host that it lives at."""
    first = redirect_uris[0] if isinstance(redirect_uris, list) and redirect_uris else ""
    try:
        host = urlsplit(first).hostname if isinstance(first, str) else None
    except ValueError:
        host = None
    return (host or "Application")[:128]


def _within(scope: object, terms: Terms) -> object:
    """What is asked for as far as the terms go. Spec: RFC 7591 2 (a server may register another scope)."""
    if not isinstance(scope, str):
        return terms.scope if scope is None else scope
    may = frozenset(terms.scope.split())
    kept = [name for name in scope.split(" ") if name in may]
    if scope and not kept:
        raise _invalid("scope: none of these may be asked for")
    return " ".join(kept)


def _check_terms(document: ClientDocument, terms: Terms) -> None:
    for grant in document.grant_types:
        if grant not in terms.grant_types:
            raise _invalid(f"grant_types: {grant} is given to clients by an administrator only")
    if not terms.redirect_hosts:
        return
    for uri in document.redirect_uris:
        if not matches_host(urlsplit(uri).hostname or "", terms.redirect_hosts):
            raise OAuthError("invalid_redirect_uri", "redirect_uris: this host is not accepted here")


def _check_called(name: str, url: str, *, allowed: tuple[Network, ...], demo: bool) -> None:
    """Raises OAuthError for an address that could only lead inside; where a name leads is seen at connect time."""
    try:
        check_endpoint(url, allowed=allowed, demo=demo)
        address = ip_address(urlsplit(url).hostname or "")
    except InvalidUri as error:
        raise _invalid(f"{name}: {error}") from None
    except ValueError:
        return
    if not may_reach(str(address), allowed, only_allowed=False):
        raise _invalid(f"{name}: this address may not be reached")


def _refusal(error: ValidationError) -> OAuthError:
    """The first thing that is wrong, with the code that RFC 7591 has for it."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    said = problem["msg"].removeprefix("Value error, ")
    where = "/".join(str(part) for part in problem["loc"])
    text = f"{where}: {said}" if where else said
    if text.startswith("redirect_uris"):
        return OAuthError("invalid_redirect_uri", text)
    return _invalid(text)


def _invalid(description: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description)
