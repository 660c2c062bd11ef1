"""`watchword keys` and `watchword revoke` against a running installation."""

import asyncio
import json
import os
import pty
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from watchword.cli import app
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(platform: Platform) -> Run:
    """The command as an administrator types it: exit code, output, complaints."""

    async def typed(*words: str, token: str | None = None) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "watchword"),
            *words,
            "--url",
            platform.issuer,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "WATCHWORD_ADMIN_TOKEN": token or platform.admin.admin_token},
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    return typed


async def test_keys_are_listed_rotated_and_revoked(run: Run) -> None:
    code, table, _ = await run("keys", "list")
    assert code == 0
    assert table.splitlines()[0].split()[:4] == ["kid", "use", "alg", "state"]
    code, out, _ = await run("keys", "rotate", "--alg", "EdDSA", "--json")
    (made,) = json.loads(out)
    assert (code, made["state"], made["alg"]) == (0, "next", "EdDSA")
    code, out, err = await run("keys", "revoke", made["kid"], "--wait", "--yes")
    assert (code, out) == (0, f"revoked {made['kid']}\n"), err
    code, _, err = await run("keys", "revoke", made["kid"], "--yes")
    assert code == 1
    assert "Already revoked" in err
    code, _, err = await run("keys", "revoke", "-kid-that-begins-with-a-dash", "--yes")
    assert code == 1
    assert "Usage" not in err


