"""Presets of identity providers, as data: what each fills in, and what it asks an administrator for.

A preset is one YAML file of `provider_presets` (or of the directory that WATCHWORD_PROVIDER_PRESETS names):

    display_name, kind, docs_url    how it is called, its protocol (oidc, oauth2, saml), what the provider says of it
    asks                            what it asks for first: names of the kind's fields, or fields of the preset's own
    sets                            members that it fills in; `{name}` is what was said of a field of its own
    steps                           what is to be done at the provider

What an administrator says wins over what the preset fills in. A provider keeps what was filled when it was configured:
another version of a preset changes nothing by itself.
"""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from watchword_web.texts import Text

Kind = Literal["oidc", "oauth2", "saml"]
Members = dict[str, JsonValue]

DEFAULT: Final = "oidc"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_REFERENCE: Final = re.compile(r"\{([a-z_]+)\}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")
_URL: Final = re.compile(r"https?://[^\s{}\\]+")
_WORD: Final = re.compile(r"[^\s{}]{1,256}")
_TEXT: Final = re.compile(r"[^\s{}]([ -z|~]{0,254}[^\s{}])?")
_FILLED: Final = "Filled in: "
_CALLBACKS: Final[Mapping[Kind, str]] = {
    "oidc": "/api/auth/sso/callback/{id}",
    "oauth2": "/api/auth/sso/callback/{id}",
    "saml": "/api/auth/sso/saml2/sp/acs/{id}",
}


class PresetField(BaseModel):
    """One thing that an administrator fills in. name: the member of `POST /api/v1/providers`.

    kind: `long` and `key` are texts of several lines, of which a `key` is never shown; `choice` is one of `options`;
    `map` is a line `name = value` each; `host` is a host name, with or without a port.
    format: of a preset's own field: what stands for it where the preset refers to it, `{}` being what was said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    kind: Literal["text", "host", "url", "secret", "key", "list", "switch", "long", "choice", "map", "number"] = "text"
    required: bool = False
    default: str | bool | int | tuple[str, ...] | None = None
    hint: str = ""
    options: tuple[str, ...] = ()
    format: str = "{}"

    @property
    def choices(self) -> list[tuple[str, Text]]:
        """The options, each with how it is shown."""
        return [(option, Text(option.capitalize().replace("_", " "))) for option in self.options]

    @property
    def note(self) -> Text:
        """The hint, as it is shown."""
        filled = self.hint.removeprefix(_FILLED)
        return Text("Filled in: %(value)s", value=filled) if filled != self.hint else Text(self.hint)


class Preset(BaseModel):
    """A kind of provider. fields: in the order in which they are asked for.

    first: how many of them are asked for at once; a form may fold the others away under the words of `rest`.
    own: names of the fields that are this preset's alone.  sets: what it fills in, where nothing else is said.
    steps: what is to be done at the provider.
    """

    model_config = ConfigDict(frozen=True)

    preset: str
    kind: Kind
    display_name: str
    docs_url: str
    callback: str
    first: int
    rest: str
    fields: tuple[PresetField, ...]
    own: tuple[str, ...]
    sets: dict[str, JsonValue]
    steps: tuple[str, ...]

    @property
    def derived(self) -> frozenset[str]:
        """Members that it makes of what was said of its own fields."""
        return frozenset(name for name, value in self.sets.items() if _references(value))

    def fill(self, members: Mapping[str, JsonValue]) -> Members:
        """The members of a provider, completed: what was said of own fields under `parameters`, names under `filled`.

        An own field may be missing where a member that is made of it (`issuer`) was said instead. Raises
        ValidationError for what is wrong with an own field.
        """
        given = {name: value for name, value in members.items() if name not in {"parameters", "filled"}}
        earlier = members.get("parameters")
        own: Members = {}
        missing: set[str] = set()
        for field in self.fields:
            if field.name in self.own:
                value = given.pop(field.name, earlier.get(field.name) if isinstance(earlier, Mapping) else None)
                if (checked := _checked(field, value)) is not None:
                    own[field.name] = checked
                elif field.required:
                    if not any(given.get(name) for name, made in self.sets.items() if field.name in _references(made)):
                        raise _wrong(field.name, f"this preset needs it: {field.label}")
                    missing.add(field.name)
        made = {
            name: self._made(value, own) for name, value in self.sets.items() if missing.isdisjoint(_references(value))
        }
        filled = {name: value for name, value in made.items() if value is not None and given.get(name, value) == value}
        names: list[JsonValue] = [*sorted(filled)]
        return {**given, **filled, "parameters": own, "filled": names}

    def _made(self, value: JsonValue, own: Members) -> JsonValue:
        """A value of `sets` with what was said in it; None for one that needs something that was not."""
        match value:
            case str():
                return self._text(value, own)
            case list():
                return [self._made(each, own) for each in value]
            case dict():
                members = {name: self._made(each, own) for name, each in value.items()}
                return {name: each for name, each in members.items() if each is not None} or None
            case _:
                return value

    def _text(self, template: str, own: Members) -> JsonValue:
        whole = _REFERENCE.fullmatch(template)
        if whole is not None and whole[1] in self.own:
            value = own.get(whole[1])
            return self._formatted(whole[1], own) if isinstance(value, str) else value
        return _REFERENCE.sub(
            lambda found: self._formatted(found[1], own) if found[1] in self.own else found[0], template
        )

    def _formatted(self, name: str, own: Members) -> str:
        """What stands for an own field within a text; "" where nothing was said."""
        if name not in own:
            return ""
        field = next(field for field in self.fields if field.name == name)
        value = str(own[name])
        within = _REFERENCE.sub(lambda found: self._formatted(found[1], own), field.format)
        return within.replace("{}", value if field.kind in {"url", "host"} else quote(value, safe=":@!$&'()*+,;=~-._"))


class _File(BaseModel):
    """A preset as its file has it. asks: a mapping overrides a field of the kind, or is one of the preset's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    display_name: str
    kind: Kind
    docs_url: str
    asks: tuple[str | dict[str, Any], ...]
    rest: str = "More, where this preset does not fit"
    fields: tuple[dict[str, Any], ...] = ()
    sets: dict[str, JsonValue] = {}
    steps: tuple[str, ...]


