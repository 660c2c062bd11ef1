"""SCIM filters as SQL: every value is bound. What is absent is equal to nothing, and `not` and `ne` hold of it.

Spec: RFC 7644 3.4.2.2.
"""

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from scim2_models import AttributeBinding, Extension, InvalidFilterException, ScimFilter
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
    coerce_value,
)
from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased
from sqlmodel import col

from watchword_directory.models import Group, Membership, Nesting, User
from watchword_directory.ranks import Reach

MAX_FILTER: Final = 2048
_ORDERED: Final[Mapping[CompareOperator, Callable[[Any, Any], Any]]] = {
    CompareOperator.eq: operator.eq,
    CompareOperator.gt: operator.gt,
    CompareOperator.ge: operator.ge,
    CompareOperator.lt: operator.lt,
    CompareOperator.le: operator.le,
}
_SAID: Final[Any] = col(User.scim)
_PROFILE: Final[Any] = col(User.profile)


def _either(path: tuple[str, ...], claim: str) -> ColumnElement[Any]:
    return func.coalesce(_SAID[path].astext, _PROFILE[claim].astext)


# Where attributes stand that do not stand in what was said. The form of userName and emails is that of their indexes.
_USER: Final[Mapping[str, Any]] = {
    "id": col(User.id),
    "externalId": col(User.external_id),
    "userName": literal_column("coalesce(users.scim ->> 'userName', users.username)", Text()),
    "active": col(User.active),
    "meta.created": col(User.created_at),
    "meta.lastModified": col(User.updated_at),
    "displayName": _either(("displayName",), "name"),
    "name.givenName": _either(("name", "givenName"), "given_name"),
    "name.familyName": _either(("name", "familyName"), "family_name"),
    "name.middleName": _either(("name", "middleName"), "middle_name"),
    "nickName": _either(("nickName",), "nickname"),
}
# By whole names; whoever reaches one organization calls its groups by their names there.
_GROUP: Final[Mapping[str, Any]] = {
    "id": col(Group.id),
    "externalId": col(Group.external_id),
    "displayName": col(Group.full_name),
    "meta.created": col(Group.created_at),
    "meta.lastModified": col(Group.updated_at),
}
_EMAILS: Final = case(
    (_SAID.has_key("emails"), _SAID["emails"]),
    (
        and_(col(User.email).is_not(None), col(User.email_verified)),
        func.jsonb_build_array(func.jsonb_build_object("value", col(User.email), "primary", True)),
    ),
    else_=func.jsonb_build_array(),
)
_EMAILS_IN_SMALL: Final = literal_column("lower((users.scim -> 'emails')::text)::jsonb", JSONB())


def condition(found: ScimFilter[Any], resource: str, by: Reach) -> ColumnElement[bool]:
    """The rows that the filter means, which asks for nothing beyond the caller's reach.

    resource: `User` or `Group`. Raises InvalidFilterException.
    """
    if len(str(found)) > MAX_FILTER:
        raise InvalidFilterException(detail=f"a filter has at most {MAX_FILTER} characters")
    return _Translator(found, resource, by).visit(found.ast)


def sortable(binding: AttributeBinding, resource: str, by: Reach) -> Any:
    """What the attribute is sorted by, letters compared as the attribute's are. Raises InvalidFilterException."""
    name = _name(binding)
    if (resource, name.partition(".")[0]) == ("User", "emails"):
        return case((col(User.email_verified), func.lower(col(User.email))))  # of several values the primary one counts
    if binding.is_multivalued:
        raise InvalidFilterException(detail=f"{name} cannot be sorted by")
    found = column_of(name, binding, resource, by)
    is_text = isinstance(found.type, Text) or found.type.python_type is str
    return func.lower(found) if is_text and not binding.case_exact else found


def column_of(name: str, binding: AttributeBinding, resource: str, by: Reach) -> Any:
    """The column with the value of an attribute that has one. Raises InvalidFilterException."""
    if (resource, name) == ("Group", "displayName") and by.organizations is not None:
        return col(Group.name)
    columns = _USER if resource == "User" else _GROUP
    if name in columns:
        return columns[name]
    if resource != "User" or name in ("name", "meta", "schemas") or name.startswith("meta."):
        raise InvalidFilterException(detail=f"{name} cannot be filtered by")
    return _SAID[(*_extension(binding), *name.split("."))].astext


