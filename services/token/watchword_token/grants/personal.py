"""client_credentials of a person: a script names a client, without its secret, and proves whom it acts for.

The token is the person's, for the client: what the client's people would get by signing in, for as long as one access
token lives. Where it is used, the application verifies it here.
"""

import structlog
from pydantic import JsonValue

from watchword_events.exports import UserExport
from watchword_policy.scopes import format_scope, is_privileged
from watchword_token.access import AccessRules, NotLetIn
from watchword_token.issuing import Credential, Issuing, NotAllowed, TokenRequest, answer, requested_scope
from watchword_token.memory import Kept
from watchword_token.persons import Persons
from watchword_token.profile import User
from watchword_token.resources import requested_resource, scope_for
from watchword_web.errors import OAuthError, invalid_client

log = structlog.get_logger()


class PersonalCredentials:
    """Tokens whose subject is a person who is not there."""

    def __init__(self, issuing: Issuing, persons: Persons, users: Kept[UserExport, User], access: AccessRules) -> None:
        self._issuing = issuing
        self._persons = persons
        self._users = users
        self._access = access

    async def redeem(self, request: TokenRequest, shown: Credential) -> bytes:
        """An access token and nothing else. Raises OAuthError: unauthorized_client for a client that does not take
        scripts, invalid_grant for a person who is not proved or may not use the client, invalid_scope, invalid_target.

        Spec: RFC 6749 4.4.3 (no refresh token); RFC 7521 4.1; RFC 9068 2.2.
        """
        client = request.client
        if not client.personal_credentials:
            raise NotAllowed("unauthorized_client", "This client takes no scripts of persons (personal_credentials)")
        proved = await self._persons.proved(shown, request)
        user = await self._users.get(proved.user_id)
        if user is None or not user.active:
            raise OAuthError("invalid_grant", "The person may not use this client", 400, "unknown or disabled")
        if not user.may_use(client):
            raise NotAllowed("invalid_grant", "The person may not use this client")
        # What stays, and what administers, is never given to somebody who was not asked.
        limit = frozenset(one for one in client.scope if one != "offline_access" and not is_privileged(one))
        requested = requested_scope(request.form)
        if not requested <= limit:
            raise NotAllowed("invalid_scope", "The scope is unknown, not allowed for this client or not for scripts")
        resource = requested_resource(request.form, client, self._issuing.resources)
        scope = scope_for(format_scope(requested or limit), client, resource, self._issuing.resources)
        try:
            access = await self._access.of_person(user.user_id, client, request.now, address=request.address)
        except NotLetIn as refused:
            said = f"Access rules do not let the person in (decision {refused.decision_id})"
            raise NotAllowed("invalid_grant", said) from None
        named: dict[str, JsonValue] = {"client_id": client.client_id, "rev": request.position, "iat": request.now_s}
        if not self._issuing.feed.is_live(named):
            raise invalid_client("revoked")
        key = await self._issuing.key_for(request, proved.source, resource)
        if key is None:
            raise OAuthError("invalid_grant", "The credential of the person was revoked")
        issued = await self._issuing.access_token(
            request,
            key,
            subject=user.user_id,
            scope=scope,
            resource=resource,
            lineage=proved.carried,
            access=access,
            not_after=proved.not_after,
            address=request.address,
        )
        log.info("script.token_issued", client_id=client.client_id, user_id=user.user_id, gid=proved.carried.get("gid"))
        return answer(issued, scope)
