"""Tokens and signed answers from the authorization endpoint, for clients that an administrator allowed them.

Threats 6, 8, 9 and 11: the answer is for one browser, once, and says who answers.
"""

import base64
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import REDIRECT_URI, Party, SignIn

PASSWORD = "correct horse battery staple"
USER = "answers-ann"
TYPES = ["code", "id_token", "token", "id_token token", "code id_token", "code token", "code id_token token"]
MODES = ["query", "fragment", "form_post", "query.jwt", "fragment.jwt", "form_post.jwt"]


@pytest.fixture(scope="module")
async def user(module_platform: Platform) -> dict[str, Any]:
    """Who signs in."""
    return dict(await module_platform.api().create("/users", username=USER, name="Ann Answers", password=PASSWORD))


@pytest.fixture(scope="module")
async def keys(module_platform: Platform) -> KeySet:
    """The keys of the installation, as a client fetches them."""
    async with http_client() as http:
        return KeySet.import_key_set((await http.get(f"{module_platform.issuer}/oauth2/jwks")).json())


async def party_of(platform: Platform, api: Api, canary: Canary, **metadata: object) -> Party:
    """A client that may have everything, in every way."""
    wanted: dict[str, object] = {
        "grant_types": ["authorization_code", "implicit", "refresh_token"],
        "response_types": TYPES,
        "response_modes": MODES,
        **metadata,
    }
    return await Party.registered(api, platform.issuer, canary, **wanted)


@pytest.fixture
async def party(platform: Platform, api: Api, canary: Canary) -> Party:
    return await party_of(platform, api, canary)


@pytest.fixture
async def browser(platform: Platform, canary: Canary) -> AsyncIterator[Browser]:
    made = platform.browser(canary)
    yield made
    await made.close()


def half_hash(value: str) -> str:
    """What at_hash and c_hash are with ES256."""
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).rstrip(b"=").decode()


def read(token: str, keys: KeySet, alg: str = "ES256") -> dict[str, Any]:
    """The claims of a JWT whose signature holds."""
    return dict(jwt.decode(token, keys, algorithms=[alg]).claims)


async def answered(sign_in: SignIn, user: dict[str, Any]) -> dict[str, str]:
    """What the application gets after a sign-in."""
    assert user["username"] == USER
    await sign_in.start()
    await sign_in.enter(USER, PASSWORD)
    return sign_in.outcome()


@pytest.mark.spec("OpenID Connect Core 3.2.2.5, 3.3.2.5, 3.3.2.11; RFC 6749 4.2.2; RFC 9207 2")
@pytest.mark.parametrize("response_type", TYPES[1:])
async def test_each_response_type_brings_what_it_says(
    party: Party, browser: Browser, user: dict[str, Any], keys: KeySet, response_type: str
) -> None:
    sign_in = SignIn(browser, party, params={"response_type": response_type})
    got = await answered(sign_in, user)
    parts = set(response_type.split())
    assert {"code", "access_token", "id_token"} & set(got) == {
        {"token": "access_token"}.get(part, part) for part in parts
    }
    assert (got["state"], got["iss"]) == (sign_in.state, party.issuer)
    assert "refresh_token" not in got
    if "id_token" in parts:
        claims = read(got["id_token"], keys)
        assert (claims["sub"], claims["aud"], claims["nonce"]) == (user["id"], party.client_id, sign_in.nonce)
        assert claims["name"] == "Ann Answers"
        assert claims.get("c_hash") == (half_hash(got["code"]) if "code" in parts else None)
        assert claims.get("at_hash") == (half_hash(got["access_token"]) if "token" in parts else None)
    if "token" in parts:
        assert (got["token_type"], int(got["expires_in"]) > 0) == ("Bearer", True)
        assert set(got["scope"].split()) == {"openid", "profile", "email"}
        assert (await party.userinfo(got["access_token"])).json()["sub"] == user["id"]
    if "code" in parts:
        tokens = await sign_in.redeem()
        assert read(tokens["access_token"], keys)["sub"] == user["id"]


@pytest.mark.spec("OAuth 2.0 Form Post Response Mode 2")
async def test_tokens_are_posted_by_a_page_that_may_post_nowhere_else(
    party: Party, browser: Browser, user: dict[str, Any], keys: KeySet
) -> None:
    params = {"response_type": "code id_token", "response_mode": "form_post"}
    sign_in = SignIn(browser, party, params=params, state='"><script>alert(1)</script>')
    got = await answered(sign_in, user)
    assert browser.page.status == 200
    assert "<script>alert" not in browser.page.body
    policy = browser.page.headers["content-security-policy"]
    assert "form-action 'self' https://app.example;" in policy
    assert "frame-ancestors 'none'" in policy
    assert got["state"] == sign_in.state
    assert read(got["id_token"], keys)["c_hash"] == half_hash(got["code"])
    assert browser.page.headers["cache-control"] == "no-store"


