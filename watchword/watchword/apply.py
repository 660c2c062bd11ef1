"""`watchword apply`: YAML documents become clients, identity providers and users, however often they are applied.

A document is the body of the API's call with a `kind`. What exists is replaced as `PUT` does: members that are left
out return to their defaults. Secrets and passwords cannot be read back and compared, so they are sent only for what is
new or has none, unless asked otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import httpx2
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

Members = dict[str, object]


class ApplyError(RuntimeError):
    """A document that cannot be applied; the text begins with file and line."""


@dataclass(frozen=True)
class Kind:
    """How documents of one kind meet the API.

    id: the member that the server chose, or the administrator for a provider.  keys: members that name one, in order of
    preference.  secret: what can be written and never read.
    """

    name: str
    path: str
    id: str
    keys: tuple[str, ...]
    secret: str


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("Client", "/clients", "client_id", ("client_id", "short_name", "client_name"), "client_secret"),
        Kind("IdentityProvider", "/providers", "id", ("id",), "client_secret"),
        Kind("User", "/users", "id", ("username",), "password"),
    )
}


@dataclass(frozen=True)
class Document:
    """One document of a file. lines: where each member and each item of a list stands, by pointer, counted from 1."""

    file: str
    line: int
    kind: Kind
    members: Members
    lines: Mapping[str, int]

    @property
    def key(self) -> str:
        """The member by which it is found."""
        return next(key for key in self.kind.keys if key in self.members)

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.members[self.key])

    def at(self, pointer: str = "") -> str:
        """`file:line` of what a pointer such as `redirect_uris/0` names, or of the document."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return f"{self.file}:{self.lines.get(pointer, self.line)}"


@dataclass(frozen=True)
class Applied:
    """What became of a document. result: created, updated or unchanged.  secret: one that was generated, shown once."""

    kind: str
    name: str
    id: str
    result: str
    secret: str | None = None


def read(path: Path) -> list[Document]:
    """The documents of a file, in order. Raises ApplyError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ApplyError(f"{path}: cannot be read: {error}") from None
    yaml = YAML(typ="rt", pure=True)
    try:
        return [_document(str(path), found) for found in yaml.load_all(StringIO(text)) if found is not None]
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ApplyError(f"{path}:{line}: {error.problem or 'not YAML'}") from None


def apply(documents: list[Document], *, url: str, token: str, set_secrets: bool = False) -> Iterator[Applied]:
    """Each document in turn, applied. Raises ApplyError at the first that is refused.

    url: the issuer.  token: an administrator's API key.  set_secrets: secrets and passwords are sent for what exists.
    """
    headers = {"Watchword-API-Key": token}
    with httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=30.0, trust_env=False) as http:
        for document in documents:
            yield _Apply(http, document, set_secrets).run()


class _Apply:
    def __init__(self, http: httpx2.Client, document: Document, set_secrets: bool) -> None:
        self._http, self._document, self._set_secrets = http, document, set_secrets

    def run(self) -> Applied:
        document = self._document
        wanted = dict(document.members)
        roles = wanted.pop("roles", None) if document.kind.name == "User" else None
        known = self._find()
        if known is None:
            found, result = self._call("POST", document.kind.path, wanted), "created"
        else:
            found = self._replace(known, wanted)
            result = "unchanged" if found["version"] == known["version"] else "updated"
        id_ = str(found[document.kind.id])
        if roles is not None and sorted(_strings(roles)) != sorted(_strings(found.get("roles"))):
            self._call("PUT", f"{document.kind.path}/{id_}/roles", {"roles": roles})
            result = "updated" if result == "unchanged" else result
        secret = found.get("client_secret")
        generated = None if secret is None or document.kind.secret in document.members else str(secret)
        return Applied(document.kind.name, document.name, id_, result, generated)

    def _find(self) -> Members | None:
        """What the document describes, as it is now; None when it does not exist. Raises ApplyError when two do."""
        kind, key, name = self._document.kind, self._document.key, self._document.name
        if key == kind.id:
            answer = self._send("GET", f"{kind.path}/{name}")
            if answer.status_code == 404 and kind.name != "Client":
                return None
            return self._read(answer)
        found = self._call("GET", kind.path, params={key: name})["items"]
        if not isinstance(found, list):
            raise ApplyError(f"{self._document.at()}: the answer is not a list")
        if len(found) > 1:
            raise ApplyError(
                f"{self._document.at(key)}: {len(found)} of kind {kind.name} have this {key}: give one a short_name, "
                "or name it by its client_id"
            )
        return dict(found[0]) if found else None

    def _replace(self, known: Members, wanted: Members) -> Members:
        kind = self._document.kind
        has_secret = bool(known.get("secrets") or known.get("has_client_secret") or kind.name == "User")
        if has_secret and not self._set_secrets:
            wanted.pop(kind.secret, None)
        if kind.id in wanted:
            del wanted[kind.id]
        return self._call("PUT", f"{kind.path}/{known[kind.id]}", wanted)

    def _call(
        self, method: str, path: str, body: Members | None = None, params: Mapping[str, str] | None = None
    ) -> Members:
        return self._read(self._send(method, path, body, params))

    def _send(
        self, method: str, path: str, body: Members | None = None, params: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        try:
            return self._http.request(method, path, json=body, params=params)
        except httpx2.HTTPError as error:
            raise ApplyError(
                f"{self._http.base_url}: no answer ({type(error).__name__}); does Watchword run?"
            ) from None

    def _read(self, answer: httpx2.Response) -> Members:
        """The document that was answered. Raises ApplyError with the lines of the members that were refused."""
        document: object = answer.json() if "json" in answer.headers.get("content-type", "") else None
        if answer.is_success and isinstance(document, dict):
            return document
        if not isinstance(document, dict):
            raise ApplyError(f"{self._document.at()}: answer {answer.status_code}")
        errors = [each for each in document.get("errors") or [] if isinstance(each, dict)]
        if not errors:
            raise ApplyError(f"{self._document.at()}: {document.get('detail') or document.get('title')}")
        said = []
        for each in errors:
            pointer = str(each.get("pointer") or each.get("parameter") or "").lstrip("#/")
            said.append(f"{self._document.at(pointer)}: {pointer or self._document.kind.name}: {each.get('detail')}")
        raise ApplyError("\n".join(said))


def _document(file: str, found: object) -> Document:
    if not isinstance(found, CommentedMap):
        raise ApplyError(f"{file}: every document is a mapping with a kind")
    line = found.lc.line + 1
    lines = _lines_of(found)
    name = str(found.get("kind", ""))
    if name not in KINDS:
        where = lines.get("kind", line)
        raise ApplyError(f"{file}:{where}: kind {name or 'is missing'}: one of {', '.join(KINDS)}")
    members = {str(key): _plain(value) for key, value in found.items() if key != "kind"}
    kind = KINDS[name]
    if not any(key in members for key in kind.keys):
        raise ApplyError(f"{file}:{line}: a {name} needs {' or '.join(kind.keys)}")
    return Document(file, line, kind, members, lines)


def _lines_of(found: CommentedMap) -> dict[str, int]:
    lines = {}
    for key, value in found.items():
        lines[str(key)] = found.lc.key(key)[0] + 1
        if isinstance(value, CommentedSeq):
            lines |= {f"{key}/{index}": value.lc.item(index)[0] + 1 for index in range(len(value))}
    return lines


def _plain(value: object) -> object:
    """The value without what the YAML library keeps about its place."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return str(value)


def _strings(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
