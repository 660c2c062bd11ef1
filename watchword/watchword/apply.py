"""Declared documents and a running installation: what would change, and making it so.

Each kind of document belongs to one service, which compares and applies its own in one transaction. Everything is
checked everywhere before anything is applied anywhere; then each owner does exactly what its plan said, or nothing
(docs/adr/0015-declared-documents.md).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from watchword.documents import Document, DocumentError

# In the order in which they are applied: what documents of a later owner name belongs to an earlier one.
OWNERS: Final = ("directory", "admin")
# Somebody who is left out of a file is not a person who left: people go only when that is said.
PEOPLE: Final = "User"
_TIMEOUT: Final = httpx2.Timeout(300.0, connect=10.0)


class ApplyError(DocumentError):
    """The installation refused, or did not answer. applied: what had been done by then."""

    def __init__(self, why: str, applied: Sequence["Step"] = ()) -> None:
        super().__init__(why)
        self.applied = applied


@dataclass(frozen=True)
class Step:
    """What becomes, or became, of one document or of what none describes. action: create, change, unchanged, delete.

    changes: members with `before` and `after`; of a secret only that it is set.  secret: generated, shown once.
    """

    kind: str
    name: str
    id: str | None
    action: str
    changes: tuple[Mapping[str, Any], ...] = ()
    secret: str | None = None


@dataclass(frozen=True)
class Owner:
    """A service with the kinds that are its own: for each the members that are texts."""

    name: str
    texts: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class OwnersPlan:
    """What one owner would do. body: what it was asked."""

    owner: Owner
    documents: tuple[Document, ...]
    body: Mapping[str, object] = field(repr=False)
    digest: str
    steps: tuple[Step, ...]


class Installation:
    """The documents of a running installation."""

    def __init__(self, url: str, token: str) -> None:
        """url: the issuer.  token: an administrator's API key."""
        self.url = url.rstrip("/")
        headers = {"Watchword-API-Key": token}
        self._http = httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=_TIMEOUT, trust_env=False)
        self._owners: tuple[Owner, ...] = ()

    def close(self) -> None:
        """Every connection is closed."""
        self._http.close()

    @property
    def schema_url(self) -> str:
        """The JSON Schema of all documents."""
        return f"{self.url}/api/v1/schema"

    def owners(self) -> tuple[Owner, ...]:
        """Who has documents, and of which kinds. Raises ApplyError."""
        if not self._owners:
            self._owners = tuple(
                Owner(name, _kinds_of(_object(self._send("GET", f"/apply/{name}/schema")))) for name in OWNERS
            )
        return self._owners

    def plan(
        self,
        documents: Sequence[Document],
        *,
        environment: Mapping[str, str],
        prune: bool = False,
        prune_people: bool = False,
        set_secrets: bool = False,
    ) -> list[OwnersPlan]:
        """What would happen, everywhere. Raises DocumentError with the lines of all that an owner refuses.

        environment: of the process, for `{env: …}`.  prune: what no document describes goes, of the kinds that
        documents are of; people only with `prune_people`.  set_secrets: secrets and passwords are written also for
        what has one.
        """
        by_owner: dict[str, list[Document]] = {owner.name: [] for owner in self.owners()}
        kinds = {kind: owner for owner in self.owners() for kind in owner.texts}
        for document in documents:
            if document.kind not in kinds:
                known = ", ".join(kinds)
                raise ApplyError(f"{document.at('kind')}: kind {document.kind}: one of {known}")
            by_owner[kinds[document.kind].name].append(document)
        plans = []
        for owner in self.owners():
            own = by_owner[owner.name]
            if not own:
                continue
            pruned = {each.kind for each in own} if prune else set()
            if not prune_people:
                pruned.discard(PEOPLE)
            body = {
                "documents": [
                    {"kind": each.kind, **each.resolved(owner.texts[each.kind], environment)} for each in own
                ],
                "prune": sorted(pruned),
                "set_secrets": set_secrets,
            }
            answer = self._ask(owner, own, {**body, "dry_run": True})
            plans.append(OwnersPlan(owner, tuple(own), body, answer["digest"], _steps(answer)))
        return plans

    def apply(self, plans: Sequence[OwnersPlan]) -> Iterator[Step]:
        """Every owner does what its plan said, one after the other. Raises ApplyError, which says what was done."""
        done: list[Step] = []
        for plan in plans:
            try:
                answer = self._ask(plan.owner, plan.documents, {**plan.body, "digest": plan.digest})
            except DocumentError as error:
                raise ApplyError(str(error), done) from None
            steps = _steps(answer)
            done += steps
            yield from steps

    def export(self, kinds: Collection[str] = ()) -> Iterator[Mapping[str, object]]:
        """What there is, as documents whose application changes nothing. kinds: all when empty. Raises ApplyError."""
        known = [(owner, kind) for owner in self.owners() for kind in owner.texts]
        for kind in kinds:
            if kind not in {each for _, each in known}:
                raise ApplyError(f"kind {kind}: one of {', '.join(each for _, each in known)}")
        for owner, kind in known:
            if kinds and kind not in kinds:
                continue
            cursor: str | None = None
            while True:
                params = {"kind": kind, "limit": "200"} | ({"cursor": cursor} if cursor else {})
                page = _object(self._send("GET", f"/apply/{owner.name}", params=params))
                yield from page["items"]
                cursor = page.get("next")
                if cursor is None:
                    break

    def _ask(self, owner: Owner, documents: Sequence[Document], body: Mapping[str, object]) -> dict[str, Any]:
        """The plan of an owner. Raises DocumentError with the lines of what was refused."""
        answer = self._send("POST", f"/apply/{owner.name}", body=body)
        document = _json(answer)
        if answer.is_success and isinstance(document, dict):
            return document
        if not isinstance(document, dict):
            raise ApplyError(f"{owner.name}: answer {answer.status_code}")
        errors = [each for each in document.get("errors") or [] if isinstance(each, dict)]
        said = [_located(each, documents) for each in errors]
        if not said:
            where = documents[0].at() if answer.status_code in {401, 403} else owner.name
            said = [f"{where}: {document.get('detail') or document.get('title')}"]
        raise ApplyError("\n".join(said))

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        try:
            return self._http.request(method, path, json=body, params=params)
        except httpx2.HTTPError as error:
            raise ApplyError(f"{self.url}: no answer ({type(error).__name__}); does Watchword run?") from None


