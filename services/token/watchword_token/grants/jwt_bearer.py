"""jwt-bearer: a trusted issuer's JWT is the grant. Spec: RFC 7523 2.1."""

from typing import Final

from watchword_token.issuing import TokenRequest, requested_scope
from watchword_token.workloads import Workloads
from watchword_web.errors import OAuthError

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class JwtBearerGrant:
    """An assertion becomes an access token."""

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads

    async def redeem(self, request: TokenRequest) -> bytes:
        """An access token for the subject of the assertion. Raises OAuthError.

        Spec: RFC 7523 2.1, 3, 3.1; RFC 8707 2.
        """
        assertion = request.form.get("assertion")
        if assertion is None:
            raise OAuthError("invalid_request", "assertion is missing")
        return await self._workloads.issue(
            request,
            assertion,
            targets=tuple(request.form.get("resource", "").split()),
            scope=requested_scope(request.form),
            refuse=lambda why: OAuthError("invalid_grant", why),
        )
