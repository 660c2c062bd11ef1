"""`/oauth2/logout`: who may end a session, and where the person is sent (threat 4)."""

import asyncio
import hmac
import html
import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwk, jwt
from tests.authz.conftest import ISSUER, Rig, Visit

from watchword_events.contracts import KeyRetired
from watchword_events.exports import ClientExport, Exported, UserExport
from watchword_events.revocations import Claim
from watchword_testkit.pages import Page

BYE = "https://app.example/bye"


async def signed_in(rig: Rig) -> tuple[Visit, UserExport, str]:
    """Somebody who is signed in, and their sid."""
    visit, user = Visit(rig, rig.browser(), rig.client()), await rig.person()
    await visit.start()
    await visit.enter(user.username)
    return visit, user, (await visit.code()).sid


async def log_out(visit: Visit, **params: str) -> None:
    """The first answer of the endpoint."""
    await visit.browser.send("GET", f"{ISSUER}/oauth2/logout?{urlencode(params)}")


async def is_over(rig: Rig, sid: str) -> bool:
    """Whether the session is over, in the table and in the ledger alike."""
    row = await rig.session(sid)
    assert row is not None
    is_live = rig.feed.is_live({"rev": row.rev, "sid": sid})
    assert is_live is (row.ended_at is None)
    return not is_live


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0 2")
async def test_hint_ends_the_session_and_returns(rig: Rig) -> None:
    """The hint's time is long over: that does not matter."""
    visit, user, sid = await signed_in(rig)
    hint = rig.id_token(user.id, visit.client, sid)
    await log_out(visit, id_token_hint=hint, post_logout_redirect_uri=BYE, state="a&b")
    page = visit.browser.page
    assert (page.status, page.location) == (303, f"{BYE}?state=a%26b")
    assert await is_over(rig, sid)
    assert "ww-session" not in visit.browser.cookies
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "login_required"


@pytest.mark.row(29)
async def test_old_session_cookie_is_dead_after_sign_out(rig: Rig) -> None:
    visit, user, _ = await signed_in(rig)
    secret = visit.browser.cookies["ww-session"]
    await log_out(visit, id_token_hint=rig.id_token(user.id, visit.client))
    other = Visit(rig, rig.browser(), rig.client(), {"prompt": "none"})
    other.browser.client.cookies.set("ww-session", secret, domain="localhost.local", path="/")
    await other.start()
    assert other.answer["error"] == "login_required"


async def test_without_a_hint_the_person_is_asked(rig: Rig) -> None:
    """Argo Workflows sends no hint: client_id and an exact URI, and it is returned to."""
    visit, _, sid = await signed_in(rig)
    await log_out(visit, client_id=visit.client.client_id, post_logout_redirect_uri=BYE)
    page = visit.browser.page
    assert page.has("sign-out")
    assert not await is_over(rig, sid)
    assert "form-action 'self' https://app.example" in page.headers["content-security-policy"]
    form = page.form_with("sign-out")
    page = await visit.browser.send("POST", form.action, form.filled("sign-out"))
    assert (page.status, page.location) == (303, BYE)
    assert await is_over(rig, sid)


async def test_plain_sign_out_is_confirmed_and_says_so(rig: Rig) -> None:
    visit, _, sid = await signed_in(rig)
    await log_out(visit)
    await visit.browser.submit("sign-out", "sign-out")
    assert visit.browser.page.status == 200
    assert visit.browser.page.has("sign-in-again")
    assert await is_over(rig, sid)


def told(page: Page) -> list[str]:
    """The frames of a page."""
    return [html.unescape(src) for src in re.findall(r'<iframe src="([^"]*)"', page.body)]


