"""DPoP at the token endpoint, at userinfo and in introspection. What a proof is: tests/verifier/test_dpop.py."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Final

import pytest
from tests.token.conftest import CALLBACK, ISSUER, VERIFIER, App, Site

from watchword_testkit.holder import Holder
from watchword_verifier.dpop import ALGORITHMS

MACHINE: Final = {"grant_type": "client_credentials"}
USERINFO: Final = f"{ISSUER}/oauth2/userinfo"


@pytest.fixture
async def public(site: Site) -> App:
    """An application without a secret."""
    return await site.client(token_endpoint_auth_method="none")


def code_form(code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }


async def signed_in(site: Site, app: App, holder: Holder, **given: Any) -> dict[str, Any]:
    """The token answer of a sign-in whose tokens are bound to the holder's key."""
    nonce = await site.nonce(app)
    code = await site.code(app, await site.user(), **given)
    answer = await site.prove(app, code_form(code), site.proof(holder, nonce=nonce))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    site.canary.add("token", found["access_token"], found["refresh_token"])
    return found


@pytest.mark.spec("RFC 6749 7.1; RFC 9449 5; RFC 9449 6; RFC 7800 3.1")
@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
async def test_a_token_is_bound_to_the_key_of_the_proof(site: Site, alg: str, token_format: str) -> None:
    app, holder = await site.client(access_token_format=token_format), Holder(alg)
    nonce = await site.nonce(app)
    answer = await site.prove(app, MACHINE, site.proof(holder, nonce=nonce))
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    assert answer.headers["dpop-nonce"]
    found = await site.introspect(app, answer.json()["access_token"])
    assert (found["active"], found["token_type"], found["cnf"]) == (True, "DPoP", {"jkt": holder.thumbprint})


@pytest.mark.spec("RFC 9449 8; RFC 9449 8.2")
async def test_who_has_no_nonce_or_an_old_one_is_given_one(own_site: Site) -> None:
    site, app, holder = own_site, await own_site.client(), Holder()
    for nonce in (None, "guessed", "ä"):
        refused = await site.prove(app, MACHINE, site.proof(holder, nonce=nonce))
        assert (refused.status_code, refused.json()["error"]) == (400, "use_dpop_nonce")
        assert refused.headers["cache-control"] == "no-store"
    first = refused.headers["dpop-nonce"]
    site.clock.advance(timedelta(seconds=60))
    answer = await site.prove(app, MACHINE, site.proof(holder, nonce=first))
    assert answer.status_code == 200, answer.text
    assert answer.headers["dpop-nonce"] != first
    site.clock.advance(timedelta(seconds=120))
    refused = await site.prove(app, MACHINE, site.proof(holder, nonce=first))
    assert (refused.json()["error"], refused.headers["dpop-nonce"] != first) == ("use_dpop_nonce", True)


async def test_an_installation_may_do_without_nonces(
    site_factory: Callable[..., AbstractAsyncContextManager[Site]],
) -> None:
    async with site_factory(token_dpop_nonces=False) as site:
        app, holder = await site.client(), Holder()
        answer = await site.prove(app, MACHINE, site.proof(holder))
        assert answer.status_code == 200, answer.text
        assert "dpop-nonce" not in answer.headers
        for off_s in (-61, 61):
            refused = await site.prove(app, MACHINE, site.proof(holder, now=site.clock().timestamp() + off_s))
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")


@pytest.mark.row(19)
@pytest.mark.spec("RFC 9449 4.3; RFC 9449 5")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"method": "GET"}, id="another method"),
        pytest.param({"url": f"{ISSUER}/oauth2/userinfo"}, id="another endpoint"),
        pytest.param({"url": "https://evil.example/oauth2/token"}, id="another server"),
        pytest.param({"now": 1_000_000_000.0}, id="an old proof"),
        pytest.param({"now": 4_000_000_000.0}, id="a proof of the future"),
        pytest.param({"header": {"typ": "JWT"}}, id="another type"),
        pytest.param({"header": {"alg": "none"}}, id="alg none"),
        pytest.param({"jti": ""}, id="no jti"),
    ],
)
async def test_what_is_no_proof_for_this_request_is_refused(site: Site, changes: dict[str, Any]) -> None:
    app = await site.client()
    proof = site.proof(Holder(), nonce=await site.nonce(app), **changes)
    refused = await site.prove(app, MACHINE, proof)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")


