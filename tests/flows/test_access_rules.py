"""Access rules from the administrator's call to the application's token, and back again when they change."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.flows.test_claims import payload

from watchword_events.contracts import GrantRevoked
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock

PASSWORD = "correct horse battery staple"
NAMES = ("service_account", "roles", "policy")


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it holds: an event needs some milliseconds to every instance. Raises TimeoutError."""
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.02)


@dataclass
class Desk:
    """An application, an administrator's API, and one person with a browser."""

    platform: Platform
    api: Api
    canary: Canary
    browser: Browser
    party: Party
    user: dict[str, Any]

    async def rule(self, expression: str = "true", **given: Any) -> dict[str, Any]:
        """A rule for the application."""
        given.setdefault("name", f"r-{secrets.token_hex(4)}")
        return dict(await self.api.create("/rules", expression=expression, clients=[self.party.client_id], **given))

    def visit(self, **params: str) -> SignIn:
        """A sign-in at the application."""
        return SignIn(self.browser, self.party, scope="openid profile groups offline_access", params=params)

    async def tokens(self) -> dict[str, str]:
        """The tokens of a new sign-in."""
        return await self.visit().with_password(self.user["username"], PASSWORD)

    async def gets_in(self) -> bool:
        """Whether a sign-in leads to the application."""
        page = await self.visit().start()
        if page.has("username"):
            page = await self.browser.submit("username", "sign-in", username=self.user["username"], password=PASSWORD)
        return page.location.startswith(self.party.redirect_uri)

    async def until_denied(self) -> None:
        """The rules that were written have come into force: the person is shown the page of a refusal."""

        async def is_denied() -> bool:
            return not await self.gets_in()

        await eventually(is_denied)
        assert self.browser.page.error_code == "access_denied"

    async def until_given(self, **wanted: Any) -> dict[str, str]:
        """The tokens, as soon as rules give what is wanted."""
        found: dict[str, str] = {}

        async def is_given() -> bool:
            nonlocal found
            if not await self.gets_in():
                return False
            found = await self.tokens()
            told = payload(found["access_token"])
            return {name: told.get(name) for name in wanted} == wanted

        await eventually(is_given)
        return found

    async def decision(self) -> dict[str, Any]:
        """What the administrator finds under the reference on the page."""
        return dict(await self.api.get(f"/decisions/{self.browser.page.texts['reference']}"))


@pytest.fixture
async def desk(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Desk]:
    party = await Party.registered(api, platform.issuer, canary, scope="openid profile groups offline_access")
    name = f"rules-{secrets.token_hex(4)}"
    user = await api.create(
        "/users", username=name, email=f"{name}@demo.test", name="Ann", groups=["ops", "staff"], password=PASSWORD
    )
    async with platform.browser(canary) as browser:
        yield Desk(platform, api, canary, browser, party, dict(user))
    for rule in (await api.get("/rules", client=party.client_id))["items"]:  # type: ignore[attr-defined]  # a list
        await api.delete(f"/rules/{rule['id']}")


async def test_a_rule_gives_a_service_account_and_roles_that_stand_in_every_token(desk: Desk) -> None:
    account = f"argo/{secrets.token_hex(4)}"
    await desk.api.create("/service-accounts", name=account, roles=["view"])
    first = await desk.rule("'ops' in groups", name="ops", precedence=5, service_account=account, roles=["deploy"])
    await desk.rule(name="everybody", precedence=-100, service_account="read-only")
    tokens = await desk.until_given(service_account=account, policy=["ops", "everybody"])
    wanted = {"service_account": account, "roles": ["deploy", "view"], "policy": ["ops", "everybody"]}
    for token in (tokens["access_token"], tokens["id_token"]):
        assert {name: payload(token).get(name) for name in NAMES} == wanted
    for document in (
        await desk.party.introspect(tokens["access_token"]),
        (await desk.party.userinfo(tokens["access_token"])).json(),
    ):
        assert {name: document.get(name) for name in NAMES} == wanted
    listed = await desk.api.get("/decisions", user_id=str(desk.user["id"]), rule_id=first["id"], limit="1")
    (decision,) = listed["items"]  # type: ignore[misc]  # a list
    assert (decision["allowed"], decision["rule"], decision["service_account"]) == (True, "ops", account)
    assert decision["why"] == "ops matches, with precedence 5, the highest of those that match."


