"""What people search lists by."""

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import Mapped


def holds(search: str, *columns: Mapped[str] | Mapped[str | None] | ColumnElement[str]) -> ColumnElement[bool]:
    """That one of the columns holds the text, in whatever letters; nothing in it is a pattern."""
    return or_(*(each.icontains(search, autoescape=True) for each in columns))
