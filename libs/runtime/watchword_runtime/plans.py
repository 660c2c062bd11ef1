"""Declared documents compared with what is there, and made true in one transaction.

A plan is not computed beside the change: it is the change, rolled back. So it shows what would happen, down to a name
that is taken (docs/adr/0015-declared-documents.md).
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import BaseModel, JsonValue, ValidationError

from watchword_database import Database, Session, transaction
from watchword_database.turns import take_turn
from watchword_runtime.access import Caller
from watchword_runtime.clock import Clock
from watchword_runtime.declared import (
    Action,
    Application,
    Change,
    Existing,
    Kind,
    Members,
    Plan,
    Rehearsal,
    Run,
    Step,
    Written,
)
from watchword_runtime.feed import Feed
from watchword_runtime.receipts import Ending
from watchword_web.errors import FieldError, Problem

_PAGE: Final = 500


class Plans:
    """The documents of one owner."""

    def __init__(self, database: Database, feed: Feed, kinds: Sequence[Kind[Any]], *, now: Clock) -> None:
        self._database = database
        self._feed = feed
        self._now = now
        self.kinds: Mapping[str, Kind[Any]] = {kind.name: kind for kind in _in_order(kinds)}

    async def apply(self, asked: Application, caller: Caller, ending: Ending) -> Plan:
        """The plan; unless it is a dry run, what it says is done, all of it or nothing.

        Raises Problem with pointers into `documents`, and 409 when a plan with another digest was agreed to.
        """
        documents = await self._prepared(asked)
        for name in asked.prune:
            if name not in self.kinds:
                raise _invalid(FieldError(pointer="#/prune", detail=f"there is no kind {name}"))
        try:
            async with transaction(self._database) as session:
                await take_turn(session, f"{self._database.schema}.documents")  # they compare, then write
                feed = Rehearsal() if asked.dry_run else self._feed
                run = Run(session, caller, feed, self._now(), asked.set_secrets)
                plan = await self._run(run, documents, asked)
                if asked.dry_run:
                    raise _RolledBack(plan)
        except _RolledBack as rehearsed:
            return rehearsed.plan
        await ending.finish(run.entries)
        for settle in run.afterwards:
            await settle()
        return plan

    async def _prepared(self, asked: Application) -> list["_Document"]:
        """Every document, checked. Raises Problem with all that is wrong."""
        errors: list[FieldError] = []
        documents = []
        for index, members in enumerate(asked.documents):
            kind = self.kinds.get(str(members.get("kind")))
            if kind is None:
                known = ", ".join(self.kinds)
                errors.append(FieldError(pointer=f"#/documents/{index}/kind", detail=f"one of {known}"))
                continue
            given = {name: value for name, value in members.items() if name != "kind"}
            try:
                documents.append(_Document(index, kind, kind.read(given)))
            except ValidationError as invalid:
                errors += _errors(index, invalid)
        if errors:
            raise _invalid(*errors)
        for document in documents:
            try:
                document.wanted = await document.kind.resolve(document.wanted, is_rehearsal=asked.dry_run)
            except Problem as problem:
                raise _located(problem, document.index) from problem
        if not asked.dry_run:
            for document in documents:
                document.prepared = await document.kind.prepare(document.wanted)
        return documents

    async def _run(self, run: Run, documents: list["_Document"], asked: Application) -> Plan:
        steps: dict[int, Step] = {}
        touched: dict[str, dict[str, int]] = {name: {} for name in self.kinds}
        for document in self._ordered(documents):
            try:
                step = await _write(run, document)
            except Problem as problem:
                raise _located(problem, document.index) from problem
            again = touched[document.kind.name].setdefault(str(step.id), document.index)
            if again != document.index:
                raise _located(_twice(step), document.index)
            steps[document.index] = step
        gone = []
        for kind in reversed(list(self.kinds.values())):
            if kind.name in asked.prune:
                gone += await self._prune(run, kind, touched[kind.name])
        in_order = [steps[index] for index in sorted(steps)] + gone
        if asked.dry_run:  # a secret that was drawn for nothing is not shown
            in_order = [step.model_copy(update={"secret": None}) for step in in_order]
        digest = _digest(in_order)
        if asked.digest not in {None, digest}:
            raise Problem(409, "Changed meanwhile", "Something else would happen now than what was agreed to.")
        return Plan(applied=not asked.dry_run, digest=digest, steps=in_order)

    def _ordered(self, documents: Sequence["_Document"]) -> list["_Document"]:
        """Documents behind those that they name; else as they came. A circle is left for the kind to refuse."""
        ordered: list[_Document] = []
        for kind in self.kinds.values():
            waiting = [each for each in documents if each.kind is kind]
            while waiting:
                names = {name for each in waiting for name in kind.called(each.wanted)}
                ready = [each for each in waiting if names.isdisjoint(kind.needs(each.wanted))] or waiting
                ordered += ready
                taken = {each.index for each in ready}
                waiting = [each for each in waiting if each.index not in taken]
        return ordered

    async def _prune(self, run: Run, kind: Kind[Any], kept: Collection[str]) -> list[Step]:
        gone = []
        async for existing in self._everything(run.session, kind):
            if existing.id not in kept:
                await kind.delete(run, existing)
                gone.append(Step(kind=kind.name, name=existing.name, id=existing.id, action="delete"))
        return gone

    async def _everything(self, session: Session, kind: Kind[Any]) -> AsyncIterator[Existing]:
        """Each that documents of the kind could describe."""
        after = ""
        while page := await kind.page(session, after, _PAGE):
            for existing in page:
                yield existing
            after = page[-1].id

    async def export(self, name: str, after: str, limit: int) -> tuple[list[Members], str | None]:
        """Documents of a kind that change nothing when they are applied, and the id to go on behind."""
        kind = self.kinds[name]
        async with transaction(self._database) as session:
            found = list(await kind.page(session, after, limit + 1))
        shown = found[:limit]
        return [written(kind, each) for each in shown], shown[-1].id if len(found) > limit else None


@dataclass(slots=True)
class _Document:
    index: int
    kind: Kind[Any]
    wanted: BaseModel
    prepared: Any = None


class _RolledBack(Exception):
    """The end of a dry run."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


