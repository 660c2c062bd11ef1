"""Hand-overs: how a sign-in crosses services, carried by the browser as a single-use ticket.

The kinds are a closed table. The sender writes the payload into `bus.handover` and redirects with the ticket; only
the receiver of that kind can take it, once. `binding` is the SHA-256 (hex) of the flow cookie's secret: each hop
compares it with the cookie of its own request.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_events.names import Service


class HandoverKind(StrEnum):
    """Every kind of ticket there is."""

    UPSTREAM_START = "upstream-start"
    IDENTITY = "identity"
    PROVE_ACCOUNT = "prove-account"
    ACCOUNT_PROVED = "account-proved"
    SIGNED_IN = "signed-in"
    CODE = "code"
    SET_PASSWORD = "set-password"


class Payload(BaseModel):
    """What a ticket stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[HandoverKind]
    sender: ClassVar[Service]
    receiver: ClassVar[Service]


class UpstreamStart(Payload):
    """authz asks federation to have an upstream provider authenticate the person behind a flow."""

    kind = HandoverKind.UPSTREAM_START
    sender = Service.AUTHZ
    receiver = Service.FEDERATION

    provider_id: str
    binding: str
    prompt: tuple[str, ...] = ()
    max_age_s: int | None = None
    acr_values: tuple[str, ...] = ()
    login_hint: str | None = None


class VerifiedIdentity(BaseModel):
    """An external identity as its provider asserted it; the key is (provider_id, issuer, subject)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider_id: str
    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    preferred_username: str | None = None
    picture: str | None = None
    claims: dict[str, JsonValue] = {}
    auth_time: datetime
    amr: tuple[str, ...] = ()
    acr: str | None = None


class Identity(Payload):
    """federation tells directory whom an upstream provider authenticated."""

    kind = HandoverKind.IDENTITY
    sender = Service.FEDERATION
    receiver = Service.DIRECTORY

    binding: str
    identity: VerifiedIdentity


class ProveAccount(Payload):
    """directory asks authz to have the person prove an existing account before an identity is linked to it."""

    kind = HandoverKind.PROVE_ACCOUNT
    sender = Service.DIRECTORY
    receiver = Service.AUTHZ

    binding: str
    user_id: str
    pending_link_id: str
    provider_id: str


class AccountProved(Payload):
    """authz tells directory that the person proved the account of a pending link."""

    kind = HandoverKind.ACCOUNT_PROVED
    sender = Service.AUTHZ
    receiver = Service.DIRECTORY

    binding: str
    user_id: str
    pending_link_id: str


class SignedIn(Payload):
    """directory tells authz which user an external identity is. `claims_version`: the copy may not be older."""

    kind = HandoverKind.SIGNED_IN
    sender = Service.DIRECTORY
    receiver = Service.AUTHZ

    binding: str
    user_id: str
    user_version: int
    claims_version: int
    provider_id: str
    issuer: str
    auth_time: datetime
    amr: tuple[str, ...] = ()
    acr: str | None = None


class Code(Payload):
    """The authorization code: what authz grants, for token to turn into tokens.

    rev: the ledger position that authz had applied before it read the session.  gid: the id of the grant to come, so
    that a replay finds what the first use produced.  session_expires_at: a session-bound grant ends no later.
    Spec: RFC 6749 4.1.2; RFC 7636 4.4; OpenID Connect Core 3.1.2.5.
    """

    kind = HandoverKind.CODE
    sender = Service.AUTHZ
    receiver = Service.TOKEN

    gid: str
    sid: str
    user_id: str
    user_version: int
    claims_version: int
    client_id: str
    client_version: int
    redirect_uri: str
    redirect_uri_given: bool
    code_challenge: str | None
    scope: tuple[str, ...]
    resource: tuple[str, ...] = ()
    nonce: str | None = None
    auth_time: datetime
    amr: tuple[str, ...] = ()
    acr: str | None = None
    idp: str | None = None
    rev: int
    session_expires_at: datetime


class SetPassword(Payload):
    """A password that an administrator set in directory, on its way to authz, which alone keeps credentials.

    The flow is `user:<id>`; only the argon2id hash travels. See docs/adr/0003.
    """

    kind = HandoverKind.SET_PASSWORD
    sender = Service.DIRECTORY
    receiver = Service.AUTHZ

    user_id: str
    password_hash: str


PAYLOADS: tuple[type[Payload], ...] = (
    UpstreamStart,
    Identity,
    ProveAccount,
    AccountProved,
    SignedIn,
    Code,
    SetPassword,
)

ROUTES: dict[HandoverKind, tuple[Service, Service]] = {p.kind: (p.sender, p.receiver) for p in PAYLOADS}
