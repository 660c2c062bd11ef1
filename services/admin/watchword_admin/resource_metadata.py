"""Where clients find out who makes tokens for a resource: for our own API, and for the resource servers that are known.

A resource server serves its own document (`watchword_verifier.ProtectedResource`); one that cannot names ours in its
challenges: `…/.well-known/oauth-protected-resource?resource=<identifier>`. One whose identifier lies at our own origin
is found by its path.

Spec: RFC 9728 3.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from watchword_admin.edge import Parts
from watchword_admin.models import Resource
from watchword_admin.scopes import store
from watchword_admin.scopes.documents import ResourceDocument, resource_of
from watchword_database import transaction
from watchword_policy.scopes import ADMIN_SCOPE, EVENTS_SCOPE
from watchword_runtime.callers import RESOURCE_METADATA
from watchword_web.errors import OAuthError
from watchword_web.forms import read_query

_HEADERS: Final = {"Cache-Control": "public, max-age=3600"}


def metadata_router(parts: Parts) -> APIRouter:
    """`/.well-known/oauth-protected-resource`, for everybody."""
    router = APIRouter(prefix=RESOURCE_METADATA, tags=["metadata"])
    issuer = parts.settings.issuer

    async def answer(identifier: str) -> Response:
        if identifier == issuer:
            return JSONResponse(own_metadata(issuer), headers=_HEADERS)
        async with transaction(parts.database) as session:
            found = await store.find_by_name(session, Resource, identifier)
        if found is None:
            raise OAuthError("invalid_request", "There is no such resource here", 404)
        return JSONResponse(metadata_of(resource_of(found), issuer), headers=_HEADERS)

    @router.get("", summary="Who makes tokens for this API, or for a resource server")
    async def get_protected_resource_metadata(
        request: Request, resource: Annotated[str | None, Query(max_length=255)] = None
    ) -> Response:
        read_query(request)
        return await answer(issuer if resource is None else resource)

    # RFC 9728 3.1: the path of the resource comes behind the well-known name.
    @router.get("/{path:path}", include_in_schema=False)
    async def get_resource_metadata_by_path(path: str) -> Response:
        return await answer(f"{parts.settings.origin}/{path}")

    return router


def metadata_of(resource: ResourceDocument, issuer: str) -> dict[str, Any]:
    """What is known of a resource server. Spec: RFC 9728 2."""
    said: dict[str, Any] = {
        "resource": resource.identifier,
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": resource.name,
    }
    if resource.scopes:
        said["scopes_supported"] = list(resource.scopes)
    return said


def own_metadata(issuer: str) -> dict[str, Any]:
    """What our own API says about itself. Spec: RFC 9728 2."""
    return {
        "resource": issuer,
        "authorization_servers": [issuer],
        "scopes_supported": [ADMIN_SCOPE, EVENTS_SCOPE],
        "bearer_methods_supported": ["header"],
        "resource_name": "Watchword administration",
    }
