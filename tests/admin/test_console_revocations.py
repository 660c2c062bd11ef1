"""Revocations at the console: looked at before, made, and followed until everybody has applied them."""

import base64
import secrets

import orjson

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform


async def test_a_person_is_cut_off_after_a_look_at_what_that_ends(
    platform: Platform, console: Browser, api: Api, canary: Canary
) -> None:
    name, password = f"gone-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    user = await api.create("/users", username=name, password=password)
    async with platform.browser(canary) as person:
        await person.open(f"{platform.issuer}/admin")
        await person.submit("username", "sign-in", username=name, password=password)
    await console.open(f"{console.issuer}/admin/revocations/new?claim=sub&value={user['id']}")
    page = await console.submit("claim", "preview-it")
    assert page.texts["preview-sum"].startswith("1 signed-in browser and")
    assert name in page.links, "ids are shown by name"
    assert (await api.get("/sessions", user_id=str(user["id"])))["items"] != [], "looking ends nothing"

    page = await console.submit("claim", "revoke")
    assert page.status == 200, page.body
    assert "/admin/revocations/" in page.url
    assert (await api.get("/sessions", user_id=str(user["id"])))["items"] == []
    entry_id = page.url.rpartition("/")[2]

    lines = []
    async with console.client.stream("GET", f"{page.url}/receipts", headers={"Accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            lines.append(line)
            if line == "event: end":
                break
    assert any('data-complete="true"' in line for line in lines), lines

    page = await console.open(page.url)
    assert page.texts["verdict"].startswith("Dead everywhere")
    assert "applied" in page.texts["receipts"]
    file = await console.send("GET", f"/admin/revocations/{entry_id}/evidence")
    assert file.headers["content-disposition"] == f'attachment; filename="revocation-{entry_id}.jwt"'
    payload = file.body.split(".")[1]
    proved = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert [str(each["id"]) for each in proved["revocations"]] == [entry_id]

    page = await console.open(f"{console.issuer}/admin/revocations")
    assert name not in page.body or user["id"] in page.body


async def test_what_cannot_be_revoked_is_said_at_the_field(console: Browser) -> None:
    await console.open(f"{console.issuer}/admin/revocations/new")
    page = await console.submit("claim", "preview-it", claim="sub", value="")
    assert page.status == 400
    assert "every other claim needs one" in page.body
    page = await console.submit("claim", "preview-it", claim="sub", value="a b")
    assert page.status == 400
    assert page.texts["value-note"]
    page = await console.send("GET", "/admin/revocations/999999999999")
    assert page.error_code == "not_found"


async def test_receipts_are_for_the_console_only(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as stranger:
        page = await stranger.send("GET", "/admin/revocations/1/receipts", headers={"Accept": "text/event-stream"})
    assert page.status == 401
