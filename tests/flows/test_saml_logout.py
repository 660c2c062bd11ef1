"""Single logout: who signs out here is signed out at the provider, and the other way round; tokens end with it."""

import base64
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from saml2 import BINDING_HTTP_REDIRECT, xmldsig
from saml2.s_utils import error_status_factory
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.samlp import STATUS_REQUEST_DENIED
from tests.federation.saml_forge import opened, packed, sign
from tests.federation.saml_idp import Idp, Pair, connected, pair, post

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

APP = "https://app.example/signed-out"


@pytest.fixture(scope="module")
def idp_keys() -> Pair:
    """What Acme's provider signs with."""
    return pair("idp.acme.test")


@dataclass
class Someone:
    """A person who signed in to an application through a SAML provider."""

    browser: Browser
    idp: Idp
    provider_id: str
    party: Party
    tokens: dict[str, str]
    session_index: str

    async def is_active(self) -> bool:
        found = await self.party.introspect(self.tokens["access_token"])
        return bool(found["active"])


async def sign_in(platform: Platform, api: Api, idp: Idp, provider_id: str, party: Party) -> Someone:
    browser = platform.browser()
    signing_in = SignIn(browser, party)
    await signing_in.start()
    page = await browser.click_soon(f"provider-{provider_id}")
    response = idp.respond(page.location)
    (statement,) = opened(response).iter("{urn:oasis:names:tc:SAML:2.0:assertion}AuthnStatement")
    page = await post(platform.issuer, provider_id, response)
    await browser.open(page.location)
    tokens = await signing_in.redeem()
    return Someone(browser, idp, provider_id, party, tokens, statement.get("SessionIndex"))


@pytest.fixture
async def someone(platform: Platform, api: Api, idp_keys: Pair, tmp_path: Path) -> Someone:
    idp = Idp(tmp_path, idp_keys)
    name = f"{secrets.token_hex(4)}@acme.test"
    idp.name_id = NameID(format=NAMEID_FORMAT_PERSISTENT, text=name)
    idp.attributes = {**idp.attributes, "email": [name]}
    provider_id = await connected(api, platform, idp)
    party = await Party.registered(api, platform.issuer, post_logout_redirect_uris=[APP])
    return await sign_in(platform, api, idp, provider_id, party)


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


def slo(platform: Platform, provider_id: str) -> str:
    return f"{platform.issuer}/api/auth/sso/saml2/sp/slo/{provider_id}"


def logout_url(someone: Someone, address: str, *, sign: bool = True, index: bool = True, **more: Any) -> str:
    """Where the provider sends a browser to have sessions ended here, as pysaml2 makes it."""
    server = someone.idp.server
    _id, request = server.create_logout_request(
        address,
        someone.idp.sp_entity_id(server),
        name_id=more.get("name_id", someone.idp.name_id),
        session_indexes=[someone.session_index] if index else None,
        sign=False,
    )
    for name, value in more.items():
        if name in {"not_on_or_after", "destination"}:
            setattr(request, name, value)
    bound = server.apply_binding(
        BINDING_HTTP_REDIRECT,
        str(request),
        address,
        relay_state="rs-1",
        sign=sign,
        sigalg=xmldsig.SIG_RSA_SHA256 if sign else None,
    )
    return str(dict(bound["headers"])["Location"])


@pytest.mark.spec("SAML Profiles 4.4.3.3; SAML Core 3.7.2")
@pytest.mark.spec("SAML Profiles 4.4.3.3; SAML Core 3.7.2")
async def test_the_provider_ends_its_session_and_our_tokens_end_with_it(platform: Platform, someone: Someone) -> None:
    address = slo(platform, someone.provider_id)
    assert await someone.is_active()
    # Providers do this in frames: no cookie of ours comes along.
    page = await platform.browser().open(logout_url(someone, address))
    assert page.location.startswith(f"{someone.idp.slo_url}?SAMLResponse="), page.error_code
    assert not await someone.is_active()
    answered = query_of(page.location)
    assert answered["RelayState"] == "rs-1"
    response = someone.idp.server.parse_logout_request_response(answered["SAMLResponse"], BINDING_HTTP_REDIRECT)
    assert response.status_ok()
    assert "Signature" in answered


