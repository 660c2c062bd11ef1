"""DPoP proofs at an endpoint where clients ask for something. Spec: RFC 9449 4.3, 5, 8."""

from typing import Final

from watchword_runtime.spending import Spend
from watchword_verifier.dpop import NonceNeeded, Nonces, ProofRefused, check_freshness, read_proof
from watchword_web.errors import OAuthError

PURPOSE: Final = "dpop"
INVALID: Final = "The DPoP proof is missing, invalid, not for this request, too old or used before"


class EndpointProofs:
    """Checks the proofs of POST requests at one endpoint."""

    def __init__(self, url: str, nonce_key: bytes, spend: Spend, *, nonces_needed: bool) -> None:
        """nonce_key: the derived key for the purpose "dpop-nonces".  nonces_needed: False judges a proof that carries
        no nonce by the time in it."""
        self._urls = (url,)
        self._nonces = Nonces(nonce_key)
        self._nonces_needed = nonces_needed
        self._spend = spend

    async def thumbprint_of(self, proof: bytes, now_s: float) -> str:
        """The thumbprint of the key that signed the proof, which is used up.

        Raises OAuthError: use_dpop_nonce with a nonce to use, invalid_dpop_proof.
        """
        try:
            read = read_proof(proof.decode("latin-1"), method="POST", urls=self._urls)
            is_judged_by_nonce = self._nonces_needed or read.nonce is not None
            until_s = check_freshness(read, now_s, self._nonces if is_judged_by_nonce else None)
        except NonceNeeded:
            raise OAuthError(
                "use_dpop_nonce", "The DPoP proof needs this nonce", headers={"DPoP-Nonce": self.nonce(now_s)}
            ) from None
        except ProofRefused as error:
            raise invalid_proof(str(error)) from None
        if not await self._spend(PURPOSE, read.once, until_s):
            raise invalid_proof("used before")
        return read.thumbprint

    def nonce(self, now_s: float) -> str:
        """What a client shall put into its next proofs. Spec: RFC 9449 8.2."""
        return self._nonces.current(now_s)


def invalid_proof(detail: str) -> OAuthError:
    """The one refusal of every proof that is none."""
    return OAuthError("invalid_dpop_proof", INVALID, 400, detail)
