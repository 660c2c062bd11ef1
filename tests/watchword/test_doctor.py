"""`watchword doctor`: each thing that can be wrong is found and comes with what to do."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.authz.test_mails import mail_server, saying
from tests.federation.saml_idp import pair

from watchword import doctor, master_key
from watchword.containers import save_for_containers
from watchword.doctor import Level, of_the_servers, on_this_machine, python
from watchword.installation import Installation
from watchword.outgoing import at_the_mail_server
from watchword.provision import drift, provision
from watchword.reach import Reach
from watchword_events.names import EPOCH_SHIFT, Service
from watchword_events.revocations import Claim
from watchword_runtime.feed import SUBJECT
from watchword_testkit.databases import Template
from watchword_testkit.factory import WorkerPlatform, in_processes
from watchword_testkit.platform import prepared
from watchword_testkit.servers import Postgres

WATCHWORD = Path(sys.executable).with_name("watchword")
OPTIMISED = "'--enable-optimizations' '--with-lto'"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The secrets of an installation."""
    save_for_containers(Installation.drawn(), tmp_path / "secrets", database="x", owner=None)
    return tmp_path / "secrets"


def levels(found: list[doctor.Finding]) -> dict[str, Level]:
    return {each.check: each.level for each in found}


# This machine --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param("", "PGO and LTO", id="neither"),
        pytest.param("'--enable-shared'", "PGO and LTO", id="other options"),
        pytest.param("'--enable-optimizations'", "with LTO", id="no LTO"),
        pytest.param("'--with-lto=full'", "with PGO", id="no PGO"),
    ],
)
def test_an_unoptimised_interpreter_is_a_warning_with_the_remedy(arguments: str, said: str) -> None:
    found = python(arguments)
    assert found.level is Level.WARNING
    assert said in found.said
    assert "a third" in found.remedy
    assert python(OPTIMISED).level is Level.OK


def test_good_secrets_are_good(secrets: Path) -> None:
    found = levels(on_this_machine(secrets, {}))
    assert (found["secrets"], found["master key"]) == (Level.OK, Level.OK)


@pytest.mark.parametrize(
    ("spoil", "check", "level", "said"),
    [
        pytest.param(lambda home: (home / "token" / "keys").chmod(0o644), "secrets", "error", "token/keys", id="file"),
        pytest.param(lambda home: (home / "authz").chmod(0o755), "secrets", "error", "authz", id="directory"),
        pytest.param(lambda home: (home / "master.key").unlink(), "master key", "error", "is missing", id="no key"),
        pytest.param(lambda home: (home / "root.sealed").write_text("{}"), "master key", "error", "damaged", id="root"),
        pytest.param(
            lambda home: (home / "master.key").write_text("A" * 43), "master key", "error", "is sealed under", id="key"
        ),
        pytest.param(
            lambda home: (home / "token" / "keys").write_text('{"forms": "x"}'),
            "master key",
            "error",
            "were not derived",
            id="keys of another root",
        ),
        pytest.param(lambda home: _sealed_twice(home), "master key", "warning", "interrupted", id="half a rotation"),
        pytest.param(lambda home: (home / "root.sealed").unlink(), "master key", "warning", "earlier", id="older"),
    ],
)
def test_what_is_wrong_with_secrets_is_found(
    secrets: Path, spoil: Callable[[Path], object], check: str, level: str, said: str
) -> None:
    spoil(secrets)
    (found,) = [each for each in on_this_machine(secrets, {}) if each.check == check]
    assert found.level == level
    assert said in found.said
    assert found.remedy


def _sealed_twice(home: Path) -> None:
    keys = [master_key.from_file(home / "master.key"), master_key.LocalKey(b"2" * 32, "another")]
    root = master_key.Sealed.read(home).opened_by(keys[0], home)
    master_key.seal(home, root, keys)


# The servers ---------------------------------------------------------------------------------------------------------

Look = Callable[[], Awaitable[dict[str, doctor.Finding]]]


