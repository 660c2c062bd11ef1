"""The order of pages: by an attribute or else by id; what lacks the attribute comes last, or first in reverse.

Spec: RFC 7644 3.4.2.3; RFC 9865 2.
"""

from datetime import datetime
from typing import Any

from scim2_models import InvalidCursorException, InvalidValueException, SearchRequest
from sqlalchemy import ColumnElement, and_, literal, null, or_
from sqlmodel import col

from watchword_directory.models import Group, User
from watchword_directory.ranks import Reach
from watchword_directory.scim.filters import sortable


class Order:
    """The order that a search asks for, of users or of groups."""

    def __init__(self, asked: SearchRequest[Any], model: Any, resource: str, by: Reach) -> None:
        """resource: `User` or `Group`.  by: the caller's reach.

        Raises InvalidValueException for what cannot be sorted by.
        """
        self._id: Any = col(User.id if resource == "User" else Group.id)
        self._descends = asked.sort_order is SearchRequest.SortOrder.descending
        self._by: Any = None
        if asked.sort_by is not None:
            binding = asked.sort_binding(model)
            if binding is None:
                raise InvalidValueException(detail=f"{asked.sort_by} cannot be sorted by")
            self._by = sortable(binding, resource, by)

    @property
    def value(self) -> ColumnElement[Any]:
        """What a row is sorted by; nothing where that is its id."""
        return null() if self._by is None else self._by

    @property
    def clauses(self) -> tuple[ColumnElement[Any], ...]:
        """As ORDER BY takes them: PostgreSQL, too, takes what is absent as greater than everything."""
        if self._by is None:
            return (self._id,)
        return (self._by.desc() if self._descends else self._by, self._id)

    def position(self, row: Any) -> dict[str, str | bool | None]:
        """Where a page ends, as a cursor keeps it."""
        value = row[1]
        return {"after": row[0].id, "value": value.isoformat() if isinstance(value, datetime) else value}

    def behind(self, position: Any) -> ColumnElement[bool]:
        """What comes behind a place in this order. Raises InvalidCursorException."""
        after = position.get("after") if isinstance(position, dict) else None
        if not isinstance(after, str):
            raise InvalidCursorException
        if self._by is None:
            return self._id > after  # type: ignore[no-any-return]
        value, same = self._read(position.get("value")), self._id > after
        if value is None:
            absent = and_(self._by.is_(None), same)
            return or_(absent, self._by.is_not(None)) if self._descends else absent
        here = and_(self._by == value, same)
        if self._descends:
            return or_(self._by < value, here)
        return or_(self._by > value, here, self._by.is_(None))

    def _read(self, value: Any) -> Any:
        if value is None:
            return None
        kind = self._by.type
        try:
            if kind.python_type is datetime:
                value = datetime.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise InvalidCursorException from error
        if not isinstance(value, kind.python_type):
            raise InvalidCursorException
        return literal(value, kind)
