"""client_credentials: a confidential client acts for itself, or a script for a person. Spec: RFC 6749 4.4."""

from pydantic import JsonValue

from watchword_policy.scopes import PERSONAL, format_scope
from watchword_token.grants.personal import PersonalCredentials
from watchword_token.issuing import Issuing, TokenRequest, answer, requested_scope
from watchword_token.resources import requested_resource, scope_for
from watchword_web.errors import OAuthError, invalid_client


class ClientCredentialsGrant:
    """Tokens whose subject is the client itself, unless a person is proved in place of the client."""

    def __init__(self, issuing: Issuing, personal: PersonalCredentials) -> None:
        self._issuing = issuing
        self._personal = personal

    async def redeem(self, request: TokenRequest) -> bytes:
        """An access token and nothing else. Raises OAuthError.

        Spec: RFC 6749 4.4.2, 4.4.3 (no refresh token); RFC 9068 2.2 (sub is the client).
        """
        client = request.client
        if request.credential is not None:
            return await self._personal.redeem(request, request.credential)
        # RFC 6749 4.4: only confidential clients.
        if client.is_public:
            raise OAuthError("unauthorized_client", "A public client cannot act for itself")
        requested = requested_scope(request.form)
        if not requested <= client.scope or not requested.isdisjoint(PERSONAL):
            raise OAuthError("invalid_scope", "The scope is unknown, not allowed for this client or about a person")
        scope = format_scope(requested) if requested else client.machine_scope
        resource = requested_resource(request.form, client, self._issuing.resources)
        scope = scope_for(scope, client, resource, self._issuing.resources)
        source: dict[str, JsonValue] = {"client_id": client.client_id, "rev": request.position}
        key = await self._issuing.key_for(request, source, resource)
        if key is None:
            raise invalid_client("revoked")
        issued = await self._issuing.access_token(
            request, key, subject=client.client_id, scope=scope, resource=resource
        )
        return answer(issued, scope)