@pytest.mark.spec("JARM 2.1, 2.3, 2.3.1, 2.3.2, 2.3.3")
@pytest.mark.parametrize(
    ("response_type", "response_mode", "place"),
    [
        ("code", "jwt", "query"),
        ("code", "query.jwt", "query"),
        ("code", "fragment.jwt", "fragment"),
        ("code", "form_post.jwt", "form"),
        ("code id_token token", "jwt", "fragment"),
        ("id_token", "form_post.jwt", "form"),
    ],
)
async def test_signed_answer_is_one_parameter(
    party: Party,
    browser: Browser,
    user: dict[str, Any],
    keys: KeySet,
    response_type: str,
    response_mode: str,
    place: str,
) -> None:
    sign_in = SignIn(browser, party, params={"response_type": response_type, "response_mode": response_mode})
    got = await answered(sign_in, user)
    assert set(got) == {"response"}
    parts = urlsplit(browser.page.location)
    assert {"query": bool(parts.query), "fragment": bool(parts.fragment), "form": browser.page.status == 200}[place]
    claims = read(got["response"], keys)
    assert (claims["iss"], claims["aud"], claims["state"]) == (party.issuer, party.client_id, sign_in.state)
    assert 0 < claims["exp"] - time.time() <= 121
    if "id_token" in response_type.split():
        assert read(claims["id_token"], keys)["nonce"] == sign_in.nonce
    if response_type == "code":
        answer = await party.ask(
            "token",
            grant_type="authorization_code",
            code=claims["code"],
            redirect_uri=REDIRECT_URI,
            code_verifier=sign_in.verifier,
        )
        assert answer.status_code == 200


@pytest.mark.spec("JARM 2.1")
@pytest.mark.parametrize("alg", ["RS256", "EdDSA"])
async def test_signed_answer_has_the_registered_algorithm(
    platform: Platform, api: Api, canary: Canary, browser: Browser, user: dict[str, Any], keys: KeySet, alg: str
) -> None:
    party = await party_of(platform, api, canary, authorization_signed_response_alg=alg)
    got = await answered(SignIn(browser, party, params={"response_mode": "jwt"}), user)
    assert read(got["response"], keys, alg)["aud"] == party.client_id


