"""Refusals: what is raised where a rule is broken, and what the caller is then told.

Each carries a public text that is safe to show and a private `detail` that goes to the log alone. `create_app` and
`HotPaths` turn them into answers: `OAuthError` into the JSON of RFC 6749, `Problem` into problem+json, `PageError` into
a page, and `BadRequest` (input that could not even be read) into whichever of the three the path calls for.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

import orjson
from starlette.responses import Response

from watchword_web.texts import Text

BODY_LIMIT_BYTES = 64 * 1024  # no request of ours is larger; a body is read into memory as a whole

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# RFC 6749 5.2: error_description may not hold quotes, backslashes, control or non-ASCII characters.
_NOT_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


# The type of a pydantic error that knows the place in its text: line, column and hint stand in its context.
PLACED = "placed"


class FieldError(TypedDict, total=False):
    """One entry of a problem's `errors`: a JSON pointer into the request and what is wrong there.

    line, column: the place in a text of several words, from 1.  hint: what to write instead.
    """

    pointer: str
    parameter: str
    detail: str
    line: int
    column: int
    hint: str


class BadRequest(Exception):
    """Input that could not be read. Answered with its status (a 4xx) in the shape that the path calls for."""

    status = 400
    code = "invalid_request"

    def __init__(self, description: str, detail: str = "") -> None:
        super().__init__(description)
        self.description = description
        self.detail = detail


class MalformedForm(BadRequest):
    """A form or query that is not application/x-www-form-urlencoded in UTF-8."""


class MalformedJson(BadRequest):
    """A body that is not JSON, or nested deeper than 20 levels."""


class RepeatedParameter(BadRequest):
    """A parameter that was sent twice, so that two readers could each see another value. Spec: RFC 6749 3.1."""

    def __init__(self, name: str) -> None:
        shown = name if re.fullmatch(r"[\w.\-]{1,40}", name, re.ASCII) else "a parameter"
        super().__init__(Text("%(parameter)s was sent more than once", parameter=shown))
        self.name = name


class BodyTooLarge(BadRequest):
    """A body above 64 KiB."""

    status = 413

    def __init__(self, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        super().__init__(Text("The request body is larger than %(size)s KiB", size=limit_bytes // 1024))


class OAuthError(Exception):
    """An error of a protocol endpoint, as JSON with `error` and `error_description`.

    error: the RFC's own code.  description: public.  detail: for the log alone.  headers: added to the answer; without
    a `WWW-Authenticate` among them a 401 gets the challenge that belongs to its code.
    Spec: RFC 6749 5.2; RFC 6750 3.
    """

    def __init__(
        self,
        error: str,
        description: str = "",
        status: int = 400,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = _NOT_DESCRIPTION.sub("?", description)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON document."""
        document = {"error": self.error}
        if self.description:
            document["error_description"] = self.description
        return orjson.dumps(document)

    def response(self) -> Response:
        """The whole answer, never cacheable."""
        headers = {**_NO_STORE, **self.headers}
        if not any(name.lower() == "www-authenticate" for name in headers):
            challenge = self._challenge()
            if challenge:
                headers["WWW-Authenticate"] = challenge
        return Response(self.body(), self.status, headers, "application/json")

    def _challenge(self) -> str:
        if self.error in {"invalid_token", "insufficient_scope"}:
            # RFC 6750 3: the resource tells in the challenge why it refused the bearer token.
            return f'Bearer realm="Watchword", error="{self.error}", error_description="{self.description}"'
        if self.status == 401:
            # RFC 6749 5.2: a 401 names the scheme by which the client may authenticate.
            return 'Basic realm="Watchword", charset="UTF-8"'
        return ""


def invalid_client(detail: str = "") -> OAuthError:
    """The one answer to every failed client authentication; it never says which half was wrong."""
    return OAuthError("invalid_client", "Client authentication failed", 401, detail)


def invalid_token(detail: str = "") -> OAuthError:
    """The one answer to a bearer token that is unknown, expired, revoked or not meant for us. Spec: RFC 6750 3.1."""
    return OAuthError("invalid_token", "The access token is invalid, expired or revoked", 401, detail)


def insufficient_scope(scope: str) -> OAuthError:
    """A good token that may not do this; the challenge names the scope that may. Spec: RFC 6750 3.1."""
    needed = _NOT_DESCRIPTION.sub("", scope)
    challenge = f'Bearer realm="Watchword", error="insufficient_scope", scope="{needed}"'
    return OAuthError(
        "insufficient_scope",
        f"This needs the scope {needed}",
        403,
        headers={"WWW-Authenticate": challenge},
    )


def missing_token() -> OAuthError:
    """No credential at all: a bare challenge without an error code. Spec: RFC 6750 3."""
    return OAuthError(
        "invalid_request", "An access token is needed", 401, headers={"WWW-Authenticate": 'Bearer realm="Watchword"'}
    )


class Problem(Exception):
    """An error of the administration API, as application/problem+json.

    detail: public, unlike that of the other errors.  errors: what is wrong field by field.  private: for the log alone.
    Spec: RFC 9457 3.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        private: str = "",
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.private = private

    def response(self, *, instance: str = "", reference: str = "") -> Response:
        """The whole answer, never cacheable. instance: the request's path.  reference: what the log line carries."""
        document: dict[str, object] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            document["detail"] = self.detail
        if instance:
            document["instance"] = instance
        if self.errors:
            document["errors"] = self.errors
        if reference:
            document["reference"] = reference
        headers = {"Cache-Control": "no-store", **self.headers}
        if self.status == 401 and not any(name.lower() == "www-authenticate" for name in headers):
            # RFC 9110 15.5.2: a 401 carries at least one challenge.
            headers["WWW-Authenticate"] = 'Bearer realm="Watchword"'
        return Response(orjson.dumps(document), self.status, headers, "application/problem+json")


class PageError(Exception):
    """An error that a person sees: `error.html` with `#error-code` and `#reference`.

    code: short and stable, for support and tests (`invalid_request`).  title and message: what happened, in plain
    words: literals, which are translated, or `Text` where something stands in them.  detail: for the log alone.
    advice: what the person can do, instead of the general advice.  retry: a path of ours (without the base path)
    for a button "Try again".  leave: one for a button "Back", where trying again is of no use.
    """

    def __init__(
        self,
        code: str,
        title: str,
        message: str,
        status: int = 400,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        advice: Sequence[str] = (),
        retry: str = "",
        leave: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.title = title
        self.message = message
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.advice = tuple(advice)
        self.retry = retry
        self.leave = leave
