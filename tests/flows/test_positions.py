"""`Watchword-Position`: what a write did is seen by whoever asks for it, at whichever worker, without sleeping."""

import secrets

import pytest

from watchword_runtime import positions
from watchword_testkit.api import Api
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.http import http_client
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.platform import Platform

HEADER = "Watchword-Position"
ROUNDS = 8


async def test_a_write_says_its_position_and_a_read_none(api: Api) -> None:
    made = await api.call("POST", "/scopes", {"name": f"p:{secrets.token_hex(4)}", "description": "P"})
    assert {part.partition(":")[0] for part in made.headers[HEADER].split()} == {"admin.scope", "feed"}
    read = await api.call("GET", f"/scopes/{made.json()['id']}")
    assert HEADER not in read.headers
    again = await api.client.get(f"/scopes/{made.json()['id']}", headers={HEADER: made.headers[HEADER]})
    assert again.status_code == 200


async def test_documents_that_are_applied_say_one_position_for_all(api: Api) -> None:
    name = secrets.token_hex(4)
    documents = [
        {"kind": "Scope", "name": f"p:{name}", "description": "P"},
        {"kind": "Resource", "identifier": f"https://{name}.example.com", "name": "P"},
    ]
    done = await api.call("POST", "/apply/admin", {"documents": documents})
    assert {part.partition(":")[0] for part in done.headers[HEADER].split()} == {
        "admin.scope",
        "admin.resource",
        "feed",
    }


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "now",
        "feed",
        "feed:-1",
        "admin.scope",
        "admin:5",
        "nobody.scope:5",
        "feed:1;admin.scope:2",
        "feed:" + "9" * 17,
    ],
)
async def test_what_no_answer_carried_is_refused(api: Api, platform: Platform, sent: str) -> None:
    answer = await api.client.get("/scopes", headers={HEADER: sent})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    answer = await api.client.post(f"{platform.issuer}/oauth2/token", headers={HEADER: sent})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("never", ["feed:9007199254740991", "admin.scope:999999999999", "directory.user:999999999999"])
async def test_what_is_not_reached_in_time_is_to_be_asked_again(
    api: Api, platform: Platform, monkeypatch: pytest.MonkeyPatch, never: str
) -> None:
    monkeypatch.setattr(positions, "LONGEST_S", 0.1)
    answer = await api.client.get("/scopes", headers={HEADER: never})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    answer = await api.client.get(f"{platform.issuer}/oauth2/userinfo", headers={HEADER: never})
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_at_two_workers_every_write_is_seen_by_the_other(platform_factory: PlatformFactory) -> None:
    platform: WorkerPlatform = await platform_factory(2)
    headers = {"Watchword-API-Key": platform.admin.admin_token}
    async with (
        http_client(base_url=platform.doors[0], headers=headers) as one,
        http_client(base_url=platform.doors[1]) as other,
    ):
        client = await one.post(
            "/api/v1/clients",
            json={"client_name": "Robot", "grant_types": ["client_credentials"], "scope": "a b", "redirect_uris": []},
        )
        assert client.status_code == 201, client.text
        credentials = (client.json()["client_id"], client.json()["client_secret"])
        platform.canary.add("secret", credentials[1])
        position = client.headers[HEADER]

        async def token(scope: str) -> int:
            answer = await other.post(
                "/oauth2/token",
                data={"grant_type": "client_credentials", "scope": scope},
                auth=credentials,
                headers={HEADER: position},
            )
            return answer.status_code

        assert await token("a b") == 200
        for n in range(ROUNDS):
            scope = "a" if n % 2 == 0 else "a b"
            changed = await one.patch(f"/api/v1/clients/{credentials[0]}", json={"scope": scope})
            position = changed.headers[HEADER]
            assert await token("b") == (400 if n % 2 == 0 else 200), f"round {n}"
        disabled = await one.patch(f"/api/v1/clients/{credentials[0]}", json={"enabled": False})
        position = disabled.headers[HEADER]
        assert await token("a") == 401
