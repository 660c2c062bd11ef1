"""`watchword users`, `clients`, `providers` and `rules`, as somebody at a terminal and as a script use them."""

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path

import pytest

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

WATCHWORD = str(Path(sys.executable).with_name("watchword"))


class Terminal:
    """Where commands are typed; nobody is there to be asked."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def run(self, *args: str, said: str = "", code: int = 0, complains: bool = True, **environment: str) -> str:
        """What a command printed; its complaint when it shall fail. complains: whether it then says so apart."""
        process = await asyncio.create_subprocess_exec(
            WATCHWORD,
            *args,
            *("--data-dir", str(self._home)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
        )
        out, err = await process.communicate(said.encode())
        assert process.returncode == code, (out + err).decode()
        return (err if code and complains else out).decode()

    async def json(self, *args: str, **more: str) -> dict[str, object]:
        """The JSON that it printed."""
        found = json.loads(await self.run(*args, "--json", **more))
        assert isinstance(found, dict)
        return found


@pytest.fixture
def terminal(platform: Platform, tmp_path: Path) -> Terminal:
    access = {"issuer": platform.issuer, "admin_token": platform.admin.admin_token}
    (tmp_path / "access.json").write_text(json.dumps(access))
    return Terminal(tmp_path)


async def test_people(terminal: Terminal, canary: Canary) -> None:
    name, password = f"cli-{secrets.token_hex(3)}", secrets.token_urlsafe(16)
    canary.add("password", password)
    made = await terminal.json("users", "create", name, "--name", "Ann", "--password-stdin", said=f"{password}\n")
    assert made["username"] == name
    assert name in await terminal.run("users", "list")
    for reference in (name, str(made["id"])):
        assert (await terminal.json("users", "show", reference))["id"] == made["id"]
    assert (await terminal.json("users", "disable", name))["active"] is False
    assert (await terminal.json("users", "enable", name))["active"] is True
    assert "say --yes" in await terminal.run("users", "delete", name, code=1)
    assert await terminal.json("users", "delete", name, "--yes") == {"deleted": made["id"]}
    assert "No such user" in await terminal.run("users", "show", name, code=1)


async def test_clients(terminal: Terminal, canary: Canary) -> None:
    name = f"cli-{secrets.token_hex(3)}"
    given = ("--redirect-uri", "https://app.example/cb", "--short-name", name)
    made = await terminal.json("clients", "create", f"App {name}", *given)
    canary.add("client_secret", str(made["client_secret"]))
    assert f"App {name}" in await terminal.run("clients", "list")
    for reference in (name, f"App {name}", str(made["client_id"])):
        shown = await terminal.json("clients", "show", reference)
        assert (shown["client_id"], shown["client_secret"]) == (made["client_id"], None)
    assert (await terminal.json("clients", "disable", name))["enabled"] is False
    assert (await terminal.json("clients", "enable", name))["enabled"] is True
    assert await terminal.json("clients", "delete", name, "--yes") == {"deleted": made["client_id"]}
    assert f"there is no client {name}" in await terminal.run("clients", "show", name, code=1)
    assert "redirect_uris" in await terminal.run("clients", "create", "Nowhere", code=1)


async def test_providers(terminal: Terminal, canary: Canary) -> None:
    name, secret = f"Cli{secrets.token_hex(3)}", secrets.token_urlsafe(16)
    canary.add("client_secret", secret)
    given = ("--issuer", "https://login.example.com", "--client-id", "watchword", "--secret-env", "PROVIDER_SECRET")
    assert "PROVIDER_SECRET is not set" in await terminal.run("providers", "create", name, *given, code=1)
    made = await terminal.json("providers", "create", name, *given, PROVIDER_SECRET=secret)
    assert made["id"] == name
    assert secret not in json.dumps(made)
    assert name in await terminal.run("providers", "list")
    assert "callback url" in await terminal.run("providers", "show", name)
    assert "discovery" in await terminal.run("providers", "test", name, code=1, complains=False)
    assert "asks for" in await terminal.run("providers", "presets")
    assert (await terminal.json("providers", "disable", name, "--end-sessions"))["enabled"] is False
    assert (await terminal.json("providers", "enable", name))["enabled"] is True
    assert await terminal.json("providers", "delete", name, "--yes") == {"deleted": name}
    assert "No such provider" in await terminal.run("providers", "show", name, code=1)
    preset = ("--preset", "okta", "--client-id", "watchword", "--set")
    assert "name=value" in await terminal.run("providers", "create", name, *preset, "domain", code=1)
    okta = await terminal.json("providers", "create", name, *preset, "domain=acme.okta.com")
    assert okta["issuer"] == "https://acme.okta.com"
    assert "username" in await terminal.run("providers", "dependents", name), "the titles of an empty table"
    await terminal.run("providers", "delete", name, "--yes")


async def test_rules_are_tried_on_the_sign_ins_of_the_last_weeks(
    terminal: Terminal, platform: Platform, api: Api, canary: Canary, tmp_path: Path
) -> None:
    name, password = f"cli-{secrets.token_hex(3)}", secrets.token_urlsafe(16)
    party = await Party.registered(api, platform.issuer, canary, short_name=name)
    made = await api.create("/users", username=name, email=f"{name}@demo.test", password=password, groups=["ops"])
    async with platform.browser(canary) as browser:
        await SignIn(browser, party).with_password(name, password)
    document = {"kind": "AccessRule", "name": name, "expression": "'admin' in groups", "clients": [name]}
    (file := tmp_path / "rule.yaml").write_text(json.dumps({**document, "roles": ["view"], "description": "Admins"}))
    found = await terminal.json("rules", "dry-run", "-f", str(file))
    assert (found["asked"], found["gains_count"], found["loses_count"]) == (1, 0, 1)
    lines = (await terminal.run("rules", "dry-run", "-f", str(tmp_path))).splitlines()
    assert lines[-1].split()[:5] == [made["id"], party.client_id, "open", "no", "rule"]

    saved = await api.create("/rules", **{key: value for key, value in document.items() if key != "kind"})
    async with asyncio.timeout(30):  # until the instances have heard of it
        while (await terminal.json("rules", "dry-run", "--without", name))["gains_count"] != 1:
            pass
    file.write_text(json.dumps({**document, "expression": "'ops' in groups"}))
    assert (await terminal.json("rules", "dry-run", "-f", str(file)))["gains_count"] == 1, "in its place"
    assert name in await terminal.run("rules", "list")
    await api.delete(f"/rules/{saved['id']}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_shells_complete(shell: str) -> None:
    process = await asyncio.create_subprocess_exec(
        WATCHWORD,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "_WATCHWORD_COMPLETE": f"source_{shell}"},
    )
    out, _ = await process.communicate()
    assert b"_WATCHWORD_COMPLETE" in out
