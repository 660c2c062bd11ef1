"""A client of `/api/v1`, as an administrator's program uses it."""

from collections.abc import Mapping

import httpx2

from watchword_testkit.browser import note_secrets
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client

Document = dict[str, object]


class Api:
    """Calls `/api/v1` with an API key. Everything it sends and receives is told to the canaries."""

    def __init__(self, issuer: str, token: str, *canaries: Canary) -> None:
        """token: a personal API key; empty for none."""
        self.client = http_client(
            base_url=f"{issuer}/api/v1",
            headers={"Watchword-API-Key": token} if token else {},
            follow_redirects=False,
            timeout=20.0,
        )
        self._canaries = canaries
        self._note({"token": token})

    async def close(self) -> None:
        """Every connection is closed."""
        await self.client.aclose()

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **params: str
    ) -> httpx2.Response:
        """The answer, whatever its status. path: below `/api/v1`, for example `/users`."""
        self._note(body)
        answer = await self.client.request(method, path, json=body, params=params or None)
        is_json = answer.headers.get("content-type", "").startswith(("application/json", "application/problem+json"))
        if answer.content and is_json:
            self._note(answer.json())
        return answer

    async def get(self, path: str, **params: str) -> Document:
        """The document at a path. Raises AssertionError for anything but success."""
        return _document(await self.call("GET", path, None, **params))

    async def all(self, path: str) -> list[Document]:
        """Every item of a list, page by page."""
        found: list[Document] = []
        params = {"limit": "200"}
        while True:
            page = await self.get(path, **params)
            items, following = page["items"], page["next"]
            assert isinstance(items, list)
            found += items
            if following is None:
                return found
            params["cursor"] = str(following)

    async def create(self, path: str, /, **body: object) -> Document:
        """What a POST of the members made."""
        return _document(await self.call("POST", path, body))

    async def change(self, path: str, /, **body: object) -> Document:
        """What a PATCH of the members left."""
        return _document(await self.call("PATCH", path, body))

    async def delete(self, path: str) -> None:
        """The thing at a path is gone."""
        answer = await self.call("DELETE", path)
        assert answer.status_code in {200, 202, 204}, f"{answer.status_code}: {answer.text}"

    def _note(self, document: object) -> None:
        for canary in self._canaries:
            note_secrets(canary, document)


def _document(answer: httpx2.Response) -> Document:
    assert answer.status_code in {200, 201, 202}, f"{answer.status_code}: {answer.text}"
    found = answer.json()
    assert isinstance(found, dict)
    return found
