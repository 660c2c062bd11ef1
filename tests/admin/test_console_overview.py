"""The console's first page, live events, trusted issuers and the audit log."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.admin.conftest import Make

from watchword import documents
from watchword_admin.console.kinds.safety import SETTINGS
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.platform import Platform


def name_of(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


async def test_the_overview_says_what_needs_somebody(console: Browser, api: Api) -> None:
    name = name_of("billing")
    verifier = await api.create("/verifiers", name=name, audience=f"https://{name}.example.com")
    page = await console.open(f"{console.issuer}/admin")
    assert name in page.texts["concerns"]
    for figure in ("users", "sessions", "denied", "failed", "applications", "providers"):
        assert page.texts[f"count-{figure}"].rstrip("+").isdecimal(), figure
    assert "partial" not in page.texts
    await api.delete(f"/verifiers/{verifier['id']}")
    page = await console.open(f"{console.issuer}/admin")
    assert name not in page.texts.get("concerns", "")


async def test_the_overview_counts_sign_ins_and_wrong_passwords(console: Browser, api: Api, platform: Platform) -> None:
    page = await console.open(f"{console.issuer}/admin")
    before = {each: int(page.texts[f"count-{each}"]) for each in ("signed-in", "refused")}
    assert before["signed-in"] >= 1, "who looks has signed in"
    name, password = name_of("guessed"), "seven lanterns under the quiet bridge"
    await api.create("/users", username=name, password=password)
    async with platform.browser() as browser:
        await browser.open(f"{console.issuer}/login")
        await browser.submit("username", "sign-in", username=name, password="not this one")
        await browser.submit("username", "sign-in", username=name, password=password)
    wanted = {each: number + 1 for each, number in before.items()}
    async with asyncio.timeout(30):  # the audit log is written behind
        while {each: int(page.texts[f"count-{each}"]) for each in before} != wanted:
            page = await console.open(f"{console.issuer}/admin")
    assert "/admin/audit?action=sign_in.refused" in page.body


async def test_the_overview_names_what_ends_soon_and_what_was_given_up(
    console: Browser, api: Api, platform: Platform
) -> None:
    names = {each: name_of(each) for each in ("soon", "later", "short")}
    ends = {"soon": 20, "later": 200, "short": 1}
    made = [
        await api.create(
            "/scim-tokens", name=names[each], expires_at=(datetime.now(UTC) + timedelta(days=ends[each])).isoformat()
        )
        for each in names
    ]
    async with platform.database.postgres.admin(platform.database.name) as admin:
        await admin.execute(
            "UPDATE directory.scim_tokens SET created_at = now() - interval '100 days' WHERE name = $1", names["soon"]
        )
        await admin.execute(
            "INSERT INTO admin.dead_letter (consumer, stream_seq, subject, headers, body, error)"
            " VALUES ('overview', 1, 's', '{}', '', 'e')"
        )
        await admin.execute(
            "INSERT INTO token.deliveries (id, sid, client_id, user_id, state, attempts, created_at, next_attempt_at,"
            " give_up_at, ended_at, error) SELECT 'overview-' || days, 'overview-' || days, 'gone', 'ada', 'dead', 9,"
            " now(), now(), now(), now() - days * interval '1 day', 'status 503' FROM unnest(ARRAY[1, 2, 20]) AS days"
        )
        try:
            page = await console.open(f"{console.issuer}/admin")
        finally:
            await admin.execute("DELETE FROM admin.dead_letter WHERE consumer = 'overview'")
            await admin.execute("DELETE FROM token.deliveries WHERE sid LIKE 'overview-%'")
    concerns = page.texts["concerns"]
    assert names["soon"] in concerns
    assert names["later"] not in concerns
    assert names["short"] not in concerns, "made for a day: no news in the morning"
    assert "watchword events dead" in concerns
    assert "2 sign-out notices were given up" in concerns
    assert "/admin/deliveries?state=dead" in page.body
    assert int(page.texts["count-followers"]) >= 1
    for each in made:
        await api.delete(f"/scim-tokens/{each['id']}")
    page = await console.open(f"{console.issuer}/admin")
    assert names["soon"] not in page.texts.get("concerns", "")


async def test_events_are_shown_by_what_they_are_about(console: Browser, api: Api) -> None:
    user = await api.create("/users", username=name_of("seen"))

    async with asyncio.timeout(30):  # it takes the way through NATS
        page = await console.open(f"{console.issuer}/admin/events?about=user")
        while str(user["id"]) not in page.texts["events"]:
            await asyncio.sleep(0.02)
            page = await console.open(page.url)
    assert "/admin/events/stream?about=user" in page.body
    page = await console.open(f"{console.issuer}/admin/events?about=key")
    assert str(user["id"]) not in page.texts["events"]
    page = await console.open(f"{console.issuer}/admin/events?about=%22%3E")
    assert page.status == 200
    assert "/admin/events/stream?" not in page.body


async def test_an_issuer_is_trusted_changed_and_removed(console: Browser, api: Api) -> None:
    iss = f"https://{name_of('ci')}.example.com"
    await console.open(f"{console.issuer}/admin/issuers/new")
    page = await console.submit("aud", "save", iss=iss, aud="https://sso.example.com", jwks="{")
    assert page.texts["jwks-note"].startswith("not JSON")
    page = await console.submit("aud", "save", jwks="", token_expiry_s="5")
    assert page.texts["token_expiry_s-note"]
    page = await console.submit("aud", "save", token_expiry_s="600", description="Jobs")
    assert iss in page.links
    (made,) = (await api.get("/issuers", iss=iss))["items"]  # type: ignore[misc]  # a JSON list
    assert (made["token_expiry_s"], made["description"]) == (600, "Jobs")
    await console.click(iss)
    await console.submit("aud", "save", description="")
    (changed,) = (await api.get("/issuers", iss=iss))["items"]  # type: ignore[misc]
    assert (changed["description"], changed["subject_prefix"]) == (None, made["subject_prefix"])
    await console.click(iss)
    await console.click("ask-remove")
    await console.submit("confirm")
    assert (await api.get("/issuers", iss=iss))["items"] == []


async def test_what_is_done_at_the_console_stands_in_the_audit_log_under_the_persons_name(
    console: Browser, api: Api
) -> None:
    name = name_of("audited")
    await console.open(f"{console.issuer}/admin/users/new")
    page = await console.submit("username", "save", username=name)
    user_id = page.texts["user-id"]
    page = await console.open(f"{console.issuer}/admin/audit?resource={user_id}")
    (entry,) = (await api.get("/audit", resource=user_id, action="user.created"))["items"]  # type: ignore[misc]
    assert entry["via"] == "console"
    shown = page.texts[f"entry-{entry['seq']}"]
    assert entry["actor"]["name"] in shown
    assert "console, 127.0.0.1" in shown
    page = await console.open(f"{console.issuer}/admin/audit/verification")
    assert page.texts["verdict"]
    file = await console.send("GET", "/admin/audit/export")
    assert file.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
    assert user_id in file.body


async def test_the_configuration_is_a_file_of_documents_that_change_nothing(
    console: Browser, api: Api, make_client: Make, tmp_path: Path
) -> None:
    name = name_of("declared")
    client = await make_client(client_name=name, short_name=name)
    await api.create("/groups", name=name)
    person = await api.create("/users", username=name)
    await console.open(f"{console.issuer}/admin")
    file = await console.click("configuration")
    assert file.headers["content-disposition"] == 'attachment; filename="watchword.yaml"'
    assert str(client["client_secret"]) not in file.body
    path = tmp_path / "watchword.yaml"
    path.write_text(file.body)
    found = [(each.kind, each.members) for each in documents.read(path)]
    assert {"Group", "Client"} <= {kind for kind, _ in found}
    assert person["username"] not in {members.get("username") for _, members in found}
    for owner, kind in (("directory", "Group"), ("admin", "Client")):
        own = [{"kind": kind, **members} for each, members in found if each == kind and name in members.values()]
        assert len(own) == 1, kind
        plan = await api.create(f"/apply/{owner}", documents=own, dry_run=True)
        assert [step["action"] for step in plan["steps"]] == ["unchanged"]  # type: ignore[attr-defined]  # a JSON list


async def test_settings_of_sign_ins_are_shown_as_they_stand(console: Browser, api: Api) -> None:
    await console.open(f"{console.issuer}/admin")
    page = await console.click("nav-settings")
    items = (await api.get("/settings"))["items"]
    assert isinstance(items, list)
    assert {each["name"] for each in items} == {name for column in SETTINGS.columns for name, _ in column.words}
    for each in items:
        shown = page.texts[f"row-{each['name']}"]
        value = {True: "yes", False: "no"}[each["value"]] if isinstance(each["value"], bool) else str(each["value"])
        assert value in shown.split()
