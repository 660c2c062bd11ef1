"""`/consent`: asked, remembered, asked again, withdrawn (threat 26)."""

import asyncio
import json
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text as sql
from tests.authz.conftest import ISSUER, Rig, Visit, waiting_or_done

from watchword_authz import consent, store
from watchword_authz.consent import by_name, describe
from watchword_authz.requests import ANYWHERE, Permission
from watchword_database.engine import transaction
from watchword_events.contracts import ScopeChanged
from watchword_events.exports import ClientExport, Exported, HomeOrganization, ScopeClaim, ScopeExport, UserExport
from watchword_events.handovers import ClaimsRequest
from watchword_policy.scopes import BUILT_IN


async def at_consent(
    rig: Rig, client: ClientExport | None = None, user: UserExport | None = None, /, **params: str
) -> tuple[Visit, UserExport]:
    """A visit that stands at the consent page."""
    visit = Visit(rig, rig.browser(), client or rig.client(require_consent=True), params)
    user = user or await rig.person()
    await visit.start()
    await visit.enter(user.username)
    assert visit.browser.page.has("allow")
    return visit, user


async def go(visit: Visit, decision: str) -> None:
    """Answers the page."""
    await visit.browser.submit("decision", decision)


async def test_page_names_the_client_and_what_it_will_see(rig: Rig) -> None:
    client = rig.client(require_consent=True, client_name="<b>Wiki</b>")
    visit, user = await at_consent(rig, client, scope="openid profile email offline_access")
    page = visit.browser.page
    assert page.texts["client-name"] == "<b>Wiki</b>"
    assert "<b>Wiki" not in page.body
    assert "Ann Example" in page.body
    assert user.email
    assert user.email in page.body
    assert "Stay connected while you are away" in page.body
    assert "form-action 'self' https://app.example" in page.headers["content-security-policy"]


@pytest.mark.spec("RFC 9396 2, 12, 13; RFC 8707 2")
async def test_page_shows_every_detail_and_where_it_would_be_used(rig: Rig) -> None:
    client = rig.client(
        require_consent=True,
        main_uri="https://wiki.example",
        audience=["https://api.example"],
        authorization_details_types=["payment_initiation"],
    )
    details = [
        {
            "type": "payment_initiation",
            "actions": ["initiate", "cancel"],
            "locations": ["https://bank.example"],
            "instructedAmount": {"currency": "EUR", "amount": "123.50"},
            "creditor_name": "<b>Merchant A</b>",
        }
    ]
    visit, _ = await at_consent(
        rig, client, authorization_details=json.dumps(details), resource="https://api.example", scope=""
    )
    page = visit.browser.page
    for text in (
        "payment_initiation", "initiate, cancel", "https://bank.example", "amount: 123.50, currency: EUR",
        "creditor name", "&lt;b&gt;Merchant A", "https://api.example", "https://wiki.example",
    ):  # fmt: skip
        assert text in page.body
    assert "<b>Merchant" not in page.body
    await go(visit, "allow")
    code = await visit.code()
    assert (list(code.authorization_details), code.resource, code.scope) == (details, ("https://api.example",), ())
    again = Visit(rig, visit.browser, client, visit.params)
    await again.start()
    assert again.browser.page.has("allow")


@pytest.mark.spec("OpenID Connect Core 5.5")
async def test_claims_asked_for_by_name_are_asked_about(rig: Rig) -> None:
    claims = {"claims": '{"id_token": {"email": null}, "userinfo": {"name": null}}', "scope": "openid"}
    visit, user = await at_consent(rig, None, None, **claims)
    assert user.email
    assert user.email in visit.browser.page.body
    await go(visit, "allow")
    code = await visit.code()
    assert code.claims_request == ClaimsRequest(id_token=("email",), userinfo=("name",))
    assert code.scope == ("openid",)
    again = Visit(rig, visit.browser, visit.client, claims)
    await again.start()
    assert "code" in again.answer


async def test_allowed_is_remembered(rig: Rig) -> None:
    visit, user = await at_consent(rig)
    await go(visit, "allow")
    assert (await visit.code()).user_id == user.id
    second = Visit(rig, visit.browser, visit.client)
    await second.start()
    assert "code" in second.answer


