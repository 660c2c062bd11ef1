"""Tokens of a provider for applications: kept, renewed once, exchanged in every form, and gone when they have to be."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.responses import JSONResponse
from tests.federation.conftest import CLIENT_ID, CLIENT_SECRET
from tests.federation.test_consumers import rows, until
from tests.federation.test_routes import configured
from tests.flows.test_access_rules import eventually

from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import REDIRECT_URI, Party, SignIn

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
KEY = ECKey.generate_key("P-256")
KEPT = "SELECT user_id IS NOT NULL FROM federation.upstream_tokens WHERE provider_id = $1"


@dataclass
class Keeping:
    """A provider whose tokens are kept, and an application that may have them, with a person's token."""

    platform: Platform
    api: Api
    upstream: Any
    party: Party
    provider_id: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    async def configure(self, **exchange: Any) -> None:
        allowed = {"client_id": self.party.client_id, **exchange.pop("allowed", {})}
        given = {name: exchange.pop(name) for name in list(exchange) if name.startswith("exchange_")}
        if exchange.get("way", "kept") != "kept":
            exchange["token_endpoint"] = f"{self.upstream.issuer}/exchange"
        settings = {"clients": [allowed], **exchange}
        self.provider_id = await configured(self.api, self.upstream, keep_tokens=True, exchange=settings, **given)

    async def sign_in(self, browser: Browser, party: Party | None = None) -> dict[str, str]:
        signing = SignIn(browser, party or self.party)
        await signing.start()
        page = await browser.click_soon(f"provider-{self.provider_id}")
        query = urlencode(self.upstream.authorize(page.location))
        page = await browser.open(f"{self.platform.issuer}/api/auth/sso/callback/{self.provider_id}?{query}")
        for _ in range(10):
            if page.location.startswith(REDIRECT_URI):
                break
            page = await browser.open(page.location)
        self.tokens = await signing.redeem()
        return self.tokens

    async def ask(self, token: str | None = None, provider_id: str = "", **form: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token or self.tokens['access_token']}"}
        url = f"{self.platform.issuer}/api/auth/sso/token/{provider_id or self.provider_id}"
        async with http_client(timeout=20.0) as http:
            return await http.post(url, data=form or {"scope": ""}, headers=headers)

    async def steps(self, description: str) -> list[str]:
        reference = description.rpartition("Reference: ")[2]
        found: Any = await self.api.get("/upstream/attempts", reference=reference)
        return [f"{step['step']}: {step['detail']}" for step in found["items"][0]["steps"]]


@pytest.fixture
async def keeping(platform: Platform, api: Api, canary: Canary, upstream: Any) -> Keeping:
    sub = f"p-{secrets.token_hex(6)}"
    upstream.user = {"sub": sub, "email": f"{sub}@acme.test", "email_verified": True}
    upstream.token_response = {"expires_in": 300}
    party = await Party.registered(api, platform.issuer, canary)
    return Keeping(platform, api, upstream, party)


async def _noted(keeping: Keeping, action: str) -> bool:
    """Whether the audit log says it of the provider and the application."""
    found: Any = await keeping.api.get("/audit", action=action, limit="200")
    details = [item["details"] for item in found["items"]]
    return any(each["provider_id"] == keeping.provider_id for each in details)


async def refused(answer: httpx2.Response, status: int, error: str) -> str:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert "no-store" in answer.headers["cache-control"]
    return str(answer.json()["error_description"])


@pytest.mark.spec("RFC 8693 2.2.1")
async def test_the_kept_token_is_given_sealed_and_audited(keeping: Keeping, browser_session: Browser) -> None:
    await keeping.configure()
    await keeping.sign_in(browser_session)
    answer = await keeping.ask()
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert given["access_token"] in keeping.upstream._tokens
    assert (given["issued_token_type"], given["token_type"]) == (f"{TYPE}access_token", "Bearer")
    assert 250 < given["expires_in"] <= 300
    assert "refresh_token" not in given
    statement = "SELECT sealed, user_id, link_id FROM federation.upstream_tokens WHERE provider_id = $1"
    ((sealed, user_id, _),) = await rows(keeping.platform, statement, keeping.provider_id)
    assert given["access_token"].encode() not in sealed
    await eventually(lambda: _noted(keeping, "upstream_token.issued"))
    events = "SELECT type, body->>'user_id' FROM federation.outbox WHERE body->>'provider_id' = $1"
    assert [tuple(row) for row in await rows(keeping.platform, events, keeping.provider_id)] == [
        ("upstream_tokens.kept", user_id)
    ]


