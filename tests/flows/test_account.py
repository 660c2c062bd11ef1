"""`/account` on a whole installation: what other services hold of a person, seen and changed there as that person."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import NamedTuple

import httpx2
import pytest

from watchword_database import bus, transaction
from watchword_events.handovers import ChangeEmail, EmailProved, Identity, VerifiedIdentity
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "a password for my account"
Make = Callable[..., Awaitable["Someone"]]
PAGES = ["profile", "email", "applications", "providers", "api-keys", "activity", "data"]


class Someone(NamedTuple):
    """A person in a browser where they have just signed in."""

    id: str
    username: str
    browser: Browser

    async def open(self, page: str = "") -> Browser:
        """The browser at a page of the account."""
        await self.browser.open(f"{self.browser.issuer}/account{page}")
        assert self.browser.page.status == 200, self.browser.page.body
        return self.browser


@pytest.fixture
async def someone(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Make]:
    """Makes people who are signed in."""
    async with AsyncExitStack() as stack:

        async def make(**more: object) -> Someone:
            name = f"own-{secrets.token_hex(4)}"
            made = await api.create("/users", username=name, password=PASSWORD, **more)
            browser = await stack.enter_async_context(platform.browser(canary))
            await enter(browser, name)
            return Someone(str(made["id"]), name, browser)

        yield make


async def enter(browser: Browser, name: str) -> None:
    """The person signs in at their account page."""
    await browser.open(f"{browser.issuer}/account")
    await browser.submit("username", "sign-in", username=name, password=PASSWORD)
    assert browser.page.texts["account-username"] == name


async def test_every_page_is_there_and_is_a_strangers_sign_in(someone: Make, platform: Platform) -> None:
    person = await someone()
    async with platform.browser() as stranger:
        for page in PAGES:
            browser = await person.open(f"/{page}")
            assert browser.page.links["Overview"]
            asked = await stranger.send("GET", f"{platform.issuer}/account/{page}")
            assert asked.location == f"{platform.issuer}/login?return_to=/account"
            forged = await browser.send("POST", f"{platform.issuer}/account/{page}", {"csrf": "x" * 43})
            assert forged.status in {403, 405}


async def test_whoever_has_an_address_signs_in_by_it_as_they_write_it(platform: Platform, api: Api) -> None:
    name = f"own-{secrets.token_hex(4)}"
    address = f"{name}@B\u00fccher.example"
    made = await api.create("/users", username=name, password=PASSWORD, email=address)
    assert made["email"] == f"{name}@xn--bcher-kva.example"
    for typed in (address, address.lower(), made["email"], f"{name.upper()}@XN--BCHER-KVA.example"):
        async with platform.browser() as browser:
            await browser.open(f"{browser.issuer}/account")
            await browser.submit("username", "sign-in", username=typed, password=PASSWORD)
            assert browser.page.texts.get("account-username") == name, typed


async def test_a_profile_is_changed_by_whose_it_is(someone: Make, api: Api) -> None:
    person = await someone(name="Before")
    browser = await person.open("/profile")
    await browser.submit("nickname", "save", name="After", zoneinfo="Asia/Tokyo", website="javascript:alert(1)")
    assert browser.page.status == 400
    assert (await api.get(f"/users/{person.id}"))["name"] == "Before"
    await browser.submit("nickname", "save", name="After", zoneinfo="Asia/Tokyo", website="")
    assert "Your profile was changed." in browser.page.body
    found = await api.get(f"/users/{person.id}")
    assert (found["name"], found["zoneinfo"], found["username"]) == ("After", "Asia/Tokyo", person.username)
    async with asyncio.timeout(20):  # the copy of authz follows
        while "JST" not in (await person.open("/activity")).page.body:
            await asyncio.sleep(0.05)


async def test_what_another_system_looks_after_is_locked(someone: Make, platform: Platform, api: Api) -> None:
    person = await someone(name="From SCIM")
    pool = await platform.database.open(Service.DIRECTORY, pool_size=1).raw_pool()
    await pool.execute("UPDATE directory.users SET external_id = $2 WHERE id = $1", person.id, secrets.token_hex(8))
    browser = await person.open("/profile")
    await browser.submit("nickname", "save", name="By hand")
    assert browser.page.status == 400
    assert (await api.get(f"/users/{person.id}"))["name"] == "From SCIM"
    assert "changed there" in (await person.open("/email")).page.body


async def test_a_key_is_made_used_seen_and_revoked(someone: Make, platform: Platform, canary: Canary) -> None:
    person = await someone()
    browser = await person.open("/api-keys")
    await browser.submit("lifetime", "make-key", name=" ", lifetime="30")
    assert browser.page.status == 400
    await browser.submit("lifetime", "make-key", name="backup script", lifetime="30")
    key = browser.page.texts["new-key"]
    canary.add("api key", key)
    me = httpx2.AsyncClient(base_url=f"{platform.issuer}/api/v1", headers={"Watchword-API-Key": key}, trust_env=False)
    async with me as http:
        assert "never used" in (await person.open("/api-keys")).page.body
        assert (await http.get("/me")).json()["id"] == person.id
        async with asyncio.timeout(20):  # uses are written behind
            while (listed := (await http.get("/me/api-keys")).json()["items"][0])["last_used_at"] is None:
                await asyncio.sleep(0.02)
        assert abs(utc_now() - datetime.fromisoformat(listed["last_used_at"])) < timedelta(minutes=5)
        lives = timedelta(days=30)
        assert abs(utc_now() + lives - datetime.fromisoformat(listed["expires_at"])) < timedelta(minutes=5)
        page = (await person.open("/api-keys")).page
        assert key not in page.body
        assert "Signs in to applications as you" in page.body
        assert "last used" in page.body
        assert "never used" not in page.body
        await browser.submit(f"revoke-{listed['id']}", f"revoke-{listed['id']}")
        assert "backup script" not in browser.page.body
        assert (await http.get("/me")).status_code == 401


async def test_nobody_revokes_the_key_of_another(someone: Make, api: Api) -> None:
    owner, other = await someone(), await someone()
    browser = await owner.open("/api-keys")
    await browser.submit("lifetime", "make-key", name="mine", lifetime="never")
    (key,) = (await api.get("/api-keys", user_id=owner.id))["items"]
    browser = await other.open("/api-keys")
    csrf = browser.page.form_with("lifetime").fields["csrf"]
    gone = await browser.send("POST", "/account/api-keys", {"csrf": csrf, "revoke": str(key["id"])})
    assert (gone.status, gone.error_code) == (404, "not_found")
    assert (await api.get("/api-keys", user_id=owner.id))["items"]


async def test_tiles_are_the_applications_that_the_person_may_use(someone: Make, api: Api) -> None:
    person = await someone()
    uris = {"redirect_uris": ["https://a.example/cb"], "main_uri": "https://a.example/start"}
    may = await api.create("/clients", client_name="Mine to use", **uris)
    may_not = await api.create("/clients", client_name="Not mine", required_permission="use:not-mine", **uris)
    async with asyncio.timeout(20):
        while not (page := (await person.open("/applications")).page).has(f"tile-{may['client_id']}"):
            await asyncio.sleep(0.05)
    assert page.links[f"tile-{may['client_id']}"] == "https://a.example/start"
    assert not page.has(f"tile-{may_not['client_id']}")
    assert not page.has("tile-watchword-account")
    for client in (may, may_not):
        await api.delete(f"/clients/{client['client_id']}")


async def test_withdrawing_an_application_kills_its_tokens_at_once(
    someone: Make, platform: Platform, api: Api, canary: Canary
) -> None:
    person = await someone()
    party = await Party.registered(api, platform.issuer, canary, scope="openid", client_name="Wiki")
    sign_in = SignIn(person.browser, party, scope="openid")
    await sign_in.start()
    tokens = await sign_in.redeem()
    async with httpx2.AsyncClient(base_url=platform.issuer, trust_env=False) as http:
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await http.get("/oauth2/userinfo", headers=bearer)).status_code == 200
        browser = await person.open("/applications")
        await browser.submit(f"withdraw-{party.client_id}", f"withdraw-{party.client_id}")
        assert (await http.get("/oauth2/userinfo", headers=bearer)).status_code == 401


async def test_activity_tells_when_with_what_and_from_where(someone: Make, api: Api) -> None:
    person = await someone()
    async with asyncio.timeout(20):  # sign-ins are written behind
        while "Signed in" not in (page := (await person.open("/activity")).page).body:
            await asyncio.sleep(0.05)
    assert "127.0.0.1" in page.body
    await api.call("PATCH", f"/users/{person.id}", name="Renamed by somebody else")
    page = (await person.open("/activity")).page
    assert "by an administrator or by this service" in page.body
    other = await someone()
    assert person.username not in (await other.open("/activity")).page.body


async def test_the_export_has_what_every_service_holds_and_no_secret(someone: Make, canary: Canary) -> None:
    person = await someone(name="Whole", email=f"{secrets.token_hex(4)}@x.example")
    browser = await person.open("/api-keys")
    await browser.submit("lifetime", "make-key", name="exported", lifetime="30")
    key = browser.page.texts["new-key"]
    canary.add("api key", key)
    browser = await person.open("/data")
    await browser.submit("export", "export")
    assert browser.page.headers["content-disposition"].startswith("attachment")
    held = json.loads(browser.page.body)
    assert (held["account"]["name"], held["account"]["id"]) == ("Whole", person.id)
    assert [each["name"] for each in held["api_keys"]] == ["exported"]
    assert held["password"]["changed_at"]
    assert held["sessions"][0]["address"] == "127.0.0.1"
    assert held["activity"]
    assert not {"argon2", key.partition(".")[2], "secret_hash", "password_hash"} & set(browser.page.body.split('"'))


async def test_deleting_oneself_ends_everything_as_an_administrators_deletion_does(
    someone: Make, platform: Platform, api: Api, canary: Canary
) -> None:
    person = await someone(name="Gone soon")
    party = await Party.registered(api, platform.issuer, canary, scope="openid")
    sign_in = SignIn(person.browser, party, scope="openid")
    await sign_in.start()
    tokens = await sign_in.redeem()
    browser = await person.open("/data")
    await browser.submit("username", "delete", username="somebody-else")
    assert browser.page.status == 400
    assert (await api.call("GET", f"/users/{person.id}")).status_code == 200
    await browser.submit("username", "delete", username=person.username)
    assert "Your account is deleted" in browser.page.body
    assert (await api.call("GET", f"/users/{person.id}")).status_code == 404
    assert (await party.userinfo(tokens["access_token"])).status_code == 401
    again = await browser.send("GET", f"{platform.issuer}/account")
    assert "/login" in again.location


async def test_the_last_owner_cannot_delete_themselves(own_platform: Platform, canary: Canary) -> None:
    platform, admin = own_platform, own_platform.admin
    async with platform.browser(canary) as browser:
        await browser.open(f"{platform.issuer}/account")
        await browser.submit("username", "sign-in", username=admin.username, password=admin.password)
        await browser.open(f"{platform.issuer}/account/data")
        await browser.submit("username", "delete", username=admin.username)
        assert browser.page.status == 400
        assert "owner first" in browser.page.body


async def test_changing_an_address_needs_its_mailbox(
    someone: Make, platform: Platform, api: Api, canary: Canary
) -> None:
    """The link of a mail, as authz writes it: for the person who asked, once."""
    person, other = await someone(), await someone()
    address = f"{secrets.token_hex(4)}@x.example"
    mailed = await link_in_mail(platform, canary, ChangeEmail(user_id=person.id, email=address))
    await other.browser.open(mailed)
    assert other.browser.page.error_code == "link_over"
    await person.browser.open(mailed)
    await person.browser.submit("confirm", "confirm")
    found = await api.get(f"/users/{person.id}")
    assert (found["email"], found["email_verified"]) == (address, True)
    await person.browser.open(mailed)
    assert person.browser.page.error_code == "link_over"
    assert (await api.get(f"/users/{other.id}"))["email"] is None


async def link_in_mail(platform: Platform, canary: Canary, asked: ChangeEmail, *, age: timedelta = timedelta()) -> str:
    """As authz writes it; this installation has no mail server. age: how long ago."""
    authz = platform.database.open(Service.AUTHZ, pool_size=1)
    async with transaction(authz) as session:
        flow, life = f"email:{asked.user_id}", timedelta(minutes=30)
        ticket = await bus.hand_over(session, asked, flow=flow, now=utc_now() - age, ttl=life)
    await authz.dispose()
    canary.add("ticket", ticket)
    return f"{platform.issuer}/account/email/confirm?ticket={ticket}"


@pytest.fixture
async def newcomer(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Someone]:
    """Somebody who has just come through a provider that does not say whether the address is theirs."""
    provider_id = await corp(api)
    async with platform.browser(canary) as browser:
        await browser.open(f"{platform.issuer}/account")
        async with asyncio.timeout(20):
            while not browser.page.has(f"provider-{provider_id}"):
                await browser.open(browser.page.url)
        flow = browser.page.links[f"provider-{provider_id}"].partition("flow=")[2]
        email = f"new-{secrets.token_hex(4)}@x.example"
        await come_back(platform, browser, flow, provider_id, email=email)
        await browser.open(f"{platform.issuer}/account")
        (link,) = (await api.get("/identities", provider_id=provider_id))["items"]
        yield Someone(str(link["user_id"]), browser.page.texts["account-username"], browser)


async def test_an_unverified_address_is_verified_by_its_mailbox(
    newcomer: Someone, someone: Make, platform: Platform, api: Api, canary: Canary
) -> None:
    """Also where it is changed elsewhere. Applications learn of it, by the event that every copy follows."""
    person, other = newcomer, await someone()
    before = await api.get(f"/users/{person.id}")
    assert before["email_verified"] is False
    page = (await person.open("/email")).page
    assert "(not verified)" in page.texts["own-email"]
    assert "changed there" in page.body
    party = await Party.registered(api, platform.issuer, canary, scope="openid email")
    sign_in = SignIn(person.browser, party, scope="openid email")
    await sign_in.start()
    tokens = await sign_in.redeem()
    assert (await party.userinfo(tokens["access_token"])).json()["email_verified"] is False

    right = ChangeEmail(user_id=person.id, email=before["email"], current=True)
    good = await link_in_mail(platform, canary, right)
    refused = {
        "expired": await link_in_mail(platform, canary, right, age=timedelta(minutes=31)),
        "another person's": await link_in_mail(platform, canary, right.model_copy(update={"user_id": other.id})),
        "made up": good.partition("ticket=")[0] + f"ticket={'x' * 43}",
        "cut off": good[:-1],
        "none": good.partition("?")[0],
    }
    await person.browser.open(good)
    assert before["email"] in person.browser.page.body
    form = person.browser.page.form_with("confirm")
    for name, link in refused.items():
        page = await person.browser.send("GET", link)
        assert (page.status, page.error_code) == (400, "link_over"), name
        sent = form.filled("confirm", ticket=link.partition("ticket=")[2])
        assert (await person.browser.send("POST", form.action, sent)).error_code == "link_over", name
    assert (await other.browser.send("GET", good)).error_code == "link_over"
    assert await api.get(f"/users/{person.id}") == before

    await person.browser.open(good)
    await person.browser.submit("confirm", "confirm")
    assert "Your address is verified." in person.browser.page.body
    found = await api.get(f"/users/{person.id}")
    assert (found["email"], found["email_verified"], found["version"]) == (before["email"], True, before["version"] + 1)
    async with asyncio.timeout(20):
        while not (await party.userinfo(tokens["access_token"])).json()["email_verified"]:
            await asyncio.sleep(0.05)
    assert (await person.browser.open(good)).error_code == "link_over"


@pytest.mark.row(44)
@pytest.mark.parametrize("by", ["an administrator", "somebody who proved it first"])
async def test_an_address_that_is_not_the_persons_any_more_is_not_verified(
    newcomer: Someone, platform: Platform, api: Api, canary: Canary, by: str
) -> None:
    email = (await api.get(f"/users/{newcomer.id}"))["email"]
    asked = ChangeEmail(user_id=newcomer.id, email=email, current=True)
    await newcomer.browser.open(await link_in_mail(platform, canary, asked))
    if by == "an administrator":
        await api.change(f"/users/{newcomer.id}", email=f"other-{email}")
    else:
        await api.create("/users", username=f"first-{secrets.token_hex(4)}", email=email)
    before = await api.get(f"/users/{newcomer.id}")
    await newcomer.browser.submit("confirm", "confirm")
    assert newcomer.browser.page.status == 400
    assert "Nothing was verified" in newcomer.browser.page.body
    assert await api.get(f"/users/{newcomer.id}") == before


async def test_a_proof_of_an_address_is_good_for_nobody_else(platform: Platform, someone: Make, api: Api) -> None:
    """The ticket of one person in the hands of another, and one that was never a proof."""
    person, thief = await someone(), await someone()
    authz = platform.database.open(Service.AUTHZ, pool_size=1)
    async with transaction(authz) as session:
        proof = EmailProved(user_id=person.id, email="victim@x.example")
        ticket = await bus.hand_over(session, proof, flow=f"email:{person.id}", now=utc_now())
    await authz.dispose()
    party = await Party.registered(
        api, platform.issuer, scope="openid", permission_scope=["watchword:me:read", "watchword:me:write"]
    )
    sign_in = SignIn(thief.browser, party, scope="openid")
    await sign_in.start()
    token = (await sign_in.redeem())["access_token"]
    async with httpx2.AsyncClient(
        base_url=f"{platform.issuer}/api/v1", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as http:
        for sent in (ticket, "x" * 43, "short"):
            answer = await http.put("/me/email", json={"ticket": sent})
            assert answer.status_code == 400, answer.text
    assert (await api.get(f"/users/{thief.id}"))["email"] is None


async def corp(api: Api, **settings: object) -> str:
    """A provider of the test's own."""
    provider_id = f"Own-{secrets.token_hex(4)}"
    await api.create(
        "/providers", id=provider_id, preset="oidc", display_name=f"Corp {provider_id}", client_id="ww",
        issuer="https://login.corp.example", client_secret=secrets.token_urlsafe(24), **settings,
    )  # fmt: skip
    return provider_id


