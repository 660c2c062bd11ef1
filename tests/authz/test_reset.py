"""A forgotten password: a link by mail, once, soon, and nobody learns who has an account; by a real mail server."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from markupsafe import escape
from tests.authz.conftest import ISSUER, PASSWORD, Rig, Visit, running
from tests.authz.test_account import NEW, is_signed_in
from tests.authz.test_api import call
from tests.authz.test_requirements import demanded, enrol_here
from tests.authz.test_second_factor import enrolled, sign_in_here
from tests.authz.test_tickets import prove, to_prove

from watchword_authz import break_glass
from watchword_authz.requirements import AppliesTo
from watchword_authz.settings import AuthzSettings
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.contracts import BrandingChanged, ProviderDisabled, UserUpdated
from watchword_events.exports import BrandingExport, Exported, ProviderExport, UserExport
from watchword_events.handovers import AccountProved, InvitePeople, ResetPassword
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres

FROM = "Sign-in <sso@demo.test>"


def text_of(mail: EmailMessage) -> str:
    """What is written there, for who reads no HTML."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@dataclass
class Post:
    """What a mail server received. away: it refuses for now."""

    mails: list[EmailMessage] = field(default_factory=list)
    away: bool = False
    refused: int = 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[dict[str, str]]:
        """A mail server that hands everything to this; the settings by which it is reached."""
        server = await asyncio.get_running_loop().create_server(lambda: SMTP(self), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield {"smtp_host": "127.0.0.1", "smtp_port": str(port), "smtp_security": "none"}

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.away:
            self.refused += 1
            return "451 come back later"
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert envelope.rcpt_tos == [str(mail["To"])]
        self.mails.append(mail)
        return "250 kept"

    async def to(self, address: str | None, count: int = 1) -> list[EmailMessage]:
        """The mails to an address, once there are so many."""
        async with asyncio.timeout(30):
            while len(found := [mail for mail in self.mails if mail["To"] == address]) < count:
                await asyncio.sleep(0.02)
        return found

    async def link_to(self, address: str, path: str, canary: Canary) -> str:
        """The link to a page, of the last mail to an address that has one, as soon as there is one."""
        async with asyncio.timeout(30):
            while True:
                for mail in reversed([each for each in self.mails if each["To"] == address]):
                    if found := re.search(rf"http\S+{path}\?ticket=(\S+)", text_of(mail)):
                        canary.add("ticket", found[1])
                        return found[0]
                await asyncio.sleep(0.02)


@dataclass
class Mailing:
    """An authz that sends mail."""

    rig: Rig
    post: Post


@pytest.fixture(scope="module")
async def mailing(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mailing]:
    """An authz and a mail server of this module's own."""
    post = Post()
    home = tmp_path_factory.mktemp("mailing")
    async with (
        post.served() as mail,
        running(postgres, database_template, home, TestClock(), Canary(), mail_from=FROM, **mail) as rig,
    ):
        yield Mailing(rig, post)


async def ask(rig: Rig, name: str) -> Browser:
    """Somebody, at an address of their own, asks for a link."""
    browser = rig.browser(f"198.51.{secrets.randbelow(256)}.{secrets.randbelow(256)}")
    await browser.open(f"{ISSUER}/login")
    await browser.click("forgotten")
    await browser.submit("username", "send", username=name)
    return browser


def link_in(mailing: Mailing, mail: EmailMessage) -> str:
    """The link of a mail."""
    found = re.search(r"http\S+", mail.get_content())
    assert found is not None
    mailing.rig.canary.add("ticket", found[0].partition("ticket=")[2])
    return found[0]


async def choose(browser: Browser, link: str, password: str = NEW) -> None:
    """The page after a new password was chosen by the link."""
    await browser.open(link)
    await browser.submit("new_password", "save", new_password=password, repeated=password)


async def test_link_of_a_mail_leads_to_a_new_password(mailing: Mailing) -> None:
    """Threat 25: whoever signed in with the old one is out; the link works in another browser, once."""
    rig = mailing.rig
    user, old = await rig.person(), rig.browser()
    await sign_in_here(rig, old, user)
    await ask(rig, user.username)
    (mail,) = await mailing.post.to(user.email)
    assert mail["From"] == FROM
    assert mail["Auto-Submitted"] == "auto-generated"
    link = link_in(mailing, mail)
    assert link.startswith(f"{ISSUER}/login/reset?ticket=")
    browser = rig.browser()
    await choose(browser, link)
    assert browser.page.status == 200
    assert not await is_signed_in(rig, old)
    for password, is_right in ((PASSWORD, False), (NEW, True)):
        visit = Visit(rig, rig.browser(), rig.client())
        await visit.start()
        await visit.enter(user.username, password)
        assert ("code=" in visit.browser.page.location) is is_right
    page = await browser.open(link)
    assert (page.status, page.error_code) == (400, "link_over")
    told = (await mailing.post.to(user.email, 2))[1]
    assert "was changed" in told.get_content()


async def test_a_mail_is_from_whom_the_installation_says_that_it_is(mailing: Mailing) -> None:
    rig, name = mailing.rig, 'Größe "& <Söhne>'
    shown = rig.owners.branding
    for version, said in ((1, name), (2, "Watchword")):
        shown["installation"] = Exported(id="installation", version=version, data=BrandingExport(name=said))
        await rig.publish(BrandingChanged(id="installation", version=version))
        browser = rig.browser()
        async with asyncio.timeout(10):
            while f" · {escape(said)}</title>" not in (await browser.open(f"{ISSUER}/login")).body:
                await asyncio.sleep(0.02)
        user = await rig.person()
        await ask(rig, user.username)
        (mail,) = await mailing.post.to(user.email)
        link_in(mailing, mail)
        (address,) = mail["From"].addresses
        assert address.addr_spec == "sso@demo.test"
        assert address.display_name == (name if said == name else "Sign-in")
        assert mail.get_content().splitlines()[-3:] == ["-- ", said, ISSUER]
        assert mail.keys().count("From") == 1


async def test_a_mail_is_in_the_language_of_its_reader(mailing: Mailing) -> None:
    rig = mailing.rig
    user = await rig.person(claims={"locale": "de"})
    await sign_in_here(rig, rig.browser(), user)
    await ask(rig, user.username)
    (mail,) = await mailing.post.to(user.email)
    assert (mail["Subject"], mail["Content-Language"]) == ("Wählen Sie ein neues Passwort", "de")
    assert "ein neues Passwort für das Konto" in mail.get_content()


async def test_a_new_link_makes_the_old_one_worthless(mailing: Mailing) -> None:
    """Threat 44."""
    rig, user = mailing.rig, await mailing.rig.person()
    await sign_in_here(rig, rig.browser(), user)
    await ask(rig, user.username)
    await mailing.post.to(user.email)
    await ask(rig, user.email or "")
    first, second = (link_in(mailing, mail) for mail in await mailing.post.to(user.email, 2))
    assert (await rig.browser().open(first)).error_code == "link_over"
    assert (await rig.browser().open(second)).has("new_password")


@pytest.mark.parametrize("by", ["the person", "an administrator"])
async def test_a_password_that_is_chosen_meanwhile_makes_the_link_worthless(mailing: Mailing, by: str) -> None:
    """Who reads the mail later, or read it before, does not get in past the new password."""
    rig, user = mailing.rig, await mailing.rig.person()
    browser = rig.browser()
    await sign_in_here(rig, browser, user)
    await ask(rig, user.username)
    link = link_in(mailing, (await mailing.post.to(user.email))[0])
    if by == "the person":
        await browser.open(f"{ISSUER}/account/password")
        await browser.submit("new_password", "save", new_password=NEW, repeated=NEW)
        assert "done=password" in browser.page.url
    else:
        await rig.hand_password(user.id)
        visit = Visit(rig, rig.browser(), rig.client())
        await visit.start()
        await visit.enter(user.username)
    assert (await rig.browser().open(link)).error_code == "link_over"


@pytest.mark.row(44)
@pytest.mark.parametrize("by", ["a link", "the person", "an administrator"])
async def test_a_new_password_ends_the_proofs_that_were_given_with_the_old_one(mailing: Mailing, by: str) -> None:
    """Whoever knew it links no identity of theirs in the minute that a ticket lasts. API keys stay (ADR 6)."""
    rig, user = mailing.rig, await mailing.rig.person()
    browser = rig.browser()
    await sign_in_here(rig, browser, user)
    before, chosen = await proof_by_password(rig, user, PASSWORD), NEW
    assert rig.feed.is_live(lineage_of(before))
    match by:
        case "a link":
            await ask(rig, user.username)
            await choose(rig.browser(), link_in(mailing, (await mailing.post.to(user.email))[0]))
        case "the person":
            await browser.open(f"{ISSUER}/account/password")
            await browser.submit("new_password", "save", new_password=NEW, repeated=NEW)
        case _:
            chosen = PASSWORD
            await rig.hand_password(user.id)
            visit = Visit(rig, rig.browser(), rig.client())
            await visit.start()
            await visit.enter(user.username)
    assert not rig.feed.is_live(lineage_of(before))
    assert rig.feed.is_live({"sub": user.id, "rev": before.rev})
    assert rig.feed.is_live(lineage_of(await proof_by_password(rig, user, chosen)))


async def proof_by_password(rig: Rig, user: UserExport, password: str) -> AccountProved:
    """What directory is told when the person proves an account for a waiting identity."""
    visit, _ = await to_prove(rig, user.id)
    await prove(visit, user.username, password)
    ticket = visit.browser.page.location.partition("ticket=")[2]
    async with transaction(rig.db(Service.DIRECTORY)) as session:
        taken = await bus.take(session, AccountProved, ticket, now=rig.clock())
    assert taken is not None
    return taken.payload


def lineage_of(proof: AccountProved) -> dict[str, object]:
    """What directory compares with the ledger."""
    return {"sub": proof.user_id, "sid": proof.sid, "rev": proof.rev}


async def revoke(rig: Rig, claim: Claim, value: str) -> None:
    """As an administrator does it by hand at `token`."""
    until = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(Service.TOKEN)) as session:
        entry = await bus.revoke(
            session,
            claim=claim,
            value=value,
            kind=RevocationKind.CUT,
            reason="administrator",
            until=until,
            keep_until=until,
        )
    assert await rig.feed.settle([entry], timeout=10)


