"""`/oauth2/authorize` as browsers and applications meet it."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.authz.conftest import CALLBACK, ISSUER, Rig, Visit

from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import Exported, UserExport
from watchword_events.handovers import UpstreamStart
from watchword_events.names import Service
from watchword_policy.assurance import ONE_FACTOR, TWO_FACTORS
from watchword_runtime.pairwise import pairwise_subject


def location_of(visit: Visit) -> str:
    """Where the present answer redirects to."""
    return visit.browser.page.location


async def signed_in(rig: Rig, visit: Visit, **changes: object) -> UserExport:
    """Somebody who has just signed in in the visit's browser."""
    user = await rig.person(**changes)
    await visit.start()
    await visit.enter(user.username)
    assert "code" in visit.answer
    return user


ON_A_PAGE = {
    "unknown client": {"client_id": "nobody"},
    "no client": {"client_id": ""},
    "client that is no text of ours": {"client_id": "x' OR '1'='1"},
    "foreign redirect_uri": {"redirect_uri": "https://evil.example/cb"},
    "foreign redirect_uri, bad response_type": {"redirect_uri": "https://evil.example/cb", "response_type": "x"},
    "foreign redirect_uri, bad scope": {"redirect_uri": "https://evil.example/cb", "scope": '"'},
    "userinfo": {"redirect_uri": "https://app.example@evil.example/cb"},
    "suffix": {"redirect_uri": f"{CALLBACK}/x"},
    "javascript": {"redirect_uri": "javascript:alert(1)"},
}


@pytest.mark.row(2)
@pytest.mark.spec("RFC 6749 4.1.2.1")
@pytest.mark.parametrize("params", ON_A_PAGE.values(), ids=ON_A_PAGE.keys())
async def test_error_before_redirect_validation_is_a_page(rig: Rig, params: dict[str, str]) -> None:
    visit = Visit(rig, rig.browser(), rig.client(), params)
    await visit.start()
    page = visit.browser.page
    assert page.status == 400
    assert page.location == ""
    assert page.has("error-code")
    assert page.has("reference")
    assert not visit.browser.cookies


@pytest.mark.row(2, 9)
@pytest.mark.parametrize("repeated", ["scope", "state", "redirect_uri", "client_id", "code_challenge", "extra"])
async def test_repeated_parameter_is_never_redirected(rig: Rig, repeated: str) -> None:
    visit = Visit(rig, rig.browser(), rig.client())
    value = visit.query.get(repeated, "x")
    query = urlencode([*visit.query.items(), (repeated, value), (repeated, "other")])
    page = await visit.browser.send("GET", f"{ISSUER}/oauth2/authorize?{query}")
    assert (page.status, page.location, page.error_code) == (400, "", "invalid_request")


MALFORMED = {
    "broken escape": b"client_id=%zz",
    "not UTF-8": b"client_id=%ff",
    "NUL": b"client_id=%00",
    "no value": b"client_id",
    "a thousand parameters": b"&".join(b"p%d=1" % number for number in range(1000)),
}


@pytest.mark.parametrize("query", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_query_is_a_page(rig: Rig, query: bytes) -> None:
    page = await rig.browser().send("GET", f"{ISSUER}/oauth2/authorize?{query.decode()}")
    assert page.status == 400
    assert page.error_code


async def test_disabled_client_is_a_page(rig: Rig) -> None:
    visit = Visit(rig, rig.browser(), rig.client(enabled=False))
    await visit.start()
    assert visit.browser.page.status == 403
    assert visit.browser.page.error_code == "client_disabled"


@pytest.mark.spec("RFC 9207 2")
@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"response_type": "token"}, "unauthorized_client"),
        ({"response_type": "none"}, "unsupported_response_type"),
        ({"scope": "watchword:admin"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example/"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "login_required"),
    ],
)
async def test_error_carries_state_and_issuer(rig: Rig, params: dict[str, str], error: str) -> None:
    visit = Visit(rig, rig.browser(), rig.client(), params)
    await visit.start()
    answer = visit.answer
    assert (answer["error"], answer["state"], answer["iss"]) == (error, visit.state, ISSUER)
    assert "code" not in answer
    assert visit.browser.page.status == 303
    assert visit.browser.page.headers["cache-control"] == "no-store"


