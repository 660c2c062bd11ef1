"""Two accounts of one person become one."""

import secrets
from collections.abc import Callable

from tests.directory.conftest import Configure, Describe, Person, Register

from watchword_events.contracts import IdentityLinked, UserDeleted
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.http import http_client
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


async def test_an_address_that_the_other_proved_is_proved_where_it_is_the_same(
    platform: Platform, api: Api, register: Register
) -> None:
    other = await register()
    email = str(other["email"])
    pushed = []
    for _ in range(2):  # each by the directory of an organization, which proves nothing about the address
        short = f"org-{secrets.token_hex(4)}"
        await api.create("/organizations", short_name=short, name="Org")
        token = (await api.create("/scim-tokens", name="HR", organization=short))["token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": f"hr-{secrets.token_hex(4)}",
            "emails": [{"value": email, "primary": True}],
        }
        async with http_client(timeout=60) as http:
            answer = await http.post(f"{platform.issuer}/scim/v2/Users", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        pushed.append(str(answer.json()["id"]))
    kept, bystander = pushed
    before = await api.get(f"/users/{kept}")
    assert (before["email"], before["email_verified"]) == (email, False)
    merged = await api.create(f"/users/{kept}/merge", user=other["id"])
    assert (merged["email"], merged["email_verified"]) == (email, True)
    assert (await api.get(f"/users/{bystander}"))["email"] is None, "who only claimed it has lost it"
