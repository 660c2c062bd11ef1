"""What a client would be told of a person who signed in now. No grant is made, and nothing that anybody could show."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from watchword_events.exports import ClientExport, UserExport
from watchword_policy.scopes import format_scope, granted
from watchword_runtime.feed import Feed
from watchword_token.access import NOTHING, AccessRules, NotLetIn, access_claims
from watchword_token.clients import Client
from watchword_token.id_token import address_claim, id_claims
from watchword_token.issuing import Issuing, lineage_of
from watchword_token.memory import Kept
from watchword_token.profile import User
from watchword_token.resources import requested_resource, scope_for, shape_of
from watchword_token.userinfo import document_of
from watchword_web.errors import FieldError, OAuthError, Problem

# What each sign-in has of its own, and a trial has not.
_ITS_OWN: Final = frozenset({"jti", "gid", "sid", "rev"})
_PASSWORD: Final = "pwd"

Id = Annotated[str, Field(min_length=1, max_length=512)]
OneScope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,256}$")]


class Tried(BaseModel):
    """Who would sign in to what. scope, resource: as the authorization request would have them after its checks.

    provider_id: through which provider; null for a password here.  issuer: what access rules see of it; null for ours.
    address: where the person would be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: Id
    user_id: Id
    scope: Annotated[frozenset[OneScope], Field(max_length=64)]
    resource: Annotated[tuple[Id, ...], Field(max_length=16)] = ()
    provider_id: Id | None = None
    issuer: Annotated[str, Field(max_length=2048)] | None = None
    address: Annotated[str, Field(max_length=64)] = ""


class ToldInToken(BaseModel):
    """An access token. format: `jwt` or `opaque`, which only we can read."""

    format: str
    lifetime_s: int
    claims: dict[str, JsonValue]


class Told(BaseModel):
    """What the client would learn, without what each sign-in has of its own (`jti`, `gid`, `sid`, `rev`).

    allowed: by the person's permissions and the access rules; the rest says what it would be told if so.  scope: that
    would be granted.  id_token, userinfo: claims; null without `openid`.
    """

    allowed: bool
    scope: list[str]
    access_token: ToldInToken
    id_token: dict[str, JsonValue] | None
    userinfo: dict[str, JsonValue] | None
    refresh_token: bool


@dataclass(frozen=True, slots=True)
class Trials:
    """Works with what issues tokens, up to the point where one would be signed."""

    issuing: Issuing
    clients: Kept[ClientExport, Client]
    users: Kept[UserExport, User]
    access: AccessRules
    feed: Feed

    async def of(self, tried: Tried, now: datetime) -> Told:
        """Raises Problem: 404 for an unknown client or person, 400 for a resource that is not the client's to ask for;
        Unreachable, BookAway (503).
        """
        client = await self.clients.renew(tried.client_id) or await self.clients.get(tried.client_id)
        user = await self.users.renew(tried.user_id) or await self.users.get(tried.user_id)
        if client is None or user is None:
            raise _nobody("person" if client else "client")
        resources = self.issuing.resources
        try:
            resource = requested_resource({"resource": " ".join(tried.resource)}, client, resources)
            shape = shape_of(client, resource, resources)
        except OAuthError as refused:
            errors: list[FieldError] = [{"pointer": "#/resource", "detail": refused.description}]
            raise Problem(400, "The request is not valid", errors=errors) from None
        try:
            decision = await self.access.now(
                tried.user_id, client, now, issuer=tried.issuer or "", address=tried.address
            )
        except NotLetIn:
            raise _nobody("person") from None
        scope = granted(tried.scope, client=client.scope, user=user.may_hold(tried.scope), consent=None)
        allowed = client.enabled and user.active and user.may_use(client) and decision.allowed
        access = access_claims(decision) if decision.allowed else NOTHING
        claims = await self._access_token(tried, client, resource, scope, access, now)
        has_identity = "openid" in scope
        return Told(
            allowed=allowed,
            scope=sorted(scope),
            access_token=ToldInToken(
                format="opaque" if shape.opaque else "jwt",
                lifetime_s=shape.lifetime_s,
                claims={name: value for name, value in claims.items() if name not in _ITS_OWN},
            ),
            id_token=self._id_token(tried, client, user, scope, access, now) if has_identity else None,
            userinfo=orjson.loads(document_of(user, client, claims)) if has_identity else None,
            refresh_token="refresh_token" in client.grant_types,
        )

    async def _access_token(
        self,
        tried: Tried,
        client: Client,
        resource: tuple[str, ...],
        scope: frozenset[str],
        access: Mapping[str, JsonValue],
        now: datetime,
    ) -> dict[str, Any]:
        now_s, resources = int(now.timestamp()), self.issuing.resources
        return await self.issuing.claims_of(
            client,
            self.feed.position,
            subject=tried.user_id,
            named=self.issuing.subjects.name(client.sector, tried.user_id),
            scope=scope_for(format_scope(scope), client, resource, resources),
            resource=resource,
            lineage=lineage_of(gid="", sid=None, idp=tried.provider_id, auth_time=now, acr=None),
            access=access,
            iat=now_s,
            exp=now_s + shape_of(client, resource, resources).lifetime_s,
            address=tried.address,
        )

    def _id_token(
        self,
        tried: Tried,
        client: Client,
        user: User,
        scope: frozenset[str],
        access: Mapping[str, JsonValue],
        now: datetime,
    ) -> dict[str, JsonValue]:
        """Of the code flow: an access token comes beside it."""
        return id_claims(
            client,
            issuer=self.issuing.tokens.issuer,
            sub=self.issuing.subjects.name(client.sector, tried.user_id),
            claims=user.claims(scope, "id_token", client.groups) | address_claim(format_scope(scope), tried.address),
            named=NOTHING,
            access=access,
            auth_time=now,
            amr=_PASSWORD if tried.provider_id is None else "",
            acr=None,
            now_s=int(now.timestamp()),
            is_alone=False,
        )


def _nobody(what: str) -> Problem:
    return Problem(404, "Nobody can try this", f"There is no such {what}.")
