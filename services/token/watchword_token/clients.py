"""Clients in memory, as every endpoint of this service needs them."""

from dataclasses import dataclass
from typing import Literal

from watchword_events.exports import ClientExport, ExchangePolicy
from watchword_events.names import ClientId
from watchword_policy import rules
from watchword_policy.administration import is_administrative
from watchword_policy.scopes import CLIENT_IP, PERSONAL, format_scope
from watchword_runtime.client_authentication import ClientAuthentication
from watchword_runtime.client_proofs import Proofs, proofs_of
from watchword_runtime.rules import rules_client
from watchword_token.client_formats import ClientFormats, formats_of
from watchword_token.groups import Groups, groups_of
from watchword_token.key_material import Alg
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN, LONGEST_GRANT

BoundTo = Literal["", "jkt", "x5t#S256"]


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A client as hot paths need it.

    sector: of its pairwise subjects.  bound_to: what its tokens must be bound to.  keeps_refresh_token: whether it gets
    the same one again.  access: as access rules see it.  formats: None for a client that gets everything as everybody
    does.  max_token_bytes: the longest token that it can keep, None for any.
    personal_credentials: whether scripts of persons may name it.  bound_to_networks: from where it asks for people
    whose tokens are good for their own address only; empty where they are not bound.  says_more: whether its tokens say
    what `additions` knows.  administers: whether people may administer Watchword through it, by its permission scope.
    """

    client_id: ClientId
    enabled: bool
    proofs: Proofs
    grant_types: frozenset[str]
    scope: frozenset[str]
    machine_scope: str
    audience: tuple[str, ...]
    opaque: bool
    lifetime_s: int
    access_alg: Alg
    id_alg: Alg
    introspection_alg: Alg
    formats: ClientFormats | None
    response_alg: Alg
    refresh_idle_s: int
    refresh_max_s: int
    session_bound: bool
    detail_types: frozenset[str]
    origins: tuple[str, ...]
    sector: str | None
    bound_to: BoundTo
    keeps_refresh_token: bool
    userinfo_claims_only: bool
    organization: str | None
    required_permission: str | None
    permission_scope: frozenset[str] | None
    access: rules.Client
    exchange_policies: tuple[ExchangePolicy, ...]
    groups: Groups
    max_token_bytes: int | None
    personal_credentials: bool
    bound_to_networks: tuple[str, ...]
    says_more: bool
    administers: bool

    @property
    def is_public(self) -> bool:
        """Has no secret: anybody can name it. Spec: RFC 6749 2.1."""
        return self.proofs.method == "none"


Clients = ClientAuthentication[Client]


def client_of(export: ClientExport) -> Client:
    """The hot form of an exported client."""
    return Client(
        client_id=ClientId(export.client_id),
        enabled=export.enabled,
        proofs=proofs_of(export),
        grant_types=export.grant_types,
        scope=export.scope,
        machine_scope=format_scope(export.scope - PERSONAL),
        audience=export.audience,
        opaque=export.access_token_format == "opaque",
        lifetime_s=min(export.access_token_lifetime_s, int(LONGEST_ACCESS_TOKEN.total_seconds())),
        access_alg=export.access_token_signing_alg,
        id_alg=export.id_token_signed_response_alg,
        introspection_alg=export.introspection_signed_response_alg,
        formats=formats_of(export),
        response_alg=export.authorization_signed_response_alg,
        refresh_idle_s=export.refresh_idle_s,
        refresh_max_s=min(export.refresh_max_s, int(LONGEST_GRANT.total_seconds())),
        session_bound=export.refresh_requires_session,
        detail_types=export.authorization_details_types,
        origins=export.allowed_origins,
        sector=export.sector,
        bound_to=_bound_to(export),
        keeps_refresh_token=export.profile == "fapi2",
        userinfo_claims_only=export.userinfo_claims_only,
        organization=export.organization,
        required_permission=export.required_permission,
        permission_scope=export.permission_scope,
        access=rules_client(export),
        exchange_policies=export.exchange_policies,
        groups=groups_of(export),
        max_token_bytes=export.max_token_bytes,
        personal_credentials=export.personal_credentials,
        bound_to_networks=export.client_ip_ranges if export.bind_session_ip else (),
        says_more=export.permission_scope is not None or export.bind_session_ip or CLIENT_IP in export.scope,
        administers=any(map(is_administrative, export.permission_scope or ())),
    )


def _bound_to(export: ClientExport) -> BoundTo:
    if export.tls_client_certificate_bound_access_tokens:
        return "x5t#S256"
    return "jkt" if export.dpop_bound_access_tokens else ""
