"""client_credentials: a confidential client acts for itself. Spec: RFC 6749 4.4."""

from watchword_policy.scopes import format_scope
from watchword_token.clients import PERSONAL_SCOPES
from watchword_token.issuing import Issuing, TokenRequest, answer, requested_resource, requested_scope
from watchword_web.errors import OAuthError, invalid_client


class ClientCredentialsGrant:
    """Tokens whose subject is the client itself."""

    def __init__(self, issuing: Issuing) -> None:
        self._issuing = issuing

    async def redeem(self, request: TokenRequest) -> bytes:
        """An access token and nothing else. Raises OAuthError.

        Spec: RFC 6749 4.4.2, 4.4.3 (no refresh token); RFC 9068 2.2 (sub is the client).
        """
        client = request.client
        # RFC 6749 4.4: only confidential clients.
        if client.is_public:
            raise OAuthError("unauthorized_client", "A public client cannot act for itself")
        requested = requested_scope(request.form)
        if not requested <= client.scope or not requested.isdisjoint(PERSONAL_SCOPES):
            raise OAuthError("invalid_scope", "The scope is unknown, not allowed for this client or about a person")
        scope = format_scope(requested) if requested else client.machine_scope
        resource = requested_resource(request.form, client)
        key = await self._issuing.key_for(request, {"client_id": client.client_id, "rev": request.position})
        if key is None:
            raise invalid_client("revoked")
        issued = await self._issuing.access_token(
            request, key, subject=client.client_id, scope=scope, resource=resource
        )
        return answer(issued, scope)
