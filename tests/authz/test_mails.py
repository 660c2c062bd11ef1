"""A mail that is tried out: whose address it goes to, and what is told when the server does not take it."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from tests.authz.conftest import ISSUER, Rig, running
from tests.authz.test_api import call, token
from tests.authz.test_reset import FROM, Post, text_of

from watchword_authz import mails
from watchword_authz.mail_server import MailServer
from watchword_authz.mails import Mails, NotSent
from watchword_authz.settings import AuthzSettings
from watchword_database.engine import transaction
from watchword_events.names import Service
from watchword_runtime.seal import SecretSeal
from watchword_runtime.settings import load
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres
from watchword_web.branding import Branding
from watchword_web.texts import Text, Words

Say = Callable[[str], str]

USERNAME, PASSWORD = "watch@relay.test", "Ein-Geheimnis?"
FORMS = (
    PASSWORD,
    b64encode(PASSWORD.encode()).decode(),
    b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode(),
)
HELLO = "250-here\r\n250 AUTH PLAIN"


def saying(**answers: str) -> Say:
    """What a mail server answers, by the first word of a line; it takes everything else, and content in silence."""
    said = {
        "EHLO": HELLO, "AUTH": "235 welcome", "MAIL": "250 go on", "RCPT": "250 go on", "DATA": "354 go on",
        ".": "250 kept", "RSET": "250 forgotten", "QUIT": "221 bye", **answers,
    }  # fmt: skip
    return lambda line: said.get(line.partition(" ")[0], "").replace("<line>", line)


@asynccontextmanager
async def mail_server(say: Say, greeting: str = "220 here") -> AsyncIterator[int]:
    """A server on a port of its own that greets, and answers line by line; without a greeting it says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = greeting
        while True:
            if answer:
                writer.write(f"{answer}\r\n".encode(errors="surrogateescape"))
                await writer.drain()
            line = await reader.readline()
            if not line:
                break
            answer = say(line.decode().rstrip("\r\n"))
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def mails_to(rig: Rig, **changes: Any) -> Mails:
    """Mails that are submitted at a port of this machine."""
    settings = load(AuthzSettings, **rig.site.settings(ISSUER, {})[Service.AUTHZ])
    given = {
        "host": "127.0.0.1",
        "port": 587,
        "security": "none",
        "username": USERNAME,
        "password": SecretStr(PASSWORD),
    }
    sender = changes.pop("sender", FROM)
    return Mails(
        rig.db(),
        SecretSeal(settings.keyring.key("authenticators"), rig.db()),
        rig.clock,
        server=MailServer(**(given | changes)),
        sender=sender,
        branding=Branding("/static/brand"),
        public_url=ISSUER,
    )


async def try_out(tried: Mails) -> None:
    words = Words("en", ["watchword_authz"])
    await tried.try_out("ann@demo.test", Text("A test message"), [Text("Sign in again")], words=words)


async def test_a_server_that_takes_everything_is_no_trouble(rig: Rig) -> None:
    async with mail_server(saying()) as port:
        await try_out(mails_to(rig, port=port))


@pytest.mark.parametrize(
    ("answers", "greeting", "told"),
    [
        ({}, "554 not from you", "554 not from you"),
        ({}, "HTTP/1.1 400 Bad Request", "^Malformed SMTP response"),
        ({}, "", "imed out|no answer"),
        ({"EHLO": "550 leave", "HELO": "550 leave"}, "220 here", "550 leave"),
        ({"MAIL": "550 5.7.1 no such sender"}, "220 here", "550 5.7.1 no such sender"),
        ({"RCPT": "550 5.1.1 nobody of this name"}, "220 here", "550 5.1.1 nobody of this name"),
        ({".": "554 5.7.1 looks like spam"}, "220 here", "554 5.7.1 looks like spam"),
        ({"RCPT": "550-first\r\n550 \x1b[31msecond\u202e\udcff"}, "220 here", r"550 first \[31msecond"),
        ({"RCPT": "550 " + "x" * 2000}, "220 here", "550 x{496}"),
        ({"AUTH": "535 5.7.8 <line>"}, "220 here", "535 5.7.8 AUTH PLAIN …"),
        ({"EHLO": "250-here\r\n250 AUTH LOGIN", "AUTH": "334 UGFzc3dvcmQ6", FORMS[1]: f"535 <line> {PASSWORD}"},
         "220 here", "535 … …"),
        ({"EHLO": "250 here"}, "220 here", ".+"),
    ],
    ids=[
        "turns us away", "speaks something else", "says nothing", "does not know us", "refuses the sender",
        "refuses the recipient", "refuses the content", "says several lines", "says too much",
        "repeats the credential", "repeats the password", "takes no credential",
    ],
)  # fmt: skip
async def test_what_a_server_says_is_told_and_never_the_password(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], greeting: str, told: str
) -> None:
    if not greeting:
        monkeypatch.setattr(mails, "_TRY_WITHIN_S", 0.3)
    async with mail_server(saying(**answers), greeting) as port:
        with pytest.raises(NotSent, match=told) as failed:
            await try_out(mails_to(rig, port=port))
    answer = failed.value.answer
    assert not any(form in answer for form in FORMS)
    assert answer.isprintable()
    assert len(answer) <= 500


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"security": "starttls"}, "STARTTLS"),
        ({"security": "tls"}, ".+"),
        ({"port": 1}, "port 1"),
        ({"host": "nowhere.invalid"}, "nowhere.invalid"),
        ({"sender": "@nobody"}, ".+"),
    ],
    ids=["no STARTTLS", "no TLS", "nobody listens", "no such host", "a sender that is no address"],
)
async def test_what_is_in_the_way_to_a_server_is_told(rig: Rig, changes: dict[str, object], told: str) -> None:
    async with mail_server(saying()) as port:
        with pytest.raises(NotSent, match=told):
            await try_out(mails_to(rig, **{"port": port, **changes}))


