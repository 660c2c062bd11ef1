"""The public keys of clients, registered by value or behind a URL that they publish them at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from httpx2 import AsyncClient
from pydantic import JsonValue

from watchword_runtime.clock import Clock
from watchword_runtime.foreign_jwts import Header, UnusableJwt, verified_claims
from watchword_runtime.public_keys import PublicKey, find_key, usable_keys
from watchword_runtime.published import Published

Jwk = Mapping[str, JsonValue]
_NONE: Final[tuple[Jwk, ...]] = ()


@dataclass(frozen=True, slots=True)
class KeySet:
    """A client's keys. signing: those that may have signed something.  listed: all, as they are written."""

    signing: tuple[PublicKey, ...] = ()
    listed: tuple[Jwk, ...] = _NONE


def key_set(document: Mapping[str, JsonValue]) -> KeySet:
    """The keys of a JWK set. Raises UnusableKeys. Spec: RFC 7517 5."""
    signing = usable_keys(document)  # which also says that `keys` is a list
    listed = document["keys"]
    return KeySet(signing, tuple(key for key in listed if isinstance(key, dict)) if isinstance(listed, list) else ())


@dataclass(frozen=True, slots=True)
class RegisteredKeys:
    """Where a client's keys are: registered with it, or behind a URL."""

    jwks: KeySet = KeySet()
    jwks_uri: str | None = None


class ClientKeys:
    """Key sets of clients, in the memory of one instance."""

    def __init__(self, http: AsyncClient, now: Clock) -> None:
        """http: the guarded one of watchword_runtime.outbound; closed by aclose()."""
        self._http = http
        self._published = Published(key_set, now)

    async def get(self, registered: RegisteredKeys) -> KeySet:
        """The client's keys. Raises NotPublished."""
        if registered.jwks_uri is None:
            return registered.jwks
        return await self._published.get(registered.jwks_uri, self._http)

    async def renewed(self, registered: RegisteredKeys) -> KeySet | None:
        """The keys as they are published now; None when nothing newer can be had yet. Raises NotPublished."""
        if registered.jwks_uri is None:
            return None
        return await self._published.renewed(registered.jwks_uri, self._http)

    async def verified(self, registered: RegisteredKeys, header: Header, token: str) -> dict[str, JsonValue]:
        """The claims of a token that one of the client's keys signed; one published a moment ago is looked for.

        header: of this token.  Raises UnusableJwt, NotPublished.
        """
        keys = await self.get(registered)
        key = find_key(keys.signing, kid=header.kid, alg=header.alg)
        if key is None and (newer := await self.renewed(registered)) is not None:
            key = find_key(newer.signing, kid=header.kid, alg=header.alg)
        if key is None:
            raise UnusableJwt("no such key, or several without a kid")
        return verified_claims(token, header, key)

    async def aclose(self) -> None:
        """Connections are closed."""
        await self._http.aclose()
