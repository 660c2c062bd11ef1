"""Private keys as objects: how they are made, what is public of them, and how they sign.

Spec: RFC 7517 4; RFC 7518 3.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from joserfc.jwk import ECKey, OKPKey, RSAKey
from pydantic import JsonValue

Alg = Literal["ES256", "RS256", "EdDSA"]
SIGNING_ALGS: Final[tuple[Alg, ...]] = ("ES256", "RS256", "EdDSA")
OPAQUE_ALG: Final = "A256GCM"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[bytes], bytes]
IsGenuine = Callable[[bytes, bytes], bool]


async def new_signing_key(alg: Alg) -> tuple[bytes, dict[str, JsonValue]]:
    """A fresh private key as DER, and its public JWK."""
    private = await asyncio.to_thread(_generate, alg)  # an RSA key takes a tenth of a second and more
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), _public_jwk(private, alg)


def operations_of(der: bytes) -> tuple[Sign, IsGenuine]:
    """How a private key signs and how its signatures are checked."""
    # It was made here and sealed since: proving once more that an RSA key is one would stop the event loop for 30 ms.
    return _operations(cast(PrivateKey, load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)))


def _generate(alg: Alg) -> PrivateKey:
    match alg:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()


def _public_jwk(private: PrivateKey, alg: Alg) -> dict[str, JsonValue]:
    """The public half with kid (its thumbprint), alg and use. Spec: RFC 7517 4; RFC 7638 3."""
    jwk: ECKey | RSAKey | OKPKey
    if isinstance(private, ec.EllipticCurvePrivateKey):
        jwk = ECKey.import_key(private)
    elif isinstance(private, rsa.RSAPrivateKey):
        jwk = RSAKey.import_key(private)
    else:
        jwk = OKPKey.import_key(private)
    public = {str(k): cast(JsonValue, v) for k, v in jwk.as_dict(private=False).items()}
    return {**public, "kid": jwk.thumbprint(), "alg": alg, "use": "sig"}


def _operations(private: PrivateKey) -> tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bool]]:
    """How to sign with a key and how to check, with JWS signatures (RFC 7518 3.4: r and s, not DER)."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _es256(private)
    if isinstance(private, rsa.RSAPrivateKey):
        scheme, digest, rsa_public = padding.PKCS1v15(), hashes.SHA256(), private.public_key()

        def sign_rs256(data: bytes) -> bytes:
            return private.sign(data, scheme, digest)

        return sign_rs256, _checked(lambda data, signature: rsa_public.verify(signature, data, scheme, digest))
    ed_public = private.public_key()
    return private.sign, _checked(lambda data, signature: ed_public.verify(signature, data))


def _es256(
    private: ec.EllipticCurvePrivateKey,
) -> tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bool]]:
    scheme, public = ec.ECDSA(hashes.SHA256()), private.public_key()

    def sign(data: bytes) -> bytes:
        # DER of two numbers below 2**256: SEQUENCE, INTEGER r, INTEGER s, each with at most one leading zero byte.
        der = private.sign(data, scheme)
        end_of_r = 4 + der[3]
        r, s = der[4:end_of_r], der[end_of_r + 2 :]
        return r[-32:].rjust(32, b"\0") + s[-32:].rjust(32, b"\0")

    def check(data: bytes, signature: bytes) -> None:
        if len(signature) != 64:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), data, scheme)

    return sign, _checked(check)


def _checked(check: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], bool]:
    def is_genuine(data: bytes, signature: bytes) -> bool:
        try:
            check(data, signature)
        except InvalidSignature:
            return False
        return True

    return is_genuine
