"""Other teams' programs: a granted key reads public events and can do nothing else; a revoked one can do nothing."""

import asyncio
import json
import re
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NoAnswer
from nats.js import JetStreamContext
from typer.testing import CliRunner

from watchword import teams
from watchword.cli import app
from watchword.embedded.nats import NatsServer
from watchword.grants import SLOTS, Grant, GrantRefused, added, grants_path, load_grants, without
from watchword.installation import BrokenInstallation, Installation, Operator
from watchword.nats_conf import FEED_STREAM
from watchword.provision import connected, ensure_readers, provision
from watchword.teams import NotInForce, Place, embedded_text
from watchword_events.catalogue import CATALOGUE
from watchword_events.names import Service
from watchword_events.teams import EVENTS_API, EVENTS_DOMAIN, EVENTS_STREAM, copied_subjects, matches, public_subjects

DISABLED = "auth.directory.user.disabled"
ROTATED = "auth.token.key.rotated"


def now() -> datetime:
    """The clock of a grant."""
    return datetime.now(UTC)


class Site:
    """A data directory as `watchword up` keeps it, with its nats-server and a provisioner's connection."""

    def __init__(self, data: Path) -> None:
        self.data, self.installation = data, Installation.drawn()
        self.installation.save(data / "secrets")
        self.server = NatsServer(
            data / "nats",
            configuration=lambda port: embedded_text(data, port)(self.installation, self.place.grants),
            log=data / "run" / "nats.log",
        )

    @property
    def place(self) -> Place:
        """What the command makes of the data directory."""
        running = self.server.port != 0
        return Place(
            self.data / "secrets",
            (self.server.url,) if running else (),
            self.data / "nats" / "nats.conf" if running else None,
            embedded_text(self.data, self.server.port),
        )

    async def grant(self, name: str, *subjects: str, feed: bool = False, since: datetime | None = None) -> Grant:
        """A granted program."""
        made, _ = await teams.grant(self.place, name, subjects=subjects, feed=feed, since=since, now=now())
        return made

    @asynccontextmanager
    async def team(self, name: str, *, seed: str | None = None) -> AsyncIterator[tuple[Client, list[str]]]:
        """A connection with a granted key, and what it was denied."""
        key = seed or (self.data / "secrets" / "teams" / f"{name}.nkey").read_text()
        async with self._connected(key) as found:
            yield found

    @asynccontextmanager
    async def service(self, service: Service) -> AsyncIterator[Client]:
        """A connection as a service."""
        async with self._connected(self.installation.seeds[service], f"_INBOX_{service}") as (client, _):
            yield client

    @asynccontextmanager
    async def _connected(self, seed: str, inbox: str = "_INBOX") -> AsyncIterator[tuple[Client, list[str]]]:
        denied: list[str] = []

        async def note(error: Exception) -> None:
            denied.append(str(error).lower())

        client = await nats.connect(
            self.server.url,
            nkeys_seed_str=seed,
            inbox_prefix=inbox.encode(),
            error_cb=note,
            allow_reconnect=False,
            max_reconnect_attempts=0,
        )
        try:
            yield client, denied
        finally:
            await client.close()

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[JetStreamContext]:
        """JetStream as the provisioner sees it."""
        async with connected([self.server.url], self.installation.seeds[Operator.PROVISION]) as client:
            yield client.jetstream()

    async def happened(self, subject: str, id_: str, service: Service | None = None) -> None:
        """An event was published by its owner, and EVENTS has its copy."""
        owner = service or Service(subject.split(".")[1])
        headers = {"Nats-Msg-Id": f"{subject}/{id_}", "ce-id": f"{subject}/{id_}"}
        async with self.service(owner) as client:
            ack = await client.jetstream().publish(
                subject, json.dumps({"id": id_}).encode(), stream=owner.stream, headers=headers
            )
        assert ack.seq
        async with self.streams() as js:
            await eventually(lambda: copied(js, f"{subject}/{id_}"))

    async def state(self) -> dict[str, tuple[int, int, frozenset[str]]]:
        """What an attacker could change: each stream's messages, first sequence and consumers."""
        found = {}
        async with self.streams() as js:
            for info in await js.streams_info():
                name = str(info.config.name)
                consumers = [each.config.durable_name for each in await js.consumers_info(name)]
                found[name] = (info.state.messages, info.state.first_seq, frozenset(filter(None, consumers)))
        return found


