"""The only HTTP client for addresses that others chose: guarded at connect time, capped, without redirects.

Who may configure a provider or register a client must not be able to reach what stands beside Watchword. The guard
checks the addresses of the connection itself, so a name that resolves differently a moment later gains nothing.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import httpcore2
import httpx2
import orjson
from pydantic import JsonValue

from watchword_runtime.settings import Network, ServiceSettings

MAX_BYTES: Final = 256 * 1024
DEADLINE_S: Final = 10.0  # for a whole exchange: a server that sends a byte a second holds nothing up
STEP_S: Final = 5.0  # for connecting and for each read

# Not `ipaddress.is_global`: it called 192.0.0.0/24, 2002::/16 and all of multicast global until 3.11.10.
_DENIED_V4: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6: Final = ip_network("2000::/3")  # everything else is local, multicast or unassigned
_DENIED_V6: Final = tuple(ip_network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_MAPPED: Final = tuple(IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96"))
_LOOPBACK: Final[tuple[Network, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_LOW_PORTS: Final = frozenset({80, 443})  # below 1024 nothing else speaks HTTP; 22, 25 or 53 must not be spoken to


class Blocked(httpx2.TransportError):
    """The address is not one that outgoing requests may reach."""


class BadAnswer(httpx2.TransportError):
    """The answer is too large, too slow, compressed, of another type, a redirect or an error."""


def may_reach(address: str, allowed: Iterable[Network], *, only_allowed: bool = False) -> bool:
    """Whether a connection to this address may be made. allowed: networks that are private and yet meant.

    only_allowed: public addresses are refused too, as they are for plain http.
    """
    try:
        ip = _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if any(ip in network for network in allowed):
        return True
    if only_allowed:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _DENIED_V4)
    return ip in _GLOBAL_V6 and not any(ip in network for network in _DENIED_V6)


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv4-mapped or NAT64 address leads to."""
    if isinstance(ip, IPv6Address) and any(ip in network for network in _MAPPED):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


