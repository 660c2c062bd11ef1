"""Declared documents: what a service is to look like. Who owns a kind of them says how one is found, made and changed.

`plans` compares documents with what is there; `watchword apply` sends them, each kind to its owner.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from watchword_database import Session
from watchword_events.revocations import Claim
from watchword_runtime.access import Caller
from watchword_runtime.feed import Feed

Members = dict[str, JsonValue]
Action = Literal["create", "change", "unchanged", "delete"]
MOST_DOCUMENTS: Final = 5000


class Change(BaseModel):
    """A member that differs. is_secret: it is only said that it is set."""

    field: str
    before: JsonValue = None
    after: JsonValue = None
    is_secret: bool = False


class Step(BaseModel):
    """What becomes of one document, or of something that no document describes. secret: generated, shown once."""

    kind: str
    name: str
    id: str | None
    action: Action
    changes: list[Change] = []
    secret: str | None = None


class Plan(BaseModel):
    """All steps, in the order of the documents. digest: of what would happen, for the application of exactly that."""

    applied: bool
    digest: str
    steps: list[Step]


class Application(BaseModel):
    """Documents to compare with what is there. Each is the body of the kind's own call, with its `kind`.

    dry_run: nothing happens.  prune: kinds of which everything goes that no document describes.  set_secrets: secrets
    are written also where there is one already; they cannot be compared.  digest: of the plan that somebody agreed to;
    when by now something else would happen, nothing does (409).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: list[Members] = Field(max_length=MOST_DOCUMENTS)
    dry_run: bool = False
    prune: list[str] = []
    set_secrets: bool = False
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Existing:
    """Something that is there. document: as one would write it, with every member.  has_secret: whether one is set."""

    id: str
    name: str
    document: Members
    has_secret: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of it. secret: one that was generated, to be shown now and never again."""

    existing: Existing
    secret: str | None = None


class Rehearsal(Feed):
    """Takes the place of the feed where all is rolled back: nothing is announced as revoked."""

    def __init__(self) -> None:
        """Of the feed nothing is needed."""

    def pend(self, entry_id: int, claim: Claim, value: str) -> None:
        """Nobody is told."""


@dataclass(slots=True)
class Run:
    """One plan or application. feed: for `bus.revoke`'s entries, whose numbers go into `entries`.

    caller: who asks.  set_secrets: as in `Application`.  afterwards: what is awaited once everything is committed.
    """

    session: Session
    caller: Caller
    feed: Feed
    now: datetime
    set_secrets: bool
    entries: list[int] = field(default_factory=list)
    afterwards: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


M = TypeVar("M", bound=BaseModel)


class Kind(ABC, Generic[M]):
    """How documents of one kind meet what is there.

    name: as documents say it.  model: what a document may say; what is left out has its default.  secrets: members that
    can be written and never read.  usual: values that are not worth a line where the model has no default for them.
    after: kinds of the same owner that documents of this one may name.
    """

    name: ClassVar[str]
    model: ClassVar[type[BaseModel]]
    secrets: ClassVar[tuple[str, ...]] = ()
    usual: ClassVar[Mapping[str, JsonValue]] = {}
    after: ClassVar[tuple[str, ...]] = ()

    def models(self) -> Sequence[type[BaseModel]]:
        """Every shape that documents of this kind have."""
        return (self.model,)

    def model_of(self, members: Mapping[str, JsonValue]) -> type[BaseModel]:
        """The shape of one document, by what it says. Raises ValidationError when it says nothing that there is."""
        return self.model

    def read(self, members: Mapping[str, JsonValue]) -> BaseModel:
        """One document, checked. Raises ValidationError."""
        return self.model_of(members).model_validate(members)

    def called(self, wanted: M) -> Sequence[str]:
        """As what other documents of the same kind may have to wait for this one."""
        return ()

    def needs(self, wanted: M) -> Sequence[str]:
        """Behind which others of the same kind the document comes, as `called` says; those that there are."""
        return ()

    async def resolve(self, wanted: M, *, is_rehearsal: bool) -> M:
        """The document with ids in place of what others' things are called, before the transaction. Raises Problem.

        is_rehearsal: what is not there yet may be declared by another document, for its owner.
        """
        return wanted

    async def prepare(self, wanted: M) -> Any:
        """What takes long and needs no transaction, as hashing a secret; handed to create and change.

        A dry run goes without: they are handed None.
        """

    @abstractmethod
    async def find(self, run: Run, wanted: M) -> Existing | None:
        """What the document describes, locked; None when it does not exist. Raises Problem when it names several."""

    @abstractmethod
    async def create(self, run: Run, wanted: M, prepared: Any) -> Written:
        """It exists. Raises Problem."""

    @abstractmethod
    async def change(self, run: Run, existing: Existing, wanted: M, prepared: Any) -> Written:
        """It is as the document says; nothing happens where nothing differs. Raises Problem."""

    @abstractmethod
    async def delete(self, run: Run, existing: Existing) -> None:
        """It is gone. Raises Problem."""

    @abstractmethod
    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """What documents could describe, in the order of ids, behind one; what nobody could declare is left out."""
