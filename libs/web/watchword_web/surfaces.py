"""Who asks: a person with a browser, an OAuth client, or a program that uses the API. It decides how an error looks."""

from enum import StrEnum

from starlette.types import Scope


class Surface(StrEnum):
    """The three shapes that an answer can have."""

    PAGE = "page"  # HTML for people
    OAUTH = "oauth"  # RFC 6749 JSON errors
    API = "api"  # RFC 9457 problem documents


# These are visited by browsers; everything else under /oauth2/ is for programs.
_OAUTH_PAGES = frozenset({"/oauth2/authorize", "/oauth2/authorize/answer", "/oauth2/logout"})
_API_PATHS = frozenset({"/livez", "/readyz", "/startupz", "/healthz", "/metrics", "/openapi.json", "/revocations"})
_API_PREFIXES = ("/api/v1", "/internal/", "/revocations/", "/scim/", "/static/", "/api/auth/sso/saml2/sp/metadata/")


def surface_of(path: str) -> Surface:
    """The surface that a path (without the installation's base path) belongs to; what is not known is a page."""
    if path in _OAUTH_PAGES:
        return Surface.PAGE
    if path.startswith(("/oauth2/", "/.well-known/", "/api/auth/sso/token/")):
        return Surface.OAUTH
    if path in _API_PATHS or path.startswith(_API_PREFIXES):
        return Surface.API
    return Surface.PAGE


def route_path(scope: Scope) -> str:
    """The request's path without the base path, whether or not the gateway left it in `path` (ASGI: it does)."""
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    return path[len(root_path) :] if root_path and path.startswith(f"{root_path}/") else path