async def _write(run: Run, document: _Document) -> Step:
    kind, wanted = document.kind, document.wanted
    existing = await kind.find(run, wanted)
    if existing is None:
        made = await kind.create(run, wanted, document.prepared)
        changes = [*_differences({}, written(kind, made.existing)), *_secrets(kind, wanted, True)]
        drawn = [name for name, value in made.existing.document.items() if value == made.existing.id]
        chosen = wanted.model_fields_set
        shown = [each for each in changes if each.field != "kind" and (each.field not in drawn or each.field in chosen)]
        return _step(kind, made, "create", shown)
    made = await kind.change(run, existing, wanted, document.prepared)
    sets = run.set_secrets or not existing.has_secret
    changes = [*_differences(existing.document, made.existing.document), *_secrets(kind, wanted, sets)]
    return _step(kind, made, "change" if changes else "unchanged", changes)


def _step(kind: Kind[Any], made: Written, action: Action, changes: list[Change]) -> Step:
    there = made.existing
    return Step(kind=kind.name, name=there.name, id=there.id, action=action, changes=changes, secret=made.secret)


def written(kind: Kind[Any], existing: Existing) -> Members:
    """The document that one would write: without what has its default anyway."""
    members: Members = {"kind": kind.name}
    fields = kind.model_of(existing.document).model_fields
    for name, value in existing.document.items():
        info = fields.get(name)
        if name in kind.usual:
            is_usual = value == kind.usual[name]
        else:
            is_usual = (
                info is not None
                and not info.is_required()
                and value == _plain(info.get_default(call_default_factory=True))
            )
        if not is_usual:
            members[name] = value
    return members


def _plain(value: object) -> JsonValue:
    """A default as JSON has it."""
    plain: JsonValue = orjson.loads(orjson.dumps(value, default=_listed))
    return plain


def _listed(value: object) -> object:
    if isinstance(value, frozenset | set | tuple):
        return sorted(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(type(value).__name__)


def _differences(before: Members, after: Members) -> list[Change]:
    names = [*after, *(name for name in before if name not in after)]
    return [
        Change(field=name, before=before.get(name), after=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _secrets(kind: Kind[Any], wanted: BaseModel, is_set: bool) -> list[Change]:
    given = [name for name in kind.secrets if getattr(wanted, name, None) is not None]
    return [Change(field=name, is_secret=True) for name in given if is_set]


def _digest(steps: Sequence[Step]) -> str:
    """What would happen, without what is drawn at random."""
    said = [
        {**step.model_dump(exclude={"id", "secret"}), "id": None if step.action == "create" else step.id}
        for step in steps
    ]
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _in_order(kinds: Sequence[Kind[Any]]) -> list[Kind[Any]]:
    """Kinds behind those that they may name. Raises ValueError for a circle."""
    waiting, ordered = list(kinds), list[Kind[Any]]()
    while waiting:
        ready = [kind for kind in waiting if not {each.name for each in waiting} & set(kind.after)]
        if not ready:
            raise ValueError("kinds that wait for each other")
        ordered += ready
        waiting = [kind for kind in waiting if kind not in ready]
    return ordered


def _errors(index: int, invalid: ValidationError) -> list[FieldError]:
    found = []
    for problem in invalid.errors(include_url=False, include_input=False, include_context=False):
        where = "".join(f"/{part}" for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        found.append(FieldError(pointer=f"#/documents/{index}{where}", detail=said))
    return found


def _located(problem: Problem, index: int) -> Problem:
    """The same problem, about the document with this index."""
    errors = [
        FieldError(pointer=f"#/documents/{index}{str(each.get('pointer', '')).lstrip('#')}", detail=each["detail"])
        for each in problem.errors
    ]
    said = problem.detail or problem.title
    return Problem(
        problem.status,
        problem.title,
        problem.detail,
        errors=errors or [FieldError(pointer=f"#/documents/{index}", detail=said)],
    )


def _twice(step: Step) -> Problem:
    return Problem(400, "The request is not valid", f"Another document describes {step.kind} {step.name} as well.")


def _invalid(*errors: FieldError) -> Problem:
    return Problem(400, "The request is not valid", errors=list(errors))
