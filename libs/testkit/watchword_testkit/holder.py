"""A client's own key, and what it signs: proofs of possession, assertions. Anything in them can be overridden."""

import hashlib
import json
import secrets
import time
from base64 import urlsafe_b64encode
from typing import Final

from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

LEFT_OUT: Final = object()  # as a value: the member is not there


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: dict[str, object], payload: bytes | dict[str, object], key: Key, alg: str) -> str:
    """A compact JWS over any payload with any header; `alg` signs, whatever the header says."""
    raw = payload if isinstance(payload, bytes) else json.dumps(_written(payload)).encode()
    message = f"{b64(json.dumps(_written(header)).encode())}.{b64(raw)}"
    return f"{message}.{b64(jws.JWSRegistry.algorithms[alg].sign(message.encode(), key))}"


def _written(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not LEFT_OUT}


def new_key(alg: str) -> Key:
    """A key that an algorithm works with."""
    match alg:
        case "ES256":
            return ECKey.generate_key("P-256")
        case "EdDSA" | "Ed25519":
            return OKPKey.generate_key("Ed25519")
        case "HS256":
            return OctKey.generate_key(256)
        case _:
            return RSAKey.generate_key(2048)


class Holder:
    """Who holds a key. kid: as its JWKS names it."""

    def __init__(self, alg: str = "ES256", key: Key | None = None) -> None:
        self.alg = alg
        self.key: Key = new_key(alg) if key is None else key
        self.kid = secrets.token_hex(4)

    @property
    def jwk(self) -> dict[str, object]:
        """The public half."""
        return {k: v for k, v in self.key.as_dict(private=False).items() if k != "kid"}

    @property
    def jwks(self) -> dict[str, object]:
        """The key set that a client registers."""
        return {"keys": [{**self.jwk, "kid": self.kid, "alg": self.alg, "use": "sig"}]}

    @property
    def thumbprint(self) -> str:
        """What `cnf.jkt` names."""
        return self.key.thumbprint()

    def proof(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        nonce: str | None = None,
        header: dict[str, object] | None = None,
        now: float | None = None,
        **claims: object,
    ) -> str:
        """A DPoP proof for a request, and for the token that comes with it."""
        said: dict[str, object] = {"jti": secrets.token_urlsafe(12), "htm": method, "htu": url}
        said["iat"] = int(time.time() if now is None else now)
        if token is not None:
            said["ath"] = b64(hashlib.sha256(token.encode()).digest())
        if nonce is not None:
            said["nonce"] = nonce
        head = {"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk, **(header or {})}
        return compact(head, {**said, **claims}, self.key, self.alg)

    def assertion(
        self,
        client_id: str,
        audience: object,
        *,
        header: dict[str, object] | None = None,
        now: float | None = None,
        **claims: object,
    ) -> str:
        """A client assertion, good for a minute."""
        at = int(time.time() if now is None else now)
        said = {"iss": client_id, "sub": client_id, "aud": audience, "jti": secrets.token_urlsafe(12)}
        head = {"alg": self.alg, "kid": self.kid, **(header or {})}
        return compact(head, {**said, "iat": at, "exp": at + 60, **claims}, self.key, self.alg)
