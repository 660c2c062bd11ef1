"""Access rules at the end of a sign-in: where they are asked, on what facts, and what cannot get around them."""

import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.authz.conftest import CALLBACK, ISSUER, Rig, Visit
from tests.authz.test_consumers import until
from tests.authz.test_device import answer_of, begun, enter, tv

from watchword_authz.sweeper import sweep
from watchword_database import decisions
from watchword_database.decisions import DecisionRow
from watchword_database.engine import transaction
from watchword_events.contracts import RuleChanged, UserDeleted
from watchword_events.exports import ClientExport, Exported, RuleExport
from watchword_events.names import Service
from watchword_policy.facts import Facts
from watchword_runtime.decisions import KEY, DecisionLog
from watchword_testkit.browser import Browser
from watchword_testkit.pages import Page


async def rule(rig: Rig, client: ClientExport, expression: str, **given: Any) -> RuleExport:
    """A rule of admin that authz has heard of."""
    name = f"r-{secrets.token_hex(4)}"
    made = RuleExport(id=name, name=name, expression=expression, clients=frozenset({client.client_id}), **given)
    rig.owners.rules[name] = Exported(id=name, version=1, data=made)
    await rig.publish(RuleChanged(id=name, version=1))
    await rig.until_heard(Service.ADMIN, "rule")
    return made


async def signed_in(rig: Rig, client: ClientExport, *, address: str | None = None, **changes: Any) -> Visit:
    """A person who has just entered the password."""
    visit = Visit(rig, rig.browser(address), client)
    await visit.start()
    await visit.enter((await rig.person(**changes)).username)
    return visit


async def post(browser: Browser, flow: str, **form: str) -> Page:
    """The answer to a form that was made up."""
    return await browser._follow("POST", f"{ISSUER}/login/denied?flow={flow}", form, None)


async def decided(rig: Rig, client: ClientExport) -> list[tuple[DecisionRow, Facts]]:
    """What was decided about a client, newest first, with the facts."""

    async def rows() -> list[DecisionRow]:
        async with transaction(rig.db()) as session:
            return await decisions.list_decisions(session, before="", limit=50, client_id=client.client_id)

    await until(rows)
    log = DecisionLog(rig.db(), rig.owners.ring(Service.AUTHZ).key(KEY))
    return [(row, log.read(row)) for row in await rows()]


async def test_the_code_carries_what_the_rules_gave(rig: Rig) -> None:
    client = rig.client()
    made = await rule(rig, client, "'ops' in groups", service_account="admin", roles=("a", "b"))
    visit = await signed_in(rig, client, groups=["ops"])
    code = await visit.code()
    assert (code.service_account, code.roles, code.policy) == ("admin", ("a", "b"), (made.name,))
    assert (code.issuer, code.address) == (ISSUER, rig.address)


async def test_a_client_that_no_rule_is_for_gets_nothing_and_a_record(rig: Rig) -> None:
    client = rig.client()
    visit = await signed_in(rig, client)
    code = await visit.code()
    assert (code.service_account, code.roles, code.policy) == (None, (), ())
    ((row, facts),) = await decided(rig, client)
    assert (row.allowed, row.outcome, facts.sub) == (True, "no_rules", code.user_id)


async def test_rules_are_asked_before_consent(rig: Rig) -> None:
    client = rig.client(require_consent=True, access="rules")
    visit = await signed_in(rig, client)
    page = visit.browser.page
    assert (page.status, page.error_code, page.has("allow")) == (403, "access_denied", False)


async def test_consent_that_was_shown_lets_nobody_in_whom_rules_turn_away_meanwhile(rig: Rig) -> None:
    client = rig.client(require_consent=True)
    visit = await signed_in(rig, client)
    assert visit.browser.page.has("allow")
    rig.owners.clients[client.client_id] = Exported(
        id=client.client_id, version=2, data=client.model_copy(update={"access": "rules"})
    )
    pool = await rig.db().raw_pool()
    await pool.execute("DELETE FROM authz.client_copy WHERE id = $1", client.client_id)
    await visit.browser.submit("decision", "allow")
    assert visit.browser.page.error_code == "access_denied"


async def test_the_address_is_where_the_browser_is_now(rig: Rig) -> None:
    """Not where it was when the session began."""
    office = rig.client()
    await rule(rig, office, "ip.startsWith('198.51.100.')")
    visit = await signed_in(rig, rig.client(), address="198.51.100.7")
    assert visit.answer["code"]
    again = Visit(rig, visit.browser, office)
    await again.start()
    assert (await again.code()).address == "198.51.100.7"
    moved = rig.browser("203.0.113.9")
    moved.client.cookies = visit.browser.client.cookies
    elsewhere = Visit(rig, moved, office)
    await elsewhere.start()
    assert moved.page.error_code == "access_denied"


