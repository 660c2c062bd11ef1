"""What is in memory follows what its owners say."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import nats
import pytest
from tests.token.conftest import App, Site, instance

from watchword_database.ids import new_id
from watchword_events.catalogue import row_of
from watchword_events.contracts import ClientUpdated, Event, UserUpdated
from watchword_events.envelope import headers_of
from watchword_runtime.clock import utc_now
from watchword_token.memory import RENEW_PAUSE_S


async def test_a_client_that_no_copy_has_yet_works_at_once(site: Site) -> None:
    app = await site.client(copied=False)
    assert await site.machine_token(app)


async def test_a_person_that_no_copy_has_yet_gets_tokens_at_once(site: Site) -> None:
    app = await site.client()
    user = await site.user(copied=False)
    tokens = await site.sign_in(app, user)
    assert (await site.userinfo(tokens["access_token"])).json()["sub"] == user.id


async def test_a_secret_that_was_changed_a_moment_ago_works_at_once(own_site: Site) -> None:
    app = await own_site.client()
    await own_site.machine_token(app)
    changed = await own_site.client(client_id=app.id, version=2, copied=False)
    assert changed.secret != app.secret
    await wait_out_the_pause()
    assert await own_site.machine_token(changed)
    old = await own_site.token(app, grant_type="client_credentials")
    assert old.json()["error"] == "invalid_client"


async def test_a_scope_and_a_grant_type_that_were_just_allowed_work_at_once(site: Site) -> None:
    app = await site.client(grant_types=["authorization_code"], scope=["read"])
    refused = await site.token(app, grant_type="client_credentials", scope="write")
    assert refused.json()["error"] == "unauthorized_client"
    await site.client(
        client_id=app.id,
        version=2,
        secret=app.secret,
        copied=False,
        grant_types=["client_credentials"],
        scope=["read", "write"],
    )
    await wait_out_the_pause()
    assert await site.machine_token(app, scope="write")


async def test_an_owner_is_asked_at_most_once_a_second_because_somebody_is_refused(site: Site) -> None:
    app = await site.client()
    await site.machine_token(app)
    before = site.owners.pulls
    for _ in range(20):
        answer = await site.http.post(
            "/oauth2/token", auth=(app.id, "wrong"), data={"grant_type": "client_credentials"}
        )
        assert answer.status_code == 401
    assert site.owners.pulls - before <= 3


@pytest.mark.parametrize("entity", ["client", "user"])
async def test_an_event_is_obeyed_by_every_instance(own_site: Site, entity: str) -> None:
    """Each instance hears each event; here the tails of two instances deliver it, over a real broker."""
    app = await own_site.client()
    user = await own_site.user(claims={"name": "Before"})
    async with instance(
        own_site.database, own_site.nats_url, own_site.clock, own_site.canary, owners=own_site.owners
    ) as second:
        sites = (own_site, second)
        tokens = [await site.sign_in(app, user) for site in sites]
        for site, answer in zip(sites, tokens, strict=True):
            assert (await site.userinfo(answer["access_token"])).json()["name"] == "Before"
        if entity == "client":
            await own_site.client(client_id=app.id, version=2, secret=app.secret, copied=False, scope=["read"])
            event: Event = ClientUpdated(id=app.id, version=2)
        else:
            await own_site.user(
                user_id=user.id, version=2, username=user.username, copied=False, claims={"name": "After"}
            )
            event = UserUpdated(id=user.id, version=2, claims_version=2)
        await publish(own_site, event)
        for site, answer in zip(sites, tokens, strict=True):
            await eventually(
                partial(has_scope, site, app, "read")
                if entity == "client"
                else partial(has_name, site, answer["access_token"], "After")
            )


async def test_a_deleted_person_has_no_claims_any_more(own_site: Site) -> None:
    app = await own_site.client()
    user = await own_site.user()
    tokens = await own_site.sign_in(app, user)
    assert (await own_site.userinfo(tokens["access_token"])).status_code == 200
    await own_site.gone("user", user.id, 2)
    await publish(own_site, UserUpdated(id=user.id, version=2, claims_version=2))
    await eventually(lambda: is_refused(own_site, tokens["access_token"]))


# Steps ---------------------------------------------------------------------------------------------------------------


async def wait_out_the_pause() -> None:
    """Owners are asked once a second; the pause is measured with the machine's clock."""
    await asyncio.sleep(RENEW_PAUSE_S + 0.05)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it is so."""
    async with asyncio.timeout(10):
        while not await check():
            await asyncio.sleep(0.05)


async def has_scope(site: Site, app: App, scope: str) -> bool:
    answer = await site.token(app, grant_type="client_credentials")
    return answer.status_code == 200 and answer.json()["scope"] == scope


async def has_name(site: Site, token: str, name: str) -> bool:
    return bool((await site.userinfo(token)).json()["name"] == name)


async def is_refused(site: Site, token: str) -> bool:
    return (await site.userinfo(token)).status_code == 401


async def publish(site: Site, event: Event) -> None:
    """The event stands in its owner's stream, as the owner's relay puts it there."""
    row = row_of(event)
    headers = headers_of(row, event_id=new_id(), aggregate_id=event.id, version=event.version, at=utc_now())
    connection = await nats.connect(site.nats_url)
    js = connection.jetstream()
    await js.publish(row.subject, event.model_dump_json().encode(), stream=row.owner.stream, headers=headers)
    await connection.close()
