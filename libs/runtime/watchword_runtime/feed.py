"""What has been revoked, as this instance knows it. The table is the truth, NATS the hint."""

from collections.abc import Iterable, Mapping

from watchword_database.engine import Database
from watchword_events.names import Position
from watchword_events.revocations import Claim
from watchword_runtime.broker import Broker


class Feed:
    """The revocation ledger in memory. Nothing is live before the table was loaded, or when it cannot be followed."""

    def __init__(self, database: Database, broker: Broker) -> None:
        raise NotImplementedError

    @property
    def position(self) -> Position:
        """The position applied here. Note it BEFORE reading the state you decide on; stamp it as `rev`."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """True when the table was loaded and is being followed."""
        raise NotImplementedError

    def is_live(self, claims: Mapping[str, object], kid: str | None = None) -> bool:
        """Whether nothing revoked matches. claims: `rev`, `iat`, `jti`, `gid`, `sid`, `sub`, `client_id`, `idp`.

        A claim that is missing is not matched; without `rev` any cut that matches kills. False while not ready.
        """
        raise NotImplementedError

    def pend(self, entry_id: int, claim: Claim, value: str) -> None:
        """From now on the value counts as dead here, until the entry has been applied or was rolled back.

        Call it inside the transaction that wrote the entry, directly after `bus.revoke`.
        """
        raise NotImplementedError

    async def settle(self, entry_ids: Iterable[int], timeout: float = 1.0) -> bool:
        """Waits until this instance has applied the entries; False when that took longer (they still count as dead).

        Call it after the transaction.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """The table is loaded if PostgreSQL answers; the feed is followed in the background."""
        raise NotImplementedError

    async def stop(self) -> None:
        """The feed is no longer followed; nothing is live."""
        raise NotImplementedError