async def test_an_application_may_ask_with_an_opaque_token(keeping: Keeping, browser_session: Browser) -> None:
    client = f"/clients/{keeping.party.client_id}"
    assert (await keeping.api.call("PATCH", client, {"access_token_format": "opaque"})).status_code == 200
    await keeping.configure()
    tokens = await keeping.sign_in(browser_session)
    assert tokens["access_token"].count(".") == 4
    answer = await keeping.ask()
    assert answer.status_code == 200, answer.text
    assert answer.json()["access_token"] in keeping.upstream._tokens
    await keeping.party.ask("revoke", token=tokens["access_token"])
    await refused(await keeping.ask(), 401, "invalid_token")


@pytest.mark.spec("RFC 6749 6; OpenID Connect Core 12.2")
async def test_many_at_once_renew_once(keeping: Keeping, browser_session: Browser) -> None:
    """Its refresh token is good once: a second use would end everything."""
    keeping.upstream.renewable = True
    keeping.upstream.token_response = {"expires_in": 5}
    await keeping.configure()
    await keeping.sign_in(browser_session)
    answers = await asyncio.gather(*(keeping.ask() for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert len({answer.json()["access_token"] for answer in answers}) == 1
    sent = [each for each in keeping.upstream.token_requests if each["grant_type"] == "refresh_token"]
    assert len(sent) == 1
    assert set(sent[0]) == {"scheme", "grant_type", "refresh_token"}


async def test_an_id_token_that_nobody_checks_is_neither_kept_nor_in_the_way(
    keeping: Keeping, browser_session: Browser
) -> None:
    """A provider that is spoken to by OAuth 2.0 alone has no keys here."""
    upstream = keeping.upstream
    upstream.renewable, upstream.now = True, utc_now()
    upstream.userinfo = {"name": "Alice"}
    upstream.token_response = {"expires_in": 5, "id_token": "e30.eyJleHAiOjFlMzB9.AAAA"}
    made = await keeping.api.create(
        "/providers",
        id=f"Plain-{secrets.token_hex(4)}",
        preset="oauth2",
        enabled=True,
        display_name="Plain",
        issuer=upstream.issuer,
        authorization_endpoint=f"{upstream.issuer}/authorize",
        token_endpoint=f"{upstream.issuer}/token",
        userinfo_endpoint=f"{upstream.issuer}/userinfo",
        scopes=["openid"],
        claims={"sub": "sub"},
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        keep_tokens=True,
        exchange={"clients": [{"client_id": keeping.party.client_id}]},
    )
    keeping.provider_id = str(made["id"])
    await keeping.sign_in(browser_session)
    answer = await keeping.ask()
    assert answer.status_code == 200, answer.text
    assert [each["grant_type"] for each in upstream.token_requests] == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"renewable": False}, "refused: the access_token is over, and the provider gave no", id="none"),
        pytest.param(
            {"token_answer": JSONResponse({"error": "invalid_grant"}, 400)},
            "refused: renewing: token endpoint: invalid_grant",
            id="refused",
        ),
        pytest.param({"user": {"sub": "somebody-else"}}, "refused: the renewed ID token is about somebody", id="other"),
        pytest.param({"key": ECKey.generate_key("P-256", {"kid": "k1"})}, "refused: signature", id="forged"),
    ],
)
async def test_what_cannot_be_renewed(
    keeping: Keeping, browser_session: Browser, change: dict[str, Any], said: str
) -> None:
    keeping.upstream.renewable = change.get("renewable", True)
    keeping.upstream.token_response = {"expires_in": 5}
    await keeping.configure()
    await keeping.sign_in(browser_session)
    for name, value in change.items():
        setattr(keeping.upstream, name, value)
    answer = await keeping.ask()
    code = "id_token_invalid" if "somebody" in said or "signature" in said else "upstream_exchange_failed"
    description = await refused(answer, 502 if code == "id_token_invalid" else 400, code)
    assert (await keeping.steps(description))[-1].startswith(said)
    kept = await rows(keeping.platform, KEPT, keeping.provider_id)
    assert len(kept) == (0 if "invalid_grant" in said else 1), "a dead refresh token is not kept"


