"""Client authentication, the same at every endpoint."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Any

import pytest
from tests.token.conftest import App, Site

from watchword_events.contracts import ClientUpdated
from watchword_runtime.passwords import Passwords

ENDPOINTS = {
    "/oauth2/token": {"grant_type": "client_credentials"},
    "/oauth2/introspect": {"token": "x"},
    "/oauth2/revoke": {"token": "x"},
}


@pytest.mark.row(21)
@pytest.mark.spec("RFC 6749 5.2")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.spec("RFC 6749 2.1")
async def test_each_method_works_for_the_client_that_registered_it(site: Site, path: str) -> None:
    for method in ("client_secret_basic", "client_secret_post"):
        app = await site.client(token_endpoint_auth_method=method)
        answer = await site.post(path, app, ENDPOINTS[path])
        assert answer.status_code == 200, answer.text


def swapped(app: App) -> dict[str, Any]:
    """The right secret by the other method."""
    if app.basic is None:
        return {"auth": (app.id, app.secret)}
    return {"data": app.form}


@pytest.mark.row(21)
@pytest.mark.spec("RFC 6749 2.3.1")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_wrong_credentials_get_one_answer_that_says_nothing(site: Site, path: str, method: str) -> None:
    app = await site.client(token_endpoint_auth_method=method)
    disabled = await site.client(token_endpoint_auth_method=method, enabled=False)
    other = await site.client(token_endpoint_auth_method=method)
    form = ENDPOINTS[path]
    attempts: dict[str, dict[str, Any]] = {
        "wrong secret": {"auth": (app.id, "wrong")},
        "wrong secret in the form": {"data": {"client_id": app.id, "client_secret": "wrong"}},
        "empty secret": {"auth": (app.id, "")},
        "another client's secret": {"auth": (app.id, other.secret)},
        "unknown client": {"auth": ("01a20592-0000-7000-8000-000000000000", app.secret)},
        "the other method": swapped(app),
        "named without a secret": {"data": {"client_id": app.id}},
        "disabled": {"auth": (disabled.id, disabled.secret)} if method.endswith("basic") else {"data": disabled.form},
        "a very long secret": {"auth": (app.id, "x" * 2000)},
        "a very long name": {"auth": ("x" * 2000, "s")},
    }
    seen = set()
    for name, given in attempts.items():
        answer = await site.http.post(path, **{**given, "data": {**form, **given.get("data", {})}})
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("Basic"), name
        assert answer.headers["cache-control"] == "no-store"
        seen.add(answer.text)
    assert len(seen) == 1
    assert answer.json()["error"] == "invalid_client"


async def test_a_chosen_secret_works_as_often_as_a_generated_one(site: Site) -> None:
    passwords = Passwords()
    stored = await passwords.hash("a chosen secret, 32 characters long")
    app = await site.client(secrets=[{"id": "1", "hash": stored}], secret="a chosen secret, 32 characters long")
    for _ in range(2):
        await site.machine_token(app)
    wrong = await site.http.post(
        "/oauth2/token", auth=(app.id, "a chosen secret, 32 characters lonG"), data={"grant_type": "client_credentials"}
    )
    assert wrong.status_code == 401
    passwords.close()


async def test_a_remembered_secret_is_forgotten_with_its_hash(site: Site) -> None:
    passwords = Passwords()
    old, new = "the old chosen secret of a client", "the new chosen secret of a client"
    app = await site.client(secrets=[{"id": "1", "hash": await passwords.hash(old)}], secret=old)
    await site.machine_token(app)
    hashes = [{"id": "2", "hash": await passwords.hash(new)}]
    await site.client(version=2, client_id=app.id, copied=False, secrets=hashes, secret=new)
    await site.publish(ClientUpdated(id=app.id, version=2))
    async with asyncio.timeout(30):
        while (await site.token(app, grant_type="client_credentials")).status_code != 401:
            await asyncio.sleep(0.01)  # a token is made without waiting for anything: nobody else would have a turn
    passwords.close()


async def test_every_secret_of_a_client_works_while_they_are_being_changed(site: Site) -> None:
    first, second = "first-generated-secret-000000000000000", "second-generated-secret-00000000000000"
    hashes = [{"id": s[:5], "hash": f"sha256:{sha256(s.encode()).hexdigest()}"} for s in (first, second)]
    app = await site.client(secrets=hashes, secret=first)
    for secret in (first, second):
        answer = await site.http.post("/oauth2/token", auth=(app.id, secret), data={"grant_type": "client_credentials"})
        assert answer.status_code == 200


async def test_guessing_secrets_ends_in_429(
    site_factory: Callable[..., AbstractAsyncContextManager[Site]],
) -> None:
    async with site_factory(token_failure_burst=5, token_failure_rate=0.01) as site:
        app = await site.client()
        statuses = []
        for _ in range(8):
            answer = await site.http.post(
                "/oauth2/token", auth=(app.id, "wrong"), data={"grant_type": "client_credentials"}
            )
            statuses.append(answer.status_code)
        assert statuses == [401] * 5 + [429] * 3
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["cache-control"] == "no-store"
