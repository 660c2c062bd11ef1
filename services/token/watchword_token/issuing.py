"""The shared phases of every grant: is the source live, make the access token, write the answer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import orjson
import structlog
from pydantic import JsonValue

from watchword_database.ids import new_id
from watchword_events.exports import ResourceExport
from watchword_events.names import Position
from watchword_policy.details import Details, for_audience
from watchword_policy.scopes import InvalidScope, parse_scope
from watchword_runtime.books import Book
from watchword_runtime.feed import Feed
from watchword_token.access import access_at
from watchword_token.additions import Additions
from watchword_token.binding import Binding
from watchword_token.clients import Client
from watchword_token.formats import Formats
from watchword_token.keys import EncryptionKey, Keys, SigningKey
from watchword_token.pairwise import Names
from watchword_token.particulars import NONE, Particulars
from watchword_token.resources import Resources, shape_of
from watchword_token.tokens import Tokens, audience_of, compact, compact_aside
from watchword_web.errors import OAuthError
from watchword_web.forms import Params

log = structlog.get_logger()


class Credential(NamedTuple):
    """What a script shows of the person that it acts for, in place of a client's secret; see `persons`."""

    kind: Literal["api_key", "assertion", "token"]
    text: str


class TokenRequest(NamedTuple):
    """A request at the token endpoint after client authentication.

    position: what this instance had applied before it read anything that the answer depends on; tokens carry it as
    `rev`, so that whatever is revoked meanwhile kills them.  binding: what the tokens shall be bound to.
    credential: of a person, where the client is only named.  address: where that comes from.
    """

    form: Params
    client: Client
    position: Position
    now_s: float
    binding: Binding | None = None
    credential: Credential | None = None
    address: str = ""

    @property
    def now(self) -> datetime:
        """The same, for columns."""
        return datetime.fromtimestamp(self.now_s, UTC)


class NotAllowed(OAuthError):
    """A refusal by what was configured for the client: its newest settings may say otherwise."""


class Behind(Exception):
    """A source carries a `rev` that this instance has not applied yet: catch up, then begin the request again.

    A token stamped with an older position than its source would be killed by what the source was decided after.
    """

    def __init__(self, rev: int) -> None:
        super().__init__(rev)
        self.rev = rev


MintKey = SigningKey | EncryptionKey
_NOTHING: Final[Mapping[str, JsonValue]] = {}


class Issued(NamedTuple):
    """A fresh access token. token_type: the scheme that it is presented with.  details: what it is for.

    Spec: RFC 6749 7.1; RFC 9449 5; RFC 9396 7.
    """

    token: bytes
    token_type: bytes
    expires_in_s: int
    details: Details = ()


class Issuing:
    """Makes tokens from sources that are live."""

    def __init__(
        self,
        tokens: Tokens,
        keys: Keys,
        feed: Feed,
        formats: Formats,
        subjects: Names,
        resources: Book[ResourceExport, Resources],
        additions: Additions,
    ) -> None:
        self.tokens = tokens
        self.keys = keys
        self.feed = feed
        self.formats = formats
        self.subjects = subjects
        self._resources = resources
        self._additions = additions

    @property
    def resources(self) -> Resources:
        """Resource servers by identifier. Raises BookAway (503)."""
        return self._resources.page

    def check_reached(self, request: TokenRequest, source: Mapping[str, JsonValue]) -> None:
        """Raises Behind where the source was made from newer state than the request is answered from."""
        if source["rev"] > request.position:  # type: ignore[operator]  # a position, always
            raise Behind(source["rev"])  # type: ignore[arg-type]  # as above

    async def key_for(
        self, request: TokenRequest, source: Mapping[str, JsonValue], resource: tuple[str, ...] = ()
    ) -> MintKey | None:
        """The key that shall make the token, if nothing revoked matches the source (its lineage and its own `rev`).

        resource: what the token is for. None when the source is dead. Raises Behind, ConnectionError as `Keys.signer`,
        and OAuthError invalid_target for resources that take different tokens.
        """
        self.check_reached(request, source)
        shape = shape_of(request.client, resource, self.resources)
        key: MintKey = await self.keys.sealer() if shape.opaque else await self.keys.signer(shape.alg)
        return key if self.feed.is_live(source, key.kid) else None

    async def access_token(
        self,
        request: TokenRequest,
        key: MintKey,
        *,
        subject: str,
        scope: str,
        resource: tuple[str, ...] = (),
        lineage: Mapping[str, JsonValue] = _NOTHING,
        particulars: Particulars = NONE,
        access: Mapping[str, JsonValue] = _NOTHING,
        not_after: datetime | None = None,
        lifetime_s: int | None = None,
        address: str = "",
    ) -> Issued:
        """A token in the client's format. lineage: gid, sid, idp and what else makes it revocable; no null values.

        key: from `key_for`, which asked whether the source is live.  access: what access rules gave.  not_after: when
        what it depends on ends at the latest.  lifetime_s: as for `shape_of`.  address: of the person's session.
        Spec: RFC 9068 2, 2.2; RFC 7516 4.1 (dir, A256GCM).
        """
        client, now_s = request.client, int(request.now_s)
        named = subject
        if client.sector is not None:
            named = await self.subjects.recorded(client, subject, request.position)
        exp = now_s + shape_of(client, resource, self.resources, lifetime_s=lifetime_s).lifetime_s
        if not_after is not None:
            exp = min(exp, int(not_after.timestamp()))
        claims = await self.claims_of(
            client,
            request.position,
            subject=subject,
            named=named,
            scope=scope,
            resource=resource,
            lineage=lineage,
            access=access,
            iat=now_s,
            exp=exp,
            address=address,
        )
        # RFC 9396 9.1: only what concerns those who shall accept the token.
        details = for_audience(particulars.details, claims["aud"])  # type: ignore[arg-type]  # text or a list of texts
        if details:
            claims["authorization_details"] = list(details)
        if particulars.userinfo:
            claims["userinfo_claims"] = list(particulars.userinfo)
        token_type = b"Bearer"
        if request.binding is not None:
            claims["cnf"] = {**request.binding.cnf}
            token_type = request.binding.token_type
        payload = orjson.dumps(claims)
        if isinstance(key, EncryptionKey):
            token = key.seal(payload)
        elif key.is_slow:
            token = await compact_aside(key, key.access_header, payload)
        else:
            token = compact(key, key.access_header, payload)
        check_size(client, "access token", token)
        return Issued(token, token_type, exp - now_s, details)

    async def claims_of(
        self,
        client: Client,
        position: Position,
        *,
        subject: str,
        named: str,
        scope: str,
        resource: tuple[str, ...],
        lineage: Mapping[str, JsonValue],
        access: Mapping[str, JsonValue],
        iat: int,
        exp: int,
        address: str,
    ) -> dict[str, JsonValue]:
        """What an access token says, but for what a request binds it to. named: what the client calls the subject.

        The others: as for `access_token`. Spec: RFC 9068 2.2.
        """
        if resource and access:
            access = access_at(access, client, resource)
        # A client that acts for itself is no person, and neither is the subject of a trusted issuer.
        is_person = subject != client.client_id and "fed:iss" not in lineage
        if is_person and self._additions.concern(client, scope):
            access = {**access, **await self._additions.of(client, subject, scope, address)}
        issuer = self.tokens.issuer
        claims: dict[str, JsonValue] = {
            "iss": issuer,
            "sub": named,
            "aud": audience_of(client, scope, resource, issuer, administers=is_person and client.administers),
            "exp": exp,
            "iat": iat,
            "jti": new_id(),
            "client_id": client.client_id,
            "rev": position,
            "scope": scope,
            **access,
            **lineage,
        }
        if not scope:
            del claims["scope"]
        return claims