async def test_who_matches_no_rule_learns_what_to_do_and_the_administrator_why(desk: Desk) -> None:
    await desk.rule("'admin' in groups")
    broken = await desk.rule("claims.manager == 'x'")
    await desk.until_denied()
    page = desk.browser.page
    assert (page.status, urlsplit(page.url).path) == (403, "/login/denied")
    assert "Ann" in page.body
    assert broken["name"] not in page.body, "how the rules are made is nobody's business"
    decision = await desk.decision()
    assert (decision["allowed"], decision["outcome"], decision["rule"]) == (False, "no_match", None)
    assert decision["why"].startswith("None of 2 rules matches.")
    assert decision["failures"] == [{"rule": broken["name"], "error": 'Key not found in map : "manager"'}]
    facts = decision["facts"]
    assert (facts["sub"], facts["groups"], facts["client"]) == (
        desk.user["id"],
        ["ops", "staff"],
        desk.party.client_id,
    )
    assert facts["iss"] == desk.platform.issuer
    assert facts["ip"] == "127.0.0.1"
    assert {"department", "email", "groups", "name"} & set(facts["claims"]) == {"email", "groups", "name"}
    assert f"{desk.user['username']}@demo.test" not in str(decision)
    listed = await desk.api.get("/decisions", client_id=desk.party.client_id, allowed="false")
    assert decision["id"] in [each["id"] for each in listed["items"]]  # type: ignore[attr-defined]  # a list


@pytest.mark.spec("RFC 6749 4.1.2.1")
async def test_the_application_is_told_when_the_person_goes_back_or_asks_silently(desk: Desk) -> None:
    await desk.rule("'admin' in groups")
    await desk.until_denied()
    await desk.browser.submit("decision", "leave")
    came = desk.visit().outcome()
    assert came["error"] == "access_denied"
    assert "(decision " in came["error_description"]
    silent = desk.visit(prompt="none")
    await silent.start()
    outcome = silent.outcome()
    assert (outcome["error"], outcome["state"], outcome["iss"]) == (
        "access_denied",
        silent.state,
        desk.platform.issuer,
    )
    decision_id = outcome["error_description"].rpartition("(decision ")[2].rstrip(")")
    assert (await desk.api.get(f"/decisions/{decision_id}"))["allowed"] is False


async def test_another_account_can_be_used_instead(desk: Desk) -> None:
    await desk.rule("'admin' in groups")
    await desk.until_denied()
    name = f"admin-{secrets.token_hex(4)}"
    await desk.api.create("/users", username=name, groups=["admin"], password=PASSWORD)
    page = await desk.browser.submit("choice", "other")
    assert page.has("username"), page.url
    page = await desk.browser.submit("username", "sign-in", username=name, password=PASSWORD)
    assert "code=" in page.location


async def test_who_was_given_the_group_a_moment_ago_gets_in(desk: Desk) -> None:
    await desk.rule("'admin' in groups")
    await desk.until_denied()
    await desk.api.change(f"/users/{desk.user['id']}", groups=["admin"])
    assert await desk.gets_in()


async def test_a_rule_that_was_added_a_moment_ago_lets_people_in(desk: Desk) -> None:
    await desk.api.change(f"/clients/{desk.party.client_id}", access="rules")
    await desk.until_denied()
    await asyncio.sleep(1.0)  # the owner is asked once a second
    await desk.rule("'ops' in groups")
    assert await desk.gets_in()


async def test_a_rule_change_counts_at_refresh_and_at_the_next_sign_in(desk: Desk) -> None:
    rule = await desk.rule("'ops' in groups", service_account="admin", roles=["admin"])
    await desk.rule(name="everybody", precedence=-9, service_account="read-only")
    tokens = await desk.until_given(service_account="admin")
    tokens = await desk.party.tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert payload(tokens["access_token"])["service_account"] == "admin"
    await desk.api.delete(f"/rules/{rule['id']}")

    async def is_lowered() -> bool:
        nonlocal tokens
        tokens = await desk.party.tokens(
            grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="openid profile groups"
        )
        told = payload(tokens["access_token"])
        assert payload(tokens["id_token"]).get("service_account") == told["service_account"]
        return told["service_account"] == "read-only" and "roles" not in told

    await eventually(is_lowered)
    again = payload((await desk.tokens())["access_token"])
    assert (again["service_account"], again["policy"]) == ("read-only", ["everybody"])


async def test_a_grant_ends_when_no_rule_lets_the_person_in_any_more(desk: Desk) -> None:
    rule = await desk.rule("'ops' in groups", service_account="admin")
    tokens = await desk.until_given(service_account="admin")
    refused: dict[str, Any] = {}
    async with desk.platform.nats_client() as nats, expect_events(nats, GrantRevoked) as seen:
        await desk.api.change(f"/rules/{rule['id']}", enabled=False)

        async def is_refused() -> bool:
            nonlocal tokens
            answer = await desk.party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
            if answer.status_code == 200:
                tokens = answer.json()
                return False
            refused.update(answer.json())
            return True

        await eventually(is_refused)
    assert refused["error"] == "invalid_grant"
    gid = payload(tokens["access_token"])["gid"]
    assert [each.event.reason for each in seen.of("grant.revoked") if each.id == gid] == ["access-rules"]  # type: ignore[attr-defined]  # of this event
    assert (await desk.party.introspect(tokens["access_token"])) == {"active": False}
    decision_id = refused["error_description"].rpartition("(decision ")[2].rstrip(")")
    decision = await desk.api.get(f"/decisions/{decision_id}")
    assert (decision["occasion"], decision["allowed"]) == ("refresh", False)
    assert await desk.party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    await desk.until_denied()


