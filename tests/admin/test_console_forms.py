"""The console's lists and forms: they show what is there, and do what the API does."""

import re
import secrets
from urllib.parse import urlsplit

from tests.admin.conftest import Make

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform


async def test_an_application_is_registered_changed_and_deleted_with_forms(
    platform: Platform, console: Browser, api: Api
) -> None:
    name = f"Form {secrets.token_hex(4)}"
    await console.open(f"{platform.issuer}/admin/applications/new")
    page = await console.submit(
        "client_name", "save", client_name=name, redirect_uris="https://form.example.com/cb\nhttps://form.example.com/2"
    )
    assert page.status == 201
    client_id, secret = page.texts["client-id"], page.texts["client-secret"]
    assert len(secret) == 43
    made = await api.get(f"/clients/{client_id}")
    assert made["redirect_uris"] == ["https://form.example.com/cb", "https://form.example.com/2"]
    assert made["require_pkce"] is True

    page = await console.open(f"{platform.issuer}/admin/applications/{client_id}")
    assert secret not in page.body, "a secret is shown once"
    await console.click("edit")
    await console.submit("client_name", "save", description="Changed here", require_consent="")
    changed = await api.get(f"/clients/{client_id}")
    assert changed["description"] == "Changed here"
    assert changed["redirect_uris"] == made["redirect_uris"]

    await console.submit("disable", "disable")
    assert (await api.get(f"/clients/{client_id}"))["enabled"] is False
    await console.submit("enable", "enable")
    assert (await api.get(f"/clients/{client_id}"))["enabled"] is True
    page = await console.submit("new-secret", "new-secret")
    assert page.texts["client-secret"] not in {"", secret}
    await console.click("ask-delete")
    await console.submit("delete", "delete")
    assert (await api.call("GET", f"/clients/{client_id}")).status_code == 404


async def test_what_is_wrong_stands_beside_its_field_and_nothing_is_saved(
    platform: Platform, console: Browser, api: Api
) -> None:
    name = f"Wrong {secrets.token_hex(4)}"
    await console.open(f"{platform.issuer}/admin/applications/new")
    page = await console.submit(
        "client_name", "save", client_name=name, redirect_uris="http://form.example.com/cb", scope='"'
    )
    assert page.status == 400
    assert "https" in page.texts["redirect_uris-note"]
    assert page.texts["scope-note"]
    assert page.form_with("client_name").fields["client_name"] == name, "what was typed is still there"
    assert (await api.get("/clients", client_name=name))["items"] == []


async def test_a_provider_is_configured_changed_and_removed_with_forms(
    platform: Platform, console: Browser, api: Api, canary: Canary
) -> None:
    provider_id, secret = f"Form-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    canary.add("provider secret", secret)
    await console.open(f"{platform.issuer}/admin/providers/new")
    page = await console.submit(
        "issuer",
        "save",
        id=provider_id,
        display_name="Form Corp",
        issuer="https://login.form.example",
        client_id="watchword",
        client_secret=secret,
    )
    assert urlsplit(page.url).path == "/admin/providers"
    made = await api.get(f"/providers/{provider_id}")
    assert made["has_client_secret"] is True
    assert made["enabled"] is True
    page = await console.click(f"configure-{provider_id}")
    assert secret not in page.body
    await console.submit("issuer", "save", display_name="Form Corp 2", issuer="https://login.form.example")
    changed = await api.get(f"/providers/{provider_id}")
    assert changed["display_name"] == "Form Corp 2"
    assert changed["has_client_secret"] is True, "an empty secret changes nothing"
    await console.click(f"remove-{provider_id}")
    await console.submit("remove", "remove")
    assert (await api.call("GET", f"/providers/{provider_id}")).status_code == 404


async def test_a_wrong_address_of_a_provider_stands_beside_its_field(platform: Platform, console: Browser) -> None:
    await console.open(f"{platform.issuer}/admin/providers/new")
    page = await console.submit(
        "issuer", "save", id="X", display_name="X", issuer="http://169.254.169.254", client_id="x"
    )
    assert page.status == 400
    assert "outbound_allow" in page.texts["issuer-note"]


async def test_names_are_shown_as_text(platform: Platform, console: Browser, make_client: Make) -> None:
    made = await make_client(client_name='<script>alert(1)</script>"', description="<img src=x onerror=alert(1)>")
    for path in ("/admin/applications?", f"/admin/applications/{made['client_id']}"):
        page = await console.send("GET", path)
        assert "<script>alert" not in page.body
        assert "<img src=x" not in page.body


async def test_events_are_a_list_without_javascript(
    platform: Platform, console: Browser, make_client: Make, api: Api
) -> None:
    made = await make_client()
    for _ in range(50):
        page = await console.send("GET", "/admin/events")
        if str(made["client_id"]) in page.body:
            break
    assert re.search(rf"client\.registered.*{made['client_id']}", page.body, re.DOTALL)


async def test_lists_of_applications_go_on(platform: Platform, console: Browser, make_client: Make) -> None:
    wanted = {str((await make_client())["client_id"]) for _ in range(52)}
    seen = ""
    page = await console.open(f"{platform.issuer}/admin/applications")
    while True:
        seen += page.body
        if "next" not in page.links:
            break
        page = await console.click("next")
    assert all(client_id in seen for client_id in wanted)
    forged = await console.send("GET", "/admin/applications?cursor=forged")
    assert forged.status == 400
