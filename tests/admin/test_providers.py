"""Identity providers: what may be configured, what follows from each change, and where the secret goes."""

import base64
import secrets

import pytest
from tests.admin.conftest import PROVIDER, Make

from watchword.composition import settings_of
from watchword_events.contracts import ProviderConfigured, ProviderDisabled, ProviderRemoved, ProviderUpdated
from watchword_events.exports import Exported, ProviderExport
from watchword_events.names import Service
from watchword_runtime.feed import Feed
from watchword_runtime.keyring import Sealer, Unsealable
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

REFUSED: dict[str, dict[str, object]] = {
    "empty id": {"id": ""},
    "id with a slash": {"id": "a/b"},
    "id with a dot": {"id": ".."},
    "id beyond ascii": {"id": "Ókta"},
    "long id": {"id": "a" * 65},
    "unknown preset": {"preset": "wsfed"},
    "no issuer": {"issuer": None},
    "issuer over plain http": {"issuer": "http://login.corp.example"},
    "issuer with a query": {"issuer": "https://login.corp.example?x=1"},
    "issuer with a fragment": {"issuer": "https://login.corp.example#x"},
    "issuer with a user": {"issuer": "https://a:b@login.corp.example"},
    "issuer of the cloud's inside": {"issuer": "http://169.254.169.254/latest"},
    "issuer as file": {"issuer": "file:///etc/passwd"},
    "issuer in decimal": {"issuer": "https://2852039166"},
    "endpoint over plain http": {"token_endpoint": "http://login.corp.example/token"},
    "endpoint as script": {"authorization_endpoint": "javascript:alert(1)"},
    "discovery as gopher": {"discovery_url": "gopher://login.corp.example"},
    "keys as data": {"jwks_uri": "data:application/json,{}"},
    "no client id": {"client_id": None},
    "client id with a line break": {"client_id": "watch\nword"},
    "empty client secret": {"client_secret": ""},
    "no openid": {"scopes": ["email"]},
    "scope with a space": {"scopes": ["openid email"]},
    "name with markup of its own direction": {"display_name": "\u202eproC"},
    "blank name": {"display_name": " "},
    "order out of bounds": {"order": 5000},
    "unknown response mode": {"response_mode": "fragment"},
    "unknown member": {"trust_email": True},
    "kind": {"kind": "oidc"},
    "distrust": {"distrusted": False},
}


async def exported(platform: Platform, provider_id: object) -> Exported[ProviderExport]:
    """The provider as federation pulls it."""
    assert platform.process is not None
    settings = settings_of(Service.FEDERATION, platform.site.settings(platform.issuer, {})[Service.FEDERATION])
    pulls = platform.process.shared.internal.of(settings, Service.FEDERATION)
    (item,) = (await pulls.export(Service.ADMIN, "provider", {"id": [str(provider_id)]})).items
    return Exported[ProviderExport].model_validate(item.model_dump())


def opener(platform: Platform) -> Sealer:
    """federation's key."""
    settings = settings_of(Service.FEDERATION, platform.site.settings(platform.issuer, {})[Service.FEDERATION])
    return Sealer(settings.keyring.key("provider-secrets"), 0)


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.spec("OpenID Connect Core 3.1")
@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
async def test_what_would_not_work_or_leads_inside_is_refused(api: Api, given: dict[str, object]) -> None:
    body = PROVIDER | {"id": f"P-{secrets.token_hex(4)}"} | given
    refused = await api.call("POST", "/providers", body)
    assert refused.status_code == 400, refused.text
    (name,) = given
    pointers = [error["pointer"] for error in refused.json()["errors"]]
    assert any(pointer.startswith(f"#/{name}") or pointer == "#" for pointer in pointers), pointers


async def test_the_secret_is_sealed_for_federation_and_never_shown(
    platform: Platform, api: Api, make_provider: Make, canary: Canary
) -> None:
    secret = secrets.token_urlsafe(24)
    canary.add("provider secret", secret)
    made = await make_provider(client_secret=secret)
    assert made["has_client_secret"] is True
    assert "client_secret" not in made
    assert "client_secret" not in await api.get(f"/providers/{made['id']}")
    data = (await exported(platform, made["id"])).data
    assert data is not None
    assert data.client_secret is not None
    sealed = unpadded(data.client_secret)
    assert opener(platform).open(sealed, str(made["id"]).encode()).decode() == secret
    with pytest.raises(Unsealable):
        opener(platform).open(sealed, b"another provider")