@pytest.mark.spec("RFC 8693 2.1; RFC 7523 2.1; RFC 7523 2.2; draft-ietf-oauth-identity-assertion-authz-grant 4.3")
@pytest.mark.parametrize(
    ("exchange", "ask", "form"),
    [
        pytest.param(
            {"way": "rfc8693", "allowed": {"audiences": ["https://api.acme.test"], "scopes": ["read", "write"]}},
            {"audience": "https://api.acme.test", "scope": "read"},
            {
                "grant_type": EXCHANGE,
                "requested_token_type": f"{TYPE}access_token",
                "subject_token": "access",
                "subject_token_type": f"{TYPE}access_token",
                "audience": "https://api.acme.test",
                "scope": "read",
            },
            id="RFC 8693",
        ),
        pytest.param(
            {
                "way": "rfc8693",
                "client_id": "okta-service",
                "token_endpoint_auth_method": "private_key_jwt",
                "private_key_id": "k7",
                "client_assertion_audience": "https://acme.okta.test/oauth2/v1/token",
                "exchange_private_key": KEY.as_pem(private=True).decode(),
                "allowed": {"audiences": ["api://orders"], "scopes": ["orders.read"]},
            },
            {"audience": "api://orders", "scope": "orders.read"},
            {
                "grant_type": EXCHANGE,
                "requested_token_type": f"{TYPE}access_token",
                "subject_token": "access",
                "subject_token_type": f"{TYPE}access_token",
                "audience": "api://orders",
                "scope": "orders.read",
                "client_id": "okta-service",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": "signed",
            },
            id="Okta, with a key",
        ),
        pytest.param(
            {
                "way": "entra_obo",
                "client_id": "middle-tier",
                "token_endpoint_auth_method": "client_secret_post",
                "exchange_client_secret": "obo-secret-4711",
                "allowed": {"audiences": ["https://graph.microsoft.com"]},
            },
            {"resource": "https://graph.microsoft.com"},
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": "access",
                "requested_token_use": "on_behalf_of",
                "scope": "https://graph.microsoft.com/.default",
                "client_id": "middle-tier",
                "client_secret": "obo-secret-4711",
            },
            id="Entra ID, on behalf of",
        ),
        pytest.param(
            {
                "way": "id_jag",
                "user_token": "id_token",
                "allowed": {"audiences": ["https://auth.chat.test", "https://mcp.chat.test"], "scopes": ["chat.read"]},
            },
            {"audience": "https://auth.chat.test", "resource": "https://mcp.chat.test", "scope": "chat.read"},
            {
                "grant_type": EXCHANGE,
                "requested_token_type": f"{TYPE}id-jag",
                "subject_token": "id",
                "subject_token_type": f"{TYPE}id_token",
                "audience": "https://auth.chat.test",
                "resource": "https://mcp.chat.test",
                "scope": "chat.read",
            },
            id="ID-JAG",
        ),
    ],
)
@pytest.mark.seed(105)
async def test_the_form_of_each_exchange(
    keeping: Keeping, browser_session: Browser, exchange: dict[str, Any], ask: dict[str, str], form: dict[str, str]
) -> None:
    is_jag = exchange["way"] == "id_jag"
    if is_jag:
        said = {"access_token": "grant", "issued_token_type": f"{TYPE}id-jag", "token_type": "N_A", "expires_in": 300}
        keeping.upstream.exchange_answer = JSONResponse({**said, "refresh_token": "never"})
    await keeping.configure(**exchange)
    await keeping.sign_in(browser_session)
    answer = await keeping.ask(**ask)
    assert answer.status_code == 200, (answer.text, await keeping.steps(answer.json()["error_description"]))
    expected = {"access_token": "grant", "token_type": "N_A", "issued_token_type": f"{TYPE}id-jag", "expires_in": 300}
    if not is_jag:
        expected = {
            "access_token": "downstream",
            "token_type": "Bearer",
            "issued_token_type": f"{TYPE}access_token",
            "expires_in": 60,
        }
    assert answer.json() == expected
    (sent,) = keeping.upstream.exchanges
    basic = sent.pop("authorization")
    assert basic.startswith("Basic ") == ("client_id" not in form)
    subject = next(name for name in ("subject_token", "assertion") if name in sent)
    if form[subject] == "access":
        assert sent[subject] in keeping.upstream._tokens
    else:
        assert jwt.decode(sent[subject], keeping.upstream.key, algorithms=["ES256"]).claims["iss"]
    if "client_assertion" in sent:
        proof = jwt.decode(sent["client_assertion"], KEY, algorithms=["ES256"])
        assert proof.header["kid"] == "k7"
        assert proof.claims["aud"] == "https://acme.okta.test/oauth2/v1/token"
        assert proof.claims["iss"] == proof.claims["sub"] == "okta-service"
        sent["client_assertion"] = "signed"
    assert {**sent, subject: form[subject]} == form


