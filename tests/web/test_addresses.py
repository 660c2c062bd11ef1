"""The client's address comes from the peer, and from X-Forwarded-For only where a trusted proxy wrote it."""

from ipaddress import ip_network

import pytest

from watchword_web.addresses import address_prefix, client_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def _xff(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


@pytest.mark.row(50)
@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        pytest.param("192.0.2.1", [], "192.0.2.1", id="direct"),
        pytest.param("192.0.2.1", _xff("10.9.9.9"), "192.0.2.1", id="direct with a forged header"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="proxy itself"),
        pytest.param("10.0.0.1", _xff("198.51.100.7"), "198.51.100.7", id="one hop"),
        pytest.param("10.0.0.1", _xff("1.2.3.4, 198.51.100.7"), "198.51.100.7", id="client prepended a hop"),
        pytest.param("10.0.0.1", _xff("10.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7", id="rightmost untrusted"),
        pytest.param("10.0.0.1", _xff("1.2.3.4", "198.51.100.7"), "198.51.100.7", id="two header lines"),
        pytest.param("10.0.0.1", _xff("10.0.0.3, 10.0.0.2"), "10.0.0.3", id="all trusted"),
        pytest.param("10.0.0.1", _xff("1.2.3.4, garbage"), "10.0.0.1", id="garbage ends the walk"),
        pytest.param("10.0.0.1", _xff("1.2.3.4, "), "10.0.0.1", id="empty hop"),
        pytest.param("10.0.0.1", _xff("unknown"), "10.0.0.1", id="unknown"),
        pytest.param("10.0.0.1", _xff("198.51.100.7:4711"), "198.51.100.7", id="IPv4 with port"),
        pytest.param("10.0.0.1", _xff("[2001:db8::7]:4711"), "2001:db8::7", id="IPv6 with port"),
        pytest.param("10.0.0.1", _xff("2001:DB8::7"), "2001:db8::7", id="IPv6"),
        pytest.param("10.0.0.1", _xff("::ffff:198.51.100.7"), "198.51.100.7", id="mapped hop"),
        pytest.param("::ffff:10.0.0.1", _xff("198.51.100.7"), "198.51.100.7", id="mapped proxy"),
        pytest.param("::ffff:192.0.2.1", _xff("198.51.100.7"), "192.0.2.1", id="mapped peer"),
        pytest.param("fd00::1", _xff("198.51.100.7"), "198.51.100.7", id="IPv6 proxy"),
        pytest.param("10.0.0.1", [(b"forwarded", b"for=1.2.3.4")], "10.0.0.1", id="Forwarded is not read"),
        pytest.param("10.0.0.1", [(b"x-real-ip", b"1.2.3.4")], "10.0.0.1", id="X-Real-IP is not read"),
        pytest.param("10.0.0.1", _xff("1.2.3.4\xff"), "10.0.0.1", id="bytes that are no text"),
        pytest.param("fe80::1%eth0", [], "fe80::1", id="zone"),
        pytest.param(None, _xff("1.2.3.4"), "", id="UNIX socket"),
        pytest.param("testclient", _xff("1.2.3.4"), "", id="no address at all"),
    ],
)
def test_client_address(peer: str | None, headers: list[tuple[bytes, bytes]], expected: str) -> None:
    assert client_address(headers, peer, PROXIES) == expected


@pytest.mark.row(50)
def test_without_trusted_proxies_no_header_counts() -> None:
    assert client_address(_xff("1.2.3.4"), "10.0.0.1", []) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_an_ipv6_household_is_limited_as_one(address: str, prefix: str) -> None:
    assert address_prefix(address) == prefix
