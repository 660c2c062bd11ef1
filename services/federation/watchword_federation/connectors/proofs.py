"""DPoP at a provider: tokens of one sign-in bound to a key that lives as long as the sign-in's last request.

Spec: RFC 9449 4.2, 8, 9.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from httpx2 import Response
from joserfc import jwt
from joserfc.jwk import ECKey

ALGORITHM: Final = "ES256"
_MAX_NONCE: Final = 512


@dataclass(slots=True)
class Prover:
    """Makes proofs with one key. nonce: as the server last asked for it; each server has its own."""

    now: datetime
    _key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"), repr=False)
    nonce: str | None = None

    def proof(self, method: str, url: str, *, access_token: str | None = None) -> str:
        """A proof for one request. Spec: RFC 9449 4.2."""
        claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("?")[0].partition("#")[0],
            "iat": int(self.now.timestamp()),
        }
        if self.nonce is not None:
            claims["nonce"] = self.nonce
        if access_token is not None:
            digest = hashlib.sha256(access_token.encode()).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        header = {"alg": ALGORITHM, "typ": "dpop+jwt", "jwk": self._key.as_dict(private=False)}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])

    def learn(self, response: Response) -> bool:
        """True when the server asks for another nonce than the last proof had. Spec: RFC 9449 8.2, 9."""
        nonce = response.headers.get("dpop-nonce")
        if nonce is None or nonce == self.nonce or len(nonce) > _MAX_NONCE:
            return False
        self.nonce = nonce
        return True
