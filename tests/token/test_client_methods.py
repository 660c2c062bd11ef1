"""Assertions, certificates and addresses as client authentication, at every endpoint that clients call.

What an assertion and a certificate must be: tests/runtime/test_client_assertions.py, test_certificates.py.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from joserfc.jwk import OctKey
from tests.token.conftest import ISSUER, MASTER, App, Site

from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.client_assertions import TYPE
from watchword_runtime.keyring import Keyring, Sealer, derive_service_keys
from watchword_testkit.authority import Authority
from watchword_testkit.holder import LEFT_OUT, Holder
from watchword_verifier.possession import certificate_thumbprint

ENDPOINTS: Final = {
    "/oauth2/token": {"grant_type": "client_credentials"},
    "/oauth2/introspect": {"token": "x"},
    "/oauth2/revoke": {"token": "x"},
}
MACHINE: Final = ENDPOINTS["/oauth2/token"]
HEADER: Final = "X-Client-Cert"
SECRET: Final = "a secret that is kept so that it can be read"
DN: Final = "CN=app,O=Example"
OURS: Final = Authority("Our clients")


def asserted(site: Site, app: App, holder: Holder, **changes: Any) -> dict[str, str]:
    """A fresh client assertion as form fields."""
    audience = changes.pop("audience", ISSUER)
    assertion = holder.assertion(app.id, audience, now=site.clock().timestamp(), **changes)
    site.canary.add("client assertion", assertion)
    return {"client_assertion_type": TYPE, "client_assertion": assertion}


async def with_key(site: Site, holder: Holder, **given: Any) -> App:
    """A client that signs with a key."""
    return await site.client(token_endpoint_auth_method="private_key_jwt", secrets=[], jwks=holder.jwks, **given)


async def with_secret(site: Site, **given: Any) -> tuple[App, Holder]:
    """A client that signs with a secret, which admin sealed for us."""
    client_id = given.pop("client_id", "") or f"app-{len(site.owners.owned['client'])}"
    keyring = Keyring(json.dumps(derive_service_keys(MASTER, Service.ADMIN)))
    sealed = Sealer(keyring.key("client-secrets"), 99).seal(SECRET.encode(), client_id.encode())
    stored = {"id": "1", "hash": f"sealed:{base64.b64encode(sealed).decode()}"}
    app = await site.client(
        client_id=client_id,
        token_endpoint_auth_method="client_secret_jwt",
        secrets=[stored],
        secret=SECRET,
        **given,
    )
    return app, Holder("HS256", OctKey.import_key(SECRET))


@pytest.mark.spec("RFC 7523 2.2; RFC 7521 4.2; OpenID Connect Core 9")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_assertion_proves_the_client_at_every_endpoint_once(site: Site, path: str) -> None:
    holder = Holder()
    by_secret, secret_holder = await with_secret(site)
    for app, signer in ((await with_key(site, holder), holder), (by_secret, secret_holder)):
        changes = {"header": {"kid": LEFT_OUT}} if signer is secret_holder else {}
        for named in ({}, {"client_id": app.id}):
            fields = asserted(site, app, signer, **changes)
            answer = await site.http.post(path, data={**ENDPOINTS[path], **fields, **named})
            assert answer.status_code == 200, answer.text
            for other in ENDPOINTS:
                again = await site.http.post(other, data={**ENDPOINTS[other], **fields})
                assert (again.status_code, again.json()["error"]) == (401, "invalid_client")


async def test_of_many_requests_with_one_assertion_one_succeeds(site: Site) -> None:
    holder = Holder()
    app = await with_key(site, holder)
    fields = {**MACHINE, **asserted(site, app, holder)}
    answers = await asyncio.gather(*(site.http.post("/oauth2/token", data=fields) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19


async def test_a_token_is_made_once_however_late_this_instance_is(own_site: Site) -> None:
    """Begun again because it had not applied enough, a request does not need its assertion a second time."""
    site, holder = own_site, Holder()
    app = await with_key(site, holder)
    code = await site.code(app, await site.user(), rev=site.feed.position + 1)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app.example.test/callback"}
    form |= {"code_verifier": "a-code-verifier-of-forty-three-characters-or-more", **asserted(site, app, holder)}
    asking = asyncio.create_task(site.http.post("/oauth2/token", data=form))
    await asyncio.sleep(0.1)
    await site.revoke(Claim.JTI, "something-else")
    answer = await asking
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_client_that_the_ledger_ended_proves_nothing_where_its_copy_is_older(site: Site, path: str) -> None:
    """It was disabled or deleted a moment ago: the entry is here before its owner's event."""
    app = await site.client()
    given = {"data": ENDPOINTS[path], "auth": (app.id, app.secret)}
    assert (await site.http.post(path, **given)).status_code == 200  # type: ignore[arg-type]  # keywords of post
    await site.revoke(Claim.CLIENT_ID, app.id, kind=RevocationKind.STATE)
    answer = await site.http.post(path, **given)  # type: ignore[arg-type]  # keywords of post
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    await site.revoke(Claim.CLIENT_ID, app.id, kind=RevocationKind.LIFT)
    assert (await site.http.post(path, **given)).status_code == 200  # type: ignore[arg-type]  # keywords of post


