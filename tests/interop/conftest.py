"""Client libraries that the OpenID Foundation certified, each driven in a process of Node's.

`make test` installs them by the lock beside this file.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser, note_secrets
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

HERE: Final = Path(__file__).parent
REDIRECT_URI: Final = "https://app.example/callback"
GOODBYE: Final = "https://app.example/bye"
PASSWORD: Final = "correct horse battery staple"
_PATIENCE_S: Final = 60.0


@dataclass
class Person:
    """Somebody with an account, and their browser."""

    user_id: str
    username: str
    browser: Browser

    async def goes_to(self, url: str) -> dict[str, object]:
        """Where they came back to the application, having signed in and allowed it; with the form that was posted."""
        page = await self.browser.open(url)
        if page.has("user_code") and page.has("continue"):
            page = await self.browser.submit("user_code", "continue")
        if page.has("username"):
            page = await self.browser.submit("username", "sign-in", username=self.username, password=PASSWORD)
        if page.has("allow"):
            page = await self.browser.submit("decision", "allow")
        posted = next((form for form in page.forms if not form.action.startswith(self.browser.issuer)), None)
        if posted is not None:
            return {"at": posted.action, "form": posted.fields}
        return {"at": page.location or page.url}


@dataclass(frozen=True)
class Library:
    """An npm package, with its scenarios in `<name>.mjs`."""

    name: str
    canary: Canary

    async def play(self, scenario: str, person: Person | None = None, **told: object) -> dict[str, Any]:
        """What a scenario found. Raises AssertionError with the library's complaint."""
        process = await asyncio.create_subprocess_exec(
            *("node", str(HERE / f"{self.name}.mjs")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                said: dict[str, Any] = {"scenario": scenario, **told}
                while True:
                    process.stdin.write(json.dumps(said).encode() + b"\n")
                    line = await process.stdout.readline()
                    assert line, (await process.stderr.read()).decode()
                    heard = json.loads(line)
                    note_secrets(self.canary, heard)
                    if "done" in heard:
                        return dict(heard["done"])
                    assert person is not None
                    said = await person.goes_to(heard["open"])
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture(params=["openid-client", "oauth4webapi"])
def library(request: pytest.FixtureRequest, canary: Canary) -> Library:
    return Library(request.param, canary)


@pytest.fixture
async def person(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Person]:
    async with somebody(platform, api, canary) as found:
        yield found


@asynccontextmanager
async def somebody(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Person]:
    """A new person with a browser at an installation."""
    username = f"interop-{secrets.token_hex(4)}"
    made = await api.create("/users", username=username, name="Ina Interop", password=PASSWORD)
    async with platform.browser(canary) as browser:
        yield Person(str(made["id"]), username, browser)


async def registered(api: Api, **metadata: object) -> dict[str, object]:
    """A client, as its own library is told of it."""
    made = await api.create(
        "/clients",
        **{
            "client_name": f"Interop {secrets.token_hex(3)}",
            "redirect_uris": [REDIRECT_URI],
            "post_logout_redirect_uris": [GOODBYE],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "openid profile email offline_access",
            **metadata,
        },
    )
    return {name: value for name, value in made.items() if value is not None}
