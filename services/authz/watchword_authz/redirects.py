"""Redirect URIs: whether one is registered, and who may receive what is sent there."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

# Only loopback IP literals may vary the port: `localhost` may resolve to elsewhere. The rest of the URI starts with a
# slash or a question mark, so that `http://127.0.0.1:80@evil.example/` is no loopback URI.
_LOOPBACK: Final = re.compile(
    r"(?P<host>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>[0-9]{1,5}))?(?P<rest>(?:[/?][^#\s]*)?)"
)
_HIGHEST_PORT: Final = 65_535
# Schemes that a browser runs or reads instead of navigating to; registration refuses them, and so does every use.
_NEVER: Final = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "ws", "wss", "ftp"})


def is_registered(asked: str, registered: Iterable[str]) -> bool:
    """Whether the URI equals a registered one byte for byte; a loopback IP literal may carry another port.

    Spec: RFC 9700 2.1, 4.1.3; RFC 8252 7.3, 8.3.
    """
    loopback = _without_port(asked)
    return any(asked == uri or (loopback is not None and loopback == _without_port(uri)) for uri in registered)


def _without_port(uri: str) -> tuple[str, str] | None:
    """Host and rest of a loopback URI; None for every other."""
    found = _LOOPBACK.fullmatch(uri)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) <= _HIGHEST_PORT):
        return None
    return found["host"], found["rest"]


def is_web(uri: str) -> bool:
    """Whether the URI is http or https, the only ones to which a browser may post a form."""
    return urlsplit(uri).scheme in {"http", "https"}


def is_usable(uri: str) -> bool:
    """Whether a redirect to the URI cannot run script here: the last line of defence behind registration."""
    scheme = urlsplit(uri).scheme
    return bool(scheme) and scheme not in _NEVER and "#" not in uri and uri.isprintable()


def is_claimed_by_anyone(uri: str) -> bool:
    """Whether another program on the person's device could receive what is sent there: custom scheme or loopback.

    Spec: RFC 8252 8.6.
    """
    return not is_web(uri) or _without_port(uri) is not None