async def test_a_group_that_the_person_lost_counts_at_refresh(desk: Desk) -> None:
    await desk.rule("'ops' in groups", service_account="admin")
    tokens = await desk.until_given(service_account="admin")
    await desk.api.change(f"/users/{desk.user['id']}", groups=["staff"])

    async def is_refused() -> bool:
        nonlocal tokens
        answer = await desk.party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        tokens = answer.json() if answer.status_code == 200 else tokens
        return answer.status_code == 400

    await eventually(is_refused)


async def test_roles_of_rules_give_nothing_within_watchword_itself(desk: Desk) -> None:
    """Row 23: effective = requested ∩ client ∩ user ∩ consent; a rule is not among them."""
    await desk.api.change(
        f"/clients/{desk.party.client_id}", scope="openid profile groups offline_access watchword:admin"
    )
    await desk.rule("'ops' in groups", service_account="administrator", roles=["administrator", "watchword:admin"])
    await desk.until_given(roles=["administrator", "watchword:admin"])
    visit = SignIn(desk.browser, desk.party, scope="openid profile watchword:admin")
    tokens = await visit.with_password(desk.user["username"], PASSWORD)
    told = payload(tokens["access_token"])
    assert told["roles"] == ["administrator", "watchword:admin"]
    assert "watchword:admin" not in str(told["scope"])
    api = desk.platform.api(token="")
    api.client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    assert (await api.call("GET", "/rules")).status_code in {401, 403}


async def test_an_organizations_rule_refines_what_the_installations_gave(desk: Desk) -> None:
    organization = f"o-{secrets.token_hex(3)}"
    await desk.api.create("/organizations", short_name=organization, name="A part of the house")
    await desk.api.change(f"/clients/{desk.party.client_id}", organization=organization)
    delegated = await desk.rule("'ops' in groups", name="own", precedence=5, service_account="team-admin",
                                organization=organization)  # fmt: skip
    assert await desk.gets_in(), "alone it closes nothing"
    base = await desk.rule("'ops' in groups", name="base", precedence=1, service_account="user")
    tokens = await desk.until_given(service_account="team-admin")
    assert payload(tokens["access_token"])["policy"] == [f"{organization}/own", "base"]
    shared = f"https://{organization}.example/shared"
    await desk.api.create("/resources", identifier=shared, name="Of the whole house", any_client=True)
    told: dict[str, Any] = {}

    async def is_given() -> bool:
        """As soon as the resource is known."""
        page = await desk.visit(resource=shared).start()
        if not page.location.startswith(desk.party.redirect_uri) or "error=" in page.location:
            return False
        tokens = await desk.visit(resource=shared).with_password(desk.user["username"], PASSWORD)
        told.update(payload(tokens["access_token"]))
        return True

    await eventually(is_given)
    assert shared in told["aud"]
    assert told["policy"] == [f"{organization}/own", "base"]
    assert "service_account" not in told, "what the organization gave is for its own applications"
    await desk.api.change(f"/rules/{delegated['id']}", precedence=1)
    await desk.until_given(service_account="user", policy=["base"])
    await desk.api.change(f"/rules/{base['id']}", expression="'nobody' in groups")
    await desk.until_denied()


async def test_iss_is_the_upstream_issuer_and_ours_after_a_password(desk: Desk, mock_issuer: str) -> None:
    provider = await configure_mock(desk.api, mock_issuer)
    await desk.rule(f"iss == '{mock_issuer}'", name="upstream", service_account="guest")
    await desk.rule(f"iss == '{desk.platform.issuer}'", name="local", service_account="employee")
    local = await desk.until_given(service_account="employee")
    async with desk.platform.browser(desk.canary) as browser:
        visit = SignIn(browser, desk.party, scope="openid profile groups offline_access")
        tokens = await visit.through(provider, sub="alice")
    assert payload(tokens["access_token"])["service_account"] == "guest"
    refreshed = await desk.party.tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert payload(refreshed["access_token"])["service_account"] == "guest"
    refreshed = await desk.party.tokens(grant_type="refresh_token", refresh_token=local["refresh_token"])
    assert payload(refreshed["access_token"])["service_account"] == "employee"


