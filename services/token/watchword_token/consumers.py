"""The event edge: copies follow their owners, and what is in memory follows the copies, on every instance."""

from dataclasses import dataclass
from typing import Any, Final

import structlog

from watchword_database import Database
from watchword_events.exports import ClientExport, UserExport
from watchword_events.names import Service
from watchword_runtime.broker import Broker, Received
from watchword_runtime.rounds import Rounds
from watchword_runtime.tail import Tail
from watchword_token.clients import Client
from watchword_token.keys import Keys
from watchword_token.memory import Kept
from watchword_token.profile import User
from watchword_token.registered import Registered

log = structlog.get_logger()

POLL_S: Final = 5.0
# A row is stamped when its transaction begins; one that committed late must not slip through.
_OVERLAP: Final = "interval '15 seconds'"


@dataclass(frozen=True, slots=True)
class Memory:
    """What this instance keeps in memory of others' facts and of its own keys."""

    clients: Kept[ClientExport, Client]
    users: Kept[UserExport, User]
    origins: Registered
    detail_types: Registered
    keys: Keys

    async def on_client(self, received: Received) -> None:
        """The client is loaded at once, so that a registered origin is allowed from its first preflight on."""
        await self.clients.on_event(received)
        client = await self.clients.get(received.event.id, received.event.version)
        if client is not None:
            self.origins.add(client.origins)
            self.detail_types.add(client.detail_types)

    async def on_clients_missed(self, why: str) -> None:
        """Everything about clients is read again."""
        await self.clients.on_resync(why)
        await self.reload_registered()

    async def reload_registered(self) -> None:
        """What clients registered is what the copy says."""
        await self.origins.reload()
        await self.detail_types.reload()

    async def on_key(self, _received: Received) -> None:
        """Keys are what the table says."""
        await self.keys.reload()

    async def on_keys_missed(self, _why: str) -> None:
        """Keys are what the table says."""
        await self.keys.reload()


class Follower(Rounds):
    """Keeps memory true: by the event tails, and by a look at what changed in the copies."""

    def __init__(self, database: Database, broker: Broker, memory: Memory) -> None:
        super().__init__(every_s=POLL_S, failure="memory.not_compared")
        self._database = database
        self._memory = memory
        self._since: Any = None  # a timestamp of PostgreSQL's, given back to it
        admin, directory, token = Service.ADMIN.stream, Service.DIRECTORY.stream, Service.TOKEN.stream
        users = memory.users
        self._tails = (
            Tail(broker, admin, "auth.admin.client.*", memory.on_client, memory.on_clients_missed),
            Tail(broker, directory, "auth.directory.user.*", users.on_event, users.on_resync),
            Tail(broker, token, "auth.token.key.*", memory.on_key, memory.on_keys_missed),
        )

    def start(self) -> None:
        """Memory follows in the background until stop()."""
        for tail in self._tails:
            tail.start()
        super().start()

    async def stop(self) -> None:
        """Nothing follows any more."""
        for tail in self._tails:
            await tail.stop()
        await super().stop()

    async def once(self) -> None:
        """What changed in the copies since the last look is loaded afresh when it is next asked for."""
        pool = await self._database.raw_pool()
        now = await pool.fetchval(f"SELECT now() - {_OVERLAP}")
        if self._since is None:
            await self._memory.reload_registered()
        else:
            changed = await pool.fetch("SELECT id FROM token.client_copy WHERE copied_at > $1", self._since)
            if changed:
                self._memory.clients.drop(row[0] for row in changed)
                await self._memory.reload_registered()
            changed = await pool.fetch("SELECT id FROM token.user_copy WHERE copied_at > $1", self._since)
            self._memory.users.drop(row[0] for row in changed)
        self._since = now
