"""A browser without JavaScript: cookies, redirects one by one, forms. It tells the canary every secret it sees."""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.pages import Page

# Names of form fields, query parameters and JSON members whose values are secrets.
SECRET_NAMES = frozenset(
    {
        "access_token",
        "admin_token",
        "api_key",
        "client_assertion",
        "client_secret",
        "code_verifier",
        "device_code",
        "id_token",
        "password",
        "refresh_token",
        "registration_access_token",
        "response",
        "secret",
        "subject_token",
        "token",
    }
)
# In a URL these are too; in JSON they may name an error.
_SECRET_PARAMETERS = SECRET_NAMES | {"code", "ticket"}
# Cookies that say what somebody chose, and nothing that only they know.
_PREFERENCES = ("ww-language", "ww-provider", "ww-theme")
_MOST_REDIRECTS = 20
_SOON_S = 5.0


class Browser:
    """One person's browser at one installation; it stops where a redirect leaves the origin, as at an application.

    `async with` closes it.
    """

    def __init__(self, issuer: str, *canaries: Canary) -> None:
        """issuer: the installation's public URL.  canaries: learn every secret that passes."""
        self.issuer, self.origin = issuer, "/".join(issuer.split("/", 3)[:3])
        self._canaries = canaries
        self.client = http_client(follow_redirects=False, timeout=20.0)
        self.page = Page("about:blank", 0, {}, "")
        self.history: list[Page] = []

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Every connection is closed."""
        await self.client.aclose()

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        return {cookie.name: cookie.value or "" for cookie in self.client.cookies.jar}

    async def open(self, url: str, *, headers: Mapping[str, str] | None = None) -> Page:
        """The page at the end of the redirects within the origin; the first answer that leaves it, if one does."""
        return await self._follow("GET", url, None, headers)

    async def submit(self, field: str, press: str | None = None, **values: str) -> Page:
        """The page after the form of the present page that has `field` was filled and sent."""
        form = self.page.form_with(field)
        sent = form.filled(press, **values)
        if form.method == "GET":
            return await self._follow("GET", f"{form.goes_to(press)}?{httpx2.QueryParams(sent)}", None, None)
        return await self._follow("POST", form.goes_to(press), sent, None)

    async def click_soon(self, element_id: str) -> Page:
        """As click, on a page that is loaded again until the element stands there: an event brings it."""
        async with asyncio.timeout(_SOON_S):
            while not self.page.has(element_id):
                await asyncio.sleep(0.02)
                await self.open(self.page.url)
        return await self.click(element_id)

    async def click(self, link: str) -> Page:
        """The page behind a link of the present page, by its id or text."""
        return await self.open(self.page.links[link])

    async def send(
        self, method: str, url: str, data: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Page:
        """One request and its answer; no redirect is followed. url: absolute, or a path below the issuer."""
        sent = dict(headers or {})
        if method == "POST":
            sent.setdefault("Origin", self.origin)
        self._note(data or {})
        url = f"{self.issuer}{url}" if url.startswith("/") else url
        answer = await self.client.request(method, url, data=data, headers=sent)
        for cookie in answer.cookies.jar:
            if cookie.name.endswith(_PREFERENCES):
                continue
            self._tell(f"cookie {cookie.name}", cookie.value or "")
        location = urljoin(url, answer.headers["location"]) if "location" in answer.headers else ""
        for part in (urlsplit(location).query, urlsplit(location).fragment):
            self._note({name: values[0] for name, values in parse_qs(part).items()})
        self.page = Page.of(url, answer.status_code, dict(answer.headers), answer.text, location)
        self.history.append(self.page)
        return self.page

    async def _follow(
        self, method: str, url: str, data: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> Page:
        page = await self.send(method, url, data, headers)
        for _ in range(_MOST_REDIRECTS):
            if not page.location or not page.location.startswith(f"{self.origin}/"):
                return page
            page = await self.send("GET", page.location, headers=headers)
        raise AssertionError(
            f"redirected more than {_MOST_REDIRECTS} times: {[each.url for each in self.history[-5:]]}"
        )

    def _note(self, values: Mapping[str, str]) -> None:
        for name in _SECRET_PARAMETERS & values.keys():
            self._tell(name, values[name])

    def _tell(self, kind: str, value: str) -> None:
        for canary in self._canaries:
            canary.add(kind, value)


def note_secrets(canary: Canary, document: object) -> None:
    """The canary knows every secret in a JSON document."""
    if isinstance(document, dict):
        for name, value in document.items():
            if isinstance(value, str):
                if name in SECRET_NAMES:
                    canary.add(name, value)
            else:
                note_secrets(canary, value)
    elif isinstance(document, list):
        for value in document:
            note_secrets(canary, value)