def _steps(answer: Mapping[str, Any]) -> tuple[Step, ...]:
    return tuple(
        Step(
            kind=each["kind"],
            name=each["name"],
            id=each["id"],
            action=each["action"],
            changes=tuple(each["changes"]),
            secret=each["secret"],
        )
        for each in answer["steps"]
    )


def _kinds_of(schema: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The kinds of a schema, each with the members that are texts, in whichever of its shapes."""
    definitions = schema["$defs"]
    names = [each["$ref"].rpartition("/")[2] for each in schema["oneOf"]]
    return {
        name: frozenset(
            member
            for shape in definitions[name].get("oneOf", [definitions[name]])
            for member, said in shape["properties"].items()
            if _is_text(said, definitions)
        )
        for name in names
    }


def _is_text(said: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    if "$ref" in said:
        return _is_text(definitions[said["$ref"].rpartition("/")[2]], definitions)
    return said.get("type") == "string" or any(_is_text(each, definitions) for each in said.get("anyOf", ()))


def _located(error: Mapping[str, Any], documents: Sequence[Document]) -> str:
    """`file:line: member: what is wrong`."""
    parts = str(error.get("pointer") or error.get("parameter") or "").lstrip("#/").split("/")
    if len(parts) < 2 or parts[0] != "documents" or not parts[1].isdecimal() or int(parts[1]) >= len(documents):
        return f"{'/'.join(parts)}: {error.get('detail')}"
    document, pointer = documents[int(parts[1])], "/".join(parts[2:])
    return f"{document.at(pointer)}: {pointer or document.kind}: {error.get('detail')}"


def _json(answer: httpx2.Response) -> object:
    found: object = answer.json() if "json" in answer.headers.get("content-type", "") else None
    return found


def _object(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON object of a successful answer. Raises ApplyError."""
    document = _json(answer)
    if answer.is_success and isinstance(document, dict):
        return document
    why = document.get("detail") or document.get("title") if isinstance(document, dict) else None
    raise ApplyError(f"{answer.request.url}: {why or 'answer'} ({answer.status_code})")
