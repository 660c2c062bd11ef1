"""A client's management of itself: with its own token, which is good for one change and for no other client."""

import asyncio

import pytest
from tests.admin.registration.conftest import REDIRECT_URI, Metadata, Stranger
from tests.contracts.test_waiting import slow_verifier

from watchword_runtime.receipts import COMPLETE, REVOCATIONS
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party


def changed(client: Metadata, **members: object) -> Metadata:
    """What a client sends to change itself: all that it is, without what only the server says."""
    said = {
        "registration_access_token",
        "registration_client_uri",
        "client_secret",
        "client_secret_expires_at",
        "client_id_issued_at",
    }
    return {name: value for name, value in client.items() if name not in said} | members


@pytest.mark.spec("RFC 7592 2.1, 3")
async def test_a_client_reads_itself(stranger: Stranger) -> None:
    made = await stranger.register()
    answer = await stranger.manage("GET", made)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    secrets = {"client_secret", "client_secret_expires_at"}
    assert answer.json() == {name: value for name, value in made.items() if name not in secrets}


@pytest.mark.spec("RFC 7592 2.2")
async def test_a_change_replaces_all_and_the_token_with_it(stranger: Stranger) -> None:
    made = await stranger.register(client_uri="https://agent.example/", contacts=["ops@agent.example"])
    wanted = changed(made, client_name="Other name", contacts=None)
    del wanted["client_uri"]
    answer = await stranger.manage("PUT", made, wanted)
    assert answer.status_code == 200, answer.text
    now = answer.json()
    assert now["client_name"] == "Other name"
    assert not {"client_uri", "contacts"} & now.keys()
    assert now["registration_access_token"] != made["registration_access_token"]
    assert (await stranger.manage("GET", made)).status_code == 401
    assert (await stranger.manage("GET", now)).status_code == 200


async def test_of_changes_at_once_with_one_token_one_is_made(stranger: Stranger) -> None:
    made = await stranger.register()
    answers = await asyncio.gather(
        *(stranger.manage("PUT", made, changed(made, client_name=f"Name {n}")) for n in range(10))
    )
    assert sorted(each.status_code for each in answers) == [200] + [401] * 9


async def test_a_refused_change_leaves_the_token_as_it_was(stranger: Stranger) -> None:
    made = await stranger.register()
    assert (await stranger.manage("PUT", made, changed(made, redirect_uris=["nonsense"]))).status_code == 400
    assert (await stranger.manage("GET", made)).status_code == 200


BAD_CHANGES: dict[str, tuple[Metadata, str]] = {
    "another client_id": ({"client_id": "watchword-console"}, "invalid_request"),
    "no client_id": ({"client_id": None}, "invalid_request"),
    "the server's own members": ({"client_id_issued_at": 1}, "invalid_request"),
    "a token": ({"registration_access_token": "x"}, "invalid_request"),
    "a chosen secret": ({"client_secret": "chosen-by-the-client-itself"}, "invalid_client_metadata"),
    "a secret that is no text": ({"client_secret": 7}, "invalid_client_metadata"),
    "trust": ({"require_consent": False}, "invalid_client_metadata"),
    "a grant beyond its terms": (
        {"grant_types": ["authorization_code", "client_credentials"]},
        "invalid_client_metadata",
    ),
    "an administrator's scope": ({"scope": "watchword:admin"}, "invalid_client_metadata"),
    "a redirect URI of a script": ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
}


@pytest.mark.spec("RFC 7592 2.2")
@pytest.mark.parametrize(("members", "error"), BAD_CHANGES.values(), ids=BAD_CHANGES)
async def test_bad_changes_are_refused(stranger: Stranger, members: Metadata, error: str) -> None:
    made = await stranger.register()
    answer = await stranger.manage("PUT", made, changed(made, **members))
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text


async def test_the_present_secret_may_be_sent_along(stranger: Stranger) -> None:
    made = await stranger.register()
    answer = await stranger.manage("PUT", made, changed(made, client_secret=made["client_secret"]))
    assert answer.status_code == 200
    assert "client_secret" not in answer.json()


