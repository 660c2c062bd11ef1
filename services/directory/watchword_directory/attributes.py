"""Attributes of the installation's own: which a user may have, each declared by name and kind before it is used."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, assert_never

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Session
from watchword_directory.models import Attribute
from watchword_directory.texts import Text, clean_text
from watchword_events.exports import LARGEST_NUMBER
from watchword_policy.claim_names import RESERVED

MOST: Final = 64
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_TEXT: Final = 1024
_MAX_ITEMS: Final = 64
# A change of declarations and of values is made by one at a time, so that no value is left without its declaration.
_LOCK_FOR_DECLARING: Final = text("SELECT pg_advisory_xact_lock(hashtext('directory.attributes'))")
_LOCK_FOR_USING: Final = text("SELECT pg_advisory_xact_lock_shared(hashtext('directory.attributes'))")
_IN_USE: Final = text("SELECT EXISTS (SELECT FROM directory.users WHERE attributes ? :name)")


class AttributeKind(StrEnum):
    """What kind of value an attribute has."""

    STRING = "string"
    STRINGS = "strings"
    INTEGER = "integer"
    BOOLEAN = "boolean"


class InvalidAttribute(ValueError):
    """A value that its attribute cannot have, or an attribute that is not declared. name: of the attribute."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class OtherKind(Exception):
    """The attribute is declared, with another kind of value."""


class InUse(Exception):
    """Some user has the attribute."""


class TooMany(Exception):
    """No more attributes can be declared."""


def attribute_name(value: str) -> str:
    """The name itself. Raises ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError("an attribute's name has up to 63 of a-z, 0-9 and _, and begins with a letter")
    if value in RESERVED:
        raise ValueError("this is the name of a claim with a meaning of its own")
    return value


AttributeName = Annotated[str, AfterValidator(attribute_name)]
Attributes = Annotated[dict[AttributeName, JsonValue], Field(max_length=MOST)]


class Declaration(BaseModel):
    """What kind of value an attribute has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: AttributeKind
    description: Text | None = None


class AttributeView(Declaration):
    """A declared attribute as the API shows it."""

    name: str
    created_at: datetime


async def check_attributes(session: Session, given: Mapping[str, JsonValue]) -> None:
    """Raises InvalidAttribute for the first that is not declared or whose value is of another kind."""
    if not given:
        return
    await (await session.connection()).execute(_LOCK_FOR_USING)
    declared = {each.name: AttributeKind(each.kind) for each in await list_attributes(session)}
    for name, value in given.items():
        if name not in declared:
            raise InvalidAttribute(name, "no such attribute is declared")
        _check_value(name, declared[name], value)


def _check_value(name: str, kind: AttributeKind, value: JsonValue) -> None:
    match kind:
        case AttributeKind.STRING:
            _check_text(name, value)
        case AttributeKind.STRINGS:
            if not isinstance(value, list) or len(value) > _MAX_ITEMS:
                raise InvalidAttribute(name, f"must be a list of at most {_MAX_ITEMS} texts")
            for each in value:
                _check_text(name, each)
        case AttributeKind.INTEGER:
            is_number = isinstance(value, int) and not isinstance(value, bool)
            if not is_number or abs(value) > LARGEST_NUMBER:  # type: ignore[arg-type]  # a number, as just asked
                raise InvalidAttribute(name, "must be a whole number of at most 16 digits")
        case AttributeKind.BOOLEAN:
            if not isinstance(value, bool):
                raise InvalidAttribute(name, "must be true or false")
        case _:
            assert_never(kind)


def _check_text(name: str, value: JsonValue) -> None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise InvalidAttribute(name, f"must be a text of at most {_MAX_TEXT} characters")
    try:
        clean_text(value)
    except ValueError as error:
        raise InvalidAttribute(name, str(error)) from error


async def list_attributes(session: Session) -> Sequence[Attribute]:
    """Every declared attribute, by name."""
    return (await session.exec(select(Attribute).order_by(col(Attribute.name)))).all()


async def declare(session: Session, name: str, declaration: Declaration, *, now: datetime) -> tuple[Attribute, bool]:
    """The attribute is declared, and whether that is new. Raises OtherKind, TooMany."""
    await (await session.connection()).execute(_LOCK_FOR_DECLARING)
    known = {each.name: each for each in await list_attributes(session)}
    found = known.get(name)
    if found is not None:
        if found.kind != declaration.kind:
            raise OtherKind(name)
        found.description = declaration.description
        return found, False
    if len(known) >= MOST:
        raise TooMany(name)
    made = Attribute(name=name, kind=declaration.kind, description=declaration.description, created_at=now)
    await session.exec(insert(Attribute).values(**made.model_dump()))
    return made, True


async def withdraw(session: Session, name: str) -> bool:
    """Whether there was such an attribute; nobody may have it any more. Raises InUse."""
    connection = await session.connection()
    await connection.execute(_LOCK_FOR_DECLARING)
    if (await connection.execute(_IN_USE, {"name": name})).scalar_one():
        raise InUse(name)
    statement = delete(Attribute).where(col(Attribute.name) == name).returning(col(Attribute.name))
    return (await session.exec(statement)).scalar_one_or_none() is not None


def attribute_view(attribute: Attribute) -> AttributeView:
    """What the API answers about an attribute."""
    return AttributeView.model_validate(attribute.model_dump())