async def copied(js: JetStreamContext, id_: str) -> bool:
    """Whether EVENTS ends with the event, or has it among its last."""
    last = (await js.stream_info(EVENTS_STREAM)).state.last_seq
    for sequence in range(last, max(0, last - 20), -1):
        if ((await js.get_msg(EVENTS_STREAM, sequence)).headers or {}).get("ce-id") == id_:
            return True
    return False


async def eventually(is_so: Callable[[], object], within_s: float = 30) -> None:
    """Returns when the function, or the coroutine that it returns, says yes."""
    async with asyncio.timeout(within_s):
        while True:
            found = is_so()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """An installation with two grants that see everything, `billing` and `crm`."""
    made = Site(tmp_path_factory.mktemp("site") / "data")
    made.server.start()
    async with made.streams() as js:
        await provision(js)
    await made.grant("billing")
    await made.grant("crm")
    await made.happened(DISABLED, "before")
    yield made
    made.server.stop()


@pytest.fixture
async def own_site(tmp_path: Path) -> AsyncIterator[Site]:
    """An installation of the test's own, without grants."""
    made = Site(tmp_path / "data")
    made.server.start()
    async with made.streams() as js:
        await provision(js)
    yield made
    made.server.stop()


async def read_again(client: Client, **question: object) -> list[Msg]:
    """The answers to one question for stored events."""
    inbox = client.new_inbox()
    heard = await client.subscribe(inbox)
    ask = {"next_by_subj": "auth.>", "batch": 100, **question}
    await client.publish(f"{EVENTS_API}.DIRECT.GET.{EVENTS_STREAM}", json.dumps(ask).encode(), reply=inbox)
    found = []
    while True:
        message = await heard.next_msg(20)
        if (message.headers or {}).get("Status"):
            return found
        found.append(message)


# what a grant is for -------------------------------------------------------------------------------------------------


async def test_a_team_hears_what_happens(site: Site) -> None:
    async with site.team("billing") as (client, denied):
        heard = await client.subscribe("auth.>")
        narrow = await client.subscribe("auth.token.key.*")
        await client.flush()
        await site.happened(ROTATED, "heard")
        assert json.loads((await heard.next_msg(20)).data) == {"id": "heard"}
        assert ((await narrow.next_msg(20)).headers or {})["ce-id"] == f"{ROTATED}/heard"
        assert denied == []


async def test_its_consumer_keeps_its_place_until_it_acknowledges(own_site: Site) -> None:
    await own_site.happened(DISABLED, "before the grant")
    await own_site.grant("billing")
    await own_site.happened(DISABLED, "one")
    await own_site.happened(ROTATED, "two")
    async with own_site.team("billing") as (client, _):
        fetching = await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
        first, second = await fetching.fetch(2, timeout=20)
        assert [json.loads(each.data)["id"] for each in (first, second)] == ["one", "two"]
        await first.ack_sync()
        await second.nak()
    async with own_site.team("billing") as (client, _):
        fetching = await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
        (again,) = await fetching.fetch(1, timeout=20)
        assert json.loads(again.data) == {"id": "two"}


async def test_events_are_read_again_from_a_time(own_site: Site) -> None:
    await own_site.grant("billing")
    await own_site.happened(DISABLED, "early")
    await asyncio.sleep(0.05)
    then = now()
    for number in range(3):
        await own_site.happened(ROTATED, f"late {number}")
    async with own_site.team("billing") as (client, _):
        late = await read_again(client, start_time=then.isoformat())
        assert [json.loads(each.data)["id"] for each in late] == ["late 0", "late 1", "late 2"]
        assert {(each.headers or {})["Nats-Subject"] for each in late} == {ROTATED}
        everything = await read_again(client, start_time="2020-01-01T00:00:00Z", batch=2)
        assert [json.loads(each.data)["id"] for each in everything] == ["early", "late 0"]
        follows = int((everything[-1].headers or {})["Nats-Sequence"]) + 1
        assert len(await read_again(client, seq=follows)) == 2
        assert await read_again(client, start_time="2100-01-01T00:00:00Z") == []


