"""Clears away clients that nobody vouches for and nobody uses: those that registered themselves, and documents.

Whether one is in use is asked of `token`, at the moment when it matters: as long as one of its grants is live, a client
stays, however long ago it was used. When `token` cannot be asked nothing happens. One that an administrator switched
off stays, since otherwise it could come again; one that may act for itself leaves no grants behind, and stays as well.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from watchword_admin import clients
from watchword_admin.registration import store
from watchword_database import Database, transaction
from watchword_events.exports import ClientUseExport
from watchword_events.names import Service
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.internal import MAX_IDS, InternalClient
from watchword_runtime.receipts import Endings
from watchword_runtime.rounds import Rounds

log = structlog.get_logger()

EVERY_S: Final = 3600.0
# What is over says so in the list for this long.
TOKENS_KEPT: Final = timedelta(days=30)


class Reaper(Rounds):
    """Clears away in the background of one instance; any number of instances may."""

    def __init__(
        self,
        database: Database,
        pulls: InternalClient,
        feed: Feed,
        endings: Endings,
        *,
        idle: timedelta,
        now: Clock,
        every_s: float = EVERY_S,
    ) -> None:
        """idle: how long a client must not have been used."""
        super().__init__(every_s=every_s, failure="reaping.failed", rests_first=True)
        self._database = database
        self._pulls = pulls
        self._feed = feed
        self._endings = endings
        self._idle = idle
        self._now = now

    async def once(self) -> None:
        """Clients that nobody uses are gone. Raises internal.Unreachable."""
        await self.reap()

    async def reap(self) -> list[str]:
        """The ids of the clients that are gone now. Raises internal.Unreachable."""
        now, gone, after = self._now(), list[str](), ""
        while True:
            async with transaction(self._database) as session:
                idle = await store.list_idle(session, since=now - self._idle, after=after, limit=MAX_IDS)
            if not idle:
                break
            gone += await self._reap(idle)
            after = idle[-1]
        async with transaction(self._database) as session:
            await store.end_dead_tokens(session, now=now)
            await store.drop_old_tokens(session, before=now - TOKENS_KEPT)
        return gone

    async def _reap(self, client_ids: Sequence[str]) -> list[str]:
        page = await self._pulls.export(Service.TOKEN, "client_use", {"id": client_ids})
        uses = [ClientUseExport.model_validate(each.data) for each in page.items]
        now, gone, entries = self._now(), list[str](), list[int]()
        spared = {use.client_id for use in uses if use.has_live_grants}
        async with transaction(self._database) as session:
            for use in uses:
                if use.used_at is not None:
                    await store.note_use(session, use.client_id, use.used_at)
            for client_id in client_ids:
                if client_id in spared:
                    continue
                # Looked at once more, locked: a document may have been read, or a note of use have been made, just now.
                if await store.find_idle_for_change(session, client_id, since=now - self._idle) is not None:
                    entries += await clients.delete_client(session, client_id, feed=self._feed, now=now)
                    gone.append(client_id)
        await self._endings.here().finish(entries)
        for client_id in gone:
            log.info("client.reaped", client_id=client_id)
        return gone