@pytest.mark.spec("OpenID Connect Front-Channel Logout 1.0 2, 3; CSP3 6.1.6")
async def test_applications_of_the_session_are_told_in_frames(rig: Rig) -> None:
    wiki = rig.client(frontchannel_logout_uri="https://app.example/out?x=1", frontchannel_logout_session_required=True)
    mail = rig.client(frontchannel_logout_uri="https://mail.example:8443/out")
    off = rig.client(frontchannel_logout_uri="https://off.example/out")
    rig.client(frontchannel_logout_uri="https://never.example/out")
    visit, user = Visit(rig, rig.browser(), wiki), await rig.person()
    await visit.start()
    await visit.enter(user.username)
    sid = (await visit.code()).sid
    for client in (mail, off, rig.client()):
        await Visit(rig, visit.browser, client).start()
    disabled = off.model_copy(update={"enabled": False})
    rig.owners.clients[off.client_id] = Exported(id=off.client_id, version=2, data=disabled)
    pool = await rig.db().raw_pool()
    await pool.execute(
        "UPDATE authz.client_copy SET version = 2, data = $2 WHERE id = $1",
        off.client_id,
        disabled.model_dump(mode="json"),
    )
    hint = rig.id_token(user.id, wiki, sid)
    await log_out(visit, id_token_hint=hint, post_logout_redirect_uri=BYE, state="a&b")
    page = visit.browser.page
    query = urlencode({"iss": ISSUER, "sid": sid})
    assert sorted(told(page)) == [f"https://app.example/out?x=1&{query}", f"https://mail.example:8443/out?{query}"]
    policy = page.headers["content-security-policy"]
    (frames,) = [part for part in policy.split("; ") if part.startswith("frame-src")]
    assert set(frames.split(" ")[1:]) == {"https://app.example", "https://mail.example:8443"}
    assert page.links["return"] == f"{BYE}?state=a%26b"
    assert "continue.js" in page.body
    assert await is_over(rig, sid)


async def test_applications_are_told_before_the_provider_is_visited(rig: Rig) -> None:
    client, provider = rig.client(frontchannel_logout_uri="https://app.example/out"), rig.provider()
    await rig.know_provider(provider)
    visit, user = Visit(rig, rig.browser(), client), rig.user()
    await visit.start()
    ticket = await visit.signed_in_ticket(user, provider, upstream_session="up-1")
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
    sid = (await visit.code()).sid
    await log_out(visit, id_token_hint=rig.id_token(user.id, client, sid), post_logout_redirect_uri=BYE)
    page = visit.browser.page
    assert (page.status, len(told(page))) == (200, 1)
    on = page.links["continue-sign-out"]
    assert on.startswith(f"{ISSUER}/api/auth/sso/logout/{provider.id}?ticket=")
    assert page.headers["refresh"] == f"5; url={on.removeprefix(ISSUER)}"
    assert "frame-src https://app.example;" in page.headers["content-security-policy"]
    assert await is_over(rig, sid)


async def test_nobody_is_told_twice_or_without_an_end(rig: Rig) -> None:
    client = rig.client(frontchannel_logout_uri="https://app.example/out")
    visit, user = Visit(rig, rig.browser(), client), await rig.person()
    await visit.start()
    await visit.enter(user.username)
    sid = (await visit.code()).sid
    await log_out(visit)
    assert told(visit.browser.page) == []
    await visit.browser.submit("sign-out", "sign-out")
    assert len(told(visit.browser.page)) == 1
    assert "continue.js" not in visit.browser.page.body
    await log_out(visit, id_token_hint=rig.id_token(user.id, client, sid), post_logout_redirect_uri=BYE)
    assert visit.browser.page.location == BYE


@pytest.mark.row(4)
async def test_foreign_address_is_not_gone_on_to_by_itself(rig: Rig) -> None:
    client = rig.client(frontchannel_logout_uri="https://app.example/out")
    visit, user = Visit(rig, rig.browser(), client), await rig.person()
    await visit.start()
    await visit.enter(user.username)
    sid = (await visit.code()).sid
    await log_out(
        visit, id_token_hint=rig.id_token(user.id, client, sid), post_logout_redirect_uri="https://evil.example/"
    )
    page = visit.browser.page
    assert "evil.example" not in page.body
    assert "continue.js" not in page.body
    assert len(told(page)) == 1


NOT_BELIEVED: dict[str, dict[str, Any]] = {
    "foreign URI": {"uri": "https://evil.example/bye"},
    "suffix": {"uri": f"{BYE}/x"},
    "query added": {"uri": f"{BYE}?next=https://evil.example"},
    "javascript": {"uri": "javascript:alert(1)"},
    "other issuer": {"claims": {"iss": "https://evil.example"}},
    "other user": {"claims": {"sub": "somebody-else"}},
    "other client": {"claims": {"aud": "somebody-elses"}},
    "two audiences": {"claims": {"aud": ["a", "b"]}},
    "audience is no text": {"claims": {"aud": 7}},
    "no subject": {"claims": {"sub": None}},
}


