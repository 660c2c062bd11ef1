"""Request objects: what the client signed counts, and nothing else (threats 10, 16, 17 and 18)."""

import hmac
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import RSAKey
from tests.authz.conftest import CALLBACK, ISSUER, Rig, Visit
from tests.authz.test_par import HASH, basic, push, use

from watchword_authz.authorize import PARAMETERS
from watchword_authz.request_objects import InvalidRequestObject, params_of
from watchword_events.exports import ClientExport
from watchword_testkit.holder import LEFT_OUT, Holder, compact

TYPE = "oauth-authz-req+jwt"
ES256 = Holder()


def signer(rig: Rig, holder: Holder = ES256, **changes: Any) -> ClientExport:
    """A client that signs its requests."""
    given: dict[str, Any] = {"jwks": holder.jwks, "request_object_signing_alg": holder.alg, "secrets": [HASH]}
    return rig.client(**{**given, **changes})


def signed(visit: Visit, holder: Holder = ES256, header: dict[str, object] | None = None, **claims: object) -> str:
    """The visit's request as an object; LEFT_OUT leaves a claim out."""
    now_s = int(visit.rig.clock().timestamp())
    body = {**visit.query, "iss": visit.client.client_id, "aud": ISSUER, "iat": now_s, "exp": now_s + 60, **claims}
    head = {"alg": holder.alg, "kid": holder.kid, "typ": TYPE, **(header or {})}
    return compact(head, body, holder.key, holder.alg)


async def send(visit: Visit, request: str, **beside: str) -> None:
    """The browser arrives with the object, and with what stands beside it."""
    query = httpx2.QueryParams({"client_id": visit.client.client_id, "request": request, **beside})
    await visit.browser.open(f"{ISSUER}/oauth2/authorize?{query}")


def visit_of(rig: Rig, client: ClientExport | None = None, **params: str) -> Visit:
    return Visit(rig, rig.browser(), client or signer(rig), params)


@pytest.mark.spec("RFC 9101 4, 5, 6.2, 6.3; RFC 9101 5.2")
@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"])
async def test_what_was_signed_counts_and_what_stands_beside_it_does_not(rig: Rig, alg: str) -> None:
    holder, user = Holder(alg), await rig.person()
    visit = visit_of(rig, signer(rig, holder), scope="openid profile")
    beside = {"scope": "openid email", "state": "forged", "redirect_uri": "https://evil.example/", "prompt": "none"}
    await send(visit, signed(visit, holder), response_type="token", **beside)
    await visit.enter(user.username)
    code = await visit.code()
    assert (code.scope, code.redirect_uri, code.nonce) == (("openid", "profile"), CALLBACK, "n-1")
    assert visit.answer["state"] == visit.state


@pytest.mark.spec("RFC 9101 10.8; RFC 9126 3")
@pytest.mark.parametrize("typ", [TYPE, "JWT", "application/oauth-authz-req+jwt", LEFT_OUT])
async def test_types_that_a_request_may_have(rig: Rig, typ: object) -> None:
    visit = visit_of(rig)
    answer = await push(visit, basic(visit.client), request=signed(visit, header={"typ": typ}))
    assert answer.status_code == 201, answer.text
    await use(visit, answer.json()["request_uri"])
    assert visit.browser.page.has("sign-in")


async def test_json_in_an_object_is_json(rig: Rig) -> None:
    client = signer(rig, audience=["https://a.example", "https://b.example"], authorization_details_types=["payment"])
    visit, user = visit_of(rig, client), await rig.person()
    request = signed(
        visit,
        max_age=100,
        resource=["https://b.example", "https://a.example"],
        claims={"userinfo": {"name": None}},
        authorization_details=[{"type": "payment"}],
        aud=["https://other.example", ISSUER],
        unheard_of={"x": [1]},
    )
    await send(visit, request)
    await visit.enter(user.username)
    code = await visit.code()
    assert code.resource == ("https://b.example", "https://a.example")
    assert code.authorization_details == ({"type": "payment"},)
    assert code.claims_request is not None
    assert code.claims_request.userinfo == ("name",)


async def test_refusal_of_what_was_signed_goes_to_the_application(rig: Rig) -> None:
    visit = visit_of(rig)
    await send(visit, signed(visit, scope="watchword:admin"))
    assert (visit.answer["error"], visit.answer["state"]) == ("invalid_scope", visit.state)


async def test_foreign_redirect_uri_is_a_page_also_when_it_was_signed(rig: Rig) -> None:
    visit = visit_of(rig)
    await send(visit, signed(visit, redirect_uri="https://evil.example/cb"))
    assert (visit.browser.page.status, visit.browser.page.location) == (400, "")