async def asked_to_link(person: Someone, provider_id: str) -> str:
    """The flow in which the person's browser is on its way to the provider, having pressed the button."""
    async with asyncio.timeout(20):  # authz hears of the provider
        while not (await person.open("/providers")).page.has(f"link-{provider_id}"):
            await asyncio.sleep(0.05)
    await person.browser.submit(f"link-{provider_id}", f"link-{provider_id}")
    return person.browser.page.links[f"provider-{provider_id}"].partition("flow=")[2]


async def come_back(
    platform: Platform,
    browser: Browser,
    flow: str,
    provider_id: str,
    *,
    solicited: bool = True,
    subject: str = "",
    email: str | None = None,
) -> str:
    """The browser is back from the provider, which says who it is: federation's side of it. The subject."""
    subject = subject or secrets.token_hex(8)
    identity = VerifiedIdentity(
        provider_id=provider_id,
        issuer="https://login.corp.example",
        subject=subject,
        email=email,
        auth_time=utc_now(),
    )
    binding = hashlib.sha256(browser.cookies[f"ww-flow-{flow}"].encode()).hexdigest()
    handed = Identity(binding=binding, identity=identity, solicited=solicited)
    federation = platform.database.open(Service.FEDERATION, pool_size=1)
    async with transaction(federation) as session:
        ticket = await bus.hand_over(session, handed, flow=flow, now=utc_now())
    await federation.dispose()
    await browser.open(f"{platform.issuer}/login/identity?ticket={ticket}")
    return subject