@pytest.fixture(scope="module")
async def mailing(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Rig, Post]]:
    """An authz that sends mail, and what arrives."""
    post = Post()
    home = tmp_path_factory.mktemp("mails")
    async with (
        post.served() as mail,
        running(postgres, database_template, home, TestClock(), Canary(), mail_from=FROM, **mail) as rig,
    ):
        yield rig, post


async def test_a_test_message_goes_to_the_callers_own_address(mailing: tuple[Rig, Post]) -> None:
    rig, post = mailing
    user = rig.user(roles=["administrator"], claims={"locale": "de"})
    shown = (await call(rig, "GET", "/mail", token(rig, user))).json()
    assert (shown["host"], shown["security"], shown["sender"], shown["to"]) == ("127.0.0.1", "none", FROM, user.email)
    assert "password" not in str(shown)
    answer = await call(rig, "POST", "/mail/test", token(rig, user))
    assert answer.json() == {"to": user.email, "sent": True, "answer": None}
    (mail,) = await post.to(user.email)
    assert mail["Content-Language"] == "de"
    assert mail["Subject"] == "Eine Probenachricht"
    assert user.username in text_of(mail)


@pytest.mark.parametrize(
    ("params", "body", "status"),
    [({"to": "eve@evil.test"}, None, 400), ({}, {"to": "eve@evil.test"}, 200), ({}, ["eve@evil.test"], 200)],
    ids=["as a parameter", "as a member", "as a list"],
)
async def test_nobody_chooses_where_it_goes(
    mailing: tuple[Rig, Post], params: dict[str, str], body: object, status: int
) -> None:
    rig, post = mailing
    user = rig.user(roles=["owner"])
    headers = {"Authorization": f"Bearer {token(rig, user)}"}
    answer = await rig.browser().client.post(f"{ISSUER}/api/v1/mail/test", params=params, json=body, headers=headers)
    assert answer.status_code == status
    if status == 200:
        await post.to(user.email)
    assert not any("evil" in str(mail["To"]) for mail in post.mails)


@pytest.mark.parametrize(
    "changes", [{"email": None, "email_verified": False}, {"email_verified": False}], ids=["no address", "not verified"]
)
async def test_an_address_that_nobody_proved_gets_none(mailing: tuple[Rig, Post], changes: dict[str, object]) -> None:
    rig, post = mailing
    user, before = rig.user(roles=["administrator"], **changes), len(post.mails)
    assert (await call(rig, "GET", "/mail", token(rig, user))).json()["to"] is None
    answer = await call(rig, "POST", "/mail/test", token(rig, user))
    assert (answer.status_code, answer.json()["title"]) == (409, "This cannot be sent")
    assert len(post.mails) == before


@pytest.mark.parametrize(
    ("role", "look", "test"), [("auditor", 200, 403), ("help-desk", 403, 403), ("owner", 200, 200)]
)
async def test_an_auditor_looks_and_sends_nothing(mailing: tuple[Rig, Post], role: str, look: int, test: int) -> None:
    rig, _ = mailing
    bearer = token(rig, rig.user(roles=[role]))
    assert (await call(rig, "GET", "/mail", bearer)).status_code == look
    assert (await call(rig, "POST", "/mail/test", bearer)).status_code == test


async def test_a_message_that_was_refused_is_not_tried_again(mailing: tuple[Rig, Post]) -> None:
    rig, post = mailing
    post.away, before = True, post.refused
    try:
        answer = await call(rig, "POST", "/mail/test")
    finally:
        post.away = False
    assert answer.status_code == 200
    assert (answer.json()["sent"], answer.json()["answer"]) == (False, "451 come back later")
    assert post.refused == before + 1
    async with transaction(rig.db()) as session:
        connection = await session.connection()
        assert (await connection.exec_driver_sql("SELECT count(*) FROM authz.mail")).scalar_one() == 0


async def test_somebody_tries_it_out_so_often_and_then_waits(mailing: tuple[Rig, Post]) -> None:
    rig, _ = mailing
    bearer = token(rig, rig.user(roles=["administrator"]))
    answers = [await call(rig, "POST", "/mail/test", bearer) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert (await call(rig, "POST", "/mail/test")).status_code == 200, "another person does not wait"


async def test_without_a_mail_server_nothing_is_tried(rig: Rig) -> None:
    assert (await call(rig, "GET", "/mail")).json()["host"] is None
    answer = await call(rig, "POST", "/mail/test")
    assert (answer.status_code, answer.json()["title"]) == (409, "There is no mail server")