@pytest.mark.parametrize(
    ("answered", "status", "said"),
    [
        pytest.param(
            JSONResponse(
                {"error": "invalid_grant", "error_description": "AADSTS50013: Assertion of bob@acme.test"}, 400
            ),
            400,
            "refused: token endpoint: invalid_grant (AADSTS50013)",
            id="not for this client",
        ),
        pytest.param(
            JSONResponse({"access_token": "x", "token_type": "N_A", "issued_token_type": f"{TYPE}id-jag"}),
            400,
            "refused: the provider gave a token of another type than was asked for",
            id="another type",
        ),
        pytest.param(
            JSONResponse({"access_token": "x", "token_type": "DPoP"}),
            400,
            "refused: the access token is bound to a key, without a proof",
            id="bound to a key",
        ),
        pytest.param(JSONResponse({"token_type": "Bearer"}), 400, "refused: no access token that a header", id="none"),
        pytest.param(JSONResponse([1]), 400, "refused: not an object", id="nonsense"),
    ],
)
async def test_what_the_provider_refuses_is_named_with_its_steps(
    keeping: Keeping, browser_session: Browser, answered: JSONResponse, status: int, said: str
) -> None:
    keeping.upstream.exchange_answer = answered
    await keeping.configure(way="rfc8693", allowed={"audiences": ["api://a"]})
    await keeping.sign_in(browser_session)
    description = await refused(await keeping.ask(audience="api://a"), status, "upstream_exchange_failed")
    assert "bob@" not in description
    steps = await keeping.steps(description)
    assert [step.partition(":")[0] for step in steps] == ["policy", "identity", "vault", "refused"]
    assert steps[-1].startswith(said), steps
    assert "bob@" not in "".join(steps)


@pytest.mark.spec("RFC 6750 3.1; RFC 9068 5")
async def test_nobody_gets_more_than_was_allowed(
    keeping: Keeping, browser_session: Browser, api: Api, canary: Canary
) -> None:
    await keeping.configure(way="rfc8693", allowed={"audiences": ["api://a"], "scopes": ["read"]})
    await keeping.sign_in(browser_session)
    for form, error in (
        ({"audience": "api://b"}, "invalid_target"),
        ({"resource": "api://b", "audience": "api://a"}, "invalid_target"),
        ({"audience": "api://a", "scope": "read write"}, "invalid_scope"),
        ({"audience": "api://a", "requested_token_type": f"{TYPE}refresh_token"}, "invalid_request"),
        ({"audience": "api://a", "subject_token": "x"}, "invalid_request"),
    ):
        await refused(await keeping.ask(**form), 400, error)
    issuer = keeping.platform.issuer
    stranger = await Party.registered(api, issuer, canary)
    shared = await Party.registered(api, issuer, canary, audience=["https://api.example"])
    machine = await Party.registered(api, issuer, canary, grant_types=["client_credentials"], redirect_uris=[])
    tokens = {}
    for party in (stranger, shared):
        signing = SignIn(browser_session, party)
        await signing.start()
        tokens[party.client_id] = (await signing.redeem())["access_token"]
    await refused(await keeping.ask(tokens[stranger.client_id]), 403, "unauthorized_client")
    assert "for others" in await refused(await keeping.ask(tokens[shared.client_id]), 401, "invalid_token")
    own = await machine.tokens(grant_type="client_credentials")
    await refused(await keeping.ask(own["access_token"]), 401, "invalid_token")
    await refused(await keeping.ask("no-token"), 401, "invalid_token")
    assert keeping.upstream.exchanges == []


