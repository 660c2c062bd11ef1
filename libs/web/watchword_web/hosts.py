"""Under which name a page was opened, and whether that is the installation's public one."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from watchword_web.addresses import is_trusted_peer
from watchword_web.settings import WebSettings
from watchword_web.surfaces import route_path

_HOST = re.compile(r"(?:[a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


def seen_host(scope: Scope, settings: WebSettings) -> str:
    """The host (and port, unless it is the scheme's own) that the browser asked for; "" when it is unreadable.

    `X-Forwarded-Host` counts only from a trusted proxy. It decides nothing but which page is shown: links, cookies and
    the issuer come from the settings.
    """
    names = [value for name, value in scope["headers"] if name == b"host"]
    client = scope.get("client")
    if is_trusted_peer(client[0] if client else None, settings.trusted_proxies):
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-host"]
        names = forwarded or names
    if len(names) != 1:
        return ""
    host = names[0].decode("latin-1").lower()
    if not _HOST.fullmatch(host):
        return ""
    return _without_default_port(host, settings)


def is_public_host(host: str, settings: WebSettings) -> bool:
    """Whether a `seen_host` is that of the public URL."""
    return host == _public_host(settings)


def loopback_redirect(scope: Scope, host: str, settings: WebSettings) -> str | None:
    """Where to send a reader who used another loopback name of the right port, None when that is not what happened.

    `http://127.0.0.1:8080` and `http://localhost:8080` are the same machine, but not the same cookies.
    """
    public = _public_host(settings)
    if scope["method"] not in {"GET", "HEAD"} or not (_is_loopback(host) and _is_loopback(public)):
        return None
    if _port(host) != _port(public):
        return None
    query: bytes = scope["query_string"]
    raw_path: bytes = scope.get("raw_path") or route_path(scope).encode()
    path = raw_path.decode("latin-1").partition("?")[0].removeprefix(settings.base_path)
    suffix = f"?{query.decode('latin-1')}" if query else ""
    return f"{settings.public_url}{path}{suffix}"


def _public_host(settings: WebSettings) -> str:
    return _without_default_port(urlsplit(settings.origin).netloc.lower(), settings)


def _without_default_port(host: str, settings: WebSettings) -> str:
    return host.removesuffix(":443" if settings.secure else ":80")


def _name(host: str) -> str:
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def _port(host: str) -> str:
    return host.rpartition(":")[2] if re.search(r":[0-9]+$", host) else ""


def _is_loopback(host: str) -> bool:
    name = _name(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
