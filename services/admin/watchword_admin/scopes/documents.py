"""What may be said of a scope and of a resource server, each part checked, unknown ones refused by name."""

import re
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from watchword_admin.client_documents import LONGEST_ACCESS_TOKEN_S, plain_text
from watchword_admin.client_formats import SigningAlg
from watchword_admin.models import Resource, Scope
from watchword_admin.uris import check_resource
from watchword_events.exports import Exported, ResourceExport, ScopeClaim, ScopeExport
from watchword_policy.claim_expressions import ClaimEngine
from watchword_policy.claim_names import RESERVED
from watchword_policy.engine import MAX_SOURCE, InvalidExpression
from watchword_policy.scopes import BUILT_IN, is_privileged
from watchword_web.errors import PLACED

Place = Literal["id_token", "userinfo", "access_token"]

_ENGINE: Final = ClaimEngine()
_SCOPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_CLAIM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/#-]{0,127}")


def _scope_name(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("a scope has up to 128 of letters, digits and . _ : / -, and begins with a letter or digit")
    if value in BUILT_IN or is_privileged(value.lower()):
        raise ValueError("this is one of Watchword's own scopes")
    return value


def _claim_name(value: str) -> str:
    if not _CLAIM.fullmatch(value):
        raise ValueError("a claim has up to 128 of letters, digits and _ . : / # -, and begins with a letter or _")
    if value.lower() in RESERVED:
        raise ValueError("this claim has a meaning of its own, which no scope may change")
    return value


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


ScopeName = Annotated[str, AfterValidator(_scope_name)]
AnyScope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,128}$")]
ClaimName = Annotated[str, AfterValidator(_claim_name)]
Expression = Annotated[str, Field(max_length=MAX_SOURCE), AfterValidator(_expression)]
Text = Annotated[str, Field(max_length=256), AfterValidator(plain_text)]
Identifier = Annotated[str, Field(max_length=255), AfterValidator(check_resource)]


class Claim(BaseModel):
    """A claim that a scope opens: what it is for a person, and where applications find it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClaimName
    expression: Expression
    appears_in: Annotated[tuple[Place, ...], Field(min_length=1), AfterValidator(_unique)] = ("id_token", "userinfo")


class ScopeDocument(BaseModel):
    """A scope as it is added or replaced. description: what the person is asked to allow.

    is_default: clients that are registered without a `scope` have it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ScopeName
    description: Text
    claims: Annotated[tuple[Claim, ...], Field(max_length=32)] = ()
    is_default: bool = False

    @model_validator(mode="after")
    def _check_once(self) -> Self:
        names = [claim.name for claim in self.claims]
        if len(set(names)) != len(names):
            raise ValueError("claims: each name once")
        return self


class ScopeView(ScopeDocument):
    """A scope as the API shows it."""

    id: str
    version: int
    created_at: datetime
    updated_at: datetime


class ResourceDocument(BaseModel):
    """A resource server as it is added or replaced. Spec: RFC 8707 2.

    identifier: the audience of tokens for it, for ever.  scopes: that tokens for it may have; any when left out.
    any_client: every client may ask for tokens for it; otherwise those whose `audience` lists it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identifier: Identifier
    name: Text
    scopes: Annotated[tuple[AnyScope, ...], Field(max_length=128), AfterValidator(_unique)] = ()
    any_client: bool = False
    access_token_format: Literal["jwt", "opaque"] | None = None
    access_token_lifetime_s: Annotated[int, Field(ge=30, le=LONGEST_ACCESS_TOKEN_S)] | None = None
    access_token_signing_alg: SigningAlg | None = None


class ResourceView(ResourceDocument):
    """A resource server as the API shows it."""

    id: str
    version: int
    created_at: datetime
    updated_at: datetime


def scope_of(scope: Scope) -> ScopeDocument:
    """The stored settings; they were checked when they were written."""
    return ScopeDocument.model_validate(scope.document)


def resource_of(resource: Resource) -> ResourceDocument:
    """The stored settings; they were checked when they were written."""
    return ResourceDocument.model_validate(resource.document)


def scope_view(scope: Scope) -> ScopeView:
    """What the API answers about a scope."""
    return ScopeView.model_validate(scope.document | _fields(scope))


def resource_view(resource: Resource) -> ResourceView:
    """What the API answers about a resource server."""
    return ResourceView.model_validate(resource.document | _fields(resource))


def _fields(row: Scope | Resource) -> dict[str, object]:
    return {"id": row.id, "version": row.version, "created_at": row.created_at, "updated_at": row.updated_at}


def export_scope(scope: Scope) -> Exported[ScopeExport]:
    """What other services copy; a deleted scope is a tombstone without data."""
    if scope.deleted_at is not None:
        return Exported(id=scope.id, version=scope.version, deleted=True)
    document = scope_of(scope)
    claims = tuple(
        ScopeClaim(name=each.name, expression=each.expression, appears_in=frozenset(each.appears_in))
        for each in document.claims
    )
    data = ScopeExport(id=scope.id, name=document.name, description=document.description, claims=claims)
    return Exported(id=scope.id, version=scope.version, data=data)


def export_resource(resource: Resource) -> Exported[ResourceExport]:
    """What other services copy; a deleted resource server is a tombstone without data."""
    if resource.deleted_at is not None:
        return Exported(id=resource.id, version=resource.version, deleted=True)
    fields = resource_of(resource).model_dump()
    return Exported(
        id=resource.id, version=resource.version, data=ResourceExport.model_validate(fields | {"id": resource.id})
    )
