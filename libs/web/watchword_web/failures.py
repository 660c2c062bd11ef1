"""From an exception to an answer: one place that knows how each refusal looks on each surface, and what is logged."""

import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from watchword_web.errors import PLACED, BadRequest, FieldError, OAuthError, PageError, Problem
from watchword_web.pages import Pages
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface, route_path, surface_of
from watchword_web.texts import Text


class Trouble(StrEnum):
    """What an exception is that is no defect of ours."""

    AWAY = "away"  # a server that is needed does not answer: 503
    CONFLICT = "conflict"  # somebody changed the same at the same moment: 409


Judge = Callable[[Exception], Trouble | None]
# FileNotFoundError: the UNIX socket of a server that does not run.
_AWAY = (ConnectionError, FileNotFoundError, TimeoutError, socket.gaierror)

_LOGGED_PATH = 200
_LOGGED_FRAMES = 8

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Failure:
    status: int
    code: str
    title: str
    description: str
    errors: list[FieldError] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


def trouble_of(error: Exception) -> Trouble | None:
    """What the exception is, as far as the network tells; None for a defect."""
    # asyncio raises a plain OSError where each of several addresses refused.
    return Trouble.AWAY if isinstance(error, _AWAY) or type(error) is OSError else None


def answer(scope: Scope, error: Exception, pages: Pages, judge: Judge = trouble_of) -> Response:
    """The answer to an exception that ended a request, after one log line about it."""
    path = route_path(scope)
    surface = surface_of(path)
    match error:
        case OAuthError():
            _log_refusal(scope, surface, error.status, error.error, error.detail)
            return error.response()
        case Problem():
            _log_refusal(scope, surface, error.status, error.title, error.private)
            return error.response(instance=path, reference=reference_of(scope))
        case PageError():
            _log_refusal(scope, surface, error.status, error.code, error.detail)
            return _page(scope, pages, error)
    failure = _failure(scope, surface, error, judge)
    match surface:
        case Surface.OAUTH:
            return _oauth(failure)
        case Surface.PAGE if _wants_html(scope):
            shown = PageError(failure.code, failure.title, failure.description, failure.status, headers=failure.headers)
            return _page(scope, pages, shown)
        case _:
            problem = Problem(
                failure.status, failure.title, failure.description, errors=failure.errors, headers=failure.headers
            )
            return problem.response(instance=path, reference=reference_of(scope))


def oauth_answer(scope: Scope, error: Exception, judge: Judge = trouble_of) -> Response:
    """As `answer`, for endpoints that only ever speak JSON (the hot paths)."""
    match error:
        case OAuthError():
            _log_refusal(scope, Surface.OAUTH, error.status, error.error, error.detail)
            return error.response()
        case Problem():
            _log_refusal(scope, Surface.OAUTH, error.status, error.title, error.private)
            return error.response(instance=route_path(scope), reference=reference_of(scope))
    failure = _failure(scope, Surface.OAUTH, error, judge)
    return _oauth(failure)


def _oauth(failure: _Failure) -> Response:
    # RFC 6749 5.2 has no word for "not found"; whatever the caller got wrong is an invalid request.
    code = failure.code if failure.status >= 500 else "invalid_request"
    return OAuthError(code, failure.description, failure.status, headers=failure.headers).response()


def _failure(scope: Scope, surface: Surface, error: Exception, judge: Judge) -> _Failure:
    match error:
        case BadRequest():
            _log_refusal(scope, surface, error.status, error.code, error.detail or error.description)
            return _Failure(error.status, error.code, Text("This request cannot be read"), error.description)
        case RequestValidationError():
            _log_refusal(scope, surface, 400, "invalid_request", "")
            return _Failure(
                400, "invalid_request", Text("The request is not valid"), Text("Some fields are missing or wrong."),
                _field_errors(error, is_json=_is_json(scope)),
            )  # fmt: skip
        case HTTPException():
            return _http_failure(error)
        case _:
            return _crash(scope, surface, error, judge(error))


