"""HTML pages as a person without JavaScript uses them: forms, links and the elements that have an id."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

# Elements without an end tag. https://html.spec.whatwg.org/#void-elements
_VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})


@dataclass
class Button:
    """A submit button. name and value travel with the form when it is pressed.

    action: where that goes, absolute; "" for the form's own.
    """

    id: str
    name: str
    value: str
    action: str = ""


@dataclass
class Form:
    """A form with the values that it came with. action: absolute."""

    action: str
    method: str
    id: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[Button] = field(default_factory=list)

    def filled(self, press: str | None = None, **values: str) -> dict[str, str]:
        """What is sent: the form's own values, `values` over them, and the pressed button's.

        press: a button's id or value; the only or first one when left out. Raises KeyError for a field or button that
        the form does not have.
        """
        for name in values:
            if name not in self.fields:
                raise KeyError(f"the form has no field {name}: {sorted(self.fields)}")
        sent = {**self.fields, **values}
        pressed = self._pressed(press)
        if pressed is not None and pressed.name:
            sent[pressed.name] = pressed.value
        return sent

    def goes_to(self, press: str | None = None) -> str:
        """Where the form is sent with this button. press: as for `filled`."""
        pressed = self._pressed(press)
        return pressed.action if pressed is not None and pressed.action else self.action

    def _pressed(self, press: str | None) -> Button | None:
        if press is None:
            return self.buttons[0] if self.buttons else None
        pressed = next((each for each in self.buttons if press in {each.id, each.value}), None)
        if pressed is None:
            raise KeyError(f"the form has no button {press}: {[each.id or each.value for each in self.buttons]}")
        return pressed


@dataclass
class Page:
    """An answer as a person sees it. location: where it redirects to, absolute, or ""."""

    url: str
    status: int
    headers: dict[str, str]
    body: str
    location: str = ""
    forms: list[Form] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str, status: int, headers: dict[str, str], body: str, location: str = "") -> "Page":
        """The page with its forms, its links by id (by text where they have none) and its elements' texts by id."""
        page = cls(url, status, headers, body, location)
        if headers.get("content-type", "").startswith("text/html"):
            _Reader(page).feed(body)
        return page

    def form_with(self, name: str) -> Form:
        """The first form with a field or button of that name or id. Raises LookupError with what there is."""
        for form in self.forms:
            if name in form.fields or any(name in {each.id, each.name} for each in form.buttons):
                return form
        raise LookupError(f"no form with {name} on {self.url} ({self.status}): {[f.fields for f in self.forms]}")

    def has(self, name: str) -> bool:
        """Whether there is a form with that field or button, a link or an element of that id."""
        try:
            self.form_with(name)
        except LookupError:
            return name in self.links or name in self.texts
        return True

    @property
    def error_code(self) -> str:
        """The text of `#error-code`, or ""."""
        return self.texts.get("error-code", "")


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=True)
        self._page = page
        self._form: Form | None = None
        self._open: list[tuple[str, str]] = []  # tag, id
        self._link: tuple[str, str] | None = None  # href, id
        self._filling: tuple[str, str] | None = None  # tag and name of an open textarea or select
        self._said = ""
        self._picked = False  # whether an option of the open select was

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._element(tag, given)
        if tag not in _VOID:
            self._open.append((tag, given.get("id", "")))
        if given.get("id"):
            self._page.texts.setdefault(given["id"], "")

    def _element(self, tag: str, given: dict[str, str]) -> None:
        match tag:
            case "form":
                action = urljoin(self._page.url, given.get("action") or self._page.url)
                self._form = Form(action, given.get("method", "get").upper(), given.get("id", ""))
                self._page.forms.append(self._form)
            case "a":
                self._link = (urljoin(self._page.url, given.get("href", "")), given.get("id", ""))
                self._said = ""
            case "input" if given.get("type") in {"submit", "image"}:
                self._button(given)
            case "button" if given.get("type", "submit") == "submit":
                self._button(given)
            case "textarea" | "select" if self._form is not None and given.get("name"):
                self._form.fields[given["name"]] = ""
                self._filling, self._said, self._picked = (tag, given["name"]), "", False
            case "option" if self._form is not None and self._filling and self._filling[0] == "select":
                name = self._filling[1]
                if "selected" in given or not self._picked:  # a browser selects the first by itself
                    self._form.fields[name], self._picked = given.get("value", ""), True
            case "input" if self._form is not None and given.get("name"):
                if given.get("type") in {"checkbox", "radio"} and "checked" not in given:
                    self._form.fields.setdefault(given["name"], "")
                else:
                    self._form.fields[given["name"]] = given.get("value", "")

    def _button(self, given: dict[str, str]) -> None:
        if self._form is not None:
            action = urljoin(self._page.url, given["formaction"]) if "formaction" in given else ""
            button = Button(given.get("id", ""), given.get("name", ""), given.get("value", ""), action)
            self._form.buttons.append(button)

    def handle_data(self, data: str) -> None:
        self._said += data
        for _tag, name in self._open:
            if name:
                self._page.texts[name] = f"{self._page.texts.get(name, '')}{data}"

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if self._filling is not None and tag == self._filling[0]:
            if tag == "textarea" and self._form is not None:
                # HTML Standard 4.10.11: one line break directly after the start tag is not part of the text.
                self._form.fields[self._filling[1]] = self._said.removeprefix("\n")
            self._filling = None
        if tag == "a" and self._link is not None:
            href, name = self._link
            self._page.links[name or " ".join(self._said.split())] = href
            self._link = None
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                for _tag, name in self._open[index:]:
                    if name:
                        self._page.texts[name] = " ".join(self._page.texts[name].split())
                del self._open[index:]
                return
