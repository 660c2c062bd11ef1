"""Where an upstream provider's endpoints are: its discovery document, checked, and what an administrator overrode.

Spec: OpenID Connect Discovery 4.1, 4.3; RFC 8414 2; RFC 9207 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from authlib.oidc.discovery import OpenIDProviderMetadata
from httpx2 import URL, InvalidURL
from pydantic import JsonValue

from watchword_events.exports import ProviderExport

WELL_KNOWN: Final = "/.well-known/openid-configuration"
_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
_OF_OAUTH: Final = ("pushed_authorization_request_endpoint", "end_session_endpoint")
_ENDPOINTS: Final = (*_NEEDED, *_OF_OAUTH)
# Where browsers are sent; the others are called by this server.
_FRONT: Final = frozenset({"authorization_endpoint", "end_session_endpoint"})
_MAX_URL: Final = 2048
# What a sign-in relies on. Authlib judges the rest of a document too, and large providers break rules there that do not
# concern us: Entra ID lists private_key_jwt without saying which algorithms sign it.
_RELIED_ON: Final = (
    "issuer",
    *_NEEDED,
    "scopes_supported",
    "response_types_supported",
    "response_modes_supported",
    "grant_types_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
    "claims_supported",
)


class UnusableMetadata(ValueError):
    """The provider's metadata cannot be trusted or lacks what a sign-in needs."""


@dataclass(frozen=True, slots=True)
class PlainHttp:
    """Where a provider may be spoken to without TLS. loopback: on this machine.  networks: those on site."""

    loopback: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def allows(self, host: str) -> bool:
        """Whether the host can be such a place; for a name the outbound guard decides when it connects."""
        if self.loopback and (host == "localhost" or host.endswith(".localhost")):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return bool(self.networks)
        return (self.loopback and address.is_loopback) or any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a sign-in through one provider goes.

    is_pattern: the provider names no issuer, but a pattern that each token fills.  sends_issuer: its authorization
    responses always carry `iss`.  takes_proofs: it understands DPoP with ES256.  wants_pushed: it accepts no request
    but pushed ones.  logs_out: it can end sessions, with us or towards us.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str = ""
    userinfo_endpoint: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    end_session_endpoint: str | None = None
    is_pattern: bool = False
    sends_issuer: bool = False
    takes_proofs: bool = False
    wants_pushed: bool = False
    logs_out: bool = False


def discovery_url(provider: ProviderExport) -> str | None:
    """Where the provider's document lies; None when every endpoint was given by hand.

    Spec: OpenID Connect Discovery 4.1.
    """
    if provider.discovery_url:
        return provider.discovery_url
    if provider.authorization_endpoint and provider.token_endpoint and provider.jwks_uri:
        return None
    return back_channel(provider, provider.issuer.rstrip("/") + WELL_KNOWN)


def back_channel(provider: ProviderExport, url: str) -> str:
    """Where this server reaches an address of the provider: what lies below the issuer may lie elsewhere for it."""
    return _moved(url, provider.issuer, provider.oauth.back_channel_base)


def _front_channel(provider: ProviderExport, url: str) -> str:
    """Where a browser reaches it: a provider that was asked through the back door may name that door."""
    base = provider.oauth.back_channel_base
    return url if base is None else _moved(url, base, provider.issuer)


def _moved(url: str, base: str, to: str | None) -> str:
    """The address with another base, if it lies below the first one."""
    base = base.rstrip("/")
    if to is None or not (url == base or url.startswith(f"{base}/")):
        return url
    return to.rstrip("/") + url[len(base) :]


def _names_issuer(provider: ProviderExport, named: JsonValue) -> bool:
    """Whether a document's issuer is the one configured, however that may be spelled."""
    oauth = provider.oauth
    return named in (provider.issuer, *oauth.issuer_aliases, oauth.issuer_template, oauth.back_channel_base) and bool(
        named
    )


