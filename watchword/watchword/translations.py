"""The catalogues of what people read: brought up to date with the code, and what is still missing in them.

`python -m watchword.translations` adds what the code says and takes away what it says no more, in every
`locale/<language>.po`; `tests/web/test_texts.py` fails where that was forgotten or where a page lacks its words.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from watchword_admin.presets import Presets
from watchword_admin.recipes import RECIPES
from watchword_policy.scopes import BUILT_IN
from watchword_web.texts import LANGUAGES

ROOT: Final = Path(__file__).resolve().parents[2]
# Packages with words of their own.
PACKAGES: Final = {
    "watchword_web": ROOT / "libs/web/watchword_web",
    "watchword_authz": ROOT / "services/authz/watchword_authz",
    "watchword_token": ROOT / "services/token/watchword_token",
    "watchword_federation": ROOT / "services/federation/watchword_federation",
    "watchword_directory": ROOT / "services/directory/watchword_directory",
    "watchword_admin": ROOT / "services/admin/watchword_admin",
}
# Libraries without pages, whose words the catalogue of this package holds: every page looks into it.
_ALSO: Final = {"watchword_web": (ROOT / "libs/runtime/watchword_runtime",)}
# Calls whose arguments, at these places, are messages when they are literals.
_CALLS: Final = {
    "Text": (0,),
    "PageError": (1, 2),
    "Words": (0, 1),
    "BadRequest": (0,),
    "MalformedForm": (0,),
    "MalformedJson": (0,),
    "Column": (1,),
    "delete": (0, 1, 2),
}
# Calls that declare what the console shows, and which of their members are messages.
_MEMBERS: Final = {
    "Column": ("words", "none"),
    "Field": ("label", "hint", "options"),
    "Deed": ("label", "points"),
    "Below": ("title", "empty"),
    "Kind": ("title", "lead", "empty", "new"),
    "delete": ("label",),
}
_TEMPLATE_CALLS: Final = ("_", "gettext", "ngettext")

Message = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A message, and the file that has it, from its package's folder."""

    message: Message
    file: str


def messages_of(folder: Path) -> Iterator[Found]:
    """Everything that a package says to people, in the order of its files."""
    for path in sorted(folder.rglob("*.html")):
        with path.open("rb") as file:
            for _, _, said, _ in babel_extract(file, _TEMPLATE_CALLS, [], {}):
                # One message (and nothing for its other arguments), or both forms of a number.
                match [each for each in ([said] if isinstance(said, str) else said or ()) if each]:
                    case [str(message)]:
                        yield Found(message, str(path.relative_to(folder)))
                    case [str(one), str(many)]:
                        yield Found((one, many), str(path.relative_to(folder)))
    for place in (folder, *_ALSO.get(folder.name, ())):
        for path in sorted(place.rglob("*.py")):
            for found_in_code in _messages_in(ast.parse(path.read_text())):
                yield Found(found_in_code, str(path.relative_to(place)))
    for package, place in (("watchword_authz", "consent.py"), ("watchword_admin", "console/trials.py")):
        for title in BUILT_IN.values() if folder == PACKAGES[package] else ():
            yield Found(title, place)
    if folder == PACKAGES["watchword_admin"]:
        yield from _of_presets()
        yield from _of_recipes()


def catalogue_of(folder: Path, language: str) -> Catalog:
    """The package's catalogue as it stands; an empty one where there is none."""
    path = folder / "locale" / f"{language}.po"
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def brought_up_to_date(folder: Path, language: str) -> Catalog:
    """What the package says now, with the words that the catalogue has for it."""
    template = Catalog()
    for found in messages_of(folder):
        template.add(found.message, locations=[(found.file, 1)])
    catalogue = catalogue_of(folder, language)
    catalogue.update(template, no_fuzzy_matching=True, update_header_comment=False)
    return catalogue


def main() -> None:
    """Writes every catalogue."""
    for folder in PACKAGES.values():
        for language in LANGUAGES[1:]:
            path = folder / "locale" / f"{language}.po"
            path.parent.mkdir(exist_ok=True)
            catalogue = brought_up_to_date(folder, language)  # read before the file is opened for writing
            with path.open("wb") as file:
                write_po(
                    file, catalogue, width=110, omit_header=True, include_lineno=False,
                    ignore_obsolete=True, sort_by_file=True,
                )  # fmt: skip


def _of_presets() -> Iterator[Found]:
    """What presets of identity providers ask for, and how it is done there."""
    for preset in Presets.load().all:
        file = f"provider_presets/{preset.preset}.yaml"
        for text in (preset.rest, *preset.steps):
            yield Found(text, file)
        for field in preset.fields:
            for text in (field.label, field.note.message, *(shown.message for _, shown in field.choices)):
                if text:
                    yield Found(text, file)


def _of_recipes() -> Iterator[Found]:
    """What recipes of applications ask, and what there is to paste."""
    for recipe in RECIPES.values():
        file = f"recipes/{recipe.id}.toml"
        asked = [text for question in recipe.questions for text in (question.label, question.hint) if text]
        for text in (recipe.summary, *asked, *(each.title for each in recipe.files)):
            yield Found(text, file)


def _messages_in(tree: ast.Module) -> Iterator[Message]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), keywords=members) if name in _MEMBERS:
                for member in members:
                    if member.arg in _MEMBERS[name]:
                        yield from _literals(member.value)
        match node:
            case ast.Call(func=ast.Name(id=name), args=args) if name in _CALLS:
                for place in _CALLS[name]:
                    match args[place : place + 1]:
                        case [ast.Constant(value=str(message))] if message:
                            yield message
            case ast.Call(
                func=ast.Attribute(attr="of_count"), args=[ast.Constant(str(one)), ast.Constant(str(many)), *_]
            ):
                yield one, many


def _literals(value: ast.expr) -> Iterator[str]:
    """The text, or those of a tuple; of pairs the second, the first being a value that the text stands for."""
    for each in value.elts if isinstance(value, ast.Tuple) else [value]:
        match each:
            case ast.Constant(value=str(text)) if text:
                yield text
            case ast.Tuple(elts=[_, ast.Constant(value=str(text))]) if text:
                yield text


if __name__ == "__main__":
    main()
