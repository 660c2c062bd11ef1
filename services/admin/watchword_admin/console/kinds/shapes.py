"""What is said of a kind of things, for the console to show it as a list, a form and deeds.

Texts are translated where they are shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from watchword_web.texts import Text

Shape = Literal[
    "text",
    "code",
    "list",
    "time",
    "flag",
    "json",
    "user",
    "client",
    "provider",
    "organization",
    "entity",
    "device",
    "words",
]
Control = Literal["text", "lines", "area", "json", "number", "switch", "choice", "secret", "end"]
Calls = tuple[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Column:
    """A member of a thing, and how it is shown; a user, client and so on is an id that has a name,
    an entity that of an organization or a client; a device is what a browser says of itself; words stand by language.

    words: values, each with the text that stands for it.  none: the text for no value; in a list a column without one
    is left out where no row has a value.
    """

    name: str
    label: str
    shape: Shape = "text"
    words: tuple[tuple[str, str], ...] = ()
    none: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A control of a form. fixed: only when the thing is made.  first: what it holds before anything is typed.

    spaced: what stands in a line may hold spaces.  options: of a choice, value and text. An end is a choice of how
    long, and beside it a day, `<name>_on`.
    """

    name: str
    label: str
    control: Control = "text"
    hint: str | None = None
    fixed: bool = False
    spaced: bool = False
    first: str = ""
    options: tuple[tuple[str, str], ...] = ()
    required: bool = False

    @property
    def choices(self) -> list[tuple[str, Text]]:
        """The options, each in the reader's language."""
        return [(value, Text(text)) for value, text in self.options]


@dataclass(frozen=True, slots=True)
class Section:
    """Fields of one purpose."""

    title: Text
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that is done to one thing. below: of the thing's path at the API.

    points: what comes of it, asked before; without any it is done at once.  fields: what has to be said, or what a row
    says of itself.  when: member and values of the things that it is for.  answers: members of the answer to be shown.
    """

    name: str
    label: str
    method: Literal["POST", "PATCH", "DELETE"]
    below: str = ""
    points: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    body: Mapping[str, object] | None = None
    when: tuple[str, tuple[object, ...]] | None = None
    answers: tuple[Column, ...] = ()
    is_danger: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """A list that belongs to one thing. deed: offered in each of its rows, which fill the deed's fields."""

    path: str
    title: str
    empty: str
    columns: tuple[Column, ...]
    deed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind. room: below `/admin`, and the id of its navigation.  path: below `/api/v1`.  key: names one in a path.

    name: the member that people call it by.  new: the label of the way to its form; "" where nothing is made here.
    named_by: the field that names a new one in its path (PUT); without it the API gives the name (POST).
    once: the member that is shown in one answer only.  changes: an existing one is written again (PUT) by its form.
    is_short: the API answers all of them at once.  filters: what the list may be narrowed by, from its address.
    """

    room: str
    path: str
    title: str
    lead: str
    empty: str
    columns: tuple[Column, ...]
    key: str = "id"
    name: str = "id"
    new: str = ""
    named_by: str = ""
    fields: tuple[Field, ...] = ()
    once: str = ""
    changes: bool = False
    deeds: tuple[Deed, ...] = ()
    details: tuple[Column, ...] = ()
    below: Below | None = None
    filters: tuple[str, ...] = ()
    is_short: bool = False

    @property
    def home(self) -> str:
        """The path of its list."""
        return f"/admin/{self.room}"

    @property
    def has_secret(self) -> bool:
        """Whether its form has a field that hides what is typed."""
        return any(field.control == "secret" for field in self.fields)

    @property
    def one(self) -> str:
        """The template of the path of one thing."""
        return f"{self.home}/{{key}}"

    @property
    def at(self) -> str:
        """The template of one thing's path at the API, as OpenAPI has it."""
        return f"/api/v1/{self.path}/{{{PARAMETERS.get(self.path, 'id')}}}"

    @property
    def has_page(self) -> bool:
        """Whether one thing has a page of its own."""
        return self.changes or self.below is not None

    def words(self, column: Column) -> Mapping[str, str]:
        """The texts that stand for values of a member: of its column, or of the choice in the form."""
        return dict(column.words or next((field.options for field in self.fields if field.name == column.name), ()))

    def deed(self, name: str) -> Deed:
        """The deed of this name."""
        return next(deed for deed in self.deeds if deed.name == name)

    def calls(self) -> Iterator[Calls]:
        """Each page, and what it does at the API."""
        everything = f"/api/v1/{self.path}"
        yield ("GET", self.home), (f"GET {everything}",)
        if self.new:
            making = f"PUT {self.at}" if self.named_by else f"POST {everything}"
            yield ("GET", f"{self.home}/new"), (making,)
            yield ("POST", self.home), (making,)
        if self.has_page:
            below = (f"GET {self.at}/{self.below.path}",) if self.below else ()
            yield ("GET", self.one), (f"GET {self.at}", *below)
        if self.changes:
            yield ("POST", self.one), (f"PUT {self.at}",)
        for deed in self.deeds:
            does = f"{deed.method} {self.at}{deed.below}"
            if deed.points:
                yield ("GET", f"{self.one}/{deed.name}"), (does,)
            yield ("POST", f"{self.one}/{deed.name}"), (does,)


# What OpenAPI calls the id in a path.
PARAMETERS: Final[Mapping[str, str]] = {
    "api-keys": "key_id",
    "attributes": "name",
    "client-documents": "document_id",
    "consents": "consent_id",
    "deliveries": "delivery_id",
    "factor-requirements": "requirement_id",
    "grants": "grant_id",
    "registration-tokens": "token_id",
    "resources": "resource_id",
    "scim-tokens": "token_id",
    "scopes": "scope_id",
    "service-accounts": "name",
    "sessions": "sid",
    "upstream/saml-keys": "key_id",
    "verifiers": "verifier_id",
    "webhooks": "webhook_id",
}
SINCE: Final = Column("created_at", "Since", "time")
CHANGED: Final = Column("updated_at", "Changed", "time")
# A number is one of days.
ENDS: Final = Field(
    name="expires_at",
    label="Ends",
    control="end",
    first="90",
    options=(
        ("30", "After 30 days"),
        ("90", "After 90 days"),
        ("365", "After a year"),
        ("never", "Never"),
        ("day", "With the day that is named beside"),
    ),
    hint="A day counts to its end, in UTC",
)
DESCRIPTION: Final = Field(name="description", label="Description")


def delete(*points: str, label: str = "Delete", when: tuple[str, tuple[object, ...]] | None = None) -> Deed:
    """It goes, once somebody has read what comes of that."""
    return Deed(name="delete", label=label, method="DELETE", points=points, when=when, is_danger=True)
