"""What may be said of how people who come through a provider become users here, and what they get."""

from functools import lru_cache
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from watchword_admin.client_documents import plain_text
from watchword_policy.engine import MAX_SOURCE, InvalidExpression, RuleEngine
from watchword_policy.identifiers import canonical_domain
from watchword_policy.patterns import Pattern
from watchword_web.errors import PLACED

_ENGINE: Final = RuleEngine()
_MAX_RULES: Final = 64
# Of Watchword's own roles: nobody becomes an owner by what a provider claims, and these count everywhere or nowhere.
_OWNER: Final = "owner"
_EVERYWHERE: Final = frozenset({"administrator", "help-desk", "auditor"})
_WITHIN: Final = "organization-administrator"
TRUSTED_WARNING: Final = (
    "linking is trusted: whoever can make this provider name an address comes into the account here that has it,"
    " without its password. Do this only with a provider where nobody chooses their own address, and set"
    " allowed_email_domains."
)


@lru_cache(4096)
def _compiles(source: str) -> str:
    """The source itself. Raises InvalidExpression. Stored settings are read often: each source is compiled once."""
    _ENGINE.compile(source)
    return source


def _expression(source: str) -> str:
    try:
        return _compiles(source)
    except InvalidExpression as error:
        place = {"line": error.line, "column": error.column, "hint": error.hint}
        raise PydanticCustomError(PLACED, "{reason}", {"reason": str(error), **place}) from None


def _pattern(value: str) -> str:
    return Pattern(value).text  # InvalidPattern is a ValueError, and says why


def _role(value: str) -> str:
    if value.lower() == _OWNER:
        raise ValueError("nobody becomes an owner through a provider")
    return value


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


Expression = Annotated[str, Field(max_length=MAX_SOURCE), AfterValidator(_expression)]
RoleName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(plain_text), AfterValidator(_role)]
GroupName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(plain_text)]
ClaimPath = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(plain_text)]
DomainName = Annotated[str, Field(max_length=253), AfterValidator(canonical_domain)]


class RoleRule(BaseModel):
    """Whoever the expression is true of has these roles. name: what logs and previews call it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(plain_text)] | None = None
    expression: Expression
    roles: Annotated[tuple[RoleName, ...], Field(max_length=64), AfterValidator(_unique)] = ()


class RoleMapping(BaseModel):
    """Which roles people get: those of the first rule that is true of them.

    strict: whoever no rule is true of is not let in. Otherwise they have the provider's `default_role`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: Annotated[tuple[RoleRule, ...], Field(max_length=_MAX_RULES)] = ()
    strict: bool = False


class GroupRule(BaseModel):
    """Whoever the expression is true of is in these groups, which are named as here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expression: Expression
    groups: Annotated[tuple[GroupName, ...], Field(max_length=64), AfterValidator(_unique)]


class GroupSync(BaseModel):
    """Which groups people come into: by the names that the provider gives, and by rules, all of which count.

    claim: where the names stand, instead of the usual claims.  names: what a group there is called here, in whatever
    letters it comes.  pattern: groups there whose name it matches (RE2), as it is or in small letters, come over under
    that name, within the provider's organization if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: ClaimPath | None = None
    names: Annotated[dict[GroupName, GroupName], Field(max_length=1024)] = {}
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    rules: Annotated[tuple[GroupRule, ...], Field(max_length=_MAX_RULES)] = ()


class Provisioning(BaseModel):
    """How people who come through a provider become users here, and what they get.

    organization: id or short name of the one that the provider belongs to: new people belong to it, and roles hold
    within it.  default_role: of whoever no rule gives roles.  allowed_email_domains: with their subdomains; empty for
    any.  linking: what happens when somebody new has the address of an account: the person proves the account
    (`prove`), except where nothing is there to prove it with and address and domain are verified (`verified`), or never
    (`trusted`).  sync: whether roles and groups follow at every sign-in, or are given once.
    """

    organization: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    default_role: RoleName | None = None
    role_mapping: RoleMapping | None = None
    group_sync: GroupSync | None = None
    allowed_email_domains: Annotated[tuple[DomainName, ...], Field(max_length=256), AfterValidator(_unique)] = ()
    linking: Literal["prove", "verified", "trusted"] = "prove"
    sync: Literal["every", "once"] = "every"

    def risks(self) -> tuple[str, ...]:
        """What an administrator should know who set it so."""
        return (TRUSTED_WARNING,) if self.linking == "trusted" else ()

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        given = [self.default_role, *(role for rule in self._rules() for role in rule.roles)]
        named = {role.lower() for role in given if role is not None}
        if self.organization is not None and (wrong := sorted(named & _EVERYWHERE)):
            raise ValueError(f"role_mapping: {wrong[0]} holds everywhere, and this provider is of one organization")
        if self.organization is None and _WITHIN in named:
            raise ValueError(f"role_mapping: {_WITHIN} holds within an organization, and the provider has none")
        return self

    def _rules(self) -> tuple[RoleRule, ...]:
        return self.role_mapping.rules if self.role_mapping is not None else ()
