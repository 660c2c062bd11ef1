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
    DEVICE_CODE = "device-code"
    DEVICE_ANSWER = "device-answer"
    AUTHORIZATION_RESPONSE = "authorization-response"
    SET_PASSWORD = "set-password"
    UPSTREAM_LOGOUT = "upstream-logout"
    UPSTREAM_ENDED = "upstream-ended"
    RESET_PASSWORD = "reset-password"
    LINK_ACCOUNT = "link-account"
    CHANGE_EMAIL = "change-email"
    EMAIL_PROVED = "email-proved"
    IDENTITY_REFUSED = "identity-refused"
    INVITE_PEOPLE = "invite-people"


class Payload(BaseModel):
    """What a ticket stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[HandoverKind]
    sender: ClassVar[Service]
    receiver: ClassVar[Service]


class UpstreamStart(Payload):
    """authz asks federation to have an upstream provider authenticate the person behind a flow.

    arrival: the sign-in that began at the provider and was confirmed here, which this flow is for.  ui_locales: the
    languages that the application asked for, best first.
    """

    kind = HandoverKind.UPSTREAM_START
    sender = Service.AUTHZ
    receiver = Service.FEDERATION

    provider_id: str
    binding: str
    prompt: tuple[str, ...] = ()
    max_age_s: int | None = None
    acr_values: tuple[str, ...] = ()
    login_hint: str | None = None
    arrival: str | None = None
    ui_locales: tuple[str, ...] = ()


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
    """federation tells directory whom an upstream provider authenticated.

    solicited: False when the provider began the sign-in: such a one never leads to a new link with an account.
    upstream_session: federation's name for the session at the provider, where one can end with the other.
    ui_locales: as in UpstreamStart.  steps: what federation did so far, without any value of a claim.
    """

    kind = HandoverKind.IDENTITY
    sender = Service.FEDERATION
    receiver = Service.DIRECTORY

    binding: str
    identity: VerifiedIdentity
    solicited: bool = True
    upstream_session: str | None = None
    ui_locales: tuple[str, ...] = ()
    steps: tuple[dict[str, JsonValue], ...] = ()


class IdentityRefused(Payload):
    """directory tells federation, which keeps the steps of failed sign-ins, that one ended there. The flow is `FLOW`.

    reference: what the person's page shows.  detail: for administrators, without a word about the person.  steps: those
    of federation.
    """

    kind = HandoverKind.IDENTITY_REFUSED
    sender = Service.DIRECTORY
    receiver = Service.FEDERATION
    FLOW: ClassVar[str] = "refused"

    provider_id: str
    reference: str
    failure: str
    detail: str = ""
    steps: tuple[dict[str, JsonValue], ...] = ()


class ProveAccount(Payload):
    """directory asks authz to have the person prove an existing account before an identity is linked to it."""

    kind = HandoverKind.PROVE_ACCOUNT
    sender = Service.DIRECTORY
    receiver = Service.AUTHZ

    binding: str
    user_id: str
    pending_link_id: str
    provider_id: str
    upstream_session: str | None = None


class AccountProved(Payload):
    """authz tells directory that the person proved the account of a pending link. ui_locales: as in UpstreamStart.

    rev: the ledger position noted when the flow began, before the identity came; 0, which every cut kills, in a ticket
    that does not say it.  idp: the provider through which the account was proved, None for a proof of ours.  sid: what
    the ledger ends when the password that proved it is replaced, None for a proof without one.
    """

    kind = HandoverKind.ACCOUNT_PROVED
    sender = Service.AUTHZ
    receiver = Service.DIRECTORY

    binding: str
    user_id: str
    pending_link_id: str
    upstream_session: str | None = None
    ui_locales: tuple[str, ...] = ()
    rev: int = 0
    idp: str | None = None
    sid: str | None = None


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
    upstream_session: str | None = None


class ClaimsRequest(BaseModel):
    """Claims about the person that a client asked for by name, by the place where it wants them.

    Only those that a scope of the client opens, and that the person was asked about. Spec: OpenID Connect Core 5.5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id_token: tuple[str, ...] = ()
    userinfo: tuple[str, ...] = ()


