"""`/login`: the password form, its refusals, and the ways to providers."""

import re
import secrets
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.authz.conftest import HASH, ISSUER, PASSWORD, Rig, Visit

from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import Exported, ProviderExport
from watchword_events.handovers import UpstreamStart
from watchword_events.names import Service
from watchword_testkit.pages import Page

WRONG = "The user name or the password is not right."


async def at_login(rig: Rig, **params: str) -> Visit:
    """A visit that stands at the login page."""
    visit = Visit(rig, rig.browser(), rig.client(), params)
    await visit.start()
    assert visit.browser.page.has("sign-in")
    return visit


def told(page: Page) -> str:
    """What the page says, without what differs from one request to the next."""
    return page.body.partition('class="alert error"')[2].partition("</div>")[0]


@pytest.mark.parametrize("by", ["username", "email", "USERNAME", " username "])
async def test_user_name_or_address_signs_in(rig: Rig, by: str) -> None:
    user, visit = await rig.person(), await at_login(rig)
    typed = {"username": user.username, "email": user.email or ""}[by.strip().lower()]
    await visit.enter(typed.upper() if by.isupper() else by.replace(by.strip(), typed))
    assert (await visit.code()).user_id == user.id


@pytest.mark.row(52)
@pytest.mark.parametrize("who", ["unknown name", "unknown address", "wrong password", "no password", "disabled", "odd"])
async def test_every_refusal_reads_the_same(rig: Rig, who: str) -> None:
    visit = await at_login(rig)
    match who:
        case "unknown name":
            typed, password = "nobody-here", PASSWORD
        case "unknown address":
            typed, password = "nobody@demo.test", PASSWORD
        case "wrong password":
            typed, password = (await rig.person()).username, "wrong"
        case "no password":
            typed, password = rig.user().username, PASSWORD
        case "disabled":
            typed, password = (await rig.person(active=False)).username, PASSWORD
        case _:
            typed, password = "\u212aelvin@demo.test", PASSWORD
    await visit.enter(typed, password)
    page = visit.browser.page
    assert page.status == 400
    assert WRONG in told(page)
    assert "ww-session" not in visit.browser.cookies
    other = await at_login(rig)
    await other.enter(secrets.token_hex(8), "x")
    assert told(page) == told(other.browser.page)


async def test_who_was_enabled_a_moment_ago_signs_in(rig: Rig) -> None:
    """Also while no event arrives: with the right password, directory is asked."""
    user = await rig.person(active=False)
    visit = await at_login(rig)
    await visit.enter(user.username)
    assert visit.browser.page.status == 400
    rig.owners.users[user.id] = Exported(id=user.id, version=2, data=user.model_copy(update={"active": True}))
    await visit.enter(user.username)
    assert (await visit.code()).user_id == user.id


async def test_empty_fields_read_like_a_wrong_password(rig: Rig) -> None:
    visit = await at_login(rig)
    await visit.enter("", "")
    assert visit.browser.page.status == 400
    assert WRONG in told(visit.browser.page)


async def test_long_password_is_refused_before_it_is_hashed(rig: Rig) -> None:
    user, visit = await rig.person(), await at_login(rig)
    await visit.enter(user.username, "x" * 1025)
    assert visit.browser.page.status == 400
    form = visit.browser.page.form_with("username")
    page = await visit.browser.send("POST", form.action, {"username": "a", "password": "x" * 1_000_000})
    assert page.status == 413


async def test_set_password_is_taken_at_sign_in(rig: Rig) -> None:
    """The newest of those that wait, and only once."""
    user = rig.user()
    await rig.hand_password(user.id, "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
    await rig.hand_password(user.id, HASH)
    visit = await at_login(rig)
    await visit.enter(user.username)
    assert (await visit.code()).user_id == user.id


@pytest.mark.row(30)
@pytest.mark.spec("RFC 9700 4.7")
@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, None),
        ({"Sec-Fetch-Site": "same-site"}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Origin": "https://evil.example"}, None),
        ({"Origin": "null"}, None),
        ({}, ""),
        ({}, "x" * 43),
        ({}, "ü" * 43),
    ],
)
async def test_form_from_elsewhere_signs_nobody_in(rig: Rig, headers: dict[str, str], csrf: str | None) -> None:
    user, visit = await rig.person(), await at_login(rig)
    form = visit.browser.page.form_with("username")
    data = form.filled("sign-in", username=user.username, password=PASSWORD)
    if csrf is not None:
        data["csrf"] = csrf
    page = await visit.browser.send("POST", form.action, data, headers)
    assert (page.status, page.error_code) == (403, "form_not_ours")
    assert "ww-session" not in visit.browser.cookies