class _Translator(FilterVisitor[ColumnElement[bool]]):
    """entry: within a selection such as `emails[…]`, the attribute and the column with one of its values."""

    def __init__(
        self, found: ScimFilter[Any], resource: str, by: Reach, entry: tuple[AttrPath, Any] | None = None
    ) -> None:
        self._filter = found
        self._resource = resource
        self._by = by
        self._entry = entry

    def visit_comparison(self, node: Comparison) -> ColumnElement[bool]:
        binding = self._filter.resolve_comparison(self._path(node.attr_path), strict=False)
        if binding is None:
            return false()
        value = coerce_value(binding, node.value, node.op)
        name = _name(binding)
        if self._entry is not None:
            return _compared(self._of_entry(self._entry[1], binding), binding, node.op, value)
        if not binding.is_multivalued:
            return _compared(column_of(name, binding, self._resource, self._by), binding, node.op, value)
        if name in ("emails", "emails.value") and node.op is CompareOperator.eq and isinstance(value, str):
            wanted = [{"value": value.lower()}]
            is_own = and_(func.lower(col(User.email)) == value.lower(), col(User.email_verified))
            return or_(is_own, _EMAILS_IN_SMALL.contains(wanted))
        # `ne` holds when no value is that one.
        is_not = node.op is CompareOperator.ne
        op = CompareOperator.eq if is_not else node.op
        some = self._some(binding, lambda entry: _compared(self._of_entry(entry, binding), binding, op, value))
        return not_(some) if is_not else some

    def visit_present(self, node: Present) -> ColumnElement[bool]:
        binding = self._filter.resolve(self._path(node.attr_path), strict=False)
        if binding is None:
            return false()
        if self._entry is not None:
            return _present(self._of_entry(self._entry[1], binding))
        if not binding.is_multivalued:
            return _present(column_of(_name(binding), binding, self._resource, self._by))
        return self._some(binding, lambda entry: _present(self._of_entry(entry, binding)))

    def visit_not(self, node: Not) -> ColumnElement[bool]:
        return not_(func.coalesce(self.visit(node.expr), False))

    def visit_logical_expr(self, node: LogicalExpr) -> ColumnElement[bool]:
        combine = and_ if node.op is LogicalOperator.and_ else or_
        return combine(*(self.visit(term) for term in node.terms))

    def visit_value_path(self, node: ValuePath) -> ColumnElement[bool]:
        binding = self._filter.resolve(node.attr_path, strict=False)
        if binding is None or not binding.is_multivalued:
            return false()

        def inner(entry: Any) -> ColumnElement[bool]:
            return _Translator(self._filter, self._resource, self._by, (node.attr_path, entry)).visit(node.val_filter)

        return self._some(binding, inner)

    def _path(self, path: AttrPath) -> AttrPath:
        if self._entry is None:
            return path
        return AttrPath(self._entry[0].attr, path.attr, self._entry[0].uri)

    def _some(self, binding: AttributeBinding, holds: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
        """Whether it holds of one of the values."""
        head = _name(binding).partition(".")[0]
        if (self._resource, head) == ("Group", "members"):
            person = select(Membership).where(col(Membership.group_id) == col(Group.id))
            group = select(Nesting).where(col(Nesting.parent_id) == col(Group.id))
            if self._by.organizations is not None:
                child = aliased(Group)
                home = col(User.organization_id).in_(self._by.organizations)
                person = person.join(User, col(User.id) == col(Membership.user_id)).where(home)
                own = col(child.organization_id).in_(self._by.organizations)
                group = group.join(child, col(child.id) == col(Nesting.child_id)).where(own)
            return or_(
                exists(person.where(holds(col(Membership.user_id))).correlate(Group)),
                exists(group.where(holds(col(Nesting.child_id))).correlate(Group)),
            )
        if (self._resource, head) == ("User", "groups"):
            member = select(Membership).where(col(Membership.user_id) == col(User.id))
            if self._by.organizations is not None:
                own = col(Group.organization_id).in_(self._by.organizations)
                member = member.join(Group, col(Group.id) == col(Membership.group_id)).where(own)
            return exists(member.where(holds(col(Membership.group_id))).correlate(User))
        if self._resource != "User" or head not in ("emails", "phoneNumbers", "addresses"):
            raise InvalidFilterException(detail=f"{head} cannot be filtered by")
        listed = _EMAILS if head == "emails" else func.coalesce(_SAID[head], func.jsonb_build_array())
        entries = func.jsonb_array_elements(listed).table_valued(column("value", JSONB), name="entries")
        return exists(select(literal(1)).select_from(entries).where(holds(entries.c.value)).correlate(User))

    def _of_entry(self, entry: Any, binding: AttributeBinding) -> Any:
        """The part of one value that is looked at. Of a member and of a group of a user that is its id."""
        head, _, part = _name(binding).partition(".")
        if head in ("members", "groups"):
            if part not in ("", "value"):
                raise InvalidFilterException(detail=f"{head}.{part} cannot be filtered by")
            return entry
        return entry[part or "value"].astext


def _name(binding: AttributeBinding) -> str:
    """`name.familyName`, without the schema."""
    return binding.urn.rpartition(":")[2]


def _extension(binding: AttributeBinding) -> tuple[str, ...]:
    return (binding.urn.rpartition(":")[0],) if issubclass(binding.model, Extension) else ()


def _present(found: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(found.is_not(None), cast(found, Text) != "")


def _compared(
    found: ColumnElement[Any], binding: AttributeBinding, op: CompareOperator, value: object
) -> ColumnElement[bool]:
    if value is None:
        return found.is_(None) if op is CompareOperator.eq else found.is_not(None)
    if isinstance(value, bool) and not _is_boolean(found):
        value = "true" if value else "false"  # as JSON writes it
    if isinstance(value, str) and not binding.case_exact:
        found, value = func.lower(found), value.lower()
    if isinstance(value, str | bool | datetime):
        return _holds(found, op, value)
    raise InvalidFilterException(detail=f"{_name(binding)} cannot be compared so")


def _holds(found: ColumnElement[Any], op: CompareOperator, value: Any) -> ColumnElement[bool]:
    match op:
        case CompareOperator.ne:
            return or_(found.is_(None), found != value)
        case CompareOperator.co:
            return found.contains(value, autoescape=True)
        case CompareOperator.sw:
            return found.startswith(value, autoescape=True)
        case CompareOperator.ew:
            return found.endswith(value, autoescape=True)
        case _:
            return _ORDERED[op](found, value)  # type: ignore[no-any-return]


def _is_boolean(found: ColumnElement[Any]) -> bool:
    return found is _USER["active"]
