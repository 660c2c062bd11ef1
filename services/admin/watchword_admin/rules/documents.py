"""What may be said of an access rule and of a service account, each part checked, unknown ones refused by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from watchword_admin.client_documents import plain_text
from watchword_admin.models import AccessRule, ServiceAccount
from watchword_events.exports import Exported, RuleExport
from watchword_policy.engine import MAX_SOURCE, InvalidExpression, RuleEngine
from watchword_web.errors import PLACED

MAX_PRECEDENCE: Final = 1_000_000
_ENGINE: Final = RuleEngine()


def _expression(source: str) -> str:
    """The source itself, once it compiles. The error carries its place in the source and what to write instead."""
    try:
        _ENGINE.compile(source)
    except InvalidExpression as error:
        place = {"line": error.line, "column": error.column, "hint": error.hint}
        raise PydanticCustomError(PLACED, "{reason}", {"reason": str(error), **place}) from None
    return source


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


# Neither holds a slash: in tokens an organization's rule is called <organization>/<name>.
RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
AccountName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._:@/-]{0,126}[A-Za-z0-9])?$")]
RoleName = Annotated[str, Field(max_length=128), AfterValidator(plain_text)]
Roles = Annotated[tuple[RoleName, ...], Field(max_length=64), AfterValidator(_unique)]
Text = Annotated[str, Field(max_length=1024), AfterValidator(plain_text)]
ClientName = Annotated[str, Field(min_length=1, max_length=512)]
# The length is checked by the engine, too; this keeps what cannot be an expression out of it.
Expression = Annotated[str, Field(max_length=MAX_SOURCE), AfterValidator(_expression)]


class RuleSettings(BaseModel):
    """The settings of a rule, as they are stored. clients: ids; empty for every client.

    organization: the id of the one whose clients the rule is for, above what a rule of the installation (null) gave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: RuleName
    description: Text | None = None
    expression: str
    precedence: Annotated[int, Field(strict=True, ge=-MAX_PRECEDENCE, le=MAX_PRECEDENCE)] = 0
    service_account: AccountName | None = None
    roles: Roles = ()
    clients: Annotated[tuple[ClientName, ...], Field(max_length=256), AfterValidator(_unique)] = ()
    organization: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/]+$")] | None = None
    enabled: bool = True


class RuleDocument(RuleSettings):
    """A rule as it is added or replaced: its expression compiles. clients, organization: ids or short names."""

    expression: Expression


class RuleView(RuleSettings):
    """A rule as the API shows it. effective_roles: with those of the service account."""

    id: str
    effective_roles: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime


class AccountDocument(BaseModel):
    """A service account: a name that rules lead to, with the roles that everybody has who is led there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: AccountName
    description: Text | None = None
    roles: Roles = ()


class AccountView(AccountDocument):
    """A service account as the API shows it."""

    version: int
    created_at: datetime
    updated_at: datetime


def settings_of(rule: AccessRule) -> RuleSettings:
    """The stored settings; the expression was compiled when it was written."""
    return RuleSettings.model_validate(rule.document)


def account_of(account: ServiceAccount) -> AccountDocument:
    """The stored settings."""
    return AccountDocument.model_validate(account.document)


@dataclass(frozen=True, slots=True)
class Named:
    """What rules name. roles: of service accounts, by name.  organizations: their short names, by id."""

    roles: Mapping[str, tuple[str, ...]]
    organizations: Mapping[str, str]

    def effective_roles(self, rule: RuleSettings) -> tuple[str, ...]:
        """The rule's own roles and those of its service account."""
        return tuple(sorted({*rule.roles, *self.roles.get(rule.service_account or "", ())}))

    def organization_of(self, rule: RuleSettings) -> str | None:
        """What the rule's organization is called."""
        return None if rule.organization is None else self.organizations.get(rule.organization)


def view(rule: AccessRule, named: Named) -> RuleView:
    """What the API answers about a rule."""
    settings = settings_of(rule)
    fields = settings.model_dump() | {
        "id": rule.id,
        "effective_roles": named.effective_roles(settings),
        "version": rule.version,
        "created_at": rule.created_at,
        "updated_at": rule.updated_at,
    }
    return RuleView.model_validate(fields)


def account_view(account: ServiceAccount) -> AccountView:
    """What the API answers about a service account."""
    fields = account.document | {
        "version": account.version,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }
    return AccountView.model_validate(fields)


def export(rule: AccessRule, named: Named) -> Exported[RuleExport]:
    """What other services copy; a deleted rule is a tombstone without data."""
    if rule.deleted_at is not None:
        return Exported(id=rule.id, version=rule.version, deleted=True)
    document = settings_of(rule)
    data = RuleExport(
        id=rule.id,
        name=document.name,
        expression=document.expression,
        precedence=document.precedence,
        service_account=document.service_account,
        roles=named.effective_roles(document),
        clients=frozenset(document.clients),
        organization=document.organization,
        organization_name=named.organization_of(document),
        enabled=document.enabled,
    )
    return Exported(id=rule.id, version=rule.version, data=data)