@pytest.mark.row(26)
@pytest.mark.parametrize("prompt", ["", "none"])
async def test_nothing_is_granted_on_a_consent_that_is_withdrawn_meanwhile(rig: Rig, prompt: str) -> None:
    visit, user = await at_consent(rig)
    await go(visit, "allow")
    again = Visit(rig, visit.browser, visit.client, {"prompt": prompt})
    async with transaction(rig.db()) as session:
        row = await store.find_consent(session, user.id, visit.client.client_id)
        assert row is not None
        entries = await consent.withdraw(session, row.id, feed=rig.feed, now=rig.clock())
        asking = asyncio.create_task(again.start())
        await waiting_or_done(rig, asking)
    await asking
    assert entries
    await rig.feed.settle(entries)
    assert again.answer["error"] == "consent_required"
    later = Visit(rig, visit.browser, visit.client)
    await later.start()
    assert later.browser.page.has("allow")


@pytest.mark.parametrize("resource", [ANYWHERE, "https://a.example"])
async def test_what_is_allowed_meanwhile_stays_and_what_is_withdrawn_meanwhile_does_not(
    rig: Rig, resource: str
) -> None:
    user, client = await rig.person(), rig.client()
    who = {"user_id": user.id, "client_id": client.client_id}

    def at(*scopes: str) -> frozenset[Permission]:
        return frozenset((resource, scope) for scope in scopes)

    async def allow(scope: str) -> None:
        async with transaction(rig.db()) as session:
            await consent.grant(session, **who, allow=at(scope), now=rig.clock())

    async def allowed() -> frozenset[Permission]:
        return await consent.allowed(rig.db(), **who)

    await allow("openid")
    async with transaction(rig.db()) as session:
        await consent.grant(session, **who, allow=at("email"), now=rig.clock())
        beside = asyncio.create_task(allow("profile"))
        await waiting_or_done(rig, beside)
    await beside
    assert await allowed() == at("openid", "email", "profile")
    async with transaction(rig.db()) as session:
        await consent.withdraw_from(session, **who, feed=rig.feed, now=rig.clock())
        beside = asyncio.create_task(allow("profile"))
        await waiting_or_done(rig, beside)
    await beside
    assert await allowed() == at("profile")


async def test_what_an_older_release_withdrew_does_not_come_back(rig: Rig) -> None:
    user, client = await rig.person(), rig.client()
    who = {"user_id": user.id, "client_id": client.client_id}
    at = "https://a.example"
    async with transaction(rig.db()) as session:
        await consent.grant(session, **who, allow=frozenset({(at, "openid"), (at, "email")}), now=rig.clock())
    async with transaction(rig.db()) as session:
        connection = await session.connection()
        of_no_resource = "UPDATE authz.consent SET withdrawn_at = now(), scope = '{}' WHERE user_id = :user_id"
        await connection.execute(sql(of_no_resource), {"user_id": user.id})
    async with transaction(rig.db()) as session:
        await consent.grant(session, **who, allow=frozenset({(at, "profile")}), now=rig.clock())
    assert await consent.allowed(rig.db(), **who) == {(at, "profile")}