@pytest.fixture(scope="module")
async def installation(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerPlatform]:
    """An installation of one worker, shared; each test leaves it well."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("doctor")) as site,
        in_processes(site, 1) as running,
    ):
        yield running


@pytest.fixture
def look(installation: WorkerPlatform, tmp_path: Path) -> Look:
    """What the doctor finds, by check."""
    site = installation.site
    urls = {service: site.database.url(service) for service in Service}
    reach = Reach(tmp_path, site.installation, site.database.admin_url, urls, (site.nats.url,), tmp_path / "none")

    async def looked() -> dict[str, doctor.Finding]:
        return {each.check: each for each in await of_the_servers(reach)}

    return looked


async def becomes(look: Look, check: str, level: Level) -> doctor.Finding:
    """The finding, when it has come to this level."""
    for _ in range(100):
        found = (await look())[check]
        if found.level is level:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{check} is {found}")


async def test_a_healthy_installation_is_well(look: Look, installation: WorkerPlatform) -> None:
    found = await look()
    assert {name: each for name, each in found.items() if each.level is not Level.OK} == {}
    assert set(found) == {
        *("postgresql", "clock", "migrations", "feed", "leader", "followers", "events", "ends", "nats", "streams"),
        *("mail", "sign-outs", "webhooks"),
    }
    async with installation.database.postgres.admin(installation.database.name) as admin:
        version = (await admin.fetchval("SHOW server_version")).split()[0]
    assert found["postgresql"].said == f"answers, version {version}"
    assert "epoch 1" in found["feed"].said
    assert Service.TOKEN.role in found["leader"].said


async def test_nobody_who_leads_is_an_error(look: Look, installation: WorkerPlatform) -> None:
    installation.workers[0].kill()
    try:
        found = await becomes(look, "leader", Level.ERROR)
        assert "nobody leads" in found.said
        assert "token" in found.remedy
        assert "not heard of" in (await becomes(look, "followers", Level.WARNING)).said
    finally:
        installation.workers[0].start()
        installation.workers[0].tell(installation.site.settings(installation.issuer, {}))
        await installation.until_ready()
        async with installation.database.postgres.admin(installation.database.name) as admin:
            await admin.execute("DELETE FROM bus.followers WHERE heard_at < now() - interval '3 seconds'")
    await becomes(look, "leader", Level.OK)


async def test_a_back_up_that_was_restored_without_a_word_is_an_error(look: Look, installation: WorkerPlatform) -> None:
    await installation.api().create("/revocations", claim=Claim.JTI.value, value="forgotten")
    async with installation.nats_client() as client:
        later = (1 << EPOCH_SHIFT) + 1_000_000
        when = datetime.now(UTC).isoformat()
        body = {"id": 1, "position": later, "claim": "jti", "value": "x", "kind": "cut"}
        body |= {"until": when, "keep_until": when, "at": when}
        await client.jetstream().publish(SUBJECT, json.dumps(body).encode())
        found = (await look())["restore"]
        assert found.level is Level.ERROR
        assert "watchword restore" in found.remedy
        # What the leader publishes next does not hide it.
        await installation.api().create("/revocations", claim=Claim.JTI.value, value="remembered")
        await asyncio.sleep(0.5)
        assert (await look())["restore"].level is Level.ERROR
    async with installation.database.postgres.admin(installation.database.name) as admin:
        await admin.execute("UPDATE bus.ledger SET position = ((position >> $1) + 1) << $1", EPOCH_SHIFT)
    assert "restore" not in await look(), "a new epoch makes it whole"
    await installation.until_ready()


async def test_a_position_that_was_given_out_twice_is_an_error(look: Look, installation: WorkerPlatform) -> None:
    """The table has grown since the back-up came back: only NATS knows that another entry stood there."""
    before = await installation.api().create("/revocations", claim=Claim.JTI.value, value="last")
    async with installation.nats_client() as client:
        when = datetime.now(UTC).isoformat()
        body = {"id": 1, "position": int(str(before["position"])) + 1, "claim": "jti", "value": "x", "kind": "cut"}
        body |= {"until": when, "keep_until": when, "at": when}
        await client.jetstream().publish(SUBJECT, json.dumps(body).encode())
    again = await installation.api().create("/revocations", claim=Claim.JTI.value, value="again")
    assert again["position"] == body["position"]
    assert (await becomes(look, "restore", Level.ERROR)).said.startswith(f"NATS remembers position {again['position']}")
    async with installation.database.postgres.admin(installation.database.name) as admin:
        await admin.execute("UPDATE bus.ledger SET position = ((position >> $1) + 1) << $1", EPOCH_SHIFT)
    assert "restore" not in await look()
    await installation.until_ready()


async def test_migrations_and_dead_letters_are_found(look: Look, installation: WorkerPlatform) -> None:
    async with installation.database.postgres.admin(installation.database.name) as admin:
        await admin.execute("UPDATE admin.alembic_version SET version_num = '0000'")
        found = await look()
        assert found["migrations"].level is Level.ERROR
        assert "admin (0000" in found["migrations"].said
        head = found["migrations"].said.partition("not ")[2].partition("not ")[2].rstrip(")")
        await admin.execute("UPDATE admin.alembic_version SET version_num = $1", head)
        await admin.execute(
            "INSERT INTO authz.dead_letter (consumer, stream_seq, subject, headers, body, error)"
            " VALUES ('c', 1, 's', '{}', '', 'e')"
        )
        letters = await becomes(look, "events", Level.WARNING)
        assert "authz 1" in letters.said
        assert "watchword events retry" in letters.remedy
        await admin.execute("DELETE FROM authz.dead_letter")


async def test_what_was_sent_in_vain_is_found(look: Look, installation: WorkerPlatform) -> None:
    async with installation.database.postgres.admin(installation.database.name) as admin:
        await admin.execute(
            "INSERT INTO authz.mail (id, sealed, attempts, due_at, created_at)"
            " VALUES ('m', '', 3, now() + interval '1 hour', now() - interval '7 minutes')"
        )
        await admin.execute(
            "INSERT INTO token.deliveries (id, sid, client_id, user_id, state, attempts, created_at, next_attempt_at,"
            " give_up_at, ended_at, error) VALUES ('d', 's', 'wiki', 'u', 'dead', 30, now(), now(), now(), now(), 'no')"
        )
        hook = (
            "INSERT INTO admin.webhooks (id, name, enabled, document, secret, after, attempts, next_attempt_at,"
            " failing_since, error, created_at, updated_at) VALUES ($1, $1, $2, '{}', '', 0, 0,"
            " now() + interval '1 hour', $3, $4, now(), now())"
        )
        now = datetime.now(UTC)
        await admin.execute(hook, "siem", True, None, None)
        await admin.execute(hook, "down", True, now, "status 500")
        await admin.execute(hook, "off", False, now, "status 500")
        await admin.execute(hook, "well", True, None, None)
        await admin.execute(
            "INSERT INTO admin.webhook_dead_letters (id, webhook_id, after, until, error, at)"
            " VALUES ('l', 'siem', 0, 9, 'status 410', now())"
        )
        try:
            found = await look()
        finally:
            await admin.execute(
                "DELETE FROM authz.mail WHERE id = 'm'; DELETE FROM token.deliveries WHERE id = 'd';"
                "DELETE FROM admin.webhook_dead_letters; DELETE FROM admin.webhooks"
            )
    named = {name: (each.level, each.said) for name, each in found.items() if each.level is not Level.OK}
    assert named == {
        "mail": (Level.WARNING, "1 could not be sent yet, the oldest for 7 minutes"),
        "sign-outs": (Level.WARNING, "applications did not take notices for a day: wiki 1"),
        "webhooks": (Level.WARNING, "are not taken: down (status 500), siem (1 given up)"),
    }
    assert all(found[name].remedy for name in named)


LETS_IN = "250-here\r\n250 AUTH PLAIN"


@pytest.mark.parametrize(
    ("answers", "changes", "level", "said"),
    [
        pytest.param({}, {}, Level.OK, "answers, and lets sso in", id="well"),
        pytest.param({}, {"USERNAME": ""}, Level.OK, "answers$", id="nobody asks who we are"),
        pytest.param({"AUTH": "535 <line>"}, {}, Level.ERROR, "535 AUTH PLAIN …$", id="wrong password"),
        pytest.param({"EHLO": "550 leave", "HELO": "550 leave"}, {}, Level.ERROR, "550 leave", id="turned away"),
        pytest.param({}, {"SECURITY": "starttls"}, Level.ERROR, "takes no mail from us: .*STARTTLS", id="no TLS"),
        pytest.param({}, {"PORT": "1"}, Level.ERROR, ":1 takes no mail from us", id="nobody there"),
        pytest.param({}, {"HOST": ""}, Level.OK, "none is set", id="none"),
        pytest.param({}, {"PORT": "smtp"}, Level.WARNING, "WATCHWORD_SMTP_PORT is invalid", id="no port"),
    ],
)
async def test_the_mail_server_is_looked_at_and_nothing_is_sent(
    secrets: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, str],
    changes: dict[str, str],
    level: Level,
    said: str,
) -> None:
    heard: list[str] = []
    server = saying(**{"EHLO": LETS_IN, "NOOP": "250 well", **answers})

    def listen(line: str) -> str:
        heard.append(line)
        return server(line)

    (secrets / "authz" / "smtp_password").write_text("secret-4711\n")
    async with mail_server(listen) as port:
        given = {"HOST": "127.0.0.1", "PORT": str(port), "SECURITY": "none", "USERNAME": "sso", **changes}
        for name, value in given.items():
            monkeypatch.setenv(f"WATCHWORD_SMTP_{name}", value)
        found = await at_the_mail_server(secrets / "authz")
    assert found.level is level, found
    assert re.search(said, found.said), found
    assert found.remedy or level is Level.OK
    assert "secret-4711" not in found.said
    assert not any(line.startswith(("MAIL", "RCPT", "DATA")) for line in heard)


def certificate(days: float) -> str:
    """In PEM. days: until it ends."""
    return pair(days=days).certificate


async def test_what_ends_soon_is_named_with_its_remedy(look: Look, installation: WorkerPlatform) -> None:
    provider = {
        "id": "Acme", "preset": "saml", "kind": "saml", "display_name": "Acme", "issuer": "https://idp.test",
        "saml": {"sso_url": "https://idp.test/sso", "certificates": [certificate(-3), certificate(1.5)]},
    }  # fmt: skip
    later = {**provider, "id": "Later", "saml": {**provider["saml"], "certificates": [certificate(1), certificate(90)]}}
    off = {**provider, "id": "Off", "enabled": False}
    scim = (
        "INSERT INTO directory.scim_tokens (id, version, name, secret_hash, rev, created_at, expires_at)"
        " VALUES ($1, 1, 't', '', 0, now() - interval '80 days', now() + $2 * interval '1 day')"
    )
    keys = (
        "INSERT INTO token.api_keys (id, version, user_id, name, secret_hash, scope, rev, created_at, expires_at)"
        " VALUES ($1, 1, 'u', $1, '', '{}', 0, now() - interval '1 day', now() + $2 * interval '1 day')"
    )
    async with installation.database.postgres.admin(installation.database.name) as admin:
        await admin.execute("DELETE FROM federation.saml_key")
        await admin.execute(
            "INSERT INTO federation.saml_key (id, state, certificate, sealed, created_at, changed_at)"
            " VALUES ('ours', 'active', $1, '', now(), now())",
            certificate(-1.5),
        )
        for each in (provider, later, off):
            await admin.execute(
                "INSERT INTO federation.provider_copy (id, version, deleted, data, copied_at)"
                " VALUES ($1, 1, false, $2, now())",
                each["id"], json.dumps(each),
            )  # fmt: skip
        await admin.execute(scim, "soon", 5.5)
        await admin.execute(scim, "late", 100)
        await admin.execute(keys, "short", 10)  # made for eleven days: in its first quarters that is no news
        try:
            found = await look()
        finally:
            await admin.execute(
                "DELETE FROM federation.saml_key; DELETE FROM federation.provider_copy;"
                "DELETE FROM directory.scim_tokens; DELETE FROM token.api_keys WHERE id = 'short'"
            )
    named = {name: (each.level, each.said) for name, each in found.items() if each.level is not Level.OK}
    assert named == {
        "saml provider": (Level.WARNING, "Acme ends in 1 days"),
        "saml key": (Level.ERROR, "ours ended"),
        "scim token": (Level.WARNING, "t ends in 5 days"),
    }
    assert all(found[name].remedy for name in named)


async def test_a_missing_consumer_is_found(look: Look, installation: WorkerPlatform) -> None:
    async with installation.nats_client() as client:
        js = client.jetstream()
        assert await drift(js) == []
        await js.delete_consumer(Service.ADMIN.stream, "token-client")
        found = (await look())["streams"]
        assert found.level is Level.ERROR
        assert "token-client" in found.said
        assert "provision" in found.remedy
        await provision(js)


async def test_servers_that_are_away_are_errors(installation: WorkerPlatform, tmp_path: Path) -> None:
    nowhere = "postgresql://postgres:secret-4711@127.0.0.1:1/watchword"
    reach = Reach(tmp_path, installation.site.installation, nowhere, {}, ("nats://127.0.0.1:1",), tmp_path / "none")
    found = {each.check: each for each in await of_the_servers(reach)}
    assert set(found) == {"postgresql", "nats"}
    for each in found.values():
        assert each.level is Level.ERROR
        assert "cannot be reached" in each.said
        assert each.remedy
        assert "secret-4711" not in each.said


@pytest.mark.parametrize(
    ("skew_s", "level"), [(0.2, Level.OK), (2.0, Level.WARNING), (-2.0, Level.WARNING), (60.0, Level.ERROR)]
)
async def test_a_clock_that_is_off_is_found(
    look: Look, monkeypatch: pytest.MonkeyPatch, skew_s: float, level: Level
) -> None:
    real = time.time
    monkeypatch.setattr(doctor.time, "time", lambda: real() + skew_s)
    assert (await look())["clock"].level is level


# The command ---------------------------------------------------------------------------------------------------------


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], **environment}
    command = [str(WATCHWORD), "doctor", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own)


def test_the_command_says_what_is_wrong_and_fails(secrets: Path) -> None:
    away = {
        "WATCHWORD_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none",
        "WATCHWORD_NATS_URL": "nats://127.0.0.1:1",
    }
    done = run("--secrets", secrets, "--json", **away)
    assert done.returncode == 1
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["postgresql"]["level"] == "error"
    assert found["master key"]["level"] == "ok"
    done = run("--secrets", secrets, **away)
    assert done.returncode == 1
    assert "error    nats" in done.stdout
    assert "→ start it" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://postgres:secret-4711@127.0.0.1:port/none", id="no port"),
        pytest.param("postgresql://postgres:secret-4711@127.0.0.1:99999/none", id="no such port"),
        pytest.param("postgresql://postgres:secret-4711@127.0.0.1:-1/none", id="less than no port"),
        pytest.param("postgresql://postgres:secret/4711@127.0.0.1:5432/none", id="a slash in the password"),
        pytest.param("postgresql://postgres:secret-4711@[::1/none", id="half an address"),
        pytest.param("mysql://postgres:secret-4711@127.0.0.1/none", id="another database"),
        pytest.param("postgresql://postgres:secret-4711@127.0.0.1", id="no database"),
        pytest.param("postgresql://postgres:secret-4711@127.0.0.1/none?sslmode=perhaps", id="an unknown option"),
        pytest.param("secret-4711", id="no URL"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_url_that_names_no_database_is_found(secrets: Path, url: str) -> None:
    done = run("--secrets", secrets, "--json", WATCHWORD_DATABASE_URL=url, WATCHWORD_NATS_URL="nats://127.0.0.1:1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["postgresql"]["level"] == "error"
    assert found["postgresql"]["remedy"]
    assert "secret-4711" not in done.stdout + done.stderr


def test_an_installation_that_does_not_run_is_a_warning(tmp_path: Path) -> None:
    Installation.opened(tmp_path / "secrets")
    (tmp_path / "run").mkdir()
    done = run("--data-dir", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "does not run" in done.stdout


def test_no_installation_is_an_error(tmp_path: Path) -> None:
    done = run("--data-dir", tmp_path)
    assert done.returncode == 1
    assert "is not there" in done.stdout
    assert "Traceback" not in done.stderr