async def test_what_cannot_be_read_is_no_proof(site: Site) -> None:
    app = await site.client()
    for proof in ("", "x", "a.b.c", "{}", "x" * 8000):
        refused = await site.prove(app, MACHINE, proof)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof"), proof


@pytest.mark.spec("RFC 9449 4.3")
async def test_two_proofs_are_none(site: Site) -> None:
    app = await site.client()
    nonce = await site.nonce(app)
    headers = [("DPoP", site.proof(Holder(), nonce=nonce)) for _ in range(2)]
    refused = await site.http.post("/oauth2/token", data=MACHINE, auth=app.basic, headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")


@pytest.mark.row(19)
@pytest.mark.spec("RFC 9449 11.1")
async def test_of_many_requests_with_one_proof_one_succeeds(site: Site) -> None:
    app = await site.client()
    proof = site.proof(Holder(), nonce=await site.nonce(app))
    answers = await asyncio.gather(*(site.prove(app, MACHINE, proof) for _ in range(20)))
    assert sorted(a.status_code for a in answers) == [200] + [400] * 19
    assert {a.json()["error"] for a in answers if a.status_code == 400} == {"invalid_dpop_proof"}


async def test_anothers_jti_is_another(site: Site) -> None:
    app = await site.client()
    nonce = await site.nonce(app)
    for holder in (Holder(), Holder()):
        answer = await site.prove(app, MACHINE, site.proof(holder, nonce=nonce, jti="the same"))
        assert answer.status_code == 200, answer.text


@pytest.mark.spec("RFC 9449 5.2")
async def test_a_client_may_have_to_prove_a_key(site: Site) -> None:
    app = await site.client(dpop_bound_access_tokens=True)
    refused = await site.prove(app, MACHINE, None)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")
    answer = await site.prove(app, MACHINE, site.proof(Holder(), nonce=await site.nonce(app)))
    assert answer.json()["token_type"] == "DPoP"


@pytest.mark.spec("RFC 9449 10")
async def test_a_code_that_is_bound_to_a_key_is_redeemed_with_it_alone(site: Site, public: App) -> None:
    holder = Holder()
    nonce = await site.nonce(public)
    code = await site.code(public, await site.user(), dpop_jkt=holder.thumbprint)
    for proof in (None, site.proof(Holder(), nonce=nonce)):
        refused = await site.prove(public, code_form(code), proof)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    answer = await site.prove(public, code_form(code), site.proof(holder, nonce=nonce))
    assert answer.status_code == 200, answer.text


@pytest.mark.spec("RFC 9449 5")
async def test_a_public_clients_refresh_token_is_bound_to_its_key(site: Site, public: App) -> None:
    holder = Holder()
    tokens = await signed_in(site, public, holder)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    nonce = await site.nonce(public)
    for proof in (None, site.proof(Holder(), nonce=nonce)):
        refused = await site.prove(public, form, proof)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    answer = await site.prove(public, form, site.proof(holder, nonce=nonce))
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    # The thief of a token that was replaced can neither use it nor end the family.
    assert (await site.prove(public, form, None)).json()["error"] == "invalid_grant"
    form["refresh_token"] = answer.json()["refresh_token"]
    answer = await site.prove(public, form, site.proof(holder, nonce=nonce))
    assert answer.status_code == 200, answer.text


async def test_who_proves_the_key_may_retry_for_ten_seconds(own_site: Site) -> None:
    site, holder = own_site, Holder()
    public = await site.client(token_endpoint_auth_method="none")
    tokens = await signed_in(site, public, holder)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    nonce, answers = await site.nonce(public), []
    for _ in range(2):
        answers.append((await site.prove(public, form, site.proof(holder, nonce=nonce))).json())
        site.clock.advance(timedelta(seconds=9))
    assert answers[0]["refresh_token"] == answers[1]["refresh_token"]


async def test_a_confidential_client_may_change_its_key(site: Site) -> None:
    app = await site.client()
    tokens = await signed_in(site, app, Holder())
    newer = Holder()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = await site.prove(app, form, site.proof(newer, nonce=await site.nonce(app)))
    found = await site.introspect(app, answer.json()["access_token"])
    assert found["cnf"] == {"jkt": newer.thumbprint}


# Userinfo ------------------------------------------------------------------------------------------------------------


async def ask_userinfo(site: Site, token: str, scheme: str, *proofs: str, method: str = "GET") -> Any:
    headers = [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]
    return await site.http.request(method, "/oauth2/userinfo", headers=headers)


@pytest.mark.spec("RFC 9449 7.1; RFC 9449 9")
@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
async def test_userinfo_takes_a_bound_token_from_its_holder(site: Site, token_format: str) -> None:
    app, holder = await site.client(access_token_format=token_format), Holder()
    token = (await signed_in(site, app, holder))["access_token"]
    asked = await ask_userinfo(site, token, "DPoP", site.proof(holder, method="GET", url=USERINFO, token=token))
    assert asked.status_code == 401
    assert 'error="use_dpop_nonce"' in asked.headers["www-authenticate"]
    nonce = asked.headers["dpop-nonce"]
    for method, scheme in (("GET", "DPoP"), ("POST", "dpop")):
        proof = site.proof(holder, method=method, url=USERINFO, token=token, nonce=nonce)
        answer = await ask_userinfo(site, token, scheme, proof, method=method)
        assert answer.status_code == 200, answer.text
        again = await ask_userinfo(site, token, scheme, proof, method=method)
        assert 'error="invalid_dpop_proof"' in again.headers["www-authenticate"]


@pytest.mark.row(19)
@pytest.mark.spec("RFC 9449 7.1; RFC 9449 7.2")
async def test_userinfo_refuses_a_bound_token_from_anybody_else(site: Site) -> None:
    app, holder = await site.client(), Holder()
    token = (await signed_in(site, app, holder))["access_token"]
    plain = (await site.sign_in(app))["access_token"]
    nonce = await site.nonce(app)

    def proof(by: Holder = holder, of: str | None = token, **changes: Any) -> str:
        given = {"method": "GET", "url": USERINFO, "nonce": nonce, **changes}
        return site.proof(by, token=of, **given)

    dpop, bearer = "DPoP realm", "Bearer realm"
    rows = {
        "as a bearer": (await site.userinfo(token), bearer, "invalid_token"),
        "as a bearer with a proof": (await ask_userinfo(site, token, "Bearer", proof()), bearer, "invalid_token"),
        "in a form": (
            await site.http.post("/oauth2/userinfo", data={"access_token": token}, headers={"DPoP": proof()}),
            bearer,
            "invalid_token",
        ),
        "without a proof": (await ask_userinfo(site, token, "DPoP"), dpop, "invalid_dpop_proof"),
        "two proofs": (await ask_userinfo(site, token, "DPoP", proof(), proof()), dpop, "invalid_dpop_proof"),
        "another's proof": (await ask_userinfo(site, token, "DPoP", proof(Holder())), dpop, "invalid_token"),
        "for another token": (await ask_userinfo(site, token, "DPoP", proof(of=plain)), dpop, "invalid_dpop_proof"),
        "without ath": (await ask_userinfo(site, token, "DPoP", proof(of=None)), dpop, "invalid_dpop_proof"),
        "for another method": (
            await ask_userinfo(site, token, "DPoP", proof(method="POST")),
            dpop,
            "invalid_dpop_proof",
        ),
        "for the token endpoint": (
            await ask_userinfo(site, token, "DPoP", proof(url=f"{ISSUER}/oauth2/token")),
            dpop,
            "invalid_dpop_proof",
        ),
        "a token that is bound to nothing": (
            await ask_userinfo(site, plain, "DPoP", proof(of=plain)),
            dpop,
            "invalid_token",
        ),
    }
    for name, (answer, challenge, error) in rows.items():
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith(challenge), name
        assert f'error="{error}"' in answer.headers["www-authenticate"], name
        assert ("algs=" in answer.headers["www-authenticate"]) is (challenge == dpop), name


@pytest.mark.spec("RFC 9449 5.1")
async def test_discovery_names_the_algorithms_that_work(site: Site) -> None:
    document = (await site.http.get("/.well-known/openid-configuration")).json()
    assert document["dpop_signing_alg_values_supported"] == list(ALGORITHMS)
