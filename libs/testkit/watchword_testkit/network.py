"""No test talks to the world: connections beyond loopback and look-ups of real names are refused."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest

# Servers that the operator of the test run named are not the world.
_SERVERS = ("WATCHWORD_TEST_POSTGRES", "WATCHWORD_TEST_NATS", "DOCKER_HOST")


class NetworkRefused(AssertionError):
    """A test tried to reach something beyond loopback."""


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Always on, for the whole session."""
    with refused_beyond_loopback():
        yield


@contextmanager
def refused_beyond_loopback() -> Iterator[None]:
    """Connections to other machines raise NetworkRefused; names that are not local do not resolve."""
    named = {urlsplit(os.environ.get(variable, "")).hostname or "" for variable in _SERVERS} - {""}
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
    reachable = set(named)

    def check(made: socket.socket, address: object) -> None:
        if made.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple):
            return
        host = str(address[0])
        if not (_is_local(host) or host in reachable):
            raise NetworkRefused(f"a test tried to connect to {host}:{address[1]}")

    def guarded_connect(self: socket.socket, address: object) -> None:
        check(self, address)
        connect(self, address)  # type: ignore[arg-type]  # whatever the caller gave, the system judges it

    def guarded_connect_ex(self: socket.socket, address: object) -> int:
        check(self, address)
        return connect_ex(self, address)  # type: ignore[arg-type]  # as above

    def guarded_getaddrinfo(host: str | bytes | None, *args: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name and not (_is_local(name) or _is_numeric(name) or name in reachable):
            raise socket.gaierror(socket.EAI_NONAME, "tests do not look up names")
        found = getaddrinfo(host, *args, **more)  # type: ignore[arg-type]  # as above
        if name in named:
            reachable.update(str(each[4][0]) for each in found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


def _is_local(host: str) -> bool:
    if host in {"", "localhost", "localhost."} or host.endswith(".localhost"):
        return True
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return host == socket.gethostname()
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def _is_numeric(host: str) -> bool:
    """Forms that the system reads as an address without asking anybody, such as 2130706433 or 0x7f.1."""
    try:
        socket.inet_aton(host)
    except OSError:
        try:
            ip_address(host.partition("%")[0])
        except ValueError:
            return False
    return True