async def test_a_grant_may_begin_in_the_past(own_site: Site) -> None:
    await own_site.happened(DISABLED, "before the grant")
    await own_site.grant("billing", since=now() - timedelta(hours=1))
    async with own_site.team("billing") as (client, _):
        fetching = await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
        assert json.loads((await fetching.fetch(1, timeout=20))[0].data) == {"id": "before the grant"}


async def test_a_narrow_grant_sees_its_subjects_alone(own_site: Site) -> None:
    await own_site.grant("keys-only", "auth.token.key.*")
    async with own_site.team("keys-only") as (client, denied):
        for wider in ("auth.>", "auth.*.*.*", "auth.token.>", DISABLED):
            await client.subscribe(wider)
        await client.flush()
        await eventually(lambda: len(denied) == 4)
        with pytest.raises(NoAnswer):  # the question would name what it wants, where permissions do not look
            await client.request(f"{EVENTS_API}.DIRECT.GET.{EVENTS_STREAM}", b'{"seq": 1}', timeout=0.5)
        heard = await client.subscribe("auth.token.key.*")
        await client.flush()
        await own_site.happened(DISABLED, "hidden")
        await own_site.happened(ROTATED, "shown")
        assert json.loads((await heard.next_msg(20)).data) == {"id": "shown"}
        fetching = await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("keys-only", EVENTS_STREAM)
        (only,) = await fetching.fetch(5, timeout=2)
        assert json.loads(only.data) == {"id": "shown"}


async def test_the_feed_is_for_those_that_asked_for_it(site: Site) -> None:
    await site.grant("verifier", feed=True)
    async with site.team("verifier") as (client, denied), site.service(Service.TOKEN) as token:
        feed, keys = await client.subscribe("feed.revocation"), await client.subscribe("auth.token.key.*")
        await client.flush()
        await token.jetstream().publish("feed.revocation", b"entry", stream=FEED_STREAM)
        await site.happened(ROTATED, "for the verifier")
        assert (await feed.next_msg(20)).data == b"entry"
        assert json.loads((await keys.next_msg(20)).data) == {"id": "for the verifier"}
        assert denied == []
        await client.publish("feed.revocation", b"forged")
        await client.subscribe("auth.>")
        await eventually(lambda: len(denied) == 2)


def test_what_is_copied_is_what_is_public() -> None:
    for row in CATALOGUE:
        copied_here = any(stream == row.owner.stream and matches(of, row.subject) for stream, of in copied_subjects())
        assert copied_here == row.public
    assert set(public_subjects()) == {row.subject for row in CATALOGUE if row.public}


@pytest.mark.parametrize(
    ("pattern", "subject", "is_so"),
    [
        ("auth.>", DISABLED, True),
        ("auth.*.user.*", DISABLED, True),
        (DISABLED, DISABLED, True),
        ("auth.directory.>", ROTATED, False),
        ("auth.*", DISABLED, False),
        ("auth.directory.user.disabled.>", DISABLED, False),
        ("*.*.*", DISABLED, False),
    ],
)
def test_a_pattern_matches_as_nats_does(pattern: str, subject: str, is_so: bool) -> None:
    assert matches(pattern, subject) is is_so