class Presets:
    """All presets, by name; first those that stand for a whole protocol."""

    def __init__(self, files: Mapping[str, _File]) -> None:
        self._by_name = {name: _preset(name, files) for name in sorted(files, key=lambda name: _place(name, files))}

    @classmethod
    def load(cls, further: Path | None = None) -> "Presets":
        """Those that come with Watchword and those of a directory, which win. Raises SystemExit for a bad file."""
        files = dict(
            _read(entry) for entry in resources.files("watchword_admin").joinpath("provider_presets").iterdir()
        )
        if further is not None:
            files |= dict(_read(path) for path in sorted(further.glob("*.yaml")))
        return cls(files)

    @property
    def all(self) -> tuple[Preset, ...]:
        """In the order in which they are offered."""
        return tuple(self._by_name.values())

    def find(self, name: str) -> Preset | None:
        """The preset of this name; None when there is none (any more)."""
        return self._by_name.get(name)

    def of(self, members: object) -> Preset:
        """The preset that members speak of. Raises ValidationError for one that does not exist, and for no members."""
        if not isinstance(members, Mapping):
            raise ValidationError.from_exception_data("provider", [{"type": "dict_type", "loc": (), "input": members}])
        name = members.get("preset", DEFAULT)
        found = self._by_name.get(name) if isinstance(name, str) else None
        if found is None:
            expected = ", ".join(self._by_name)
            raise ValidationError.from_exception_data(
                "provider",
                [{"type": "literal_error", "loc": ("preset",), "input": name, "ctx": {"expected": expected}}],
            )
        return found


def said(members: Mapping[str, JsonValue]) -> Members:
    """What somebody said of a stored provider, without what a preset made of it."""
    filled, parameters = members.get("filled"), members.get("parameters")
    left_out = {"filled", "parameters", *(filled if isinstance(filled, list) else ())}
    rest = {name: value for name, value in members.items() if name not in left_out}
    return rest | (parameters if isinstance(parameters, dict) else {})


def _references(value: JsonValue) -> frozenset[str]:
    """The names that a value of `sets` refers to."""
    match value:
        case str():
            return frozenset(_REFERENCE.findall(value))
        case list():
            return frozenset().union(*map(_references, value))
        case dict():
            return frozenset().union(*map(_references, value.values()))
        case _:
            return frozenset()


