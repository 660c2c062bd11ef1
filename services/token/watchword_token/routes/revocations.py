"""`/api/v1/{revocations,verifiers}`: what was ended, ending by hand, proof of it, and who has to follow."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from watchword_database import transaction
from watchword_events.revocations import Claim
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_token import evidence, revocations, verifiers
from watchword_token.edge import Parts
from watchword_token.evidence import Proved
from watchword_token.preview import Preview, preview
from watchword_token.revocations import NewRevocation, RevocationView, UnknownKey
from watchword_token.routes.views import Listing, RevocationListing
from watchword_token.verifiers import NewVerifier, VerifierView
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
EntryId = Annotated[int, Field(ge=1, lt=1 << 63)]
_JWS: dict[int | str, dict[str, object]] = {
    200: {"content": {evidence.MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": "A JWS in compact form"}
}


def revocation_router(parts: Parts) -> APIRouter:
    """The ledger: what was ended, and ending by hand."""
    router = APIRouter(prefix="/api/v1/revocations", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201, responses={200: {"model": Preview, "description": "With `dry_run`"}})
    async def create_revocation(
        body: NewRevocation,
        caller: administrator,
        response: Response,
        ending: Annotated[Ending, Depends(parts.endings)],
        dry_run: Annotated[bool, Query(description="Only count the live grants and sessions that would end")] = False,
    ) -> RevocationView | Preview:
        """What matches the claim is dead here before this answers, and everywhere some milliseconds later."""
        if dry_run:
            response.status_code = 200
            return await preview(parts.database, parts.pulls, body, feed=parts.feed, now=parts.now())
        try:
            async with transaction(parts.database) as session:
                entry_id = await revocations.revoke_by_hand(
                    session, body, revoking=parts.revoking, keys=parts.keys, now=parts.now()
                )
        except UnknownKey:
            raise Problem(404, "No such key", "There is no key with this kid.") from None
        if body.claim is Claim.KID:
            await parts.keys.reload()
        await ending.finish([entry_id])
        log.warning("revocation.by_hand", entry_id=entry_id, claim=body.claim.value, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/revocations/{entry_id}"
        return await _found(parts, entry_id)

    @router.get("")
    async def list_revocations(
        listing: Annotated[RevocationListing, Query()], _caller: administrator
    ) -> Page[RevocationView]:
        """Entries of the ledger, newest first."""
        before = int(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else 0
        async with transaction(parts.database) as session:
            rows = await revocations.list_revocations(session, before=before, limit=listing.limit + 1)
        shown = list(rows[: listing.limit])
        cursor = parts.cursor.make(listing.name, shown[-1].id) if len(rows) > listing.limit else None
        return Page(items=shown, next=cursor)

    @router.get("/evidence", responses=_JWS, response_class=Response)
    async def get_evidence_about_a_person(
        sub: Annotated[str, Query(min_length=1, max_length=128)], caller: administrator
    ) -> Response:
        """A signed document about everything that ended for a person, with who had applied it when."""
        ended = parts.feed.is_ended(Claim.SUB, sub)
        async with transaction(parts.database) as session:
            document = await evidence.evidence_about(
                session, sub, ended=ended, keys=parts.keys, issuer=parts.settings.issuer, now=parts.now()
            )
        log.info("evidence.given", user_id=sub, **actor(caller))
        return Response(document, media_type=evidence.MEDIA_TYPE)

    @router.get("/{entry_id}")
    async def get_revocation(entry_id: EntryId, _caller: administrator) -> Proved:
        """One entry, with who has applied it, who has not yet and who cannot be reached."""
        entry = await _found(parts, entry_id)
        async with transaction(parts.database) as session:
            return await evidence.proved(session, entry)

    @router.get("/{entry_id}/evidence", responses=_JWS, response_class=Response)
    async def get_evidence(entry_id: EntryId, caller: administrator) -> Response:
        """A signed document about one entry: what it ended, and who had applied it when."""
        entry = await _found(parts, entry_id)
        async with transaction(parts.database) as session:
            document = await evidence.evidence_of(
                session, entry, keys=parts.keys, issuer=parts.settings.issuer, now=parts.now()
            )
        log.info("evidence.given", entry_id=entry_id, **actor(caller))
        return Response(document, media_type=evidence.MEDIA_TYPE)

    return router


def verifier_router(parts: Parts) -> APIRouter:
    """Verifiers: registered ones, and those that named themselves when they reported."""
    router = APIRouter(prefix="/api/v1/verifiers")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def register_verifier(body: NewVerifier, caller: administrator, response: Response) -> VerifierView:
        """A verifier that is listed as unreachable until it reports."""
        try:
            async with transaction(parts.database) as session:
                made = await verifiers.register(session, body, now=parts.now())
        except verifiers.NameTaken:
            raise Problem(
                409, "Already taken", errors=[{"pointer": "#/name", "detail": "another verifier has this name"}]
            ) from None
        log.info("verifier.registered", verifier_id=made.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/verifiers/{made.id}"
        return made

    @router.get("")
    async def list_verifiers(listing: Annotated[Listing, Query()], _caller: administrator) -> Page[VerifierView]:
        """Verifiers with their instances, oldest first."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            rows = await verifiers.list_verifiers(session, after=after, limit=listing.limit + 1)
        shown = list(rows[: listing.limit])
        return Page(
            items=shown,
            next=parts.cursor.make(listing.name, shown[-1].id) if len(rows) > listing.limit else None,
        )

    @router.get("/{verifier_id}")
    async def get_verifier(verifier_id: Id, _caller: administrator) -> VerifierView:
        """One verifier with its instances."""
        async with transaction(parts.database) as session:
            found = await verifiers.find_verifier(session, verifier_id)
        if found is None:
            raise _no_verifier()
        return found

    @router.delete("/{verifier_id}", status_code=204)
    async def forget_verifier(verifier_id: Id, caller: administrator) -> None:
        """Nobody waits for it any more: for one that is gone, and for instances with the policy `accept` that vanished.

        One that still runs is known again under its client's name with its next report, up to a second later: until
        then a call that waits for all does not wait for it. Stop it first.
        """
        async with transaction(parts.database) as session:
            is_gone = await verifiers.forget(session, verifier_id)
        if not is_gone:
            raise _no_verifier()
        log.info("verifier.forgotten", verifier_id=verifier_id, **actor(caller))

    return router


async def _found(parts: Parts, entry_id: int) -> RevocationView:
    async with transaction(parts.database) as session:
        entry = await revocations.find_revocation(session, entry_id)
    if entry is None:
        raise Problem(404, "No such revocation", "There is no entry with this id, or it has been forgotten.")
    return entry


def _no_verifier() -> Problem:
    return Problem(404, "No such verifier", "There is no verifier with this id.")
