"""What the console reads of the owners' documents."""

from datetime import datetime
from typing import Final

from pydantic import Field, JsonValue

from watchword_runtime.calls import Document
from watchword_web.devices import device_of
from watchword_web.texts import Text

# What directory says of the roles that every installation has.
BUILT_IN_ROLES: Final = (
    Text("May do everything, and alone makes other owners"),
    Text("Administers the installation"),
    Text("Helps people to sign in"),
    Text("Sees everything and changes nothing"),
    Text("Administers one organization"),
)
# What access rules say where they name no rule.
DECIDED: Final = (
    Text("No rule applies to this client: whoever signs in may use it."),
    Text("The client lets in whom a rule matches, and has no rule."),
)


class User(Document):
    """A person. organization: an id.  provider_id: of the provider that brought the person here."""

    id: str
    username: str
    name: str | None = None
    given_name: str | None = None
    middle_name: str | None = None
    family_name: str | None = None
    nickname: str | None = None
    email: str | None = None
    email_verified: bool = False
    phone_number: str | None = None
    locale: str | None = None
    zoneinfo: str | None = None
    gender: str | None = None
    birthdate: str | None = None
    profile: str | None = None
    picture: str | None = None
    website: str | None = None
    address: dict[str, str | None] | None = None
    attributes: dict[str, JsonValue]
    active: bool
    groups: list[str]
    roles: list[str]
    organization: str | None = None
    provider_id: str | None = None
    external_id: str | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def shown(self) -> str:
        """How the person is called."""
        return self.name or self.username


class UserSession(Document):
    """A browser that is signed in. place: of the address, by language, where that is known."""

    id: str
    provider_id: str | None = None
    auth_time: datetime
    amr: list[str]
    address: str
    place: dict[str, str] = Field(default_factory=dict)
    user_agent: str
    seen_at: datetime
    expires_at: datetime

    @property
    def device(self) -> str:
        """What people call it."""
        return device_of(self.user_agent)


class Grant(Document):
    """What an application was given."""

    id: str
    client_id: str
    sid: str | None = None
    scope: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class Identity(Document):
    """A person at a provider."""

    id: str
    provider_id: str
    subject: str
    created_at: datetime
    last_used_at: datetime


class LastClaims(Document):
    """What a provider said of a person at the last sign-in. cut: claims that were too long to be kept as a whole."""

    identity_id: str
    user_id: str
    provider_id: str
    said_at: datetime
    keep_until: datetime
    claims: dict[str, JsonValue]
    cut: list[str]


class SignOutNotice(Document):
    """An application that could not be told that a session is over."""

    id: str
    ended_at: datetime


class ApiKey(Document):
    """A personal API key."""

    id: str
    user_id: str
    name: str
    scope: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class ScimToken(Document):
    """With what a directory pushes people and groups. organization: whose; None for all."""

    id: str
    name: str
    organization: str | None = None
    provider_id: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class Credentials(Document):
    """Whether a person has a password, and whether guesses have locked the account."""

    has_password: bool
    password_changed_at: datetime | None = None
    authenticator_since: datetime | None = None
    recovery_codes_left: int = 0
    passkeys: int = 0
    locked_until: datetime | None = None


class OrganizationRights(Document):
    """What counts within one organization."""

    organization: str
    roles: tuple[str, ...] = ()


class Rights(Document):
    """What a person is and may, groups and roles that follow included."""

    groups: list[str]
    roles: list[str]
    permissions: list[str]
    organizations: tuple[OrganizationRights, ...] = ()


class Role(Document):
    """A name for permissions that go together."""

    id: str
    name: str
    description: str | None = None
    permissions: list[str]
    is_built_in: bool

    @property
    def note(self) -> str | None:
        """What it is for, as it is shown: of Watchword's own in the reader's language."""
        return Text(self.description) if self.is_built_in and self.description else self.description


class Organization(Document):
    """An organization. domains: proved ones."""

    id: str
    short_name: str
    name: str
    domains: list[str]
    created_at: datetime
    updated_at: datetime


class Share(Document):
    """How much belongs to one client or user."""

    id: str
    grants: int
    sessions: int = 0


class Preview(Document):
    """What a revocation would end."""

    grants: int
    sessions: int
    clients: int
    users: int
    by_client: list[Share]
    by_user: list[Share]
    is_complete: bool


class Revocation(Document):
    """An entry of the ledger."""

    id: int
    position: int | None = None
    claim: str
    value: str
    kind: str
    issued_before: datetime | None = None
    reason: str
    at: datetime
    until: datetime


class Receipt(Document):
    """One service or verifier. at: when it had applied the entry, or when it was last heard."""

    name: str
    instance: str
    kind: str
    at: datetime | None = None


