"""Secrets of clients: what is stored of them."""

import base64
import hashlib
import hmac
import secrets as random
from dataclasses import dataclass
from typing import Final

from watchword_runtime.client_proofs import SEALED
from watchword_runtime.seal import SecretSeal

GENERATED: Final = "sha256:"


@dataclass(frozen=True, slots=True)
class FreshSecret:
    """A secret that is about to be stored. text: as the client uses it.  hash: what suffices to compare it."""

    text: str
    hash: str
    is_generated: bool = True

    @property
    def shown(self) -> str | None:
        """What the answer shows, this once: a secret that somebody chose is known to them."""
        return self.text if self.is_generated else None


def generate_secret() -> FreshSecret:
    """A fresh secret of 256 random bits."""
    text = random.token_urlsafe(32)
    return FreshSecret(text, _digest(text))


async def stored(client_id: str, secret: FreshSecret, seal: SecretSeal, *, sealed: bool) -> str:
    """What stands in the row. sealed: the client signs with the secret, so it is kept, sealed for those who check."""
    if not sealed:
        return secret.hash
    return SEALED + base64.b64encode(await seal.seal(secret.text.encode(), client_id.encode())).decode()


def is_sealed(kept: str) -> bool:
    """Whether what stands in a row is the secret itself."""
    return kept.startswith(SEALED)


def is_secret(kept: str, presented: str, client_id: str, seal: SecretSeal) -> bool:
    """Whether a text is a generated secret, by what stands in its row."""
    if is_sealed(kept):
        known = seal.open(base64.b64decode(kept.removeprefix(SEALED)), client_id.encode())
        return hmac.compare_digest(known, presented.encode("utf-8", "surrogatepass"))
    return hmac.compare_digest(kept, _digest(presented))


def _digest(text: str) -> str:
    return GENERATED + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
