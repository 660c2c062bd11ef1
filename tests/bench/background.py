"""Sign-ins and tokens at a steady pace, in a process of its own: the load beside which something else is measured.

Orders come as JSON on standard input; at SIGTERM, or when `scim_users` have been imported, it prints what it did.
"""

import asyncio
import contextlib
import json
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn

PEOPLE = 20
PEOPLE_OF_A_REQUEST = 50
REQUESTS_AT_ONCE = 4
_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
_BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


@dataclass
class Background:
    """The starter's side."""

    _process: asyncio.subprocess.Process

    @classmethod
    async def started(cls, **orders: Any) -> "Background":
        """issuer, key: of an administrator. sign_ins, tokens: a second. scim_users: to be imported, then it ends."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.background"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        return cls(process)

    async def until_done(self) -> dict[str, int]:
        """What it did, when it has ended by itself."""
        assert self._process.stdout is not None
        said = await self._process.stdout.read()
        await self._process.wait()
        return dict(json.loads(said))

    async def stop(self) -> dict[str, int]:
        """What it did until now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        return await self.until_done()

    @property
    def is_over(self) -> bool:
        return self._process.returncode is not None


async def paced(per_s: float, act: Callable[[int], Awaitable[None]], done: Counter[str], name: str) -> None:
    """The act is begun so often a second; at most ten of them run at a time."""
    if per_s <= 0:
        return
    running: set[asyncio.Task[None]] = set()
    number = 0

    async def once(index: int) -> None:
        try:
            await act(index)
            done[name] += 1
        except (AssertionError, LookupError, httpx2.HTTPError):
            done[f"{name} refused"] += 1

    try:
        while True:
            if len(running) < 10:
                task = asyncio.create_task(once(number))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            await asyncio.sleep(1 / per_s)
    finally:
        for task in running:
            task.cancel()


async def main() -> None:
    """Obeys the orders."""
    orders = json.loads(await asyncio.to_thread(sys.stdin.readline))
    issuer, done = orders["issuer"], Counter[str]()
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    headers = {"Watchword-API-Key": orders["key"]}
    async with httpx2.AsyncClient(base_url=issuer, headers=headers, timeout=30, trust_env=False) as api:
        if orders.get("scim_users"):
            importing = asyncio.create_task(import_people(issuer, orders["key"], orders["scim_users"], done))
            asked_to_leave = asyncio.create_task(leaving.wait())
            await asyncio.wait([importing, asked_to_leave], return_when=asyncio.FIRST_COMPLETED)
            if importing.done():
                importing.result()
            importing.cancel()
        else:
            party, names = await seeded(api, issuer)

            async def sign_in(number: int) -> None:
                async with Browser(issuer) as browser:
                    tokens = await SignIn(browser, party).with_password(names[number % PEOPLE], _PASSWORD)
                (await party.userinfo(tokens["access_token"])).raise_for_status()

            async def token(_number: int) -> None:
                await party.tokens(grant_type="client_credentials")

            loads = [
                asyncio.create_task(paced(orders["sign_ins"], sign_in, done, "sign-ins")),
                asyncio.create_task(paced(orders["tokens"], token, done, "tokens")),
            ]
            await leaving.wait()
            for load in loads:
                load.cancel()
            await asyncio.wait(loads)
    sys.stdout.write(json.dumps(done))
    sys.stdout.flush()


_PASSWORD = secrets.token_urlsafe(16)


async def seeded(api: httpx2.AsyncClient, issuer: str) -> tuple[Party, list[str]]:
    """A client and people."""
    made = await api.post(
        "/api/v1/clients",
        json={
            "client_name": "load",
            "redirect_uris": ["https://app.example/callback"],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_method": "client_secret_post",
            "scope": "openid profile email",
            "require_consent": False,
        },
    )
    body = made.raise_for_status().json()
    names = [f"load-{secrets.token_hex(4)}" for _ in range(PEOPLE)]
    for name in names:
        user = {"username": name, "email": f"{name}@example.test", "password": _PASSWORD}
        (await api.post("/api/v1/users", json=user)).raise_for_status()
    return Party(issuer, body["client_id"], body["client_secret"], method="client_secret_post"), names


async def import_people(issuer: str, key: str, count: int, done: Counter[str]) -> None:
    """As a SCIM client does it: people in bulk requests, several of these at a time. done: those who were created."""
    run, firsts = secrets.token_hex(3), iter(range(0, count, PEOPLE_OF_A_REQUEST))

    async def some(http: httpx2.AsyncClient) -> None:
        for first in firsts:
            last = min(first + PEOPLE_OF_A_REQUEST, count)
            operations = [_creation(f"import-{run}-{number}") for number in range(first, last)]
            answer = await http.post("/Bulk", json={"schemas": [_BULK], "Operations": operations})
            for each in answer.raise_for_status().json()["Operations"]:
                done["users" if str(each["status"]) == "201" else "users refused"] += 1

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/scim+json"}
    async with httpx2.AsyncClient(base_url=f"{issuer}/scim/v2", headers=headers, timeout=120, trust_env=False) as http:
        await asyncio.gather(*[some(http) for _ in range(REQUESTS_AT_ONCE)])


def _creation(name: str) -> dict[str, object]:
    person = {
        "schemas": [_USER],
        "userName": f"{name}@example.test",
        "externalId": name,
        "name": {"givenName": "Ana", "familyName": name},
        "emails": [{"value": f"{name}@example.test", "type": "work", "primary": True}],
        "active": True,
    }
    return {"method": "POST", "path": "/Users", "bulkId": name, "data": person}


if __name__ == "__main__":
    asyncio.run(main())
