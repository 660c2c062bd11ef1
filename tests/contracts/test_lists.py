"""Every list of `/api/v1` answers alike, and what a call does not know is refused before it does anything."""

import json
import secrets
from pathlib import Path
from typing import Any, Final

import pytest

from watchword_testkit.api import Api

DOCUMENT: Final = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())


def _members(path: str) -> dict[str, Any]:
    answer = DOCUMENT["paths"][path]["get"]["responses"]["200"]
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    found: dict[str, Any] = DOCUMENT["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
    return dict(found.get("properties", {}))


def _asks_for(path: str, name: str) -> bool:
    return any(each["name"] == name for each in DOCUMENT["paths"][path]["get"].get("parameters", []))


LISTS: Final = sorted(
    path.removeprefix("/api/v1")
    for path, item in DOCUMENT["paths"].items()
    if path.startswith("/api/v1/") and "{" not in path and "get" in item and "items" in _members(path)
)
PAGED: Final = [path for path in LISTS if _asks_for(f"/api/v1{path}", "cursor")]


def _needed(path: str) -> dict[str, str]:
    return {"kind": "Client"} if path == "/apply/admin" else {"kind": "User"} if path == "/apply/directory" else {}


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_has_items_and_the_next_cursor(api: Api, path: str) -> None:
    assert set(await api.get(path, **_needed(path))) == {"items", "next"}


@pytest.mark.parametrize("path", PAGED)
async def test_the_cursor_of_another_list_is_refused(api: Api, path: str) -> None:
    for _ in range(2):
        await api.create("/groups", name=f"lists-{secrets.token_hex(4)}")
    cursor = (await api.get("/groups" if path != "/groups" else "/roles", limit="1"))["next"]
    assert isinstance(cursor, str)
    assert (await api.call("GET", path, None, **_needed(path), cursor=cursor)).status_code == 400


@pytest.mark.parametrize("path", LISTS)
async def test_a_filter_that_a_list_does_not_have_is_refused(api: Api, path: str) -> None:
    answer = await api.call("GET", path, None, **_needed(path), usr_id="x")
    assert answer.status_code == 400
    assert [each["parameter"] for each in answer.json()["errors"]] == ["usr_id"]


async def test_a_mistyped_parameter_of_a_write_does_nothing(api: Api) -> None:
    """Somebody who wanted to know what would end has not ended it."""
    name = f"typed-{secrets.token_hex(4)}"
    user = await api.create("/users", username=name)
    before = (await api.get("/revocations", limit="1"))["items"]
    refused = await api.call("POST", "/revocations", {"claim": "sub", "value": user["id"]}, dryrun="true")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (400, "dryrun")
    assert (await api.get("/revocations", limit="1"))["items"] == before
    assert (await api.call("DELETE", f"/users/{user['id']}", None, force="true")).status_code == 400
    assert (await api.get(f"/users/{user['id']}"))["username"] == name
