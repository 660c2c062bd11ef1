"""A client with the FAPI 2.0 profile, from its pushed request to its refreshed tokens; and each shortcut refused."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import pytest

from watchword_runtime.client_assertions import TYPE
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.holder import Holder
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD: Final = "correct horse battery staple"


@dataclass
class Bank:
    """The application: a key to prove itself, and another that its tokens are bound to."""

    platform: Platform
    party: Party
    browser: Browser
    canary: Canary
    key: Holder = field(default_factory=Holder)
    tokens_key: Holder = field(default_factory=lambda: Holder("EdDSA"))
    nonce: str | None = None

    async def post(
        self, path: str, form: dict[str, str], *, key: Holder | None = None, proof: Holder | None = None
    ) -> httpx2.Response:
        """A form with a fresh assertion, and with a DPoP proof where a holder is given for it."""
        issuer, signer = self.platform.issuer, key or self.key
        assertion = signer.assertion(self.party.client_id, issuer, header={"kid": self.key.kid})
        self.canary.add("client assertion", assertion)
        url = f"{issuer}/oauth2/{path}"
        headers = {} if proof is None else {"DPoP": proof.proof("POST", url, nonce=self.nonce)}
        async with http_client(timeout=20.0) as http:
            answer = await http.post(
                url, data={**form, "client_assertion_type": TYPE, "client_assertion": assertion}, headers=headers
            )
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        if answer.status_code == 400 and answer.json()["error"] == "use_dpop_nonce":
            return await self.post(path, form, key=key, proof=proof)
        if answer.status_code < 300:
            body: dict[str, Any] = answer.json()
            names = ("request_uri", "access_token", "refresh_token", "id_token")
            self.canary.add("issued", *(body[name] for name in names if name in body))
        return answer

    async def sign_in(self, username: str, **params: str) -> SignIn:
        """A sign-in by a pushed request; its outcome has the code."""
        sign_in = SignIn(self.browser, self.party, params=params)
        pushed = await self.post("par", sign_in.query)
        assert pushed.status_code == 201, pushed.text
        query = httpx2.QueryParams({"client_id": self.party.client_id, "request_uri": pushed.json()["request_uri"]})
        page = await self.browser.open(f"{self.platform.issuer}/oauth2/authorize?{query}")
        if page.has("username"):
            await sign_in.enter(username, PASSWORD)
        return sign_in

    def code_form(self, sign_in: SignIn) -> dict[str, str]:
        """How a code is redeemed."""
        outcome = sign_in.outcome()
        assert outcome["iss"] == self.platform.issuer
        return {
            "grant_type": "authorization_code",
            "code": outcome["code"],
            "redirect_uri": self.party.redirect_uri,
            "code_verifier": sign_in.verifier,
        }


@pytest.fixture
async def bank(platform: Platform, api: Api, browser_session: Browser, canary: Canary) -> Bank:
    key = Holder()
    party = await Party.registered(
        api,
        platform.issuer,
        canary,
        profile="fapi2",
        token_endpoint_auth_method="private_key_jwt",
        jwks=key.jwks,
    )
    await api.create("/users", username=f"fapi-{party.client_id[:8]}", password=PASSWORD)
    return Bank(platform, party, browser_session, canary, key)


def name_of(bank: Bank) -> str:
    return f"fapi-{bank.party.client_id[:8]}"


@pytest.mark.spec("FAPI 2.0 Security Profile 5.3.2.1; FAPI 2.0 Security Profile 5.3.2.2; RFC 9207 2")
async def test_the_whole_way(bank: Bank) -> None:
    sign_in = await bank.sign_in(name_of(bank))
    answer = await bank.post("token", bank.code_form(sign_in), proof=bank.tokens_key)
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert tokens["token_type"] == "DPoP"
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for _ in range(2):  # the same refresh token as often as it is needed: the client proves itself each time
        refreshed = await bank.post("token", form, proof=bank.tokens_key)
        assert refreshed.status_code == 200, refreshed.text
        assert refreshed.json()["refresh_token"] == tokens["refresh_token"]
    token, url = refreshed.json()["access_token"], f"{bank.platform.issuer}/oauth2/userinfo"
    proof = bank.tokens_key.proof("GET", url, token=token, nonce=bank.nonce)
    async with http_client() as http:
        found = await http.get(url, headers={"Authorization": f"DPoP {token}", "DPoP": proof})
        assert found.status_code == 200, found.text
        assert (await http.get(url, headers={"Authorization": f"Bearer {token}"})).status_code == 401


@pytest.mark.spec("FAPI 2.0 Security Profile 5.3.2.2; FAPI 2.0 Security Profile 5.4.1")
async def test_no_shortcut_leads_to_a_token(bank: Bank) -> None:
    sign_in = SignIn(bank.browser, bank.party)
    page = await sign_in.start()
    assert "error=invalid_request" in page.location or page.error_code == "invalid_request", "not pushed"
    for missing in ("code_challenge", "redirect_uri"):
        query = {name: value for name, value in sign_in.query.items() if name != missing}
        refused = await bank.post("par", query)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request"), missing
    plain = await bank.post("par", {**sign_in.query, "code_challenge_method": "plain"})
    assert plain.status_code == 400
    implicit = await bank.post("par", {**sign_in.query, "response_type": "code id_token"})
    assert implicit.status_code == 400
    form = bank.code_form(await bank.sign_in(name_of(bank)))
    without_proof = await bank.post("token", form)
    assert (without_proof.status_code, without_proof.json()["error"]) == (400, "invalid_dpop_proof")
    weak = await bank.post("token", form, proof=Holder("RS256"))
    assert (weak.status_code, weak.json()["error"]) == (400, "invalid_dpop_proof")
    stranger = await bank.post("token", form, key=Holder(), proof=bank.tokens_key)
    assert (stranger.status_code, stranger.json()["error"]) == (401, "invalid_client")
    answer = await bank.post("token", form, proof=bank.tokens_key)
    assert answer.status_code == 200, answer.text  # nothing of it had cost the code


@pytest.mark.spec("FAPI 2.0 Security Profile 5.4.1")
async def test_rs256_proves_no_client_of_the_profile(bank: Bank, api: Api) -> None:
    weak = Holder("RS256")
    keys = {"keys": [*bank.key.jwks["keys"], *weak.jwks["keys"]]}  # type: ignore[misc]  # lists
    await api.change(f"/clients/{bank.party.client_id}", jwks=keys)
    assertion = weak.assertion(bank.party.client_id, bank.platform.issuer, now=time.time())
    form = {**SignIn(bank.browser, bank.party).query, "client_assertion_type": TYPE, "client_assertion": assertion}
    async with http_client() as http:
        refused = await http.post(f"{bank.platform.issuer}/oauth2/par", data=form)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