async def test_form_token_of_another_flow_does_not_fit(rig: Rig) -> None:
    user, one, other = await rig.person(), await at_login(rig), await at_login(rig)
    form = one.browser.page.form_with("username")
    data = form.filled("sign-in", username=user.username, password=PASSWORD)
    data["csrf"] = other.browser.page.form_with("username").fields["csrf"]
    assert (await one.browser.send("POST", form.action, data)).error_code == "form_not_ours"


async def test_flow_of_another_browser_cannot_be_gone_on_with(rig: Rig) -> None:
    visit, stranger = await at_login(rig), rig.browser()
    page = await stranger.send("GET", visit.browser.page.url)
    assert (page.status, page.error_code) == (403, "flow_not_here")
    stranger.client.cookies.set(f"ww-flow-{visit.flow_id}", "A" * 43, domain="localhost.local", path="/")
    page = await stranger.send("GET", visit.browser.page.url)
    assert (page.status, page.error_code) == (403, "flow_not_here")


@pytest.mark.parametrize("flow", ["", "x", "0" * 32, "../../etc/passwd", "a" * 5000, "%00", "ü"])
async def test_flow_that_is_none(rig: Rig, flow: str) -> None:
    page = await rig.browser().send("GET", f"{ISSUER}/login?flow={flow}")
    assert page.status in {400, 403, 303}
    if page.status == 303:  # an empty parameter is no parameter: a sign-in of our own begins
        assert flow == ""


@pytest.mark.row(29)
async def test_session_is_new_at_sign_in_and_nothing_before_counts(rig: Rig) -> None:
    """Fixation: a cookie that was planted before is worth nothing, before and after."""
    user, visit = await rig.person(), await at_login(rig)
    planted = "A" * 43
    visit.browser.client.cookies.set("ww-session", planted, domain="localhost.local", path="/")
    await visit.enter(user.username)
    assert "code" in visit.answer
    header = visit.browser.page.headers["set-cookie"]
    assert planted not in header
    assert "HttpOnly" in header
    assert "SameSite=lax" in header
    other = Visit(rig, rig.browser(), rig.client(), {"prompt": "none"})
    other.browser.client.cookies.set("ww-session", planted, domain="localhost.local", path="/")
    await other.start()
    assert other.answer["error"] == "login_required"


@pytest.mark.parametrize("cookie", ["x", "A" * 4000, '"', "A" * 43 + "; ww-session=" + "B" * 43])
async def test_garbage_session_cookie_is_nobody(rig: Rig, cookie: str) -> None:
    visit = Visit(rig, rig.browser(), rig.client(), {"prompt": "none"})
    page = await visit.browser.send(
        "GET", "/oauth2/authorize?" + urlsplit(f"?{'&'.join(f'{k}={v}' for k, v in visit.query.items())}").query,
        headers={"Cookie": f"ww-session={cookie}"},
    )  # fmt: skip
    assert "error=login_required" in page.location


@pytest.mark.row(31, 32)
@pytest.mark.spec("RFC 9700 4.12")
async def test_answers_are_not_stored_framed_or_reposted(rig: Rig) -> None:
    user, visit = await rig.person(), await at_login(rig)
    page = visit.browser.page
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    await visit.enter(user.username)
    assert visit.browser.page.status == 303
    assert visit.browser.page.headers["cache-control"] == "no-store"


