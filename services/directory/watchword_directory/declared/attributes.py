"""Attributes of the installation's own as declared documents."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from watchword_database import Session
from watchword_directory import attributes
from watchword_directory.attributes import AttributeKind, AttributeName, Declaration
from watchword_directory.models import Attribute
from watchword_directory.refusals import refusals
from watchword_directory.texts import Text
from watchword_runtime.declared import Existing, Kind, Run, Written


class DeclaredAttribute(BaseModel):
    """An attribute that users may have. value: the kind of its values, which stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: AttributeName
    value: AttributeKind
    description: Text | None = None

    def declaration(self) -> Declaration:
        """As the API takes it."""
        return Declaration(kind=self.value, description=self.description)


class Attributes(Kind[DeclaredAttribute]):
    """Attributes, by their name."""

    name = "Attribute"
    model = DeclaredAttribute

    async def find(self, run: Run, wanted: DeclaredAttribute) -> Existing | None:
        """By `name`."""
        known = {each.name: each for each in await attributes.list_attributes(run.session)}
        return _existing(known[wanted.name]) if wanted.name in known else None

    async def create(self, run: Run, wanted: DeclaredAttribute, prepared: None) -> Written:
        """Users may have it."""
        with refusals("attribute"):
            made, _ = await attributes.declare(run.session, wanted.name, wanted.declaration(), now=run.now)
        return Written(_existing(made))

    async def change(self, run: Run, existing: Existing, wanted: DeclaredAttribute, prepared: None) -> Written:
        """Its description is as the document says."""
        return await self.create(run, wanted, prepared)

    async def delete(self, run: Run, existing: Existing) -> None:
        """No user may have it, if none has."""
        with refusals("attribute"):
            await attributes.withdraw(run.session, existing.id)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        found = [each for each in await attributes.list_attributes(session) if each.name > after]
        return [_existing(each) for each in found[:limit]]


def _existing(attribute: Attribute) -> Existing:
    members = {"name": attribute.name, "value": attribute.kind, "description": attribute.description}
    return Existing(attribute.name, attribute.name, dict(members))
