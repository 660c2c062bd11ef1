"""The console's first page, live events, trusted issuers and the audit log."""

import asyncio
import secrets

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser


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