@pytest.mark.row(31)
async def test_hostile_names_are_escaped(rig: Rig) -> None:
    client = rig.client(client_name="<script>alert(1)</script>")
    visit = Visit(rig, rig.browser(), client, {"login_hint": '"><img src=x>'})
    await visit.start()
    page = visit.browser.page
    assert "<script>alert" not in page.body
    assert "<img src=x" not in page.body
    assert page.texts["client-name"] == "<script>alert(1)</script>"
    assert page.form_with("username").fields["username"] == '"><img src=x>'


async def test_flow_ends_with_its_time(own_rig: Rig) -> None:
    user, visit = await own_rig.person(), await at_login(own_rig)
    own_rig.clock.advance(timedelta(minutes=31))
    await visit.enter(user.username)
    assert visit.browser.page.error_code == "flow_over"


async def test_finished_flow_gives_no_second_code(rig: Rig) -> None:
    """The same form from a second tab, whose cookie is still there."""
    user, visit = await rig.person(), await at_login(rig)
    form, secret = visit.browser.page.form_with("username"), visit.browser.cookies[f"ww-flow-{visit.flow_id}"]
    flow_id = visit.flow_id
    await visit.enter(user.username)
    assert "code" in visit.answer
    assert f"ww-flow-{flow_id}" not in visit.browser.cookies
    visit.browser.client.cookies.set(f"ww-flow-{flow_id}", secret, domain="localhost.local", path="/")
    data = form.filled("sign-in", username=user.username, password=PASSWORD)
    assert (await visit.browser.send("POST", form.action, data)).error_code == "flow_over"


async def test_client_that_is_switched_off_meanwhile(rig: Rig) -> None:
    user, visit = await rig.person(), await at_login(rig)
    off = visit.client.model_copy(update={"enabled": False})
    pool = await rig.db().raw_pool()
    await pool.execute(
        "UPDATE authz.client_copy SET version = 2, data = $2 WHERE id = $1",
        off.client_id,
        off.model_dump(mode="json"),
    )
    await visit.enter(user.username)
    assert visit.browser.page.error_code == "client_disabled"


# providers -----------------------------------------------------------------------------------------------------------


async def test_providers_are_offered_in_order(rig: Rig) -> None:
    wanted = [rig.provider(display_name="Zeta", order=-2), rig.provider(display_name="Alpha & Co", order=-1)]
    hidden = [rig.provider(enabled=False), rig.provider(sign_in=False)]
    for provider in (*wanted, *hidden):
        await rig.know_provider(provider)
    page = (await at_login(rig)).browser.page
    shown = [name.removeprefix("provider-") for name in page.links if name.startswith("provider-")]
    assert shown[:2] == [provider.id for provider in wanted]
    assert not {provider.id for provider in hidden} & set(shown)


async def test_provider_link_hands_the_flow_over(rig: Rig) -> None:
    provider = rig.provider()
    await rig.know_provider(provider)
    visit = await at_login(rig, prompt="login", max_age="0", login_hint="ann", acr_values="a b", ui_locales="de")
    binding, flow_id = await visit.binding(), visit.flow_id
    link = visit.browser.page.links[f"provider-{provider.id}"]
    page = await visit.browser.send("GET", link)
    assert page.location.startswith(f"{ISSUER}/api/auth/sso/login/{provider.id}?ticket=")
    ticket = parse_qs(urlsplit(page.location).query)["ticket"][0]
    async with transaction(rig.db(Service.FEDERATION)) as session:
        taken = await bus.take(session, UpstreamStart, ticket, now=rig.clock())
    assert taken is not None
    assert taken.flow == flow_id
    assert taken.payload == UpstreamStart(
        provider_id=provider.id,
        binding=binding,
        prompt=("login",),
        max_age_s=0,
        acr_values=("a", "b"),
        login_hint="ann",
        ui_locales=("de",),
    )


@pytest.mark.parametrize("change", [{"enabled": False}, {"sign_in": False}])
async def test_provider_that_is_off_is_not_gone_to(rig: Rig, change: dict[str, bool]) -> None:
    visit, provider = await at_login(rig), rig.provider(**change)
    page = await visit.browser.send("GET", f"{ISSUER}/login/provider/{provider.id}?flow={visit.flow_id}")
    assert (page.status, page.error_code) == (404, "provider_disabled")


