"""`/login/complete` and `/login/prove`: sign-ins that directory hands back."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.authz.conftest import CALLBACK, ISSUER, PASSWORD, Rig, Visit

from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import ProviderExport
from watchword_events.handovers import AccountProved, ProveAccount
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind


async def at_login(rig: Rig, **params: str) -> tuple[Visit, ProviderExport]:
    """A visit at the login page, and a provider."""
    visit = Visit(rig, rig.browser(), rig.client(), params)
    await visit.start()
    provider = rig.provider()
    await rig.know_provider(provider)
    return visit, provider


def complete(ticket: str) -> str:
    """Where directory redirects to."""
    return f"{ISSUER}/login/complete?ticket={ticket}"


async def test_sign_in_through_a_provider_ends_with_a_code(rig: Rig) -> None:
    user, (visit, provider) = rig.user(), await at_login(rig)
    long_ago = rig.clock() - timedelta(hours=2)
    ticket = await visit.signed_in_ticket(user, provider, auth_time=long_ago, acr="urn:mfa")
    await visit.browser.open(complete(ticket))
    code = await visit.code()
    assert (code.user_id, code.idp, code.amr, code.acr) == (user.id, provider.id, ("pwd", "mfa"), "urn:mfa")
    assert code.auth_time == long_ago
    session = await rig.session(code.sid)
    assert session is not None
    assert session.provider_id == provider.id


async def test_ticket_of_another_browser_is_refused_and_not_used_up(rig: Rig) -> None:
    user, (visit, provider) = rig.user(), await at_login(rig)
    ticket = await visit.signed_in_ticket(user, provider)
    thief = rig.browser()
    page = await thief.send("GET", complete(ticket))
    assert (page.status, page.error_code) == (403, "flow_not_here")
    await visit.browser.open(complete(ticket))
    assert (await visit.code()).user_id == user.id


async def test_ticket_with_another_binding_is_refused(rig: Rig) -> None:
    """As if directory had been told another browser's flow."""
    user, (visit, provider) = rig.user(), await at_login(rig)
    ticket = await visit.signed_in_ticket(user, provider, binding="0" * 64)
    page = await visit.browser.send("GET", complete(ticket))
    assert (page.status, page.error_code) == (403, "flow_not_here")


@pytest.mark.parametrize("ticket", ["", "x", "A" * 43, "A" * 5000, "'; DROP TABLE x; --"])
async def test_unknown_ticket_is_a_page(rig: Rig, ticket: str) -> None:
    answer = await rig.browser().client.get(f"{ISSUER}/login/complete", params={"ticket": ticket})
    assert answer.status_code == 400


async def test_repeated_step_goes_to_where_the_flow_stands(rig: Rig) -> None:
    visit = Visit(rig, rig.browser(), rig.client(require_consent=True))
    await visit.start()
    provider, user = rig.provider(), rig.user()
    ticket = await visit.signed_in_ticket(user, provider)
    await visit.browser.open(complete(ticket))
    assert visit.browser.page.has("allow")
    await visit.browser.open(complete(ticket))
    assert visit.browser.page.has("allow")
    assert visit.browser.page.url.startswith(f"{ISSUER}/consent?flow=")


async def test_expired_ticket_signs_nobody_in(own_rig: Rig) -> None:
    user, (visit, provider) = own_rig.user(), await at_login(own_rig)
    ticket = await visit.signed_in_ticket(user, provider)
    own_rig.clock.advance(timedelta(seconds=61))
    await visit.browser.open(complete(ticket))
    assert visit.browser.page.has("sign-in")
    assert "ww-session" not in visit.browser.cookies


