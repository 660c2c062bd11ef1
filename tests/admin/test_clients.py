"""Changes of clients: what follows from each, in the ledger, in events and in secrets."""

import asyncio
import hashlib
import secrets

import pytest
from tests.admin.conftest import Make

from watchword.composition import settings_of
from watchword_events.contracts import ClientDeleted, ClientDisabled, ClientEnabled, ClientRegistered, ClientUpdated
from watchword_events.exports import ClientExport, Exported
from watchword_events.names import Service
from watchword_runtime.feed import Feed
from watchword_runtime.passwords import Passwords
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

CHOSEN = "correct-horse-battery-staple"


async def exported(platform: Platform, client_id: object) -> Exported[ClientExport]:
    """The client as token pulls it."""
    assert platform.process is not None
    settings = settings_of(Service.TOKEN, platform.site.settings(platform.issuer, {})[Service.TOKEN])
    pulls = platform.process.shared.internal.of(settings, Service.TOKEN)
    (item,) = (await pulls.export(Service.ADMIN, "client", {"id": [str(client_id)]})).items
    return Exported[ClientExport].model_validate(item.model_dump())


async def test_a_generated_secret_is_shown_once_and_stored_as_its_hash(
    platform: Platform, api: Api, make_client: Make
) -> None:
    made = await make_client()
    secret = str(made["client_secret"])
    assert len(secret) == 43
    assert (await api.get(f"/clients/{made['client_id']}"))["client_secret"] is None
    data = (await exported(platform, made["client_id"])).data
    assert data is not None
    assert [each.hash for each in data.secrets] == [f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"]


async def test_a_chosen_secret_is_stored_with_a_slow_hash_and_not_repeated(
    platform: Platform, make_client: Make
) -> None:
    made = await make_client(client_secret=CHOSEN)
    assert made["client_secret"] is None
    data = (await exported(platform, made["client_id"])).data
    assert data is not None
    (stored,) = data.secrets
    assert stored.hash.startswith("$argon2id$")
    passwords = Passwords()
    assert (await passwords.verify(stored.hash, CHOSEN)).ok
    passwords.close()


async def test_who_asks_for_consent_learns_what_the_client_says_of_its_use_of_data(
    platform: Platform, make_client: Make
) -> None:
    links = {"policy_uri": "https://wiki.example/privacy", "tos_uri": "https://wiki.example/terms"}
    data = (await exported(platform, (await make_client(**links))["client_id"])).data
    assert data is not None
    assert {"policy_uri": data.policy_uri, "tos_uri": data.tos_uri} == links


async def test_a_public_client_has_no_secret(platform: Platform, api: Api, make_client: Make) -> None:
    made = await make_client(token_endpoint_auth_method="none")
    assert made["client_secret"] is None
    assert made["secrets"] == []
    refused = await api.call("POST", f"/clients/{made['client_id']}/secrets", {})
    assert refused.status_code == 409


async def test_a_new_secret_takes_the_place_of_the_old_or_stands_beside_it(
    platform: Platform, api: Api, make_client: Make
) -> None:
    made = await make_client()
    path = f"/clients/{made['client_id']}"
    beside = await api.create(f"{path}/secrets", keep_newest=True)
    assert len((await api.get(path))["secrets"]) == 2  # type: ignore[arg-type]  # JSON
    assert (await api.call("DELETE", f"{path}/secrets/{beside['id']}")).status_code == 204
    (left,) = (await api.get(path))["secrets"]  # type: ignore[misc]  # JSON
    refused = await api.call("DELETE", f"{path}/secrets/{left['id']}")  # type: ignore[has-type]  # JSON
    assert refused.status_code == 409, "a client cannot be locked out by accident"
    instead = await api.client.post(f"{path}/secrets")
    assert instead.status_code == 201
    assert [each["id"] for each in (await api.get(path))["secrets"]] == [instead.json()["id"]]  # type: ignore[attr-defined]  # JSON
    data = (await exported(platform, made["client_id"])).data
    assert data is not None
    digest = hashlib.sha256(instead.json()["client_secret"].encode()).hexdigest()
    assert [each.hash for each in data.secrets] == [f"sha256:{digest}"]


async def test_going_public_drops_the_secrets_and_coming_back_makes_one(api: Api, make_client: Make) -> None:
    made = await make_client()
    path = f"/clients/{made['client_id']}"
    public = await api.change(path, token_endpoint_auth_method="none")
    assert public["secrets"] == []
    confidential = await api.change(path, token_endpoint_auth_method="client_secret_post")
    assert confidential["client_secret"]
    assert confidential["client_secret"] != made["client_secret"]


async def test_a_disabled_client_is_dead_when_the_call_returns(
    platform: Platform, api: Api, make_client: Make, feed: Feed
) -> None:
    client_id = str((await make_client())["client_id"])
    before = feed.position
    async with (
        platform.nats_client() as client,
        expect_events(client, (ClientDisabled, client_id), (ClientEnabled, client_id)),
    ):
        await api.change(f"/clients/{client_id}", enabled=False)
        assert not feed.is_live({"client_id": client_id, "rev": feed.position})
        await api.change(f"/clients/{client_id}", enabled=True)
    assert not feed.is_live({"client_id": client_id, "rev": before})
    assert feed.is_live({"client_id": client_id, "rev": feed.position})


async def test_a_client_may_be_registered_disabled(make_client: Make, feed: Feed) -> None:
    made = await make_client(enabled=False)
    assert made["enabled"] is False
    assert not feed.is_live({"client_id": made["client_id"], "rev": feed.position})


async def test_a_deleted_client_is_dead_and_leaves_a_tombstone(
    platform: Platform, api: Api, make_client: Make, feed: Feed
) -> None:
    made = await make_client()
    path = f"/clients/{made['client_id']}"
    async with platform.nats_client() as client, expect_events(client, (ClientDeleted, str(made["client_id"]))):
        await api.delete(path)
    assert not feed.is_live({"client_id": made["client_id"], "rev": feed.position})
    assert (await api.call("GET", path)).status_code == 404
    assert (await api.call("PATCH", path, {"client_name": "x"})).status_code == 404
    assert (await api.call("POST", f"{path}/secrets", {})).status_code == 404
    assert (await api.call("DELETE", path)).status_code == 204
    tombstone = await exported(platform, made["client_id"])
    assert (tombstone.deleted, tombstone.data, tombstone.version) == (True, None, 2)


async def test_events_name_the_client_and_nothing_else(platform: Platform, api: Api) -> None:
    async with platform.nats_client() as client, expect_events(client, ClientRegistered, ClientUpdated) as seen:
        body = {"client_name": "Very Own Name", "redirect_uris": ["https://own.example.com/cb"]}
        made = await api.create("/clients", **body)
        await api.change(f"/clients/{made['client_id']}", description="Very own words")
    told = " ".join(each.body for each in seen.events if each.id == made["client_id"])
    assert str(made["client_id"]) in told
    for private in ("Very", "own.example.com", str(made["client_secret"])):
        assert private not in told


async def test_what_does_not_differ_changes_nothing(api: Api, make_client: Make) -> None:
    made = await make_client(client_secret=CHOSEN)
    path = f"/clients/{made['client_id']}"
    assert await api.change(path, client_name=made["client_name"], enabled=True) == await api.get(path)
    assert (await api.get(path))["version"] == 1


async def test_put_returns_what_is_left_out_to_its_default_but_keeps_the_secrets(api: Api, make_client: Make) -> None:
    made = await make_client(description="Words", scope="openid", require_consent=False)
    await api.change(f"/clients/{made['client_id']}", enabled=False)
    body = {"client_name": made["client_name"], "redirect_uris": ["https://new.example.com/cb"]}
    answer = await api.call("PUT", f"/clients/{made['client_id']}", body)
    replaced = answer.json()
    assert (replaced["description"], replaced["scope"], replaced["require_consent"]) == (
        None,
        "openid profile email",
        True,
    )
    assert replaced["enabled"] is False
    assert [each["id"] for each in replaced["secrets"]] == [each["id"] for each in made["secrets"]]  # type: ignore[attr-defined]  # JSON
    assert replaced["client_secret"] is None


@pytest.mark.spec("RFC 7396 2")
async def test_patch_changes_what_is_there_and_null_removes(api: Api, make_client: Make) -> None:
    made = await make_client(description="Words", access_token_format="opaque", access_token_lifetime_s=60)
    path = f"/clients/{made['client_id']}"
    changed = await api.change(path, description=None, access_token_lifetime_s=None)
    assert (changed["description"], changed["access_token_lifetime_s"]) == (None, 36_000)
    assert changed["access_token_format"] == "opaque"
    for body in ({"client_name": None}, {"redirect_uris": None}, {"token_endpoint_auth_method": "none", "x": 1}):
        assert (await api.call("PATCH", path, body)).status_code == 400


async def test_what_get_shows_can_be_put_back(api: Api, make_client: Make) -> None:
    made = await make_client(description="before", grant_types=["authorization_code", "refresh_token"])
    shown = await api.get(f"/clients/{made['client_id']}")
    answer = await api.call("PUT", f"/clients/{made['client_id']}", dict(shown) | {"description": "after"})
    assert answer.status_code == 200, answer.text
    changes = {"description": "after", "version": answer.json()["version"], "updated_at": answer.json()["updated_at"]}
    assert answer.json() == dict(shown) | changes
    answer = await api.call("PUT", f"/clients/{made['client_id']}", dict(shown) | {"colour": "red"})
    assert answer.status_code == 400


@pytest.mark.spec("RFC 7591 2")
async def test_client_uri_is_taken_by_either_name(api: Api, make_client: Make) -> None:
    made = await make_client(client_uri="https://app.example/")
    assert made["main_uri"] == "https://app.example/"
    path = f"/clients/{made['client_id']}"
    changed = await api.change(path, client_uri="https://new.example/")
    assert changed["main_uri"] == "https://new.example/"
    both = {"client_name": "x", "redirect_uris": ["https://a.example/cb"], "client_uri": "https://a.example/"}
    answer = await api.call("POST", "/clients", both | {"main_uri": "https://b.example/"})
    assert answer.status_code == 400
    assert "client_uri" in answer.text


async def test_parallel_changes_of_different_members_all_hold(api: Api, make_client: Make) -> None:
    path = f"/clients/{(await make_client())['client_id']}"
    await asyncio.gather(
        api.change(path, description="Words"),
        api.change(path, require_consent=False),
        api.change(path, scope="openid"),
        api.change(path, access_token_lifetime_s=60),
    )
    found = await api.get(path)
    assert (found["description"], found["require_consent"], found["scope"], found["access_token_lifetime_s"]) == (
        "Words",
        False,
        "openid",
        60,
    )


async def test_short_names_are_unique_in_any_case(api: Api, make_client: Make) -> None:
    short = f"App-{secrets.token_hex(4)}"
    await make_client(short_name=short)
    other = await make_client()
    refused = await api.call("PATCH", f"/clients/{other['client_id']}", {"short_name": short.lower()})
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["pointer"] == "#/short_name"
    found = await api.get("/clients", short_name=short.upper())
    assert len(found["items"]) == 1  # type: ignore[arg-type]  # JSON


async def test_the_consoles_own_client_is_not_for_changing(api: Api) -> None:
    for method, path, body in (
        ("PATCH", "/clients/watchword-console", {"redirect_uris": ["https://evil.example/cb"]}),
        ("PUT", "/clients/watchword-console", {"client_name": "x", "redirect_uris": ["https://evil.example/cb"]}),
        ("DELETE", "/clients/watchword-console", None),
    ):
        assert (await api.call(method, path, body)).status_code == 409


async def test_a_compromised_secret_is_not_kept_and_ends_what_was_issued(
    api: Api, make_client: Make, feed: Feed
) -> None:
    client_id = str((await make_client())["client_id"])
    path = f"/clients/{client_id}/secrets"
    refused = await api.call("POST", path, {"compromised": True, "keep_newest": True})
    assert refused.status_code == 400, refused.text
    before = feed.position
    await api.create(path)
    assert feed.is_live({"client_id": client_id, "rev": before}), "a planned replacement ends nothing"
    await api.create(path, compromised=True)
    assert not feed.is_live({"client_id": client_id, "rev": before})
    assert feed.is_live({"client_id": client_id, "rev": feed.position}), "the client itself goes on"