async def subjects_of(api: Api, user_id: str) -> list[str]:
    """The subjects that lead to a user."""
    return [str(each["subject"]) for each in (await api.get("/identities", user_id=user_id))["items"]]


@pytest.mark.row(44)
async def test_a_provider_is_linked_in_the_session_that_asked_and_unlinked_again(
    someone: Make, platform: Platform, api: Api
) -> None:
    person, provider_id = await someone(), await corp(api)
    cookie = person.browser.cookies["ww-session"]
    flow = await asked_to_link(person, provider_id)
    subject = await come_back(platform, person.browser, flow, provider_id)
    assert person.browser.page.url.endswith("/account/providers?done=linked")
    assert subject in person.browser.page.body
    assert await subjects_of(api, person.id) == [subject]
    assert person.browser.cookies["ww-session"] == cookie, "nobody was signed in by it"
    # What the person asked for was one link: whoever comes back in the same flow again is nobody's.
    await come_back(platform, person.browser, flow, provider_id)
    assert len(await subjects_of(api, person.id)) == 1
    (link,) = (await api.get("/identities", user_id=person.id))["items"]
    person.browser.client.cookies.clear()
    await enter(person.browser, person.username)
    await person.open("/providers")
    await person.browser.submit(f"unlink-{link['id']}", f"unlink-{link['id']}")
    assert await subjects_of(api, person.id) == []
    assert "/login" in (await person.browser.send("GET", "/account")).location, "everything of theirs has ended"


