"""Two accounts of one person become one."""

import secrets
from collections.abc import Callable

from tests.directory.conftest import Configure, Describe, Person, Register

from watchword_events.contracts import IdentityLinked, UserDeleted
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform


async def test_what_led_to_the_other_leads_here_and_what_it_had_is_had_here(
    platform: Platform,
    people: Callable[[], Person],
    identity: Describe,
    configure: Configure,
    api: Api,
    register: Register,
) -> None:
    group, role = f"group-{secrets.token_hex(4)}", f"role-{secrets.token_hex(4)}"
    await api.create("/roles", name=role)
    kept = await register(email=None)
    first, later = people(), people()
    arriving = identity(
        provider_id=await configure(), email=f"{secrets.token_hex(4)}@corp.example", email_verified=True
    )
    other = (await first.signed_in(await first.arrive(arriving))).user_id
    await api.change(f"/users/{other}", groups=[group])
    await api.create("/assignments", role=role, user=other)
    assert platform.process is not None
    feed, before = platform.process.shared.feed, platform.process.shared.feed.position
    async with platform.nats_client() as client, expect_events(client, IdentityLinked, (UserDeleted, other)):
        merged = await api.create(f"/users/{kept['id']}/merge", user=other)
    assert (merged["id"], merged["username"], merged["email"]) == (kept["id"], kept["username"], arriving.email)
    assert (merged["groups"], merged["roles"]) == ([group], [role])
    assert not feed.is_live({"sub": other, "rev": before})
    assert feed.is_live({"sub": kept["id"], "rev": before})
    assert (await api.call("GET", f"/users/{other}")).status_code == 404
    assert (await later.signed_in(await later.arrive(arriving))).user_id == kept["id"]


async def test_nobody_is_merged_with_themselves_nor_with_nobody(api: Api, register: Register) -> None:
    user = await register()
    for other, status in ((user["id"], 409), ("nobody", 404)):
        assert (await api.call("POST", f"/users/{user['id']}/merge", {"user": other})).status_code == status