NOW = 1_000_000_000
BAD_CLAIMS: dict[str, dict[str, object]] = {
    "of another client": {"iss": "another"},
    "no issuer": {"iss": LEFT_OUT},
    "issuer is a list": {"iss": ["a"]},
    "another client_id": {"client_id": "another"},
    "no client_id": {"client_id": LEFT_OUT},
    "for another server": {"aud": "https://evil.example"},
    "for the endpoint": {"aud": f"{ISSUER}/oauth2/authorize"},
    "for nobody": {"aud": LEFT_OUT},
    "for other servers": {"aud": ["https://evil.example"]},
    "audience is an object": {"aud": {ISSUER: 1}},
    "no end": {"exp": LEFT_OUT},
    "over": {"exp": NOW},
    "good for too long": {"exp": 4_000_000_000},
    "end is text": {"exp": "soon"},
    "end is true": {"exp": True},
    "of the future": {"iat": 4_000_000_000},
    "not yet": {"nbf": 4_000_000_000},
    "begin is text": {"nbf": "now"},
    "an assertion": {"sub": "CLIENT"},
    "a request within": {"request": "a.b.c"},
    "a request elsewhere": {"request_uri": "https://evil.example/r"},
    "scope is a list": {"scope": ["openid"]},
    "state is a number": {"state": 7},
    "nonce is an object": {"nonce": {}},
    "max_age is true": {"max_age": True},
    "max_age is a fraction": {"max_age": 1.5},
    "resource is a number": {"resource": 7},
    "resource holds a number": {"resource": ["https://a.example", 7]},
    "two resources in one": {"resource": "https://a.example https://b.example"},
    "claims is a number": {"claims": 7},
    "NUL": {"state": "a\x00"},
    "a lone surrogate": {"state": "\ud800"},
}


@pytest.mark.row(10)
@pytest.mark.spec("RFC 9101 4, 6.3, 10.2, 10.8")
@pytest.mark.parametrize("claims", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_object_that_says_something_wrong_is_refused(rig: Rig, claims: dict[str, object]) -> None:
    visit = visit_of(rig)
    claims = {name: visit.client.client_id if value == "CLIENT" else value for name, value in claims.items()}
    await refused_everywhere(visit, signed(visit, **claims))


async def refused_everywhere(visit: Visit, request: str) -> None:
    """A page for the browser, an error for the client, and never a redirect."""
    await send(visit, request, redirect_uri=CALLBACK, response_type="code", scope="openid")
    page = visit.browser.page
    assert (page.status, page.location, page.error_code) == (400, "", "invalid_request_object")
    answer = await push(visit, basic(visit.client), request=request)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request_object")


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(visit: Visit, kind: str) -> str:
    """An object that the client did not sign as it registered."""
    good = signed(visit)
    header, payload, signature = good.split(".")
    match kind:
        case "unsigned":
            return f"{NONE}.{payload}."
        case "unsigned, with a signature":
            return f"{NONE}.{payload}.{signature}"
        case "signature stripped":
            return f"{header}.{payload}."
        case "payload exchanged":
            return f"{header}.{signed(visit, scope='openid email').split('.')[1]}.{signature}"
        case "foreign key":
            return signed(visit, Holder(), header={"kid": ES256.kid})
        case "key in the header":
            other = Holder()
            return signed(visit, other, header={"jwk": other.jwk, "kid": LEFT_OUT})
        case "key elsewhere":
            return signed(visit, Holder(), header={"jku": "https://evil.example/jwks", "kid": "x"})
        case "HMAC with the public key":
            head = b64(json.dumps({"alg": "HS256", "kid": ES256.kid}).encode())
            mac = hmac.digest(json.dumps(ES256.jwk).encode(), f"{head}.{payload}".encode(), "sha256")
            return f"{head}.{payload}.{b64(mac)}"
        case "another algorithm of the client's":
            return signed(visit, Holder("EdDSA"))
        case "kid is a path":
            return signed(visit, Holder(), header={"kid": "../../dev/null"})
        case "kid is a number":
            return signed(visit, header={"kid": 7})
        case "critical extension":
            return signed(visit, header={"crit": ["x"], "x": 1})
        case "an access token by its type":
            return signed(visit, header={"typ": "at+jwt"})
        case "a logout token by its type":
            return signed(visit, header={"typ": "logout+jwt"})
        case "a proof by its type":
            return signed(visit, header={"typ": "dpop+jwt"})
        case "encrypted":
            key = RSAKey.generate_key(2048)
            protected = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "oauth-authz-req+jwt"}
            return jwe.encrypt_compact(protected, good.encode(), key, algorithms=["RSA-OAEP-256", "A256GCM"])
        case "raw JSON, encrypted":  # Keycloak CVE-2026-9793
            key = RSAKey.generate_key(2048)
            raw = json.dumps({**visit.query, "iss": visit.client.client_id, "aud": ISSUER}).encode()
            protected = {"alg": "RSA-OAEP-256", "enc": "A256GCM"}
            return jwe.encrypt_compact(protected, raw, key, algorithms=["RSA-OAEP-256", "A256GCM"])
        case "raw JSON":
            return json.dumps(visit.query)
        case "nested without end":
            return compact({"alg": "ES256", "kid": ES256.kid}, b"[" * 5000, ES256.key, "ES256")
        case "not an object":
            return compact({"alg": "ES256", "kid": ES256.kid}, b'["openid"]', ES256.key, "ES256")
        case "many dots":
            return "." * 2000
        case "too long":
            return "a" * 17_000 + ".b.c"
        case _:
            return "x"