async def test_next_request_of_the_same_person_needs_no_page(rig: Rig) -> None:
    browser = rig.browser()
    user = await signed_in(rig, Visit(rig, browser, rig.client()))
    second = Visit(rig, browser, rig.client())
    await second.start()
    code = await second.code()
    assert code.user_id == user.id
    assert [page.status for page in browser.history[-1:]] == [303]
    assert browser.history[-1].url.startswith(f"{ISSUER}/oauth2/authorize")


async def test_silent_request_of_a_signed_in_person_gets_a_code(rig: Rig) -> None:
    browser = rig.browser()
    await signed_in(rig, Visit(rig, browser, rig.client()))
    silent = Visit(rig, browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert "code" in silent.answer


@pytest.mark.spec("OpenID Connect Core 3.1.2.6")
async def test_silent_request_that_needs_consent_is_refused(rig: Rig) -> None:
    browser = rig.browser()
    await signed_in(rig, Visit(rig, browser, rig.client()))
    silent = Visit(rig, browser, rig.client(require_consent=True), {"prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "consent_required"


async def test_request_may_be_posted(rig: Rig) -> None:
    """From another site: the session cookie does not come along, the flow finds it one hop later."""
    browser = rig.browser()
    user = await signed_in(rig, Visit(rig, browser, rig.client()))
    visit = Visit(rig, browser, rig.client())
    kept = dict(browser.client.cookies)
    browser.client.cookies.clear()
    await browser.send(
        "POST",
        "/oauth2/authorize",
        visit.query,
        {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"},
    )
    assert browser.page.status == 303
    for name, value in kept.items():
        browser.client.cookies.set(name, value, domain="localhost.local", path="/")
    await browser.open(browser.page.location)
    assert (await visit.code()).user_id == user.id


async def test_silent_request_may_be_posted(rig: Rig) -> None:
    visit = Visit(rig, rig.browser(), rig.client(), {"prompt": "none"})
    page = await visit.browser.send("POST", "/oauth2/authorize", visit.query, {"Sec-Fetch-Site": "cross-site"})
    await visit.browser.open(page.location)
    assert visit.answer["error"] == "login_required"
    assert not visit.browser.cookies


async def test_posted_json_is_refused(rig: Rig) -> None:
    browser = rig.browser()
    answer = await browser.client.post(f"{ISSUER}/oauth2/authorize", json={"client_id": "x"})
    assert answer.status_code == 400


async def test_form_post_answers_with_an_escaped_form(rig: Rig) -> None:
    state = '"><script>alert(1)</script>'
    visit = Visit(rig, rig.browser(), rig.client(), {"response_mode": "form_post"}, state=state)
    user = await rig.person()
    await visit.start()
    await visit.enter(user.username)
    page = visit.browser.page
    assert page.status == 200
    form = page.form_with("code")
    assert (form.action, form.method) == (CALLBACK, "POST")
    assert (form.fields["state"], form.fields["iss"]) == (state, ISSUER)
    assert "<script>alert" not in page.body
    assert "form-action 'self' https://app.example" in page.headers["content-security-policy"]
    assert (await rig.take_code(form.fields["code"])).user_id == user.id


async def test_error_by_form_post(rig: Rig) -> None:
    visit = Visit(rig, rig.browser(), rig.client(), {"response_mode": "form_post", "prompt": "none"})
    await visit.start()
    assert visit.browser.page.form_with("error").fields["error"] == "login_required"


async def test_prompt_login_asks_again_and_keeps_the_session(rig: Rig) -> None:
    """What other applications hold of the session lives on; the cookie's secret does not."""
    browser = rig.browser()
    first = Visit(rig, browser, rig.client())
    user = await signed_in(rig, first)
    before = browser.cookies["ww-session"]
    sid = (await first.code()).sid
    again = Visit(rig, browser, rig.client(), {"prompt": "login"})
    await again.start()
    assert browser.page.has("sign-in")
    await again.enter(user.username)
    code = await again.code()
    assert code.sid == sid
    assert browser.cookies["ww-session"] != before
    stale = Visit(rig, rig.browser(), rig.client(), {"prompt": "none"})
    stale.browser.client.cookies.set("ww-session", before, domain="localhost.local", path="/")
    await stale.start()
    assert stale.answer["error"] == "login_required"


async def test_prompt_login_as_somebody_else_ends_the_first_session(rig: Rig) -> None:
    browser = rig.browser()
    first = Visit(rig, browser, rig.client())
    await signed_in(rig, first)
    sid = (await first.code()).sid
    other = await rig.person()
    again = Visit(rig, browser, rig.client(), {"prompt": "login"})
    await again.start()
    await again.enter(other.username)
    assert (await again.code()).user_id == other.id
    row = await rig.session(sid)
    assert row is not None
    assert row.end_reason == "replaced"
    assert not rig.feed.is_live({"rev": row.rev, "sid": sid})


@pytest.mark.row(30)
@pytest.mark.spec("OpenID Connect Core 3.1.2.1")
async def test_reauthentication_as_another_than_the_hint_names_is_an_error(rig: Rig) -> None:
    browser, client = rig.browser(), rig.client()
    user = await signed_in(rig, Visit(rig, browser, client))
    other = await rig.person()
    visit = Visit(rig, browser, client, {"prompt": "login", "id_token_hint": rig.id_token(user.id, client)})
    await visit.start()
    await visit.enter(other.username)
    assert visit.answer["error"] == "login_required"
    assert visit.answer["iss"] == ISSUER


async def test_hint_about_somebody_else_asks_to_sign_in(rig: Rig) -> None:
    browser, client = rig.browser(), rig.client()
    await signed_in(rig, Visit(rig, browser, client))
    other = await rig.person()
    hint = rig.id_token(other.id, client)
    silent = Visit(rig, browser, client, {"prompt": "none", "id_token_hint": hint})
    await silent.start()
    assert silent.answer["error"] == "login_required"
    shown = Visit(rig, browser, client, {"id_token_hint": hint})
    await shown.start()
    await shown.enter(other.username)
    assert (await shown.code()).user_id == other.id


@pytest.mark.spec("OpenID Connect Core 5.5.1, 8.1")
async def test_a_pairwise_client_names_people_as_it_knows_them(rig: Rig) -> None:
    """And not by the id that other clients know: nobody learns by it who is who."""
    browser, client = rig.browser(), rig.client(sector="app.example")
    user = await signed_in(rig, Visit(rig, browser, client))
    key = rig.owners.ring(Service.AUTHZ).key("pairwise-subjects")
    for subject, asked_for, answer in (
        (pairwise_subject(key, "app.example", user.id), "none", "code"),
        (pairwise_subject(key, "other.example", user.id), "none", "error"),
        (user.id, "none", "error"),
        (user.id, "", ""),
    ):
        claims = json.dumps({"id_token": {"sub": {"value": subject}}})
        visit = Visit(rig, browser, client, {"prompt": asked_for, "claims": claims})
        await visit.start()
        assert answer in visit.answer if answer else visit.browser.page.has("sign-in"), subject


async def test_hint_that_is_none_of_ours_is_refused(rig: Rig) -> None:
    client = rig.client()
    visit = Visit(rig, rig.browser(), client, {"id_token_hint": rig.id_token("u", client, iss="https://evil.example")})
    await visit.start()
    assert visit.answer["error"] == "invalid_request"


async def test_hint_is_believed_as_soon_as_the_keys_can_be_had(own_rig: Rig) -> None:
    """While they cannot be had nobody says that the hint was wrong."""
    client, user = own_rig.client(), await own_rig.person()
    visit = Visit(own_rig, own_rig.browser(), client, {"id_token_hint": own_rig.id_token(user.id, client)})
    own_rig.owners.keys_away = 2
    for _ in range(2):
        await visit.start()
        assert (visit.browser.page.status, visit.browser.page.error_code) == (503, "temporarily_unavailable")
    await visit.start()
    await visit.enter(user.username)
    assert (await visit.code()).user_id == user.id


async def test_max_age_is_measured_by_auth_time(own_rig: Rig) -> None:
    browser = own_rig.browser()
    first = Visit(own_rig, browser, own_rig.client())
    user = await signed_in(own_rig, first)
    signed_in_at = (await first.code()).auth_time
    own_rig.clock.advance(timedelta(seconds=100))
    young = Visit(own_rig, browser, own_rig.client(), {"max_age": "1000"})
    await young.start()
    assert (await young.code()).auth_time == signed_in_at
    old = Visit(own_rig, browser, own_rig.client(), {"max_age": "60", "prompt": "none"})
    await old.start()
    assert old.answer["error"] == "login_required"
    again = Visit(own_rig, browser, own_rig.client(), {"max_age": "60"})
    await again.start()
    await again.enter(user.username)
    assert (await again.code()).auth_time >= signed_in_at + timedelta(seconds=100)


@pytest.mark.spec("RFC 9470 5")
async def test_better_sign_in_is_asked_for_and_its_lack_is_an_error(rig: Rig) -> None:
    browser, client = rig.browser(), rig.client()
    user = await signed_in(rig, Visit(rig, browser, client))
    silent = Visit(rig, browser, client, {"acr_values": TWO_FACTORS, "prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "login_required"
    again = Visit(rig, browser, client, {"acr_values": TWO_FACTORS})
    await again.start()
    assert browser.page.has("sign-in")
    await again.enter(user.username)
    assert (again.answer["error"], again.answer["iss"]) == ("unmet_authentication_requirements", ISSUER)
    enough = Visit(rig, browser, client, {"acr_values": f"{TWO_FACTORS} {ONE_FACTOR}"})
    await enough.start()
    assert (await enough.code()).acr == ONE_FACTOR


async def test_provider_is_asked_for_what_it_may_know_and_its_word_counts(rig: Rig) -> None:
    provider, client, user = rig.provider(), rig.client(), rig.user()
    await rig.know_provider(provider)
    visit = Visit(rig, rig.browser(), client, {"acr_values": f"urn:corp:gold {TWO_FACTORS}"})
    await visit.start()
    signed = await visit.signed_in_ticket(user, provider, amr=["mfa"], acr="urn:corp:silver")
    page = await visit.browser.send("GET", visit.browser.page.links[f"provider-{provider.id}"])
    ticket = parse_qs(urlsplit(page.location).query)["ticket"][0]
    async with transaction(rig.db(Service.FEDERATION)) as session:
        taken = await bus.take(session, UpstreamStart, ticket, now=rig.clock())
    assert taken is not None
    assert taken.payload.acr_values == ("urn:corp:gold",)
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={signed}")
    assert (await visit.code()).acr == TWO_FACTORS


async def test_select_account_offers_the_one_at_hand(rig: Rig) -> None:
    browser = rig.browser()
    user = await signed_in(rig, Visit(rig, browser, rig.client()))
    visit = Visit(rig, browser, rig.client(), {"prompt": "select_account"})
    await visit.start()
    assert browser.page.has("continue")
    await browser.submit("continue", "continue")
    assert (await visit.code()).user_id == user.id


async def test_select_account_lets_another_sign_in(rig: Rig) -> None:
    browser = rig.browser()
    await signed_in(rig, Visit(rig, browser, rig.client()))
    other = await rig.person()
    visit = Visit(rig, browser, rig.client(), {"prompt": "select_account"})
    await visit.start()
    await browser.submit("other", "other")
    await visit.enter(other.username)
    assert (await visit.code()).user_id == other.id


async def test_user_who_was_disabled_is_no_longer_signed_in(rig: Rig) -> None:
    browser = rig.browser()
    user = await signed_in(rig, Visit(rig, browser, rig.client()))
    off = user.model_copy(update={"active": False})
    rig.owners.users[user.id] = Exported(id=user.id, version=2, data=off)
    pool = await rig.db().raw_pool()
    await pool.execute(
        "UPDATE authz.user_copy SET version = 2, data = $2 WHERE id = $1", user.id, off.model_dump(mode="json")
    )
    silent = Visit(rig, browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "login_required"


@pytest.mark.row(51)
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
async def test_links_never_follow_the_request(rig: Rig, header: str) -> None:
    visit = Visit(rig, rig.browser(), rig.client())
    url = f"{ISSUER}/oauth2/authorize?{urlencode(visit.query)}"
    page = await visit.browser.send("GET", url, headers={header: "evil.example"})
    assert "evil.example" not in page.location


async def test_answer_keeps_the_registered_query(rig: Rig) -> None:
    uri = "https://app.example/cb?tenant=7"
    user, visit = await rig.person(), Visit(rig, rig.browser(), rig.client(redirect_uris=[uri]), {"redirect_uri": uri})
    await visit.start()
    await visit.enter(user.username)
    query = parse_qs(urlsplit(location_of(visit)).query)
    assert query["tenant"] == ["7"]
    assert (await rig.take_code(query["code"][0])).redirect_uri == uri


async def test_loopback_client_gets_its_code_on_its_own_port(rig: Rig) -> None:
    client = rig.client(redirect_uris=["http://127.0.0.1/cb"], token_endpoint_auth_method="none")
    user = await rig.person()
    visit = Visit(rig, rig.browser(), client, {"redirect_uri": "http://127.0.0.1:49152/cb"})
    await visit.start()
    await visit.enter(user.username)
    assert location_of(visit).startswith("http://127.0.0.1:49152/cb?code=")
