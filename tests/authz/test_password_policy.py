"""Which passwords people may choose, with a list of stolen ones that answers over HTTP as the real one does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from watchword_authz.password_policy import PasswordPolicy
from watchword_events.exports import UserExport
from watchword_testkit.http import http_client

USER = UserExport(
    id="u", username="ada-lovelace", email="countess@analytical.test", claims={"name": "Ada Lovelace"}, claims_version=1
)
GOOD = "quiet lantern over seven hills"
GREEK = "μῆνιν ἄειδε θεὰ Πηληϊάδεω"
STOLEN = "velvet otter plays the trombone"
PADDING = "orchid ladder beneath a comet"


@dataclass
class StolenPasswords:
    """A range API. asked: the paths of its requests.  silent: it answers no more.  status: with which it does."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    silent: bool = False
    status: int = 200

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.asked.append(path)
        assert "add-padding: true" in head.lower()
        if self.silent:
            await asyncio.sleep(30)
        digests = {hashlib.sha1(each.encode()).hexdigest().upper(): n for each, n in ((STOLEN, 7), (PADDING, 0))}
        prefix = path.rpartition("/")[2]
        lines = [f"{digest[5:]}:{n}" for digest, n in digests.items() if digest.startswith(prefix)]
        body = "\r\n".join(["0" * 35 + ":3", *lines]).encode()
        writer.write(
            f"HTTP/1.1 {self.status} X\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def stolen() -> AsyncIterator[StolenPasswords]:
    """One of the test's own."""
    made = StolenPasswords()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/range"
    yield made
    server.close()


def policy(url: str = "") -> PasswordPolicy:
    return PasswordPolicy(http_client(), min_length=15, breaches_url=url)


@pytest.mark.spec("NIST SP 800-63B-4 3.1.1.2")
async def test_what_is_easy_to_guess_is_not_taken() -> None:
    """Short, common, repeated, or made of what is known of the person."""
    rules = policy()
    for password in (
        "short", "passwordpassword", "aaaaaaaaaaaaaaaaaaaa", "123456789012345678", "qwertyuiopasdfghjkl",
        "ada-lovelaceada-lovelace", "countess@analytical.test", "x" * 1025,
    ):  # fmt: skip
        assert await rules.complaint(password, USER), password
    for password in (GOOD, GREEK, GOOD * 30):
        assert await rules.complaint(password, USER) is None, password


async def test_what_was_stolen_is_not_taken(stolen: StolenPasswords) -> None:
    """The list learns five digits of the hash; lines that pad its answer are none."""
    rules = policy(stolen.url)
    assert "stolen" in (await rules.complaint(STOLEN, USER) or "")
    assert await rules.complaint(GOOD, USER) is None
    assert await rules.complaint(PADDING, USER) is None
    assert stolen.asked == [
        f"/range/{hashlib.sha1(each.encode()).hexdigest()[:5].upper()}" for each in (STOLEN, GOOD, PADDING)
    ]


async def test_a_list_that_does_not_answer_turns_nobody_away_and_is_told(
    stolen: StolenPasswords, log_lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchword_authz.password_policy._ANSWER_S", 0.1)
    rules = policy(stolen.url)
    stolen.status = 503
    assert await rules.complaint(STOLEN, USER) is None
    stolen.silent = True
    assert await rules.complaint(STOLEN, USER) is None
    assert await policy("http://127.0.0.1:1/range").complaint(STOLEN, USER) is None
    said = [line["error"] for line in log_lines if line["event"] == "password.breaches_not_asked"]
    assert said == ["HTTPStatusError", "TimeoutError", "ConnectError"]


async def test_nobody_is_asked_unless_told_to(stolen: StolenPasswords) -> None:
    assert await policy().complaint(STOLEN, USER) is None
    assert stolen.asked == []