@pytest.mark.parametrize("case", NOT_BELIEVED.values(), ids=NOT_BELIEVED.keys())
async def test_what_is_not_believed_leads_nowhere(rig: Rig, case: dict[str, Any]) -> None:
    visit, user, sid = await signed_in(rig)
    hint = rig.id_token(user.id, visit.client, sid, **case.get("claims", {}))
    await log_out(visit, id_token_hint=hint, post_logout_redirect_uri=case.get("uri", BYE))
    assert visit.browser.page.location in {"", f"{BYE}"}
    if case.get("claims"):
        assert visit.browser.page.location == ""
        assert not await is_over(rig, sid)


def encoded(raw: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(raw).decode().rstrip("=")


def forged(rig: Rig, kind: str, user_id: str, client: ClientExport) -> str:
    """A hint that we did not sign."""
    good = rig.id_token(user_id, client)
    body = {"iss": ISSUER, "sub": user_id, "aud": client.client_id, "iat": 1, "exp": 2}
    foreign = jwk.ECKey.generate_key("P-256")
    header, payload, signature = good.split(".")
    match kind:
        case "alg none":
            return f"eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{payload}."
        case "signature stripped":
            return f"{header}.{payload}."
        case "tampered":
            return f"{header}.{payload[:-2]}AA.{signature}"
        case "foreign key, our kid":
            return jwt.encode({"alg": "ES256", "kid": "k1"}, body, foreign)
        case "unknown kid":
            return jwt.encode({"alg": "ES256", "kid": "nobody"}, body, foreign)
        case "key in the header":
            return jwt.encode({"alg": "ES256", "kid": "k1", "jwk": foreign.as_dict(private=False)}, body, foreign)
        case "HMAC with our public key":
            hs256 = encoded(b'{"alg":"HS256","kid":"k1"}')
            signed = f"{hs256}.{payload}"
            mac = hmac.digest(rig.owners.key.as_pem(private=False) or b"", signed.encode(), "sha256")
            return f"{signed}.{encoded(mac)}"
        case "access token":
            return jwt.encode({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}, body, rig.owners.key)
        case "logout token":
            return jwt.encode({"alg": "ES256", "kid": "k1", "typ": "logout+jwt"}, body, rig.owners.key)
        case "kid is a path":
            return jwt.encode({"alg": "ES256", "kid": "../../dev/null"}, body, foreign)
        case "deeply nested":
            return jwt.encode({"alg": "ES256", "kid": "k1"}, body, rig.owners.key) + "." + "x" * 20_000
        case _:
            return "not.a.token"


FORGED = [
    "alg none", "signature stripped", "tampered", "foreign key, our kid", "unknown kid", "key in the header",
    "HMAC with our public key", "access token", "logout token", "kid is a path", "deeply nested", "garbage",
]  # fmt: skip


@pytest.mark.row(4)
@pytest.mark.spec("RFC 8725 3.1, 3.11")
@pytest.mark.parametrize("kind", FORGED)
async def test_forged_hint_ends_nothing(rig: Rig, kind: str) -> None:
    visit, user, sid = await signed_in(rig)
    hint = forged(rig, kind, user.id, visit.client)
    await log_out(visit, id_token_hint=hint, post_logout_redirect_uri=BYE)
    assert visit.browser.page.status == 200
    assert visit.browser.page.location == ""
    assert visit.browser.page.has("sign-out")
    assert not await is_over(rig, sid)


async def test_a_key_that_left_signs_no_hint(own_rig: Rig) -> None:
    """authz hears of it: it keeps no key that `token` does not give out any more."""
    visit, user, sid = await signed_in(own_rig)
    hint = own_rig.id_token(user.id, visit.client)
    silent = {"prompt": "none", "id_token_hint": hint}
    believed = Visit(own_rig, visit.browser, visit.client, silent)
    await believed.start()
    assert "code" in believed.answer
    own_rig.owners.key = jwk.ECKey.generate_key("P-256", {"kid": "k2", "alg": "ES256", "use": "sig"})
    await own_rig.publish(KeyRetired(id="k1", version=2, alg="ES256"))
    async with asyncio.timeout(30):
        while "code" in believed.answer:
            await asyncio.sleep(0.02)
            believed = Visit(own_rig, visit.browser, visit.client, silent)
            await believed.start()
    await log_out(visit, id_token_hint=hint, post_logout_redirect_uri=BYE)
    assert visit.browser.page.has("sign-out")
    assert not await is_over(own_rig, sid)


async def test_hint_of_another_session_of_the_person_is_confirmed(rig: Rig) -> None:
    visit, user, sid = await signed_in(rig)
    await log_out(visit, id_token_hint=rig.id_token(user.id, visit.client, "another-sid"))
    assert visit.browser.page.has("sign-out")
    assert not await is_over(rig, sid)


async def test_nobody_signed_in_is_returned_with_a_hint_and_shown_a_link_without(rig: Rig) -> None:
    client, user = rig.client(), rig.user()
    visit = Visit(rig, rig.browser(), client)
    await log_out(visit, id_token_hint=rig.id_token(user.id, client), post_logout_redirect_uri=BYE)
    assert visit.browser.page.location == BYE
    await log_out(visit, client_id=client.client_id, post_logout_redirect_uri=BYE)
    assert visit.browser.page.location == ""
    assert visit.browser.page.links["return"] == BYE


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [({"Sec-Fetch-Site": "cross-site"}, None), ({"Origin": "https://evil.example"}, None), ({}, "x" * 43)],
)
async def test_forged_confirmation_ends_nothing(rig: Rig, headers: dict[str, str], csrf: str | None) -> None:
    visit, _, sid = await signed_in(rig)
    await log_out(visit)
    form = visit.browser.page.form_with("sign-out")
    data = form.filled("sign-out")
    page = await visit.browser.send("POST", form.action, {**data, "csrf": csrf or data["csrf"]}, headers)
    assert (page.status, page.error_code) == (403, "form_not_ours")
    assert not await is_over(rig, sid)


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0 2, 6")
async def test_a_form_of_another_site_takes_nobodys_session_away(rig: Rig) -> None:
    """It comes without our cookies (Lax), whatever it says: the answer must not take the browser's away."""
    visit, _, _ = await signed_in(rig)
    form = {"csrf": "x", "client_id": visit.client.client_id, "post_logout_redirect_uri": BYE}
    page = await rig.browser().send("POST", f"{ISSUER}/oauth2/logout", form, {"Origin": "https://evil.example"})
    assert "ww-session" not in page.headers.get("set-cookie", "")
    assert page.location.startswith(f"{ISSUER}/oauth2/logout?")
    await visit.browser.open(page.location)
    assert visit.browser.page.has("sign-out")


