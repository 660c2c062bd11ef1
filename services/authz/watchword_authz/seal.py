"""Secrets that this service itself has to read again: sealed at rest."""

from watchword_database import bus
from watchword_database.engine import Session
from watchword_runtime.keyring import Sealer

PURPOSE = "authenticators"


class SecretSeal:
    """Seals and opens with the key that this service alone holds."""

    def __init__(self, key: bytes) -> None:
        """key: of PURPOSE."""
        self._key = key
        self._opener = Sealer(key, 0)
        self._sealer: Sealer | None = None

    async def seal(self, session: Session, owner_id: str, secret: bytes) -> bytes:
        """The sealed secret, bound to the id of the row that it belongs to."""
        if self._sealer is None:
            self._sealer = Sealer(self._key, await bus.sealer_id(session))
        return self._sealer.seal(secret, owner_id.encode())

    def open(self, sealed: bytes, owner_id: str) -> bytes:
        """The secret again. Raises Unsealable."""
        return self._opener.open(sealed, owner_id.encode())
