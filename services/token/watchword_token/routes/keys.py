"""`/api/v1/keys`: which keys there are, rotating them, and revoking one in an emergency."""

from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlmodel import col, select

from watchword_database import Session, transaction
from watchword_events.revocations import Claim
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_token.edge import Parts
from watchword_token.key_material import OPAQUE_ALG, SIGNING_ALGS, Alg
from watchword_token.key_table import waiting_for
from watchword_token.models import Key, KeyState
from watchword_token.revocations import NewRevocation, revoke_by_hand
from watchword_token.routes.views import KeyView, Listing, key_view
from watchword_web.api import Page, invalid_cursor
from watchword_web.errors import Problem

log = structlog.get_logger()

Kid = Annotated[str, Field(max_length=64)]


class KeyRotation(BaseModel):
    """Which keys shall have successors.

    alg: of one algorithm only, for signing keys.  revoke: at once, and nothing that the old ones made is good any more.
    sessions: with that, everybody is signed out as well, and every grant ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: Literal["sig", "enc"] = "sig"
    alg: Alg | None = None
    revoke: bool = False
    sessions: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "KeyRotation":
        if self.alg is not None and self.use != "sig":
            raise ValueError("`alg` names a signing algorithm: leave it out for the encryption key")
        if self.sessions and not self.revoke:
            raise ValueError("`sessions` is possible with `revoke` only")
        return self

    @property
    def algs(self) -> tuple[str, ...]:
        """The algorithms whose keys are meant."""
        if self.use == "enc":
            return (OPAQUE_ALG,)
        return SIGNING_ALGS if self.alg is None else (self.alg,)


def key_router(parts: Parts) -> APIRouter:
    """Signing and encryption keys, public halves only."""
    router = APIRouter(prefix="/api/v1/keys", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    ending_of = Annotated[Ending, Depends(parts.endings)]

    async def view(session: Session, row: Key) -> KeyView:
        waiting = await waiting_for(session, row) if row.state == KeyState.NEXT else None
        return key_view(row, waiting_for=waiting)

    @router.get("")
    async def list_keys(listing: Annotated[Listing, Query()], _caller: administrator) -> Page[KeyView]:
        """All keys, oldest first, on one page; they are few."""
        if listing.cursor:
            raise invalid_cursor()
        async with transaction(parts.database) as session:
            rows = await session.exec(select(Key).order_by(col(Key.created_at), col(Key.kid)))
            return Page(items=[await view(session, row) for row in rows.all()])

    @router.get("/{kid}")
    async def get_key(kid: Kid, _caller: administrator) -> KeyView:
        """One key."""
        async with transaction(parts.database) as session:
            row = await session.get(Key, kid)
            if row is None:
                raise _no_key()
            return await view(session, row)

    @router.post("/rotate")
    async def rotate_keys(body: KeyRotation, caller: administrator, ending: ending_of) -> Page[KeyView]:
        """The next keys, published now; they take over when everyone who checks tokens knows them.

        With `revoke` they have taken over already, and the old ones are dead before this answers.
        """
        entries: list[int] = []
        async with transaction(parts.database) as session:
            if body.revoke:
                for old in await _active(session, body.algs):
                    entries.append(await _revoke(session, NewRevocation(claim=Claim.KID, value=old.kid)))
                if body.sessions:
                    everything = NewRevocation(claim=Claim.ALL, value=None)
                    entries.append(await _revoke(session, everything))
                rows = await _active(session, body.algs)
            else:
                rows = await parts.keys.table.publish(session, body.algs)
            views = [await view(session, row) for row in rows]
        await parts.keys.reload()
        await ending.finish(entries)
        parts.rotation.look()
        log.warning("keys.rotate", algs=body.algs, revoke=body.revoke, sessions=body.sessions, **actor(caller))
        return Page(items=views)

    @router.post("/{kid}/revoke")
    async def revoke_key(kid: Kid, caller: administrator, ending: ending_of) -> KeyView:
        """Nothing that the key made is accepted, here before this answers; its successor has taken over."""
        async with transaction(parts.database) as session:
            row = await session.get(Key, kid)
            if row is None:
                raise _no_key()
            if row.state == KeyState.REVOKED:
                raise Problem(409, "Already revoked", "This key was revoked before; that is for ever.")
            entry_id = await _revoke(session, NewRevocation(claim=Claim.KID, value=kid))
            shown = await view(session, row)
        await parts.keys.reload()
        await ending.finish([entry_id])
        log.warning("key.revoked_by_hand", kid=kid, **actor(caller))
        return shown

    async def _revoke(session: Session, new: NewRevocation) -> int:
        return await revoke_by_hand(session, new, revoking=parts.revoking, keys=parts.keys, now=parts.now())

    return router


async def _active(session: Session, algs: tuple[str, ...]) -> list[Key]:
    statement = select(Key).where(col(Key.state) == KeyState.ACTIVE, col(Key.alg).in_(algs)).order_by(col(Key.alg))
    return list(await session.exec(statement))


def _no_key() -> Problem:
    return Problem(404, "No such key", "There is no key with this kid.")