@pytest.mark.row(44)
@pytest.mark.parametrize("claim", [Claim.SUB, Claim.ALL])
async def test_what_ends_everything_ends_the_links_that_were_asked_for_before(mailing: Mailing, claim: Claim) -> None:
    """Whoever asked may have been somebody who reads the mail; who asks afterwards gets one that is good."""
    rig, user = mailing.rig, await mailing.rig.person()
    await sign_in_here(rig, rig.browser(), user)
    await ask(rig, user.username)
    link, browser = link_in(mailing, (await mailing.post.to(user.email))[0]), rig.browser()
    await browser.open(link)
    form = browser.page.form_with("new_password").filled("save", new_password=NEW, repeated=NEW)
    await revoke(rig, claim, user.id if claim is Claim.SUB else "")
    for page in (await rig.browser().open(link), await browser.send("POST", f"{ISSUER}/login/reset", form)):
        assert (page.status, page.error_code) == (400, "link_over")
    await ask(rig, user.username)
    await choose(browser, link_in(mailing, (await mailing.post.to(user.email, 2))[1]))
    assert browser.page.status == 200


async def test_a_link_that_does_not_say_when_it_was_asked_for_is_ended_by_every_cut(mailing: Mailing) -> None:
    """As of a release that did not note it."""
    rig, user = mailing.rig, await mailing.rig.person()
    async with transaction(rig.db()) as session:
        ticket = await bus.hand_over(session, ResetPassword(user_id=user.id), flow="reset:old", now=rig.clock())
    rig.canary.add("ticket", ticket)
    await revoke(rig, Claim.SUB, user.id)
    assert (await rig.browser().open(f"{ISSUER}/login/reset?ticket={ticket}")).error_code == "link_over"