@pytest.mark.spec("RFC 6749 2.3; RFC 7521 4.2")
async def test_wrong_assertions_get_one_answer_that_says_nothing(site: Site) -> None:
    holder = Holder()
    app, other = await with_key(site, holder), await with_key(site, Holder())
    basic = await site.client()
    signing, signer = await with_secret(site)
    good = asserted(site, app, holder)
    attempts: dict[str, dict[str, str]] = {
        "for the token endpoint": asserted(site, app, holder, audience=f"{ISSUER}/oauth2/token"),
        "for several": asserted(site, app, holder, audience=[ISSUER]),
        "another key": asserted(site, app, Holder()),
        "another client's key": asserted(site, other, holder),
        "over": asserted(site, app, holder, exp=int(site.clock().timestamp())),
        "about somebody unknown": asserted(site, App(app.export.model_copy(update={"client_id": "x"}), ""), holder),
        "the key of a client that uses a secret": asserted(site, basic, holder),
        "a secret of a client that uses a key": asserted(site, app, signer, header={"kid": LEFT_OUT}),
        "a key of a client that signs with a secret": asserted(site, signing, holder),
        "the signing secret sent": {"client_id": signing.id, "client_secret": SECRET},
        "another type": {**good, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        "no type": {"client_assertion": good["client_assertion"]},
        "no JWT": {**good, "client_assertion": "x"},
        "the name alone": {"client_id": app.id},
    }
    seen = set()
    for name, fields in attempts.items():
        answer = await site.http.post("/oauth2/token", data={**MACHINE, **fields})
        assert answer.status_code == 401, name
        seen.add(answer.text)
    assert len(seen) == 1
    for both in ({"auth": (app.id, "x")}, {"data": {"client_secret": "x"}}, {"data": {"client_id": basic.id}}):
        given: dict[str, Any] = {**both, "data": {**MACHINE, **good, **both.get("data", {})}}  # type: ignore[dict-item]  # a mapping
        answer = await site.http.post("/oauth2/token", **given)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_every_secret_of_a_client_signs_while_they_are_being_changed(site: Site) -> None:
    keyring = Keyring(json.dumps(derive_service_keys(MASTER, Service.ADMIN)))
    sealer, secrets = Sealer(keyring.key("client-secrets"), 98), ["first " * 8, "second" * 8]
    hashes = [
        {"id": s[:5], "hash": f"sealed:{base64.b64encode(sealer.seal(s.encode(), b'two')).decode()}"} for s in secrets
    ]
    app = await site.client(
        client_id="two", token_endpoint_auth_method="client_secret_jwt", secrets=hashes, secret=secrets[0]
    )
    for secret in secrets:
        fields = asserted(site, app, Holder("HS256", OctKey.import_key(secret)), header={"kid": LEFT_OUT})
        assert (await site.http.post("/oauth2/token", data={**MACHINE, **fields})).status_code == 200


@pytest.mark.spec("OpenID Connect Discovery 3; RFC 8414 2")
async def test_discovery_names_what_works_here(site: Site) -> None:
    document = (await site.http.get("/.well-known/openid-configuration")).json()
    for endpoint in ("token", "introspection", "revocation"):
        methods = document[f"{endpoint}_endpoint_auth_methods_supported"]
        assert {"private_key_jwt", "client_secret_jwt"} <= set(methods)
        assert not any("tls" in method for method in methods)
        algs = document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert algs == ["RS256", "PS256", "ES256", "EdDSA", "Ed25519", "HS256"]
    assert document["tls_client_certificate_bound_access_tokens"] is False


# Certificates --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxied(
    site_factory: Callable[..., AbstractAsyncContextManager[Site]], tmp_path: Path
) -> AsyncIterator[Site]:
    """An installation behind a proxy that passes on client certificates; requests come from that proxy."""
    ca = tmp_path / "ca.pem"
    ca.write_text(OURS.pem)
    async with site_factory(
        trusted_proxies="127.0.0.1/32", client_certificate_header=HEADER, client_ca_file=ca
    ) as made:
        yield made