async def test_a_public_client_that_becomes_confidential_gets_a_secret(
    site: Platform, stranger: Stranger, admin: Api
) -> None:
    made = await stranger.register(token_endpoint_auth_method="none")
    answer = await stranger.manage("PUT", made, changed(made, token_endpoint_auth_method="client_secret_post"))
    now = answer.json()
    party = Party(site.issuer, now["client_id"], now["client_secret"], method="client_secret_post")
    async with asyncio.timeout(30):  # until token has heard of it
        while (await party.ask("introspect", token="x")).status_code != 200:
            await asyncio.sleep(0.05)
    back = await stranger.manage("PUT", now, changed(now, token_endpoint_auth_method="none"))
    assert back.status_code == 200
    assert (await admin.get(f"/clients/{now['client_id']}"))["secrets"] == []


async def test_what_an_administrator_set_stays(stranger: Stranger, admin: Api) -> None:
    made = await stranger.register()
    await admin.change(f"/clients/{made['client_id']}", access_token_lifetime_s=60, description="Checked by ops")
    answer = await stranger.manage("PUT", made, changed(made, client_name="Renamed"))
    assert answer.status_code == 200
    seen = await admin.get(f"/clients/{made['client_id']}")
    assert (seen["client_name"], seen["access_token_lifetime_s"]) == ("Renamed", 60)
    assert seen["description"] == "Checked by ops"


@pytest.mark.spec("RFC 7592 2.3")
async def test_a_client_deletes_itself_and_its_tokens_with_it(site: Platform, stranger: Stranger, admin: Api) -> None:
    made = await stranger.register()
    party = Party(site.issuer, str(made["client_id"]), str(made["client_secret"]))
    assert (await party.ask("introspect", token="x")).status_code == 200
    answer = await stranger.manage("DELETE", made)
    assert answer.status_code == 204
    await site.until_seen(answer)
    assert (await party.ask("introspect", token="x")).status_code == 401
    for method in ("GET", "PUT", "DELETE"):
        assert (await stranger.manage(method, made, changed(made) if method == "PUT" else None)).status_code == 401
    assert (await admin.call("GET", f"/clients/{made['client_id']}")).status_code == 404


@pytest.mark.spec("RFC 7592 2.3")
async def test_a_client_that_deletes_itself_can_wait_for_all(site: Platform, stranger: Stranger) -> None:
    for query in ("wait=some", "wait=all&timeout_s=0", "wait=all&timeout_s=nan", "wait=all&wait=all"):
        made = await stranger.register()
        refused = await stranger.manage("DELETE", made, query=query)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
        assert (await stranger.manage("GET", made)).status_code == 200
    made = await stranger.register()
    async with slow_verifier(site):
        answer = await stranger.manage("DELETE", made, query="wait=all&timeout_s=1")
    assert (answer.status_code, answer.headers[COMPLETE]) == (204, "false")
    assert answer.headers[REVOCATIONS]
    answer = await stranger.manage("DELETE", await stranger.register(), query="wait=all")
    assert (answer.status_code, answer.headers[COMPLETE], REVOCATIONS in answer.headers) == (204, "true", False)


# Security: row 28 of the table of threats, "RAT of A on B".
@pytest.mark.row(28)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_registration_token_is_good_for_its_own_client_alone(stranger: Stranger, method: str) -> None:
    one, other = await stranger.register(), await stranger.register()
    token = str(one["registration_access_token"])
    forged = f"{other['client_id']}.{token.partition('.')[2]}"
    body = changed(other) if method == "PUT" else None
    for tried in (token, forged, str(stranger.token), "x", "." * 100):
        answer = await stranger.send(method, str(other["registration_client_uri"]), body, tried)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await stranger.send(method, str(other["registration_client_uri"]), body)).status_code == 401
    assert (await stranger.manage("GET", other)).status_code == 200


async def test_registered_clients_of_administrators_have_no_such_token(stranger: Stranger, admin: Api) -> None:
    made = await admin.create("/clients", client_name="By hand", redirect_uris=[REDIRECT_URI])
    for client_id in (str(made["client_id"]), "watchword-console"):
        for token in (f"{client_id}.{'A' * 43}", str(made["client_secret"]), f"{client_id}.{made['client_secret']}"):
            answer = await stranger.send("GET", f"/oauth2/register/{client_id}", None, token)
            assert answer.status_code == 401


async def test_a_client_that_is_switched_off_cannot_switch_itself_on(stranger: Stranger, admin: Api) -> None:
    made = await stranger.register()
    await admin.change(f"/clients/{made['client_id']}", enabled=False)
    assert (await stranger.manage("PUT", made, changed(made))).status_code == 403
    assert (await stranger.manage("GET", made)).status_code == 403
    assert (await stranger.try_to_register(enabled=True)).status_code == 201  # unknown, so ignored: it is on anyway
