"""Names at fixed places where programs look: where one's password is changed, who signs people in here, whom to tell of
a weakness; and that search engines have nothing to look for.
"""

from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from watchword_authz.context import Context
from watchword_authz.steps import see_other
from watchword_web.errors import OAuthError

ISSUER_REL: Final = "http://openid.net/specs/connect/1.0/issuer"
_SCHEMES: Final = frozenset({"acct", "mailto", "https", "http"})
_LONGEST: Final = 512
_RELS: Final = 8
_GOOD_FOR: Final = timedelta(days=30)  # RFC 9116 2.5.5 wants less than a year; it is renewed at each request


def router(context: Context) -> APIRouter:
    """Open to everybody; nothing here says whether somebody has an account."""
    api = APIRouter(tags=["well-known"])

    @api.get("/.well-known/change-password", summary="Lead a password manager to where a password is changed")
    async def change_password() -> Response:
        return see_other(context, "/account/password")

    @api.get("/.well-known/webfinger", summary="Say who the issuer is for an account")
    async def webfinger(request: Request) -> Response:
        return issuer_of(request, context.settings.issuer)

    @api.get("/.well-known/security.txt", summary="Say whom to tell of a weakness")
    async def security_txt() -> Response:
        """Spec: RFC 9116 2.5."""
        settings = context.settings
        if not settings.security_contact:
            raise OAuthError("not_found", "This installation names nobody: WATCHWORD_SECURITY_CONTACT", 404)
        expires = (context.now() + _GOOD_FOR).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [
            f"Contact: {settings.security_contact}",
            f"Expires: {expires}",
            f"Preferred-Languages: {', '.join(context.pages.languages)}",
            f"Canonical: {settings.public_url}/.well-known/security.txt",
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    @api.get("/robots.txt", summary="Say that there is nothing here for search engines", include_in_schema=False)
    async def robots() -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    return api


def issuer_of(request: Request, issuer: str) -> Response:
    """The issuer, whoever is named: an account that exists and one that does not get the same answer.

    Raises OAuthError where no one account is named.  Spec: OpenID Connect Discovery 1.0 2.1.
    """
    named = request.query_params.getlist("resource")
    rels = request.query_params.getlist("rel")
    resource = named[0] if len(named) == 1 else ""
    if not _is_account(resource) or len(rels) > _RELS:
        raise OAuthError("invalid_request", "resource must be one URI: acct:, mailto: or https:")
    links = [{"rel": ISSUER_REL, "href": issuer}] if not rels or ISSUER_REL in rels else []
    return JSONResponse(
        {"subject": resource, "links": links},
        media_type="application/jrd+json",
        headers={"Access-Control-Allow-Origin": "*"},  # RFC 7033 5: scripts of everybody may ask
    )


def _is_account(resource: str) -> bool:
    if not 0 < len(resource) <= _LONGEST or not resource.isprintable() or " " in resource:
        return False
    try:
        parts = urlsplit(resource)
        if parts.scheme not in _SCHEMES:
            return False
        if parts.scheme in {"acct", "mailto"}:
            return not parts.netloc and all(parts.path.rpartition("@")[::2])
        return bool(parts.hostname)
    except ValueError:
        return False
