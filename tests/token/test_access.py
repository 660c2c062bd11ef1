"""Access rules when a grant is used again: what they give now, asked as seldom as can be."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.token.conftest import App, Site
from tests.token.test_refresh_token import refresh, refreshed

from watchword_events.contracts import UserUpdated
from watchword_events.exports import Exported, UserExport
from watchword_events.names import Service
from watchword_token.access import NAMES, access_claims


async def given(site: Site, tokens: dict[str, Any]) -> dict[str, Any]:
    """What rules gave, in an access token."""
    claims = await site.claims(tokens["access_token"])
    return {name: claims[name] for name in NAMES if name in claims}


async def asked(site: Site, app: App) -> int:
    """How often rules have been asked at a refresh of the client."""
    found: list[int] = []
    for _ in range(30):  # decisions are written behind
        async with site.database.postgres.admin(site.database.name) as connection:
            found.append(await connection.fetchval("SELECT count(*) FROM bus.decisions WHERE client_id = $1", app.id))
        if len(found) > 3 and found[-1] == found[-3]:
            break
        await asyncio.sleep(0.03)
    return found[-1]


def test_claims_name_only_what_there_is() -> None:
    class Nothing:
        service_account = None
        roles = ()
        policy = ()

    class Everything:
        service_account = "a"
        roles = ("r",)
        policy = ("p", "q")

    assert access_claims(Nothing()) == {}
    assert access_claims(Everything()) == {"service_account": "a", "roles": ["r"], "policy": ["p", "q"]}


async def test_tokens_of_a_code_carry_what_the_sign_in_gave(site: Site) -> None:
    app = await site.client()
    rule = await site.rule(app, "true", service_account="admin", roles=["a"])
    tokens = await site.sign_in(app, service_account="admin", roles=("a",), policy=(rule.name,))
    wanted = {"service_account": "admin", "roles": ["a"], "policy": [rule.name]}
    assert await given(site, tokens) == wanted
    assert {name: (await site.claims(tokens["id_token"])).get(name) for name in NAMES} == wanted
    assert await asked(site, app) == 0, "nothing was decided anew"


@pytest.mark.parametrize("heard", [True, False], ids=["heard of", "not heard of yet"])
async def test_a_rule_that_changed_since_the_sign_in_counts_when_the_code_is_redeemed(site: Site, heard: bool) -> None:
    """What was taken away is in no token; an instance that differs from the sign-in asks the owner who is right."""
    app, user = await site.client(), await site.user(groups=("ops",))
    rule = await site.rule(app, "'ops' in groups", service_account="admin", roles=["a"])
    code = await site.code(app, user, service_account="admin", roles=("a",), policy=(rule.name,))
    await site.rule(app, "'ops' in groups", version=2, rule_id=rule.id, service_account="user")
    first = (await site.redeem(app, code)).json()
    assert await given(site, first) == {"service_account": "user", "policy": [rule.name]}
    if not heard:
        later = rule.model_copy(update={"service_account": "guest", "roles": ()})
        site.owners.owned["rule"][rule.id] = Exported(id=rule.id, version=3, data=later)
        # authz has asked the owner already, for somebody whom the older rule would have turned away
        code = await site.code(app, user, service_account="guest", policy=(rule.name,))
        assert (await given(site, (await site.redeem(app, code)).json()))["service_account"] == "guest"
    code = await site.code(app, user, service_account="admin", roles=("a",), policy=(rule.name,))
    await site.drop_rule(rule, 4)
    assert await given(site, (await site.redeem(app, code)).json()) == {}


async def test_who_matches_no_rule_any_more_redeems_no_code(site: Site) -> None:
    app, user = await site.client(), await site.user(groups=("ops",))
    rule = await site.rule(app, "'ops' in groups", service_account="admin")
    code = await site.code(app, user, service_account="admin", policy=(rule.name,))
    await site.rule(app, "'hr' in groups", version=2, rule_id=rule.id, service_account="admin")
    answer = await site.redeem(app, code)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert await asked(site, app) == 1
    await site.rule(app, "'ops' in groups", version=3, rule_id=rule.id, service_account="admin")
    assert (await site.redeem(app, code)).status_code == 200, "a refusal costs no code"


async def test_a_client_that_keeps_claims_to_userinfo_still_gets_these(site: Site) -> None:
    app = await site.client(userinfo_claims_only=True)
    rule = await site.rule(app, "true", service_account="admin")
    tokens = await site.sign_in(app, service_account="admin", policy=(rule.name,))
    told = await site.claims(tokens["id_token"])
    assert (told["service_account"], "name" in told) == ("admin", False)


async def test_a_person_cannot_name_a_service_account_by_a_claim_of_their_own(site: Site) -> None:
    app = await site.client()
    user = await site.user(claims={"name": "Eve", "service_account": "root", "roles": ["root"], "policy": ["x"]})
    tokens = await site.sign_in(app, user)
    answer = await site.http.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    for told in ((await site.claims(tokens["id_token"])), answer.json(), await site.claims(tokens["access_token"])):
        assert not set(NAMES) & set(told)


async def test_rules_are_asked_again_only_when_something_has_changed(site: Site) -> None:
    app, user = await site.client(), await site.user(groups=("ops",))
    rule = await site.rule(app, "'ops' in groups", service_account="admin")
    tokens = await site.sign_in(app, user, service_account="admin", policy=(rule.name,))
    for _ in range(4):
        tokens = await refreshed(site, app, tokens["refresh_token"])
        assert (await given(site, tokens))["service_account"] == "admin"
    assert await asked(site, app) == 1
    rule = await site.rule(app, "'ops' in groups", version=2, rule_id=rule.id, service_account="user")
    tokens = await refreshed(site, app, tokens["refresh_token"])
    assert (await given(site, tokens))["service_account"] == "user"
    assert await asked(site, app) == 2
    await site.drop_rule(rule, 3)
    tokens = await refreshed(site, app, tokens["refresh_token"])
    assert await given(site, tokens) == {}, "no rule is for the client any more: it is open"


async def test_what_became_of_the_person_counts_at_the_next_refresh(site: Site) -> None:
    app, user = await site.client(), await site.user(groups=("ops",))
    await site.rule(app, "'ops' in groups", service_account="admin")
    tokens = await refreshed(site, app, (await site.sign_in(app, user))["refresh_token"])
    await site.user(version=2, user_id=user.id, username=user.username, groups=("hr",))
    await site.publish(UserUpdated(id=user.id, version=2, claims_version=2))
    async with asyncio.timeout(30):
        while (answer := await refresh(site, app, tokens["refresh_token"])).status_code == 200:
            tokens = answer.json()
    assert answer.json()["error"] == "invalid_grant"
    assert not await site.is_active(app, tokens["access_token"])
    async with site.database.postgres.admin(site.database.name) as connection:
        gid = (await site.claims(tokens["access_token"]))["gid"]
        assert await connection.fetchval("SELECT revoked_at FROM token.grants WHERE id = $1", gid) is not None


async def test_a_rule_that_looks_at_the_time_is_asked_each_time(own_site: Site) -> None:
    site = own_site
    app = await site.client()
    closing = (site.clock() + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await site.rule(app, f"time < timestamp('{closing}')", service_account="day")
    tokens = await site.sign_in(app, session_expires_at=site.clock() + timedelta(hours=9))
    for _ in range(2):
        tokens = await refreshed(site, app, tokens["refresh_token"])
        assert (await given(site, tokens))["service_account"] == "day"
    site.clock.advance(timedelta(minutes=4))
    refused = await refresh(site, app, tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("granted", "iss"),
    [
        pytest.param({"issuer": "https://corp.example/t-1", "idp": "Corp"}, "https://corp.example/t-1", id="upstream"),
        pytest.param({"issuer": None, "idp": None}, "https://sso.example.test", id="an older password sign-in"),
        pytest.param({"issuer": None, "idp": "Corp"}, "", id="an older upstream sign-in"),
    ],
)
async def test_issuer_and_address_are_those_of_the_sign_in(site: Site, granted: dict[str, Any], iss: str) -> None:
    app = await site.client()
    await site.rule(app, f"iss == '{iss}' && ip == '198.51.100.7'", service_account="as-signed-in")
    tokens = await site.sign_in(app, address="198.51.100.7", **granted)
    tokens = await refreshed(site, app, tokens["refresh_token"])
    assert (await given(site, tokens))["service_account"] == "as-signed-in"


async def test_every_grant_is_asked_about_by_itself(site: Site) -> None:
    """Two sign-ins of one person, from two addresses: what one may is not the other's."""
    app, user = await site.client(), await site.user()
    await site.rule(app, "ip.startsWith('198.51.100.')", service_account="office")
    await site.rule(app, "true", precedence=-1, service_account="elsewhere")
    one, two = [await site.sign_in(app, user, address=address) for address in ("198.51.100.7", "203.0.113.9")]
    for tokens, account in ((one, "office"), (two, "elsewhere"), (one, "office")):
        answer = await refreshed(site, app, tokens["refresh_token"])
        assert (await given(site, answer))["service_account"] == account
        tokens |= answer