def showing(certificate: bytes, **more: str) -> dict[str, str]:
    return {HEADER: base64.b64encode(certificate).decode(), **more}


def from_peer(site: Site, peer: str) -> httpx2.AsyncClient:
    """A client that connects from another address."""
    transport = site.http._transport
    assert isinstance(transport, httpx2.ASGITransport)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(transport.app, client=(peer, 1)), base_url=ISSUER)


@pytest.mark.spec("RFC 8705 2; RFC 8705 2.1")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_certificate_proves_the_client_at_every_endpoint(proxied: Site, path: str) -> None:
    site, own = proxied, OURS.client_certificate(DN, self_signed=True)
    key = {"kty": "EC", "x5c": [base64.b64encode(own).decode()]}
    vouched = await site.client(token_endpoint_auth_method="tls_client_auth", secrets=[], tls_client_auth_subject_dn=DN)
    registered = await site.client(
        token_endpoint_auth_method="self_signed_tls_client_auth", secrets=[], jwks={"keys": [key]}
    )
    theirs = OURS.client_certificate(DN)
    for app, certificate, other in ((vouched, theirs, own), (registered, own, theirs)):
        form = {**ENDPOINTS[path], "client_id": app.id}
        answer = await site.http.post(path, data=form, headers=showing(certificate))
        assert answer.status_code == 200, answer.text
        refused = {
            "no certificate": await site.http.post(path, data=form),
            "another certificate": await site.http.post(path, data=form, headers=showing(other)),
            "no certificate at all": await site.http.post(path, data=form, headers={HEADER: "x"}),
            "twice": await site.http.post(path, data=form, headers=[*showing(certificate).items()] * 2),
            "a secret": await site.http.post(
                path, data=ENDPOINTS[path], auth=(app.id, "x"), headers=showing(certificate)
            ),
        }
        async with from_peer(site, "192.0.2.66") as stranger:
            refused["not the proxy"] = await stranger.post(path, data=form, headers=showing(certificate))
            forged = showing(certificate, **{"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"})
            refused["not the proxy, which says it is"] = await stranger.post(path, data=form, headers=forged)
        for name, answer in refused.items():
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), name


@pytest.mark.spec("RFC 8705 3; RFC 8705 3.1; RFC 8705 3.2")
@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
async def test_tokens_may_be_bound_to_the_certificate(proxied: Site, token_format: str) -> None:
    site, certificate = proxied, OURS.client_certificate(DN)
    app = await site.client(tls_client_certificate_bound_access_tokens=True, access_token_format=token_format)
    without = await site.http.post("/oauth2/token", data=MACHINE, auth=app.basic)
    assert (without.status_code, without.json()["error"]) == (400, "invalid_request")
    code = await site.code(app, await site.user())
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://app.example.test/callback",
        "code_verifier": "a-code-verifier-of-forty-three-characters-or-more",
    }
    answer = await site.http.post("/oauth2/token", data=form, auth=app.basic, headers=showing(certificate))
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    site.canary.add("token", tokens["access_token"], tokens["refresh_token"])
    assert tokens["token_type"] == "Bearer"
    found = await site.introspect(app, tokens["access_token"])
    assert found["cnf"] == {"x5t#S256": certificate_thumbprint(certificate)}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await site.http.get("/oauth2/userinfo", headers={**bearer, **showing(certificate)})).status_code == 200
    other = showing(OURS.client_certificate(DN))
    for headers in (bearer, {**bearer, **other}):
        refused = await site.http.get("/oauth2/userinfo", headers=headers)
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]