def _checked(field: PresetField, value: JsonValue) -> JsonValue:
    """What was said of a preset's own field, None for nothing. Raises ValidationError for what is wrong with it."""
    if value is None or value in ("", []):
        value = [*field.default] if isinstance(field.default, tuple) else field.default
    if value is None:
        return None
    match field.kind:
        case "list":
            words: JsonValue = [*value.replace(",", " ").split()] if isinstance(value, str) else value
            if not isinstance(words, list) or not all(
                isinstance(each, str) and _WORD.fullmatch(each) for each in words
            ):
                raise _wrong(field.name, "a list of words is expected")
            return words
        case "host" | "url" | "choice" | "text" if isinstance(value, str):
            return _one(field, value)
        case _:
            raise _wrong(field.name, "a text is expected")


def _one(field: PresetField, value: str) -> str:
    match field.kind:
        case "host":
            bare = value.removeprefix("https://").rstrip("/")
            if not _HOST.fullmatch(bare):
                raise _wrong(field.name, "a host name is expected, as acme.example")
            return bare
        case "url":
            if not _URL.fullmatch(value):
                raise _wrong(field.name, "an address is expected, as https://acme.example")
            return value.rstrip("/")
        case "choice":
            if value not in field.options:
                raise _wrong(field.name, f"one of {', '.join(field.options)} is expected")
            return value
        case _:
            if not _TEXT.fullmatch(value):
                raise _wrong(field.name, "a short text without braces is expected")
            return value


def _wrong(field: str, reason: str) -> ValidationError:
    error = PydanticCustomError("preset", "{reason}", {"reason": reason})
    return ValidationError.from_exception_data("provider", [{"type": error, "loc": (field,), "input": None}])


def _read(entry: Any) -> tuple[str, _File]:
    """A file's preset with its name. entry: a path, or a resource of a package."""
    name = str(entry.name).removesuffix(".yaml")
    try:
        if not _NAME.fullmatch(name):
            raise ValueError("a preset's file is called by lower-case letters, digits and hyphens")
        return name, _File.model_validate(YAML(typ="safe", pure=True).load(entry.read_text(encoding="utf-8")))
    except (YAMLError, ValueError, OSError) as error:
        raise SystemExit(f"provider preset {entry.name}: {error}") from None


def _place(name: str, files: Mapping[str, _File]) -> tuple[bool, str]:
    return name != files[name].kind, name


def _preset(name: str, files: Mapping[str, _File]) -> Preset:
    """The preset with all its fields. Raises SystemExit for one that speaks of fields that there are not."""
    file = files[name]
    common = {field["name"]: field for field in files[file.kind].fields}
    sets = file.sets if name == file.kind else {"display_name": file.display_name, **file.sets}
    asked: list[dict[str, Any]] = []
    for each in file.asks:
        given = {"name": each} if isinstance(each, str) else each
        asked.append({**common.get(str(given.get("name")), {}), **given})
    names = [str(each.get("name")) for each in asked]
    rest = [field for field_name, field in common.items() if field_name not in names]
    try:
        fields = tuple(PresetField.model_validate(_preset_default(each, sets)) for each in (*asked, *rest))
    except ValidationError as error:
        raise SystemExit(f"provider preset {name}: {error}") from None
    return Preset(
        preset=name,
        kind=file.kind,
        display_name=file.display_name,
        docs_url=file.docs_url,
        callback=_CALLBACKS[file.kind],
        first=len(asked),
        rest=file.rest,
        fields=fields,
        own=tuple(each for each in names if each not in common),
        sets=sets,
        steps=file.steps,
    )


def _preset_default(field: dict[str, Any], sets: Mapping[str, JsonValue]) -> dict[str, Any]:
    """A field with what the preset fills in: as its default, or as a word about where it comes from."""
    if field.get("name") not in sets:
        return field
    value = sets[field["name"]]
    if _references(value) or isinstance(value, dict):
        hint = f"{_FILLED}{value}" if isinstance(value, str) else "Filled in"
        return {**field, "required": False, "default": None, "hint": hint}
    return {**field, "required": False, "default": tuple(value) if isinstance(value, list) else value}