async def test_while_rules_are_not_known_no_refresh_token_is_spent(own_site: Site) -> None:
    site = own_site
    app, user = await site.client(), await site.user()
    tokens = await site.sign_in(app, user)
    pool = await site.db(Service.TOKEN).raw_pool()
    site.owners.owned["rule"]["broken"] = None  # type: ignore[assignment]  # admin cannot answer
    await pool.execute("DELETE FROM token.copy_state WHERE entity = 'rule'")
    async with asyncio.timeout(40):
        while (answer := await refresh(site, app, tokens["refresh_token"])).status_code == 200:
            tokens = answer.json()
            await asyncio.sleep(0.1)
    assert answer.status_code == 503
    del site.owners.owned["rule"]["broken"]
    async with asyncio.timeout(40):
        while (answer := await refresh(site, app, tokens["refresh_token"])).status_code == 503:
            await asyncio.sleep(0.1)
    assert answer.status_code == 200, "the same token, as soon as rules are known again"


async def test_whom_no_rule_lets_in_any_more_gets_nothing(site: Site) -> None:
    app = await site.client(access="rules")
    user: UserExport = await site.user()
    rule = await site.rule(app, "true")
    tokens = await site.sign_in(app, user, policy=(rule.name,))
    await site.drop_rule(rule, 2)
    refused = await refresh(site, app, tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert "(decision " in refused.json()["error_description"]
