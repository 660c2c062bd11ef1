"""What a token is bound to: the key of a DPoP proof or the client's certificate. Spec: RFC 9449 5, 6; RFC 8705 3."""

from typing import Final, Literal, NamedTuple

from watchword_runtime.connections import Connection, Proxies
from watchword_runtime.dpop_proofs import INVALID, PURPOSE, EndpointProofs, invalid_proof
from watchword_runtime.spending import Spend
from watchword_token.clients import Client
from watchword_verifier.dpop import ALGORITHMS
from watchword_verifier.possession import Proofs, Shown, certificate_thumbprint, check_possession
from watchword_verifier.tokens import Reason, TokenRefused
from watchword_web.errors import OAuthError, invalid_token

_ALGS: Final = " ".join(ALGORITHMS)


class Binding(NamedTuple):
    """The key that a token is bound to, as `cnf` names it."""

    method: Literal["jkt", "x5t#S256"]
    value: str

    @property
    def cnf(self) -> dict[str, str]:
        """The claim. Spec: RFC 7800 3.1."""
        return {self.method: self.value}

    @property
    def token_type(self) -> bytes:
        """What a client calls such a token. Spec: RFC 9449 5; RFC 8705 3 (a bearer token over mutual TLS)."""
        return b"DPoP" if self.method == "jkt" else b"Bearer"

    @property
    def text(self) -> str:
        """How a grant's row says it."""
        return f"{self.method}:{self.value}"


class Bindings:
    """Finds the keys of clients in their requests, and checks that who presents a bound token holds it."""

    def __init__(self, issuer: str, nonce_key: bytes, spend: Spend, proxies: Proxies, *, nonces_needed: bool) -> None:
        """nonce_key: the derived key for the purpose "dpop-nonces"."""
        self._proxies = proxies
        self._at_token = EndpointProofs(f"{issuer}/oauth2/token", nonce_key, spend, nonces_needed=nonces_needed)
        self._nonces_needed = nonces_needed

        async def spend_at_resource(once: str, until_s: float) -> bool:
            return await spend(PURPOSE, once, until_s)

        self._at_resource = Proofs(issuer, nonce_key=nonce_key if nonces_needed else None, spend=spend_at_resource)

    async def binding_of(self, client: Client, proof: bytes | None, connection: Connection, now_s: float) -> Binding:
        """What a token request's tokens shall be bound to: the key of its proof, or the client's certificate.

        Raises OAuthError as `_key_of` does, and invalid_request where the client must show what it did not show.
        Spec: RFC 8705 3; RFC 9449 5, 5.2.
        """
        if client.bound_to != "x5t#S256":
            if proof is None:
                raise invalid_proof("missing")
            return await self._key_of(proof, now_s)
        certificate = self._proxies.certificate_of(connection)
        if certificate is None or proof is not None:
            raise OAuthError(
                "invalid_request", "Tokens of this client are bound to its TLS certificate, which it has to show"
            )
        return Binding("x5t#S256", certificate_thumbprint(certificate))

    async def _key_of(self, proof: bytes, now_s: float) -> Binding:
        """The key that signed a token request's proof, used up.

        Raises OAuthError: use_dpop_nonce with a nonce to use, invalid_dpop_proof. Spec: RFC 9449 4.3, 5, 8.
        """
        return Binding("jkt", await self._at_token.thumbprint_of(proof, now_s))

    def next_nonce(self, now_s: float) -> tuple[tuple[bytes, bytes], ...]:
        """The header of an answer that gives a client the nonce for its next proofs. Spec: RFC 9449 8.2."""
        return ((b"dpop-nonce", self._at_token.nonce(now_s).encode()),) if self._nonces_needed else ()

    def _needed_nonce(self, now_s: float) -> dict[str, str]:
        return {"DPoP-Nonce": self._at_token.nonce(now_s)} if self._nonces_needed else {}

    async def check_holder(self, token: str, claims: dict[str, object], shown: Shown, now_s: float) -> None:
        """Whoever presents the token at a resource of ours holds what it is bound to. Raises OAuthError 401.

        Spec: RFC 9449 7.1, 9.
        """
        try:
            await check_possession(token, claims, shown, self._at_resource, now_s)
        except TokenRefused as refused:
            match refused.reason:
                case Reason.NONCE_NEEDED:
                    raise _challenge(
                        "use_dpop_nonce", "The DPoP proof needs this nonce", headers=self._needed_nonce(now_s)
                    ) from None
                case Reason.BAD_PROOF:
                    raise _challenge("invalid_dpop_proof", INVALID, detail=refused.detail) from None
                case _ if shown.proof is not None:
                    raise _challenge("invalid_token", invalid_token().description, detail=refused.detail) from None
                case _:
                    raise invalid_token(refused.detail) from None


def _challenge(error: str, description: str, *, detail: str = "", headers: dict[str, str] | None = None) -> OAuthError:
    """A refusal by a resource that says which proofs would do."""
    challenge = f'DPoP realm="Watchword", error="{error}", error_description="{description}", algs="{_ALGS}"'
    return OAuthError(error, description, 401, detail, {"WWW-Authenticate": challenge, **(headers or {})})
