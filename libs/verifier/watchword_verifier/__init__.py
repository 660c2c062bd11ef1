"""Verifies Watchword's access tokens where they are used, and obeys revocations within milliseconds.

- verifier.py: `Verifier`, what an application calls
- tokens.py: what makes a token valid (RFC 9068 section 4), as an ordered list
- keys.py: the issuer's public keys, by kid
- revocations.py: `RevocationSet`, the one decision about what is revoked; Watchword's own services use it too
- follower.py: the feed's state: snapshot, stream, gaps, epochs, freshness
- feeds.py: `HttpFeed` and `NatsFeed`, how the feed gets here
- client.py: `ClientCredentials`, this service as a client of the issuer; introspection
- fastapi.py: `require(scope=…)`; an extra
"""

from watchword_verifier.client import ClientCredentials, IssuerUnavailable
from watchword_verifier.feeds import HttpFeed, NatsFeed
from watchword_verifier.revocations import RevocationSet
from watchword_verifier.tokens import Claims, Reason, TokenRefused
from watchword_verifier.verifier import Verifier, WhenStale

__all__ = [
    "Claims",
    "ClientCredentials",
    "HttpFeed",
    "IssuerUnavailable",
    "NatsFeed",
    "Reason",
    "RevocationSet",
    "TokenRefused",
    "Verifier",
    "WhenStale",
]