def _crash(scope: Scope, surface: Surface, error: Exception, trouble: Trouble | None) -> _Failure:
    match trouble:
        case Trouble.AWAY:
            _log_crash(scope, "request.unavailable", error)
            return _Failure(
                503, "temporarily_unavailable", Text("Not available at the moment"),
                Text("A server that is needed for this does not answer. Try again in a few seconds."),
                headers={"Retry-After": "2"},
            )  # fmt: skip
        case Trouble.CONFLICT if surface is not Surface.OAUTH:  # which has no word for it
            _log_crash(scope, "request.conflict", error)
            return _Failure(
                409, "conflict", Text("Changed meanwhile"),
                Text("Somebody else changed the same at the same moment. Look at what is there now, and try again."),
            )  # fmt: skip
        case _:
            _log_crash(scope, "request.failed", error)
            return _Failure(
                500, "server_error", Text("Something went wrong"),
                Text(
                    "The error is on our side and has been recorded. Reference: %(reference)s.",
                    reference=reference_of(scope),
                ),
            )  # fmt: skip


def _http_failure(error: HTTPException) -> _Failure:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return _Failure(
                404, "not_found", Text("There is nothing here"),
                Text("The address may be mistyped, or the page has moved."), headers=headers,
            )  # fmt: skip
        case 405:
            return _Failure(
                405, "invalid_request", Text("That does not work here"),
                Text("This address does not know that method."), headers=headers,
            )  # fmt: skip
        case 413:
            return _Failure(
                413, "invalid_request", Text("This request is too large"), Text("It is larger than 64 KiB.")
            )
        case status:
            title = HTTPStatus(status).phrase
            code = "server_error" if status >= 500 else "invalid_request"
            return _Failure(status, code, title, Text("The request cannot be answered."), headers=headers)


def _field_errors(error: RequestValidationError, *, is_json: bool) -> list[FieldError]:
    """Where and why, never the value: it may be a password. is_json: whether the body was said to be JSON."""
    found: list[FieldError] = []
    for item in error.errors():
        place, *rest = [str(part) for part in item["loc"]] or ["body"]
        if place == "body":
            pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in rest)
            detail = str(item["msg"]) if is_json or rest else "JSON is expected, with Content-Type: application/json"
            wrong: FieldError = {"pointer": f"#{pointer}", "detail": detail}
            if item["type"] == PLACED:
                ctx = item["ctx"]
                wrong |= {"line": ctx["line"], "column": ctx["column"], "hint": ctx["hint"]}
            found.append(wrong)
        else:
            found.append({"parameter": "/".join(rest), "detail": str(item["msg"])})
    return found


def _is_json(scope: Scope) -> bool:
    said = b"".join(value for name, value in scope["headers"] if name == b"content-type")
    return b"json" in said.lower()


def _wants_html(scope: Scope) -> bool:
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").lower()
    return b"json" not in accept or b"text/html" in accept


def _page(scope: Scope, pages: Pages, error: PageError) -> Response:
    return pages.render_error(Request(scope), error)


def _log_refusal(scope: Scope, surface: Surface, status: int, code: str, detail: str) -> None:
    log.info(
        "request.refused",
        surface=surface.value,
        status=status,
        code=code,
        detail=detail,
        path=route_path(scope)[:_LOGGED_PATH],
        reference=reference_of(scope),
    )


def _log_crash(scope: Scope, event: str, error: Exception) -> None:
    """Type and place of an exception, but not its text: messages of validators and drivers quote their input."""
    frames = traceback.extract_tb(error.__traceback__)[-_LOGGED_FRAMES:]
    cause = error.__cause__ or error.__context__
    log.error(
        event,
        error=type(error).__qualname__,
        cause=type(cause).__qualname__ if cause is not None else "",
        sqlstate=getattr(error, "sqlstate", "") or getattr(cause, "sqlstate", ""),
        frames=[f"{frame.filename.rpartition('/site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
        path=route_path(scope)[:_LOGGED_PATH],
        reference=reference_of(scope),
    )