async def test_twenty_parallel_uses_of_a_ticket_start_one_session(rig: Rig) -> None:
    user, (visit, provider) = rig.user(), await at_login(rig)
    ticket = await visit.signed_in_ticket(user, provider)
    answers = await asyncio.gather(*(visit.browser.client.get(complete(ticket)) for _ in range(20)))
    assert sum(answer.headers.get("location", "").startswith(CALLBACK) for answer in answers) == 1
    pool = await rig.db().raw_pool()
    assert await pool.fetchval("SELECT count(*) FROM authz.session WHERE user_id = $1", user.id) == 1


@pytest.mark.row(46)
@pytest.mark.parametrize("change", [{"enabled": False}, {"sign_in": False}])
async def test_provider_that_was_switched_off_meanwhile(rig: Rig, change: dict[str, bool]) -> None:
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    ticket = await visit.signed_in_ticket(rig.user(), rig.provider(**change))
    page = await visit.browser.send("GET", complete(ticket))
    assert (page.status, page.error_code) == (403, "provider_disabled")


@pytest.mark.row(46)
async def test_disabled_user_is_refused(rig: Rig) -> None:
    visit, provider = await at_login(rig)
    ticket = await visit.signed_in_ticket(rig.user(active=False), provider)
    page = await visit.browser.send("GET", complete(ticket))
    assert (page.status, page.error_code) == (403, "account_unavailable")


@pytest.mark.parametrize("claim", [Claim.SUB, Claim.IDP])
async def test_what_was_revoked_during_the_flow_ends_it(rig: Rig, claim: Claim) -> None:
    """The copies are older; the ledger knows."""
    user, (visit, provider) = rig.user(), await at_login(rig)
    ticket = await visit.signed_in_ticket(user, provider)
    until = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(Service.DIRECTORY)) as session:
        entry = await bus.revoke(
            session,
            claim=claim,
            value=user.id if claim is Claim.SUB else provider.id,
            kind=RevocationKind.CUT,
            reason="test",
            until=until,
            keep_until=until,
        )
    assert await rig.feed.settle([entry])
    page = await visit.browser.send("GET", complete(ticket))
    assert (page.status, page.error_code) == (403, "account_unavailable")


async def test_upstream_that_ignored_prompt_login_is_asked_again(rig: Rig) -> None:
    user, (visit, provider) = rig.user(), await at_login(rig, prompt="login")
    ticket = await visit.signed_in_ticket(user, provider, auth_time=rig.clock() - timedelta(hours=1))
    await visit.browser.open(complete(ticket))
    assert visit.browser.page.has("sign-in")


async def test_ticket_of_another_kind_is_nothing_here(rig: Rig) -> None:
    visit, provider = await at_login(rig)
    payload = ProveAccount(binding=await visit.binding(), user_id="u", pending_link_id="l", provider_id=provider.id)
    ticket = await rig.hand_over(Service.DIRECTORY, payload, visit.flow_id)
    page = await visit.browser.send("GET", complete(ticket))
    assert page.error_code == "ticket_unknown"


# proving an account --------------------------------------------------------------------------------------------------


async def to_prove(rig: Rig, user_id: str) -> tuple[Visit, ProviderExport]:
    """A visit at the page that asks to prove an account."""
    visit, provider = await at_login(rig)
    payload = ProveAccount(
        binding=await visit.binding(), user_id=user_id, pending_link_id="link-1", provider_id=provider.id
    )
    ticket = await rig.hand_over(Service.DIRECTORY, payload, visit.flow_id)
    await visit.browser.open(f"{ISSUER}/login/prove?ticket={ticket}")
    assert visit.browser.page.has("cancel")
    return visit, provider


async def prove(visit: Visit, username: str, password: str = PASSWORD) -> None:
    """Sends the form, without following the redirect to directory."""
    form = visit.browser.page.form_with("username")
    await visit.browser.send("POST", form.action, form.filled("sign-in", username=username, password=password))