# what it may not do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(DISABLED, id="an event"),
        pytest.param("auth.token.key.rotated", id="another event"),
        pytest.param("auth.thing", id="no event"),
        pytest.param("feed.revocation", id="a revocation"),
        pytest.param("sys.token.outbox", id="a hint"),
        pytest.param("_INBOX_token.x", id="an answer to a service"),
        pytest.param("_R_.x.y", id="an answer across accounts"),
        pytest.param("$JS.ACK.AUTH_TOKEN.authz-key.1.1.1.1.1", id="a service's acknowledgement"),
        pytest.param("$JS.ACK.EVENTS.crm.1.1.1.1.1", id="another team's acknowledgement"),
        pytest.param("$JS.FC.EVENTS.x", id="flow control"),
        pytest.param("$SYS.REQ.SERVER.PING", id="the system"),
    ],
)
async def test_it_publishes_nothing(site: Site, subject: str) -> None:
    before = await site.state()
    async with site.team("billing") as (client, denied), site.streams() as js:
        everything = await js._nc.subscribe(">")
        await js._nc.flush()
        if subject.startswith("_R_"):  # reserved: who tries is told so, or disconnected
            await client.publish(subject, b"forged")
        else:
            await client.publish(subject, b"forged", headers={"ce-id": "forged"})
        await eventually(lambda: denied)
        with pytest.raises(NoAnswer):
            while (await everything.next_msg(0.2)).data != b"forged":
                pass
    assert await site.state() == before


@pytest.mark.parametrize(
    "subject",
    ["sys.>", "feed.>", "feed.revocation", ">", "*", "_INBOX_token.>", "_INBOX_provision.>", "_R_.>", "$JS.API.>",
     "$JS.>", "$JS.ACK.>", "$SYS.>", "$KV.>", "$JS.EVENT.ADVISORY.>", "deliver.>"],
)  # fmt: skip
async def test_it_listens_to_nothing_else(site: Site, subject: str) -> None:
    async with site.team("billing") as (client, denied):
        await client.subscribe(subject)
        await eventually(lambda: denied)
        assert f'subscription to "{subject.lower()}"' in denied[0]


async def test_nobody_hears_anothers_answers(site: Site) -> None:
    async with site.team("billing") as (spy, denied), site.team("crm") as (crm, _):
        heard = await spy.subscribe("_INBOX.>")
        await spy.flush()
        assert await read_again(crm, start_time="2020-01-01T00:00:00Z")
        async with site.streams() as js:
            await js.account_info()
        async with site.service(Service.TOKEN) as token:
            await token.jetstream().stream_info(Service.TOKEN.stream)
        with pytest.raises(NoAnswer):
            await heard.next_msg(0.3)
        assert denied == []


CALLS = [
    "INFO",
    "STREAM.LIST",
    "STREAM.NAMES",
    "STREAM.CREATE.LOOT",
    *[
        f"{call}.{stream}"
        for stream in (Service.DIRECTORY.stream, FEED_STREAM, EVENTS_STREAM)
        for call in ("STREAM.INFO", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.GET",
                     "STREAM.MSG.DELETE", "STREAM.SNAPSHOT", "CONSUMER.CREATE", "CONSUMER.LIST", "CONSUMER.NAMES")
    ],
    "DIRECT.GET.AUTH_DIRECTORY",
    "DIRECT.GET.FEED",
    "DIRECT.GET.EVENTS.auth.directory.user.disabled",
    "CONSUMER.CREATE.AUTH_DIRECTORY.spy.auth.>",
    "CONSUMER.DURABLE.CREATE.AUTH_DIRECTORY.spy",
    "CONSUMER.CREATE.EVENTS.billing",
    "CONSUMER.CREATE.EVENTS.billing.auth.>",
    "CONSUMER.DURABLE.CREATE.EVENTS.billing",
    "CONSUMER.DELETE.EVENTS.billing",
    "CONSUMER.DELETE.EVENTS.crm",
    "CONSUMER.PAUSE.EVENTS.crm",
    "CONSUMER.INFO.EVENTS.crm",
    "CONSUMER.MSG.NEXT.EVENTS.crm",
    "CONSUMER.DELETE.AUTH_DIRECTORY.token-user",
    "CONSUMER.MSG.NEXT.AUTH_DIRECTORY.token-user",
    "CONSUMER.INFO.AUTH_DIRECTORY.token-user",
]  # fmt: skip
ABUSE = json.dumps(
    {
        "name": "billing",
        "stream_name": EVENTS_STREAM,
        "seq": 1,
        "config": {"name": "billing", "durable_name": "billing", "deliver_subject": DISABLED, "ack_policy": "none"},
    }
).encode()