class Proved(Revocation):
    """An entry with its receipts."""

    complete: bool
    applied: list[Receipt]
    behind: list[Receipt]
    unreachable: list[Receipt]


class Key(Document):
    """A key. waiting_for: of a next key, who does not know it yet."""

    kid: str
    use: str
    alg: str
    state: str
    created_at: datetime
    confirmed_at: datetime | None = None
    activated_at: datetime | None = None
    retire_at: datetime | None = None
    waiting_for: list[str] | None = None


class MailServer(Document):
    """By which server mails leave. host: None where nothing is sent.  to: the verified address of who asks."""

    host: str | None
    port: int
    security: str
    username: str | None = None
    sender: str
    to: str | None = None


class MailTest(Document):
    """What became of a test message. answer: of the server that did not take it."""

    to: str
    sent: bool
    answer: str | None = None


class Instance(Document):
    """One process of a verifier."""

    instance: str
    position: int
    is_reachable: bool


class Verifier(Document):
    """A resource server that follows the feed."""

    id: str
    name: str
    audience: str
    staleness_bound_s: float
    policy: str
    is_registered: bool
    instances: list[Instance]


class Rule(Document):
    """Who may use clients, and as what."""

    id: str
    name: str
    description: str | None = None
    expression: str
    precedence: int
    service_account: str | None = None
    roles: list[str]
    clients: list[str]
    organization: str | None = None
    enabled: bool
    effective_roles: list[str]
    updated_at: datetime


class Failure(Document):
    """A rule that came to no answer, and why."""

    rule: str
    error: str


class Tried(Document):
    """What rules, or one expression, decide about given facts."""

    matches: bool
    error: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None
    outcome: str | None = None
    why: str | None = None
    rule: str | None = None
    service_account: str | None = None
    roles: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


class Refusal(Document):
    """With what an authorization request would be turned away."""

    error: str
    description: str


class ConsentLine(Document):
    """One line of a consent page."""

    title: str
    note: str


class Ruling(Document):
    """What rules say about a trial."""

    rule: str | None
    policy: tuple[str, ...]
    why: str


class SignInTrial(Document):
    """What would become of somebody's sign-in to an application."""

    lets_in: bool
    refusal: Refusal | None
    redirect_uri: str | None
    scope: list[str]
    issuer: str
    client_enabled: bool
    active: bool
    has_permission: bool
    decision: Ruling
    needs_factor: bool
    asks_consent: bool
    consent: list[ConsentLine]


class ToldInToken(Document):
    """What an access token would say."""

    format: str
    lifetime_s: int
    claims: dict[str, JsonValue]


class Told(Document):
    """What an application would be told of somebody."""

    allowed: bool
    scope: list[str]
    access_token: ToldInToken
    id_token: dict[str, JsonValue] | None
    userinfo: dict[str, JsonValue] | None
    refresh_token: bool


class Verdict(Document):
    """What rules say about a sign-in."""

    allowed: bool
    rule: str | None = None
    service_account: str | None = None
    why: str = ""


class Affected(Document):
    """Somebody about whom other rules would decide otherwise."""

    user_id: str
    client_id: str
    decision_id: str
    at: datetime
    before: Verdict
    after: Verdict


class DryRun(Document):
    """What other rules would have decided about real sign-ins, by person and client."""

    since: datetime
    sign_ins: int
    pairs: int
    asked: int
    is_complete: bool
    not_recorded: int
    gone: int
    gains_count: int
    loses_count: int
    others_count: int
    gains: tuple[Affected, ...] = ()
    loses: tuple[Affected, ...] = ()
    others: tuple[Affected, ...] = ()


class Decision(Document):
    """What access rules decided."""

    id: str
    at: datetime
    occasion: str
    client_id: str
    user_id: str | None = None
    allowed: bool
    outcome: str
    rule: str | None = None
    rule_id: str | None = None
    service_account: str | None = None
    roles: list[str]
    policy: list[str]
    why: str
    failures: list[Failure]


class Facts(Document):
    """What the rules looked at. claims: their names."""

    sub: str
    iss: str
    groups: list[str]
    client: str
    ip: str
    time: datetime
    claims: list[str]


class DecisionInFull(Decision):
    """A decision with what it was about."""

    facts: Facts


class Group(Document):
    """A group of people. parents: those that contain it, by full name.  external_id: what a SCIM client calls it."""

    id: str
    name: str
    full_name: str
    organization: str | None = None
    description: str | None = None
    parents: list[str]
    external_id: str | None = None
    updated_at: datetime


class Member(Document):
    """A member. provider_id: of the provider that says so; None when an administrator does."""

    user_id: str
    provider_id: str | None = None
    created_at: datetime


class Record(Document):
    """What to put into the DNS."""

    name: str
    type: str
    value: str


class Domain(Document):
    """A domain of an organization."""

    domain: str
    verified_at: datetime | None = None
    record: Record