@pytest.mark.row(43)
async def test_nobody_links_what_leads_to_somebody_else_or_was_not_asked_for(
    someone: Make, platform: Platform, api: Api
) -> None:
    first, second, provider_id = await someone(), await someone(), await corp(api)
    other_provider = await corp(api)
    taken = await come_back(platform, first.browser, await asked_to_link(first, provider_id), provider_id)
    flow = await asked_to_link(second, provider_id)
    await come_back(platform, second.browser, flow, provider_id, subject=taken)
    assert second.browser.page.error_code == "linked_elsewhere"
    await come_back(platform, second.browser, flow, provider_id, solicited=False)
    assert second.browser.page.error_code == "account_not_linked"
    await come_back(platform, second.browser, flow, other_provider)
    assert second.browser.page.error_code == "account_not_linked"
    assert await subjects_of(api, second.id) == []
    assert await subjects_of(api, first.id) == [taken]


async def session_ended(api: Api, person: Someone) -> None:
    (found,) = (await api.get("/sessions", user_id=person.id))["items"]
    await api.delete(f"/sessions/{found['id']}")


async def signed_out_everywhere(api: Api, person: Someone) -> None:
    await api.create("/revocations", claim="sub", value=person.id)


async def provider_distrusted(api: Api, person: Someone) -> None:
    """The one through which the person came."""
    (link,) = (await api.get("/identities", user_id=person.id))["items"]
    answer = await api.call("PATCH", f"/providers/{link['provider_id']}", {"enabled": False}, end_sessions="true")
    assert answer.status_code == 200, answer.text