async def test_it_has_no_other_call_to_jetstream(site: Site) -> None:
    before = await site.state()
    async with site.team("billing") as (client, denied):
        subjects = [f"{prefix}.{call}" for call in CALLS for prefix in ("$JS.API", EVENTS_API, "$JS.watchword.API")]
        for subject in subjects:
            for body in (b"", ABUSE):
                await client.publish(subject, body, reply=client.new_inbox())
        await client.flush()
        await eventually(lambda: len(denied) == 2 * len(subjects))
        for subject in subjects:
            assert f'nats: permissions violation for publish to "{subject.lower()}"' in denied
    assert await site.state() == before


@pytest.mark.parametrize("where", [DISABLED, "feed.revocation", "sys.token.outbox", "$JS.API.STREAM.DELETE.AUTH_TOKEN"])
async def test_an_answer_cannot_be_sent_to_others(site: Site, where: str) -> None:
    """The server answers to where the asking says, beyond what the asker may publish: within its own account."""
    before = await site.state()
    async with (
        site.team("billing") as (client, _),
        site.team("crm") as (crm, _),
        site.team("crm") as (another, _),
        site.service(Service.TOKEN) as token,
        site.streams() as js,
    ):
        victims = [await crm.subscribe("auth.>"), await token.subscribe("auth.>"), await token.subscribe("sys.>")]
        victims += [await token.subscribe("feed.>"), await another.subscribe("_INBOX.>")]
        provisioner = await js._nc.subscribe(where)
        for each in (crm, another, token, js._nc):
            await each.flush()
        for call in ("DIRECT.GET.EVENTS", "CONSUMER.INFO.EVENTS.billing", "CONSUMER.MSG.NEXT.EVENTS.billing"):
            await client.publish(f"{EVENTS_API}.{call}", b'{"seq": 1}' if "GET" in call else b"", reply=where)
        await client.flush()
        for victim in (*victims, provisioner):
            with pytest.raises(NoAnswer):
                await victim.next_msg(0.2)
    assert await site.state() == before


async def test_one_team_cannot_use_up_the_connections(site: Site) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(NatsError, match="maximum account active connections"):
            for _ in range(12):
                await stack.enter_async_context(site.team("billing"))
        async with site.team("crm"), site.service(Service.TOKEN):
            pass


async def test_broad_subscriptions_do_not_use_up_the_limit(site: Site) -> None:
    async with site.team("crm") as (client, denied):
        waiting = [await client.subscribe("auth.>") for _ in range(150)]
        await client.flush()
        async with asyncio.timeout(30):
            while waiting:  # nats-server links a subscription to other accounts' subjects a moment after it is made
                await site.happened(ROTATED, secrets.token_hex(8))
                await asyncio.sleep(0.2)
                waiting = [each for each in waiting if not each.pending_msgs]
        assert denied == []


async def test_a_made_up_key_is_not_let_in(site: Site) -> None:
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        async with site.team("", seed=Installation.drawn().seeds[Operator.SYSTEM]):
            pass


# granting and revoking -----------------------------------------------------------------------------------------------


async def test_a_revoked_program_is_disconnected_and_nobody_else_is(own_site: Site) -> None:
    await own_site.grant("billing")
    await own_site.grant("crm")
    file = own_site.data / "secrets" / "teams" / "billing.nkey"
    seed = file.read_text()
    async with (
        own_site.service(Service.TOKEN) as token,
        own_site.team("crm") as (crm, _),
        own_site.team("billing") as (client, _),
    ):
        await teams.revoke(own_site.place, "billing")
        await eventually(lambda: client.is_closed)
        assert crm.is_connected
        assert token.is_connected
    assert not file.exists()
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        async with own_site.team("billing", seed=seed):
            pass
    assert (await own_site.state())[EVENTS_STREAM][2] == {"crm"}
    own_site.server.restart()
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        async with own_site.team("billing", seed=seed):
            pass

    await own_site.grant("billing", "auth.token.>")
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        async with own_site.team("billing", seed=seed):
            pass
    async with own_site.team("billing") as (client, _):
        await own_site.happened(ROTATED, "again")
        fetching = await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
        assert len(await fetching.fetch(1, timeout=20)) == 1


