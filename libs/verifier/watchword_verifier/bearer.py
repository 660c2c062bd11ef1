"""The token in a request, what a route needs of it, and what to answer where it does not do.

Spec: RFC 6750 2.1, 3, 3.1; RFC 9449 7.1, 7.2; RFC 9470 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from watchword_verifier.possession import Shown
from watchword_verifier.tokens import Claims, Reason, TokenRefused
from watchword_verifier.verifier import Verifier


class Challenge(Exception):
    """The request is refused with this status and these headers. error: what a body may say."""

    def __init__(self, status: int, error: str = "", *, headers: Mapping[str, str]) -> None:
        super().__init__(error)
        self.status = status
        self.error = error or "unauthorized"
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Needs:
    """What a route needs. scope: scopes that the token must all have, separated by spaces.

    acr: authentication contexts of which one must have been reached, separated by spaces, best first.  max_age: how
    long ago the person may have signed in.
    """

    scope: str = ""
    acr: str = ""
    max_age: timedelta | None = None


class Asked(NamedTuple):
    """A request as far as it says who sent it: the values of its headers, all of them.

    path: as it was sent, without query.  certificate: of the TLS connection (DER), where there was one.
    """

    authorization: Sequence[str]
    dpop: Sequence[str] = ()
    method: str = ""
    path: str = ""
    certificate: bytes | None = None


_BEARER: Final = "Bearer"
_DPOP: Final = "DPoP"


async def admit(verifier: Verifier, asked: Asked, needs: Needs, metadata_url: str = "") -> Claims:
    """The claims of who may come in: a good token of its own, with all that is needed. Raises Challenge.

    metadata_url: where this resource says who makes its tokens; each challenge names it.
    """
    resource = _Resource(verifier.proofs.algorithms if verifier.proofs is not None else "", metadata_url)
    scheme, token = resource.credentials_in(asked.authorization)
    proof = None
    if scheme == _DPOP:
        if len(asked.dpop) != 1:
            # RFC 9449 4.3: exactly one.
            raise resource.challenge(401, "invalid_dpop_proof", scheme=scheme)
        proof = asked.dpop[0]
    try:
        claims = await verifier.verify(token, Shown(proof, asked.method, asked.path, asked.certificate))
    except TokenRefused as refused:
        nonce = verifier.proofs.nonce(verifier.now()) if verifier.proofs is not None else None
        raise resource.refusal_of(refused, scheme, nonce) from None
    resource.check_needs(claims, needs, scheme, verifier.now())
    return claims


@dataclass(frozen=True, slots=True)
class _Resource:
    """Reads credentials and writes challenges. algorithms: of the DPoP proofs that are taken, "" for none."""

    algorithms: str
    metadata_url: str

    def credentials_in(self, authorization: Sequence[str]) -> tuple[str, str]:
        """Scheme and token of the Authorization headers; never one from the query, which ends up in logs."""
        if not authorization:
            # RFC 6750 3.1: who sent no credentials is told nothing but how to.
            raise self.challenge(401)
        name, _, token = authorization[0].partition(" ")
        if len(authorization) > 1 or not token:
            raise self.challenge(400, "invalid_request")
        if name.lower() == "bearer":
            return _BEARER, token.strip(" ")
        if name.lower() == "dpop" and self.algorithms:
            return _DPOP, token.strip(" ")
        raise self.challenge(401)

    def check_needs(self, claims: Claims, needs: Needs, scheme: str, now_s: float) -> None:
        """The token has the scopes, and the person signed in well and lately enough. Spec: RFC 9470 3, 4."""
        wanted = frozenset(needs.scope.split())
        if not wanted <= claims.scope:
            raise self.challenge(403, "insufficient_scope", scheme=scheme, scope=" ".join(sorted(wanted)))
        parameters = {}
        if needs.acr and claims.acr not in needs.acr.split():
            parameters["acr_values"] = needs.acr
        if needs.max_age is not None and claims.signed_in_s < now_s - needs.max_age.total_seconds():
            parameters["max_age"] = str(int(needs.max_age.total_seconds()))
        if parameters:
            raise self.challenge(401, "insufficient_user_authentication", scheme=scheme, **parameters)

    def refusal_of(self, refused: TokenRefused, scheme: str, nonce: str | None) -> Challenge:
        """What is answered when a token was refused: 503 while nobody can know, else 401."""
        if refused.is_temporary:
            return Challenge(503, "temporarily_unavailable", headers={"Retry-After": "1"})
        match refused.reason:
            case Reason.NONCE_NEEDED if nonce is not None:
                needed = self.challenge(401, "use_dpop_nonce", scheme=scheme)
                return Challenge(401, "use_dpop_nonce", headers={**needed.headers, "DPoP-Nonce": nonce})
            case Reason.BAD_PROOF:
                return self.challenge(401, "invalid_dpop_proof", scheme=scheme)
            case _:
                return self.challenge(401, "invalid_token", scheme=scheme)

    def challenge(self, status: int, error: str = "", *, scheme: str = _BEARER, **parameters: str) -> Challenge:
        """The refusal under the scheme that the request came with; a 401 to a bearer also names DPoP where that does.

        Spec: RFC 9449 7.1, 7.2 (algs); RFC 9728 5.1.
        """
        given = {"error": error, **parameters} if error else {}
        if self.metadata_url:
            given["resource_metadata"] = self.metadata_url
        algs = {"algs": self.algorithms} if self.algorithms else {}
        if scheme == _DPOP:
            value = _written(_DPOP, given | algs)
        elif algs and status == 401:
            value = f"{_written(_BEARER, given)}, {_written(_DPOP, algs)}"
        else:
            value = _written(_BEARER, given)
        return Challenge(status, error, headers={"WWW-Authenticate": value})


def _written(scheme: str, parameters: Mapping[str, str]) -> str:
    listed = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    return f"{scheme} {listed}" if listed else scheme
