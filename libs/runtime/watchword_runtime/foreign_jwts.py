"""JWTs that others signed: read without trust, then verified with one key of theirs.

Nothing in a header decides how a token is read: it only helps to find the key, and the key says the algorithm.
Spec: RFC 8725 3.1, 3.11.
"""

import base64
import binascii
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from pydantic import JsonValue

from watchword_runtime.documents import UnusableDocument, parse_object
from watchword_runtime.public_keys import ALGORITHMS, PublicKey

MAX_TOKEN_BYTES: Final = 16 * 1024
PLAIN: Final = frozenset({"jwt"})  # what a token is that does not say more
_MAX_HEADER_BYTES: Final = 2048
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class UnusableJwt(ValueError):
    """The text is no JWT that may be used. The message says which check failed, in our own words."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a token says, unverified."""

    alg: str
    kid: str | None


def read_header(token: str, *, types: frozenset[str] = PLAIN, algorithms: Collection[str] = ALGORITHMS) -> Header:
    """The algorithm and key id of a token whose signature has not been checked.

    types: what `typ` may say, in lower case and without `application/`; a token without one is a plain JWT.
    algorithms: those that the kind of its key allows.
    Raises UnusableJwt for anything but a small JWS in compact form with an allowed algorithm.
    """
    if len(token) > MAX_TOKEN_BYTES or not _SHAPE.fullmatch(token):
        raise UnusableJwt("not a JWS in compact form of at most 16 KiB")
    try:
        header = parse_object(_decoded(token.partition(".")[0]), max_bytes=_MAX_HEADER_BYTES)
    except ValueError as error:
        raise UnusableJwt("header is not a JSON object") from error
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    # RFC 8725 3.1: the algorithm is one of ours, never chosen from what the header or the metadata offers.
    if not isinstance(alg, str) or alg not in algorithms:
        raise UnusableJwt("algorithm not allowed")
    if kid is not None and not isinstance(kid, str):
        raise UnusableJwt("kid is not a string")
    # RFC 7515 4.1.11: an extension that is not understood must be refused; none is.
    if "crit" in header or "b64" in header:
        raise UnusableJwt("critical extension")
    # RFC 8725 3.11: a token of one kind is never taken for another.
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in types:
        raise UnusableJwt(f"typ is not {' or '.join(sorted(types))}")
    return Header(alg, kid)


def unverified_claims(token: str) -> dict[str, JsonValue]:
    """What a token says of itself: only to find whose keys to verify it with. Raises UnusableJwt."""
    if len(token) > MAX_TOKEN_BYTES or not _SHAPE.fullmatch(token):
        raise UnusableJwt("not a JWS in compact form of at most 16 KiB")
    try:
        return parse_object(_decoded(token.split(".")[1]), max_bytes=MAX_TOKEN_BYTES)
    except ValueError as error:
        raise UnusableJwt("payload is not a JSON object") from error


def verified_claims(token: str, header: Header, key: PublicKey) -> dict[str, JsonValue]:
    """The claims of a token that the key signed. header: of this token.  Raises UnusableJwt."""
    if header.alg not in key.algorithms:
        raise UnusableJwt("algorithm does not belong to the key")
    registry = jws.JWSRegistry(algorithms=[header.alg], strict_check_header=False)
    registry.max_header_length = _MAX_HEADER_BYTES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # the name EdDSA is old, not weak: RFC 9864
            verified = jws.deserialize_compact(token, key.key, registry=registry)
        return parse_object(verified.payload or b"", max_bytes=MAX_TOKEN_BYTES)
    except UnusableDocument as error:
        raise UnusableJwt(f"payload {error}") from error
    # joserfc parses the header with the json module: a signed `[[[…` is a RecursionError there.
    except (JoseError, ValueError, RecursionError) as error:
        raise UnusableJwt(f"signature: {type(error).__name__}") from error


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