async def test_provider_ids_are_case_sensitive(rig: Rig) -> None:
    visit, provider = await at_login(rig), rig.provider()
    page = await visit.browser.send("GET", f"{ISSUER}/login/provider/{provider.id.lower()}?flow={visit.flow_id}")
    assert page.status == 404


async def test_provider_is_not_gone_to_from_another_browser(rig: Rig) -> None:
    visit, provider = await at_login(rig), rig.provider()
    page = await rig.browser().send("GET", f"{ISSUER}/login/provider/{provider.id}?flow={visit.flow_id}")
    assert page.status == 403


# sign-ins of our own -------------------------------------------------------------------------------------------------


async def test_sign_in_without_an_application_returns_to_our_page(rig: Rig) -> None:
    user, visit = await rig.person(), Visit(rig, rig.browser(), rig.client())
    await visit.browser.open(f"{ISSUER}/login?return_to=/admin/clients")
    form = visit.browser.page.form_with("username")
    page = await visit.browser.send(
        "POST", form.action, form.filled("sign-in", username=user.username, password=PASSWORD)
    )
    assert page.location == f"{ISSUER}/admin/clients"
    await visit.browser.open(f"{ISSUER}/login")
    assert visit.browser.page.has("sign-out-link")


FOREIGN_TARGETS = {
    "other origin": "https://evil.example/",
    "scheme relative": "//evil.example",
    "backslash": "/\\evil.example",
    "encoded slash": "/%2Fevil.example",
    "encoded backslash": "/%5Cevil.example",
    "twice encoded": "/%252Fevil.example",
    "tab": "/\t/evil.example",
    "javascript": "javascript:alert(1)",
    "relative": "evil.example",
    "dot segments": "/a/../..//evil.example",
}


@pytest.mark.parametrize("target", FOREIGN_TARGETS.values(), ids=FOREIGN_TARGETS.keys())
async def test_nobody_is_sent_elsewhere_after_signing_in(rig: Rig, target: str) -> None:
    answer = await rig.browser().client.get(f"{ISSUER}/login", params={"return_to": target})
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_the_page_speaks_the_language_that_the_person_chooses(rig: Rig) -> None:
    """By the browser at first, then by a choice that stays, unless an application asks for another one."""
    browser = rig.browser()
    browser.client.headers["Accept-Language"] = "de-CH, en;q=0.5"
    page = await browser.open(f"{ISSUER}/login")
    assert '<html lang="de">' in page.body
    page = await browser.submit("username", "sign-in", username="nobody", password="wrong")
    assert "ist nicht richtig" in page.body
    await browser.open(f"{ISSUER}/login")
    at = browser.page.url
    page = await browser.submit("back", "language-en")
    assert (page.url, '<html lang="en">' in page.body) == (at, True)
    visit = Visit(rig, browser, rig.client(), {"ui_locales": "de"})
    await visit.start()
    assert '<html lang="de">' in browser.page.body
    assert not browser.page.has("language-en"), "the application asked already"


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/\\evil.example", ""])
async def test_a_choice_of_language_leads_nowhere_else(rig: Rig, back: str) -> None:
    browser = rig.browser()
    await browser.open(f"{ISSUER}/login")
    form = {"language": "de", "back": back}
    answer = await browser.client.post(f"{ISSUER}/login/language", data=form, headers={"Origin": ISSUER})
    assert answer.headers["location"] == "/login"
    answer = await browser.client.post(
        f"{ISSUER}/login/language", data=form, headers={"Origin": "https://evil.example"}
    )
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_the_page_looks_as_the_person_chooses(rig: Rig) -> None:
    browser = rig.browser()
    await browser.open(f"{ISSUER}/login")
    at = browser.page.url
    page = await browser.submit("theme", "theme-dark")
    assert (page.url, "/ours-dark.css" in page.body, browser.cookies["ww-theme"]) == (at, True, "dark")
    page = await browser.submit("username", "sign-in", username="nobody", password="wrong")
    assert "/ours-dark.css" in page.body, "the answer to a form, too"
    visit = Visit(rig, browser, rig.client(), {"ui_locales": "de"})
    await visit.start()
    page = await browser.submit("theme", "theme-auto")
    assert ("brand/" in page.body, "ww-theme" in browser.cookies) == (False, False)


