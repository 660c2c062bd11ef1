"""YAML documents that declare what an installation is to look like: read with their lines.

A document is the body of the API's own call with a `kind`. What must not stand in a file is named by where it stands:
`client_secret: {env: GRAFANA_SECRET}` or `{file: grafana.secret}`, a path beside the document.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

Members = dict[str, object]
_PLACES = ({"env"}, {"file"})


class DocumentError(RuntimeError):
    """A document that cannot be used; the text begins with file and line."""


@dataclass(frozen=True)
class Document:
    """One document of a file. lines: where each member and each item of a list stands, by pointer, counted from 1."""

    file: str
    line: int
    kind: str
    members: Members
    lines: Mapping[str, int]

    def at(self, pointer: str = "") -> str:
        """`file:line` of what a pointer such as `redirect_uris/0` names, or of the document."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return f"{self.file}:{self.lines.get(pointer, self.line)}"

    def resolved(self, texts: Iterable[str], environment: Mapping[str, str]) -> Members:
        """The members, with what is only named put in its place. Raises DocumentError.

        texts: members that may be named, because they are texts.
        """
        names = set(texts)
        return {
            name: self._text(name, value, environment) if name in names and _is_place(value) else value
            for name, value in self.members.items()
        }

    def _text(self, name: str, place: Any, environment: Mapping[str, str]) -> str:
        if "env" in place:
            found = environment.get(str(place["env"]))
            if not found:
                raise DocumentError(f"{self.at(name)}: {name}: the variable {place['env']} is not set")
            return found
        path = Path(self.file).parent / str(place["file"])
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DocumentError(f"{self.at(name)}: {name}: {path} cannot be read: {error}") from None


def read(path: Path) -> list[Document]:
    """The documents of a file, in order. Raises DocumentError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
    yaml = YAML(typ="rt", pure=True)
    try:
        return [_document(str(path), found) for found in yaml.load_all(StringIO(text)) if found is not None]
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DocumentError(f"{path}:{line}: {error.problem or 'not YAML'}") from None


def _is_place(value: object) -> bool:
    return isinstance(value, dict) and set(value) in _PLACES


def _document(file: str, found: object) -> Document:
    if not isinstance(found, CommentedMap):
        raise DocumentError(f"{file}: every document is a mapping with a kind")
    line = found.lc.line + 1
    lines = _lines_of(found)
    if "kind" not in found:
        raise DocumentError(f"{file}:{line}: kind is missing")
    members = {str(key): _plain(value) for key, value in found.items() if key != "kind"}
    return Document(file, line, str(found["kind"]), members, lines)


def _lines_of(found: CommentedMap, prefix: str = "") -> dict[str, int]:
    lines = {}
    for key, value in found.items():
        pointer = f"{prefix}{key}"
        lines[pointer] = found.lc.key(key)[0] + 1
        if isinstance(value, CommentedMap):
            lines |= _lines_of(value, f"{pointer}/")
        elif isinstance(value, CommentedSeq):
            for index, each in enumerate(value):
                lines[f"{pointer}/{index}"] = value.lc.item(index)[0] + 1
                if isinstance(each, CommentedMap):
                    lines |= _lines_of(each, f"{pointer}/{index}/")
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
