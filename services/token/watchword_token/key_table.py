"""Which keys there are: next, active, retiring, retired or revoked. Only these functions change it.

    next ──(everyone knows it, and every JWKS shows it)──▶ active ──▶ retiring ──(its tokens are over)──▶ retired
      └───────────────────── revoke, in an emergency ────────┴────────────┴──▶ revoked: for ever

Each runs in the caller's transaction and holds the table's lock until that ends, so that of many instances that want
the same one does it and the others find it done. The times are PostgreSQL's: one clock for all instances.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import text
from sqlmodel import col, select

from watchword_database import Session, followers
from watchword_database.bus import CLOCKS_DIFFER
from watchword_database.ids import new_id
from watchword_events.contracts import KeyPublished, KeyRetired, KeyRevoked, KeyRotated
from watchword_runtime.keyring import Sealer
from watchword_token.key_material import OPAQUE_ALG, SIGNING_ALGS, new_signing_key
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN
from watchword_token.models import Key, KeyState, KeyUse

log = structlog.get_logger()

ALGS: Final[tuple[str, ...]] = (*SIGNING_ALGS, OPAQUE_ALG)
_LOCK: Final = text("LOCK TABLE token.keys IN SHARE ROW EXCLUSIVE MODE")
_NOW: Final = text("SELECT clock_timestamp()")


class KeyTable:
    """The table `token.keys`."""

    def __init__(self, sealers: Mapping[KeyUse, Sealer]) -> None:
        self._sealers = sealers

    async def complete(self, session: Session) -> None:
        """With this transaction there is an active key for each algorithm: the next one where there is one."""
        rows, now = await self._locked(session)
        for alg in ALGS:
            if _in_state(rows, alg, KeyState.ACTIVE):
                continue
            waiting = _in_state(rows, alg, KeyState.NEXT)
            row = waiting[0] if waiting else await self._make(session, alg, now=now)
            self._activate(session, row, now=now)

    async def publish(self, session: Session, algs: Sequence[str]) -> list[Key]:
        """With this transaction each algorithm has a next key, in the JWKS from now on. Appends KeyPublished."""
        rows, now = await self._locked(session)
        found = []
        for alg in algs:
            waiting = _in_state(rows, alg, KeyState.NEXT)
            found.append(waiting[0] if waiting else await self._make(session, alg, now=now))
        return found

    async def revoke(self, session: Session, kid: str) -> bool:
        """With this transaction the key makes nothing more, and another has taken its place; False when unknown.

        The caller writes the ledger entry in the same transaction, and reloads afterwards. Appends KeyRevoked.
        """
        rows, _now = await self._locked(session)
        row = next((row for row in rows if row.kid == kid), None)
        if row is None:
            return False
        if row.state != KeyState.REVOKED:
            row.state, row.version, row.sealed, row.retire_at = KeyState.REVOKED, row.version + 1, b"", None
            if row.use == KeyUse.SIG:
                session.emit(KeyRevoked(id=row.kid, version=row.version, alg=row.alg))
            await session.flush()
            await self.complete(session)
        return True

    async def advance(self, session: Session, *, max_age: timedelta, lifetime: timedelta) -> None:
        """With this transaction every key stands where it should by now.

        max_age: how long others may keep the JWKS.  lifetime: how long a key makes tokens; its successor is published
        early enough to take over then.  Appends KeyPublished, KeyRotated and KeyRetired.
        """
        rows, now = await self._locked(session)
        for alg in ALGS:
            active = _in_state(rows, alg, KeyState.ACTIVE)
            waiting = _in_state(rows, alg, KeyState.NEXT)
            if waiting:
                await self._take_over(session, waiting[0], active, now=now, max_age=max_age)
            elif any(is_due(row, now=now, max_age=max_age, lifetime=lifetime) for row in active):
                await self._make(session, alg, now=now)
        for row in rows:
            if row.state == KeyState.RETIRING and row.retire_at is not None and row.retire_at <= now:
                row.state, row.version, row.sealed = KeyState.RETIRED, row.version + 1, b""
                if row.use == KeyUse.SIG:
                    session.emit(KeyRetired(id=row.kid, version=row.version, alg=row.alg))
                log.info("key.retired", kid=row.kid, alg=row.alg)

    async def _take_over(
        self, session: Session, row: Key, active: Sequence[Key], *, now: datetime, max_age: timedelta
    ) -> None:
        """The next key makes tokens once everyone who checks them knows it.

        Clients that know the JWKS alone have read it afresh `max_age` after the last instance began to show the key.
        """
        if await waiting_for(session, row):
            return
        if row.confirmed_at is None:
            row.confirmed_at, row.version = now, row.version + 1
        if row.confirmed_at + max_age > now:
            return
        for old in active:
            old.state, old.version = KeyState.RETIRING, old.version + 1
            old.retire_at = now + LONGEST_ACCESS_TOKEN + CLOCKS_DIFFER
        self._activate(session, row, now=now, previous=active[0].kid if active else None)

    def _activate(self, session: Session, row: Key, *, now: datetime, previous: str | None = None) -> None:
        row.state, row.activated_at = KeyState.ACTIVE, now
        is_new = row in session.new
        row.version += 0 if is_new else 1
        if row.use == KeyUse.SIG and not is_new:
            session.emit(KeyRotated(id=row.kid, version=row.version, alg=row.alg, previous=previous))
        log.info("key.active", kid=row.kid, alg=row.alg, previous=previous)

    async def _make(self, session: Session, alg: str, *, now: datetime) -> Key:
        """A next key. Appends KeyPublished for one that others have to know."""
        if alg == OPAQUE_ALG:
            kid = new_id()
            sealed = self._sealers[KeyUse.ENC].seal(AESGCM.generate_key(256), kid.encode())
            row = Key(kid=kid, use=KeyUse.ENC, alg=alg, state=KeyState.NEXT, sealed=sealed, created_at=now)
        else:
            der, public_jwk = await new_signing_key(alg)  # type: ignore[arg-type]  # one of SIGNING_ALGS
            kid = str(public_jwk["kid"])
            sealed = self._sealers[KeyUse.SIG].seal(der, kid.encode())
            row = Key(
                kid=kid,
                use=KeyUse.SIG,
                alg=alg,
                state=KeyState.NEXT,
                public_jwk=public_jwk,
                sealed=sealed,
                created_at=now,
            )
            session.emit(KeyPublished(id=kid, version=1, alg=alg, public_jwk=public_jwk))
        session.add(row)
        log.info("key.created", kid=kid, alg=alg)
        return row

    async def _locked(self, session: Session) -> tuple[list[Key], datetime]:
        """All rows, oldest first, and the time; who else wants to change them waits for this transaction's end."""
        connection = await session.connection()
        await connection.execute(_LOCK)
        now = (await connection.execute(_NOW)).scalar_one()
        statement = select(Key).order_by(col(Key.created_at), col(Key.kid)).execution_options(populate_existing=True)
        return list(await session.exec(statement)), now


def is_due(row: Key, *, now: datetime, max_age: timedelta, lifetime: timedelta) -> bool:
    """Whether an active key's successor has to be published now."""
    return row.activated_at is not None and row.activated_at + lifetime - 2 * max_age <= now


async def waiting_for(session: Session, row: Key) -> list[str]:
    """Names of those who check tokens, can be reached and do not know the key yet. Only services open sealed tokens."""
    lacking = await followers.lacking_key(session, row.kid)
    return [each.name for each in lacking if row.use == KeyUse.SIG or each.kind == "service"]


def _in_state(rows: Sequence[Key], alg: str, state: KeyState) -> list[Key]:
    return [row for row in rows if row.alg == alg and row.state == state]
