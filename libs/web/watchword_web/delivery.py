"""How an answer reaches an application through the browser: in the query, in the fragment, or posted."""

from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from watchword_web.pages import Pages


class Way(StrEnum):
    """Where the parameters of an answer stand. Spec: OAuth 2.0 Multiple Response Type Encoding Practices 2.1."""

    QUERY = "query"
    FRAGMENT = "fragment"
    FORM_POST = "form_post"


def deliver(pages: Pages, request: Request, way: Way, redirect_uri: str, params: Mapping[str, str]) -> Response:
    """The parameters on their way to a registered redirect URI.

    Spec: OAuth 2.0 Form Post Response Mode 2; RFC 9700 4.12 (303, never 307: a password must not be posted on).
    """
    match way:
        case Way.QUERY:
            return RedirectResponse(with_params(redirect_uri, params), 303)
        case Way.FRAGMENT:
            return RedirectResponse(with_fragment(redirect_uri, params), 303)
        case Way.FORM_POST:
            return pages.render_form_post(request, redirect_uri, params)


def with_params(uri: str, params: Mapping[str, str]) -> str:
    """The URI with the parameters added to its query, and otherwise as it was registered. Spec: RFC 6749 4.1.2."""
    joint = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    return uri + joint + urlencode(params)


def with_fragment(uri: str, params: Mapping[str, str]) -> str:
    """The URI, which has no fragment, with the parameters in one. Spec: RFC 6749 4.2.2."""
    return f"{uri}#{urlencode(params)}"
