"""`watchword admin`: a way in with access to the database alone; and what administrators do for people over the API."""

import asyncio
import json
import secrets
import sys
from pathlib import Path

import pyotp
import pytest

from watchword.containers import save_for_containers
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.platform import Platform

WATCHWORD = Path(sys.executable).with_name("watchword")
NEW = "seven lanterns under the quiet bridge"


async def run(platform: Platform, home: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a command that knows the secrets and the database, and nothing of the services."""
    directory = home / "secrets"
    if not directory.exists():
        save_for_containers(platform.site.installation, directory, database="unused:1/none", owner=None)
    process = await asyncio.create_subprocess_exec(
        WATCHWORD, *arguments, "--secrets", directory, "--database-url", platform.database.admin_url,
        "--public-url", platform.issuer,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def choose(browser: Browser, said: str) -> None:
    """The person opens the link and chooses a password."""
    link = next(line for line in said.splitlines() if line.startswith("http"))
    await browser.open(link.strip())
    await browser.submit("new_password", "save", new_password=NEW, repeated=NEW)
    assert browser.page.status == 200, browser.page.body


async def sign_in(platform: Platform, name: str, password: str) -> Browser:
    """A browser at the account page, or at what comes before it."""
    browser = platform.browser()
    await browser.open(f"{platform.issuer}/login?return_to=/account")
    await browser.submit("username", "sign-in", username=name, password=password)
    return browser


async def person(api: Api, platform: Platform) -> tuple[str, str]:
    """Name and id of somebody with a second factor."""
    name, password = f"broken-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    user = await api.create("/users", username=name, password=password)
    browser = await sign_in(platform, name, password)
    await browser.click("manage-authenticator")
    app = pyotp.TOTP(browser.page.texts["totp-secret"].replace(" ", ""))
    await browser.submit("otp", "verify", otp=app.at(utc_now()))
    return name, str(user["id"])


async def test_who_lost_everything_gets_in_again(platform: Platform, api: Api, tmp_path: Path) -> None:
    name, user_id = await person(api, platform)
    status, said = await run(platform, tmp_path, "admin", "reset", name)
    assert status == 0, said
    browser = platform.browser()
    await choose(browser, said)
    assert (await sign_in(platform, name, NEW)).page.has("account-username")
    state = await api.get(f"/credentials/{user_id}")
    assert (state["authenticator_since"], state["recovery_codes_left"], state["passkeys"]) == (None, 0, 0)
    status, said = await run(platform, tmp_path, "admin", "reset", "nobody-here")
    assert status == 1
    assert "no active user" in said


async def test_an_owner_is_invited(platform: Platform, api: Api, tmp_path: Path) -> None:
    name = f"owner-{secrets.token_hex(4)}"
    status, said = await run(platform, tmp_path, "admin", "invite", name, "--json")
    assert status == 0, said
    await choose(platform.browser(), json.loads(said)["link"])
    assert (await sign_in(platform, name, NEW)).page.has("account-username")
    users = (await api.get("/users", username=name))["items"]
    assert isinstance(users, list)
    assert "owner" in users[0]["roles"]


async def test_an_administrator_invites_by_link(platform: Platform, api: Api) -> None:
    name = f"guest-{secrets.token_hex(4)}"
    user = await api.create("/users", username=name)
    first = await api.create("/invitations", user_id=user["id"])
    second = await api.create("/invitations", user_id=user["id"])
    browser = platform.browser()
    assert (await browser.open(str(first["link"]))).error_code == "link_over"
    await choose(browser, str(second["link"]))
    assert (await sign_in(platform, name, NEW)).page.has("account-username")


@pytest.mark.parametrize(
    ("body", "status"),
    [({"user_id": "nobody"}, 404), ({}, 400), ({"user_id": "x", "role": "owner"}, 400), ({"user_id": ""}, 400)],
)
async def test_an_invitation_that_is_none(api: Api, body: dict[str, object], status: int) -> None:
    assert (await api.call("POST", "/invitations", body)).status_code == status


async def test_what_cannot_be_sent_is_said(platform: Platform, api: Api) -> None:
    user = await api.create("/users", username=f"guest-{secrets.token_hex(4)}")
    assert (await api.call("POST", "/invitations", {"user_id": user["id"], "send": True})).status_code == 409


async def test_factors_are_forgotten_over_the_api(platform: Platform, api: Api) -> None:
    _, user_id = await person(api, platform)
    assert (await api.get(f"/credentials/{user_id}"))["recovery_codes_left"] == 10
    await api.delete(f"/credentials/{user_id}/factors")
    assert (await api.get(f"/credentials/{user_id}"))["authenticator_since"] is None
    assert (await api.call("DELETE", "/credentials/nobody/factors")).status_code == 404


async def test_requirements_are_kept_over_the_api(api: Api) -> None:
    body = {"applies_to": "organization", "entity_id": secrets.token_hex(4)}
    made = await api.create("/factor-requirements", **body)
    assert (await api.call("POST", "/factor-requirements", body)).status_code == 409
    items = (await api.get("/factor-requirements"))["items"]
    assert isinstance(items, list)
    assert made in items
    await api.delete(f"/factor-requirements/{made['id']}")
    assert (await api.call("DELETE", f"/factor-requirements/{made['id']}")).status_code == 404
    for wrong in ({"applies_to": "client"}, {"applies_to": "installation", "entity_id": "x"}, {"applies_to": "moon"}):
        assert (await api.call("POST", "/factor-requirements", wrong)).status_code == 400