@pytest.mark.row(44)
@pytest.mark.parametrize("end", [session_ended, signed_out_everywhere, provider_distrusted])
async def test_whoever_was_signed_out_since_they_asked_links_nothing(
    newcomer: Someone, platform: Platform, api: Api, end: Callable[[Api, Someone], Awaitable[None]]
) -> None:
    """A thief whose session an administrator ended does not come back with a way in of their own."""
    provider_id = await corp(api)
    flow = await asked_to_link(newcomer, provider_id)
    before = await subjects_of(api, newcomer.id)
    await end(api, newcomer)
    await come_back(platform, newcomer.browser, flow, provider_id)
    assert newcomer.browser.page.error_code == "account_not_linked"
    assert await subjects_of(api, newcomer.id) == before


@pytest.mark.row(44)
async def test_whoever_is_signed_out_in_the_middle_of_asking_links_nothing(
    someone: Make, platform: Platform, api: Api
) -> None:
    """Between the moment in which it was known who asks, and the one in which that is handed over."""
    person, provider_id = await someone(), await corp(api)
    link, database = f"link-{provider_id}", platform.database
    async with asyncio.timeout(20):
        while not (await person.open("/providers")).page.has(link):
            await asyncio.sleep(0.05)
    async with database.postgres.admin(database.name) as admin, database.postgres.admin(database.name) as watching:
        async with admin.transaction():
            await admin.execute("LOCK TABLE authz.provider_copy IN ACCESS EXCLUSIVE MODE")
            asking = asyncio.create_task(person.browser.submit(link, link))
            async with asyncio.timeout(20):
                while not await watching.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE relation = 'authz.provider_copy'::regclass AND NOT granted"
                ):
                    await asyncio.sleep(0.01)
            await signed_out_everywhere(api, person)
        await asking
    flow = person.browser.page.links[f"provider-{provider_id}"].partition("flow=")[2]
    await come_back(platform, person.browser, flow, provider_id)
    assert person.browser.page.error_code == "account_not_linked"
    assert await subjects_of(api, person.id) == []


