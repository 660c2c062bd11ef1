"""Which address a request came from, believing only proxies that the operator named."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address

UNKNOWN = ""  # the peer of a UNIX socket has no address


def client_address(
    headers: Iterable[tuple[bytes, bytes]],
    peer: str | None,
    trusted_proxies: Sequence[IPv4Network | IPv6Network],
) -> str:
    """The address of the client: the peer itself unless it is a trusted proxy, then the rightmost hop that is not one.

    headers: those of the ASGI scope.  peer: `scope["client"][0]`, None on a UNIX socket, which gives "".
    `X-Forwarded-For` from anybody else, `Forwarded` and `X-Real-IP` change nothing. A hop that is no address ends the
    walk at the proxy that reported it. IPv4 addresses mapped into IPv6 come back as IPv4.
    """
    address = _parse(peer or "")
    if address is None:
        return UNKNOWN
    if not _is_trusted(address, trusted_proxies):
        return str(address)
    return str(_walk(address, _hops(headers), trusted_proxies)[0])


def forwarded_address(
    headers: Iterable[tuple[bytes, bytes]],
    peer: str | None,
    trusted_proxies: Sequence[IPv4Network | IPv6Network],
) -> str:
    """The address for which the client itself says that it asks: the hop before its own; "" when it says none.

    Worth what the client is worth. Arguments as of `client_address`.
    """
    client = _parse(peer or "")
    if client is None:
        return UNKNOWN
    _, hops = _walk(client, _hops(headers), trusted_proxies)
    address = _parse(hops[-1]) if hops else None
    return UNKNOWN if address is None else str(address)


def _hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    return [
        hop.strip()
        for name, value in headers
        if name.lower() == b"x-forwarded-for"
        for hop in value.decode("latin-1").split(",")
    ]


def _walk(
    address: IPAddress, hops: list[str], trusted_proxies: Sequence[IPv4Network | IPv6Network]
) -> tuple[IPAddress, list[str]]:
    """The client's address, and the hops that are left before it."""
    while hops and _is_trusted(address, trusted_proxies):
        before = _parse(hops[-1])
        if before is None:
            break
        address = before
        hops.pop()
    return address, hops


def is_trusted_peer(peer: str | None, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer is a proxy that the operator named."""
    address = _parse(peer or "")
    return address is not None and _is_trusted(address, trusted_proxies)


def address_prefix(address: str) -> str:
    """The key under which an address is limited: IPv4 as it is, IPv6 as its /64, which one household owns whole."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def _parse(text: str) -> IPAddress | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]  # [2001:db8::1]:4711
    elif text.count(":") == 1:
        text = text.partition(":")[0]  # 192.0.2.1:4711
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_trusted(address: IPAddress, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
