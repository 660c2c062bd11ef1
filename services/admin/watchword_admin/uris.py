"""Rules for the addresses that an administrator registers: redirect URIs, origins, links and provider endpoints."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

MAX_LENGTH: Final = 2048
# RFC 3986 2: what a URI may consist of. Backslash, quotes, < >, ^, `, { | }, spaces and letters beyond ASCII are not
# in it; browsers repair several of them, so that what is compared would not be where the browser goes.
_URI: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f\\]")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_NUMBER: Final = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
_CUSTOM_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+")
LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# A query with one of these would decide over, or be confused with, what the authorization response adds.
_RESPONSE_KEYS: Final = frozenset({"code", "state", "iss", "error", "error_description", "id_token", "access_token"})
Network = IPv4Network | IPv6Network
# A host, everything below a host, or every host.
HOST_PATTERN: Final = r"^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*)$"


class InvalidUri(ValueError):
    """The address may not be registered; the message says why and fits into an answer."""


def check_redirect_uri(value: str) -> str:
    """The redirect URI as given, fit to be compared byte by byte.

    https anywhere; http on a loopback host only; otherwise a private-use scheme with a dot in it. No user, fragment,
    wildcard, dot segment or response parameter. Raises InvalidUri.
    Spec: RFC 6749 3.1.2; RFC 8252 7.1, 7.3, 8.4; RFC 9700 2.1, 4.1.
    """
    parts = _parse(value)
    if "*" in value:
        raise InvalidUri("wildcards are not accepted: register each URI")
    if parts.scheme in {"http", "https"}:
        _check_web(parts)
    elif not _CUSTOM_SCHEME.fullmatch(parts.scheme):
        # RFC 8252 7.1: a scheme under the application's own domain, reversed. This also keeps out javascript:, data:…
        raise InvalidUri("the scheme must be https, http on a loopback host, or a private one with a dot")
    elif not parts.netloc and (parts.path in {"", "/"} or not parts.path.startswith("/")):
        raise InvalidUri("a private scheme is followed by a slash and a path: com.example.app:/callback")
    elif parts.netloc:
        _check_authority(parts)
    _check_path(parts)
    if _RESPONSE_KEYS & {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}:
        raise InvalidUri("the query may not contain a parameter of the authorization response (code, state, iss, …)")
    return value


def check_origin(value: str) -> str:
    """The origin as browsers send it: scheme, host in lower case and, unless it is the default one, the port.

    Raises InvalidUri. Spec: RFC 6454 6.2.
    """
    parts = _parse(value)
    if parts.scheme not in {"http", "https"} or "*" in value:
        raise InvalidUri("an origin is https://host or, on a loopback host, http://host")
    _check_web(parts)
    if parts.path or parts.query or value != value.lower():
        raise InvalidUri("an origin is scheme, host in lower case and port, without a slash after it")
    if parts.port == {"http": 80, "https": 443}[parts.scheme]:
        raise InvalidUri("browsers leave out the default port: leave it out here too")
    return value


def check_link(value: str) -> str:
    """An http or https address that people may follow. Raises InvalidUri."""
    parts = _parse(value)
    if parts.scheme not in {"http", "https"}:
        raise InvalidUri("a link starts with https:// or http://")
    _check_authority(parts)
    return value


def check_called_uri(value: str) -> str:
    """Where Watchword calls a client (a session ended, its keys).

    It is https, or http on a loopback host or, for others, in an open network. Which addresses may be reached
    is decided at connect time, by the outbound guard. Raises InvalidUri.
    Spec: OpenID Connect Back-Channel Logout 1.0 2.2.
    """
    parts = _parse(value)
    if parts.scheme not in {"http", "https"} or "*" in value:
        raise InvalidUri("the address must start with https://, or http:// inside the setting outbound_allow")
    _check_authority(parts)
    _check_path(parts)
    return value


def check_frame_uri(value: str) -> str:
    """A page of an application that our page shows in a frame: https, or http on a loopback host. Raises InvalidUri.

    Spec: OpenID Connect Front-Channel Logout 1.0 2.
    """
    parts = _parse(value)
    if parts.scheme not in {"http", "https"} or "*" in value:
        raise InvalidUri("the address must start with https://")
    _check_web(parts)
    _check_path(parts)
    if {"iss", "sid"} & {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}:
        raise InvalidUri("the query may not contain iss or sid, which are added to it")
    return value


def origin_of(value: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URI; the default port is None."""
    parts = urlsplit(value)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), None if parts.port == default else parts.port


def check_resource(value: str) -> str:
    """The identifier of a resource server: an absolute URI of any scheme, without a fragment. Raises InvalidUri.

    Spec: RFC 8707 2.
    """
    parts = _parse(value)
    if parts.scheme in {"http", "https"}:
        _check_authority(parts)
        _check_path(parts)
    elif not parts.path and not parts.netloc:
        raise InvalidUri("the URI names nothing")
    if parts.scheme in {"javascript", "data"}:
        raise InvalidUri("this is no resource")
    return value


