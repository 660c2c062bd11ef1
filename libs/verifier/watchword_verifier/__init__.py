"""Verifies Watchword's access tokens where they are used, and obeys revocations within milliseconds.

- verifier.py: `Verifier`, what an application calls
- tokens.py: what makes a token valid (RFC 9068 section 4), as an ordered list
- staleness.py: what to do while nobody here can know, for each audience
- possession.py, dpop.py: tokens that are bound to a key, and the proofs that who presents one holds it
- keys.py: the issuer's public keys, by kid
- revocations.py: `RevocationSet`, the one decision about what is revoked; Watchword's own services use it too
- follower.py: the feed's state: snapshot, stream, gaps, epochs, freshness
- feeds.py: `HttpFeed` and `NatsFeed`, how the feed gets here
- client.py: `ClientCredentials`, this service as a client of the issuer; introspection
- receipts.py: how far we have got, told to the issuer
- resource.py: `ProtectedResource`, what this server says about itself (RFC 9728)
- bearer.py, fastapi.py, asgi.py: `require(scope=…)` for FastAPI (an extra), `RequireToken` for others
"""

from watchword_verifier.client import ClientCredentials, IssuerUnavailable
from watchword_verifier.feeds import HttpFeed, NatsFeed
from watchword_verifier.possession import Proofs, Shown
from watchword_verifier.resource import ProtectedResource
from watchword_verifier.revocations import RevocationSet
from watchword_verifier.staleness import WhenStale
from watchword_verifier.tokens import Claims, Reason, TokenRefused
from watchword_verifier.verifier import Verifier

__all__ = [
    "Claims",
    "ClientCredentials",
    "HttpFeed",
    "IssuerUnavailable",
    "NatsFeed",
    "Proofs",
    "ProtectedResource",
    "Reason",
    "RevocationSet",
    "Shown",
    "TokenRefused",
    "Verifier",
    "WhenStale",
]
