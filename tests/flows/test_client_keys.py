"""A client is registered with its key, pushes a request, signs in and gets tokens: nothing it proves is taken twice."""

from typing import Any

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

PASSWORD = "correct horse battery staple"


async def post(platform: Platform, path: str, canary: Canary, **form: str) -> httpx2.Response:
    async with http_client(timeout=20.0) as http:
        answer = await http.post(f"{platform.issuer}/oauth2/{path}", data=form)
    if answer.status_code < 300:
        body: dict[str, Any] = answer.json()
        canary.add("issued", *(body[n] for n in ("request_uri", "access_token", "refresh_token") if n in body))
    return answer


@pytest.mark.spec("RFC 7523 3; RFC 9126 2")
async def test_an_assertion_that_one_service_took_is_nothing_for_another(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    holder = Holder()
    party = await Party.registered(
        api, platform.issuer, canary, token_endpoint_auth_method="private_key_jwt", jwks=holder.jwks
    )

    def fields() -> dict[str, str]:
        assertion = holder.assertion(party.client_id, platform.issuer)
        canary.add("client assertion", assertion)
        return {"client_assertion_type": TYPE, "client_assertion": assertion}

    await api.create("/users", username="keyed", password=PASSWORD)
    sign_in, proved = SignIn(browser_session, party), fields()
    pushed = await post(platform, "par", canary, **sign_in.query, **proved)
    assert pushed.status_code == 201, pushed.text
    query = httpx2.QueryParams({"client_id": party.client_id, "request_uri": pushed.json()["request_uri"]})
    await browser_session.open(f"{platform.issuer}/oauth2/authorize?{query}")
    await sign_in.enter("keyed", PASSWORD)
    code = sign_in.outcome()["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": party.redirect_uri}
    form["code_verifier"] = sign_in.verifier
    again = await post(platform, "token", canary, **form, **proved)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    proved = fields()
    answer = await post(platform, "token", canary, **form, **proved)
    assert answer.status_code == 200, answer.text
    assert (await post(platform, "par", canary, **sign_in.query, **proved)).status_code == 401