def check_document_url(value: str) -> str:
    """The URL of a client-ID metadata document: https, with a path, without a query. Raises InvalidUri.

    Spec: draft-ietf-oauth-client-id-metadata-document 2.
    """
    parts = _parse(value)
    if parts.scheme != "https" or not value.startswith("https://"):
        raise InvalidUri("the document must be at an https address")
    _check_authority(parts)
    _check_path(parts)
    if parts.path in {"", "/"} or "?" in value or parts.netloc != parts.netloc.lower():
        raise InvalidUri("the address of a document has a path, no query, and its host in lower case")
    return value


def check_issuer(value: str, *, allowed: Sequence[Network], demo: bool) -> str:
    """A provider's issuer identifier, without query and fragment. Raises InvalidUri. Spec: OpenID Connect Core 2."""
    check_endpoint(value, allowed=allowed, demo=demo)
    if "?" in value:
        raise InvalidUri("an issuer has no query")
    return value


def check_endpoint(value: str, *, allowed: Sequence[Network], demo: bool) -> str:
    """An address that Watchword itself will call: https, or plain http where an administrator opened a network.

    allowed: the networks of the setting `outbound_allow`.  demo: True also allows http on loopback hosts. The rule
    that counts is kept at connect time by the outbound guard; this one only says early what could never work.
    Raises InvalidUri.
    """
    parts = _parse(value)
    if parts.scheme not in {"http", "https"}:
        raise InvalidUri("the address must start with https://")
    _check_authority(parts)
    _check_path(parts)
    host = parts.hostname or ""
    on_site = (demo and host in LOOPBACK_HOSTS) or _lies_in(host, allowed)
    if parts.scheme == "http" and not on_site:
        raise InvalidUri("plain http is accepted only inside the networks of the setting outbound_allow")
    if host in LOOPBACK_HOSTS and not on_site:
        raise InvalidUri("a loopback address is accepted only when the setting outbound_allow contains it")
    return value


def matches_host(host: str, patterns: Sequence[str]) -> bool:
    """Whether a host name is one of these: `app.example.com`, `*.example.com` (below it, not itself) or `*`."""
    name = host.lower()
    return any(
        pattern in {"*", name} or (pattern.startswith("*.") and name.endswith(pattern[1:])) for pattern in patterns
    )


def _lies_in(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return bool(networks)  # a name: where it leads is known at connect time
    return any(address in network for network in networks if address.version == network.version)


def _parse(value: str) -> SplitResult:
    """The parts of a well-formed absolute URI without user and fragment."""
    if not value or len(value) > MAX_LENGTH:
        raise InvalidUri(f"a URI has 1 to {MAX_LENGTH} characters")
    if not _URI.fullmatch(value) or _PERCENT.search(value):
        raise InvalidUri("only the characters of RFC 3986 are accepted: encode the others")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise InvalidUri("this is not a URI") from error
    if not parts.scheme:
        raise InvalidUri("the URI must be absolute")
    if "#" in value:
        raise InvalidUri("a fragment is not accepted")
    if "@" in parts.netloc:
        raise InvalidUri("user information before the host is not accepted")
    if port == 0:
        raise InvalidUri("port 0 is no port")
    return parts


def _check_web(parts: SplitResult) -> None:
    _check_authority(parts)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise InvalidUri("http is accepted only for localhost, 127.0.0.1 and [::1]: use https")


def _check_authority(parts: SplitResult) -> None:
    host = parts.hostname or ""
    if not host or parts.netloc.endswith(":"):
        raise InvalidUri("the URI has no host, or an empty port")
    if "[" in parts.netloc:
        try:
            ip_address(host)
        except ValueError as error:
            raise InvalidUri("this is not an IPv6 address") from error
        if "%" in host:
            raise InvalidUri("an address with a zone means something else on each machine")
        return
    if not _HOST.fullmatch(host) or ".." in host:
        raise InvalidUri("the host is not a plain host name (no trailing dot, no percent-encoding)")
    # WHATWG URL 3.5: a host whose last label is a number is an IPv4 address, and 0x7f.1 or 2130706433 are 127.0.0.1.
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            ip_address(host)
        except ValueError as error:
            raise InvalidUri("write an IPv4 address as four decimal numbers") from error


def _check_path(parts: SplitResult) -> None:
    decoded = unquote(parts.path)
    if _CONTROL.search(decoded):
        raise InvalidUri("control characters, spaces and backslashes are not accepted, not even encoded")
    if {".", ".."} & set(decoded.split("/")):
        raise InvalidUri("dot segments are not accepted, not even encoded: browsers resolve them")
