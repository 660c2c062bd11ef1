"""The address on this machine to which a browser brings, or posts, the authorization response."""

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Final
from urllib.parse import parse_qs, urlsplit

PATH: Final = "/oauth/callback"
PORT: Final = 31111
_LONGEST_FORM: Final = 64 * 1024
_DONE: Final = b"You are signed in. Close this window and go back to the terminal.\n"
_ANOTHER: Final = b"This is not the answer that is waited for.\n"


class Loopback:
    """Listens on 127.0.0.1 alone: at the usual port, or at any free one while that is taken.

    Spec: RFC 8252 7.3, 8.3.
    """

    def __init__(self, host: str = "http://127.0.0.1", port: int = PORT) -> None:
        """host: what the provider knows this machine by; another is needed where it refuses addresses."""
        self._found: dict[str, str] | None = None
        self._expects: Callable[[dict[str, str]], bool] = lambda _given: False
        try:
            self._server = HTTPServer(("127.0.0.1", port), self._handler())
        except OSError:
            self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self._server.timeout = 1.0
        self.redirect_uri = f"{host.rstrip('/')}:{self._server.server_port}{PATH}"

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._server.server_close()

    def response(self, expects: Callable[[dict[str, str]], bool], patience_s: float) -> dict[str, str] | None:
        """The first response that is expected; others are turned away. None when there was none in time."""
        self._expects = expects
        until = time.monotonic() + patience_s
        while self._found is None and time.monotonic() < until:
            self._server.handle_request()
        return self._found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # who connects and says nothing does not keep the browser waiting

            def do_GET(self) -> None:
                self._take(urlsplit(self.path).query)

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdecimal() or int(length) > _LONGEST_FORM:
                    self.send_error(413)
                    return
                self._take(self.rfile.read(int(length)).decode("ascii", "replace"))

            def _take(self, parameters: str) -> None:
                values = parse_qs(parameters, keep_blank_values=True, max_num_fields=20)
                given = {name: found[0] for name, found in values.items() if len(found) == 1}
                is_it = urlsplit(self.path).path == PATH and loopback._expects(given)
                if is_it and loopback._found is None:
                    loopback._found = given
                self.send_response(200 if is_it else 400)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(_DONE if is_it else _ANOTHER)

            def log_message(self, *_said: object) -> None:
                """Nothing: the address holds the code."""

        return Handler


def is_safe(url: str) -> bool:
    """Whether tokens may be sent there: with TLS, or without leaving this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"}