def endpoints_of(
    provider: ProviderExport, document: Mapping[str, JsonValue] | None, *, plain_http: PlainHttp
) -> Endpoints:
    """The endpoints in force: overridden ones first, the document's otherwise.

    document: what discovery_url() leads to, or None when it is None.
    Raises UnusableMetadata.
    """
    found: dict[str, JsonValue] = {}
    if document is not None:
        # Discovery 4.3: the issuer in the document is exactly the one configured, or it is somebody else's document.
        if not _names_issuer(provider, document.get("issuer")):
            raise UnusableMetadata("the document names another issuer than the one configured")
        found = {**document, "issuer": provider.issuer}
    found.update({name: value for name in _NEEDED if (value := getattr(provider, name))})
    found.update({name: value for name in _OF_OAUTH if (value := getattr(provider.oauth, name))})
    for name in ("issuer", *_ENDPOINTS):
        url = found.get(name)
        if isinstance(url, str) and name != "issuer":
            url = found[name] = (_front_channel if name in _FRONT else back_channel)(provider, url)
        if url is not None and not is_allowed_url(url, plain_http):
            raise UnusableMetadata(f"{name} is not a URL that may be used")
    if document is not None:
        _validate(found)
    userinfo = found.get("userinfo_endpoint")
    return Endpoints(
        issuer=provider.issuer,
        authorization_endpoint=_required(found, "authorization_endpoint"),
        token_endpoint=_required(found, "token_endpoint"),
        jwks_uri=_required(found, "jwks_uri"),
        userinfo_endpoint=userinfo if isinstance(userinfo, str) and provider.userinfo != "never" else None,
        pushed_authorization_request_endpoint=_optional(found, "pushed_authorization_request_endpoint"),
        end_session_endpoint=_optional(found, "end_session_endpoint"),
        is_pattern=document is not None
        and provider.oauth.issuer_template is not None
        and document.get("issuer") == provider.oauth.issuer_template,
        sends_issuer=found.get("authorization_response_iss_parameter_supported") is True,
        takes_proofs=_lists(found, "dpop_signing_alg_values_supported", "ES256"),
        wants_pushed=found.get("require_pushed_authorization_requests") is True,
        logs_out="end_session_endpoint" in found or found.get("backchannel_logout_supported") is True,
    )


def is_allowed_url(value: JsonValue, plain_http: PlainHttp) -> bool:
    """Whether a provider's URL may be used: absolute, https or where plain http is allowed, no user, no fragment.

    Whether its host may be reached is decided when the connection is made, by the outbound guard.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_URL or not value.isascii() or not value.isprintable():
        return False
    if " " in value or "\\" in value:
        return False
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
        URL(value)  # the client reads hosts more strictly
    except (ValueError, InvalidURL):
        return False
    if not host or "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and plain_http.allows(host))


def _validate(document: Mapping[str, JsonValue]) -> None:
    """What a sign-in relies on has the shape that Discovery and RFC 8414 require, as Authlib sees it."""
    shown: dict[str, JsonValue] = {name: document[name] for name in _RELIED_ON if name in document}
    for name in ("issuer", *_NEEDED):
        # Schemes were judged above, by our own rule; Authlib's would also read an environment variable.
        url = shown.get(name)
        if isinstance(url, str):
            shown[name] = urlunsplit(urlsplit(url)._replace(scheme="https"))
    # RS256 in this list is the document's promise, not what a token may be signed with: providers that sign with
    # ES256 alone leave it out, and ALGORITHMS decides about tokens.
    algorithms = shown.get("id_token_signing_alg_values_supported")
    if isinstance(algorithms, list):
        shown["id_token_signing_alg_values_supported"] = [*algorithms, "RS256"]
    try:
        OpenIDProviderMetadata(shown).validate()
    except ValueError as error:
        raise UnusableMetadata(str(error)) from error
    # Authlib expects the types that the specification names and stumbles over others (a number where a list stands).
    except (TypeError, AttributeError) as error:
        raise UnusableMetadata(f"a value of another type than specified: {type(error).__name__}") from error


def _lists(found: Mapping[str, JsonValue], name: str, value: str) -> bool:
    listed = found.get(name)
    return isinstance(listed, list) and value in listed


def _optional(found: Mapping[str, JsonValue], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) else None


def _required(found: Mapping[str, JsonValue], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise UnusableMetadata(f"{name} is missing")
    return value
