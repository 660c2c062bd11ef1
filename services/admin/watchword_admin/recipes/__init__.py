"""Recipes of applications that many have: one TOML file for each, from the questions to configuration ready to paste.

A file says `name`, `summary` and `documentation`; `questions` (name, label, hint, kind, default); `client`, the members
of `POST /api/v1/clients`; `resource`, those of `POST /api/v1/resources`, where the application is one; and `files`
(title, text). `<<name>>` stands for an answer, or for `issuer`, `client_id`, `client_secret`, `group` and `random`.
"""

import base64
import re
import secrets
import tomllib
from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_web.texts import Text

_PLACEHOLDER: Final = re.compile(r"<<(\w+)>>")
# What may stand in an answer: nothing that could end a text in YAML, INI, TOML, JSON or a shell.
_KINDS: Final[Mapping[str, tuple[re.Pattern[str], Text]]] = {
    "url": (
        re.compile(r"https?://[A-Za-z0-9._~:/@%\[\]-]+"),
        Text("must be an http or https address, without a query"),
    ),
    "text": (re.compile(r"[A-Za-z0-9._:/@-]+"), Text("must be letters, figures and . _ : / @ -")),
}


class Question(BaseModel):
    """One thing that only the administrator knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    hint: str = ""
    kind: Literal["url", "text"] = "url"
    default: str = ""


class File(BaseModel):
    """Something to paste. title: where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    text: str


class Recipe(BaseModel):
    """An application that many have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    summary: str
    documentation: str
    questions: tuple[Question, ...]
    client: dict[str, JsonValue]
    resource: dict[str, JsonValue] | None = None
    files: tuple[File, ...]

    @property
    def signs_people_in(self) -> bool:
        """Whether access rules can stand for it."""
        return bool(self.client.get("redirect_uris"))


class Unfit(ValueError):
    """Answers that cannot be used. errors: why, by question."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


def _load() -> Mapping[str, Recipe]:
    found = {}
    for entry in sorted(files(__name__).iterdir(), key=lambda each: each.name):
        if entry.name.endswith(".toml"):
            recipe_id = entry.name.removesuffix(".toml")
            found[recipe_id] = Recipe.model_validate({"id": recipe_id, **tomllib.loads(entry.read_text("utf-8"))})
    return found


RECIPES: Final = _load()


def answers_of(recipe: Recipe, form: Mapping[str, str]) -> dict[str, str]:
    """What was answered, and the group that alone may use the application ("" for everybody). Raises Unfit."""
    answers, errors = {}, {}
    for question in recipe.questions:
        answer = (form.get(question.name, "") or question.default).strip().rstrip("/")
        pattern, wanted = _KINDS[question.kind]
        if not pattern.fullmatch(answer):
            errors[question.name] = wanted
        answers[question.name] = answer
    group = form.get("group", "").strip()
    if group and not re.fullmatch(r"[\w .:/@-]{1,128}", group):
        errors["group"] = Text("must be the full name of a group, without quotes")
    if errors:
        raise Unfit(errors)
    return {**answers, "group": group}


def filled(value: JsonValue, words: Mapping[str, str]) -> JsonValue:
    """A value with the placeholders in all its texts replaced. Raises KeyError for one that has no word."""
    match value:
        case str():
            return _PLACEHOLDER.sub(lambda found: words[found[1]], value)
        case list():
            return [filled(each, words) for each in value]
        case dict():
            return {name: filled(each, words) for name, each in value.items()}
        case _:
            return value


def asked_by(
    template: Mapping[str, JsonValue], questions: Collection[Question], errors: Mapping[str, str]
) -> dict[str, str]:
    """What is wrong with members of a template, by the question that each was made from; "" for several or none."""
    names = [question.name for question in questions]
    found: dict[str, str] = {}
    for member, reason in errors.items():
        named = set(_PLACEHOLDER.findall(str(template.get(member, "")))).intersection(names)
        found.setdefault(named.pop() if len(named) == 1 else "", reason)
    return found


def ready_to_paste(recipe: Recipe, words: Mapping[str, str]) -> list[File]:
    """The files of a recipe. `random` becomes 32 fresh bytes as base64url, another in each file."""
    return [
        File(
            title=str(filled(each.title, words)),
            text=str(
                filled(each.text, {**words, "random": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()})
            ),
        )
        for each in recipe.files
    ]
