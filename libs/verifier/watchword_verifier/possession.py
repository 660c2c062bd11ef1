"""Tokens that are bound to a key: who presents one shows that the key is its own. Spec: RFC 9449 7; RFC 8705 3."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Collection, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from watchword_verifier.dpop import (
    ALGORITHMS,
    NonceNeeded,
    Nonces,
    Proof,
    ProofRefused,
    Replays,
    check_freshness,
    read_proof,
)
from watchword_verifier.tokens import Reason, TokenRefused

# (what may be used once, until when it has to be remembered in seconds since 1970): whether this is its first use.
Spend = Callable[[str, float], Awaitable[bool]]


class Shown(NamedTuple):
    """What a request shows beside its token.

    proof: the DPoP header of a request that came with the scheme DPoP.  method, path: of that request; the path as it
    was sent, without query.  certificate: the TLS client certificate (DER), if the connection had one.
    """

    proof: str | None = None
    method: str = ""
    path: str = ""
    certificate: bytes | None = None


NOTHING: Final = Shown()


class Proofs:
    """How this resource server checks DPoP proofs."""

    def __init__(
        self,
        base_url: str | Collection[str],
        *,
        nonce_key: bytes | None = None,
        spend: Spend | None = None,
        remembered: int = 100_000,
    ) -> None:
        """base_url: where clients reach this service, one or several, to which a request's path is added.

        It is told and never read from a request: who passes on another's proof also writes the Host header. nonce_key:
        32 secret bytes, the same on all instances; proofs then need a nonce of ours.  spend: notes used proofs for all
        instances; without it each remembers its own.
        """
        self._base_urls = (base_url,) if isinstance(base_url, str) else tuple(base_url)
        if not all(url.startswith(("https://", "http://")) for url in self._base_urls) or not self._base_urls:
            raise ValueError("base_url is an absolute URL, for example https://orders.example.com")
        self._nonces = None if nonce_key is None else Nonces(nonce_key)
        self._spend = spend
        self._replays = Replays(remembered)
        self.algorithms = " ".join(ALGORITHMS)

    def nonce(self, now_s: float) -> str | None:
        """The nonce for a client's next proofs, where they need one."""
        return None if self._nonces is None else self._nonces.current(now_s)

    async def check(self, token: str, thumbprint: str, shown: Shown, now_s: float) -> None:
        """The proof is for this request and token, by the key with this thumbprint, and used now for the first time.

        Raises TokenRefused. Spec: RFC 9449 7.1, 11.1.
        """
        if shown.proof is None:
            raise TokenRefused(Reason.NOT_THE_HOLDER, "came without a proof")
        urls = [base.rstrip("/") + shown.path for base in self._base_urls]
        try:
            proof = read_proof(shown.proof, method=shown.method, urls=urls, access_token=token)
            until_s = check_freshness(proof, now_s, self._nonces)
        except NonceNeeded:
            raise TokenRefused(Reason.NONCE_NEEDED) from None
        except ProofRefused as error:
            raise TokenRefused(Reason.BAD_PROOF, str(error)) from None
        if not hmac.compare_digest(proof.thumbprint.encode(), thumbprint.encode()):
            raise TokenRefused(Reason.NOT_THE_HOLDER, "another key's proof")
        if not await self._is_first(proof, until_s, now_s):
            raise TokenRefused(Reason.BAD_PROOF, "used before")

    async def _is_first(self, proof: Proof, until_s: float, now_s: float) -> bool:
        if self._spend is not None:
            return await self._spend(proof.once, until_s)
        return self._replays.is_first(proof.once, until_s, now_s)


async def check_possession(
    token: str, payload: Mapping[str, object], shown: Shown, proofs: Proofs | None, now_s: float
) -> None:
    """Whoever shows this holds every key that the token is bound to. Raises TokenRefused.

    A token that came with a proof and is bound to no key is refused too: nothing says that the proof is its holder's.
    Spec: RFC 7800 3.1; RFC 8705 3; RFC 9449 7.1, 7.2.
    """
    cnf = payload.get("cnf", {})
    if not isinstance(cnf, dict) or not (cnf or "cnf" not in payload):
        raise TokenRefused(Reason.MALFORMED, "cnf")
    if shown.proof is not None and "jkt" not in cnf:
        raise TokenRefused(Reason.NOT_THE_HOLDER, "came with a proof, and is bound to no key")
    for method, value in cnf.items():
        if not isinstance(value, str):
            raise TokenRefused(Reason.MALFORMED, "cnf")
        match method:
            case "jkt":
                if proofs is None:
                    raise TokenRefused(Reason.NOT_THE_HOLDER, "no Proofs here: bound tokens cannot be checked")
                await proofs.check(token, value, shown, now_s)
            case "x5t#S256":
                _check_certificate(value, shown.certificate)
            case _:
                # Nobody here can tell whose it is.
                raise TokenRefused(Reason.NOT_THE_HOLDER, "bound in a way that is not known here")


def certificate_thumbprint(certificate: bytes) -> str:
    """The `x5t#S256` of a certificate in DER. Spec: RFC 8705 3.1."""
    return urlsafe_b64encode(sha256(certificate).digest()).rstrip(b"=").decode()


def _check_certificate(thumbprint: str, certificate: bytes | None) -> None:
    if certificate is None:
        raise TokenRefused(Reason.NOT_THE_HOLDER, "came without a certificate")
    if not hmac.compare_digest(certificate_thumbprint(certificate).encode(), thumbprint.encode()):
        raise TokenRefused(Reason.NOT_THE_HOLDER, "another certificate")