class Assignment(Document):
    """Who has a role, by ids."""

    id: str
    role: str
    user: str | None = None
    group: str | None = None
    organization: str | None = None
    provider_id: str | None = None
    created_at: datetime


class Client(Document):
    """An application that was just registered. client_secret: shown this once."""

    client_id: str
    client_name: str
    client_secret: str | None = None
    main_uri: str | None = None


class AddedSecret(Document):
    """A further secret of an application. client_secret: shown this once."""

    id: str
    client_secret: str | None = None


class Invitation(Document):
    """A way for a person to choose a first password. link: shown this once."""

    link: str | None = None
    expires_at: datetime


class Resolved(Document):
    """What would come of somebody who arrives through a provider. outcome: known, new, linked, prove or refused.

    role_rules, group_rules: places, from 1, of the rules that are true.  rule_failures: those that came to no answer.
    """

    outcome: str
    why: str
    error: str | None = None
    user_id: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    new_groups: tuple[str, ...] = ()
    unknown_roles: tuple[str, ...] = ()
    email: str | None = None
    email_verified: bool = False
    rule: str | None = None
    role_rules: tuple[int, ...] = ()
    group_rules: tuple[int, ...] = ()
    rule_failures: tuple[str, ...] = ()


class Issuer(Document):
    """An issuer whose tokens are exchanged for ours."""

    id: str
    iss: str
    aud: list[str]
    token_expiry_s: int
    subject_prefix: str | None = None
    description: str | None = None
    jwks_uri: str | None = None
    jwks: dict[str, JsonValue] | None = None
    root_ca: str | None = None


class Branding(Document):
    """What pages and mails look like. logo: as a data URL."""

    name: str
    primary_color: str | None = None
    logo: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    support_uri: str | None = None
    version: int


class Step(Document):
    """What was looked at and found."""

    step: str
    detail: str
    after_ms: float


class Attempt(Document):
    """A sign-in through a provider that failed. reference: what the person's page showed."""

    id: str
    reference: str
    provider_id: str
    at: datetime
    failure: str
    steps: tuple[Step, ...] = ()


class Certificate(Document):
    """A certificate of a SAML provider, or of ours."""

    fingerprint_sha256: str
    subject: str
    not_after: datetime
    state: str


class Trouble(Document):
    """Something that an administrator has to do something about."""

    code: str
    detail: str
    urgent: bool


class Check(Document):
    """One part of a provider. outcome: passed, warning or failed.  detail: what was found, or what to do about it."""

    check: str
    outcome: str
    detail: str


class ProviderTest(Document):
    """What was found. outcome: the worst of the checks."""

    outcome: str
    checks: list[Check]


class TrialIdentity(Document):
    """Whom a provider authenticated, as it is understood here, and everything that it said."""

    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    preferred_username: str | None = None
    groups: JsonValue = None
    claims: dict[str, JsonValue]


class Trial(Document):
    """A sign-in that is tried. state: waiting, succeeded or failed.  url: where a browser begins it, said once."""

    id: str
    state: str
    expires_at: datetime
    url: str | None = None
    failure: str | None = None
    reference: str | None = None
    identity: TrialIdentity | None = None


class Arrival(Document):
    """What would become of somebody who came through a provider. rule, why: what decided about the roles."""

    outcome: str
    error: str | None = None
    user_id: str | None = None
    rule: str | None = None
    why: str
    roles: tuple[str, ...] = ()
    unknown_roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    new_groups: tuple[str, ...] = ()


class SamlState(Document):
    """How a SAML provider stands."""

    provider_id: str
    certificates: list[Certificate]
    metadata_url: str | None = None
    metadata_fetched_at: datetime | None = None
    metadata_failure: str | None = None
    troubles: list[Trouble]


class Actor(Document):
    """Who did something. name: None for a client, and once the person is forgotten."""

    sub: str | None = None
    name: str | None = None
    client_id: str | None = None


class AuditChange(Document):
    """A member that changed. is_secret: it is only said that it did."""

    field: str
    before: JsonValue = None
    after: JsonValue = None
    is_secret: bool = False


class AuditEntry(Document):
    """An entry of the audit log."""

    seq: int
    at: datetime
    action: str
    resource: str | None = None
    name: str | None = None
    actor: Actor
    service: str
    via: str | None = None
    method: str | None = None
    path: str | None = None
    response_code: int | None = None
    address: str | None = None
    changes: tuple[AuditChange, ...] = ()
    forgotten: bool = False


class ChainBreak(Document):
    """Where the log does not hold, and why."""

    seq: int
    what: str


class Verification(Document):
    """Whether every entry is what was written."""

    valid: bool
    entries: int
    forgotten: int
    hash: str
    sealed: int
    pruned: int = 0
    breaks: list[ChainBreak]