@pytest.mark.spec("JARM 2.2; RFC 6749 4.2.2.1")
@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"prompt": "none"}, "login_required"),
        ({"scope": '"'}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
async def test_refusal_is_signed_as_well(
    party: Party, browser: Browser, keys: KeySet, params: dict[str, str], error: str
) -> None:
    sign_in = SignIn(browser, party, params={"response_mode": "jwt", **params})
    await sign_in.start()
    claims = read(sign_in.outcome()["response"], keys)
    assert (claims["error"], claims["state"], claims["iss"]) == (error, sign_in.state, party.issuer)
    assert not any(name.startswith("ww-flow") for name in browser.cookies)
    in_fragment = SignIn(browser, party, params={"response_type": "code id_token", **params})
    await in_fragment.start()
    assert urlsplit(browser.page.location).query == ""
    assert in_fragment.outcome()["error"] == error


async def test_denied_consent_is_told_signed(
    platform: Platform, api: Api, canary: Canary, browser: Browser, user: dict[str, Any], keys: KeySet
) -> None:
    party = await party_of(platform, api, canary, require_consent=True)
    sign_in = SignIn(browser, party, params={"response_mode": "jwt"})
    await sign_in.start()
    await sign_in.enter(user["username"], PASSWORD)
    await sign_in.decide("deny")
    assert read(sign_in.outcome()["response"], keys)["error"] == "access_denied"


async def test_the_next_answer_needs_no_page(
    party: Party, browser: Browser, user: dict[str, Any], keys: KeySet
) -> None:
    """Silent renewal, as applications with implicit tokens do it."""
    await answered(SignIn(browser, party), user)
    silent = SignIn(browser, party, params={"response_type": "id_token token", "prompt": "none"})
    await silent.start()
    assert read(silent.outcome()["id_token"], keys)["sub"] == user["id"]
    assert not any(name.startswith("ww-flow") for name in browser.cookies)


async def at_the_last_hop(party: Party, browser: Browser, user: dict[str, Any]) -> str:
    """The address of the last hop before the application, not yet visited."""
    await answered(SignIn(browser, party), user)
    last = SignIn(browser, party, params={"response_type": "code id_token", "prompt": "none"})
    page = await browser.send("GET", last.url)
    assert urlsplit(page.location).path.endswith("/oauth2/authorize/answer")
    return page.location


async def test_answer_is_taken_once(party: Party, browser: Browser, user: dict[str, Any]) -> None:
    hop = await at_the_last_hop(party, browser, user)
    cookies = dict(browser.cookies)
    first = await browser.send("GET", hop)
    assert first.location.startswith(REDIRECT_URI)
    for name, value in cookies.items():
        browser.client.cookies.set(name, value, domain="localhost.local", path="/")
    second = await browser.send("GET", hop)
    assert (second.status, second.location, second.error_code) == (400, "", "ticket_unknown")


async def test_another_browser_gets_nothing_and_uses_nothing_up(
    platform: Platform, party: Party, browser: Browser, user: dict[str, Any]
) -> None:
    hop = await at_the_last_hop(party, browser, user)
    thief = platform.browser()
    stolen = await thief.send("GET", hop)
    assert (stolen.status, stolen.location, stolen.error_code) == (403, "", "flow_not_here")
    assert (await browser.send("GET", hop)).location.startswith(REDIRECT_URI)


@pytest.mark.parametrize("change", ["no code", "another code", "no ticket", "made up"])
async def test_altered_last_hop_is_a_page(party: Party, browser: Browser, user: dict[str, Any], change: str) -> None:
    hop = await at_the_last_hop(party, browser, user)
    parts = urlsplit(hop)
    query = dict(pair.split("=", 1) for pair in parts.query.split("&"))
    match change:
        case "no code":
            del query["code"]
        case "another code":
            query["code"] = "A" * 43
        case "no ticket":
            del query["ticket"]
        case _:
            query["ticket"] = "B" * 43
    page = await browser.send("GET", f"{hop.partition('?')[0]}?{urlencode(query)}")
    assert page.status in {400, 403}
    assert page.location == ""
    assert page.error_code in {"ticket_unknown", "flow_not_here"}
    if change != "made up":
        assert (await browser.send("GET", hop)).location.startswith(REDIRECT_URI)


async def test_whoever_was_signed_out_in_between_gets_nothing(
    platform: Platform, api: Api, party: Party, browser: Browser, user: dict[str, Any]
) -> None:
    hop = await at_the_last_hop(party, browser, user)
    answer = await api.call("POST", "/revocations", {"claim": "sub", "value": user["id"]}, wait="all", timeout_s="10")
    assert answer.status_code in {200, 201, 202}, answer.text
    page = await browser.send("GET", hop)
    fragment = urlsplit(page.location).fragment
    assert "error=access_denied" in fragment
    assert "code=" not in fragment
    assert "id_token=" not in fragment


async def test_tokens_die_with_the_session_that_they_came_from(
    platform: Platform, party: Party, browser: Browser, user: dict[str, Any]
) -> None:
    got = await answered(SignIn(browser, party, params={"response_type": "token"}), user)
    assert (await party.introspect(got["access_token"]))["active"] is True
    await browser.open(f"{platform.issuer}/oauth2/logout")
    await browser.submit("sign-out", "sign-out")
    for _ in range(200):
        if (await party.introspect(got["access_token"]))["active"] is False:
            break
    else:
        raise AssertionError("the token outlived its session")


async def test_what_came_without_a_code_is_a_grant_that_can_be_found_and_ended(
    platform: Platform, api: Api, party: Party, browser: Browser, user: dict[str, Any]
) -> None:
    got = await answered(SignIn(browser, party, params={"response_type": "token"}), user)
    gid = (await party.introspect(got["access_token"]))["gid"]
    grants = await api.get("/grants", client_id=party.client_id)
    assert [each["id"] for each in grants["items"]] == [gid]  # type: ignore[index,union-attr]
    await api.delete(f"/grants/{gid}")
    assert (await party.introspect(got["access_token"]))["active"] is False


@pytest.mark.spec("RFC 6749 4.1.2")
async def test_replayed_code_takes_the_tokens_beside_it_along(
    party: Party, browser: Browser, user: dict[str, Any]
) -> None:
    sign_in = SignIn(browser, party, params={"response_type": "code token"})
    got = await answered(sign_in, user)
    await sign_in.redeem()
    form = {
        "grant_type": "authorization_code",
        "code": got["code"],
        "redirect_uri": REDIRECT_URI,
        "code_verifier": sign_in.verifier,
    }
    assert (await party.ask("token", **form)).json()["error"] == "invalid_grant"
    assert (await party.introspect(got["access_token"]))["active"] is False


@pytest.mark.row(8)
@pytest.mark.parametrize("response_type", TYPES[1:])
async def test_nothing_of_it_for_a_client_that_was_not_allowed_it(
    platform: Platform, api: Api, canary: Canary, browser: Browser, response_type: str
) -> None:
    """Threat 8."""
    party = await Party.registered(api, platform.issuer, canary)
    sign_in = SignIn(browser, party, params={"response_type": response_type})
    await sign_in.start()
    assert sign_in.outcome()["error"] == "unauthorized_client"
    assert urlsplit(browser.page.location).fragment == ""
    for mode in MODES[1:2] + MODES[3:]:
        await SignIn(browser, party, params={"response_mode": mode}).start()
        assert "error=invalid_request" in urlsplit(browser.page.location).query


async def test_a_token_that_the_application_cannot_keep_is_refused_by_name(
    platform: Platform, api: Api, canary: Canary, browser: Browser, user: dict[str, Any]
) -> None:
    party = await party_of(platform, api, canary, max_token_bytes=512)
    got = await answered(SignIn(browser, party, params={"response_type": "code id_token"}), user)
    assert got["error"] == "token_too_large"
    assert not {"code", "id_token"} & got.keys()