@pytest.mark.parametrize("by", ["the person", "an administrator"])
async def test_signing_out_everywhere_makes_the_links_of_before_worthless(mailing: Mailing, by: str) -> None:
    rig, user = mailing.rig, await mailing.rig.person()
    browser = rig.browser()
    for each in (rig.browser(), browser):
        await sign_in_here(rig, each, user)
    await ask(rig, user.username)
    link = await mailing.post.link_to(str(user.email), "/login/reset", rig.canary)
    if by == "the person":
        await browser.open(f"{ISSUER}/account")
        await browser.submit("end-others", "end-others")
    else:
        assert (await call(rig, "DELETE", "/sessions", user_id=user.id)).json() == {"ended": 2}
    assert (await rig.browser().open(link)).error_code == "link_over"


async def test_a_link_made_with_the_database_alone_is_good_after_everything_was_ended(mailing: Mailing) -> None:
    rig, user = mailing.rig, mailing.rig.user()
    await revoke(rig, Claim.ALL, "")
    ticket = await break_glass.open_again(rig.db(), user.id, forget=False, now=rig.clock())
    rig.canary.add("ticket", ticket)
    assert (await rig.browser().open(f"{ISSUER}/login/reset?ticket={ticket}")).has("new_password")
    await revoke(rig, Claim.SUB, user.id)
    assert (await rig.browser().open(f"{ISSUER}/login/reset?ticket={ticket}")).error_code == "link_over"