def check_size(client: Client, what: str, token: bytes) -> None:
    """Raises OAuthError token_too_large for a token that the client cannot keep, as in a cookie of 4096 bytes.

    A browser drops a cookie that is too large without a word; here everybody is told what to do.
    """
    most = client.max_token_bytes
    if most is not None and len(token) > most:
        log.warning("token.too_large", client_id=client.client_id, token=what, bytes=len(token), max_bytes=most)
        raise OAuthError(
            "token_too_large",
            f"The {what} would have {len(token)} bytes, and this client keeps {most}. An administrator can choose fewer"
            " groups for it (groups_filter) or keep claims to userinfo (userinfo_claims_only)",
        )


def lineage_of(
    *, gid: str, sid: str | None, idp: str | None, auth_time: datetime, acr: str | None
) -> dict[str, JsonValue]:
    """What a person's token descends from. sid: None for a grant that does not depend on the session.

    auth_time and acr tell a resource whether the sign-in is recent and good enough. Spec: RFC 9470 6.1; RFC 9068 2.2.1.
    """
    lineage: dict[str, JsonValue] = {"gid": gid, "auth_time": int(auth_time.timestamp())}
    if acr is not None:
        lineage["acr"] = acr
    if sid is not None:
        lineage["sid"] = sid
    if idp is not None:
        lineage["idp"] = idp
    return lineage


def answer(
    issued: Issued, scope: str, *, refresh_token: str = "", id_token: bytes = b"", issued_type: str = ""
) -> bytes:
    """The JSON of a successful answer. issued_type: what an exchange made, as a URI.

    Spec: RFC 6749 5.1; OpenID Connect Core 3.1.3.3; RFC 8693 2.2.1.
    """
    parts = [b'{"access_token":"%b","token_type":"%b","expires_in":%d' % issued[:3]]
    if scope:
        parts.append(b',"scope":' + orjson.dumps(scope))
    if issued.details:
        parts.append(b',"authorization_details":' + orjson.dumps(issued.details))
    if refresh_token:
        parts.append(b',"refresh_token":"%b"' % refresh_token.encode())
    if id_token:
        parts.append(b',"id_token":"%b"' % id_token)
    if issued_type:
        parts.append(b',"issued_token_type":"%b"' % issued_type.encode())
    parts.append(b"}")
    return b"".join(parts)


def requested_scope(form: Params) -> frozenset[str]:
    """The scope that is asked for, empty when none is named. Raises OAuthError invalid_scope. Spec: RFC 6749 3.3."""
    raw = form.get("scope")
    if raw is None:
        return frozenset()
    try:
        return parse_scope(raw)
    except InvalidScope:
        raise OAuthError("invalid_scope", "The scope is malformed") from None