class Approval(BaseModel):
    """What a person allowed a client, in one session: for token to make a grant of.

    rev: the ledger position that authz had applied before it read the session.  gid: the id of the grant to come, so
    that a replay finds what the first use produced.  session_expires_at: a session-bound grant ends no later.
    issuer, address: of the provider and of the person, which access rules look at.  service_account, roles, policy:
    what they gave; policy names the rules that matched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gid: str
    sid: str
    user_id: str
    user_version: int
    claims_version: int
    client_id: str
    client_version: int
    scope: tuple[str, ...]
    resource: tuple[str, ...] = ()
    authorization_details: tuple[dict[str, JsonValue], ...] = ()
    claims_request: ClaimsRequest | None = None
    auth_time: datetime
    amr: tuple[str, ...] = ()
    acr: str | None = None
    idp: str | None = None
    rev: int
    session_expires_at: datetime
    issuer: str | None = None
    address: str = ""
    service_account: str | None = None
    roles: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()


class Code(Approval, Payload):
    """The authorization code: what authz grants, for token to turn into tokens.

    dpop_jkt: thumbprint of the key that alone may redeem it (RFC 9449 10), None for no such key.
    Spec: RFC 6749 4.1.2; RFC 7636 4.4; OpenID Connect Core 3.1.2.5.
    """

    kind = HandoverKind.CODE
    sender = Service.AUTHZ
    receiver = Service.TOKEN

    redirect_uri: str
    redirect_uri_given: bool
    code_challenge: str | None
    nonce: str | None = None
    dpop_jkt: str | None = None


class DeviceCode(Payload):
    """The device code: a request that waits for a person; token finds the answer by the device's id.

    rev: the ledger position that authz had applied before it read the client.  Spec: RFC 8628 3.2.
    """

    kind = HandoverKind.DEVICE_CODE
    sender = Service.AUTHZ
    receiver = Service.TOKEN

    device_id: str
    client_id: str
    interval_s: int
    rev: int


class DeviceAnswer(Payload):
    """What the person decided about a device; its flow is the device's id. approval: None when they did not allow it.

    Spec: RFC 8628 3.3, 3.5.
    """

    kind = HandoverKind.DEVICE_ANSWER
    sender = Service.AUTHZ
    receiver = Service.TOKEN

    approval: Approval | None


class AuthorizationResponse(Payload):
    """An answer to an application that token completes or signs before the browser takes it there.

    params: what the application is told beside what token adds.  code_hash: SHA-256 (hex) of the code, which travels
    beside the ticket.  way: where the parameters go (query, fragment, form_post).  is_signed: as one JWT (JARM).
    approval: where an access token or an ID token is asked for.
    Spec: OAuth 2.0 Multiple Response Type Encoding Practices 5; OpenID Connect Core 3.2.2.5, 3.3.2.5; JARM 2.1.
    """

    kind = HandoverKind.AUTHORIZATION_RESPONSE
    sender = Service.AUTHZ
    receiver = Service.TOKEN

    binding: str
    client_id: str
    redirect_uri: str
    way: str
    is_signed: bool = False
    params: dict[str, str] = {}
    code_hash: str | None = None
    approval: Approval | None = None
    access_token: bool = False
    id_token: bool = False
    nonce: str | None = None


class SetPassword(Payload):
    """A password that an administrator set in directory, on its way to authz, which alone keeps credentials.

    The flow is `user:<id>`; only the argon2id hash travels. See docs/adr/0003.
    """

    kind = HandoverKind.SET_PASSWORD
    sender = Service.DIRECTORY
    receiver = Service.AUTHZ

    user_id: str
    password_hash: str


class UpstreamLogout(Payload):
    """authz tells federation that a session ended which came from one at a provider, to be ended there as well.

    The flow is `logout:<sid>`.  return_to: where the person goes afterwards; None for a page that says that it is done.
    """

    kind = HandoverKind.UPSTREAM_LOGOUT
    sender = Service.AUTHZ
    receiver = Service.FEDERATION

    provider_id: str
    upstream_session: str
    return_to: str | None = None


class UpstreamEnded(Payload):
    """federation tells authz that sessions at a provider have ended, and with them those that came from them.

    The flow is `logout:<provider>`.  upstream_sessions: federation's names for them.  back: the path of ours at which
    the provider is answered afterwards.
    """

    kind = HandoverKind.UPSTREAM_ENDED
    sender = Service.FEDERATION
    receiver = Service.AUTHZ

    provider_id: str
    upstream_sessions: tuple[str, ...]
    back: str


class ResetPassword(Payload):
    """authz hands itself over, by way of somebody's mailbox, that they may choose a password.

    The flow is `reset:<user id>`.  email: to which the link was sent; it is worth nothing once that is not the
    person's any more.  rev: the ledger position noted before the person was read: a link dies with everything of the
    person that is cut after it; 0, which every cut kills, in a ticket that does not say it.  See docs/adr/0026.
    """

    kind = HandoverKind.RESET_PASSWORD
    sender = Service.AUTHZ
    receiver = Service.AUTHZ

    user_id: str
    email: str | None = None
    rev: int = 0


class InvitePeople(Payload):
    """admin tells authz that a provider was closed, and that whoever has no other way in is to be sent a link.

    The flow is always `FLOW`.  version: the provider's when it was closed.
    """

    kind = HandoverKind.INVITE_PEOPLE
    sender = Service.ADMIN
    receiver = Service.AUTHZ
    FLOW: ClassVar[str] = "closed-providers"

    provider_id: str
    version: int


class LinkAccount(Payload):
    """authz tells directory that whoever comes back in this flow links their identity to a person who asked for it.

    They had just proved who they are, in this browser.  rev: the ledger position noted before that was looked at.
    sid, idp: the session in which they asked, and the provider that it came from; None for a password.
    """

    kind = HandoverKind.LINK_ACCOUNT
    sender = Service.AUTHZ
    receiver = Service.DIRECTORY

    binding: str
    user_id: str
    provider_id: str
    rev: int
    sid: str | None = None
    idp: str | None = None


class ChangeEmail(Payload):
    """authz hands itself over, by way of a mailbox, that it is the person's. The flow is `email:<user id>`.

    current: the account has the address already, unverified.
    """

    kind = HandoverKind.CHANGE_EMAIL
    sender = Service.AUTHZ
    receiver = Service.AUTHZ

    user_id: str
    email: str
    current: bool = False


class EmailProved(Payload):
    """authz tells directory that a person has shown that they read the mail of an address.

    The flow is `email:<user id>`; the ticket comes with a call of that person's.  current: it verifies the address
    that the account has, and changes none.
    """

    kind = HandoverKind.EMAIL_PROVED
    sender = Service.AUTHZ
    receiver = Service.DIRECTORY

    user_id: str
    email: str
    current: bool = False


PAYLOADS: tuple[type[Payload], ...] = (
    UpstreamStart,
    Identity,
    ProveAccount,
    AccountProved,
    SignedIn,
    Code,
    DeviceCode,
    DeviceAnswer,
    AuthorizationResponse,
    SetPassword,
    UpstreamLogout,
    UpstreamEnded,
    ResetPassword,
    LinkAccount,
    ChangeEmail,
    EmailProved,
    IdentityRefused,
    InvitePeople,
)
