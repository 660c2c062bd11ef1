"""HTTP edge of `/api/v1/branding`."""

from collections.abc import Callable
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import JsonValue

from watchword_admin.branding import store
from watchword_admin.branding.changes import change_branding
from watchword_admin.branding.documents import BrandingDocument, BrandingView, document_of, view
from watchword_admin.edge import Parts, refusals
from watchword_admin.merging import merged
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.errors import FieldError, Problem
from watchword_web.forms import body_of
from watchword_web.images import MAX_BYTES, MAX_TEXT, TYPES, Image, UnusableImage

log = structlog.get_logger()

BRANDING: Final = "/api/v1/branding"
# A document with the largest logo, as text.
MAX_BODY: Final = MAX_TEXT + 16 * 1024
_FILE: Final = {
    "requestBody": {
        "required": True,
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in TYPES},
    }
}
Edit = Callable[[BrandingDocument], BrandingDocument]


def branding_router(parts: Parts) -> APIRouter:
    """`/api/v1/branding`, for administrators only."""
    router = APIRouter(prefix=BRANDING)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    async def change(caller: Caller, edit: Edit) -> BrandingView:
        with refusals("branding"):
            async with transaction(parts.database) as session:
                branding = await store.get_branding_for_change(session)
                await change_branding(session, branding, edit(document_of(branding)), now=parts.now())
                shown = view(branding, parts.settings.public_url)
        log.info("branding.changed", version=shown.version, **actor(caller))
        return shown

    @router.get("")
    async def get_branding(_caller: administrator) -> BrandingView:
        """What the installation's pages and mails look like."""
        async with transaction(parts.database) as session:
            return view(await store.get_branding(session), parts.settings.public_url)

    @router.put("")
    async def replace_branding(body: BrandingDocument, caller: administrator) -> BrandingView:
        """They look as described, everywhere within moments; what is left out returns to its default."""
        return await change(caller, lambda _: body)

    @router.patch("")
    async def update_branding(body: dict[str, JsonValue], caller: administrator) -> BrandingView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        return await change(caller, lambda before: BrandingDocument.model_validate(merged(before, body)))

    @router.put("/logo", openapi_extra=_FILE)
    async def put_logo(request: Request, caller: administrator) -> BrandingView:
        """The logo is the picture that is sent: PNG, JPEG or WebP, whatever its type says."""
        try:
            logo = Image.read(await body_of(request, MAX_BYTES)).data_url
        except UnusableImage as unusable:
            wrong = FieldError(pointer="#", detail=str(unusable))
            raise Problem(400, "The request is not valid", errors=[wrong]) from None
        return await change(caller, lambda before: before.model_copy(update={"logo": logo}))

    @router.delete("/logo")
    async def delete_logo(caller: administrator) -> BrandingView:
        """There is no logo any more but ours."""
        return await change(caller, lambda before: before.model_copy(update={"logo": None}))

    return router