async def test_proved_account_goes_back_to_directory(rig: Rig) -> None:
    user = await rig.person()
    visit, provider = await to_prove(rig, user.id)
    flow_id, binding = visit.flow_id, await visit.binding()
    await prove(visit, user.username)
    page = visit.browser.page
    assert page.location.startswith(f"{ISSUER}/login/identity?ticket=")
    assert "ww-session" not in visit.browser.cookies
    ticket = parse_qs(urlsplit(page.location).query)["ticket"][0]
    async with transaction(rig.db(Service.DIRECTORY)) as session:
        taken = await bus.take(session, AccountProved, ticket, now=rig.clock())
    assert taken is not None
    assert taken.flow == flow_id
    rev = await (await rig.db().raw_pool()).fetchval("SELECT rev FROM authz.flow WHERE id = $1", flow_id)
    assert rev > 0
    assert taken.payload == AccountProved(
        binding=binding, user_id=user.id, pending_link_id="link-1", rev=rev, sid=f"password:{user.id}:1"
    )
    # directory links the identity and hands the sign-in back: now it is one.
    visit.browser.page = await visit.browser.send("GET", f"{ISSUER}/login?flow={flow_id}")
    await visit.browser.open(complete(await visit.signed_in_ticket(user, provider)))
    assert (await visit.code()).idp == provider.id


async def test_another_persons_password_proves_nothing(rig: Rig) -> None:
    """Nobody links an identity to an account by signing in to a different one."""
    user, other = await rig.person(), await rig.person()
    visit, _ = await to_prove(rig, user.id)
    await prove(visit, other.username)
    page = visit.browser.page
    assert page.status == 400
    assert "is not right" in page.body
    assert "ww-session" not in visit.browser.cookies


async def test_wrong_password_proves_nothing(rig: Rig) -> None:
    user = await rig.person()
    visit, _ = await to_prove(rig, user.id)
    await prove(visit, user.username, "wrong")
    assert visit.browser.page.status == 400


async def test_live_session_of_the_account_is_not_enough(rig: Rig) -> None:
    """Whoever finds an unlocked browser links nothing."""
    user, browser = await rig.person(), rig.browser()
    first = Visit(rig, browser, rig.client())
    await first.start()
    await first.enter(user.username)
    second = Visit(rig, browser, rig.client(), {"prompt": "login"})
    await second.start()
    payload = ProveAccount(
        binding=await second.binding(), user_id=user.id, pending_link_id="l", provider_id=rig.provider().id
    )
    ticket = await rig.hand_over(Service.DIRECTORY, payload, second.flow_id)
    await browser.open(f"{ISSUER}/login/prove?ticket={ticket}")
    assert browser.page.has("cancel")


async def test_account_is_proved_through_a_provider_that_it_has(rig: Rig) -> None:
    user, known = rig.user(), rig.provider()
    visit, _ = await to_prove(rig, user.id)
    ticket = await visit.signed_in_ticket(user, known)
    page = await visit.browser.send("GET", complete(ticket))
    assert page.location.startswith(f"{ISSUER}/login/identity?ticket=")
    async with transaction(rig.db(Service.DIRECTORY)) as session:
        taken = await bus.take(session, AccountProved, page.location.partition("ticket=")[2], now=rig.clock())
    assert taken is not None
    assert taken.payload.idp == known.id


async def test_proving_may_be_given_up(rig: Rig) -> None:
    user, other = await rig.person(), await rig.person()
    visit, _ = await to_prove(rig, user.id)
    await visit.browser.submit("cancel", "cancel")
    assert not visit.browser.page.has("cancel")
    await visit.enter(other.username)
    assert (await visit.code()).user_id == other.id


async def test_account_is_not_proved_in_another_browser(rig: Rig) -> None:
    visit, provider = await at_login(rig)
    payload = ProveAccount(binding=await visit.binding(), user_id="u", pending_link_id="l", provider_id=provider.id)
    ticket = await rig.hand_over(Service.DIRECTORY, payload, visit.flow_id)
    page = await rig.browser().send("GET", f"{ISSUER}/login/prove?ticket={ticket}")
    assert (page.status, page.error_code) == (403, "flow_not_here")
