"""Documents for one client: signed, encrypted, or one inside the other, as the client registered it.

Spec: OpenID Connect Core 5.3.2, 10.1, 10.2; RFC 7519 5.2, 11.2; RFC 9701 5.
"""

import orjson
from joserfc import jwe
from joserfc.errors import JoseError
from pydantic import JsonValue

from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.public_keys import ReaderKey, reader_key
from watchword_runtime.published import NotPublished
from watchword_token.client_formats import ClientFormats, Encryption
from watchword_token.key_material import Alg
from watchword_token.keys import Keys
from watchword_token.tokens import compact_aside
from watchword_web.errors import OAuthError


class Formats:
    """Signs and encrypts for clients, with our keys and with theirs."""

    def __init__(self, keys: Keys, client_keys: ClientKeys) -> None:
        self._keys = keys
        self._client_keys = client_keys

    async def prepare(self, formats: ClientFormats, encryption: Encryption) -> ReaderKey:
        """The client's key to encrypt with, at hand from now on: to be asked for before anything is used up.

        Raises OAuthError: 503 while the client's keys cannot be had, invalid_request when none of them fits.
        """
        try:
            found = reader_key((await self._client_keys.get(formats.keys)).listed, encryption.alg)
            if found is None and (newer := await self._client_keys.renewed(formats.keys)) is not None:
                found = reader_key(newer.listed, encryption.alg)
        except NotPublished as error:
            refusal = OAuthError("temporarily_unavailable", "The keys of the client cannot be fetched", 503, str(error))
            refusal.headers["Retry-After"] = "5"
            raise refusal from None
        if found is None:
            raise OAuthError("invalid_request", f"The client publishes no key for {encryption.alg}")
        return found

    async def signed(self, alg: Alg, claims: dict[str, JsonValue], *, typ: str = "JWT") -> bytes:
        """The claims as a JWT of ours. Raises as `Keys.signer`."""
        key = await self._keys.signer(alg)
        header = key.id_header if typ == "JWT" else key.header(typ)
        return await compact_aside(key, header, orjson.dumps(claims))

    async def encrypted(
        self, formats: ClientFormats, encryption: Encryption, content: bytes, *, cty: str | None, typ: str | None = None
    ) -> bytes:
        """The content, for this client's eyes alone. cty: `JWT` for a signed one. Raises OAuthError as `prepare`.

        Spec: RFC 7516 5.1; RFC 7518 4.3, 4.6.
        """
        reader = await self.prepare(formats, encryption)
        header = {"alg": encryption.alg, "enc": encryption.enc, "kid": reader.kid, "cty": cty, "typ": typ}
        registry = jwe.JWERegistry(algorithms=[encryption.alg, encryption.enc])
        protected = {name: value for name, value in header.items() if value is not None}
        try:
            return jwe.encrypt_compact(protected, content, reader.key, registry=registry).encode()
        except JoseError as error:
            raise OAuthError("invalid_request", "The key of the client cannot be used", 400, str(error)) from None