class _Guard(httpcore2.AsyncNetworkBackend):
    """Connects only where every address of the host may be reached, and to one of those very addresses."""

    def __init__(self, allowed: tuple[Network, ...], *, only_allowed: bool) -> None:
        self._allowed = allowed
        self._only_allowed = only_allowed
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first address that answers; the certificate is still checked against the host."""
        if port < 1024 and port not in _LOW_PORTS:
            raise Blocked(f"port {port} may not be reached")
        addresses = await _resolve(host, port, timeout)
        if not addresses or not all(
            may_reach(address, self._allowed, only_allowed=self._only_allowed) for address in addresses
        ):
            raise Blocked(f"{host} may not be reached")
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(host)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Never."""
        raise Blocked("UNIX sockets may not be reached")

    async def sleep(self, seconds: float) -> None:
        """The pool's way to wait between retries."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int, timeout: float | None) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise httpcore2.ConnectError(f"{host} does not resolve") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Capped(httpx2.AsyncByteStream):
    """An answer's body that ends in an error beyond the cap or the deadline."""

    def __init__(self, body: httpx2.AsyncByteStream, deadline: float) -> None:
        self._body = body
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        chunks = aiter(self._body)
        while True:
            try:
                async with asyncio.timeout(self._deadline - time.monotonic()):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise BadAnswer(f"the answer took longer than {DEADLINE_S:g} s") from None
            size += len(chunk)
            if size > MAX_BYTES:
                raise BadAnswer(f"the answer is longer than {MAX_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


class _Transport(httpx2.AsyncBaseTransport):
    """https to public and allowed addresses, plain http to allowed ones only."""

    def __init__(
        self,
        allowed: tuple[Network, ...],
        ca_file: Path | None,
        authorities: str | None = None,
        *,
        unverified: bool = False,
    ) -> None:
        self._allowed, self._ca_file, self._authorities, self._unverified = allowed, ca_file, authorities, unverified
        plain = _guarded(_Guard(allowed, only_allowed=True), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._by_scheme = {"http": plain}
        if ca_file is not None:
            self._inner("https")  # a file that cannot be used stops the start

    def _inner(self, scheme: str) -> httpx2.AsyncHTTPTransport | None:
        """The transport of a scheme; TLS is set up at its first use, because the authorities take 6 MB of memory."""
        if scheme == "https" and scheme not in self._by_scheme:
            guard = _Guard(self._allowed, only_allowed=False)
            self._by_scheme[scheme] = _guarded(guard, self._tls())
        return self._by_scheme.get(scheme)

    def _tls(self) -> ssl.SSLContext:
        if self._unverified:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        return _tls(self._ca_file) if self._authorities is None else tls_of(self._authorities)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        inner = self._inner(request.url.scheme)
        if inner is None:
            raise Blocked(f"scheme {request.url.scheme!r} may not be used", request=request)
        if request.url.userinfo:
            raise Blocked("an address with a user or password may not be used", request=request)
        deadline = time.monotonic() + DEADLINE_S
        # A compressed body could unfold to any size behind the cap.
        request.headers["Accept-Encoding"] = "identity"
        request.extensions = {
            **request.extensions,
            "timeout": {"connect": STEP_S, "read": STEP_S, "write": STEP_S, "pool": STEP_S},
        }
        try:
            async with asyncio.timeout(DEADLINE_S):
                response = await inner.handle_async_request(request)
        except TimeoutError:
            raise BadAnswer(f"no answer within {DEADLINE_S:g} s", request=request) from None
        complaint = _complaint(response)
        if complaint or not isinstance(response.stream, httpx2.AsyncByteStream):
            await response.aclose()
            raise BadAnswer(complaint, request=request)
        response.stream = _Capped(response.stream, deadline)
        return response

    async def aclose(self) -> None:
        for inner in self._by_scheme.values():
            await inner.aclose()


def _complaint(response: httpx2.Response) -> str:
    """What is wrong with an answer's headers, or ""."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return "the answer is compressed, although that was not asked for"
    length = response.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BYTES:
        return f"the answer is longer than {MAX_BYTES} bytes"
    return ""


def _guarded(guard: _Guard, context: ssl.SSLContext) -> httpx2.AsyncHTTPTransport:
    inner = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, retries=0)
    # httpx2 offers no argument for the network backend; the pool that it makes does.
    inner._pool = httpcore2.AsyncConnectionPool(ssl_context=context, retries=0, network_backend=guard)
    return inner


def transport(
    settings: ServiceSettings, *, authorities: str | None = None, unverified: bool = False
) -> httpx2.AsyncBaseTransport:
    """The guarded transport: for libraries that make their own client. Close it with that client.

    authorities: certificates in PEM, by one of which alone a server may be vouched for.  unverified: any certificate
    is accepted, which is for development alone.
    """
    allowed = tuple(settings.outbound_allow)
    if settings.environment == "demo":
        allowed += _LOOPBACK  # the demo's upstream provider listens there, without TLS
    return _Transport(allowed, settings.outbound_ca_file, authorities, unverified=unverified)


@lru_cache(maxsize=4)
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = httpcore2.default_ssl_context(_trust_env=False)
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise SystemExit(f"WATCHWORD_OUTBOUND_CA_FILE: cannot use {ca_file}: {error}. Name a PEM file.") from None
    return context


def tls_of(authorities: str) -> ssl.SSLContext:
    """What verifies servers by these certificates (PEM) alone. Raises ssl.SSLError (an OSError) for anything else."""
    if not authorities.isascii():
        raise ssl.SSLError("PEM is ASCII")  # said so by a TypeError otherwise
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authorities)
    return context


def is_unknown_authority(error: BaseException | None) -> bool:
    """Whether a request failed because nobody that we trust vouches for the server's certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def client(
    settings: ServiceSettings, *, authorities: str | None = None, unverified: bool = False
) -> httpx2.AsyncClient:
    """A client whose connections are checked when they are made; close it at the end.

    authorities, unverified: as of `transport`.
    """
    return httpx2.AsyncClient(
        transport=transport(settings, authorities=authorities, unverified=unverified),
        follow_redirects=False,
        trust_env=False,
        timeout=httpx2.Timeout(STEP_S),
    )


async def fetch_json(
    client: httpx2.AsyncClient, url: str, headers: Mapping[str, str] | None = None
) -> dict[str, JsonValue]:
    """The JSON object at a URL. Raises Blocked, BadAnswer, or httpx2.HTTPError when nobody answers."""
    return json_object(await fetch(client, url, headers))


async def fetch(client: httpx2.AsyncClient, url: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    """A successful answer that says it is JSON. Raises as `fetch_json`."""
    try:
        response = await client.get(url, headers={"Accept": "application/json", **(headers or {})})
    except httpx2.InvalidURL:
        raise Blocked("this is no URL") from None
    if response.status_code != httpx2.codes.OK:
        raise BadAnswer(f"answered {response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/json", "application/jwk-set+json"} and not kind.endswith("+json"):
        raise BadAnswer(f"answered with content type {kind[:64]!r}, not JSON")
    return response


def json_object(response: httpx2.Response) -> dict[str, JsonValue]:
    """The JSON object of an answer. Raises BadAnswer."""
    try:
        parsed: Any = orjson.loads(response.content)
    except orjson.JSONDecodeError:  # also for nesting beyond 1024 levels
        raise BadAnswer("answered with something that is not JSON") from None
    if not isinstance(parsed, dict):
        raise BadAnswer("answered with JSON that is not an object")
    return parsed
