"""Things of the kinds that `kinds` declares: their lists, forms and pages, and what is done to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import quote, unquote

from fastapi import Request, Response
from pydantic import ConfigDict, JsonValue

from watchword_admin.console.controls import member_of, typed_of
from watchword_admin.console.kinds import KINDS
from watchword_admin.console.kinds.shapes import Column, Deed, Field, Kind
from watchword_admin.console.pages import Console, Handler, Names, cursor_of, following
from watchword_admin.console.rooms import client_page
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Document, Listed, Refused
from watchword_web.devices import device_of
from watchword_web.forms import read_query
from watchword_web.texts import Text

_ROWS: Final = "50"


class Thing(Document):
    """Something of any kind: every member that its owner tells."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def member(self, name: str) -> JsonValue:
        """The member of this name; None where there is none."""
        value: JsonValue = (self.model_extra or {}).get(name)
        return value


@dataclass(frozen=True, slots=True)
class Cell:
    """A member as it is shown. link: the page about it; "" for none.  none: what stands for no value."""

    label: str
    shape: str
    value: object
    link: str = ""
    none: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing of a list. path: its page, below which its deeds are."""

    key: str
    path: str
    cells: Sequence[Cell]
    deeds: Sequence[Deed]
    thing: Thing

    def values(self, deed: Deed) -> dict[str, JsonValue]:
        """What the row says of itself to a deed."""
        return {field.name: self.thing.member(field.name) for field in deed.fields}


def _list(kind: Kind) -> Handler:
    async def show(console: Console, request: Request, visit: Visit) -> Response:
        query = read_query(request)
        asked = {name: query[name] for name in kind.filters if name in query}
        paging = {} if kind.is_short else {"limit": _ROWS, **cursor_of(request)}
        found = await console.calls.page(visit.token, kind.path, Thing, **asked, **paging)
        columns = _told(kind.columns, found.items)
        return console.render(
            request,
            visit,
            "records.html",
            here=kind.room,
            kind=kind,
            columns=columns,
            rows=await _rows(console, kind, columns, found),
            asked=asked,
            following=following(kind.home, asked, found.next),
        )

    return show


def _new(kind: Kind) -> Handler:
    async def ask(console: Console, request: Request, visit: Visit) -> Response:
        query = read_query(request)
        values = {field.name: query.get(field.name, field.first) for field in kind.fields}
        return _form(console, request, visit, kind, values=values)

    return ask


def _make(kind: Kind) -> Handler:
    async def make(console: Console, request: Request, visit: Visit) -> Response:
        form = await console.sessions.read_form(request, visit)
        try:
            fields = [field for field in kind.fields if field.name != kind.named_by]
            body = _members(fields, form, now=console.parts.now())
            if kind.named_by:
                path = f"{kind.path}/{quote(form.get(kind.named_by, '') or '-', safe='')}"
                await console.calls.send(visit.token, "PUT", path, body)
                return console.go(kind.home)
            made = await console.calls.post(visit.token, kind.path, Thing, body)
        except Refused as refused:
            return _form(console, request, visit, kind, values=form, errors=refused.errors)
        if kind.once and (once := made.member(kind.once)):
            return console.render(
                request,
                visit,
                "record_made.html",
                here=kind.room,
                status=201,
                kind=kind,
                once=once,
                name=made.member(kind.name),
                path=_path(kind, made),
            )
        return console.go(_path(kind, made))

    return make


def _show(kind: Kind) -> Handler:
    async def show(console: Console, request: Request, visit: Visit) -> Response:
        return await _page(console, request, visit, kind)

    return show


def _save(kind: Kind) -> Handler:
    async def save(console: Console, request: Request, visit: Visit) -> Response:
        form = await console.sessions.read_form(request, visit)
        known = await _one(console, request, visit, kind)
        kept = {field.name: known.member(field.name) for field in kind.fields if field.fixed}
        try:
            fields = [field for field in kind.fields if not field.fixed]
            body = _members(fields, form, now=console.parts.now())
            await console.calls.send(visit.token, "PUT", _api_path(kind, request), {**kept, **body})
        except Refused as refused:
            return await _page(console, request, visit, kind, values=form, errors=refused.errors)
        return console.go(_path(kind, known))

    return save


def _ask(kind: Kind, deed: Deed) -> Handler:
    async def ask(console: Console, request: Request, visit: Visit) -> Response:
        key = _key(request)
        thing = await _asked_about(console, request, visit, kind)
        known = [column for column in kind.columns if thing is not None and thing.member(column.name)]
        facts = _cells(kind, known, thing, await _names(console, known, [thing])) if thing else ()
        path = _below(kind, key)
        return console.render(
            request,
            visit,
            "record_question.html",
            here=kind.room,
            kind=kind,
            deed=deed,
            name=thing.member(kind.name) if thing and kind.name != "id" else None,
            facts=() if kind.has_page else facts,
            key=key,
            path=path,
            cancel=path if kind.has_page else kind.home,
        )

    return ask


def _do(kind: Kind, deed: Deed) -> Handler:
    async def do(console: Console, request: Request, visit: Visit) -> Response:
        form = await console.sessions.read_form(request, visit)
        path = f"{_api_path(kind, request)}{deed.below}"
        try:
            said = _members(deed.fields, form, now=console.parts.now())
            body = None if deed.method == "DELETE" else {**(deed.body or {}), **said}
            answer = await console.calls.send(visit.token, deed.method, path, body)
        except Refused as refused:
            if not kind.has_page:
                raise
            return await _page(console, request, visit, kind, errors=refused.errors, by=deed, said_by=form)
        if deed.answers:
            return await _page(console, request, visit, kind, said=Thing.model_validate_json(answer), by=deed)
        is_over = deed.method == "DELETE" or not kind.has_page
        return console.go(kind.home if is_over else _below(kind, _key(request)))

    return do


async def _page(
    console: Console,
    request: Request,
    visit: Visit,
    kind: Kind,
    *,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    said: Thing | None = None,
    by: Deed | None = None,
    said_by: Mapping[str, str] | None = None,
) -> Response:
    """The page of one thing. values: what was typed and is not saved.  said: what the owner answered to a deed.

    said_by: what the form of a deed said that was refused.
    """
    thing = await _one(console, request, visit, kind)
    letters: Sequence[Row] = ()
    after = None
    if kind.below is not None:
        found = await console.calls.page(
            visit.token, f"{_api_path(kind, request)}/{kind.below.path}", Thing, limit=_ROWS, **cursor_of(request)
        )
        letters, after = await _rows(console, kind, kind.below.columns, found), found.next
    return console.form(
        request,
        visit,
        "record.html",
        here=kind.room,
        scripts=kind.has_secret,
        kind=kind,
        name=thing.member(kind.name),
        path=_path(kind, thing),
        facts=_cells(kind, kind.details, thing, await _names(console, kind.details, [thing])),
        deeds=_deeds(kind, thing),
        values=values or {field.name: typed_of(field, thing.member(field.name)) for field in kind.fields},
        errors=errors,
        refused=by.name if by and errors else "",
        said_by=said_by or {},
        said=_cells(kind, by.answers, said, Names({}, {}, {}, {})) if by and said else (),
        letters=letters,
        letter_deed=kind.deed(kind.below.deed) if kind.below and kind.below.deed else None,
        following=following(_path(kind, thing), {}, after),
    )


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    kind: Kind,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "record_form.html",
        here=kind.room,
        scripts=kind.has_secret,
        kind=kind,
        values=values,
        errors=errors,
    )


async def _one(console: Console, request: Request, visit: Visit, kind: Kind) -> Thing:
    return await console.calls.get(visit.token, _api_path(kind, request), Thing)


async def _asked_about(console: Console, request: Request, visit: Visit, kind: Kind) -> Thing | None:
    """The thing that a deed is about, so that its question can say which; None where it is not among the newest.

    Where the API shows none alone, it is looked for in the list that the question was asked from.
    """
    if kind.has_page:
        return await _one(console, request, visit, kind)
    paging = {} if kind.is_short else {"limit": _ROWS}
    found = await console.calls.page(visit.token, kind.path, Thing, **paging)
    return next((each for each in found.items if str(each.member(kind.key)) == _key(request)), None)


def _told(columns: Sequence[Column], things: Sequence[Thing]) -> Sequence[Column]:
    """The columns of a list but those that would say nothing in any row."""
    return [each for each in columns if each.none or any(_says(thing.member(each.name)) for thing in things)]


def _says(value: JsonValue) -> bool:
    return value is not None and value not in ("", [], {})


def _api_path(kind: Kind, request: Request) -> str:
    return f"{kind.path}/{quote(_key(request), safe='')}"


def _key(request: Request) -> str:
    return unquote(str(request.path_params["key"]))


def _below(kind: Kind, key: object) -> str:
    """Where a thing is, or where its deeds are. Quoted twice: a key may hold what divides a path."""
    return f"{kind.home}/{quote(quote(str(key), safe=''), safe='')}"


def _path(kind: Kind, thing: Thing) -> str:
    """The page of a thing; its list where it has none."""
    return _below(kind, thing.member(kind.key)) if kind.has_page else kind.home


async def _rows(console: Console, kind: Kind, columns: Sequence[Column], found: Listed[Thing]) -> Sequence[Row]:
    names = await _names(console, columns, found.items)
    return [
        Row(
            str(thing.member(kind.key)),
            _below(kind, thing.member(kind.key)),
            _cells(kind, columns, thing, names),
            _deeds(kind, thing),
            thing,
        )
        for thing in found.items
    ]


def _deeds(kind: Kind, thing: Thing) -> Sequence[Deed]:
    return [deed for deed in kind.deeds if deed.when is None or thing.member(deed.when[0]) in deed.when[1]]


async def _names(console: Console, columns: Sequence[Column], things: Sequence[Thing]) -> Names:
    def ids(shape: str) -> list[str | None]:
        found = (thing.member(column.name) for column in columns if column.shape == shape for thing in things)
        return [each for each in found if isinstance(each, str)]

    return await console.names(
        users=ids("user"),
        clients=[*ids("client"), *ids("entity")],
        providers=ids("provider"),
        organizations=[*ids("organization"), *ids("entity")],
    )


def _cells(kind: Kind, columns: Sequence[Column], thing: Thing, names: Names) -> Sequence[Cell]:
    return [_cell(column, thing.member(column.name), names, kind.words(column)) for column in columns]


def _cell(column: Column, value: JsonValue, names: Names, words: Mapping[str, str]) -> Cell:
    shown: object = value
    link = ""
    shape = column.shape
    if shape == "entity":
        shape = "organization" if str(value) in names.organizations else "client"
    match shape:
        case _ if isinstance(value, bool):
            return Cell(column.label, "flag", value)
        case "device":
            shown = device_of(str(value or ""))
        case "time":
            shown = datetime.fromisoformat(value) if isinstance(value, str) else None
        case "words":
            shown = value or None  # what stands by no language is nothing
        case "list":
            shown = _listed(value)
        case "user":
            shown, link = names.users.get(str(value), value), f"/admin/users/{value}"
        case "client":
            shown, link = names.clients.get(str(value), value), client_page(str(value))
        case "provider":
            shown, link = names.providers.get(str(value), value), f"/admin/providers/{value}"
        case "organization":
            shown, link = names.organizations.get(str(value), value), f"/admin/organizations/{value}"
        case _ if isinstance(value, str) and value in words:
            return Cell(column.label, column.shape, Text(words[value]))
        case _:
            pass
    return Cell(column.label, column.shape, shown, link if value and shown != value else "", column.none)


def _listed(value: JsonValue) -> Sequence[object]:
    """The items of a list, the words of a text, or what an object says by name."""
    match value:
        case list():
            return value
        case dict():
            return [
                f"{name}: {' '.join(map(str, each)) if isinstance(each, list) else each}"
                for name, each in value.items()
            ]
        case _:
            return str(value or "").split()


def _members(fields: Sequence[Field], form: Mapping[str, str], *, now: datetime) -> dict[str, object]:
    """The members that a form says; what is empty is left out. Raises Refused for what is no JSON, or no day."""
    members: dict[str, object] = {}
    for field in fields:
        typed = form.get(field.name)
        if field.control == "switch":
            members[field.name] = typed is not None
        elif field.control == "end":
            if (end := _end(field, form, now)) is not None:
                members[field.name] = end.isoformat()
        elif typed is not None and (value := member_of(field, typed)) not in ("", []):
            members[field.name] = value
    return members


def _end(field: Field, form: Mapping[str, str], now: datetime) -> datetime | None:
    """When something shall end; None for never. Raises Refused."""
    typed, day = form.get(field.name, "never"), f"{field.name}_on"
    if typed == "never":
        return None
    if typed != "day":
        if typed not in dict(field.options):
            raise Refused(400, "", {field.name: Text("choose one of these")}, {})
        return now + timedelta(days=int(typed))
    try:
        chosen = date.fromisoformat(form.get(day, ""))
    except ValueError:
        raise Refused(400, "", {day: Text("a day is needed, for example 2027-01-31")}, {}) from None
    return datetime.combine(chosen, time(23, 59, 59), UTC)


def _pages(method: str) -> dict[str, Handler]:
    found: dict[str, Handler] = {}
    for kind in KINDS:
        get = {kind.home: _list(kind), f"{kind.home}/new": _new(kind), kind.one: _show(kind)}
        post = {kind.home: _make(kind), kind.one: _save(kind)}
        get |= {f"{kind.one}/{deed.name}": _ask(kind, deed) for deed in kind.deeds}
        post |= {f"{kind.one}/{deed.name}": _do(kind, deed) for deed in kind.deeds}
        handlers = get if method == "GET" else post
        found |= {path: handlers[path] for (asked, path), _ in kind.calls() if asked == method}
    return found


GET: Final[Mapping[str, Handler]] = _pages("GET")
POST: Final[Mapping[str, Handler]] = _pages("POST")
