"""The audit log as administrators read it, and what its verification finds."""

import asyncio
import importlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.admin.conftest import Make
from tests.flows.test_access_rules import eventually
from typer.testing import CliRunner

from watchword.cli import app
from watchword_admin.audit.seals import Seals
from watchword_admin.audit.verifying import verify
from watchword_database import Database, audit, transaction
from watchword_database.audit import Note, audited_of
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api, Document
from watchword_testkit.browser import Browser
from watchword_testkit.databases import Template
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.servers import Postgres

KEY = b"k" * 32
BACKBONE = {"outbox", "relay_state", "inbox", "dead_letter", "copy_state"}
# What the services write by themselves, and people about their own: no administrator changes it.
NOT_AUDITED = {
    Service.ADMIN: {"audit_seals", "console_sessions", "webhook_dead_letters", "webhook_events"},
    Service.AUTHZ: {
        "authenticator", "closed_provider", "consent", "credential", "device_request", "flow", "issued_grant", "mail",
        "passkey", "pushed_request", "recovery_code", "remembered_device", "throttle",
    },
    Service.DIRECTORY: {"claims_due", "identities", "identity_claims", "pending_links", "scim_failures"},
    Service.FEDERATION: {
        "ended_upstream_session", "saml_provider", "sign_in_attempt", "trial",
        "upstream_arrival", "upstream_document", "upstream_flow",
        "upstream_logout", "upstream_session", "upstream_tokens",
    },
    Service.TOKEN: {"deliveries", "device_polls", "grants", "pairwise_subjects"},
}  # fmt: skip


async def of_call(api: Api, reference: str, platform: Platform) -> list[Document]:
    """The entries of one call, in their order."""
    assert platform.process is not None
    await platform.process.shared.audit.flush()
    found = (await api.get("/audit", reference=reference))["items"]
    assert isinstance(found, list)
    return found[::-1]


async def test_a_change_its_call_and_who_asked_for_it(api: Api, platform: Platform) -> None:
    name = f"orders:{secrets.token_hex(4)}"
    added = await api.call("POST", "/scopes", {"name": name, "description": "Read your orders"})
    scope_id = added.json()["id"]
    change, call = await of_call(api, added.headers["X-Request-Id"], platform)
    assert change["action"] == "scope.created"
    assert (change["kind"], change["resource"], change["name"]) == ("scope", scope_id, name)
    assert {"field": "description", "before": None, "after": "Read your orders", "is_secret": False} in change[
        "changes"
    ]
    assert (call["action"], call["actions"], call["response_code"]) == ("api.called", ["scope.created"], 201)
    assert (call["method"], call["path"], call["via"]) == ("POST", "/api/v1/scopes", "api")
    actor = call["actor"]
    assert isinstance(actor, dict)
    assert actor["name"] == platform.admin.username
    assert actor["issuer"] == platform.issuer
    assert actor["api_key_id"]
    assert call["address"] == "127.0.0.1"
    changed = await api.call("PATCH", f"/scopes/{scope_id}", {"description": "See your orders"})
    change, _ = await of_call(api, changed.headers["X-Request-Id"], platform)
    assert change["changes"] == [
        {"field": "description", "before": "Read your orders", "after": "See your orders", "is_secret": False}
    ]


async def test_what_is_refused_is_written_down_too(api: Api, platform: Platform) -> None:
    refused = await api.call("POST", "/scopes", {"name": "openid", "description": "x"})
    assert refused.status_code == 400
    (call,) = await of_call(api, refused.headers["X-Request-Id"], platform)
    assert (call["action"], call["response_code"], call["actions"]) == ("api.called", 400, [])


async def test_secrets_are_named_and_not_shown(api: Api, platform: Platform, make_client: Make) -> None:
    client = await make_client()
    added = await api.call("POST", f"/clients/{client['client_id']}/secrets", {"keep_newest": True})
    entries = await of_call(api, added.headers["X-Request-Id"], platform)
    (secret,) = [entry for entry in entries if entry["action"] == "client_secret.created"]
    assert {"field": "hash", "before": None, "after": None, "is_secret": True} in secret["changes"]


