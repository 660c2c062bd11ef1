"""What is in memory follows what its owners say."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from tests.token.conftest import App, Site, instance

from watchword_events.contracts import ClientUpdated, Event, UserUpdated
from watchword_events.exports import UserExport
from watchword_events.names import Service
from watchword_runtime.copies import Copy
from watchword_runtime.work import Received
from watchword_token.memory import HEARD, RENEW_PAUSE_S, Kept
from watchword_token.models import UserCopy


async def test_a_client_that_no_copy_has_yet_works_at_once(site: Site) -> None:
    app = await site.client(copied=False)
    assert await site.machine_token(app)


async def test_a_person_that_no_copy_has_yet_gets_tokens_at_once(site: Site) -> None:
    app = await site.client()
    user = await site.user(copied=False)
    tokens = await site.sign_in(app, user)
    assert (await site.userinfo(tokens["access_token"])).json()["sub"] == user.id


async def test_a_secret_that_was_changed_a_moment_ago_works_at_once(site: Site) -> None:
    app = await site.client()
    await site.machine_token(app)
    changed = await site.client(client_id=app.id, version=2, copied=False)
    assert changed.secret != app.secret
    await wait_out_the_pause()
    assert await site.machine_token(changed)
    old = await site.token(app, grant_type="client_credentials")
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
async def test_an_event_is_obeyed_by_every_instance(site: Site, entity: str) -> None:
    """Each instance hears each event; here the tails of two instances deliver it, over a real broker."""
    app = await site.client()
    user = await site.user(claims={"name": "Before"})
    async with instance(site.database, site.nats_url, site.clock, site.canary, owners=site.owners) as second:
        sites = (site, second)
        tokens = [await each.sign_in(app, user) for each in sites]
        for each, answer in zip(sites, tokens, strict=True):
            assert (await each.userinfo(answer["access_token"])).json()["name"] == "Before"
        if entity == "client":
            await site.client(client_id=app.id, version=2, secret=app.secret, copied=False, scope=["read"])
            event: Event = ClientUpdated(id=app.id, version=2)
        else:
            await site.user(user_id=user.id, version=2, username=user.username, copied=False, claims={"name": "After"})
            event = UserUpdated(id=user.id, version=2, claims_version=2)
        await site.publish(event)
        for each, answer in zip(sites, tokens, strict=True):
            await eventually(
                partial(has_scope, each, app, "read")
                if entity == "client"
                else partial(has_name, each, answer["access_token"], "After")
            )


async def test_a_deleted_person_has_no_claims_any_more(site: Site) -> None:
    app = await site.client()
    user = await site.user()
    tokens = await site.sign_in(app, user)
    assert (await site.userinfo(tokens["access_token"])).status_code == 200
    await site.gone("user", user.id, 2)
    await site.publish(UserUpdated(id=user.id, version=2, claims_version=2))
    await eventually(lambda: is_refused(site, tokens["access_token"]))


async def test_events_about_any_number_of_people_take_a_bounded_memory(site: Site) -> None:
    """Most are about people whom this instance never needs."""
    owner, database = Service.DIRECTORY, site.db(Service.TOKEN)
    copy = Copy(entity="user", owner=owner, table=UserCopy, export=UserExport, database=database, internal=None)  # type: ignore[arg-type]
    kept = Kept(copy, lambda export: export, size=10)

    async def hear(first: int, last: int) -> int:
        for number in range(first, last):
            event = UserUpdated(id=f"user-{number}", version=2, claims_version=2)
            await kept.on_event(Received("", "", "", event, number))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        full = await hear(0, HEARD)
        later = await hear(HEARD, 4 * HEARD)
    finally:
        tracemalloc.stop()
    assert later - full < (full - before) / 2


# Steps ---------------------------------------------------------------------------------------------------------------


async def wait_out_the_pause() -> None:
    """Owners are asked once a second; the pause is measured with the machine's clock."""
    await asyncio.sleep(RENEW_PAUSE_S + 0.05)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it is so."""
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.05)


async def has_scope(site: Site, app: App, scope: str) -> bool:
    answer = await site.token(app, grant_type="client_credentials")
    return answer.status_code == 200 and answer.json()["scope"] == scope


async def has_name(site: Site, token: str, name: str) -> bool:
    return bool((await site.userinfo(token)).json()["name"] == name)


async def is_refused(site: Site, token: str) -> bool:
    return (await site.userinfo(token)).status_code == 401