@pytest.mark.parametrize("theme", ["sepia", "", "light; Domain=evil.example", "dark\r\nSet-Cookie: a=b", "DARK"])
async def test_what_is_no_theme_is_not_kept(rig: Rig, theme: str) -> None:
    browser = rig.browser()
    form = {"theme": theme, "back": "/account"}
    answer = await browser.client.post(f"{ISSUER}/login/theme", data=form, headers={"Origin": ISSUER})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/\\evil.example", ""])
async def test_a_choice_of_theme_leads_nowhere_else(rig: Rig, back: str) -> None:
    browser = rig.browser()
    form = {"theme": "dark", "back": back}
    answer = await browser.client.post(f"{ISSUER}/login/theme", data=form, headers={"Origin": ISSUER})
    assert answer.headers["location"] == "/login"
    answer = await browser.client.post(f"{ISSUER}/login/theme", data=form, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_person_is_spoken_to_in_the_language_of_their_profile(rig: Rig) -> None:
    user = await rig.person(claims={"name": "Ann", "locale": "de-AT"})
    visit = Visit(rig, rig.browser(), rig.client(require_consent=True))
    await visit.start()
    assert '<html lang="en">' in visit.browser.page.body
    await visit.enter(user.username, PASSWORD)
    assert '<html lang="de">' in visit.browser.page.body
    assert "Zugriff für" in visit.browser.page.body


# the name first, where a provider claims domains ----------------------------------------------------------------------


async def claiming(rig: Rig, **changes: object) -> tuple[ProviderExport, str]:
    """A provider, and a domain whose people it signs in."""
    domain = f"corp-{secrets.token_hex(3)}.test"
    provider = rig.provider(domains=(domain,), **changes)
    await rig.know_provider(provider)
    return provider, domain


async def handed_over(rig: Rig, page: Page) -> UpstreamStart:
    """What federation is told by the redirect."""
    ticket = parse_qs(urlsplit(page.location).query)["ticket"][0]
    async with transaction(rig.db(Service.FEDERATION)) as session:
        taken = await bus.take(session, UpstreamStart, ticket, now=rig.clock())
    assert taken is not None
    return taken.payload


@pytest.mark.parametrize("typed", ["Ann@{}", " ann@{} ", "ANN@{}"])
async def test_a_name_leads_to_the_provider_of_its_domain(rig: Rig, typed: str) -> None:
    """Without a script: by the page's Refresh header, or its link; the provider is told the name."""
    provider, domain = await claiming(rig, organization="org-1")
    visit = await at_login(rig)
    assert not visit.browser.page.has(f"provider-{provider.id}"), "of an organization: shown to nobody else"
    name = typed.format(domain.upper() if typed.isupper() else domain)
    page = await visit.browser.submit("username", "sign-in", username=name)
    link = page.links[f"provider-{provider.id}"]
    assert (page.status, page.headers["refresh"]) == (200, f"0; url={link.removeprefix(ISSUER)}")
    gone = await visit.browser.send("GET", link)
    assert (await handed_over(rig, gone)).login_hint == name.strip()


@pytest.mark.row(52)
async def test_the_first_step_does_not_tell_who_is_known(rig: Rig) -> None:
    _, domain = await claiming(rig)
    known = [await rig.person(email=f"{secrets.token_hex(4)}@{domain}"), await rig.person()]
    without = rig.user(password=None)
    pages: dict[bool, set[str]] = {True: set(), False: set()}
    for name in (
        known[0].email or "",
        f"nobody@{domain}",
        known[1].email or "",
        "nobody@demo.test",
        without.username,
        "nobody-here",
    ):
        visit = await at_login(rig)
        page = await visit.browser.submit("username", "sign-in", username=name)
        said = page.body.replace(name, "NAME").replace(visit.client.client_name, "").replace(visit.flow_id, "FLOW")
        pages[name.endswith(domain)].add(re.sub(r'(name="(csrf|challenge)" value=|data-request=)"[^"]*"', "", said))
        assert page.status == 200
    assert {kind: len(shown) for kind, shown in pages.items()} == {True: 1, False: 1}


async def test_local_passwords_stay_good_where_a_provider_claims_the_domain(rig: Rig) -> None:
    """In one post, as password managers and scripts send it, and by way of the link."""
    _, domain = await claiming(rig)
    user = await rig.person(email=f"{secrets.token_hex(4)}@{domain}")
    visit = await at_login(rig)
    await visit.enter(user.email or "")
    assert (await visit.code()).user_id == user.id
    visit = await at_login(rig)
    await visit.browser.submit("username", "sign-in", username=user.email or "")
    page = await visit.browser.click("use-password")
    assert page.form_with("username").fields["username"] == user.email
    assert 'aria-hidden="true" id' not in page.body
    await visit.browser.submit("username", "sign-in", password=PASSWORD)
    assert (await visit.code()).user_id == user.id


async def test_login_hint_leads_straight_to_the_provider(rig: Rig) -> None:
    provider, domain = await claiming(rig)
    visit = Visit(rig, rig.browser(), rig.client(), {"login_hint": f"ann@{domain}"})
    page = await visit.browser.send("GET", visit.url)
    assert page.location.startswith(f"{ISSUER}/login/provider/{provider.id}?flow=")
    assert (await handed_over(rig, await visit.browser.send("GET", page.location))).login_hint == f"ann@{domain}"
    await claiming(rig)  # another one changes nothing
    other, _ = await claiming(rig)
    await rig.know_provider(rig.provider(domains=other.domains))
    visit = Visit(rig, rig.browser(), rig.client(), {"login_hint": f"ann@{other.domains[0]}"})
    await visit.start()
    assert visit.browser.page.has("sign-in"), "two claim it: the person chooses"
    page = await visit.browser.submit("username", "sign-in")
    assert "refresh" not in page.headers
    assert len([name for name in page.links if name.startswith("provider-")]) == 2


@pytest.mark.parametrize("name", ["idp_hint", "kc_idp_hint"])
async def test_application_leads_straight_to_the_provider_that_it_names(rig: Rig, name: str) -> None:
    provider, _ = await claiming(rig)
    _, domain = await claiming(rig)
    named = {name: provider.id, "login_hint": f"ann@{domain}", "state": "s"}
    visit = Visit(rig, rig.browser(), rig.client(), named)
    page = await visit.browser.send("GET", visit.url)
    assert page.location.startswith(f"{ISSUER}/login/provider/{provider.id}?flow="), "the name counts before the domain"
    assert (await handed_over(rig, await visit.browser.send("GET", page.location))).login_hint == f"ann@{domain}"
    page = await visit.browser.open(page.location.replace(f"/login/provider/{provider.id}", "/login"))
    assert page.has("sign-in"), "whoever comes back chooses"


async def test_whoever_is_signed_in_goes_to_the_named_provider_only_to_sign_in_again(rig: Rig) -> None:
    provider, _ = await claiming(rig)
    user, visit = await rig.person(), await at_login(rig)
    await visit.enter(user.username)
    assert (await visit.code()).user_id == user.id
    again = Visit(rig, visit.browser, visit.client, {"idp_hint": provider.id})
    await again.start()
    assert (await again.code()).user_id == user.id
    again = Visit(rig, visit.browser, visit.client, {"idp_hint": provider.id, "prompt": "login"})
    page = await visit.browser.send("GET", again.url)
    assert page.location.startswith(f"{ISSUER}/login/provider/{provider.id}?flow=")
    assert (await handed_over(rig, await visit.browser.send("GET", page.location))).prompt == ("login",)


@pytest.mark.parametrize(
    "who",
    ["unknown", "in another case", "disabled", "not for signing in", "of another organization", "no id", "<script>"],
)
async def test_provider_that_cannot_be_gone_to_is_a_choice_like_any_other(rig: Rig, who: str) -> None:
    """As at Keycloak. What there is, and what is switched off, reads the same."""
    wanted = rig.client()
    match who:
        case "unknown":
            hint = "Nobody"
        case "in another case":
            hint = (await claiming(rig))[0].id.swapcase()
        case "disabled":
            hint = (await claiming(rig, enabled=False))[0].id
        case "not for signing in":
            hint = (await claiming(rig, sign_in=False))[0].id
        case "of another organization":
            hint = (await claiming(rig, organization="org-1"))[0].id
            wanted = rig.client(organization="org-2")
        case "no id":
            hint = "../../admin?x=1#y"
        case _:
            hint = who
    visit = Visit(rig, rig.browser(), wanted, {"kc_idp_hint": hint})
    page = await visit.browser.send("GET", visit.url)
    assert re.fullmatch(rf"{ISSUER}/login\?flow=[\w-]+", page.location)
    await visit.browser.open(page.location)
    assert visit.browser.page.has("sign-in")
    assert "<script>" not in visit.browser.page.body


@pytest.mark.parametrize("organization", [None, "org-1"])
async def test_provider_of_an_organization_is_gone_to_for_its_own_clients_and_those_of_all(
    rig: Rig, organization: str | None
) -> None:
    provider, _ = await claiming(rig, organization="org-1")
    visit = Visit(rig, rig.browser(), rig.client(organization=organization), {"idp_hint": provider.id})
    page = await visit.browser.send("GET", visit.url)
    assert page.location.startswith(f"{ISSUER}/login/provider/{provider.id}?flow=")


@pytest.mark.parametrize(
    "params", [{"idp_hint": "a\r\nb"}, {"kc_idp_hint": "\u202eatkO"}, {"idp_hint": "Okta", "kc_idp_hint": "GitHub"}]
)
async def test_name_of_a_provider_that_is_none_is_refused_at_the_application(rig: Rig, params: dict[str, str]) -> None:
    visit = Visit(rig, rig.browser(), rig.client(), params)
    page = await visit.browser.send("GET", visit.url)
    assert page.status == 303
    assert parse_qs(urlsplit(page.location).query)["error"] == ["invalid_request"]


async def test_provider_that_is_named_is_not_gone_to_in_silence(rig: Rig) -> None:
    provider, _ = await claiming(rig)
    visit = Visit(rig, rig.browser(), rig.client(), {"idp_hint": provider.id, "prompt": "none"})
    page = await visit.browser.send("GET", visit.url)
    assert parse_qs(urlsplit(page.location).query)["error"] == ["login_required"]


@pytest.mark.parametrize(("preset", "is_drawn"), [("okta", True), ("saml", False), ('x"><script>', False)])
async def test_provider_has_its_logo_or_a_letter(rig: Rig, preset: str, is_drawn: bool) -> None:
    provider = rig.provider(preset=preset, display_name="Über Corp")
    await rig.know_provider(provider)
    page = (await at_login(rig)).browser.page
    mark = page.body.partition(f'id="provider-{provider.id}"')[2].partition("</a>")[0].partition("</span>")[0]
    assert mark.count('<svg viewBox="0 0 24 24"') == is_drawn
    assert mark.endswith(">Ü") is not is_drawn
    assert "<script>" not in page.body


async def test_the_way_taken_last_is_marked_in_this_browser(rig: Rig) -> None:
    provider, _ = await claiming(rig, organization="org-2")
    visit, user = await at_login(rig), await rig.person()
    ticket = await visit.signed_in_ticket(user, provider)
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
    again = Visit(rig, visit.browser, rig.client(), {"prompt": "login"})
    await again.start()
    assert "last used" in again.browser.page.body
    assert again.browser.page.has(f"provider-{provider.id}")
    assert not (await at_login(rig)).browser.page.has(f"provider-{provider.id}")
    other = Visit(rig, rig.browser(), rig.client())
    other.browser.client.cookies.set("ww-provider", '"><script>', domain="localhost")
    await other.start()
    assert "<script>" not in other.browser.page.body