async def test_documents_that_are_applied_are_entries_of_one_call(api: Api, platform: Platform) -> None:
    names = [f"a:{secrets.token_hex(4)}" for _ in range(2)]
    documents = [{"kind": "Scope", "name": name, "description": "A"} for name in names]
    for dry_run, expected in ((True, []), (False, ["scope.created"])):
        done = await api.call("POST", "/apply/admin", {"documents": documents, "dry_run": dry_run})
        assert done.status_code == 200
        *changes, call = await of_call(api, done.headers["X-Request-Id"], platform)
        assert call["actions"] == expected
        assert [entry["name"] for entry in changes] == (names if expected else [])


async def test_what_verifiers_say_of_themselves_all_the_time_is_not_audited(platform: Platform, api: Api) -> None:
    assert platform.process is not None
    report = {
        "name": "billing",
        "instance": secrets.token_hex(4),
        "audience": "https://api.example",
        "position": platform.process.shared.feed.position,
        "staleness_bound_s": 5,
        "policy": "introspect",
    }
    headers = {"Watchword-API-Key": platform.admin.admin_token}
    async with http_client(base_url=f"{platform.issuer}/revocations", headers=headers) as http:
        said = await http.post("/receipts", json=report)
        assert said.status_code == 200, said.text
        left = await http.delete(f"/receipts/{report['instance']}")
        assert left.status_code == 204, left.text
    for answer in (said, left):
        assert await of_call(api, answer.headers["X-Request-Id"], platform) == []


async def test_the_console_is_audited_as_the_person_at_it(
    console: Browser, api: Api, platform: Platform, make_client: Make
) -> None:
    client = await make_client()
    await console.open(f"{platform.issuer}/admin/applications/{client['client_id']}")
    await console.submit("disable", "disable")
    assert platform.process is not None
    await platform.process.shared.audit.flush()
    found = (await api.get("/audit", resource=str(client["client_id"]), action="client.disabled"))["items"]
    assert isinstance(found, list)
    (entry,) = found
    assert entry["via"] == "console"
    assert entry["actor"]["name"] == platform.admin.username
    assert {"field": "enabled", "before": True, "after": False, "is_secret": False} in entry["changes"]


async def test_the_list_is_filtered_and_paged(api: Api) -> None:
    name = f"p:{secrets.token_hex(4)}"
    scope = await api.create("/scopes", name=name, description="0")
    for n in range(1, 4):
        await api.change(f"/scopes/{scope['id']}", description=str(n))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get("/audit", resource=str(scope["id"]), action="scope.*", limit="2", **cursor)
        items = page["items"]
        assert isinstance(items, list)
        seen += [entry["changes"][-1 if entry["action"] == "scope.created" else 0]["after"] for entry in items]
        if page["next"] is None:
            break
        cursor = {"cursor": str(page["next"])}
    assert seen[:3] == ["3", "2", "1"]
    assert len(seen) == 4
    assert (await api.get("/audit", resource=str(scope["id"]), since="2999-01-01T00:00:00Z"))["items"] == []
    for since in ("yesterday", "0001-01-01T00:00:00+14:00"):
        assert (await api.call("GET", "/audit", since=since)).status_code == 400
    assert (await api.call("GET", "/audit/export", after=str(2**63))).status_code == 400
    assert (await api.call("GET", "/audit", cursor="x")).status_code == 400


async def test_a_deleted_person_is_forgotten_and_the_chain_holds(api: Api, platform: Platform) -> None:
    username = f"gone-{secrets.token_hex(4)}"
    user = await api.create("/users", username=username, name="Ada Gone")
    found = (await api.get("/audit", resource=str(user["id"]), action="user.created"))["items"]
    assert isinstance(found, list)
    assert found[0]["name"] == username
    await api.delete(f"/users/{user['id']}")

    async def forgotten() -> bool:
        entries = (await api.get("/audit", resource=str(user["id"]), action="user.created"))["items"]
        assert isinstance(entries, list)
        return bool(entries[0]["forgotten"]) and entries[0]["name"] is None

    await eventually(forgotten)
    assert (await api.get("/audit/verification"))["valid"] is True


