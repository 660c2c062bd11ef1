"""Provider cards: what each preset offers, trying one, closing one with its consequences said."""

import secrets

import pytest
from tests.admin.conftest import Make, sign_in

from watchword_admin import provider_kinds
from watchword_admin.console.fields import new_provider_values, provider_members
from watchword_admin.presets import Preset, Presets
from watchword_database import transaction
from watchword_database.ids import new_id
from watchword_directory.models import IdentityLink
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_web.logos import PICTURES


async def test_there_is_a_card_for_every_preset(own_platform: Platform, canary: Canary) -> None:
    """Where nothing is configured yet: what is has a card of its own."""
    async with own_platform.browser(canary) as console:
        await sign_in(console, own_platform)
        page = await console.open(f"{console.issuer}/admin/providers")
        for preset in PRESETS.all:
            assert page.has(f"preset-card-{preset.preset}"), preset.preset
        assert page.body.count('<svg viewBox="0 0 24 24"') == len(PICTURES)


async def test_a_form_says_what_is_to_be_done_at_the_provider(console: Browser) -> None:
    page = await console.open(f"{console.issuer}/admin/providers/new?preset=okta")
    assert "domain" in page.form_with("client_id").fields
    assert page.texts["callback-url"].endswith("/api/auth/sso/callback/okta")
    assert page.texts["steps"]


PRESETS = Presets.load()
# Those that leave the choice of what has to be said to whoever configures them.
OPEN = {"oauth2", "saml", "apple"}
TYPED = {"url": "https://acme.example", "host": "acme.example"}


@pytest.mark.parametrize(
    "preset", [each for each in PRESETS.all if each.preset not in OPEN], ids=lambda each: each.preset
)
def test_what_the_form_shows_first_needs_only_what_it_asks_for(preset: Preset) -> None:
    shown = {name: value for name, value in new_provider_values(preset).items() if value}
    asked = [
        field for field in preset.fields if field.required or field.name in {"client_id", "client_secret", "issuer"}
    ]
    typed = {field.name: TYPED.get(field.kind, "acme") for field in asked if field.name not in shown}
    members = provider_members(preset, shown | typed)
    said = {name: value for name, value in members.items() if value is not None}
    assert provider_kinds.new_provider(PRESETS, {"id": shown["id"], **said})


async def test_a_preset_is_filled_in_and_its_addresses_are_there_to_copy(console: Browser, api: Api) -> None:
    provider_id = f"Okta-{secrets.token_hex(4)}"
    await console.open(f"{console.issuer}/admin/providers/new?preset=okta")
    page = await console.submit(
        "client_id", "save", id=provider_id, display_name="Okta", domain="acme.okta.com", client_id="abc"
    )
    made = await api.get(f"/providers/{provider_id}")
    assert made["issuer"] == "https://acme.okta.com"
    assert f"/api/auth/sso/callback/{provider_id}" in page.texts[f"card-{provider_id}"]
    rule = {"expression": "claims.country == 'NO'", "groups": ["norway"]}
    await api.change(f"/providers/{provider_id}", group_sync={"rules": [rule]})
    await console.click(f"configure-{provider_id}")
    page = await console.submit("client_id", "save", domain="other.okta.com", organization="nobody-knows-it")
    assert "there is no such organization" in page.body
    said = {"domain": "other.okta.com", "group_pattern": "^team-", "group_names": "Domain Admins = ops"}
    await console.submit("client_id", "save", **said, organization="", default_role="viewer", sync="once")
    found = await api.get(f"/providers/{provider_id}")
    assert found["issuer"] == "https://other.okta.com"
    sync = found["group_sync"]
    assert isinstance(sync, dict)
    assert (sync["pattern"], sync["names"], len(sync["rules"])) == ("^team-", {"Domain Admins": "ops"}, 1)
    assert (found["default_role"], found["sync"], found["linking"]) == ("viewer", "once", "prove")
    await api.delete(f"/providers/{provider_id}")