@pytest.mark.parametrize("index", [True, False], ids=["one session", "all of the person"])
async def test_a_session_index_names_one_session(
    platform: Platform, api: Api, someone: Someone, *, index: bool
) -> None:
    second = await sign_in(platform, api, someone.idp, someone.provider_id, someone.party)
    assert second.session_index != someone.session_index
    await platform.browser().open(logout_url(someone, slo(platform, someone.provider_id), index=index))
    assert (await someone.is_active(), await second.is_active()) == (False, index)


@pytest.mark.spec("SAML Profiles 4.4.3.1; SAML Profiles 4.4.4.1; SAML Core 3.3.4")
async def test_signing_out_here_signs_out_there_and_comes_back(platform: Platform, someone: Someone) -> None:
    hint = someone.tokens["id_token"]
    query = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": APP, "state": "s1"})
    page = await someone.browser.open(f"{platform.issuer}/oauth2/logout?{query}")
    assert page.location.startswith(f"{someone.idp.slo_url}?SAMLRequest=")
    assert not await someone.is_active(), "here it is over, whatever the provider does"
    asked = query_of(page.location)
    server = someone.idp.server
    request = server.parse_logout_request(
        asked["SAMLRequest"],
        BINDING_HTTP_REDIRECT,
        relay_state=asked.get("RelayState"),
        sigalg=asked["SigAlg"],
        signature=asked["Signature"],
    ).message
    assert request.name_id.text == someone.idp.name_id.text
    assert [each.text for each in request.session_index] == [someone.session_index]
    response = server.create_logout_response(request, [BINDING_HTTP_REDIRECT], sign=False)
    bound = server.apply_binding(
        BINDING_HTTP_REDIRECT,
        str(response),
        slo(platform, someone.provider_id),
        response=True,
        sign=True,
        sigalg=xmldsig.SIG_RSA_SHA256,
    )
    answer = str(dict(bound["headers"])["Location"])
    page = await someone.browser.open(answer)
    assert page.location == f"{APP}?state=s1"
    assert (await someone.browser.open(answer)).error_code == "state_mismatch", "an answer counts once"


@pytest.mark.spec("SAML Core 3.7.3")
@pytest.mark.parametrize("refused", [True, False])
async def test_the_page_says_when_the_provider_refused(platform: Platform, someone: Someone, *, refused: bool) -> None:
    await someone.browser.open(f"{platform.issuer}/oauth2/logout")
    await someone.browser.submit("csrf", "sign-out")
    page = await someone.browser.click("continue-sign-out")
    server = someone.idp.server
    request = server.parse_logout_request(query_of(page.location)["SAMLRequest"], BINDING_HTTP_REDIRECT).message
    status = error_status_factory(("no", STATUS_REQUEST_DENIED)) if refused else None
    response = server.create_logout_response(request, [BINDING_HTTP_REDIRECT], status=status, sign=False)
    address = slo(platform, someone.provider_id)
    named = {"response": True, "sign": True, "sigalg": xmldsig.SIG_RSA_SHA256}
    bound = server.apply_binding(BINDING_HTTP_REDIRECT, str(response), address, **named)
    page = await someone.browser.open(str(dict(bound["headers"])["Location"]))
    assert page.status == 200, page.error_code
    assert ("Here, and at your identity provider." in page.body) is not refused
    assert ("you may still be signed in" in page.body) is refused


async def test_a_form_goes_on_by_itself_to_the_provider(platform: Platform, someone: Someone) -> None:
    await someone.browser.open(f"{platform.issuer}/oauth2/logout")
    page = await someone.browser.submit("csrf", "sign-out")
    assert page.status == 200
    assert page.headers["refresh"].startswith("0; url=/api/auth/sso/logout/")
    page = await someone.browser.click("continue-sign-out")
    assert page.location.startswith(someone.idp.slo_url)


async def test_a_provider_without_single_logout_is_left_alone(platform: Platform, api: Api, someone: Someone) -> None:
    await api.change(f"/providers/{someone.provider_id}", single_logout=False)
    query = urlencode({"id_token_hint": someone.tokens["id_token"], "post_logout_redirect_uri": APP})
    page = await someone.browser.open(f"{platform.issuer}/oauth2/logout?{query}")
    assert page.location == APP
    page = await platform.browser().open(logout_url(someone, slo(platform, someone.provider_id)))
    assert page.error_code == "response_invalid"


