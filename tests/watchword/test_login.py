"""`watchword login`, typed at a terminal, against a running platform."""

import asyncio
import json
import os
import secrets
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.issuers import Issuer
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.web import web_site

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
REDIRECT = "http://127.0.0.1:31111/oauth/callback"
PASSWORD = "correct horse battery staple"


class Terminal:
    """Where the command is typed. What it shows is read line by line."""

    def __init__(self, issuer: str, home: Path) -> None:
        self.issuer, self.file = issuer, home / "watchword" / "tokens.json"
        self._environment = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(home)}

    @asynccontextmanager
    async def typed(self, client: Party, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        secret = {} if client.client_secret is None else {"WATCHWORD_CLIENT_SECRET": client.client_secret}
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "watchword"),
            *("login", self.issuer, "--client-id", client.client_id, "--no-browser", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment | secret,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run(self, client: Party, *words: str) -> tuple[int, str, str]:
        """Exit code, output, complaints of a command that asks nobody."""
        async with self.typed(client, *words) as process:
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def terminal(platform: Platform, tmp_path: Path) -> Terminal:
    return Terminal(platform.issuer, tmp_path)


async def _shown(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stderr is not None
    return (await process.stderr.readline()).decode().split()


async def _client(api: Api, platform: Platform, canary: Canary, **metadata: object) -> Party:
    wanted = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "scope": "openid profile", **metadata}
    return await Party.registered(api, platform.issuer, canary, **wanted)


@pytest.mark.spec("RFC 8252 4.1, 7.3, 8.3; RFC 7636 4.1; RFC 9207 2.4; RFC 6749 6")
async def test_somebody_signs_in_with_a_browser_and_the_tokens_are_kept_and_renewed(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, terminal: Terminal
) -> None:
    client = await _client(api, platform, canary, client_name="Terminal")
    user = await api.create("/users", username="terminal-tom", name="Tom", password=PASSWORD)
    with socket.socket() as taken:  # the usual port may be somebody's: any other is as good
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            taken.bind(("127.0.0.1", 31111))
            taken.listen()
        async with terminal.typed(client, "--print-token") as process:
            browser = browser_session
            await browser.open((await _shown(process))[1])
            page = await browser.submit("username", "sign-in", username="terminal-tom", password=PASSWORD)
            assert page.location.startswith("http://127.0.0.1:")
            assert not page.location.startswith(REDIRECT)
            async with http_client() as http:
                forged = page.location.split("?")[0] + "?code=forged&state=forged"
                assert (await http.get(forged)).status_code == 400
                assert (await http.get(page.location.replace("/oauth/callback", "/"))).status_code == 400
                assert (await http.get(page.location)).status_code == 200
            out, err = await process.communicate()
    assert process.returncode == 0, err
    token = out.decode().strip()
    assert (await client.userinfo(token)).json()["sub"] == user["id"]
    assert stat.S_IMODE(terminal.file.stat().st_mode) == 0o600
    # The second command asks nobody; nor does one whose token is over.
    assert await terminal.run(client, "--print-token") == (0, f"{token}\n", "")
    (source,) = kept = json.loads(terminal.file.read_text())
    kept[source]["expires_at"] = 0
    terminal.file.write_text(json.dumps(kept))
    code, out_, err_ = await terminal.run(client, "--pretty")
    assert code == 0, err_
    assert json.loads(out_)["payload"]["sub"] == user["id"]
    renewed = json.loads(terminal.file.read_text())[source]
    assert renewed["access_token"] != token
    assert renewed["refresh_token"] != kept[source]["refresh_token"]


@pytest.mark.spec("OpenID Connect Core 3.2.2.1, 3.2.2.11; OAuth 2.0 Form Post Response Mode 2")
async def test_a_client_that_gets_an_id_token_alone(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, terminal: Terminal
) -> None:
    implicit = {"grant_types": ["implicit"], "response_types": ["id_token"]}
    client = await _client(api, platform, canary, **implicit)
    user = await api.create("/users", username="terminal-ida", name="Ida", password=PASSWORD)
    async with terminal.typed(client, "--grant", "implicit-id", "--print-token") as process:
        await browser_session.open((await _shown(process))[1])
        page = await browser_session.submit("username", "sign-in", username="terminal-ida", password=PASSWORD)
        (form,) = page.forms
        assert form.action.startswith("http://127.0.0.1:")
        async with http_client() as http:
            for wrong in ({**form.fields, "state": "forged"}, {"id_token": form.fields["id_token"]}):
                assert (await http.post(form.action, data=wrong)).status_code == 400
            assert (await http.post(form.action, content=b"x" * 70_000)).status_code == 413
            assert (await http.post(form.action, data=form.fields)).status_code == 200
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert out.decode().strip() == form.fields["id_token"]
    # The second command asks nobody, until the token is over.
    code, pretty, err_ = await terminal.run(client, "--grant", "implicit-id", "--pretty")
    assert code == 0, err_
    assert json.loads(pretty)["payload"]["sub"] == user["id"]


@pytest.mark.spec("OpenID Connect Core 3.2.2.11")
async def test_an_id_token_of_another_sign_in_is_refused(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, terminal: Terminal
) -> None:
    implicit = {"grant_types": ["implicit"], "response_types": ["id_token"]}
    client = await _client(api, platform, canary, **implicit)
    await api.create("/users", username="terminal-iris", name="Iris", password=PASSWORD)
    params = {"response_type": "id_token", "response_mode": "form_post"}
    stolen = SignIn(browser_session, client, params=params)
    await stolen.start()
    await stolen.enter("terminal-iris", PASSWORD)
    token = stolen.outcome()["id_token"]
    async with terminal.typed(client, "--grant", "implicit-id") as process:
        await browser_session.open((await _shown(process))[1])
        (form,) = browser_session.page.forms
        async with http_client() as http:
            injected = {**form.fields, "id_token": token}
            assert (await http.post(form.action, data=injected)).status_code == 200
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"nonce missing or not the one of this sign-in" in err
    assert not terminal.file.exists()


@pytest.mark.spec("RFC 8252 7.3")
async def test_who_refuses_is_told_to_the_terminal(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, terminal: Terminal
) -> None:
    client = await _client(api, platform, canary, require_consent=True)
    await api.create("/users", username="terminal-rose", name="Rose", password=PASSWORD)
    async with terminal.typed(client) as process:
        browser = browser_session
        await browser.open((await _shown(process))[1])
        await browser.submit("username", "sign-in", username="terminal-rose", password=PASSWORD)
        page = await browser.submit("decision", "deny")
        async with http_client() as http:
            await http.get(page.location)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"access_denied" in err
    assert not terminal.file.exists()


@pytest.mark.spec("RFC 8628 3.1, 3.3")
async def test_somebody_signs_in_with_a_browser_elsewhere(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, terminal: Terminal
) -> None:
    client = await _client(api, platform, canary, redirect_uris=[], grant_types=[DEVICE])
    user = await api.create("/users", username="terminal-dora", name="Dora", password=PASSWORD)
    async with terminal.typed(client, "--grant", "device", "--print-token") as process:
        shown = await _shown(process)
        browser = browser_session
        await browser.open(shown[1])
        await browser.submit("user_code", "continue", user_code=shown[-1])
        await browser.submit("username", "sign-in", username="terminal-dora", password=PASSWORD)
        await browser.submit("decision", "allow")
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert (await client.userinfo(out.decode().strip())).json()["sub"] == user["id"]


@pytest.mark.spec("RFC 6749 4.4; RFC 8693 2.1")
async def test_a_client_gets_its_own_token_and_exchanges_or_keeps_it(
    platform: Platform, api: Api, canary: Canary, terminal: Terminal
) -> None:
    client = await _client(
        api,
        platform,
        canary,
        redirect_uris=[],
        grant_types=["client_credentials", EXCHANGE],
        token_endpoint_auth_method="client_secret_basic",
        scope="deploy",
        audience=["https://deploy.test"],
        exchange_policies=[{"audiences": ["https://billing.test"], "scope": "deploy"}],
    )
    own = ("--grant", "client-credentials", "--scope", "deploy", "--print-token")
    code, token, err = await terminal.run(client, *own)
    assert code == 0, err
    code, out, err = await terminal.run(client, "--token", token.strip(), "--pretty")
    assert code == 0, err
    assert json.loads(out)["payload"]["aud"] == "https://billing.test"
    code, out, err = await terminal.run(client, *own[:-1], "--json")
    assert json.loads(out) == {"issuer": platform.issuer, "client_id": client.client_id}, err
    code, out, err = await terminal.run(client, *own, "--pretty", "--json")
    said = json.loads(out)
    assert (said["token"], said["says"]["payload"]["sub"]) == (token.strip(), client.client_id)
    code, out, err = await terminal.run(client, "--token", token.strip(), "--no-exchange", "--pretty")
    assert code == 0, err
    assert json.loads(out)["payload"]["sub"] == client.client_id


@pytest.mark.spec("RFC 8693 2.1")
async def test_a_job_shows_its_own_systems_token_here_or_at_another_gateway(
    platform: Platform, api: Api, canary: Canary, terminal: Terminal, tmp_path: Path
) -> None:
    client = await _client(
        api,
        platform,
        canary,
        redirect_uris=[],
        grant_types=[EXCHANGE],
        scope="deploy",
        audience=["https://a", "https://b"],
    )
    async with web_site(tmp_path) as elsewhere:
        ci = Issuer(elsewhere, utc_now)
        token = ci.token(aud=platform.issuer, sub="repo:acme/terminal")
        code, _, err = await terminal.run(client, "--token", token)
        assert (code, "The issuer is not trusted" in err) == (1, True), err
        await api.create(
            "/rules", name=f"terminal-{secrets.token_hex(4)}", expression="sub.endsWith('repo:acme/terminal')",
            clients=[client.client_id],
        )  # fmt: skip
        await api.create("/issuers", iss=ci.iss, aud=[platform.issuer], root_ca=ci.root_ca)
        for audience, where in {
            "https://a": (),
            "https://b": ("--exchange", f"{platform.issuer}/oauth2/token"),
        }.items():
            code, out, err = await terminal.run(client, "--token", token, "--audience", audience, *where, "--pretty")
            assert code == 0, err
            said = json.loads(out)["payload"]
            assert (said["aud"], said["fed:iss"]) == (audience, ci.iss)
    assert len(json.loads(terminal.file.read_text())) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(("--exchange", "https://x.test/token", "--no-exchange"), "exclude each other", id="both"),
        pytest.param(("--grant", "password"), "Invalid value", id="no such way"),
        pytest.param(("--grant", "client-credentials"), "unauthorized_client", id="a way the client has not"),
        pytest.param(("--token", "garbage"), "unauthorized_client", id="nothing may be exchanged"),
        pytest.param(("--token", "x", "--exchange", "http://x.test/token"), "no https address", id="in the clear"),
        pytest.param(("--token", "x", "--no-exchange", "--pretty"), "cannot be read", id="no JWT"),
    ],
)
async def test_what_cannot_be_done_is_said(
    platform: Platform, api: Api, canary: Canary, terminal: Terminal, words: tuple[str, ...], complaint: str
) -> None:
    client = await _client(api, platform, canary)
    code, out, err = await terminal.run(client, *words)
    assert (code != 0, out) == (True, "")
    assert complaint in err
    assert "Traceback" not in err