async def test_who_gets_tokens_of_a_provider_s_people_is_said_in_its_form(console: Browser, api: Api) -> None:
    provider_id = f"Entra-{secrets.token_hex(4)}"
    await console.open(f"{console.issuer}/admin/providers/new?preset=entra")
    page = await console.submit(
        "client_id", "save", id=provider_id, tenant="acme", client_id="abc", exchange_way="entra_obo"
    )
    assert "keep_tokens is needed" in page.body
    page = await console.submit("client_id", "save", keep_tokens="1")
    graph = "https://graph.microsoft.com"
    said = {
        "exchange_clients": f"https://app.example/?a=b = {graph}\nother\nhttps://app.example/?a=b = my service",
        "exchange_scopes": f"https://app.example/?a=b = {graph}/Calendars.Read",
        "exchange_client_id": "exchanging",
        "exchange_token_endpoint_auth_method": "client_secret_post",
        "exchange_client_secret": "exchange-s3cret",
        "exchange_token_endpoint": "https://login.example/token",
    }
    await console.click(f"configure-{provider_id}")
    await console.submit("client_id", "save", **said)
    wanted = {
        "way": "entra_obo",
        "clients": [
            {
                "client_id": "https://app.example/?a=b",
                "audiences": [graph, "my service"],
                "scopes": [f"{graph}/Calendars.Read"],
            },
            {"client_id": "other", "audiences": [], "scopes": []},
        ],
        "user_token": "access_token",
        "client_id": "exchanging",
        "token_endpoint": "https://login.example/token",
        "token_endpoint_auth_method": "client_secret_post",
        "private_key_id": None,
        "client_assertion_audience": None,
    }
    # Saved again as it is shown, nothing is another.
    for _ in range(2):
        found = await api.get(f"/providers/{provider_id}")
        assert (found["keep_tokens"], found["exchange"], found["has_exchange_secret"]) == (True, wanted, True)
        page = await console.click(f"configure-{provider_id}")
        assert "exchange-s3cret" not in page.body
        await console.submit("client_id", "save")
    await console.click(f"configure-{provider_id}")
    page = await console.submit("client_id", "save", exchange_way="id_jag")
    assert "an ID-JAG is for an authorization server" in page.body
    jag = {"exchange_clients": "other = https://api.example", "exchange_scopes": ""}
    await console.submit("client_id", "save", **jag, exchange_token_endpoint_auth_method="")
    found = await api.get(f"/providers/{provider_id}")
    exchange = found["exchange"]
    assert isinstance(exchange, dict)
    assert (exchange["way"], exchange["user_token"], found["has_exchange_secret"]) == ("id_jag", "id_token", False)
    await console.click(f"configure-{provider_id}")
    await console.submit("client_id", "save", exchange_way="", keep_tokens="")
    found = await api.get(f"/providers/{provider_id}")
    assert (found["keep_tokens"], found["exchange"]) == (False, None)
    await api.delete(f"/providers/{provider_id}")


async def test_a_provider_is_disabled_enabled_and_deleted_with_what_that_means(
    console: Browser, api: Api, make_provider: Make
) -> None:
    provider = await make_provider(display_name="Corp Login")
    provider_id = provider["id"]
    await console.open(f"{console.issuer}/admin/providers")
    page = await console.click(f"disable-{provider_id}")
    assert "People linked to it: 0" in page.body
    assert not page.has("no-invite"), "nobody needs a link"
    await console.submit("disable", end_sessions="1")
    assert (await api.get(f"/providers/{provider_id}"))["enabled"] is False
    ended = (await api.get("/revocations", limit="200"))["items"]
    assert any(each["claim"] == "idp" and each["value"] == provider_id for each in ended)  # type: ignore[attr-defined]
    await console.submit(f"enable-{provider_id}")
    assert (await api.get(f"/providers/{provider_id}"))["enabled"] is True
    page = await console.click(f"remove-{provider_id}")
    assert "cannot be undone" in page.body
    await console.submit("remove")
    assert (await api.call("GET", f"/providers/{provider_id}")).status_code == 404


async def test_only_people_who_have_no_other_provider_are_offered_a_link(
    platform: Platform, console: Browser, api: Api, make_provider: Make
) -> None:
    provider = str((await make_provider())["id"])
    user = await api.create("/users", username=f"linked-{secrets.token_hex(4)}")
    async with transaction(platform.database.open(Service.DIRECTORY)) as session:
        link = IdentityLink(
            id=new_id(), user_id=str(user["id"]), provider_id=provider, issuer="https://login.corp.example",
            subject="1", created_at=utc_now(), last_used_at=utc_now(),
        )  # fmt: skip
        session.add(link)
    for deed in ("disable", "remove"):
        page = await console.open(f"{console.issuer}/admin/providers/{provider}/{deed}")
        assert "Those without another provider: 1." in page.body
        assert "there is no mail server" in page.texts["no-invite"]


async def test_a_provider_s_page_leads_to_its_rules_and_to_its_tokens_for_applications(
    console: Browser, make_provider: Make
) -> None:
    rules = [{"expression": "true", "groups": ["ops"]}]
    provider = (await make_provider(group_sync={"rules": rules}))["id"]
    page = await console.open(f"{console.issuer}/admin/providers/{provider}")
    assert page.texts["mapping-rules"].startswith("Rules: 0 for roles, 1 for groups.")
    assert page.links["to-exchange"].endswith("#exchange")
    assert "token endpoint (RFC 8693)" in page.texts["exchange"]
    page = await console.click("mapping")
    assert page.texts["group-rules"]
    page = await console.open(f"{console.issuer}/admin/providers")
    assert page.links[f"mapping-{provider}"].endswith(f"/admin/providers/{provider}/mapping")


async def test_the_test_page_says_how_to_try_and_what_failed(console: Browser, make_provider: Make) -> None:
    provider = await make_provider()
    await console.open(f"{console.issuer}/admin/providers")
    page = await console.click(f"test-{provider['id']}")
    assert "None that is remembered." in page.texts["attempts"]
    page = await console.submit("try")
    assert page.links["trial-url"].startswith(f"{console.issuer}/api/auth/sso/trials/{provider['id']}")
    page = await console.click("refresh")
    assert "Nobody has come back" in page.texts["waiting"]
    assert not page.has("trial-url"), "the link is said once"
