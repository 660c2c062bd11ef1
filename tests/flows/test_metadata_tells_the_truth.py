"""Whatever discovery lists works, and nothing works that it does not list.

Entries are taken from the document and used, here or in the tests that `PROVED_BY` names.
"""

import asyncio
import base64
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from watchword_policy.assurance import ONE_FACTOR, TWO_FACTORS
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.holder import Holder, compact
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified."""
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


PASSWORD = "correct horse battery staple"


@pytest.fixture
async def metadata(platform: Platform) -> dict[str, Any]:
    """The discovery document, as a client reads it."""
    async with http_client() as http:
        answer = await http.get(f"{platform.issuer}/.well-known/openid-configuration")
    return dict(answer.json())


@pytest.mark.spec("RFC 9126 5")
async def test_pushed_requests_go_where_the_document_says(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, metadata: dict[str, Any]
) -> None:
    party = await Party.registered(api, platform.issuer, canary, require_pushed_authorization_requests=True)
    await api.create("/users", username="truth-par", password=PASSWORD)
    sign_in = SignIn(browser_session, party)
    assert metadata["pushed_authorization_request_endpoint"] == f"{platform.issuer}/oauth2/par"
    answer = await party.ask("par", **sign_in.query)
    assert answer.status_code == 201
    canary.add("request_uri", answer.json()["request_uri"])
    await browser_session.open(
        f"{metadata['authorization_endpoint']}?"
        f"{httpx2.QueryParams({'client_id': party.client_id, 'request_uri': answer.json()['request_uri']})}"
    )
    await sign_in.enter("truth-par", PASSWORD)
    assert (await sign_in.redeem())["access_token"]


@pytest.mark.spec("JARM 4; OpenID Connect Discovery 3")
async def test_every_listed_response_type_and_mode_works(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, metadata: dict[str, Any]
) -> None:
    """For a client that may use all of them; what comes is looked at in test_answers_with_tokens.py."""
    types, modes = metadata["response_types_supported"], metadata["response_modes_supported"]
    assert "implicit" in metadata["grant_types_supported"]
    party = await Party.registered(
        api,
        platform.issuer,
        canary,
        grant_types=["authorization_code", "implicit"],
        response_types=types,
        response_modes=[mode for mode in modes if mode != "jwt"],
    )
    await api.create("/users", username="truth-types", password=PASSWORD)
    await SignIn(browser_session, party).start()
    await browser_session.submit("username", "sign-in", username="truth-types", password=PASSWORD)
    for response_type in types:
        for mode in modes:
            sign_in = SignIn(browser_session, party, params={"response_type": response_type, "response_mode": mode})
            await sign_in.start()
            got = sign_in.outcome()
            # Tokens never stand in a query (Multiple Response Type Encoding Practices 3; JARM 2.3.1).
            is_refused = response_type != "code" and mode.startswith("query")
            assert ("error" in got) is is_refused, (response_type, mode, got)
            assert ("response" in got) is (mode.endswith("jwt") and not is_refused)


@pytest.mark.spec("RFC 9470 6.1; RFC 9068 2.2.1; OpenID Connect Discovery 3")
@pytest.mark.parametrize(("acr", "person"), [(ONE_FACTOR, "somebody"), (TWO_FACTORS, "carol")])
async def test_every_listed_level_of_assurance_is_reached(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any], mock_issuer: str, acr: str, person: str
) -> None:
    """It is in the ID token and, for resources that want it, in the access token and at introspection."""
    assert metadata["acr_values_supported"] == [ONE_FACTOR, TWO_FACTORS]
    provider = await configure_mock(api, mock_issuer)
    party = await Party.registered(api, platform.issuer, canary)
    sign_in = SignIn(platform.browser(canary), party, params={"acr_values": acr})
    tokens = await sign_in.through(provider, sub=person)
    assert claims_of(tokens["id_token"])["acr"] == acr
    assert claims_of(tokens["access_token"])["acr"] == acr
    assert (await party.introspect(tokens["access_token"]))["acr"] == acr
    again = await party.tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert claims_of(again["access_token"])["acr"] == acr


@pytest.mark.spec("RFC 9396 2, 7, 9.2, 10; RFC 8707 2")
async def test_a_listed_type_of_details_is_asked_for_allowed_and_carried(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    kind = f"payment-{secrets.token_hex(4)}"
    assert kind not in metadata.get("authorization_details_types_supported", [])
    audience = ["https://bank.example", "https://files.example"]
    party = await Party.registered(
        api,
        platform.issuer,
        canary,
        audience=audience,
        require_consent=True,
        authorization_details_types=[kind],
        grant_types=["authorization_code", "implicit"],
        response_types=["code", "token"],
    )
    async with asyncio.timeout(20), http_client() as http:
        while True:
            document = (await http.get(f"{platform.issuer}/.well-known/openid-configuration")).json()
            if kind in document.get("authorization_details_types_supported", []):
                break
            await asyncio.sleep(0.1)
    await api.create("/users", username="truth-rar", password=PASSWORD)
    asked = [{"type": kind, "actions": ["initiate"], "locations": ["https://bank.example"], "amount": "5"}]
    browser = platform.browser(canary)
    params = {"authorization_details": json.dumps(asked), "resource": "https://bank.example", "scope": ""}
    sign_in = SignIn(browser, party, params=params)
    await sign_in.start()
    await sign_in.enter("truth-rar", PASSWORD)
    assert kind in browser.page.body
    await sign_in.decide()
    tokens: dict[str, Any] = dict(await sign_in.redeem())
    assert tokens["authorization_details"] == asked
    claims = claims_of(tokens["access_token"])
    assert (claims["authorization_details"], claims["aud"]) == (asked, "https://bank.example")
    assert (await party.introspect(tokens["access_token"]))["authorization_details"] == asked
    implicit = SignIn(browser, party, params={**params, "response_type": "token"})
    await implicit.start()
    await implicit.decide()
    assert json.loads(implicit.outcome()["authorization_details"]) == asked


@pytest.mark.spec("OpenID Connect Discovery 3; OpenID Connect Core 5.5")
async def test_the_claims_parameter_is_served(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    assert metadata["claims_parameter_supported"] is True
    party = await Party.registered(api, platform.issuer, canary)
    name = f"truth-{secrets.token_hex(4)}"
    email = f"{name}@example.com"
    person = {"username": name, "name": "Cleo", "email": email, "password": PASSWORD}
    made = await api.call("POST", "/users", person)
    assert made.status_code == 201, made.text
    await platform.until_seen(made)
    claims = {"id_token": {"name": None}, "userinfo": {"email": {"essential": True}}}
    sign_in = SignIn(platform.browser(canary), party, scope="openid", params={"claims": json.dumps(claims)})
    tokens = await sign_in.with_password(name, PASSWORD)
    assert claims_of(tokens["id_token"])["name"] == "Cleo"
    assert "email" not in claims_of(tokens["id_token"])
    told = (await party.userinfo(tokens["access_token"])).json()
    assert told == {"sub": made.json()["id"], "email": email}


@pytest.mark.spec("OpenID Connect Core 3.1.2.1; OpenID Connect Discovery 3")
async def test_pages_are_in_a_listed_language_whatever_is_asked_for(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    shown = {}
    for wanted in ("en", "fr-CA fr", "nonsense!", "fr de-CH en", *metadata["ui_locales_supported"]):
        page = await SignIn(platform.browser(canary), party, params={"ui_locales": wanted}).start()
        (shown[wanted],) = re.findall(r'<html lang="([^"]+)"', page.body)
        assert ("Passwort" in page.body) is (shown[wanted] == "de")
    assert all(shown[each] == each for each in metadata["ui_locales_supported"]), "each listed one is spoken"
    assert (shown["fr de-CH en"], shown["fr-CA fr"]) == ("de", "en")


@pytest.mark.spec("RFC 9101 10.5; OpenID Connect Discovery 3")
async def test_request_objects_are_taken_with_every_listed_algorithm(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary, metadata: dict[str, Any]
) -> None:
    assert (metadata["request_parameter_supported"], metadata["request_uri_parameter_supported"]) == (True, False)
    assert "none" not in metadata["request_object_signing_alg_values_supported"]
    for alg in metadata["request_object_signing_alg_values_supported"]:
        holder = Holder(alg)
        party = await Party.registered(
            api,
            platform.issuer,
            canary,
            jwks=holder.jwks,
            request_object_signing_alg=alg,
            require_signed_request_object=True,
        )
        sign_in = SignIn(browser_session, party, params={"prompt": "none"})
        now_s = int(time.time())
        body = {**sign_in.query, "iss": party.client_id, "aud": metadata["issuer"], "iat": now_s, "exp": now_s + 60}
        head: dict[str, object] = {"alg": alg, "kid": holder.kid, "typ": "oauth-authz-req+jwt"}
        request = compact(head, dict(body), holder.key, alg)
        query = httpx2.QueryParams({"client_id": party.client_id, "request": request})
        await browser_session.open(f"{metadata['authorization_endpoint']}?{query}")
        assert sign_in.outcome()["error"] == "login_required", alg
        assert sign_in.outcome()["state"] == sign_in.state


@pytest.mark.spec("OpenID Connect Front-Channel Logout 1.0 3; OpenID Connect RP-Initiated Logout 1.0 2.1")
async def test_applications_are_told_of_a_sign_out_in_frames(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    assert metadata["frontchannel_logout_supported"] is True
    assert metadata["frontchannel_logout_session_supported"] is True
    party = await Party.registered(
        api,
        platform.issuer,
        canary,
        frontchannel_logout_uri="https://app.example/out",
        post_logout_redirect_uris=["https://app.example/bye"],
    )
    await api.create("/users", username="truth-out", password=PASSWORD)
    browser = platform.browser(canary)
    tokens = await SignIn(browser, party).with_password("truth-out", PASSWORD)
    query = httpx2.QueryParams(
        {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": "https://app.example/bye", "state": "s"}
    )
    page = await browser.open(f"{metadata['end_session_endpoint']}?{query}")
    told = httpx2.QueryParams({"iss": platform.issuer, "sid": claims_of(tokens["id_token"])["sid"]})
    assert f'src="https://app.example/out?{told}"'.replace("&", "&amp;") in page.body
    assert page.links["return"] == "https://app.example/bye?state=s"
    assert (await party.introspect(tokens["access_token"]))["active"] is False


@pytest.mark.spec("OpenID Connect Core 3.1.2.1; OpenID Connect Discovery 3")
async def test_every_listed_prompt_is_obeyed(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    await api.create("/users", username="truth-prompt", password=PASSWORD)
    browser = platform.browser(canary)
    await SignIn(browser, party).with_password("truth-prompt", PASSWORD)
    shown = {"login": "sign-in", "consent": "allow", "select_account": "continue"}
    assert set(metadata["prompt_values_supported"]) == {"none", *shown}
    for prompt, element in shown.items():
        await SignIn(browser, party, params={"prompt": prompt}).start()
        assert browser.page.has(element), prompt
    silent = SignIn(browser, party, params={"prompt": "none"})
    await silent.start()
    assert "code" in silent.outcome()


@pytest.mark.row(11)
@pytest.mark.spec("RFC 9207 3; RFC 7636 4.2; RFC 8414 2")
async def test_answers_say_who_answers_and_challenges_are_s256(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    party = await Party.registered(api, platform.issuer, canary)
    for params in ({"prompt": "none"}, {"response_mode": "form_post", "prompt": "none"}, {"scope": '"'}):
        sign_in = SignIn(platform.browser(canary), party, params=params)
        await sign_in.start()
        assert sign_in.outcome()["iss"] == metadata["issuer"]


NOT_LISTED: dict[str, tuple[str, dict[str, str], str]] = {
    "response type": ("response_types_supported", {"response_type": "none"}, "unsupported_response_type"),
    "response mode": ("response_modes_supported", {"response_mode": "web_message"}, "invalid_request"),
    "prompt": ("prompt_values_supported", {"prompt": "create"}, "invalid_request"),
    "challenge": ("code_challenge_methods_supported", {"code_challenge_method": "plain"}, "invalid_request"),
    "scope": ("scopes_supported", {"scope": "unheard:of"}, "invalid_scope"),
    "details": ("authorization_details_types_supported", {"authorization_details": '[{"type":"unheard:of"}]'},
                "invalid_authorization_details"),
    "request_uri": ("request_uri_parameter_supported", {"request_uri": "https://app.example/request"},
                    "request_uri_not_supported"),
    "registration": ("registration", {"registration": "{}"}, "registration_not_supported"),
}  # fmt: skip


@pytest.mark.parametrize(("member", "params", "error"), NOT_LISTED.values(), ids=NOT_LISTED.keys())
async def test_what_is_not_listed_is_refused(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any],
    member: str, params: dict[str, str], error: str,
) -> None:  # fmt: skip
    listed = metadata.get(member, [])
    assert listed is False or not set(params.values()) & set(listed)
    party = await Party.registered(
        api,
        platform.issuer,
        canary,
        grant_types=["authorization_code", "implicit"],
        response_types=metadata["response_types_supported"],
        response_modes=[mode for mode in metadata["response_modes_supported"] if mode != "jwt"],
    )
    sign_in = SignIn(platform.browser(canary), party, params=params)
    await sign_in.start()
    assert sign_in.outcome()["error"] == error


@pytest.mark.row(8)
async def test_grants_that_are_not_listed_are_refused(
    platform: Platform, api: Api, canary: Canary, metadata: dict[str, Any]
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    for grant in ("password", "urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:openid:params:grant-type:ciba"):
        assert grant not in metadata["grant_types_supported"]
        answer = await party.ask("token", grant_type=grant, username="x", password="y")
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


HERE = "flows/test_metadata_tells_the_truth.py::"
_AUTHENTICATION = "token/test_client_methods.py::test_discovery_names_what_works_here"
_FORMATS = "token/test_formats.py::test_discovery_names_what_works"
_ENDPOINTS = "token/test_metadata.py::test_every_endpoint_of_this_service_is_where_the_document_says"
# Member of the document → the test that uses what it lists.
PROVED_BY = {
    "issuer": "token/test_metadata.py::test_both_documents_say_the_same_and_are_valid",
    "authorization_endpoint": f"{HERE}test_pushed_requests_go_where_the_document_says",
    "pushed_authorization_request_endpoint": f"{HERE}test_pushed_requests_go_where_the_document_says",
    "require_pushed_authorization_requests": "authz/test_par.py::test_client_that_has_to_push_is_refused_elsewhere",
    "token_endpoint": _ENDPOINTS,
    "userinfo_endpoint": _ENDPOINTS,
    "jwks_uri": _ENDPOINTS,
    "introspection_endpoint": _ENDPOINTS,
    "revocation_endpoint": _ENDPOINTS,
    "device_authorization_endpoint": "authz/test_device.py::test_a_device_gets_codes",
    "end_session_endpoint": f"{HERE}test_applications_are_told_of_a_sign_out_in_frames",
    "registration_endpoint": "admin/registration/test_registering.py::test_metadata_say_where_to_register",
    "client_id_metadata_document_supported":
        "admin/registration/test_documents.py::test_metadata_say_whether_documents_count",
    "scopes_supported": "token/test_userinfo.py::test_each_scope_opens_its_claims",
    "claims_supported": "token/test_userinfo.py::test_each_scope_opens_its_claims",
    "claim_types_supported": "token/test_userinfo.py::test_each_scope_opens_its_claims",
    "ui_locales_supported": f"{HERE}test_pages_are_in_a_listed_language_whatever_is_asked_for",
    "claims_parameter_supported": f"{HERE}test_the_claims_parameter_is_served",
    "response_types_supported": f"{HERE}test_every_listed_response_type_and_mode_works",
    "response_modes_supported": f"{HERE}test_every_listed_response_type_and_mode_works",
    "grant_types_supported": "token/test_metadata.py::test_what_each_grant_type_is_called_is_what_the_endpoint_knows",
    "acr_values_supported": f"{HERE}test_every_listed_level_of_assurance_is_reached",
    "subject_types_supported": "token/test_id_token.py::test_it_is_signed_as_the_client_registered",
    "id_token_signing_alg_values_supported": "token/test_id_token.py::test_it_is_signed_as_the_client_registered",
    "userinfo_signing_alg_values_supported": _FORMATS,
    "introspection_signing_alg_values_supported": _FORMATS,
    "authorization_signing_alg_values_supported":
        "flows/test_answers_with_tokens.py::test_signed_answer_has_the_registered_algorithm",
    "id_token_encryption_alg_values_supported": _FORMATS,
    "id_token_encryption_enc_values_supported": _FORMATS,
    "userinfo_encryption_alg_values_supported": _FORMATS,
    "userinfo_encryption_enc_values_supported": _FORMATS,
    "introspection_encryption_alg_values_supported": _FORMATS,
    "introspection_encryption_enc_values_supported": _FORMATS,
    "token_endpoint_auth_methods_supported": _AUTHENTICATION,
    "token_endpoint_auth_signing_alg_values_supported": _AUTHENTICATION,
    "introspection_endpoint_auth_methods_supported": _AUTHENTICATION,
    "introspection_endpoint_auth_signing_alg_values_supported": _AUTHENTICATION,
    "revocation_endpoint_auth_methods_supported": _AUTHENTICATION,
    "revocation_endpoint_auth_signing_alg_values_supported": _AUTHENTICATION,
    "tls_client_certificate_bound_access_tokens":
        "token/test_client_methods.py::test_tokens_may_be_bound_to_the_certificate",
    "code_challenge_methods_supported": f"{HERE}test_answers_say_who_answers_and_challenges_are_s256",
    "authorization_response_iss_parameter_supported": f"{HERE}test_answers_say_who_answers_and_challenges_are_s256",
    "authorization_details_types_supported":
        f"{HERE}test_a_listed_type_of_details_is_asked_for_allowed_and_carried",
    "dpop_signing_alg_values_supported": "token/test_dpop.py::test_discovery_names_the_algorithms_that_work",
    "prompt_values_supported": f"{HERE}test_every_listed_prompt_is_obeyed",
    "backchannel_logout_supported": "flows/test_backchannel_logout.py::test_the_application_hears_of_it",
    "backchannel_logout_session_supported": "flows/test_backchannel_logout.py::test_the_application_hears_of_it",
    "frontchannel_logout_supported": f"{HERE}test_applications_are_told_of_a_sign_out_in_frames",
    "frontchannel_logout_session_supported": f"{HERE}test_applications_are_told_of_a_sign_out_in_frames",
    "request_parameter_supported": f"{HERE}test_request_objects_are_taken_with_every_listed_algorithm",
    "request_object_signing_alg_values_supported":
        f"{HERE}test_request_objects_are_taken_with_every_listed_algorithm",
    "require_signed_request_object":
        "authz/test_request_objects.py::test_client_that_has_to_sign_is_refused_when_it_does_not",
    "request_uri_parameter_supported": f"{HERE}test_what_is_not_listed_is_refused",
}  # fmt: skip


@pytest.mark.spec("OpenID Connect Discovery 3; RFC 8414 2")
async def test_every_member_of_the_document_is_proved_by_a_test(metadata: dict[str, Any]) -> None:
    """Whoever adds a member names the test that uses it."""
    assert metadata.keys() <= PROVED_BY.keys()
    tests = Path(__file__).parents[1]
    for member, test in PROVED_BY.items():
        file, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (tests / file).read_text(), re.MULTILINE), f"{member}: {test}"