async def test_whoever_wants_to_sign_out_can_while_no_hint_can_be_read(own_rig: Rig) -> None:
    visit, user, sid = await signed_in(own_rig)
    own_rig.owners.keys_away = 1
    hint = own_rig.id_token(user.id, visit.client, sid)
    page = await visit.browser.open(f"{ISSUER}/oauth2/logout?{urlencode({'id_token_hint': hint})}")
    assert page.status == 200
    assert not await is_over(own_rig, sid)
    await visit.browser.submit("csrf", "sign-out")
    assert await is_over(own_rig, sid)


async def test_application_may_post(rig: Rig) -> None:
    """The session's cookie does not come along; the GET that follows has it."""
    visit, user, sid = await signed_in(rig)
    data = {"id_token_hint": rig.id_token(user.id, visit.client, sid), "post_logout_redirect_uri": BYE, "evil": "1"}
    page = await visit.browser.send("POST", "/oauth2/logout", data, {"Sec-Fetch-Site": "cross-site"})
    assert page.status == 303
    assert page.location.startswith(f"{ISSUER}/oauth2/logout?")
    assert "evil" not in page.location
    await visit.browser.send("GET", page.location)
    assert visit.browser.page.location == BYE
    assert await is_over(rig, sid)


@pytest.mark.parametrize("query", ["state=%0d%0aX:1", "state=a&state=b", "id_token_hint=%ff", "client_id=%00"])
async def test_malformed_request_is_a_page(rig: Rig, query: str) -> None:
    page = await rig.browser().send("GET", f"{ISSUER}/oauth2/logout?{query}")
    assert page.status == 400
    assert page.error_code == "invalid_request"


async def test_expired_session_is_nobody(own_rig: Rig) -> None:
    visit, _, _ = await signed_in(own_rig)
    own_rig.clock.advance(timedelta(days=8))
    await log_out(visit)
    assert visit.browser.page.has("sign-in-again")


async def test_a_sign_out_that_was_rolled_back_is_made_again(rig: Rig) -> None:
    """The session counts as dead here for a while; only the row and the ledger end it for everyone."""
    visit, user, sid = await signed_in(rig)
    rig.feed.pend(10**9, Claim.SID, sid)
    await log_out(visit, id_token_hint=rig.id_token(user.id, visit.client, sid))
    row = await rig.session(sid)
    assert row is not None
    assert row.ended_at is not None
