"""What the hot endpoints share: limits, one look at the headers, a form, an answer. Why: docs/performance.md."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from watchword_runtime.clock import Clock
from watchword_runtime.troubles import trouble_of
from watchword_token.reply import Reply
from watchword_token.throttle import GUESSES, Throttle
from watchword_web.cors import IsAllowed, WithCors
from watchword_web.errors import BODY_LIMIT_BYTES, BodyTooLarge, OAuthError
from watchword_web.failures import Trouble, oauth_answer
from watchword_web.forms import Params, check_form_type, parse_form
from watchword_web.hot import header, method_not_allowed, read_body, send_json, send_private

Headers = Mapping[bytes, bytes]

FORM_TYPE: Final = b"application/x-www-form-urlencoded"
# Sent twice, each reader could see another one.
_ONCE: Final = (b"authorization", b"content-type", b"content-length")
NO_FORM: Final[Params] = {}


class Asked(NamedTuple):
    """A request, read once."""

    authorization: bytes | None
    form: Params
    now_s: float
    method: str
    headers: Headers
    peer: str | None
    query: bytes = b""


Answer = Callable[[Asked], Awaitable[bytes | Reply]]


class HotEndpoint:
    """An ASGI endpoint whose answers are JSON, with limits per address and, where origins are given, CORS."""

    __slots__ = ("_cors", "_form_needed", "_methods", "_now", "_throttle", "answer")

    def __init__(
        self,
        answer: Answer,
        *,
        throttle: Throttle,
        now: Clock,
        methods: tuple[str, ...] = ("POST",),
        is_allowed: IsAllowed | None = None,
    ) -> None:
        self.answer = answer
        self._throttle = throttle
        self._now = now
        self._methods = methods
        self._form_needed = methods == ("POST",)
        self._cors = WithCors(self._serve_anyhow, is_allowed, methods) if is_allowed is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self._cors is not None and (b"origin" in headers or scope["method"] == "OPTIONS"):
            await self._cors(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve_anyhow(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refusals are answered here, inside the CORS headers, so that an application in a browser can read them."""
        try:
            await self._serve(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:  # the edge of cross-origin requests: nothing leaves as a closed connection
            await oauth_answer(scope, error)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = read_headers(scope)
        method = scope["method"]
        if method not in self._methods:
            raise method_not_allowed(*self._methods)
        now_s = self._now().timestamp()
        address = self._throttle.enter(scope, now_s)
        form = NO_FORM
        if method == "POST" and (self._form_needed or b"content-type" in headers):
            form = await read_form(headers, scope, receive)
        try:
            answer = await self.answer(
                Asked(headers.get(b"authorization"), form, now_s, method, headers, _peer(scope), scope["query_string"])
            )
        except OAuthError as error:
            if error.error in GUESSES:
                self._throttle.failed(address, now_s)
            raise
        except Exception as error:
            if trouble_of(error) is not Trouble.AWAY:
                raise
            raise ConnectionError(type(error).__name__) from error
        if isinstance(answer, bytes):
            await send_json(send, answer)
        else:
            await send_private(send, answer.body, answer.media_type, headers=answer.headers)


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def read_headers(scope: Scope) -> Headers:
    """The headers by name; what was sent several times, with commas. Raises BadRequest for those that decide a lot."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        for name in _ONCE:
            header(scope, name)
        headers = {}
        for name, value in pairs:  # RFC 9110 5.3; two DPoP proofs are so none (RFC 9449 4.3)
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


async def read_form(headers: Headers, scope: Scope, receive: Receive) -> Params:
    """The form of a request. Raises BadRequest for any other body. Spec: RFC 6749 3.2, B."""
    content_type = headers.get(b"content-type", b"")
    if content_type != FORM_TYPE:
        check_form_type(content_type.decode("latin-1"))
    # Nearly every form arrives in one piece.
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > BODY_LIMIT_BYTES:
            raise BodyTooLarge
        return parse_plain_form(body)
    return parse_form(await read_body(scope, _again(message, receive)))


def _again(first: Mapping[str, object], receive: Receive) -> Receive:
    """A receive that gives back what was already received."""
    given = False

    async def receive_again() -> Mapping[str, object]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return receive_again  # type: ignore[return-value]  # a message is a mapping; nobody changes it


def parse_plain_form(body: bytes) -> Params:
    """As `parse_form`, three times as fast for a form without escapes, repetitions or empty values; most are."""
    if b"%" in body or b"+" in body or b"\0" in body or not body.isascii():
        return parse_form(body)
    pairs = body.decode("ascii").split("&")
    form = {pair[0]: pair[2] for pair in [pair.partition("=") for pair in pairs]}
    if len(form) != len(pairs) or len(pairs) > _MANY or "" in form or "" in form.values():
        return parse_form(body)
    return form


_MANY: Final = 20