async def test_who_never_came_through_it_has_no_token_there(
    keeping: Keeping, browser_session: Browser, upstream: Any
) -> None:
    await keeping.configure()
    other = keeping.provider_id
    await keeping.configure()
    await keeping.sign_in(browser_session)
    description = await refused(await keeping.ask(provider_id=other), 400, "upstream_exchange_failed")
    assert (await keeping.steps(description))[-1] == "refused: no identity of this provider leads to the person"
    description = await refused(await keeping.ask(provider_id="no-such"), 400, "provider_disabled")


@pytest.mark.seed(105)
async def test_saml_is_refused_in_plain_words(keeping: Keeping, browser_session: Browser, idp: Any) -> None:
    await keeping.configure()
    await keeping.sign_in(browser_session)
    made = await keeping.api.create(
        "/providers",
        id=f"Saml-{secrets.token_hex(4)}",
        preset="saml",
        display_name="S",
        issuer="https://idp.acme.test",
        sso_url="https://idp.acme.test/sso",
        certificates=[idp.keys.certificate],
    )
    answer = await keeping.ask(provider_id=str(made["id"]))
    description = await refused(answer, 400, "upstream_exchange_failed")
    assert "SAML provider gives assertions, not tokens" in (await keeping.steps(description))[-1]
    wanted = {**{name: made[name] for name in ("preset", "display_name", "issuer")}, "keep_tokens": True}
    wrong = await keeping.api.call("PUT", f"/providers/{made['id']}", wanted)
    assert wrong.status_code == 400
    assert "keep_tokens" in wrong.text


Ending = Callable[[Keeping, str], Awaitable[object]]


async def _unlink(keeping: Keeping, user_id: str) -> None:
    found: Any = await keeping.api.get("/identities", user_id=user_id)
    await keeping.api.change(f"/users/{user_id}", password=f"pw {secrets.token_urlsafe(16)}")
    await keeping.api.delete(f"/identities/{found['items'][0]['id']}")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        pytest.param(_unlink, "unlinked", id="unlinked"),
        pytest.param(lambda k, user: k.api.change(f"/users/{user}", active=False), "user-disabled", id="disabled"),
        pytest.param(lambda k, user: k.api.delete(f"/users/{user}"), "user-deleted", id="deleted"),
        pytest.param(lambda k, _: k.api.delete(f"/providers/{k.provider_id}"), "provider", id="provider removed"),
        pytest.param(
            lambda k, _: k.api.change(f"/providers/{k.provider_id}", enabled=False), "provider", id="provider disabled"
        ),
        pytest.param(
            lambda k, _: k.api.change(f"/providers/{k.provider_id}", keep_tokens=False, exchange=None),
            "provider",
            id="kept no more",
        ),
    ],
)
async def test_nothing_is_kept_longer_than_what_it_is_for(
    keeping: Keeping, browser_session: Browser, end: Ending, reason: str
) -> None:
    await keeping.configure()
    await keeping.sign_in(browser_session)
    await until(keeping.platform, KEPT, keeping.provider_id, [(True,)])
    statement = "SELECT user_id FROM federation.upstream_tokens WHERE provider_id = $1"
    ((user_id,),) = await rows(keeping.platform, statement, keeping.provider_id)
    await end(keeping, str(user_id))
    await until(keeping.platform, KEPT, keeping.provider_id, [])
    events = "SELECT body->>'reason' FROM federation.outbox WHERE body->>'provider_id' = $1 AND type LIKE '%.dropped'"
    (said,) = [row[0] for row in await rows(keeping.platform, events, keeping.provider_id)]
    # Who is deleted has no identities any more, and either may be heard of first.
    assert said == reason or (reason, said) == ("user-deleted", "unlinked")
    assert (await keeping.ask()).status_code in {400, 401, 403}


