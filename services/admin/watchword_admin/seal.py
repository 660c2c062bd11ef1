"""Secrets that others have to read: sealed for those who hold the same key."""

from watchword_database import Session, bus
from watchword_runtime.keyring import Sealer


class SecretSeal:
    """Seals secrets that others have to read; they hold the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sealer: Sealer | None = None

    async def seal(self, session: Session, owner_id: str, secret: str) -> bytes:
        """The sealed secret, bound to the id of the provider or client that it belongs to."""
        if self._sealer is None:
            self._sealer = Sealer(self._key, await bus.sealer_id(session))
        return self._sealer.seal(secret.encode(), owner_id.encode())

    def open(self, sealed: bytes, owner_id: str) -> str:
        """The secret again. Raises Unsealable."""
        return Sealer(self._key, 0).open(sealed, owner_id.encode()).decode()
