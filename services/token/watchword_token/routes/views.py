"""What `/api/v1` of this service takes and shows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from watchword_policy.scopes import ADMIN_SCOPE, EVENTS_SCOPE, SCIM_SCOPE, SIGN_IN
from watchword_runtime.public_keys import usable_keys
from watchword_token.feed_api import READ_SCOPE
from watchword_token.models import ApiKey, Grant, Key
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Moment

# What a personal key may be for: nothing that a person does not hold.
KEY_SCOPES: Final = frozenset({ADMIN_SCOPE, EVENTS_SCOPE, SCIM_SCOPE, READ_SCOPE, SIGN_IN})
OWN_SCOPES: Final = frozenset({SIGN_IN})  # what everybody may make a key for
_PUBLIC: Final = {"kty", "crv", "x", "y", "n", "e", "alg", "use"}


def _public_key(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What makes the public key; nothing private, and nothing that is not needed. Spec: RFC 7517 4; RFC 8725 3.2."""
    if not usable_keys({"keys": [value]}):
        raise ValueError("it is no public key for ES256, EdDSA, PS256 or RS256")
    return {name: each for name, each in value.items() if name in _PUBLIC}


PublicJwk = Annotated[dict[str, JsonValue], Field(max_length=32), AfterValidator(_public_key)]


class Listing(BaseModel):
    """Which page of a list. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)

    @property
    def name(self) -> str:
        """The list that a cursor belongs to: the filters are part of it."""
        return f"{type(self).__name__}:{self.model_dump_json(exclude={'limit', 'cursor'})}"


class GrantListing(Listing):
    """Grants of a user, of a client, or all."""

    user_id: str | None = Field(None, max_length=128)
    client_id: str | None = Field(None, max_length=128)


class ApiKeyListing(Listing):
    """API keys of a user, or all."""

    user_id: str | None = Field(None, max_length=128)


class OwnApiKeyListing(Listing):
    """The caller's own API keys."""


class RevocationListing(Listing):
    """All entries of the ledger."""


class KeyView(BaseModel):
    """A key's public side. public_jwk is null for the key of opaque tokens, which nobody else uses.

    confirmed_at: when everyone who checks tokens knew it.  retire_at: when the last token that it made is over.
    waiting_for: of a next key, who does not know it yet; null for others.
    """

    kid: str
    use: str
    alg: str
    state: str
    created_at: datetime
    confirmed_at: datetime | None
    activated_at: datetime | None
    retire_at: datetime | None
    public_jwk: dict[str, JsonValue] | None
    waiting_for: list[str] | None = None


class GrantView(BaseModel):
    """A grant. sid is null for one that outlives its session."""

    id: str
    user_id: str
    client_id: str
    sid: str | None
    idp: str | None
    scope: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class NewApiKey(BaseModel):
    """A personal API key to be made for the caller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    scope: frozenset[str] = Field(frozenset({ADMIN_SCOPE, SIGN_IN}), min_length=1, max_length=16)
    expires_at: Moment | None = None


class NewOwnApiKey(BaseModel):
    """An API key to be made for the caller, for scripts. public_jwk: of a key that the caller keeps and signs with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    scope: frozenset[str] = Field(OWN_SCOPES, min_length=1, max_length=16)
    expires_at: Moment | None = None
    public_jwk: PublicJwk | None = None


class ApiKeyView(BaseModel):
    """A personal API key without its secret. public_jwk: of a key that its owner signs with.

    last_used_at: to within two hours; null for one that never was.
    """

    id: str
    user_id: str
    name: str
    scope: list[str]
    public_jwk: dict[str, JsonValue] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class CreatedApiKey(ApiKeyView):
    """A new API key. key: its text, shown this once, to be sent as `Watchword-API-Key`; null for one to sign with."""

    key: str | None


def key_view(row: Key, *, waiting_for: list[str] | None) -> KeyView:
    """A key without its sealed half."""
    return KeyView(**row.model_dump(exclude={"sealed", "version"}), waiting_for=waiting_for)


def grant_view(row: Grant) -> GrantView:
    """A grant; `sid` only where the session ends it."""
    return GrantView(
        id=row.id,
        user_id=row.user_id,
        client_id=row.client_id,
        sid=row.sid if row.session_bound else None,
        idp=row.idp,
        scope=row.scope,
        created_at=row.created_at,
        last_used_at=row.rotated_at or row.created_at,
        expires_at=row.expires_at,
    )


def api_key_view(row: ApiKey, uses: Mapping[str, datetime] | None = None) -> ApiKeyView:
    """An API key without its hash. uses: by id, when keys were last used."""
    shown = row.model_dump(include=set(ApiKeyView.model_fields))
    return ApiKeyView.model_validate({**shown, "last_used_at": (uses or {}).get(row.id)})