async def test_the_command_checks_the_installation_and_an_export(platform: Platform, api: Api, tmp_path: Path) -> None:
    await api.create("/scopes", name=f"e:{secrets.token_hex(4)}", description="E")
    where = ["--url", platform.issuer, "--token", platform.admin.admin_token]
    export = tmp_path / "audit.ndjson"

    async def run(*words: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["audit", *words])
        return result.exit_code, result.output

    assert (await run("verify", *where))[0] == 0
    code, out = (await run("export", "--output", str(export), "--json", *where))[:2]
    assert (code, json.loads(out)) == (0, {"entries": len(export.read_bytes().splitlines()), "file": str(export)})
    assert (await run("list", "--action", "scope.*", *where))[0] == 0
    code, said = await run("verify", "--file", str(export))
    assert (code, "entries are what was written" in said) == (0, True)
    lines = export.read_text().splitlines()
    for changed in (lines[:-2] + lines[-1:], [*lines[:-1], lines[-1].replace("scope.", "scope_")]):
        export.write_text("\n".join(changed) + "\n")
        assert (await run("verify", "--file", str(export)))[0] == 1


def test_every_table_of_what_administrators_change_is_audited_or_named_here() -> None:
    """A table that is new is one or the other: whoever adds it decides."""
    for service in Service:
        metadata = importlib.import_module(f"watchword_{service}.models").Base.metadata
        names = {table.name for table in metadata.tables.values() if audited_of(table) is None}
        copies = {name for name in names if name.endswith(("_copy", "_copies"))}
        assert names - copies - BACKBONE == NOT_AUDITED[service]


# Tampering -----------------------------------------------------------------------------------------------------------


class _Undone(Exception):
    """Whatever the test did to the table is rolled back."""


@pytest.fixture(scope="module")
async def sealed(postgres: Postgres, database_template: Template) -> AsyncIterator[tuple[Database, Seals]]:
    """Ten entries, the first six of them sealed; as superuser."""
    async with _log_of_ten(postgres, database_template) as made:
        yield made


@asynccontextmanager
async def _log_of_ten(postgres: Postgres, database_template: Template) -> AsyncIterator[tuple[Database, Seals]]:
    name = await postgres.create_database(template=database_template.name)
    database = Database(postgres.url(name), service=Service.ADMIN)
    seals = Seals(database, KEY, now=utc_now)
    for part in (range(6), range(6, 10)):
        async with transaction(database) as session:
            await audit.note(session, [Note({"action": "test.done", "n": n}, {"name": f"p{n}"}) for n in part])
        if part.start == 0:
            await seals.seal()
    yield database, seals
    await database.dispose()
    await postgres.drop_database(name)