async def test_a_scim_token_is_made_looked_at_and_revoked(run: Run, platform: Platform, canary: Canary) -> None:
    api = platform.api(canary)
    short = f"acme-{secrets.token_hex(4)}"
    await api.create("/organizations", short_name=short, name="Acme")
    code, out, _ = await run("scim", "create", "entra", "--organization", short)
    assert code == 0
    canary.add("SCIM token", token := out.strip())
    token_id = token.partition(".")[0]
    code, out, _ = await run("scim", "list", "--json")
    assert [each["name"] for each in json.loads(out) if each["id"] == token_id] == ["entra"]
    assert await run("scim", "failures", token_id, "--json") == (0, "[]\n", "")
    code, out, _ = await run("scim", "revoke", token_id, "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"revoked": token_id})
    assert (await run("scim", "failures", token_id))[0] == 1


async def test_what_would_end_is_counted_and_then_ended_everywhere(run: Run, platform: Platform) -> None:
    user = await platform.api().call("POST", "/users", {"username": "revoked-rita", "name": "Rita"})
    rita = user.json()["id"]
    code, out, _ = await run("revoke", "--user", rita, "--dry-run", "--json")
    assert (code, json.loads(out)["grants"]) == (0, 0)
    code, out, _ = await run("revoke", "--all", "--dry-run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:4]] == ["grants", "sessions", "users", "clients"]
    code, out, err = await run("revoke", "--user", rita, "--wait")
    assert code == 0, err
    assert out.startswith(f"revoked sub {rita} (entry ")
    assert out.endswith("everywhere\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(("revoke",), "exactly one", id="nothing"),
        pytest.param(("revoke", "--all", "--user", "x"), "exactly one", id="two things"),
        pytest.param(("rules", "dry-run"), "--file", id="no rules"),
        pytest.param(("rules", "dry-run", "--without", "acme/unknown"), "no rule acme/unknown", id="no such rule"),
        pytest.param(("keys", "rotate", "--alg", "HS256"), "not valid", id="no such algorithm"),
        pytest.param(("keys", "revoke", "unknown", "--yes"), "No such key", id="no such key"),
    ],
)
async def test_what_is_refused_is_said(run: Run, words: tuple[str, ...], complaint: str) -> None:
    code, _, err = await run(*words)
    assert code == 1
    assert complaint in err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("revoke", "--all"), id="everything"),
        pytest.param(("keys", "rotate", "--revoke"), id="the keys in use"),
        pytest.param(("keys", "rotate", "--revoke", "--sessions"), id="the keys in use and sessions"),
        pytest.param(("keys", "revoke", "unknown"), id="one key"),
    ],
)
async def test_what_ends_much_is_not_done_unasked(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = await run(*words)
    assert (code, out) == (1, "")
    assert "say --yes" in err
    assert (await run("keys", "list"))[0] == 0, "the key of this command is alive"


@pytest.fixture
async def laggard(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[str]:
    """A verifier that says that it follows, and has applied nothing."""
    machine = {"grant_types": ["client_credentials"], "redirect_uris": [], "scope": "revocations:read"}
    client = await Party.registered(api, platform.issuer, canary, **machine)
    token = (await client.tokens(grant_type="client_credentials"))["access_token"]
    report = {
        "name": "laggard", "instance": "one", "audience": "https://laggard.test", "position": 0,
        "staleness_bound_s": 300, "policy": "accept",
    }  # fmt: skip
    async with http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        receipts = f"{platform.issuer}/revocations/receipts"
        assert (await http.post(receipts, json=report)).status_code == 200
        yield f"{client.client_id}:laggard"
        assert (await http.delete(f"{receipts}/one")).status_code == 204


async def test_who_is_behind_is_named_and_the_command_fails(run: Run, laggard: str) -> None:
    waiting = ("revoke", "--token-id", secrets.token_hex(8), "--wait", "--timeout-s", "1")
    code, out, err = await run(*waiting)
    assert (code, out) == (1, "")
    assert laggard in err
    code, out, err = await run(*waiting, "--json")
    assert (code, json.loads(out)["complete"]) == (1, False)
    assert laggard in err
    for option in ((), ("--json",)):
        (made,) = json.loads((await run("keys", "rotate", "--alg", "EdDSA", "--json"))[1])
        code, out, err = await run("keys", "revoke", made["kid"], "--wait", "--yes", *option)
        assert code == 1
        assert (json.loads(out)["complete"] is False) if option else not out
        assert laggard in err


async def test_a_wrong_key_is_said(run: Run) -> None:
    code, _, err = await run("keys", "list", token="ww_wrong.key")
    assert code == 1
    assert "Not signed in" in err


# Every command that tells what there is, with what it needs to be told.
LISTINGS = {
    "audit list": (),
    "audit verify": (),
    "clients list": (),
    "clients show": ("watchword-console",),
    "export": ("--kind", "Role"),
    "keys list": (),
    "providers list": (),
    "providers presets": (),
    "rules list": (),
    "scim list": (),
    "users list": (),
    "users show": ("admin",),
}
# They tell what they did, or look at files of the machine that they run on: tested where they are.
OTHERS = {
    "admin invite", "admin key", "admin reset", "apply", "audit export", "clients create", "clients delete",
    "clients disable", "clients enable", "doctor", "drift", "events dead", "events forget", "events grant",
    "events list", "events retry", "events revoke",
    "events tail", "keys revoke", "keys rotate", "login", "master-key status", "plan", "providers create",
    "providers delete", "providers dependents", "providers disable", "providers enable", "providers show",
    "providers test", "restore", "revoke", "rules dry-run", "scim create", "scim failures", "scim revoke",
    "users create", "users delete", "users disable", "users enable",
}  # fmt: skip


def test_every_command_of_the_list_is_there_and_says_json() -> None:
    commands = dict(_commands(typer.main.get_command(app)))
    said = {name for name, command in commands.items() if any("--json" in each.opts for each in command.params)}
    assert said == {*LISTINGS, *OTHERS}
    there = set(commands)
    assert there >= {"up", "serve", "apply", "plan", "export", "drift", "login", "revoke", "doctor"}
    assert there >= {"events tail", "admin invite", "admin reset"}
    options = {name for parameter in typer.main.get_command(app).params for name in parameter.opts}
    assert options >= {"--install-completion", "--show-completion"}


def test_the_version_is_that_of_the_distribution(capfd: pytest.CaptureFixture[str]) -> None:
    assert app(["--version"], standalone_mode=False) == 0
    assert capfd.readouterr().out == f"watchword {version('watchword')}\n"


async def test_every_listing_is_json_for_scripts(run: Run) -> None:
    async def listed(words: str) -> str:
        code, out, err = await run(*words.split(), *LISTINGS[words], "--json")
        if code != 0:
            return f"{words}: {err}"
        found = json.loads(out)
        return "" if isinstance(found, dict | list) else f"{words}: {out}"

    wrong = [await listed(words) for words in LISTINGS]
    assert [each for each in wrong if each] == []


async def test_events_are_followed_as_they_happen(run: Run, platform: Platform) -> None:
    following = asyncio.create_task(run("events", "tail", "--types", "user.provisioned", "--count", "1", "--json"))
    made: set[str] = set()
    while not following.done():  # until the program is there to hear it
        user = await platform.api().create("/users", username=f"tailed-{len(made)}-{os.urandom(4).hex()}")
        made.add(str(user["id"]))
        await asyncio.wait([following], timeout=0.5)
    code, out, err = following.result()
    assert code == 0, err
    event = json.loads(out)
    assert event["type"] == "user.provisioned"
    assert event["data"]["id"] in made


def _commands(command: object, name: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Every command with its name, those of groups included."""
    if isinstance(command, TyperGroup):
        for each, below in command.commands.items():
            yield from _commands(below, f"{name} {each}".strip())
    elif isinstance(command, TyperCommand):
        yield name, command


@pytest.mark.parametrize("stdout_is", ["file", "terminal"])
def test_what_is_printed_while_it_goes_on_reaches_its_reader(tmp_path: Path, stdout_is: str) -> None:
    """The spinner is the terminal's; a file gets the output, all of it and nothing else."""
    program = (
        "import time; from watchword.commands import remote; remote._PATIENCE_S = 0.01\n"
        "with remote.progress('Applying'): time.sleep(0.5); remote.say('[one] line')"
    )
    ours, theirs = pty.openpty()
    with (tmp_path / "out").open("wb") as out:
        stdout = theirs if stdout_is == "terminal" else out
        subprocess.run([sys.executable, "-c", program], stdin=theirs, stdout=stdout, stderr=theirs, check=True)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "Applying" in shown
    if stdout_is == "terminal":
        assert "[one] line" in shown
    else:
        assert (tmp_path / "out").read_text() == "[one] line\n"
        assert "[one] line" not in shown


class Pages(BaseHTTPRequestHandler):
    """An API of many small pages, each in a moment."""

    def do_GET(self) -> None:
        _, _, number = self.path.partition("cursor=")
        time.sleep(0.1)
        body = json.dumps({"items": [{"id": number}], "next": str(int(number or 0) + 1) if number != "19" else None})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Not where the tests write."""


@pytest.mark.parametrize("stderr_is", ["file", "terminal"])
def test_a_list_of_many_quick_pages_says_that_it_goes_on(tmp_path: Path, stderr_is: str) -> None:
    """Each page is there at once, and all of them take long."""
    ours, theirs = pty.openpty()
    program = (
        "from pathlib import Path; from watchword.commands import remote; remote._PATIENCE_S = 0.5\n"
        "with remote.remote(Path('.'), 'http://127.0.0.1:{}', 'key') as found: print(len(found.items('/users')))"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server, (tmp_path / "err").open("wb") as file:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        command = [sys.executable, "-c", program.format(server.server_port)]
        stderr = theirs if stderr_is == "terminal" else file
        done = subprocess.run(command, stdin=theirs, stdout=subprocess.PIPE, stderr=stderr, check=True)
        server.shutdown()
        thread.join()
    assert done.stdout == b"20\n"
    os.write(theirs, b".")  # something to read, where nothing was shown
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert ("so far" in shown) == (stderr_is == "terminal"), shown
    assert (tmp_path / "err").read_bytes() == b""


async def test_files_without_a_document_are_no_success(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    for command in ("apply", "plan", "drift"):
        code, out, err = await run(command, "-f", str(tmp_path))
        assert (code, out) == (1, "")
        assert "there is no document" in err