async def test_a_posted_request_is_obeyed_when_its_own_signature_holds(platform: Platform, someone: Someone) -> None:
    address = slo(platform, someone.provider_id)
    server = someone.idp.server
    _id, request = server.create_logout_request(
        address, someone.idp.sp_entity_id(server), name_id=someone.idp.name_id, sign=False
    )
    plain = base64.b64encode(str(request).encode()).decode()

    async def posted(message: str) -> Page:
        browser = platform.browser()
        page = await browser.send("POST", address, {"SAMLRequest": message}, {"Sec-Fetch-Site": "cross-site"})
        return await browser.open(page.location) if page.status == 303 else page

    assert (await posted(plain)).error_code == "signature_validation_failed"
    assert (await posted(packed(sign(opened(plain), pair("evil"))))).error_code == "signature_validation_failed"
    assert await someone.is_active()
    page = await posted(packed(sign(opened(plain), someone.idp.keys)))
    assert page.location.startswith(someone.idp.slo_url), page.error_code
    assert not await someone.is_active()


@pytest.mark.row(39)
@pytest.mark.spec("SAML Profiles 4.4; SAML Profiles 4.4.4; SAML Core 3.7; SAML Core 3.7.3; SAML Core 3.7.3.2")
async def test_requests_that_end_nothing(platform: Platform, api: Api, someone: Someone) -> None:
    address = slo(platform, someone.provider_id)
    good = logout_url(someone, address)
    other = NameID(format=NAMEID_FORMAT_PERSISTENT, text="somebody-else")
    query = query_of(good)

    def again(**changes: str) -> str:
        return f"{address}?{urlencode({**query, **changes})}"

    bombs = base64.b64encode(_bomb()).decode()
    rows = {
        "unsigned": (logout_url(someone, address, sign=False), "signature_validation_failed"),
        "another relay state": (again(RelayState="rs-2"), "signature_validation_failed"),
        "a signature of nothing": (again(Signature="AAAA"), "signature_validation_failed"),
        "a weak algorithm": (again(SigAlg="http://www.w3.org/2000/09/xmldsig#rsa-sha1"), "signature_validation_failed"),
        "twice the same parameter": (f"{good}&RelayState=x", "response_invalid"),
        "request and response": (f"{good}&SAMLResponse=x", "response_invalid"),
        "another address": (logout_url(someone, f"{address}x").replace(f"{address}x", address), "recipient_mismatch"),
        "expired": (logout_url(someone, address, not_on_or_after="2020-01-01T00:00:00Z"), "clock_skew"),
        "a bomb": (f"{address}?{urlencode({'SAMLRequest': bombs})}", "response_invalid"),
        "not deflated": (f"{address}?{urlencode({'SAMLRequest': 'AAAA'})}", "response_invalid"),
        "nothing": (f"{address}?x=y", "response_invalid"),
        "no such provider": (good.replace(someone.provider_id, "Nobody"), "provider_disabled"),
    }
    for name, (url, code) in rows.items():
        page = await platform.browser().send("GET", url)
        assert (page.error_code, page.status >= 400) == (code, True), name
    assert await someone.is_active()
    page = await platform.browser().open(logout_url(someone, address, name_id=other, index=False))
    assert page.location.startswith(someone.idp.slo_url), "nobody's session, and so no error"
    assert await someone.is_active(), "another name of the same provider"
    stranger = Idp(someone.idp.home, pair("evil"), sp_metadata=someone.idp.sp_metadata)
    evil = Someone(someone.browser, stranger, "", someone.party, {}, someone.session_index)
    page = await platform.browser().send("GET", logout_url(evil, address))
    assert page.error_code == "signature_validation_failed"
    assert await someone.is_active()
    assert (await platform.browser().send("GET", good)).status == 303
    assert (await platform.browser().send("GET", good)).error_code == "state_mismatch", "a request counts once"


def _bomb() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(b"<" + b"A" * 30_000_000) + deflate.flush()
