"""Tokens of issuers that an administrator trusts: verified with the issuer's keys, never with what the token says.

Spec: RFC 7523 3; RFC 8693 2.1; RFC 8725 3.1, 3.9, 3.11.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from httpx2 import AsyncClient
from pydantic import JsonValue

from watchword_events.exports import IssuerExport
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.foreign_jwts import Header, UnusableJwt, read_header, unverified_claims, verified_claims
from watchword_runtime.public_keys import PublicKey, find_key, usable_keys
from watchword_runtime.published import NotPublished, Published

SKEW_S: Final = 60
LONGEST_SUBJECT: Final = 255  # so that it can be named in a revocation
TYPES: Final = frozenset({"jwt", "at+jwt"})
WELL_KNOWN: Final = "/.well-known/openid-configuration"
_MAX_AUDIENCES: Final = 32
_LAST_TIME_S: Final = 253_402_300_799  # the last second that a datetime can hold


class NotAccepted(Exception):
    """A token of somebody else's is not taken. The message is public: it names what whoever sends it can put right."""


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A genuine token of a trusted issuer, in time and meant for us. sub: as ours will say it, with the prefix."""

    issuer: IssuerExport
    sub: str
    claims: Mapping[str, JsonValue]


class TrustedIssuers:
    """Verifies tokens of trusted issuers."""

    def __init__(self, issuers: Copy[IssuerExport], client_of: Callable[[str | None], AsyncClient], now: Clock) -> None:
        """client_of: the outbound client that trusts these certificates (PEM) alone, or the usual one for None."""
        self._issuers = issuers
        self._client_of = client_of
        self._keys: Published[tuple[PublicKey, ...]] = Published(usable_keys, now)
        self._metadata: Published[Mapping[str, JsonValue]] = Published(lambda document: document, now)
        self._clients: dict[str, AsyncClient] = {}

    async def close(self) -> None:
        """Every connection is closed."""
        for client in self._clients.values():
            await client.aclose()

    async def verify(self, token: str, now_s: float) -> ForeignToken:
        """Whom a token is about and who says so. Raises NotAccepted; internal.Unreachable when admin cannot be asked.

        Spec: RFC 7523 3; RFC 8725 3.1, 3.9 (audience), 3.11 (type).
        """
        try:
            header = read_header(token, types=TYPES)
            iss = unverified_claims(token).get("iss")
        except UnusableJwt as error:
            raise NotAccepted(f"The token cannot be read: {error}") from None
        if not isinstance(iss, str) or not iss:
            raise NotAccepted("The token names no issuer")
        issuer = await self._issuers.find(iss=iss)
        if issuer is None:
            raise NotAccepted(f"The issuer is not trusted: {iss[:200]}")
        key = await self._key(issuer, header)
        try:
            claims = verified_claims(token, header, key)
        except UnusableJwt as error:
            raise NotAccepted(f"The token is not genuine: {error}") from None
        if claims.get("iss") != issuer.iss:
            raise NotAccepted("The token names two issuers")
        _check_audience(claims, issuer)
        _check_times(claims, now_s)
        return ForeignToken(issuer, _subject(claims, issuer), claims)

    async def _key(self, issuer: IssuerExport, header: Header) -> PublicKey:
        if issuer.jwks is not None:
            found = find_key(usable_keys(issuer.jwks), kid=header.kid, alg=header.alg)
        else:
            found = await self._published_key(issuer, header)
        if found is None:
            raise NotAccepted("The token is signed with a key that its issuer does not publish")
        return found

    async def _published_key(self, issuer: IssuerExport, header: Header) -> PublicKey | None:
        client, trust = self._client(issuer)
        try:
            url = issuer.jwks_uri or await self._discovered(issuer, client, trust)
            found = find_key(await self._keys.get(url, client, trust=trust), kid=header.kid, alg=header.alg)
            if found is None:
                renewed = await self._keys.renewed(url, client, trust=trust)
                found = find_key(renewed, kid=header.kid, alg=header.alg) if renewed is not None else None
        except NotPublished as error:
            if error.unknown_authority:
                raise NotAccepted(
                    "The issuer's keys cannot be fetched: its certificate is signed by an unknown certificate authority"
                ) from None
            raise NotAccepted(f"The issuer's keys cannot be fetched: {error}") from None
        return found

    async def _discovered(self, issuer: IssuerExport, client: AsyncClient, trust: str) -> str:
        """Where the issuer's keys are, by its discovery document. Spec: OpenID Connect Discovery 4.1, 4.3."""
        document = await self._metadata.get(issuer.iss.rstrip("/") + WELL_KNOWN, client, trust=trust)
        if document.get("issuer") != issuer.iss:
            raise NotAccepted("The issuer's discovery document names another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise NotAccepted("The issuer's discovery document names no jwks_uri")
        return url

    def _client(self, issuer: IssuerExport) -> tuple[AsyncClient, str]:
        """The way to an issuer, and a name for whom that way trusts."""
        trust = "" if issuer.root_ca is None else hashlib.sha256(issuer.root_ca.encode()).hexdigest()
        client = self._clients.get(trust)
        if client is None:
            client = self._clients[trust] = self._client_of(issuer.root_ca)
        return client, trust


def _check_audience(claims: Mapping[str, JsonValue], issuer: IssuerExport) -> None:
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if audience is None or len(named) > _MAX_AUDIENCES or not all(isinstance(one, str) for one in named):
        raise NotAccepted("The token has no audience that can be read")
    if issuer.aud.isdisjoint(str(one) for one in named):
        shown = ", ".join(str(one) for one in named)
        raise NotAccepted(f"The audience is not accepted: {shown[:200]}")


def _check_times(claims: Mapping[str, JsonValue], now_s: float) -> None:
    """Raises NotAccepted unless the token says when it was made and when it ends, and now lies between.

    Spec: RFC 7523 3 (exp must be there); RFC 7519 4.1.4, 4.1.5, 4.1.6.
    """
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    if expires <= now_s - SKEW_S:
        raise NotAccepted("The token has expired")
    if issued > now_s + SKEW_S or ("nbf" in claims and _time(claims, "nbf") > now_s + SKEW_S):
        raise NotAccepted("The token is not valid yet: compare the clocks")


def _time(claims: Mapping[str, JsonValue], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NotAccepted(f"The token has no {name} that can be read")
    if not 0 <= value <= _LAST_TIME_S:
        raise NotAccepted(f"The token has no {name} that can be read")
    return value


def _subject(claims: Mapping[str, JsonValue], issuer: IssuerExport) -> str:
    """The subject behind the issuer's prefix, so that it is nobody of ours and nobody of another issuer's."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise NotAccepted("The token has no subject")
    prefixed = issuer.subject_prefix + subject
    if len(prefixed) > LONGEST_SUBJECT or not prefixed.isascii() or not all("!" <= char <= "~" for char in prefixed):
        raise NotAccepted("The subject is too long or holds characters other than printable ASCII without spaces")
    return prefixed