async def test_signing_out_everywhere_ends_kept_tokens_too(keeping: Keeping, browser_session: Browser) -> None:
    """A token that was made afterwards does not bring back what was kept before."""
    await keeping.configure()
    await keeping.sign_in(browser_session)
    statement = "SELECT user_id FROM federation.upstream_tokens WHERE provider_id = $1"
    await until(keeping.platform, KEPT, keeping.provider_id, [(True,)])
    ((user_id,),) = await rows(keeping.platform, statement, keeping.provider_id)
    await keeping.api.create("/revocations?wait=all&timeout_s=10", claim="sub", value=user_id)
    password = f"pw {secrets.token_urlsafe(16)}"
    person: Any = await keeping.api.change(f"/users/{user_id}", password=password)
    async with keeping.platform.browser() as another:
        keeping.tokens = await SignIn(another, keeping.party).with_password(person["username"], password)
    description = await refused(await keeping.ask(), 400, "upstream_exchange_failed")
    assert "revoked in the ledger" in (await keeping.steps(description))[-1]
    assert await rows(keeping.platform, KEPT, keeping.provider_id) == []


@pytest.mark.spec("OpenID Connect Back-Channel Logout 2.7")
@pytest.mark.parametrize("offline", [False, True], ids=["of the session", "offline"])
async def test_a_session_that_ends_there_takes_what_depended_on_it(
    keeping: Keeping, browser_session: Browser, offline: bool
) -> None:
    keeping.upstream.token_response = {"scope": "openid offline_access" if offline else "openid"}
    await keeping.configure()
    await keeping.sign_in(browser_session)
    at = int(utc_now().timestamp())
    claims = {
        "iss": keeping.upstream.issuer,
        "aud": CLIENT_ID,
        "sub": keeping.upstream.user["sub"],
        "iat": at,
        "exp": at + 60,
        "jti": secrets.token_hex(8),
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    header = {"alg": "ES256", "typ": "logout+jwt", "kid": keeping.upstream.key.kid}
    token = jwt.encode(header, claims, keeping.upstream.key, algorithms=["ES256"])
    url = f"{keeping.platform.issuer}/api/auth/sso/backchannel-logout/{keeping.provider_id}"
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.post(url, data={"logout_token": token})).status_code == 200
    assert len(await rows(keeping.platform, KEPT, keeping.provider_id)) == offline


@pytest.mark.parametrize(
    ("members", "named"),
    [
        pytest.param({"exchange": {}}, "keep_tokens", id="nothing is kept"),
        pytest.param({"keep_tokens": True, "dpop": "required"}, "bound to a key", id="bound tokens"),
        pytest.param({"keep_tokens": True, "exchange": {"way": "saml"}}, "way", id="unknown way"),
        pytest.param(
            {"keep_tokens": True, "exchange": {"way": "id_jag"}}, "user_token", id="ID-JAG of an access token"
        ),
        pytest.param(
            {"keep_tokens": True, "exchange": {"clients": [{"client_id": "a", "scopes": ["x"]}]}}, "choose", id="kept"
        ),
        pytest.param(
            {"keep_tokens": True, "exchange": {"clients": [{"client_id": "a"}, {"client_id": "a"}]}}, "once", id="twice"
        ),
        pytest.param({"keep_tokens": True, "exchange": {}, "exchange_client_secret": "s"}, "no secret", id="a secret"),
        pytest.param(
            {"keep_tokens": True, "exchange": {"way": "rfc8693", "token_endpoint": "http://10.0.0.1/token"}},
            "exchange",
            id="an address within",
        ),
    ],
)
async def test_settings_that_cannot_work(api: Api, upstream: Any, members: dict[str, Any], named: str) -> None:
    known = {"issuer": upstream.issuer, "client_id": "c", "display_name": "A", "preset": "oidc"}
    answer = await api.call("POST", "/providers", {"id": f"A-{secrets.token_hex(4)}", **known, **members})
    assert answer.status_code == 400, answer.text
    assert named in answer.text
