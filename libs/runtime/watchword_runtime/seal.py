"""Secrets that are read again: sealed at rest, with a key that only those hold who may read them."""

from watchword_database import Database, bus
from watchword_runtime.keyring import Sealer


class SecretSeal:
    """A `Sealer` whose process gets its number when something is sealed for the first time."""

    def __init__(self, key: bytes, database: Database) -> None:
        """key: 32 bytes, of one purpose.  database: where numbers come from."""
        self._key = key
        self._database = database
        self._opener = Sealer(key, 0)
        self._sealer: Sealer | None = None

    async def seal(self, plain: bytes, aad: bytes) -> bytes:
        """The sealed secret. aad: what it is bound to, for example the row's id."""
        if self._sealer is None:
            self._sealer = Sealer(self._key, await bus.new_sealer_id(self._database))
        return self._sealer.seal(plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """The secret again. Raises keyring.Unsealable."""
        return self._opener.open(sealed, aad)