@pytest.mark.spec("RFC 8705 7.1")
async def test_a_public_clients_refresh_token_is_bound_to_its_certificate(proxied: Site) -> None:
    site, certificate = proxied, OURS.client_certificate(DN)
    app = await site.client(token_endpoint_auth_method="none", tls_client_certificate_bound_access_tokens=True)
    form = {
        "client_id": app.id,
        "grant_type": "authorization_code",
        "code": await site.code(app, await site.user()),
        "redirect_uri": "https://app.example.test/callback",
        "code_verifier": "a-code-verifier-of-forty-three-characters-or-more",
    }
    tokens = (await site.http.post("/oauth2/token", data=form, headers=showing(certificate))).json()
    refresh = {"client_id": app.id, "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refused = await site.http.post("/oauth2/token", data=refresh, headers=showing(OURS.client_certificate(DN)))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    answer = await site.http.post("/oauth2/token", data=refresh, headers=showing(certificate))
    assert answer.status_code == 200, answer.text
    site.canary.add("token", *(answer.json()[name] for name in ("access_token", "refresh_token")))


async def test_a_client_whose_tokens_are_bound_to_its_certificate_brings_no_other_key(proxied: Site) -> None:
    site = proxied
    app = await site.client(tls_client_certificate_bound_access_tokens=True)
    proof = site.proof(Holder(), nonce=await site.nonce(await site.client()))
    headers = showing(OURS.client_certificate(DN), DPoP=proof)
    refused = await site.http.post("/oauth2/token", data=MACHINE, auth=app.basic, headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


@pytest.mark.spec("RFC 8705 3.3")
async def test_discovery_names_certificates_where_they_work(proxied: Site) -> None:
    document = (await proxied.http.get("/.well-known/openid-configuration")).json()
    assert {"tls_client_auth", "self_signed_tls_client_auth"} <= set(document["token_endpoint_auth_methods_supported"])
    assert document["tls_client_certificate_bound_access_tokens"] is True


# Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.row(50)
@pytest.mark.parametrize(
    ("path", "method"), [*((path, "client_secret_basic") for path in ENDPOINTS), ("/oauth2/revoke", "none")]
)
async def test_a_client_may_be_bound_to_addresses(proxied: Site, path: str, method: str) -> None:
    site = proxied
    app = await site.client(
        token_endpoint_auth_method=method, client_ip_ranges=["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"]
    )
    form = ENDPOINTS[path] if app.basic else {**app.form, **ENDPOINTS[path]}
    rows: list[tuple[str, dict[str, str], bool]] = [
        ("192.0.2.1", {}, True),
        ("::ffff:192.0.2.1", {}, True),
        ("2001:db8::1", {}, True),
        ("198.51.100.7", {}, True),
        ("198.51.100.8", {}, False),
        ("203.0.113.5", {}, False),
        ("203.0.113.5", {"X-Forwarded-For": "192.0.2.1"}, False),
        ("203.0.113.5", {"Forwarded": "for=192.0.2.1", "X-Real-IP": "192.0.2.1"}, False),
        ("192.0.2.1", {"X-Forwarded-For": "203.0.113.5"}, True),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, True),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.5, 192.0.2.1"}, True),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1, 203.0.113.5"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1:4711"}, True),
        ("127.0.0.1", {"X-Forwarded-For": "nonsense"}, False),
        ("127.0.0.1", {}, False),
    ]
    for peer, headers, is_inside in rows:
        async with from_peer(site, peer) as http:
            answer = await http.post(path, data=form, auth=app.basic, headers=headers)
        assert (answer.status_code == 200) is is_inside, (peer, headers, answer.text)
        if not is_inside:
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_two_forwarded_headers_are_one_list(proxied: Site) -> None:
    app = await proxied.client(client_ip_ranges=["192.0.2.0/24"])
    for order, status in ((("192.0.2.1", "203.0.113.5"), 401), (("203.0.113.5", "192.0.2.1"), 200)):
        headers = [("X-Forwarded-For", value) for value in order]
        answer = await proxied.http.post("/oauth2/token", data=MACHINE, auth=app.basic, headers=headers)
        assert answer.status_code == status


async def test_assertions_end_with_their_time(own_site: Site) -> None:
    site, holder = own_site, Holder()
    app = await with_key(site, holder)
    fields = asserted(site, app, holder)
    site.clock.advance(timedelta(seconds=61))
    assert (await site.http.post("/oauth2/token", data={**MACHINE, **fields})).status_code == 401
