"""What would become of somebody with given claims who came through a provider: everything but the change."""

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from watchword_database import Session
from watchword_directory import group_table, role_table, store
from watchword_directory.linking import HasWayIn, is_linked_unproved
from watchword_directory.mapping import Mapped, Mapper, NotLetIn
from watchword_directory.provisioning import email_of, vouched
from watchword_directory.synchronizing import group_names, organization_of
from watchword_directory.texts import Id
from watchword_events.exports import GroupSyncExport, ProviderExport, RoleMappingExport
from watchword_events.handovers import VerifiedIdentity
from watchword_policy.engine import MAX_SOURCE
from watchword_policy.patterns import Pattern
from watchword_policy.vouching import vouches_for

_MAX_TEXT = 512
_MOST_RULES: Final = 128
_LetIn = Literal["known", "new", "linked", "prove"]


class Settings(BaseModel):
    """What a provider might say of roles and groups; what is left out is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default_role: Annotated[str, Field(max_length=128)] | None = None
    role_mapping: RoleMappingExport | None = None
    group_sync: GroupSyncExport | None = None

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        roles = self.role_mapping.rules if self.role_mapping is not None else ()
        groups = self.group_sync.rules if self.group_sync is not None else ()
        sources = [rule.expression for rule in roles] + [rule.expression for rule in groups]
        if len(sources) > _MOST_RULES or any(len(source) > MAX_SOURCE for source in sources):
            raise ValueError("more, or longer rules than a provider may have")
        if self.group_sync is not None and self.group_sync.pattern is not None:
            Pattern(self.group_sync.pattern)  # InvalidPattern is a ValueError, and says why
        return self


class Arriving(BaseModel):
    """Claims as the provider would send them. `iss` is the provider's when it is left out, `sub` nobody's.

    as_if: other rules than the provider has, which nobody saved yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider_id: Id
    claims: dict[str, JsonValue] = Field(max_length=512)
    as_if: Settings | None = None


class Preview(BaseModel):
    """What would happen. outcome: `known` and `linked` to the user, `new`, `prove` the user's account, or `refused`.

    error: the code of the page where it is refused.  rule, why: what decided about the roles.  unknown_roles: those
    that do not exist, and so are not given.  groups: full names; new_groups: those of them that would be made.
    email_verified: whether the address would count as verified: the provider says so, and may.  role_rules,
    group_rules: the places, from 1, of the rules that are true, of those for roles also those that did not decide.
    rule_failures: rules that came to no answer, and why.
    """

    outcome: _LetIn | Literal["refused"]
    error: str | None = None
    user_id: str | None = None
    organization: str | None = None
    email: str | None = None
    email_verified: bool = False
    rule: str | None = None
    why: str
    roles: list[str] = []
    unknown_roles: list[str] = []
    groups: list[str] = []
    new_groups: list[str] = []
    role_rules: list[int] = []
    group_rules: list[int] = []
    rule_failures: list[str] = []


async def preview(
    session: Session,
    mapper: Mapper,
    provider: ProviderExport,
    arriving: Arriving,
    *,
    has_way_in: HasWayIn,
    now: datetime,
) -> Preview:
    """What would become of the person; nothing is changed, and nobody is told."""
    if arriving.as_if is not None:
        provider = provider.model_copy(update=dict(arriving.as_if))
    identity = await vouched(session, _identity(provider, arriving, now=now), provider)
    roles, groups, failures = mapper.true_of(provider, identity, now=now)
    seen = {"role_rules": [*roles], "group_rules": [*groups], "rule_failures": [*failures]}
    try:
        mapped = mapper.mapped(provider, identity, now=now)
    except NotLetIn as refusal:
        return Preview.model_validate({"outcome": "refused", "error": refusal.code, "why": str(refusal), **seen})
    known = await store.find_link(session, identity)
    email = email_of(identity)
    outcome: _LetIn = "new" if known is None else "known"
    user_id = known.user_id if known is not None else None
    owner = await store.find_user_by_email(session, email) if email and known is None else None
    if owner is not None:
        at_once = await is_linked_unproved(session, identity, owner, provider, has_way_in)
        outcome, user_id = "linked" if at_once else "prove", owner.id
    given = await _given(session, provider, mapped, outcome, user_id)
    is_verified = email is not None and identity.email_verified
    return given.model_copy(update={"email": email, "email_verified": is_verified, **seen})


def _identity(provider: ProviderExport, arriving: Arriving, *, now: datetime) -> VerifiedIdentity:
    """The identity that federation would make of the claims."""
    claims = arriving.claims

    def text(name: str) -> str:
        value = claims.get(name)
        return value.strip() if isinstance(value, str) and len(value) <= _MAX_TEXT else ""

    email = text("email")
    return VerifiedIdentity(
        provider_id=provider.id,
        issuer=text("iss") or provider.issuer,
        subject=text("sub"),
        email=email or None,
        email_verified=bool(email)
        and provider.kind != "saml"
        and vouches_for(email, claims, provider.oauth.email_trust),
        claims=claims,
        auth_time=now,
    )


async def _given(
    session: Session,
    provider: ProviderExport,
    mapped: Mapped,
    outcome: _LetIn,
    user_id: str | None,
) -> Preview:
    organization = await organization_of(session, provider)
    found = await role_table.find_roles_by_name(session, mapped.roles)
    groups = await group_names(session, provider, mapped, organization)
    existing = await group_table.find_groups_by_name(session, groups)
    return Preview(
        outcome=outcome,
        user_id=user_id,
        organization=organization.id if organization is not None else None,
        rule=mapped.rule,
        why=mapped.why,
        roles=[role for role in mapped.roles if role.lower() in found],
        unknown_roles=[role for role in mapped.roles if role.lower() not in found],
        groups=sorted(groups),
        new_groups=sorted(group for group in groups if group.lower() not in existing),
    )
