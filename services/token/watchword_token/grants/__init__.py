"""The grant types of the token endpoint, one module each.

A grant turns a request into the JSON of a successful answer or raises OAuthError. What they share (is the source live,
how a token is made, what the answer looks like) stands once, in `watchword_token.issuing`.
"""

from typing import Protocol

from watchword_token.issuing import TokenRequest


class Grant(Protocol):
    """One grant type."""

    async def redeem(self, request: TokenRequest) -> bytes:
        """The body of the answer. Raises OAuthError."""
        ...