async def test_what_was_granted_while_the_server_was_down_holds_when_it_runs(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    await site.grant("billing")
    site.server.start()
    try:
        async with site.streams() as js:
            assert "billing" in await provision(js, grants=site.place.grants)
        async with site.team("billing") as (client, _):
            await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
        former = site.server.port
    finally:
        site.server.stop()
    server = NatsServer(
        site.data / "nats",
        configuration=lambda port: embedded_text(site.data, port)(site.installation, ()),
        log=site.data / "run" / "nats.log",
    )
    server.start()
    assert server.port == former, "programs find the server where it was"
    server.stop()


async def test_a_revocation_that_nobody_obeys_is_said(own_site: Site) -> None:
    await own_site.grant("billing")
    place = own_site.place
    own_site.server.kill()
    with pytest.raises(NotInForce, match="does not answer"):
        await teams.revoke(place, "billing")
    own_site.server.start()
    assert place.grants == ()


async def test_a_refused_configuration_is_said(own_site: Site) -> None:
    place = own_site.place
    broken = Place(place.secrets, place.servers, place.conf, lambda *_: "nonsense {")
    with pytest.raises(NotInForce, match="refuses its configuration"):
        await teams.grant(broken, "billing", subjects=(), feed=False, since=None, now=now())


async def test_a_server_from_before_there_were_accounts_for_teams_is_noticed(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    whole = site.server._configuration
    accounts = re.compile(r"^TEAM_LIMITS.*?^\]$|^ +TEAM\d+ [^\n]*$", re.MULTILINE | re.DOTALL)
    site.server._configuration = lambda port: accounts.sub("", whole(port))
    site.server.start()
    try:
        async with site.streams() as js:
            await provision(js)
        with pytest.raises(NotInForce, match="restart it once"):
            await site.grant("billing")
        site.server._configuration = whole
        site.server.restart()
        async with site.team("billing") as (client, _):
            await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
            assert await read_again(client, start_time="2020-01-01T00:00:00Z") == []
    finally:
        site.server.stop()


async def test_copies_and_consumers_come_back_when_an_origin_was_lost(own_site: Site) -> None:
    await own_site.grant("billing")
    await own_site.happened(DISABLED, "one")
    await own_site.happened(ROTATED, "two")
    async with own_site.streams() as js:
        await js.delete_stream(Service.DIRECTORY.stream)
        grants = own_site.place.grants
        assert {Service.DIRECTORY.stream, EVENTS_STREAM, "billing"} <= set(await provision(js, grants=grants))
        assert await provision(js, grants=grants) == []
        await eventually(lambda: copied(js, f"{ROTATED}/two"))
    await own_site.happened(DISABLED, "three")
    async with own_site.team("billing") as (client, _):
        fetching = await client.jetstream(domain=EVENTS_DOMAIN).pull_subscribe_bind("billing", EVENTS_STREAM)
        found = await fetching.fetch(2, timeout=20)
        assert {json.loads(each.data)["id"] for each in found} == {"two", "three"}


async def test_a_consumer_without_a_grant_goes(own_site: Site) -> None:
    await own_site.grant("billing")
    async with own_site.streams() as js:
        assert await ensure_readers(js, ()) == ["billing"]
        assert await ensure_readers(js, own_site.place.grants) == ["billing"]
        assert await ensure_readers(js, own_site.place.grants) == []


# the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """The command on an installation that does not run: exit code, and what it said."""
    Installation.drawn().save(tmp_path / "secrets")

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["events", words[0], "--data-dir", str(tmp_path), *words[1:]])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.output

    return run


@pytest.mark.parametrize(
    "name", ["../x", "a b", "A", "", "a" * 65, "a.b", "*", ">", "a\n", "ä", "a/b", "a\x00", '"', "a}", "$JS"]
)
@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_a_name_that_is_none_is_refused(
    typed: Callable[..., tuple[int, str]], tmp_path: Path, command: str, name: str
) -> None:
    code, said = typed(command, "--", name)
    assert code == 1
    assert "is no name for a grant: 1 to 64 of a-z, 0-9 and -" in said
    assert not grants_path(tmp_path / "secrets").exists()
    assert [each.name for each in (tmp_path / "secrets" / "teams").iterdir()] == [".lock"]


def test_what_was_granted_and_revoked_is_told_to_scripts(typed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = typed("grant", "billing", "--json")
    made = json.loads(said)
    assert (code, made["name"]) == (0, "billing")
    assert Path(made["key_file"]).is_file()
    code, said = typed("revoke", "billing", "--json")
    assert (code, json.loads(said)) == (0, {"revoked": "billing", "disconnected": False})


@pytest.mark.parametrize(
    "subjects",
    ["sys.>", "feed.>", "feed.revocation", ">", "*", "auth", "auth.nobody.>", "auth.directory.user.promoted", "$JS.>",
     "auth.>,sys.>", 'auth.>"] } }', "auth.directory.user.disabled x", "auth.*.*.*.*", "AUTH.>", "_INBOX.>"],
)  # fmt: skip
def test_subjects_that_are_not_public_events_are_refused(typed: Callable[..., tuple[int, str]], subjects: str) -> None:
    code, said = typed("grant", "billing", "--subjects", subjects)
    assert code == 1
    assert "no public event has a subject like" in said
    assert typed("list", "--json") == (0, "[]\n")


def test_granting_listing_and_revoking(typed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = typed("grant", "billing", "--subjects", "auth.directory.user.*, auth.token.key.rotated")
    file = tmp_path / "secrets" / "teams" / "billing.nkey"
    assert (code, str(file) in said) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    seed = file.read_text()
    assert seed.startswith("SU")
    assert seed not in said
    assert seed not in grants_path(tmp_path / "secrets").read_text()
    code, said = typed("grant", "billing")
    assert code == 1
    assert "billing is granted already" in said
    assert "watchword events revoke billing" in said
    assert file.read_text() == seed
    (row,) = json.loads(typed("list", "--json")[1])
    assert row["subjects"] == ["auth.directory.user.*", "auth.token.key.rotated"]
    assert row["key_file"] == str(file)
    assert seed not in json.dumps(row)
    assert "billing" in typed("list")[1]
    assert typed("revoke", "billing") == (0, "billing may read no longer.\n")
    assert not file.exists()
    code, said = typed("revoke", "billing")
    assert code == 1
    assert "nothing is granted to billing; granted: nobody" in said


@pytest.mark.parametrize("since", ["2020-01-01", "2100-01-01T00:00:00"])
def test_a_beginning_that_is_not_kept_is_refused(typed: Callable[..., tuple[int, str]], since: str) -> None:
    code, said = typed("grant", "billing", "--since", since)
    assert code == 1
    assert "kept for 7 days" in said


def test_without_an_installation_nothing_is_made(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["events", "grant", "billing", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds no installation" in done.output
    assert list(tmp_path.iterdir()) == []


def test_secrets_without_a_configuration_of_nats_are_refused(tmp_path: Path) -> None:
    Installation.drawn().save(tmp_path)
    done = CliRunner().invoke(app, ["events", "grant", "billing", "--secrets", str(tmp_path)])
    assert done.exit_code == 1
    assert "use --data-dir" in done.output
    assert not grants_path(tmp_path).exists()


def test_a_broken_file_of_grants_is_named(typed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    path = grants_path(tmp_path / "secrets")
    for text in ("{", "[1]", '[{"name": "billing"}]'):
        path.write_text(text)
        with pytest.raises(BrokenInstallation):
            load_grants(path)
        code, said = typed("grant", "billing")
        assert (code, str(path) in said.replace("\n", "")) == (1, True)


def test_places_are_limited_and_used_again() -> None:
    grants: tuple[Grant, ...] = ()
    for number in range(SLOTS):
        grants, made = added(grants, f"team-{number}", public_key="U", now=now())
        assert made.slot == number + 1
    with pytest.raises(GrantRefused, match="all 32 places are taken"):
        added(grants, "one-more", public_key="U", now=now())
    grants, made = added(without(grants, "team-7"), "one-more", public_key="U", now=now())
    assert made.slot == 8