async def test_the_secret_stays_unless_it_is_named(platform: Platform, api: Api, make_provider: Make) -> None:
    made = await make_provider(client_secret=secrets.token_urlsafe(24))
    path = f"/providers/{made['id']}"
    sealed = (await exported(platform, made["id"])).data
    assert sealed is not None
    body = {name: value for name, value in PROVIDER.items() if name != "id"}
    await api.call("PUT", path, body | {"display_name": "Corp 2"})
    await api.change(path, order=3)
    kept = (await exported(platform, made["id"])).data
    assert kept is not None
    assert kept.client_secret == sealed.client_secret
    assert (await api.change(path, client_secret=secrets.token_urlsafe(24)))["has_client_secret"] is True
    assert (await api.change(path, client_secret=None))["has_client_secret"] is False


async def test_the_address_of_the_presets_is_no_provider(api: Api) -> None:
    """Its own page and call could not be reached."""
    refused = await api.call("POST", "/providers", PROVIDER | {"id": "presets"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "#/id")


@pytest.mark.seed(80)
async def test_ids_differ_by_case(api: Api, make_provider: Make) -> None:
    made = await make_provider()
    other = await make_provider(id=str(made["id"]).upper())
    assert other["id"] != made["id"]
    assert (await api.call("GET", f"/providers/{str(made['id']).lower()}")).status_code == 404
    again = await api.call("POST", "/providers", PROVIDER | {"id": made["id"]})
    assert again.status_code == 409
    assert again.json()["errors"][0]["pointer"] == "#/id"


@pytest.mark.seed(78)
async def test_the_callback_url_is_told(platform: Platform, make_provider: Make) -> None:
    made = await make_provider()
    assert made["callback_url"] == f"{platform.issuer}/api/auth/sso/callback/{made['id']}"


async def test_disabling_closes_the_door_and_leaves_those_inside_unless_asked(
    platform: Platform, api: Api, make_provider: Make, feed: Feed
) -> None:
    provider_id = str((await make_provider())["id"])
    path = f"/providers/{provider_id}"
    before = feed.position
    async with platform.nats_client() as client, expect_events(client, (ProviderDisabled, provider_id)):
        await api.change(path, enabled=False)
    assert feed.is_live({"idp": provider_id, "rev": before})
    await api.call("PATCH", path, {"enabled": False}, end_sessions="true")
    assert not feed.is_live({"idp": provider_id, "rev": feed.position}), "distrusted also when it was disabled before"
    async with platform.nats_client() as client, expect_events(client, (ProviderUpdated, provider_id)):
        await api.change(path, enabled=True)
    assert not feed.is_live({"idp": provider_id, "rev": before}), "what came through it before stays dead"
    assert feed.is_live({"idp": provider_id, "rev": feed.position})


@pytest.mark.seed(95)
async def test_removing_ends_what_came_through_it_unless_said(
    platform: Platform, api: Api, make_provider: Make, feed: Feed
) -> None:
    gone, spared = str((await make_provider())["id"]), str((await make_provider())["id"])
    before = feed.position
    async with platform.nats_client() as client, expect_events(client, (ProviderRemoved, gone)):
        await api.delete(f"/providers/{gone}")
    await api.call("DELETE", f"/providers/{spared}", None, end_sessions="false")
    assert not feed.is_live({"idp": gone, "rev": feed.position})
    assert feed.is_live({"idp": spared, "rev": before})
    assert (await api.call("GET", f"/providers/{gone}")).status_code == 404
    assert (await api.call("PATCH", f"/providers/{gone}", {"order": 1})).status_code == 404
    assert (await api.call("DELETE", f"/providers/{gone}")).status_code == 204
    tombstone = await exported(platform, gone)
    assert (tombstone.deleted, tombstone.data) == (True, None)


async def test_an_id_may_be_used_again_and_brings_nothing_back(
    platform: Platform, api: Api, make_provider: Make, feed: Feed
) -> None:
    provider_id = str((await make_provider(client_secret=secrets.token_urlsafe(24)))["id"])
    before = feed.position
    await api.delete(f"/providers/{provider_id}")
    async with platform.nats_client() as client, expect_events(client, (ProviderConfigured, provider_id)):
        again = await make_provider(id=provider_id)
    assert again["has_client_secret"] is False
    assert again["version"] == 3, "copies never take the old one for newer"
    assert not feed.is_live({"idp": provider_id, "rev": before})
    assert feed.is_live({"idp": provider_id, "rev": feed.position})


async def test_presets_say_what_they_ask_for(api: Api) -> None:
    presets = (await api.get("/providers/presets"))["items"]
    assert isinstance(presets, list)
    (oidc,) = [preset for preset in presets if preset["preset"] == "oidc"]
    required = [field["name"] for field in oidc["fields"] if field["required"]]
    assert required == ["issuer", "client_id"]
    body = {"id": f"P-{secrets.token_hex(4)}", "preset": "oidc", "display_name": "P"}
    assert (await api.call("POST", "/providers", body)).status_code == 400
    body |= {"issuer": "https://login.corp.example", "client_id": "x"}
    assert (await api.call("POST", "/providers", body)).status_code == 201
