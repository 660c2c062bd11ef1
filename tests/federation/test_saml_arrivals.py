"""Sign-ins that begin at the provider: only where allowed, only after the person's word, never a link."""

import asyncio
import json
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from tests.federation.saml_forge import changed, one
from tests.federation.saml_idp import Idp, acs, connected, post

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform


async def arrive(browser: Browser, provider_id: str, response: str, **more: str) -> Page:
    """The page that a person sees whom the provider's page sent here."""
    headers = {"Origin": "https://idp.acme.test", "Sec-Fetch-Site": "cross-site"}
    page = await browser.send("POST", acs(provider_id), {"SAMLResponse": response, **more}, headers)
    return await browser.open(page.location) if page.status == 303 else page


async def allowed(api: Api, platform: Platform, idp: Idp) -> str:
    name = f"{secrets.token_hex(4)}@acme.test"
    idp.name_id = NameID(format=NAMEID_FORMAT_PERSISTENT, text=name)
    idp.attributes = {**idp.attributes, "email": [name]}
    return await connected(api, platform, idp, idp_initiated=True)


@pytest.mark.spec("SAML Profiles 4.1.5")
async def test_the_person_confirms_and_is_signed_in(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    browser = platform.browser()
    page = await arrive(browser, provider_id, idp.respond(""), RelayState="https://evil.test/")
    assert page.status == 200
    assert idp.attributes["email"][0] in page.body
    page = await browser.submit("csrf", "confirm")
    assert (urlsplit(page.url).path, page.status) == ("/login", 200), page.error_code
    assert page.url.startswith(platform.issuer), "RelayState leads nowhere"
    assert "Alice Andersen" in page.body or idp.attributes["email"][0] in page.body
    assert any(name.endswith("ww-session") for name in browser.cookies)


@pytest.mark.row(38)
async def test_it_is_off_unless_switched_on(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, platform, idp)
    page = await post(platform.issuer, provider_id, idp.respond(""))
    assert (page.status, page.error_code) == (403, "unsolicited_response")


async def test_nothing_happens_without_the_button(platform: Platform, api: Api, idp: Idp) -> None:
    """Whoever makes a browser post an assertion and leads it past the question has gained nothing."""
    provider_id = await allowed(api, platform, idp)
    browser = platform.browser()
    page = await arrive(browser, provider_id, idp.respond(""))
    arrival = urlsplit(page.url).path.rpartition("/")[2]
    page = await browser.open(f"{platform.issuer}/login/provider/{provider_id}?arrival={arrival}")
    assert page.error_code == "state_mismatch"
    page = await browser.send("POST", f"/api/auth/sso/arrivals/{arrival}", {"csrf": "x" * 43})
    assert page.error_code == "state_mismatch"
    page = await arrive(browser, provider_id, idp.respond(""))
    form = page.form_with("csrf").filled("confirm")
    page = await browser.send("POST", page.url, form, {"Sec-Fetch-Site": "cross-site"})
    assert page.error_code == "state_mismatch", "our page sends it from our origin"
    assert not any(name.endswith("ww-session") for name in browser.cookies)


async def test_it_belongs_to_the_browser_in_which_it_arrived(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    victim, attacker = platform.browser(), platform.browser()
    page = await arrive(attacker, provider_id, idp.respond(""))
    arrival = urlsplit(page.url).path.rpartition("/")[2]
    await attacker.submit("csrf", "confirm")
    for path in (f"/api/auth/sso/arrivals/{arrival}", f"/login/provider/{provider_id}?arrival={arrival}"):
        assert (await victim.open(f"{platform.issuer}{path}")).error_code == "state_mismatch"


async def test_an_assertion_is_accepted_once_and_many_at_once_are_one(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    response = idp.respond("")
    pages = await asyncio.gather(*(post(platform.issuer, provider_id, response) for _ in range(6)))
    assert sorted(page.status for page in pages) == [303, *[400] * 5]
    assert {page.error_code for page in pages if page.status == 400} == {"state_mismatch"}


async def test_a_confirmation_counts_once(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    browser = platform.browser()
    page = await arrive(browser, provider_id, idp.respond(""))
    asked = page.url
    await browser.submit("csrf", "confirm")
    assert (await browser.open(asked)).error_code == "state_mismatch"


async def test_a_stripped_request_id_does_not_make_a_response_unsolicited(
    platform: Platform, api: Api, idp: Idp
) -> None:
    provider_id = await allowed(api, platform, idp)
    said_elsewhere = changed(
        idp.respond(""),
        idp.keys,
        lambda root: one(root, ".//saml:SubjectConfirmationData").set("InResponseTo", "_somebody-else"),
    )
    assert (await post(platform.issuer, provider_id, said_elsewhere)).error_code == "state_mismatch"


@pytest.mark.row(38)
async def test_it_never_leads_to_a_link(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    email = idp.attributes["email"][0]
    await api.create("/users", username=f"owner-{secrets.token_hex(4)}", email=email)
    browser = platform.browser()
    await arrive(browser, provider_id, idp.respond(""))
    page = await browser.submit("csrf", "confirm")
    assert page.error_code == "account_not_linked"
    found: Any = await api.get("/upstream/attempts", reference=page.texts["reference"])
    (attempt,) = found["items"]
    assert (attempt["provider_id"], attempt["failure"]) == (provider_id, "account_not_linked")
    assert {"response", "conditions"} < {each["step"] for each in attempt["steps"]}
    assert attempt["steps"][-1]["detail"] == "an account has the address, and the sign-in began at the provider"
    assert email not in json.dumps(attempt)
    (again,) = (await api.get("/upstream/attempts", provider_id=provider_id))["items"]  # type: ignore[misc]
    assert again["id"] == attempt["id"], "it is told once"


async def test_a_provider_that_is_switched_off_meanwhile(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    browser = platform.browser()
    await arrive(browser, provider_id, idp.respond(""))
    await api.change(f"/providers/{provider_id}", enabled=False)
    page = await browser.submit("csrf", "confirm")
    assert page.error_code == "provider_disabled"


async def test_another_provider_cannot_use_it(platform: Platform, api: Api, idp: Idp) -> None:
    provider_id = await allowed(api, platform, idp)
    other = await connected(api, platform, replace(idp), idp_initiated=True)
    browser = platform.browser()
    page = await arrive(browser, provider_id, idp.respond(""))
    arrival = urlsplit(page.url).path.rpartition("/")[2]
    await browser.send("POST", page.url, page.form_with("csrf").filled("confirm"))
    page = await browser.open(f"{platform.issuer}/login/provider/{other}?arrival={arrival}")
    assert page.error_code == "state_mismatch"