REWRITE = """
DO $$
DECLARE row record; last bytea := sha256('watchword/audit/v1'::bytea);
BEGIN
    FOR row IN SELECT seq, entry::text AS entry FROM bus.audit ORDER BY seq LOOP
        last := sha256(last || convert_to(row.seq || E'\\n' || row.entry, 'UTF8'));
        UPDATE bus.audit SET hash = last WHERE seq = row.seq;
    END LOOP;
    UPDATE bus.audit_head SET hash = last;
END $$
"""
FORGE = "UPDATE bus.audit SET entry = replace(entry::text, '\"n\": 3', '\"n\": 4')::json WHERE seq = 4"
TAMPERED = {
    "an entry changed": ([FORGE], 4, "not what was written"),
    "its hash, too": ([FORGE, "UPDATE bus.audit SET hash = sha256('x') WHERE seq = 4"], 4, "not what"),
    "an entry removed": (["DELETE FROM bus.audit WHERE seq = 8"], 8, "missing"),
    "the first removed": (["DELETE FROM bus.audit WHERE seq = 1"], 1, "missing"),
    "the last removed": (["DELETE FROM bus.audit WHERE seq = 10"], 10, "its head says"),
    "the last removed, with the head": (
        [
            "DELETE FROM bus.audit WHERE seq > 5",
            "UPDATE bus.audit_head SET seq = 5, hash = (SELECT hash FROM bus.audit WHERE seq = 5)",
        ],
        6,
        "was sealed is missing",
    ),
    "everything removed": (["DELETE FROM bus.audit"], 6, "was sealed is missing"),
    "an entry put at the end": (
        ["INSERT INTO bus.audit (seq, entry, hash) VALUES (11, '{}', sha256('x'))"], 11, "not what was written",
    ),
    "an entry put before the first": (
        ["INSERT INTO bus.audit (seq, entry, hash) VALUES (0, '{}', sha256('x'))"], 0, "no such number",
    ),
    "two that changed places": (
        [
            "UPDATE bus.audit SET seq = 99 WHERE seq = 2",
            "UPDATE bus.audit SET seq = 2 WHERE seq = 3",
            "UPDATE bus.audit SET seq = 3 WHERE seq = 99",
        ],
        2,
        "not what was written",
    ),
    "what belongs to a person changed": (
        ["UPDATE bus.audit SET private = '{\"name\": \"else\"}' WHERE seq = 9"], 9, "belongs to the person",
    ),
    "the head changed": (["UPDATE bus.audit_head SET hash = sha256('x')"], 10, "another hash"),
    "the whole chain made anew": ([FORGE, REWRITE], 6, "not the one that was sealed"),
    "a seal forged": (["UPDATE admin.audit_seals SET mac = sha256('x')"], 6, "not the one that was sealed"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERED)
async def test_what_was_done_to_the_table_is_found(sealed: tuple[Database, Seals], case: str) -> None:
    statements, seq, what = TAMPERED[case]
    database, seals = sealed
    with pytest.raises(_Undone):
        async with transaction(database) as session:
            connection = await session.connection()
            for statement in statements:
                await connection.execute(text(statement))
            found = await verify(session, seals)
            assert not found.valid
            assert any(each.seq == seq and what in each.what for each in found.breaks), found.breaks
            raise _Undone
    async with transaction(database) as session:
        assert (await verify(session, seals)).valid


async def test_a_pruned_log_goes_on_from_its_anchor(postgres: Postgres, database_template: Template) -> None:
    async with _log_of_ten(postgres, database_template) as (database, seals):
        assert await seals.prune(utc_now() - timedelta(days=1)) == 0, "nothing is that old"
        assert await seals.prune(utc_now()) == 6, "what was sealed"
        async with transaction(database) as session:
            found = await verify(session, seals)
        assert (found.valid, found.pruned, found.entries, found.breaks) == (True, 6, 5, [])
        await seals.seal()
        assert await seals.prune(utc_now()) == 0, "the last entry stays"
        async with transaction(database) as session:
            await audit.note(session, [Note({"action": "test.done"}, {})])
        assert await seals.prune(utc_now()) == 5
        async with transaction(database) as session:
            found = await verify(session, seals)
        assert (found.valid, found.pruned) == (True, 11)


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        pytest.param(["DELETE FROM bus.audit WHERE seq <= 6"], "nothing says", id="cut at a seal"),
        pytest.param(["DELETE FROM bus.audit WHERE seq <= 5"], "missing", id="cut elsewhere"),
        pytest.param(
            ["DELETE FROM bus.audit WHERE seq <= 6", "UPDATE admin.audit_seals SET mac = sha256('x')"],
            "missing",
            id="cut at a seal that is forged",
        ),
    ],
)
async def test_a_log_that_was_cut_is_not_a_pruned_one(
    sealed: tuple[Database, Seals], statements: list[str], what: str
) -> None:
    database, seals = sealed
    with pytest.raises(_Undone):
        async with transaction(database) as session:
            for statement in statements:
                await (await session.connection()).execute(text(statement))
            found = await verify(session, seals)
            assert any(what in each.what for each in found.breaks), found
            raise _Undone


async def test_what_does_not_follow_is_never_sealed(sealed: tuple[Database, Seals], log_lines: list[Document]) -> None:
    database, seals = sealed
    async with transaction(database) as session:
        await (await session.connection()).execute(text("UPDATE bus.audit SET hash = sha256('x') WHERE seq = 8"))
    await seals.seal()
    async with transaction(database) as session:
        assert (await verify(session, seals)).sealed == 6
    assert [line["seq"] for line in log_lines if line["event"] == "audit.chain_broken"] == [8]
