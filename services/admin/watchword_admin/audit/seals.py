"""Seals: the head of the chain, signed every few seconds with a key that is not in the database.

Whoever can write to the database can make a whole chain anew, hashes and all, but not the seals on it.
"""

import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import structlog
from pydantic import JsonValue

from watchword_admin.audit import store
from watchword_admin.models import AuditSeal
from watchword_database import Database, transaction
from watchword_database.audit import GENESIS, Chain, Note, note
from watchword_runtime.clock import Clock
from watchword_runtime.rounds import Rounds

log = structlog.get_logger()

PURPOSE: Final = "audit-seals"
EVERY_S: Final = 5.0
PRUNE_EVERY: Final = timedelta(hours=1)
PRUNED: Final = "audit.pruned"


class Seals(Rounds):
    """Signs the head of the chain in the background."""

    def __init__(self, database: Database, key: bytes, *, now: Clock, keep: timedelta | None = None) -> None:
        """key: the derived key for PURPOSE.  keep: for how long entries stay, None for ever."""
        super().__init__(every_s=EVERY_S, failure="audit.not_sealed")
        self._database = database
        self._key = key
        self._now = now
        self._keep = keep
        self._prune_at = now()
        self._broken_at = 0

    async def once(self) -> None:
        """What came is sealed, and what is older than is kept is gone."""
        if await self._database.ask(store.ANY_UNSEALED):
            await self.seal()
        if self._keep is not None and self._now() >= self._prune_at:
            self._prune_at = self._now() + PRUNE_EVERY
            await self.prune(self._now() - self._keep)

    async def seal(self) -> None:
        """What came since the newest seal follows from it, and is sealed. What does not follow is never sealed."""
        async with transaction(self._database) as session:
            last = await store.newest_seal(session)
            chain = Chain(last.seq, last.hash) if last is not None else Chain(0, GENESIS)
            while page := await store.entries_after(session, chain.seq):
                for entry in page:
                    chain.follow(entry)
            if chain.breaks:
                if chain.breaks[0].seq != self._broken_at:
                    self._broken_at = chain.breaks[0].seq
                    log.error("audit.chain_broken", seq=self._broken_at, what=chain.breaks[0].what)
                return
            if not chain.count:
                return
            sealed_at = self._now()
            mac = self.mac(chain.seq, chain.hash, sealed_at)
            await store.put_seal(session, AuditSeal(seq=chain.seq, hash=chain.hash, sealed_at=sealed_at, mac=mac))
        log.info("audit.sealed", seq=chain.seq, hash=chain.hash.hex())

    async def prune(self, before: datetime) -> int:
        """How many entries are gone: those that were sealed before this time. The log says so, and goes on from there.

        The seal up to which they went stays as the anchor. Nothing goes where it is not genuine.
        """
        async with transaction(self._database) as session:
            seal = await store.prunable(session, before)
            if seal is None:
                return 0
            if not self.is_genuine(seal):
                log.error("audit.not_pruned", seq=seal.seq)
                return 0
            said: dict[str, JsonValue] = {"until": seal.seq, "hash": seal.hash.hex()}
            await note(session, [Note({"action": PRUNED, "kind": "audit", "details": said}, {})])
            count = await store.prune(session, seal)
        log.info("audit.pruned", entries=count, **said)
        return count

    def mac(self, seq: int, hash_: bytes, sealed_at: datetime) -> bytes:
        """What only a holder of the key can say."""
        return hmac.digest(self._key, f"{seq}\n{hash_.hex()}\n{sealed_at.isoformat()}".encode(), sha256)

    def is_genuine(self, seal: AuditSeal) -> bool:
        """Whether a holder of the key put it."""
        return hmac.compare_digest(self.mac(seal.seq, seal.hash, seal.sealed_at.astimezone(UTC)), seal.mac)
