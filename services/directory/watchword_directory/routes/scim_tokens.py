"""`/api/v1/scim-tokens`: with what other systems push people and groups, and what they were refused."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response

from watchword_database import Session, transaction
from watchword_directory import organization_table, scim_tokens
from watchword_directory.edge import Listing, Parts
from watchword_directory.refusals import refusals
from watchword_directory.scim_token_documents import (
    CreatedScimToken,
    NewScimToken,
    ScimFailureView,
    ScimTokenView,
    failure_view,
    token_view,
)
from watchword_directory.texts import Id
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page
from watchword_web.errors import Problem

log = structlog.get_logger()


class ScimTokenListing(Listing):
    """Tokens, of one organization or one provider."""

    organization: Id | None = None
    provider_id: Id | None = None


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators."""
    router = APIRouter(prefix="/api/v1/scim-tokens")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    async def organization_meant(session: Session, body: NewScimToken) -> str | None:
        """The organization of a new token, by its id. Raises Problem, UnknownOrganization."""
        of_provider = None
        if body.provider_id is not None:
            provider = await parts.providers.get(body.provider_id)
            if provider is None:
                raise _wrong("#/provider_id", "there is no such provider")
            of_provider = provider.organization
        meant = of_provider if body.organization is None else body.organization
        if meant is None:
            return None
        named = (await organization_table.get_organization(session, meant)).id
        if body.provider_id is not None and named != of_provider:
            raise _wrong("#/organization", "the provider does not belong to it")
        return named

    @router.post("", status_code=201)
    async def create_scim_token(body: NewScimToken, caller: administrator, response: Response) -> CreatedScimToken:
        """A new token; its text is in this answer and nowhere else."""
        with refusals("SCIM token"):
            rev = parts.feed.position
            async with transaction(parts.database) as session:
                organization_id = await organization_meant(session, body)
                token, shown = scim_tokens.create_token(
                    session,
                    name=body.name,
                    organization_id=organization_id,
                    provider_id=body.provider_id,
                    created_by=caller.user_id or caller.client_id,
                    rev=rev,
                    expires_at=body.expires_at,
                    now=parts.now(),
                )
                view = token_view(token)
        log.info("scim_token.created", token_id=view.id, organization_id=organization_id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/scim-tokens/{view.id}"
        return CreatedScimToken(token=shown, **view.model_dump())

    @router.get("")
    async def list_scim_tokens(
        listing: Annotated[ScimTokenListing, Query()], _caller: administrator
    ) -> Page[ScimTokenView]:
        """Tokens that were not revoked, oldest first."""
        async with transaction(parts.database) as session:
            found = await scim_tokens.list_tokens(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                organization_id=listing.organization,
                provider_id=listing.provider_id,
            )
        shown = found[: listing.limit]
        more = len(found) > listing.limit
        return Page(
            items=[token_view(token) for token in shown],
            next=parts.cursor.make(listing.name, shown[-1].id) if more else None,
        )

    @router.get("/{token_id}")
    async def get_scim_token(token_id: Id, _caller: administrator) -> ScimTokenView:
        """One token."""
        with refusals("SCIM token"):
            async with transaction(parts.database) as session:
                return token_view(await scim_tokens.get_token(session, token_id))

    @router.get("/{token_id}/failures")
    async def list_scim_failures(
        token_id: Id, _caller: administrator, limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    ) -> Page[ScimFailureView]:
        """What it was refused lately, the newest first."""
        with refusals("SCIM token"):
            async with transaction(parts.database) as session:
                token = await scim_tokens.get_token(session, token_id)
                found = await scim_tokens.list_failures(session, token.id)
        return Page(items=[failure_view(failure) for failure in found[:limit]], next=None)

    @router.delete("/{token_id}", status_code=204)
    async def revoke_scim_token(token_id: Id, caller: administrator) -> None:
        """Whoever has it is refused from now on."""
        with refusals("SCIM token"):
            async with transaction(parts.database) as session:
                await scim_tokens.revoke_token(session, token_id, now=parts.now())
        log.info("scim_token.revoked", token_id=token_id, **actor(caller))

    return [router]


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem(400, "The request is not valid", errors=[{"pointer": pointer, "detail": detail}])