async def test_no_rule_locks_administrators_out_of_the_console(desk: Desk) -> None:
    """Even one that is for every client and matches nobody."""
    rule = await desk.api.create("/rules", name=f"all-{secrets.token_hex(4)}", expression="false")
    try:
        await desk.until_denied()
        async with desk.platform.browser(desk.canary) as browser:
            await browser.open(f"{desk.platform.issuer}/admin")
            admin = desk.platform.admin
            page = await browser.submit("username", "sign-in", username=admin.username, password=admin.password)
            assert (page.status, urlsplit(page.url).path) == (200, "/admin")
    finally:
        await desk.api.delete(f"/rules/{rule['id']}")

    await eventually(desk.gets_in)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/decisions/nothing", 404),
        ("GET", "/decisions/" + "x" * 65, 400),
        ("GET", "/decisions?cursor=AAAA", 400),
        ("GET", "/decisions?limit=0", 400),
        ("GET", "/decisions?allowed=perhaps", 400),
        ("DELETE", "/decisions/nothing", 405),
        ("POST", "/decisions", 405),
    ],
)
async def test_what_cannot_be_asked_about_decisions(api: Api, method: str, path: str, status: int) -> None:
    assert (await api.call(method, path)).status_code == status


async def test_decisions_are_for_administrators(platform: Platform, api: Api, canary: Canary) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], scope="revocations:read", redirect_uris=[]
    )
    token = (await party.tokens(grant_type="client_credentials"))["access_token"]
    for bearer, status in (("", 401), ("nothing", 401), (token, 403)):
        stranger = platform.api(token="")
        if bearer:
            stranger.client.headers["Authorization"] = f"Bearer {bearer}"
        for path in ("/decisions", "/decisions/x"):
            assert (await stranger.call("GET", path)).status_code == status


async def test_decisions_are_listed_page_by_page(desk: Desk) -> None:
    for _ in range(3):
        assert await desk.gets_in()
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await desk.api.get("/decisions", client_id=desk.party.client_id, limit="2", **cursor)
        items: Any = page["items"]
        found += [each["id"] for each in items]
        assert all(each["outcome"] == "no_rules" for each in items)
        if page["next"] is None:
            break
        cursor = {"cursor": str(page["next"])}
    assert len(found) == len(set(found)) == 3
    assert found == sorted(found, reverse=True)


async def test_a_dry_run_says_who_of_the_last_weeks_would_gain_and_lose(desk: Desk) -> None:
    assert await desk.gets_in()
    client = desk.party.client_id
    proposed = {"name": "proposed", "expression": "'admin' in groups", "clients": [client]}
    found: dict[str, Any] = dict(await _dry_run(desk.api, rules=[proposed]))
    assert (found["asked"], found["pairs"], found["is_complete"], found["not_recorded"]) == (1, 1, True, 0)
    assert (found["gains_count"], found["loses_count"], found["others_count"]) == (0, 1, 0)
    (lost,) = found["loses"]
    assert (lost["user_id"], lost["client_id"]) == (desk.user["id"], client)
    assert (lost["before"]["allowed"], lost["before"]["rule"]) == (True, None)
    assert lost["after"]["why"].startswith("None of 1 rules matches.")
    assert (await _dry_run(desk.api, rules=[proposed | {"expression": "email.endsWith('@demo.test')"}]))["others_count"]

    saved = await desk.rule("'admin' in groups", name="saved")
    await desk.until_denied()
    for change in (
        {"rules": [proposed | {"id": saved["id"], "expression": "'ops' in groups"}]},
        {"removed": [saved["id"]]},
    ):
        found = await _dry_run(desk.api, **change)
        assert (found["gains_count"], found["loses_count"]) == (1, 0)
    assert found["gains"][0]["after"]["rule"] is None
    (listed,) = (await desk.api.get("/rules", client=client))["items"]  # type: ignore[misc]  # a list
    assert listed["expression"] == "'admin' in groups", "nothing is changed"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"rules": [{"name": "x", "expression": "groups =="}]}, "line 1", id="a broken expression"),
        pytest.param({"rules": [{"name": "x", "expression": "true", "rank": 1}]}, "rank", id="a member that is none"),
        pytest.param({"rules": [{"name": "x", "expression": "true"}] * 101}, "100", id="too many"),
        pytest.param({"removed": ["x" * 65]}, "64", id="an id that is none"),
        pytest.param({"rules": "all"}, "#/rules", id="no list"),
    ],
)
async def test_what_cannot_be_run(api: Api, body: dict[str, object], said: str) -> None:
    answer = await api.call("POST", "/decisions/dry-run", body)
    assert answer.status_code == 400, answer.text
    assert said in answer.text


async def _dry_run(api: Api, **body: object) -> dict[str, Any]:
    answer = await api.call("POST", "/decisions/dry-run", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