async def test_the_last_way_in_is_refused_with_words(someone: Make, platform: Platform, api: Api) -> None:
    """A password that directory knows nothing of counts; when it is gone, nothing is unlinked."""
    person, provider_id = await someone(), await corp(api)
    await come_back(platform, person.browser, await asked_to_link(person, provider_id), provider_id)
    (link,) = (await api.get("/identities", user_id=person.id))["items"]
    authz = await platform.database.open(Service.AUTHZ, pool_size=1).raw_pool()
    kept = await authz.fetchrow("DELETE FROM authz.credential WHERE user_id = $1 RETURNING *", person.id)
    await person.open("/providers")
    await person.browser.submit(f"unlink-{link['id']}", f"unlink-{link['id']}")
    assert (person.browser.page.status, "Set a password" in person.browser.page.body) == (409, True)
    refused = await api.call("DELETE", f"/identities/{link['id']}")
    assert (refused.status_code, refused.json()["title"]) == (409, "The last way in")
    await authz.execute(
        f"INSERT INTO authz.credential ({', '.join(kept.keys())})"
        f" VALUES ({', '.join(f'${place + 1}' for place in range(len(kept)))})",
        *kept.values(),
    )
    directory = await platform.database.open(Service.DIRECTORY, pool_size=1).raw_pool()
    await directory.execute("UPDATE directory.users SET password_set_at = NULL WHERE id = $1", person.id)
    assert (await api.call("DELETE", f"/identities/{link['id']}")).status_code == 204
