"""The OpenID Connect connector against providers that keep to the rules, and against those that do not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_events.names import Service
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Answer, Secrets, Wishes
from watchword_federation.connectors.oidc import OidcConnector
from watchword_federation.connectors.token_requests import TokenRequests
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import SignInFailed
from watchword_federation.fetched import Fetched
from watchword_federation.flows import new_secrets
from watchword_federation.metadata import PlainHttp
from watchword_federation.settings import FederationSettings
from watchword_runtime.foreign_jwts import Header
from watchword_testkit.databases import TestDatabase

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # the old name of Ed25519

CALLBACK = "https://sso.test/api/auth/sso/callback/acme"


class SignIn:
    """One connector, and sign-ins through it as a browser would make them."""

    def __init__(self, connector: OidcConnector, manual_clock: Any) -> None:
        self.connector = connector
        self.clock = manual_clock

    async def depart(self, provider: ProviderExport, kept: Secrets, wishes: Wishes | None = None) -> str:
        return await self.connector.depart(
            provider, wishes or Wishes(), secrets=kept, state="state-1", callback=CALLBACK, trail=Trail()
        )

    async def arrive(
        self, provider: ProviderExport, kept: Secrets, params: dict[str, str], max_age_s: int | None = None
    ) -> VerifiedIdentity:
        answer = Answer(code=params.get("code"), error=params.get("error"), issuer=params.get("iss"))
        arrived = await self.connector.arrive(
            provider, answer, secrets=kept, callback=CALLBACK, max_age_s=max_age_s, now=self.clock(), trail=Trail()
        )
        return arrived.identity

    async def __call__(self, upstream: Any, provider: ProviderExport | None = None, **answer: str) -> VerifiedIdentity:
        provider = provider or upstream.provider()
        kept = new_secrets()
        return await self.arrive(provider, kept, upstream.authorize(await self.depart(provider, kept), **answer))


@pytest.fixture(scope="module")
async def ways(settings: FederationSettings) -> AsyncIterator[Ways]:
    """The guarded ways."""
    ways = Ways(settings)
    yield ways
    await ways.close()


@pytest.fixture
def sign_in(fetched_nothing: TestDatabase, ways: Ways, manual_clock: Any) -> SignIn:
    """A connector over the guarded client and a real database."""
    return SignIn(connector_of(fetched_nothing, ways, manual_clock), manual_clock)


def connector_of(database: TestDatabase, ways: Ways, manual_clock: Any) -> OidcConnector:
    return OidcConnector(
        Fetched(database.open(Service.FEDERATION), manual_clock),
        ways,
        TokenRequests(lambda provider: provider.client_secret),
        plain_http=PlainHttp(loopback=True),
        public_url="https://sso.test",
    )


async def refused(failure: str, signing_in: Any) -> SignInFailed:
    with pytest.raises(SignInFailed) as refusal:
        await signing_in
    assert refusal.value.code == failure, refusal.value.detail
    return refusal.value


@pytest.mark.spec("OpenID Connect Core 3.1.2.1; RFC 7636 4.3")
async def test_the_request_carries_everything_that_binds_the_answer(sign_in: SignIn, upstream: Any) -> None:
    kept = new_secrets()
    wishes = Wishes(prompt=("login", "consent"), max_age_s=60, acr_values=("high", "low"), login_hint="a&b@acme.test")
    url = await sign_in.depart(upstream.provider(scopes=("email", "groups")), kept, wishes)
    request = parse_qs(urlsplit(url).query, strict_parsing=True)
    challenge = request.pop("code_challenge")
    assert len(challenge[0]) == 43
    assert request == {
        "response_type": ["code"],
        "client_id": ["watchword-at-acme"],
        "redirect_uri": [CALLBACK],
        "scope": ["openid email groups"],
        "state": ["state-1"],
        "nonce": [kept.nonce],
        "code_challenge_method": ["S256"],
        "prompt": ["login consent"],
        "max_age": ["60"],
        "acr_values": ["high low"],
        "login_hint": ["a&b@acme.test"],
    }
    assert kept.verifier not in url


async def test_what_was_not_asked_for_is_not_sent(sign_in: SignIn, upstream: Any) -> None:
    request = parse_qs(urlsplit(await sign_in.depart(upstream.provider(), new_secrets())).query)
    assert not {"prompt", "max_age", "acr_values", "login_hint", "response_mode"} & request.keys()


async def test_form_post_is_asked_for_where_it_is_configured(sign_in: SignIn, upstream: Any) -> None:
    url = await sign_in.depart(upstream.provider(response_mode="form_post"), new_secrets())
    assert parse_qs(urlsplit(url).query)["response_mode"] == ["form_post"]


async def test_an_authorization_endpoint_may_have_a_query_of_its_own(sign_in: SignIn, upstream: Any) -> None:
    upstream.metadata["authorization_endpoint"] = f"{upstream.issuer}/authorize?tenant=a%20b"
    query = parse_qsl(urlsplit(await sign_in.depart(upstream.provider(), new_secrets())).query)
    assert query[0] == ("tenant", "a b")
    assert ("state", "state-1") in query


@pytest.mark.spec("OpenID Connect Core 3.1.3; RFC 6749 4.1.3; RFC 7636 4.5")
@pytest.mark.seed(86)
async def test_an_honest_sign_in(sign_in: SignIn, upstream: Any) -> None:
    upstream.userinfo = {"name": "Alice", "groups": ["ops"]}
    identity = await sign_in(upstream)
    assert (identity.provider_id, identity.issuer, identity.subject) == ("acme", upstream.issuer, "alice-1")
    assert (identity.email, identity.email_verified, identity.name) == ("alice@acme.test", True, "Alice")
    assert identity.claims["groups"] == ["ops"]
    assert upstream.asked == ["metadata", "token", "keys", "userinfo"]


async def test_a_second_sign_in_needs_neither_metadata_nor_keys(sign_in: SignIn, upstream: Any) -> None:
    await sign_in(upstream)
    upstream.asked.clear()
    await sign_in(upstream)
    assert upstream.asked == ["token", "userinfo"]


async def test_what_nobody_vouched_for_is_fetched_again_when_somebody_has_to(sign_in: SignIn, upstream: Any) -> None:
    """Without waiting for an event that says so."""
    unverified = upstream.provider(insecure_skip_verify=True)
    await sign_in(upstream, unverified)
    upstream.asked.clear()
    await sign_in(upstream)
    assert upstream.asked == ["metadata", "token", "keys", "userinfo"]
    upstream.asked.clear()
    await sign_in(upstream, unverified)
    assert upstream.asked == ["token", "userinfo"]


async def test_twenty_sign_ins_at_once_ask_for_metadata_and_keys_once(sign_in: SignIn, upstream: Any) -> None:
    await asyncio.gather(*[sign_in(upstream) for _ in range(20)])
    assert (upstream.asked.count("metadata"), upstream.asked.count("keys")) == (1, 1)


@pytest.mark.spec("RFC 6749 2.3.1")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
async def test_each_way_of_client_authentication(sign_in: SignIn, upstream: Any, method: str) -> None:
    upstream.token_answer = JSONResponse({"error": "invalid_client"}, 401)
    with pytest.raises(SignInFailed):
        await sign_in(upstream, upstream.provider(token_endpoint_auth_method=method))
    (request,) = upstream.token_requests
    assert request["scheme"] == ("Basic" if method == "client_secret_basic" else "")
    assert ("client_secret" in request) is (method == "client_secret_post")
    assert ("client_id" in request) is (method != "client_secret_basic")


@pytest.mark.spec("RFC 7636 4.6")
async def test_a_code_of_another_sign_in_is_refused_by_its_verifier(sign_in: SignIn, upstream: Any) -> None:
    provider = upstream.provider()
    stolen = upstream.authorize(await sign_in.depart(provider, new_secrets()))
    await refused("token_exchange_failed", sign_in.arrive(provider, new_secrets(), stolen))


async def test_without_pkce_the_nonce_still_binds_the_code(sign_in: SignIn, upstream: Any) -> None:
    provider = upstream.provider(pkce=False)
    kept = new_secrets()
    url = await sign_in.depart(provider, kept)
    assert "code_challenge" not in url
    assert (await sign_in.arrive(provider, kept, upstream.authorize(url))).subject == "alice-1"
    stolen = upstream.authorize(await sign_in.depart(provider, kept))
    await refused("id_token_invalid", sign_in.arrive(provider, new_secrets(), stolen))


@pytest.mark.spec("RFC 9207 2.4")
@pytest.mark.parametrize("iss", ["https://evil.test", "", "HTTP://127.0.0.1"])
async def test_a_foreign_iss_is_refused_before_anything_is_sent(sign_in: SignIn, upstream: Any, iss: str) -> None:
    await refused("issuer_mismatch", sign_in(upstream, iss=iss or f"{upstream.issuer}/"))
    assert "token" not in upstream.asked


@pytest.mark.spec("RFC 9207 2.4")
async def test_a_missing_iss_is_refused_where_it_was_promised(sign_in: SignIn, upstream: Any) -> None:
    upstream.metadata["authorization_response_iss_parameter_supported"] = True
    await refused("issuer_mismatch", sign_in(upstream))
    assert "token" not in upstream.asked
    assert (await sign_in(upstream, iss=upstream.issuer)).subject == "alice-1"


async def test_a_foreign_iss_beside_an_error_is_no_answer_of_this_provider(sign_in: SignIn, upstream: Any) -> None:
    await refused("issuer_mismatch", sign_in(upstream, error="access_denied", iss="https://evil.test"))


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ("access_denied", "access_denied"),
        ("login_required", "access_denied"),
        ("invalid_scope", "invalid_scope"),
        ("redirect_uri_mismatch", "redirect_uri_mismatch"),
        ("temporarily_unavailable", "provider_unreachable"),
        ("server_error", "provider_error"),
        ("canary\n<script>", "provider_error"),
    ],
)
async def test_an_error_of_the_provider_wins_over_a_code(
    sign_in: SignIn, upstream: Any, error: str, failure: str
) -> None:
    refusal = await refused(failure, sign_in(upstream, error=error))
    assert "canary" not in refusal.detail
    assert "token" not in upstream.asked


async def test_neither_code_nor_error(sign_in: SignIn, upstream: Any) -> None:
    await refused("provider_error", sign_in.arrive(upstream.provider(), new_secrets(), {"state": "state-1"}))


@pytest.mark.spec("OpenID Connect Core 3.1.3.3; RFC 6749 5")
@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        pytest.param(JSONResponse({"error": "invalid_grant"}, 400), "token_exchange_failed", id="invalid_grant"),
        pytest.param(JSONResponse({"error": "invalid_grant"}), "token_exchange_failed", id="an error with status 200"),
        pytest.param(JSONResponse({"error": {"a": 1}}, 400), "token_exchange_failed", id="an error that is an object"),
        pytest.param(
            JSONResponse({"error": "redirect_uri_mismatch"}, 400), "redirect_uri_mismatch", id="redirect_uri_mismatch"
        ),
        pytest.param(JSONResponse({"error": "invalid_scope"}, 400), "invalid_scope", id="invalid_scope"),
        pytest.param(PlainTextResponse("oops", 500), "token_exchange_failed", id="500"),
        pytest.param(PlainTextResponse("oops"), "token_exchange_failed", id="text"),
        pytest.param(PlainTextResponse("oops", 401), "token_exchange_failed", id="401 with text"),
        pytest.param(JSONResponse(["a"]), "token_exchange_failed", id="a list"),
        pytest.param(JSONResponse({}), "token_exchange_failed", id="an empty object"),
        pytest.param(Response(b'{"a":' * 40_000), "token_exchange_failed", id="nested without end"),
        pytest.param(Response(b"x" * 300_000), "token_exchange_failed", id="300 KB"),
        pytest.param(Response(b"\xff\xfe\x00"), "token_exchange_failed", id="not UTF-8"),
        pytest.param(RedirectResponse("http://127.0.0.1:1/"), "token_exchange_failed", id="a redirect"),
        pytest.param(JSONResponse({"access_token": "a", "token_type": "Bearer"}), "id_token_missing", id="no ID token"),
        pytest.param(JSONResponse({"access_token": "a", "id_token": 1}), "id_token_missing", id="ID token a number"),
        pytest.param(JSONResponse({"access_token": "a", "id_token": "x"}), "id_token_invalid", id="ID token a letter"),
        pytest.param(JSONResponse({"id_token": "x"}), "token_exchange_failed", id="no access token"),
        pytest.param(
            JSONResponse({"access_token": "a\r\nX-Evil: 1", "id_token": "x"}),
            "token_exchange_failed",
            id="access token with a header in it",
        ),
        pytest.param(
            JSONResponse({"access_token": "a", "id_token": "x", "expires_in": "soon"}),
            "id_token_invalid",
            id="expires_in a word",
        ),
        pytest.param(
            JSONResponse({"access_token": "a", "id_token": "x", "expires_in": [1]}),
            "id_token_invalid",
            id="expires_in a list",
        ),
        pytest.param(
            Response(b'{"access_token": "a", "id_token": "x", "expires_in": 1e999}'),
            "token_exchange_failed",
            id="expires_in without end",
        ),
    ],
)
async def test_a_hostile_token_endpoint_has_a_named_failure(
    sign_in: SignIn, upstream: Any, answer: Response, failure: str
) -> None:
    upstream.token_answer = answer
    await refused(failure, sign_in(upstream))


def with_claims(**claims: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {name: value for name, value in {**given, **claims}.items() if value is not ...}


@pytest.mark.spec("OpenID Connect Core 3.1.3.7")
@pytest.mark.parametrize(
    ("claims", "failure"),
    [
        pytest.param({"iss": "https://evil.test"}, "issuer_mismatch", id="iss"),
        pytest.param({"aud": "another"}, "id_token_invalid", id="aud"),
        pytest.param({"nonce": "another"}, "id_token_invalid", id="nonce"),
        pytest.param({"nonce": ...}, "id_token_invalid", id="no nonce"),
        pytest.param({"exp": 1}, "clock_skew", id="exp"),
        pytest.param({"iat": 4_000_000_000, "exp": 4_000_000_300}, "clock_skew", id="iat"),
        pytest.param({"at_hash": "AAAA"}, "id_token_invalid", id="at_hash"),
        pytest.param({"email": ...}, "missing_user_info", id="no name at all"),
    ],
)
async def test_a_hostile_id_token_has_a_named_failure(
    sign_in: SignIn, upstream: Any, claims: dict[str, object], failure: str
) -> None:
    upstream.alter = with_claims(**claims)
    await refused(failure, sign_in(upstream))


async def test_max_age_is_proved_by_the_provider(sign_in: SignIn, upstream: Any) -> None:
    provider, kept = upstream.provider(), new_secrets()
    answer = upstream.authorize(await sign_in.depart(provider, kept, Wishes(max_age_s=60)))
    await refused("id_token_invalid", sign_in.arrive(provider, kept, answer, max_age_s=60))
    upstream.alter = with_claims(auth_time=int(sign_in.clock().timestamp()) - 30)
    answer = upstream.authorize(await sign_in.depart(provider, kept, Wishes(max_age_s=60)))
    identity = await sign_in.arrive(provider, kept, answer, max_age_s=60)
    assert identity.auth_time == sign_in.clock() - timedelta(seconds=30)


@pytest.mark.spec("OpenID Connect Core 5.3.2")
@pytest.mark.parametrize(
    ("answer", "policy", "failure"),
    [
        pytest.param(JSONResponse({"sub": "bob-1"}), "merge", "userinfo_failed", id="about somebody else"),
        pytest.param(JSONResponse({"email": "a@b.test"}), "merge", "userinfo_failed", id="about nobody"),
        pytest.param(JSONResponse({"sub": ["alice-1"]}), "merge", "userinfo_failed", id="sub in a list"),
        pytest.param(JSONResponse({"sub": "alice-1"}, 500), "merge", "userinfo_failed", id="500"),
        pytest.param(Response("a.b.c", media_type="application/jwt"), "merge", "userinfo_failed", id="a JWT"),
        pytest.param(JSONResponse({"sub": "alice-1", "a": "\x00"}), "merge", "userinfo_failed", id="U+0000"),
        pytest.param(
            Response(b'{"sub":"alice-1","a":' + b"[" * 500 + b"]" * 500 + b"}", media_type="application/json"),
            "merge",
            "userinfo_failed",
            id="500 levels",
        ),
        pytest.param(RedirectResponse("http://127.0.0.1:1/"), "required", "userinfo_failed", id="a redirect"),
        pytest.param(JSONResponse({"sub": "bob-1"}), "never", None, id="not asked at all"),
    ],
)
async def test_userinfo_is_about_the_same_person_or_refused(
    sign_in: SignIn, upstream: Any, answer: Response, policy: str, failure: str | None
) -> None:
    upstream.userinfo_answer = answer
    provider = upstream.provider(userinfo=policy)
    if failure is None:
        assert (await sign_in(upstream, provider)).subject == "alice-1"
        assert "userinfo" not in upstream.asked
    else:
        await refused(failure, sign_in(upstream, provider))


async def test_userinfo_that_is_required_must_exist(sign_in: SignIn, upstream: Any) -> None:
    upstream.metadata["userinfo_endpoint"] = ""
    assert (await sign_in(upstream)).subject == "alice-1"
    await refused("userinfo_failed", sign_in(upstream, upstream.provider(userinfo="required")))


@pytest.mark.spec("OpenID Connect Discovery 4.3")
@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"issuer": "https://evil.test"}, id="another issuer"),
        pytest.param({"token_endpoint": "http://idp.acme.test/token"}, id="an endpoint over http"),
        pytest.param({"jwks_uri": ""}, id="no keys"),
        pytest.param({"response_types_supported": "\x00"}, id="U+0000"),
    ],
)
async def test_a_document_that_cannot_be_trusted_ends_the_sign_in(
    sign_in: SignIn, upstream: Any, metadata: dict[str, str]
) -> None:
    upstream.metadata = metadata
    await refused("provider_unreachable", sign_in.depart(upstream.provider(), new_secrets()))


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        ("metadata_answer", PlainTextResponse("gone", 404)),
        ("metadata_answer", RedirectResponse("http://169.254.169.254/latest/meta-data/")),
        ("metadata_answer", Response(b"x" * 300_000, media_type="application/json")),
        ("keys_answer", JSONResponse({"keys": [{"kty": "oct", "k": "AAAA"}] * 40})),
        ("keys_answer", JSONResponse({"nothing": 1})),
        ("keys_answer", Response(b"[" * 100_000, media_type="application/json")),
    ],
)
async def test_documents_that_cannot_be_read_are_not_kept(
    sign_in: SignIn, upstream: Any, part: str, answer: Response
) -> None:
    setattr(upstream, part, answer)
    await refused("provider_unreachable", sign_in(upstream))
    setattr(upstream, part, None)
    sign_in.clock.tick(seconds=5)
    upstream.now = sign_in.clock()
    assert (await sign_in(upstream)).subject == "alice-1"


@pytest.mark.parametrize(
    "issuer",
    [
        "http://127.0.0.1:1",
        "https://169.254.169.254",
        "https://10.0.0.1",
        "https://[::ffff:10.0.0.1]",
        "https://0x7f000001",
        "https://localhost:22",
        "https://no-such-host.invalid",
    ],
)
async def test_an_issuer_on_the_inside_is_not_reached(sign_in: SignIn, upstream: Any, issuer: str) -> None:
    await refused("provider_unreachable", sign_in.depart(upstream.provider(issuer=issuer), new_secrets()))


async def test_a_slow_document_holds_nobody_up_twice(sign_in: SignIn, upstream: Any) -> None:
    upstream.metadata_answer = PlainTextResponse("gone", 404)
    departures = [sign_in.depart(upstream.provider(), new_secrets()) for _ in range(10)]
    found = await asyncio.gather(*departures, return_exceptions=True)
    assert all(isinstance(each, SignInFailed) for each in found)
    assert upstream.asked == ["metadata"]


# Keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        pytest.param(RSAKey.generate_key(2048, {"kid": "r"}), "RS256", id="RS256"),
        pytest.param(RSAKey.generate_key(2048, {"kid": "p"}), "PS256", id="PS256"),
        pytest.param(OKPKey.generate_key("Ed25519", {"kid": "o"}), "EdDSA", id="EdDSA"),
    ],
)
async def test_each_algorithm_signs_in(sign_in: SignIn, upstream: Any, key: RSAKey | OKPKey, alg: str) -> None:
    upstream.key, upstream.alg = key, alg
    upstream.alter = with_claims(at_hash=...)
    assert (await sign_in(upstream)).subject == "alice-1"


async def test_a_new_key_is_asked_for_at_most_once_a_minute(sign_in: SignIn, upstream: Any) -> None:
    await sign_in(upstream)
    upstream.key = ECKey.generate_key("P-256", {"kid": "k2"})
    upstream.asked.clear()
    for _ in range(3):
        await refused("id_token_invalid", sign_in(upstream))
    assert "keys" not in upstream.asked
    _pass(sign_in, upstream, minutes=1, seconds=1)
    assert (await sign_in(upstream)).subject == "alice-1"
    assert upstream.asked.count("keys") == 1


async def test_who_needs_no_new_key_does_not_wait_for_those_who_ask_for_one(sign_in: SignIn, upstream: Any) -> None:
    """Anybody may post a logout token with a kid that nobody knows, and the provider may be slow."""
    await sign_in(upstream)
    _pass(sign_in, upstream, minutes=2)
    upstream.asked.clear()
    upstream.keys_gate = asyncio.Event()
    provider = upstream.provider()
    endpoints = await sign_in.connector.endpoints(provider)
    asking = asyncio.create_task(sign_in.connector.key_for(provider, endpoints, Header("ES256", "nobody's")))
    async with asyncio.timeout(4):
        while "keys" not in upstream.asked:
            await asyncio.sleep(0.01)
        assert (await sign_in(upstream)).subject == "alice-1"
    upstream.keys_gate.set()
    await refused("id_token_invalid", asking)


@pytest.mark.row(49)
async def test_a_key_that_was_removed_works_no_longer_than_ten_minutes(sign_in: SignIn, upstream: Any) -> None:
    old = upstream.key
    await sign_in(upstream)
    upstream.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "k1"}, claims, old, algorithms=["ES256"])
    upstream.key = ECKey.generate_key("P-256", {"kid": "k2"})
    _pass(sign_in, upstream, minutes=9)
    assert (await sign_in(upstream)).subject == "alice-1"
    _pass(sign_in, upstream, minutes=1, seconds=1)
    await refused("id_token_invalid", sign_in(upstream))


async def test_keys_that_are_too_old_are_not_used_when_the_provider_is_silent(sign_in: SignIn, upstream: Any) -> None:
    await sign_in(upstream)
    upstream.keys_answer = PlainTextResponse("down", 503)
    _pass(sign_in, upstream, minutes=11)
    await refused("provider_unreachable", sign_in(upstream))


@pytest.mark.row(49)
async def test_a_key_of_another_provider_verifies_nothing(sign_in: SignIn, upstream: Any, other_upstream: Any) -> None:
    await sign_in(other_upstream, other_upstream.provider("other"))
    foreign = other_upstream.key
    upstream.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "k1"}, claims, foreign, algorithms=["ES256"])
    await refused("id_token_invalid", sign_in(upstream))


async def test_two_providers_with_one_issuer_keep_their_documents_apart(sign_in: SignIn, upstream: Any) -> None:
    await sign_in(upstream, upstream.provider("one"))
    await sign_in(upstream, upstream.provider("two"))
    assert upstream.asked.count("keys") == upstream.asked.count("metadata") == 2


async def test_what_was_fetched_for_another_address_counts_as_absent(
    sign_in: SignIn, upstream: Any, other_upstream: Any
) -> None:
    await sign_in(upstream)
    moved = other_upstream.provider("acme")
    assert (await sign_in(other_upstream, moved)).issuer == other_upstream.issuer
    assert other_upstream.asked == ["metadata", "token", "keys", "userinfo"]


async def test_an_instance_uses_what_another_fetched(
    sign_in: SignIn, upstream: Any, fetched_nothing: TestDatabase, ways: Ways
) -> None:
    await sign_in(upstream)
    upstream.asked.clear()
    another = SignIn(connector_of(fetched_nothing, ways, sign_in.clock), sign_in.clock)
    assert (await another(upstream)).subject == "alice-1"
    assert upstream.asked == ["token", "userinfo"]


def _pass(sign_in: SignIn, upstream: Any, **delta: float) -> None:
    """Time goes by for us and for the provider."""
    sign_in.clock.tick(**delta)
    upstream.now = sign_in.clock()