NONE = b64(b'{"alg":"none"}')
FORGED = [
    "unsigned", "unsigned, with a signature", "signature stripped", "payload exchanged", "foreign key",
    "key in the header", "key elsewhere", "HMAC with the public key", "another algorithm of the client's",
    "kid is a path", "kid is a number", "critical extension", "an access token by its type",
    "a logout token by its type", "a proof by its type", "encrypted", "raw JSON, encrypted", "raw JSON",
    "nested without end", "not an object", "many dots", "too long", "garbage",
]  # fmt: skip


@pytest.mark.row(10)
@pytest.mark.spec("RFC 9101 6.2, 10.1, 10.2; RFC 8725 3.1, 3.11")
@pytest.mark.parametrize("kind", FORGED)
async def test_forged_object_is_refused(rig: Rig, kind: str) -> None:
    visit = visit_of(rig)
    await refused_everywhere(visit, forged(visit, kind))


async def test_object_is_over_after_a_minute(own_rig: Rig) -> None:
    visit = visit_of(own_rig)
    request = signed(visit)
    own_rig.clock.advance(timedelta(seconds=61))
    await refused_everywhere(visit, request)


async def test_client_that_registered_no_algorithm_has_no_objects(rig: Rig) -> None:
    visit = visit_of(rig, signer(rig, request_object_signing_alg=None))
    await send(visit, signed(visit), redirect_uri=CALLBACK, state="s")
    assert visit.answer["error"] == "request_not_supported"


@pytest.mark.spec("RFC 9101 10.5")
async def test_client_that_has_to_sign_is_refused_when_it_does_not(rig: Rig) -> None:
    visit = visit_of(rig, signer(rig, require_signed_request_object=True))
    await visit.start()
    assert (visit.answer["error"], visit.answer["state"]) == ("invalid_request", visit.state)
    assert (await push(visit, basic(visit.client))).json()["error"] == "invalid_request"
    await send(visit, signed(visit))
    assert visit.browser.page.has("sign-in")
    pushed = await push(visit, basic(visit.client), request=signed(visit))
    await use(visit, pushed.json()["request_uri"])
    assert visit.browser.page.has("sign-in")


@pytest.mark.spec("RFC 9126 3")
async def test_pushed_object_counts_alone(rig: Rig) -> None:
    visit, user = visit_of(rig, scope="openid"), await rig.person()
    answer = await push(visit, basic(visit.client), request=signed(visit), scope="openid email", state="forged")
    await use(visit, answer.json()["request_uri"])
    await visit.enter(user.username)
    assert ((await visit.code()).scope, visit.answer["state"]) == (("openid",), visit.state)


@pytest.fixture
def key_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where a client publishes its keys; the last of the list is what it answers."""
    documents: list[dict[str, Any]] = [{"keys": []}]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(documents[-1]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/jwk-set+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Nothing is said."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks", documents
    server.shutdown()
    server.server_close()


@pytest.mark.spec("OpenID Connect Core 10.1.1")
async def test_published_key_is_found(rig: Rig, key_server: tuple[str, list[dict[str, Any]]]) -> None:
    url, documents = key_server
    documents.append(dict(ES256.jwks))
    visit = visit_of(rig, signer(rig, jwks=None, jwks_uri=url))
    await send(visit, signed(visit))
    assert visit.browser.page.has("sign-in")
    await refused_everywhere(visit, signed(visit, Holder()))


async def test_keys_that_cannot_be_had_are_no_reason_to_believe(rig: Rig) -> None:
    for uri in ("http://127.0.0.1:9/jwks", "https://169.254.169.254/jwks", "file:///etc/passwd"):
        visit = visit_of(rig, signer(rig, jwks=None, jwks_uri=uri))
        await refused_everywhere(visit, signed(visit))


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(PARAMETERS)) | st.text(max_size=8), _VALUE, max_size=6))
def test_any_claims_become_parameters_or_a_refusal(claims: dict[str, Any]) -> None:
    try:
        params = params_of(claims, PARAMETERS)
    except InvalidRequestObject:
        return
    assert params.keys() <= PARAMETERS & claims.keys()
    assert all(isinstance(value, str) and value for value in params.values())
    assert all(params[name] == value for name, value in claims.items() if name in params and isinstance(value, str))
