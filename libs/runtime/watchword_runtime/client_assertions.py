"""Client assertions: a client proves itself with a JWT that it signed, once.

Spec: RFC 7523 2.2, 3; OpenID Connect Core 9.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, TypeGuard

import structlog
from pydantic import JsonValue

from watchword_runtime.client_keys import ClientKeys, RegisteredKeys
from watchword_runtime.clock import Clock
from watchword_runtime.foreign_jwts import UnusableJwt, read_header, unverified_claims
from watchword_runtime.keyring import Sealer, Unsealable
from watchword_runtime.public_keys import ALGORITHMS
from watchword_runtime.published import NotPublished
from watchword_runtime.spending import Spend

log = structlog.get_logger()

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY_ALGS: Final = tuple(ALGORITHMS)
SECRET_ALGS: Final = ("HS256",)
FAPI_ALGS: Final = tuple(alg for alg in KEY_ALGS if alg != "RS256")  # FAPI 2.0 Security Profile 5.4.1
LONGEST_S: Final = 300.0
CLOCK_SKEW_S: Final = 10.0  # FAPI 2.0 Security Profile 5.3.2.1: clocks of clients run ahead by this much
PURPOSE: Final = "client-assertion"
_MAX_JTI: Final = 256
# Nothing that is another kind of JWT, and says so, is an assertion.
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})


class AssertionKeys(NamedTuple):
    """What may sign a client's assertions, with which algorithms: its secrets, sealed, or its keys."""

    algorithms: Collection[str]
    sealed: tuple[bytes, ...] = ()
    keys: RegisteredKeys | None = None


class NotProved(Exception):
    """The assertion proves nothing. The message is for the log."""


def client_named_in(assertion: str) -> str:
    """Whom an assertion says it is about; nothing of it is believed yet. Raises NotProved. Spec: RFC 7521 4.2."""
    try:
        subject = unverified_claims(assertion).get("sub")
    except UnusableJwt as error:
        raise NotProved(str(error)) from None
    if not isinstance(subject, str):
        raise NotProved("no sub")
    return subject


class Assertions:
    """Checks assertions that are meant for this issuer."""

    def __init__(self, issuer: str, client_keys: ClientKeys, opener: Sealer, spend: Spend, now: Clock) -> None:
        """opener: opens what was sealed for the purpose "client-secrets"."""
        self._issuer = issuer
        self._client_keys = client_keys
        self._opener = opener
        self._spend = spend
        self._now = now

    async def check(self, client_id: str, registered: AssertionKeys, assertion: str) -> None:
        """The client signed this for us, just now, and it was never used. Raises NotProved.

        Spec: RFC 7523 3; RFC 8725 3.1, 3.11.
        """
        try:
            header = read_header(assertion, types=_TYPES, algorithms=registered.algorithms)
            if registered.keys is not None:
                claims = await self._client_keys.verified(registered.keys, header, assertion)
            else:
                claims = self._signed_by_secret(client_id, registered.sealed, assertion)
        except (UnusableJwt, NotPublished) as error:
            raise NotProved(str(error)) from None
        until_s = self._check_claims(client_id, claims)
        if not await self._spend(PURPOSE, f"{client_id}:{claims['jti']}", until_s):
            raise NotProved("used before")

    def _signed_by_secret(self, client_id: str, sealed: Sequence[bytes], assertion: str) -> dict[str, JsonValue]:
        message, _, signature = assertion.rpartition(".")
        fits = False
        for each in sealed:
            try:
                secret = self._opener.open(each, client_id.encode())
            except Unsealable:
                log.error("client_secret.unsealable", client_id=client_id)
                continue
            fits |= hmac.compare_digest(hs256(secret, message), signature.encode())
        if not fits:
            raise NotProved("signature")
        return unverified_claims(assertion)

    def _check_claims(self, client_id: str, claims: Mapping[str, JsonValue]) -> float:
        """When the assertion ends. Each line is one MUST of RFC 7523 3."""
        now_s = self._now().timestamp()
        if claims.get("iss") != client_id or claims.get("sub") != client_id:
            raise NotProved("iss and sub are not the client")
        # One text, the issuer: a list, or an address, could be another server's as well (RFC 9700 4.4 for assertions).
        if claims.get("aud") != self._issuer:
            raise NotProved("aud is not the issuer")
        exp, jti = claims.get("exp"), claims.get("jti")
        if not _is_time(exp) or not now_s < exp <= now_s + LONGEST_S + CLOCK_SKEW_S:
            raise NotProved("exp is missing, over, or more than five minutes ahead")
        for name in ("iat", "nbf"):
            at = claims.get(name, 0)
            if not _is_time(at) or at > now_s + CLOCK_SKEW_S:
                raise NotProved(f"{name} lies in the future")
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI:
            raise NotProved("jti")
        return float(exp)


def hs256(secret: bytes, message: str) -> bytes:
    """The signature segment of a JWS. Spec: RFC 7518 3.2."""
    return urlsafe_b64encode(hmac.digest(secret, message.encode(), "sha256")).rstrip(b"=")


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_402_300_800
