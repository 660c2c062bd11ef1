"""What proxies that the operator named say of a connection: the client's address and its TLS certificate."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote

from starlette.types import Scope

from watchword_runtime.settings import ServiceSettings
from watchword_web.addresses import client_address, forwarded_address, is_trusted_peer

_MAX_CERTIFICATE: Final = 16 * 1024
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


class Connection(Protocol):
    """A request as far as it says where it came from."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """By name in lower case; of one that was sent several times all values, separated by commas."""

    @property
    def peer(self) -> str | None:
        """The address at the other end, None or "" for a UNIX socket."""


class Origin(NamedTuple):
    """A connection by itself."""

    headers: Mapping[bytes, bytes]
    peer: str | None


NOWHERE: Final = Origin({}, None)


def origin_of(scope: Scope) -> Origin:
    """The connection of an ASGI request."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    client = scope.get("client")
    return Origin(headers, client[0] if client else None)


class Proxies:
    """Believes what trusted proxies say, and nobody else."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._trusted = settings.trusted_proxies
        self._certificate_header = settings.client_certificate_header.lower().encode()

    def address_of(self, connection: Connection) -> str:
        """The client's address, "" when it has none."""
        return client_address(connection.headers.items(), connection.peer, self._trusted)

    def keeps_to_session(self, claims: Mapping[str, object], connection: Connection) -> bool:
        """Whether a token that is bound to the address of its session is used for that address.

        Asked where the client itself asks, from one of its networks: it says in `X-Forwarded-For` for whom. Claims that
        bind to nothing bind to nothing.
        """
        ranges = claims.get("client_ip_ranges")
        if not isinstance(ranges, list):
            return True
        address = self.address_of(connection)
        if not address or not any(ip_address(address) in ip_network(each) for each in ranges):
            return True
        forwarded = forwarded_address(connection.headers.items(), connection.peer, self._trusted)
        return forwarded != "" and forwarded == claims.get("client_ip")

    def certificate_of(self, connection: Connection) -> bytes | None:
        """The client's certificate (DER) as a trusted proxy passes it on; None for none, and from anybody else.

        Its key was proved in the TLS handshake; whether anybody vouches for its names is another question.
        """
        if not self._certificate_header:
            return None
        value = connection.headers.get(self._certificate_header)
        if not value or not is_trusted_peer(connection.peer, self._trusted):
            return None
        return read_certificate(value)


def read_certificate(value: bytes) -> bytes | None:
    """The DER in a header's value; None when it is none of the known forms.

    Those are base64 between colons (RFC 9440 2.1), plain base64, and PEM, which nginx escapes as in a URL.
    """
    if len(value) > _MAX_CERTIFICATE:
        return None
    text = value.decode("latin-1").strip()
    if "%" in text:
        text = unquote(text)
    if found := _PEM.fullmatch(text):
        text = re.sub(r"\s", "", found[1])
    elif len(text) > 1 and text[0] == text[-1] == ":":
        text = text[1:-1]
    try:
        return b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None