async def test_a_link_is_worth_nothing_at_an_address_of_before(mailing: Mailing) -> None:
    rig, user = mailing.rig, await mailing.rig.person()
    await sign_in_here(rig, rig.browser(), user)
    await ask(rig, user.username)
    link = link_in(mailing, (await mailing.post.to(user.email))[0])
    assert (await rig.browser().open(link)).has("new_password")
    changed = user.model_copy(update={"email": f"new-{user.email}"})
    rig.owners.users[user.id] = Exported(id=user.id, version=2, data=changed)
    await rig.publish(UserUpdated(id=user.id, version=2, claims_version=1))
    async with asyncio.timeout(20):
        while (page := await rig.browser().open(link)).has("new_password"):
            await asyncio.sleep(0.05)
    assert page.error_code == "link_over"


async def test_who_sets_a_second_factor_up_at_the_sign_in_is_told(mailing: Mailing) -> None:
    """Somebody who has the password alone could be the one who sets it up."""
    rig, user = mailing.rig, await mailing.rig.person()
    client = rig.client()
    async with demanded(rig, AppliesTo.CLIENT, client.client_id):
        visit = Visit(rig, rig.browser(), client)
        await visit.start()
        await visit.enter(user.username)
        await enrol_here(rig, visit)
    (told,) = await mailing.post.to(user.email)
    assert "authenticator app" in told.get_content()


async def test_a_link_is_good_for_half_an_hour(mailing: Mailing) -> None:
    rig, user = mailing.rig, await mailing.rig.person()
    await sign_in_here(rig, rig.browser(), user)
    await ask(rig, user.username)
    link = link_in(mailing, (await mailing.post.to(user.email))[0])
    browser = rig.browser()
    await browser.open(link)
    form = browser.page.form_with("new_password").filled("save", new_password=NEW, repeated=NEW)
    rig.clock.advance(timedelta(minutes=31))
    page = await browser.send("POST", f"{ISSUER}/login/reset", form)
    assert page.error_code == "link_over"


