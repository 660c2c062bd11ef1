"""A second factor that is demanded: at once for who is signed in, and set up at the next sign-in of who has none."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.authz.conftest import ISSUER, Rig, Visit, held, waiting_or_done
from tests.authz.test_second_factor import Phone, enrolled, sign_in_here

from watchword_authz import requirement_store, requirements
from watchword_authz.models import FactorRequirement
from watchword_authz.requirements import AppliesTo
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport
from watchword_policy.assurance import TWO_FACTORS


@asynccontextmanager
async def demanded(rig: Rig, applies_to: AppliesTo, entity_id: str = "") -> AsyncIterator[None]:
    """A second factor is demanded for the length of the block."""
    async with transaction(rig.db()) as session:
        made = await requirements.demand(session, applies_to, entity_id, feed=rig.feed, now=rig.clock())
    assert made is not None
    row, entries = made
    await rig.feed.settle(entries)
    try:
        yield
    finally:
        async with transaction(rig.db()) as session:
            assert await requirement_store.delete_requirement(session, row.id)


async def enrol_here(rig: Rig, visit: Visit) -> Phone:
    """A person who has to set up a second factor does, and keeps the recovery codes."""
    phone = Phone(rig, visit.browser.page.texts["totp-secret"])
    await visit.browser.submit("otp", "verify", otp=phone.code())
    rig.canary.add("recovery code", *visit.browser.page.texts["recovery-codes"].split())
    await visit.browser.submit("choice", "continue")
    return phone


@pytest.mark.parametrize("applies_to", list(AppliesTo))
async def test_who_has_none_sets_one_up_at_the_next_sign_in(rig: Rig, applies_to: AppliesTo) -> None:
    organization, client = secrets.token_hex(4), rig.client()
    user = await rig.person(organization=organization)
    entity_id = {"installation": "", "organization": organization, "client": client.client_id}[applies_to.value]
    async with demanded(rig, applies_to, entity_id):
        visit = Visit(rig, rig.browser(), client)
        await visit.start()
        await visit.enter(user.username)
        assert visit.browser.page.has("totp-secret")
        assert "ww-session" not in visit.browser.cookies
        phone = await enrol_here(rig, visit)
        code = await visit.code()
        assert (code.amr, code.acr) == (("pwd", "otp", "mfa"), TWO_FACTORS)
        again = Visit(rig, rig.browser(), client)
        await again.start()
        await again.enter(user.username)
        await again.browser.submit("otp", "verify", otp=phone.next_code())
        assert (await again.code()).user_id == user.id


@pytest.mark.seed(106)
async def test_it_counts_at_once_for_who_is_signed_in(rig: Rig) -> None:
    """Tokens of before end through the feed; the session steps up, and the application gets new ones."""
    user, phone, _ = await enrolled(rig)
    client, browser = rig.client(), rig.browser()
    other = await rig.person()
    theirs = Visit(rig, rig.browser(), rig.client())
    await theirs.start()
    await theirs.enter(other.username)
    kept = await theirs.code()
    plain = rig.browser()
    visit = Visit(rig, plain, client)
    await visit.start()
    await visit.enter(user.username)
    await plain.submit("otp", "verify", otp=phone.next_code())
    strong = await visit.code()
    short = Visit(rig, browser, client)
    await short.start()
    await short.enter(other.username)
    before = await short.code()
    async with demanded(rig, AppliesTo.CLIENT, client.client_id):
        assert not rig.feed.is_live({"rev": before.rev, "gid": before.gid})
        assert rig.feed.is_live({"rev": strong.rev, "gid": strong.gid})
        assert rig.feed.is_live({"rev": kept.rev, "gid": kept.gid})  # of another client
        silent = Visit(rig, browser, client, {"prompt": "none"})
        await silent.start()
        assert silent.answer["error"] == "login_required"
        still = Visit(rig, plain, client)
        await still.start()
        assert (await still.code()).sid == strong.sid
        elsewhere = Visit(rig, browser, rig.client())
        await elsewhere.start()
        assert (await elsewhere.code()).user_id == other.id


async def test_a_session_of_one_factor_is_good_for_nothing_here(rig: Rig) -> None:
    """Neither the account nor an application, until the person has both; then it is the same session."""
    user, browser = await rig.person(), rig.browser()
    visit = Visit(rig, browser, rig.client())
    await visit.start()
    await visit.enter(user.username)
    before = await visit.code()
    async with demanded(rig, AppliesTo.INSTALLATION):
        page = await browser.open(f"{ISSUER}/account")
        assert page.has("sign-in")
        again = Visit(rig, browser, rig.client())
        await again.start()
        await again.enter(user.username)
        phone = await enrol_here(rig, again)
        assert (await again.code()).sid == before.sid
        assert (await browser.open(f"{ISSUER}/account")).has("account-username")
    assert phone.secret


async def test_who_has_a_factor_is_asked_for_it_alone(rig: Rig) -> None:
    user, browser = await rig.person(), rig.browser()
    visit = Visit(rig, browser, rig.client())
    await visit.start()
    await visit.enter(user.username)
    before = await visit.code()
    other = rig.browser()
    await sign_in_here(rig, other, user)
    await other.click("manage-authenticator")
    phone = Phone(rig, other.page.texts["totp-secret"])
    await other.submit("otp", "verify", otp=phone.code())
    async with demanded(rig, AppliesTo.INSTALLATION):
        await browser.open(f"{ISSUER}/account")
        assert browser.page.has("verify")
        await browser.submit("otp", "verify", otp=phone.next_code())
        assert browser.page.has("account-username")
        again = Visit(rig, browser, rig.client())
        await again.start()
        assert (await again.code()).sid == before.sid


async def test_what_organizations_demand_is_of_their_own_people(rig: Rig) -> None:
    theirs, others = await rig.person(organization="acme"), await rig.person(organization="other")
    member = await rig.person(organizations=[{"organization": "acme", "roles": ["r"]}])
    async with demanded(rig, AppliesTo.ORGANIZATION, "acme"):
        for user, is_asked in ((theirs, True), (member, True), (others, False)):
            visit = Visit(rig, rig.browser(), rig.client())
            await visit.start()
            await visit.enter(user.username)
            assert visit.browser.page.has("totp-secret") is is_asked


async def test_a_provider_that_asked_for_two_is_enough(rig: Rig) -> None:
    user, provider = await rig.person(), rig.provider()
    async with demanded(rig, AppliesTo.INSTALLATION):
        visit = Visit(rig, rig.browser(), rig.client())
        await visit.start()
        ticket = await visit.signed_in_ticket(user, provider, amr=["pwd", "mfa"])
        await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
        assert (await visit.code()).user_id == user.id


@pytest.mark.spec("RFC 8176 2")
@pytest.mark.parametrize(
    ("amr", "is_enough"),
    [
        pytest.param(["pwd", "otp"], True, id="what is known and what is had"),
        pytest.param(["hwk", "fpt"], True, id="a key and a finger"),
        pytest.param(["swk", "user", "mfa"], True, id="a passkey"),
        pytest.param(["mfa"], True, id="as the provider says"),
        pytest.param(["pwd", "pin"], False, id="two of a kind"),
        pytest.param(["pwd"], False, id="a password"),
        pytest.param([], False, id="nothing said"),
    ],
)
async def test_a_new_requirement_ends_what_it_would_not_have_let_through(
    rig: Rig, amr: list[str], is_enough: bool
) -> None:
    """What is enough at a sign-in is enough for what was granted before."""
    user, provider, client = await rig.person(), rig.provider(), rig.client()
    visit = Visit(rig, rig.browser(), client)
    await visit.start()
    ticket = await visit.signed_in_ticket(user, provider, amr=amr)
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
    before = await visit.code()
    async with demanded(rig, AppliesTo.CLIENT, client.client_id):
        assert rig.feed.is_live({"rev": before.rev, "gid": before.gid}) is is_enough
        still = Visit(rig, visit.browser, client, {"prompt": "none"})
        await still.start()
        assert ("code" in still.answer) is is_enough


async def test_the_same_is_demanded_once(rig: Rig) -> None:
    async with demanded(rig, AppliesTo.CLIENT, "c-1"), transaction(rig.db()) as session:
        again = await requirements.demand(session, AppliesTo.CLIENT, "c-1", feed=rig.feed, now=rig.clock())
        assert again is None


async def allowed_in_the_end(rig: Rig, visit: Visit) -> bool:
    """Whether `token` would take what the application got, if it got something."""
    if "code" not in visit.answer:
        assert visit.answer["error"] == "login_required"
        return False
    code = await visit.code()
    return rig.feed.is_live({"rev": code.rev, "gid": code.gid, "sid": code.sid})


async def signed_in(rig: Rig, client: ClientExport) -> Visit:
    """A browser in which somebody signed in with a password alone."""
    user = await rig.person()
    visit = Visit(rig, rig.browser(), client)
    await visit.start()
    await visit.enter(user.username)
    await visit.code()
    return visit


@pytest.mark.parametrize("applies_to", [AppliesTo.INSTALLATION, AppliesTo.CLIENT])
async def test_what_is_demanded_while_a_sign_in_finishes_counts_for_it(rig: Rig, applies_to: AppliesTo) -> None:
    """The sign-in has looked and found nothing; the requirement commits before the grant does."""
    client = rig.client()
    again = Visit(rig, (await signed_in(rig, client)).browser, client)
    entity_id = client.client_id if applies_to is AppliesTo.CLIENT else ""
    async with transaction(rig.db()) as session:
        made = await requirements.demand(session, applies_to, entity_id, feed=rig.feed, now=rig.clock())
        assert made is not None
        asking = asyncio.create_task(again.start())
        await waiting_or_done(rig, asking)
    await asking
    await rig.feed.settle(made[1])
    try:
        assert not await allowed_in_the_end(rig, again)
    finally:
        async with transaction(rig.db()) as session:
            await requirement_store.delete_requirement(session, made[0].id)


async def test_what_is_granted_while_a_factor_is_being_demanded_ends_with_it(rig: Rig) -> None:
    """The grant is written and not committed when the requirement is set: it waits, and sees the grant."""
    client = rig.client()
    again = Visit(rig, (await signed_in(rig, client)).browser, client)
    made: list[FactorRequirement] = []

    async def demand() -> None:
        async with transaction(rig.db()) as session:
            done = await requirements.demand(
                session, AppliesTo.CLIENT, client.client_id, feed=rig.feed, now=rig.clock()
            )
        assert done is not None
        made.append(done[0])
        await rig.feed.settle(done[1])

    async with held(rig, "LOCK TABLE bus.handover IN SHARE MODE"):
        asking = asyncio.create_task(again.start())
        await waiting_or_done(rig, asking)
        demanding = asyncio.create_task(demand())
        await waiting_or_done(rig, demanding, at_least=2)
    await asyncio.gather(asking, demanding)
    try:
        assert not await allowed_in_the_end(rig, again)
    finally:
        async with transaction(rig.db()) as session:
            await requirement_store.delete_requirement(session, made[0].id)