@pytest.mark.spec("RFC 8707 2")
async def test_allowed_at_one_resource_is_not_allowed_at_another(rig: Rig) -> None:
    one, other = "https://a.example", "https://b.example"
    client = rig.client(require_consent=True, audience=[one, other])

    async def asked(*resources: str, **params: str) -> bool:
        """Whether the person is asked, and then allows it."""
        again = Visit(rig, visit.browser, client, params)
        await again.browser.open(again.url + "".join(f"&resource={each}" for each in resources))
        is_asked = again.browser.page.has("allow")
        if is_asked:
            assert all(each in again.browser.page.body for each in resources)
            await go(again, "allow")
        assert (await again.code()).resource == resources
        return is_asked

    visit, user = await at_consent(rig, client, resource=one)
    await go(visit, "allow")
    assert (await visit.code()).resource == (one,)
    assert not await asked(one)
    silent = Visit(rig, visit.browser, client, {"resource": other, "prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "consent_required"
    assert await asked(other)
    assert not await asked(one)
    assert not await asked(one, other)
    assert await asked(one, scope="openid profile email")
    assert await asked(other, scope="openid profile email")
    assert await asked()
    assert not await asked()
    page = await visit.browser.open(f"{ISSUER}/account/applications")
    assert one in page.body
    assert other in page.body
    async with transaction(rig.db()) as session:
        row = await store.find_consent(session, user.id, client.client_id)
        assert row is not None
        assert (row.scope, row.scope_at) == (
            ["openid", "profile"],
            {one: ["email", "openid", "profile"], other: ["email", "openid", "profile"]},
        )
        entries = await consent.withdraw(session, row.id, feed=rig.feed, now=rig.clock())
    await rig.feed.settle(entries or [])
    assert await asked(other)
    assert await asked(one)


async def test_denied_is_told_to_the_application(rig: Rig) -> None:
    visit, _ = await at_consent(rig)
    await go(visit, "deny")
    answer = visit.answer
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", visit.state, ISSUER)
    second = Visit(rig, visit.browser, visit.client)
    await second.start()
    assert second.browser.page.has("allow")


@pytest.mark.row(26)
async def test_larger_scope_is_asked_for_again(rig: Rig) -> None:
    visit, _ = await at_consent(rig, scope="openid")
    await go(visit, "allow")
    larger = Visit(rig, visit.browser, visit.client, {"scope": "openid email"})
    await larger.start()
    assert larger.browser.page.has("allow")
    await go(larger, "allow")
    assert (await larger.code()).scope == ("email", "openid")
    smaller = Visit(rig, visit.browser, visit.client, {"scope": "openid"})
    await smaller.start()
    assert (await smaller.code()).scope == ("openid",)


async def test_consent_of_one_client_or_person_is_not_anothers(rig: Rig) -> None:
    visit, _ = await at_consent(rig)
    await go(visit, "allow")
    other_client = Visit(rig, visit.browser, rig.client(require_consent=True))
    await other_client.start()
    assert other_client.browser.page.has("allow")
    await at_consent(rig, visit.client)


async def test_prompt_consent_asks_whom_it_knows(rig: Rig) -> None:
    visit, _ = await at_consent(rig)
    await go(visit, "allow")
    again = Visit(rig, visit.browser, visit.client, {"prompt": "consent"})
    await again.start()
    assert again.browser.page.has("allow")
    await go(again, "allow")
    assert "code" in again.answer


@pytest.mark.spec("RFC 8252 8.6")
async def test_public_loopback_client_is_asked_each_time(rig: Rig) -> None:
    client = rig.client(require_consent=True, token_endpoint_auth_method="none", redirect_uris=["http://127.0.0.1/cb"])
    uri = {"redirect_uri": "http://127.0.0.1:5000/cb"}
    visit, _ = await at_consent(rig, client, None, **uri)
    await go(visit, "allow")
    second = Visit(rig, visit.browser, client, uri)
    await second.start()
    assert second.browser.page.has("allow")


@pytest.mark.row(26)
@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({}, {"csrf": ""}),
        ({}, {"csrf": "x" * 43}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Origin": "https://evil.example"}, {}),
    ],
)
async def test_forged_consent_is_refused(rig: Rig, headers: dict[str, str], changes: dict[str, str]) -> None:
    visit, _ = await at_consent(rig)
    form = visit.browser.page.form_with("decision")
    page = await visit.browser.send("POST", form.action, {**form.filled("allow"), **changes}, headers)
    assert (page.status, page.error_code) == (403, "form_not_ours")


async def test_login_token_does_not_fit_the_consent_form(rig: Rig) -> None:
    visit = Visit(rig, rig.browser(), rig.client(require_consent=True))
    await visit.start()
    login_csrf = visit.browser.page.form_with("username").fields["csrf"]
    await visit.enter((await rig.person()).username)
    form = visit.browser.page.form_with("decision")
    page = await visit.browser.send("POST", form.action, {"csrf": login_csrf, "decision": "allow"})
    assert page.error_code == "form_not_ours"


@pytest.mark.row(26)
async def test_consent_is_not_finished_in_another_browser(rig: Rig) -> None:
    """Dex CVE-2022-39222: the id of a flow alone fetches nothing."""
    visit, _ = await at_consent(rig)
    form = visit.browser.page.form_with("decision")
    thief = rig.browser()
    page = await thief.send("POST", form.action, form.filled("allow"))
    assert (page.status, page.error_code) == (403, "flow_not_here")
    page = await thief.send("GET", visit.browser.page.url)
    assert page.status == 403


async def test_whoever_signed_out_meanwhile_allows_nothing(rig: Rig) -> None:
    visit, _ = await at_consent(rig)
    form = visit.browser.page.form_with("decision")
    visit.browser.client.cookies.delete("ww-session")
    page = await visit.browser.send("POST", form.action, form.filled("allow"))
    assert page.location.startswith(f"{ISSUER}/login?flow=")


async def test_whoever_became_another_allows_nothing_for_the_first(rig: Rig) -> None:
    """The account was switched in a second tab: the decision counts for nobody."""
    visit, user = await at_consent(rig)
    form = visit.browser.page.form_with("decision")
    other = Visit(rig, visit.browser, rig.client(), {"prompt": "login"})
    second = await rig.person()
    await other.start()
    await other.enter(second.username)
    page = await visit.browser.send("POST", form.action, form.filled("allow"))
    assert (page.status, page.error_code) == (403, "form_not_ours")
    pool = await rig.db().raw_pool()
    people = [user.id, second.id]
    assert not await pool.fetchval("SELECT count(*) FROM authz.consent WHERE user_id = ANY($1)", people)


async def test_unknown_decision_decides_nothing(rig: Rig) -> None:
    visit, _ = await at_consent(rig)
    form = visit.browser.page.form_with("decision")
    page = await visit.browser.send("POST", form.action, {**form.filled("allow"), "decision": "perhaps"})
    assert page.location.startswith(f"{ISSUER}/consent?flow=")


async def test_another_account_may_be_used(rig: Rig) -> None:
    visit, _ = await at_consent(rig)
    other = await rig.person()
    await visit.browser.submit("other", "other")
    assert visit.browser.page.has("sign-in")
    await visit.enter(other.username)
    await go(visit, "allow")
    assert (await visit.code()).user_id == other.id


async def test_consent_page_without_a_flow_is_an_error(rig: Rig) -> None:
    page = await rig.browser().send("GET", f"{ISSUER}/consent")
    assert (page.status, page.error_code) == (403, "flow_not_here")


async def test_flow_expires_at_the_consent_page(own_rig: Rig) -> None:
    visit, _ = await at_consent(own_rig)
    form = visit.browser.page.form_with("decision")
    own_rig.clock.advance(timedelta(minutes=31))
    page = await visit.browser.send("POST", form.action, form.filled("allow"))
    assert page.error_code == "flow_over"


def own_scope(name: str, description: str, **claims: str) -> ScopeExport:
    opened = tuple(ScopeClaim(name=claim, expression=expression) for claim, expression in claims.items())
    return ScopeExport(id=name, name=name, description=description, claims=opened)


APP = ClientExport(client_id="app", client_name="App")


def test_scopes_are_told_in_plain_words() -> None:
    user = UserExport(id="u", username="ann", email="ann@demo.test", claims_version=1, claims={"name": "Ann"})
    own = by_name([own_scope("orders:read", "See your orders"), own_scope("orders:write", "Order in your name")])
    lines = describe(frozenset({"openid", "profile", "email", "orders:read", "wiki:write"}), user, APP, own)
    assert [line.scope for line in lines] == ["openid", "profile", "email", "orders:read", "wiki:write"]
    assert [line.note for line in lines] == ["", "Ann", "ann@demo.test", "", ""]
    assert lines[3].title == "See your orders"
    assert "wiki:write" in lines[-1].title


def test_every_scope_with_a_meaning_of_ours_is_told_in_words() -> None:
    user = UserExport(id="u", username="ann", claims_version=1)
    lines = describe(frozenset(BUILT_IN), user, APP, {"openid": own_scope("openid", "Anything at all")})
    assert [line.scope for line in lines] == list(BUILT_IN)
    assert all("“" not in line.title and line.title != "Anything at all" for line in lines)


STAFF = UserExport(
    id="u",
    username="ann",
    email="ann@demo.test",
    claims_version=1,
    claims={
        "name": "Ann Example",
        "family_name": "Example",
        "preferred_username": "ann",
        "birthdate": "1990-01-31",
        "website": f"https://ann.example/{'x' * 100}",
        "address": {"locality": "Bern", "country": "CH"},
        "updated_at": 1,
    },
    groups=tuple(f"team-{n}" for n in range(8)),
    home=HomeOrganization(id="o", short_name="acme", name="Acme Ltd"),
    attributes={"department": "Research", "rooms": ["a", "b"]},
)


@pytest.mark.parametrize(
    ("scope", "client", "expected"),
    [
        pytest.param(
            "profile",
            {},
            f"Ann Example, ann, https://ann.example/{'x' * 39}…, 1990-01-31",
            id="each claim that says more",
        ),
        pytest.param("groups", {}, "team-0, team-1, team-2, team-3, team-4, team-5 … (+2)", id="many groups"),
        pytest.param("groups", {"groups_filter": ("-[12]$",)}, "team-1, team-2", id="groups that the client is told"),
        pytest.param("groupstring", {"groups_filter": ("-1$",)}, "team-1", id="groups as a text"),
        pytest.param("groups", {"groups_filter": ("(",)}, "", id="a filter that nobody understands"),
        pytest.param("customer", {}, "Acme Ltd", id="organization"),
        pytest.param("address", {}, "Bern, CH", id="address"),
        pytest.param("phone", {}, "", id="nothing to tell"),
        pytest.param("staff", {}, 'department: Research, rooms: ["a","b"]', id="an own scope"),
    ],
)
def test_a_scope_shows_what_it_would_tell_now(scope: str, client: dict[str, Any], expected: str) -> None:
    expressions = {"department": "claims.department", "rooms": "claims.rooms", "none": "claims.nothing", "bad": "("}
    own = by_name([own_scope("staff", "See where you work", **expressions)])
    (line,) = describe(frozenset({scope}), STAFF, APP.model_copy(update=client), own)
    assert line.note == expected


async def test_page_links_to_what_the_client_says_it_does_and_to_where_consent_is_withdrawn(rig: Rig) -> None:
    links = {"policy_uri": "https://wiki.example/privacy", "tos_uri": "https://wiki.example/terms"}
    visit, _ = await at_consent(rig, rig.client(require_consent=True, **links))
    body = visit.browser.page.body
    for uri, label in ((links["policy_uri"], "Privacy"), (links["tos_uri"], "Terms of use")):
        assert f'<a href="{uri}" target="_blank" rel="noopener noreferrer">{label}</a>' in body
    assert f'id="account-link" href="{urlsplit(ISSUER).path}/account/applications"' in body


@pytest.mark.parametrize("uri", ["http://wiki.example/privacy", "javascript:alert(1)", "//wiki.example", "https:x"])
async def test_page_links_to_https_alone(rig: Rig, uri: str) -> None:
    visit, _ = await at_consent(rig, rig.client(require_consent=True, policy_uri=uri, tos_uri=uri))
    assert uri not in visit.browser.page.body


async def test_an_installations_scope_is_told_in_its_administrators_words(rig: Rig) -> None:
    name = f"orders:{secrets.token_hex(4)}"
    scope = ScopeExport(id=secrets.token_hex(8), name=name, description="See <b>your</b> orders")
    rig.owners.scopes[scope.id] = Exported(id=scope.id, version=1, data=scope)
    await rig.publish(ScopeChanged(id=scope.id, version=1))
    client = rig.client(require_consent=True, scope=["openid", name])
    async with asyncio.timeout(30):
        while True:
            visit, _ = await at_consent(rig, client, scope=f"openid {name}")
            if "&lt;b&gt;your&lt;/b&gt; orders" in visit.browser.page.body:
                break
    assert "<b>your</b>" not in visit.browser.page.body


async def test_pages_call_a_person_without_a_name_by_the_user_name(rig: Rig) -> None:
    user = await rig.person(claims={}, email=None, email_verified=False)
    visit, _ = await at_consent(rig, None, user)
    assert user.username in visit.browser.page.body
    await go(visit, "allow")
    for path in ("/login", "/oauth2/logout"):
        page = await visit.browser.open(f"{ISSUER}{path}")
        assert (page.status, user.username in page.body) == (200, True), f"{path}: {page.status} {page.texts}"
    choosing = Visit(rig, visit.browser, visit.client, {"prompt": "select_account"})
    await choosing.start()
    assert user.username in choosing.browser.page.body