async def test_the_issuer_is_the_providers_also_for_sessions_of_an_older_release(rig: Rig) -> None:
    client, provider, user = rig.client(), rig.provider(issuer="https://corp.example/{tenant}"), rig.user()
    await rig.know_provider(provider)
    visit = Visit(rig, rig.browser(), client)
    await visit.start()
    ticket = await visit.signed_in_ticket(user, provider, issuer="https://corp.example/t-1")
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
    code = await visit.code()
    assert code.issuer == "https://corp.example/t-1"
    pool = await rig.db().raw_pool()
    await pool.execute("UPDATE authz.session SET issuer = NULL WHERE id = $1", code.sid)
    again = Visit(rig, visit.browser, client)
    await again.start()
    assert (await again.code()).issuer == "https://corp.example/{tenant}"


async def test_a_device_is_told_that_the_person_may_not(rig: Rig) -> None:
    client = tv(rig, access="rules")
    codes = await begun(rig, client)
    browser, person = rig.browser(), await rig.person()
    await enter(browser, codes["user_code"])
    await browser.submit("username", "sign-in", username=person.username, password="correct horse battery staple")
    assert browser.page.error_code == "access_denied"
    assert await answer_of(rig, codes) == "pending", "another account may still be used"
    await browser.submit("decision", "leave")
    assert await answer_of(rig, codes) == "denied"


@pytest.mark.parametrize("csrf", ["", "x" * 43, None], ids=["empty", "made up", "missing"])
async def test_nobody_else_ends_the_persons_flow(rig: Rig, csrf: str | None) -> None:
    visit = await signed_in(rig, rig.client(access="rules"))
    flow = visit.flow_id
    page = await post(visit.browser, flow, decision="leave", **({} if csrf is None else {"csrf": csrf}))
    assert (page.status, page.error_code) == (403, "form_not_ours")
    await visit.browser.open(f"{ISSUER}/login/denied?flow={flow}")
    assert visit.browser.page.error_code == "access_denied"


async def test_the_page_is_for_who_was_turned_away(rig: Rig) -> None:
    allowed = Visit(rig, rig.browser(), rig.client(require_consent=True))
    await allowed.start()
    flow = allowed.flow_id
    for page in (
        await allowed.browser.open(f"{ISSUER}/login/denied?flow={flow}"),
        await post(allowed.browser, flow, x=""),
    ):
        assert urlsplit(page.url).path == "/login", "the flow stands at the sign-in"
    stranger = rig.browser()
    await stranger.open(f"{ISSUER}/login/denied?flow={flow}")
    assert (stranger.page.status, stranger.page.error_code) == (403, "flow_not_here")
    await stranger.open(f"{ISSUER}/login/denied")
    assert stranger.page.error_code == "flow_not_here"


async def test_each_look_at_the_page_is_a_decision_of_that_moment(rig: Rig) -> None:
    client = rig.client(access="rules")
    visit = await signed_in(rig, client)
    first = visit.browser.page.texts["reference"]
    await visit.browser.open(visit.browser.page.url)
    second = visit.browser.page.texts["reference"]
    assert first != second

    async def are_there() -> bool:
        async with transaction(rig.db()) as session:
            rows = await decisions.list_decisions(session, before="", limit=9, client_id=client.client_id)
        return {first, second} <= {row.id for row in rows}

    await until(are_there)


async def test_while_the_rules_are_not_known_nobody_gets_in(own_rig: Rig) -> None:
    visit = await signed_in(own_rig, own_rig.client())
    assert visit.answer["code"]
    pool = await own_rig.db().raw_pool()
    own_rig.owners.rules["broken"] = None  # type: ignore[assignment]  # admin cannot answer
    await pool.execute("DELETE FROM authz.copy_state; DELETE FROM authz.rule_copy")

    async def is_away() -> bool:
        again = Visit(own_rig, visit.browser, own_rig.client())
        await again.start()
        return again.browser.page.status == 503

    await until(is_away, within_s=40)


async def test_decisions_are_kept_for_a_time_and_not_after_the_person(own_rig: Rig) -> None:
    rig, client, person = own_rig, own_rig.client(), await own_rig.person()

    async def sign_in() -> None:
        visit = Visit(rig, rig.browser(), client)
        await visit.start()
        await visit.enter(person.username)
        assert visit.browser.page.location.startswith(CALLBACK)

    await sign_in()
    await decided(rig, client)
    await sweep(rig.db(), feed=rig.feed, now=rig.clock() + timedelta(days=29), keep_decisions=timedelta(days=30))
    assert len(await decided(rig, client)) == 1

    async def is_gone() -> bool:
        async with transaction(rig.db()) as session:
            return not await decisions.list_decisions(session, before="", limit=1, client_id=client.client_id)

    await sweep(rig.db(), feed=rig.feed, now=rig.clock() + timedelta(days=31), keep_decisions=timedelta(days=30))
    assert await is_gone()
    await sign_in()
    await decided(rig, client)
    rig.owners.users[person.id] = Exported(id=person.id, version=2, deleted=True)
    await rig.publish(UserDeleted(id=person.id, version=2, claims_version=2))
    await until(is_gone)
