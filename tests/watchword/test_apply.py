"""`watchword apply`: the same documents twice change nothing, and errors name their line."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from watchword import apply
from watchword.apply import Applied, ApplyError
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

DOCUMENTS = """
# people and what they use
kind: Client
short_name: apply-grafana
client_name: Grafana
redirect_uris:
  - https://app.example/callback
scope: openid profile email
require_consent: false
---
kind: User
username: apply-erin
email: erin@example.com
name: Erin Example
password: a password from a file
roles: [administrator]
---
kind: IdentityProvider
id: ApplyCorp
display_name: Apply Corp
issuer: http://127.0.0.1:1
client_id: watchword
client_secret: what the provider gave us
"""


@pytest.fixture
def run(platform: Platform, canary: Canary, tmp_path: Path) -> Callable[..., list[Applied]]:
    """Applies a text, as the command does."""

    def applied(text: str, **options: bool) -> list[Applied]:
        file = tmp_path / "documents.yaml"
        file.write_text(text)
        found = list(apply.apply(apply.read(file), url=platform.issuer, token=platform.admin.admin_token, **options))
        canary.add("client_secret", *(each.secret for each in found if each.secret))
        return found

    return applied


async def test_documents_are_applied_once(
    run: Callable[..., list[Applied]], platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    first = await asyncio.to_thread(run, DOCUMENTS)
    assert [(each.kind, each.name, each.result) for each in first] == [
        ("Client", "apply-grafana", "created"),
        ("User", "apply-erin", "created"),
        ("IdentityProvider", "ApplyCorp", "created"),
    ]
    again = await asyncio.to_thread(run, DOCUMENTS)
    assert [each.result for each in again] == ["unchanged"] * 3
    assert [each.id for each in again] == [each.id for each in first]
    assert [each.secret is None for each in again] == [True] * 3
    assert (await api.get(f"/users/{first[1].id}"))["roles"] == ["administrator"]

    party = Party(platform.issuer, first[0].id, first[0].secret, canaries=(canary,))
    tokens = await SignIn(browser_session, party).with_password("apply-erin", "a password from a file")
    assert (await party.userinfo(tokens["access_token"])).json()["email"] == "erin@example.com"


async def test_a_changed_document_updates_only_its_own(run: Callable[..., list[Applied]], api: Api) -> None:
    text = "kind: Client\nshort_name: apply-{0}\nclient_name: {1}\nredirect_uris: [https://{0}.example/callback]\n"
    both = text.format("one", "One") + "---\n" + text.format("two", "Two")
    await asyncio.to_thread(run, both)
    changed = await asyncio.to_thread(run, both.replace("client_name: Two", "client_name: Second"))
    assert [each.result for each in changed] == ["unchanged", "updated"]
    assert (await api.get(f"/clients/{changed[1].id}"))["client_name"] == "Second"


async def test_what_is_left_out_returns_to_its_default(run: Callable[..., list[Applied]], api: Api) -> None:
    text = "kind: Client\nshort_name: apply-def\nclient_name: D\nredirect_uris: [https://d.example/callback]\n"
    made = await asyncio.to_thread(run, text + "access_token_format: opaque\n")
    assert (await api.get(f"/clients/{made[0].id}"))["access_token_format"] == "opaque"
    assert (await asyncio.to_thread(run, text))[0].result == "updated"
    assert (await api.get(f"/clients/{made[0].id}"))["access_token_format"] == "jwt"


async def test_secrets_of_what_exists_are_sent_only_when_asked(run: Callable[..., list[Applied]]) -> None:
    text = "kind: User\nusername: apply-frank\npassword: {}\n"
    await asyncio.to_thread(run, text.format("the first password"))
    assert (await asyncio.to_thread(run, text.format("the second password")))[0].result == "unchanged"
    forced = await asyncio.to_thread(lambda: run(text.format("the second password"), set_secrets=True))
    assert forced[0].result == "updated"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Klient\nname: x\n", r":1: kind Klient: one of Client, IdentityProvider, User"),
        ("name: x\n", r":1: kind is missing"),
        ("kind: User\nemail: a@example.com\n", r":1: a User needs username"),
        ("- kind: User\n", r": every document is a mapping"),
        ("kind: User\nusername: a\nusername: b\n", r":3: .*duplicate key"),
        ("kind: User\n  username: [\n", r":\d+: "),
        (
            "\n\nkind: Client\nclient_name: x\nredirect_uris:\n  - https://a.example/\n  - nonsense\n",
            r":7: redirect_uris/1",
        ),
        ("kind: User\nusername: apply-x\nshoe_size: 44\n", r":3: shoe_size"),
        ("kind: Client\nclient_id: nobody\nclient_name: x\n", r":1: "),
    ],
)
async def test_errors_name_their_line(run: Callable[..., list[Applied]], text: str, said: str) -> None:
    with pytest.raises(ApplyError, match=rf"documents\.yaml{said}"):
        await asyncio.to_thread(run, text)


async def test_an_ambiguous_name_is_refused(run: Callable[..., list[Applied]], api: Api) -> None:
    for _ in range(2):
        await api.create("/clients", client_name="Twin", redirect_uris=["https://twin.example/callback"])
    with pytest.raises(ApplyError, match="2 of kind Client have this client_name: give one a short_name"):
        await asyncio.to_thread(run, "kind: Client\nclient_name: Twin\nredirect_uris: [https://twin.example/c]\n")


async def test_wrong_credentials_and_a_dead_address_are_said_plainly(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "documents.yaml"
    file.write_text("kind: User\nusername: apply-y\n")
    for url, token, said in [(platform.issuer, "ww_x.y", "documents.yaml:1"), ("http://127.0.0.1:1", "x", "no answer")]:
        steps = apply.apply(apply.read(file), url=url, token=token)
        with pytest.raises(ApplyError, match=said):
            await asyncio.to_thread(list, steps)


async def test_the_command_reads_access_json(platform: Platform, tmp_path: Path, canary: Canary) -> None:
    (tmp_path / "access.json").write_text(
        json.dumps({"issuer": platform.issuer, "admin_token": platform.admin.admin_token})
    )
    (tmp_path / "users.yaml").write_text("kind: User\nusername: apply-grace\n")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("watchword")),
        *["apply", "--json"],
        *["--data-dir", str(tmp_path), "-f", str(tmp_path / "users.yaml")],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["result"] == "created"