async def test_of_parallel_uses_of_a_link_one_counts(mailing: Mailing) -> None:
    """Threat 63."""
    rig, user = mailing.rig, await mailing.rig.person()
    await sign_in_here(rig, rig.browser(), user)
    await ask(rig, user.username)
    browser = rig.browser()
    await browser.open(link_in(mailing, (await mailing.post.to(user.email))[0]))
    form = browser.page.form_with("new_password").filled("save", new_password=NEW, repeated=NEW)
    url = f"{ISSUER}/login/reset"
    answers = await asyncio.gather(*(browser.client.post(url, data=form) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]


async def test_who_has_an_account_shows_in_no_answer(mailing: Mailing) -> None:
    """Threat 52: known, verified, disabled or not: one page, and mail only where it is due."""
    rig = mailing.rig
    known = await rig.person()
    await sign_in_here(rig, rig.browser(), known)
    nobody = (
        rig.user(password=None),
        await rig.person(email_verified=False),
        await rig.person(active=False),
    )
    names = [
        known.username,
        *(user.username for user in nobody),
        "nobody-here",
        "nobody@demo.test",
        "\u212aelvin@demo.test",
    ]
    pages = [(await ask(rig, name)).page for name in names]
    bodies = {re.sub(r'(flow=|value=")[^"]*', "", page.body) for page in pages}
    assert len(bodies) == 1
    assert {page.status for page in pages} == {200}
    await mailing.post.to(known.email)
    await ask(rig, known.username)
    await mailing.post.to(known.email, 2)  # whatever came before this one has been sent
    assert not [mail for mail in mailing.post.mails if mail["To"] in {user.email for user in nobody}]


async def close(rig: Rig, provider: ProviderExport, version: int) -> None:
    """admin hands over that the provider was disabled, and says so."""
    row = Exported(id=provider.id, version=version, data=provider.model_copy(update={"enabled": False}))
    rig.owners.providers[provider.id] = row
    payload = InvitePeople(provider_id=provider.id, version=version)
    await rig.hand_over(Service.ADMIN, payload, InvitePeople.FLOW)
    await rig.publish(ProviderDisabled(id=provider.id, version=version))


async def test_whoever_lost_their_only_way_in_gets_one_link(mailing: Mailing) -> None:
    """More people than are looked at in one go; closing it once more sends nobody another while theirs is good."""
    rig = mailing.rig
    provider = rig.provider()
    people = [rig.user() for _ in range(205)]
    spared = [await rig.person(), rig.user(active=False), rig.user(email_verified=False)]
    for user in (*people, *spared):
        rig.lone(user, provider)
    await close(rig, provider, 2)
    for user in people:
        await mailing.post.to(user.email)
    late = rig.user()
    rig.lone(late, provider)
    await close(rig, provider, 3)
    (mail,) = await mailing.post.to(late.email)
    sent = [each["To"] for each in mailing.post.mails]
    assert all(sent.count(user.email) == 1 for user in people)
    assert not {user.email for user in spared} & set(sent)
    browser = rig.browser()
    await choose(browser, link_in(mailing, mail))
    assert browser.page.status == 200
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter(late.username, NEW)
    assert "code=" in visit.browser.page.location


async def test_whoever_has_a_link_that_leads_nowhere_any_more_gets_another(mailing: Mailing) -> None:
    """It was ended with everything of the person, or went to an address that is not theirs now."""
    rig = mailing.rig
    provider = rig.provider()
    cut, moved, kept = rig.user(), rig.user(), rig.user()
    for user in (cut, moved, kept):
        rig.lone(user, provider)
    await close(rig, provider, 2)
    for user in (cut, moved, kept):
        await mailing.post.to(user.email)
    await revoke(rig, Claim.SUB, cut.id)
    changed = moved.model_copy(update={"email": f"new-{moved.email}"})
    rig.owners.users[moved.id] = Exported(id=moved.id, version=2, data=changed)
    await rig.publish(UserUpdated(id=moved.id, version=2, claims_version=1))
    pool = await rig.db().raw_pool()
    async with asyncio.timeout(20):
        while await pool.fetchval("SELECT version FROM authz.user_copy WHERE id = $1", moved.id) < 2:
            await asyncio.sleep(0.02)
    await close(rig, provider, 3)
    await mailing.post.to(changed.email)
    (_, mail) = await mailing.post.to(cut.email, 2)
    await choose(rig.browser(), link_in(mailing, mail))
    assert [each["To"] for each in mailing.post.mails].count(kept.email) == 1


async def test_nobody_is_sent_a_link_for_a_provider_that_is_open_again(mailing: Mailing) -> None:
    rig = mailing.rig
    provider, closed = rig.provider(), rig.provider()
    kept, lost = rig.user(), rig.user()
    rig.lone(kept, provider)
    rig.lone(lost, closed)
    payload = InvitePeople(provider_id=provider.id, version=1)
    await rig.hand_over(Service.ADMIN, payload, InvitePeople.FLOW)
    await close(rig, closed, 2)
    await mailing.post.to(lost.email)
    pool = await rig.db().raw_pool()
    while await pool.fetchval("SELECT count(*) FROM authz.closed_provider"):
        await asyncio.sleep(0.02)
    flows = [f"reset:{user.id}" for user in (kept, lost)]
    async with transaction(rig.db()) as session:
        assert await bus.flows_of(session, ResetPassword, flows=flows, now=rig.clock()) == {flows[1]}


async def test_a_mailbox_is_not_flooded(mailing: Mailing) -> None:
    rig, user, other = mailing.rig, await mailing.rig.person(), await mailing.rig.person()
    for each in (user, other):
        await sign_in_here(rig, rig.browser(), each)
    for _ in range(5):
        assert (await ask(rig, user.username)).page.status == 200
    await ask(rig, other.username)
    await mailing.post.to(other.email)
    assert len(await mailing.post.to(user.email)) == 3


async def test_a_link_does_not_skip_the_second_factor(mailing: Mailing) -> None:
    rig = mailing.rig
    user, phone, _ = await enrolled(rig)
    await ask(rig, user.username)
    mails = await mailing.post.to(user.email, 2)
    link = link_in(mailing, next(mail for mail in mails if "reset?" in mail.get_content()))
    await choose(rig.browser(), link)
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter(user.username, NEW)
    assert visit.browser.page.has("verify")
    await visit.browser.submit("otp", "verify", otp=phone.next_code())
    assert (await visit.code()).user_id == user.id


async def test_mail_waits_for_its_server_and_stands_sealed(mailing: Mailing) -> None:
    rig, post = mailing.rig, mailing.post
    user = await rig.person()
    await sign_in_here(rig, rig.browser(), user)
    post.away, before = True, post.refused
    await ask(rig, user.username)
    async with asyncio.timeout(30):
        while post.refused == before:
            await asyncio.sleep(0.02)
    pool = await rig.db().raw_pool()
    rows = [row["row"] for row in await pool.fetch("SELECT t::text AS row FROM authz.mail t")]
    assert rows
    assert user.email is not None
    assert not [row for row in rows if user.email in row or user.email.encode().hex() in row]
    post.away = False
    rig.clock.advance(timedelta(minutes=2))
    (mail,) = await post.to(user.email)
    ticket = link_in(mailing, mail).partition("ticket=")[2]
    assert await pool.fetchval("SELECT count(*) FROM bus.handover WHERE ticket_hash = $1", bus.ticket_hash(ticket)) == 1
    assert not [row for row in await pool.fetch("SELECT t::text AS row FROM bus.handover t") if ticket in row["row"]]


async def test_links_carry_the_configured_address(mailing: Mailing) -> None:
    """Threat 51."""
    rig, user = mailing.rig, await mailing.rig.person()
    await sign_in_here(rig, rig.browser(), user)
    browser = rig.browser()
    await browser.open(f"{ISSUER}/login")
    await browser.click("forgotten")
    form = browser.page.form_with("username")
    page = await browser.send(
        "POST", form.action, form.filled("send", username=user.username), {"X-Forwarded-Host": "evil.example"}
    )
    assert page.status == 200
    assert link_in(mailing, (await mailing.post.to(user.email))[0]).startswith(f"{ISSUER}/")


@pytest.mark.parametrize("ticket", ["", "x", "A" * 43, "ü", "A" * 5000])
async def test_a_link_that_is_none(mailing: Mailing, ticket: str) -> None:
    browser = mailing.rig.browser()
    assert (await browser.send("GET", f"{ISSUER}/login/reset?ticket={ticket}")).status == 400
    form = {"ticket": ticket, "new_password": NEW, "repeated": NEW}
    assert (await browser.send("POST", f"{ISSUER}/login/reset", form)).status == 400


async def test_a_person_is_told_of_what_changed(mailing: Mailing) -> None:
    rig = mailing.rig
    user, _, _ = await enrolled(rig)
    (mail,) = await mailing.post.to(user.email)
    assert "authenticator app" in mail.get_content()
    assert f"{ISSUER}/account" in mail.get_content()


async def test_without_a_mail_server_nothing_is_offered(rig: Rig) -> None:
    browser = rig.browser()
    await browser.open(f"{ISSUER}/login")
    assert not browser.page.has("forgotten")
    assert AuthzSettings.model_fields["smtp_host"].default == ""
