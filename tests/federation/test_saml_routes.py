"""SAML sign-ins over HTTP, at an installation that runs, with an identity provider that somebody else wrote."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlsec
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NAMEID_FORMAT_TRANSIENT, NameID
from tests.federation.saml_forge import encrypt, opened, packed, sign
from tests.federation.saml_idp import Idp, Pair, acs, connected, pair, post, reconfigured
from tests.federation.test_routes import Person

from watchword_events.handovers import Identity
from watchword_events.names import Service
from watchword_federation import saml_store
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture
async def person(platform: Platform, browser_session: Browser) -> AsyncIterator[Person]:
    yield Person(platform, browser_session)
    await platform.database.close()


async def signed_in(person: Person, provider_id: str, idp: Idp, **how: Any) -> Identity:
    """What the directory is told of a whole sign-in."""
    page = await person.leave(provider_id)
    assert page.status == 303, page.error_code
    return await person.identity(await post(person.platform.issuer, provider_id, idp.respond(page.location, **how)))


async def refused(person: Person, provider_id: str, idp: Idp, **how: Any) -> Page:
    page = await person.leave(provider_id)
    assert page.status == 303, page.error_code
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location, **how))
    assert page.status >= 400
    return page


@pytest.mark.spec("SAML Profiles 4.1; SAML Bindings 3.4; SAML Bindings 3.5; SAML Core 3.4.1")
@pytest.mark.seed(77, 79)
async def test_there_and_back(person: Person, api: Api, idp: Idp, log_lines: list[dict[str, Any]]) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    assert page.status == 303, page.error_code
    assert page.location.startswith(f"{idp.sso_url}?SAMLRequest=")
    asked = idp.asked(page.location)
    assert asked["acs"] == f"{person.platform.issuer}{acs(provider_id)}"
    assert asked["issuer"] == person.platform.issuer
    assert not asked["signed"]
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location), RelayState="https://evil.test/")
    payload = await person.identity(page)
    identity = payload.identity
    assert (payload.binding, payload.solicited) == (person.binding, True)
    assert (identity.provider_id, identity.issuer) == (provider_id, idp.entity_id)
    assert identity.subject == "emailAddress:alice@acme.test"
    assert (identity.email, identity.email_verified, identity.name) == ("alice@acme.test", False, "Alice Andersen")
    assert identity.claims["groups"] == ["dev", "admin"]
    assert page.headers["cache-control"] == "no-store"
    events = [line["event"] for line in log_lines if line["event"].startswith("upstream_sign_in")]
    assert events == ["upstream_sign_in.started", "upstream_sign_in.verified"]


async def test_the_callback_that_was_registered_elsewhere_still_holds(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    made = await api.get(f"/providers/{provider_id}")
    assert made["callback_url"] == f"{person.platform.issuer}/api/auth/sso/saml2/sp/acs/{provider_id}"
    assert made["sp_metadata_url"] == f"{person.platform.issuer}/api/auth/sso/saml2/sp/metadata/{provider_id}"
    assert made["effective_sp_entity_id"] == person.platform.issuer


@pytest.mark.parametrize(
    ("signature", "how"),
    [
        pytest.param("response", {"sign_assertion": False, "sign_response": True}, id="only the response"),
        pytest.param("response", {"sign_response": True}, id="both, the response is asked for"),
        pytest.param("either", {"sign_assertion": False, "sign_response": True}, id="either: the response"),
        pytest.param("either", {}, id="either: the assertion"),
        pytest.param("assertion", {"sign_response": True}, id="both, the assertion is asked for"),
    ],
)
@pytest.mark.spec("SAML Core 5.4; SAML Profiles 4.1.4.5")
@pytest.mark.seed(91)
async def test_what_the_provider_signs_is_a_setting(
    person: Person, api: Api, idp: Idp, signature: str, how: dict[str, Any]
) -> None:
    provider_id = await connected(api, person.platform, idp, signature=signature)
    assert (await signed_in(person, provider_id, idp, **how)).identity.email == "alice@acme.test"


@pytest.mark.row(34)
@pytest.mark.parametrize(
    ("settings", "how", "detail"),
    [
        ({}, {"sign_assertion": False, "sign_response": True}, "response is signed"),
        ({"signature": "response"}, {}, "assertion is signed"),
        ({}, {"sign_assertion": False}, "nothing is signed"),
        ({"signature": "either"}, {"sign_assertion": False}, "nothing is signed"),
    ],
    ids=["response only", "assertion only", "nothing", "nothing, either"],
)
async def test_what_is_not_signed_as_set_is_refused_and_the_steps_say_so(
    person: Person, api: Api, idp: Idp, settings: dict[str, object], how: dict[str, Any], detail: str
) -> None:
    provider_id = await connected(api, person.platform, idp, **settings)
    page = await refused(person, provider_id, idp, **how)
    assert page.error_code == "signature_validation_failed"
    attempts = await api.get("/upstream/attempts", reference=page.texts["reference"])
    (attempt,) = attempts["items"]  # type: ignore[misc]
    assert (attempt["failure"], attempt["provider_id"]) == ("signature_validation_failed", provider_id)
    assert detail in attempt["steps"][-1]["detail"]


async def encrypted(person: Person, provider_id: str, idp: Idp, *, signs: str = "assertion", **algorithms: Any) -> Page:
    """The answer to a response whose assertion was encrypted for the key in our metadata."""
    page = await person.leave(provider_id)
    root = opened(idp.respond(page.location, sign_assertion=signs == "assertion"))
    key = certificates(idp.sp_metadata)["encryption"][0]
    encrypt(root, f"-----BEGIN CERTIFICATE-----\n{key}\n-----END CERTIFICATE-----\n", **algorithms)
    return await post(
        person.platform.issuer, provider_id, packed(sign(root, idp.keys) if signs == "response" else root)
    )


@pytest.mark.parametrize("signs", ["assertion", "response"])
@pytest.mark.spec("XML Encryption 4.4")
async def test_encrypted_assertions_are_opened(person: Person, api: Api, idp: Idp, signs: str) -> None:
    provider_id = await connected(api, person.platform, idp, require_encryption=True, signature=signs)
    page = await encrypted(person, provider_id, idp, signs=signs)
    assert (await person.identity(page)).identity.email == "alice@acme.test"
    assert (await refused(person, provider_id, idp, sign_response=True)).error_code == "response_invalid"


@pytest.mark.parametrize("signature", ["assertion", "response", "either"])
async def test_encryption_proves_nothing(person: Person, api: Api, idp: Idp, signature: str) -> None:
    """Keycloak CVE-2026-2092: anybody can encrypt for a key that is public."""
    provider_id = await connected(api, person.platform, idp, signature=signature)
    page = await encrypted(person, provider_id, idp, signs="nothing")
    assert page.error_code == "signature_validation_failed"


@pytest.mark.parametrize(
    "algorithms",
    [
        pytest.param({"data": xmlsec.Transform.AES256}, id="AES-CBC"),
        pytest.param({"data": xmlsec.Transform.DES3}, id="3DES"),
        pytest.param({"key": xmlsec.Transform.RSA_PKCS1}, id="PKCS #1 v1.5"),
    ],
)
async def test_encryption_that_leaks_is_refused(person: Person, api: Api, idp: Idp, algorithms: dict[str, Any]) -> None:
    provider_id = await connected(api, person.platform, idp)
    assert (await encrypted(person, provider_id, idp, **algorithms)).error_code == "response_invalid"


async def test_what_pysaml2_encrypts_by_itself_is_refused(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    assert (await refused(person, provider_id, idp, encrypt=True)).error_code == "response_invalid", "3DES"


@pytest.mark.row(37)
async def test_a_response_is_accepted_once(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    response = idp.respond(page.location)
    assert (await post(person.platform.issuer, provider_id, response)).status == 303
    again = await post(person.platform.issuer, provider_id, response)
    assert (again.status, again.error_code) == (400, "state_mismatch")


@pytest.mark.row(37)
async def test_of_many_at_once_one_is_accepted(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    response = idp.respond(page.location)
    pages = await asyncio.gather(*(post(person.platform.issuer, provider_id, response) for _ in range(8)))
    assert sorted(page.status for page in pages) == [303, *[400] * 7]
    assert {page.error_code for page in pages if page.status == 400} == {"state_mismatch"}


@pytest.mark.row(36)
async def test_an_answer_belongs_to_one_provider_and_one_protocol(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    response = idp.respond(page.location)
    state = str(idp.asked(page.location)["id"]).removeprefix("_")
    other = await connected(api, person.platform, replace(idp))
    assert (await post(person.platform.issuer, other, response)).error_code == "state_mismatch"
    page = await person.come_back(provider_id, {"state": state, "code": "x"})
    assert page.error_code == "state_mismatch"
    assert (await post(person.platform.issuer, provider_id, response)).status == 303, "nothing was used up"


async def test_the_browser_that_comes_back_is_compared_at_the_next_hop(
    person: Person, api: Api, idp: Idp, platform: Platform
) -> None:
    provider_id = await connected(api, platform, idp)
    page = await person.leave(provider_id)
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location))
    stranger = platform.browser()
    assert (await stranger.send("GET", page.location)).error_code == "wrong_browser"


@pytest.mark.parametrize("change", [{"enabled": False}, {"signature": "either"}, {"certificates": []}, None])
async def test_what_is_changed_while_the_person_is_away_ends_the_sign_in(
    person: Person, api: Api, idp: Idp, change: dict[str, object] | None
) -> None:
    """Casdoor CVE-2026-9098: the provider is loaded afresh when the response comes."""
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    response = idp.respond(page.location)
    if change is None:
        await api.delete(f"/providers/{provider_id}")
    elif change == {"certificates": []}:
        await api.change(f"/providers/{provider_id}", certificates=[pair("other").certificate])
    else:
        await api.change(f"/providers/{provider_id}", **change)
    assert (await post(person.platform.issuer, provider_id, response)).error_code == "provider_disabled"


@pytest.mark.row(40)
@pytest.mark.spec("SAML Core 8.3")
@pytest.mark.parametrize(
    ("name_id", "subject"),
    [
        pytest.param(NameID(format=NAMEID_FORMAT_PERSISTENT, text="8f2-Ab"), "persistent:8f2-Ab", id="persistent"),
        pytest.param(NameID(format=NAMEID_FORMAT_PERSISTENT, text="8f2-aB"), "persistent:8f2-aB", id="case matters"),
        pytest.param(
            NameID(format=NAMEID_FORMAT_PERSISTENT, text="x", name_qualifier="https://idp.acme.test/metadata"),
            "persistent:x",
            id="a qualifier that says nothing new",
        ),
        pytest.param(
            NameID(format=NAMEID_FORMAT_PERSISTENT, text="x", name_qualifier="https://other.test"),
            "persistent:x?nq=https%3A%2F%2Fother.test",
            id="a qualifier that does",
        ),
    ],
)
async def test_a_name_is_told_apart_by_format_and_qualifiers(
    person: Person, api: Api, idp: Idp, name_id: NameID, subject: str
) -> None:
    provider_id = await connected(api, person.platform, idp)
    idp.name_id = name_id
    assert (await signed_in(person, provider_id, idp)).identity.subject == subject


@pytest.mark.row(40)
async def test_a_transient_name_recognises_nobody(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    idp.name_id = NameID(format=NAMEID_FORMAT_TRANSIENT, text="once")
    idp.attributes = {**idp.attributes, "uid": ["alice-7"]}
    assert (await refused(person, provider_id, idp)).error_code == "account_not_found"
    await reconfigured(api, provider_id, subject_attribute="urn:mace:dir:attribute-def:uid")
    assert (await signed_in(person, provider_id, idp)).identity.subject == "alice-7"


async def test_nobody_without_a_name(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    idp.name_id, idp.attributes = NameID(format=NAMEID_FORMAT_PERSISTENT, text="x"), {}
    assert (await refused(person, provider_id, idp)).error_code == "missing_user_info"


@pytest.mark.spec("SAML Core 2.7.3")
async def test_attributes_are_mapped(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(
        api,
        person.platform,
        idp,
        email_attribute="contact",
        first_name_attribute="fn",
        last_name_attribute="ln",
        username_attribute="login",
        groups_attribute="memberOf",
    )
    idp.name_id = NameID(format=NAMEID_FORMAT_PERSISTENT, text="x")
    idp.attributes = {
        "contact": ["a@acme.test", "b@acme.test"],
        "fn": ["A"],
        "ln": ["B"],
        "login": ["ab"],
        "memberOf": ["cn=dev"],
        "email_verified": ["true"],
    }
    identity = (await signed_in(person, provider_id, idp)).identity
    assert (identity.email, identity.given_name, identity.family_name) == ("a@acme.test", "A", "B")
    assert (identity.preferred_username, identity.claims["groups"]) == ("ab", ["cn=dev"])
    assert identity.email_verified is False
    assert identity.claims["contact"] == ["a@acme.test", "b@acme.test"]
    assert "email_verified" not in identity.claims


async def test_requests_are_signed_where_that_is_wanted(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp, sign_requests=True)
    asked = idp.asked((await person.leave(provider_id)).location)
    assert asked["signed"], "and pysaml2 verified it with the certificate in our metadata"


@pytest.mark.parametrize("prompt", ["login", "select_account"])
async def test_what_the_application_asks_is_asked_of_the_provider(
    person: Person, api: Api, idp: Idp, prompt: str
) -> None:
    required = "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"
    provider_id = await connected(api, person.platform, idp, authn_context=[required], name_id_format="persistent")
    page = await person.leave(provider_id, prompt=(prompt,))
    asked = idp.asked(page.location)
    assert asked["force"] == "true"
    assert asked["message"].name_id_policy.format == NAMEID_FORMAT_PERSISTENT
    contexts = asked["message"].requested_authn_context.authn_context_class_ref
    assert [each.text for each in contexts] == [required]
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location))
    assert page.error_code == "response_invalid", "a password was used"


async def test_a_session_that_is_older_than_asked_is_refused(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id, max_age_s=60)
    assert idp.asked(page.location)["force"] == "true"
    old = utc_now().timestamp() - 600
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location, authn_instant=old))
    assert page.error_code == "response_invalid"


@pytest.mark.spec("SAML Core 3.2.2.1; SAML Core 3.2.2.2")
async def test_what_the_provider_refuses_is_told(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    asked = idp.asked(page.location)
    for status, code in (("AuthnFailed", "access_denied"), ("InvalidNameIDPolicy", "provider_error")):
        page = await person.leave(provider_id)
        asked = idp.asked(page.location)
        page = await post(person.platform.issuer, provider_id, idp.refuse(asked, status))
        assert page.error_code == code


@pytest.mark.spec("SAML Metadata 2.4.4; SAML Metadata 2.4.1.1")
async def test_our_metadata_names_us_and_two_keys_during_a_rollover(
    platform: Platform, api: Api, idp: Idp, person: Person
) -> None:
    provider_id = await connected(api, platform, idp, sp_entity_id="urn:watchword:acme")
    root = ElementTree.fromstring(idp.sp_metadata)
    assert root.get("entityID") == "urn:watchword:acme"
    services = [each.get("Location") for each in root.iter(f"{MD}AssertionConsumerService")]
    assert services == [f"{platform.issuer}{acs(provider_id)}"]
    before = certificates(idp.sp_metadata)
    assert [len(each) for each in before.values()] == [1, 1]

    made = await api.create("/upstream/saml-keys")
    assert (await api.call("POST", "/upstream/saml-keys")).status_code == 409
    metadata = (await platform.browser().send("GET", f"/api/auth/sso/saml2/sp/metadata/{provider_id}")).body
    assert {use: len(found) for use, found in certificates(metadata).items()} == {"signing": 2, "encryption": 2}
    assert (await encrypted(person, provider_id, idp)).status == 303, "encrypted for the active key"
    idp.sp_metadata = metadata
    keys = await api.create(f"/upstream/saml-keys/{made['id']}/activate")
    states = {item["id"]: item["state"] for item in keys["items"]}  # type: ignore[attr-defined]
    assert states[made["id"]] == "active"
    assert (await encrypted(person, provider_id, idp)).status == 303, "the previous key still opens"
    assert (await api.call("DELETE", f"/upstream/saml-keys/{made['id']}")).status_code == 404, "active: it stays"
    (previous,) = [key for key, state in states.items() if state == "previous"]
    await api.delete(f"/upstream/saml-keys/{previous}")
    idp.sp_metadata = metadata
    assert (await encrypted(person, provider_id, idp)).error_code == "response_invalid"
    idp.sp_metadata = (await platform.browser().send("GET", f"/api/auth/sso/saml2/sp/metadata/{provider_id}")).body
    assert (await encrypted(person, provider_id, idp)).status == 303


def certificates(metadata: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in ElementTree.fromstring(metadata).iter(f"{MD}KeyDescriptor"):
        found.setdefault(str(key.get("use")), []).extend(each.text or "" for each in key.iter(f"{DS}X509Certificate"))
    return found


@pytest.mark.seed(90)
async def test_the_administrators_own_metadata_is_served(platform: Platform, api: Api, idp: Idp) -> None:
    own = '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="urn:own"/>'
    provider_id = await connected(api, platform, idp, sp_metadata_xml=own)
    assert idp.sp_metadata == own
    assert provider_id


@pytest.mark.seed(90)
async def test_an_acs_address_of_ones_own_is_what_counts(person: Person, api: Api, idp: Idp) -> None:
    elsewhere = "https://login.acme.test/acs"
    provider_id = await connected(api, person.platform, idp, acs_url=elsewhere)
    page = await person.leave(provider_id)
    assert idp.asked(page.location)["acs"] == elsewhere
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location))
    assert (await person.identity(page)).identity.email == "alice@acme.test"


async def test_several_certificates_hold_at_once(person: Person, api: Api, idp: Idp) -> None:
    following = pair("next")
    provider_id = await connected(api, person.platform, idp)
    both = [idp.keys.certificate, following.bare]
    changed = await api.change(f"/providers/{provider_id}", certificates=both)
    assert len(changed["certificates"]) == 2  # type: ignore[arg-type]
    async with asyncio.timeout(30):  # the change needs some milliseconds to the service that reads responses
        while len((await api.get(f"/upstream/saml/{provider_id}"))["certificates"]) < 2:  # type: ignore[arg-type]
            await asyncio.sleep(0.02)
    assert await signed_in(person, provider_id, idp)
    idp.keys = following
    assert await signed_in(person, provider_id, idp)
    idp.keys = pair("third")
    assert (await refused(person, provider_id, idp)).error_code == "signature_validation_failed"


async def test_a_certificate_that_has_expired_is_refused_by_name(
    person: Person, api: Api, idp: Idp, expired_keys: Pair
) -> None:
    provider_id = await connected(api, person.platform, idp)
    await reconfigured(api, provider_id, certificates=[idp.keys.certificate, expired_keys.certificate])
    idp.keys = expired_keys
    assert (await refused(person, provider_id, idp)).error_code == "certificate_expired"
    await api.change(f"/providers/{provider_id}", certificates=[expired_keys.certificate])
    async with asyncio.timeout(10):  # nobody is sent away in vain, as soon as the change has been heard of
        while (await person.leave(provider_id)).error_code != "certificate_expired":
            await asyncio.sleep(0.05)
    state = await api.get(f"/upstream/saml/{provider_id}")
    assert [each["code"] for each in state["troubles"]] == ["certificate_expired"]  # type: ignore[attr-defined]
    assert [each["state"] for each in state["certificates"]] == ["expired"]  # type: ignore[attr-defined]


async def test_keys_on_curves_sign_as_well(person: Person, api: Api, idp: Idp) -> None:
    idp.keys = pair("curve", kind="ec")
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    page = await post(person.platform.issuer, provider_id, idp.respond(page.location, curve=True))
    assert (await person.identity(page)).identity.email == "alice@acme.test"


async def test_the_steps_tell_nothing_about_the_person(person: Person, api: Api, idp: Idp, canary: Canary) -> None:
    provider_id = await connected(api, person.platform, idp, subject_attribute="absent")
    page = await refused(person, provider_id, idp)
    listed = await api.get("/upstream/attempts", provider_id=provider_id)
    (attempt,) = listed["items"]  # type: ignore[misc]
    assert (attempt["failure"], attempt["reference"]) == ("account_not_found", page.texts["reference"])
    names = [step["step"] for step in attempt["steps"]]
    assert names == ["response", "flow", "trust", "signature", "assertion", "conditions", "refused"]
    text = json.dumps(attempt)
    assert "attribute firstName: 1" in text
    for value in ("alice", "Andersen", "dev"):
        assert value not in text


async def test_only_administrators_read_attempts(platform: Platform) -> None:
    for path in ("/upstream/attempts", "/upstream/saml-keys", "/upstream/saml/x"):
        assert (await platform.api(token="").call("GET", path)).status_code == 401
    answer = await platform.api().call("GET", "/upstream/saml/nobody")
    assert answer.status_code == 404


async def test_attempts_are_listed_newest_first_and_bounded(person: Person, api: Api, idp: Idp) -> None:
    provider_id = await connected(api, person.platform, idp)
    for _ in range(3):
        assert (await post(person.platform.issuer, provider_id, "bm90IHhtbA==")).error_code == "response_invalid"
    first = await api.get("/upstream/attempts", provider_id=provider_id, limit="2")
    rest = await api.get("/upstream/attempts", provider_id=provider_id, limit="2", cursor=str(first["next"]))
    ids = [item["id"] for item in [*first["items"], *rest["items"]]]  # type: ignore[misc]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next"]) == (3, None)


async def test_metadata_of_a_provider_that_is_no_saml_one(platform: Platform, api: Api) -> None:
    answer = await platform.browser().send("GET", "/api/auth/sso/saml2/sp/metadata/Nobody")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_our_private_key_is_sealed(platform: Platform, api: Api, idp: Idp, canary: Canary) -> None:
    await connected(api, platform, idp)
    database = platform.database.open(Service.FEDERATION, pool_size=1)
    rows = await saml_store.list_keys(database)
    assert rows
    assert all(b"PRIVATE KEY" not in row.sealed and not row.sealed.startswith(b"0\x82") for row in rows)
    await platform.database.close()


@pytest.mark.parametrize(
    ("mangle", "code"),
    [
        pytest.param(lambda _: "", "response_invalid", id="nothing"),
        pytest.param(lambda _: "%%%", "response_invalid", id="not base64"),
        pytest.param(lambda _: base64.b64encode(b"<a/>").decode(), "response_invalid", id="something else"),
        pytest.param(lambda good: good[:-40], "response_invalid", id="cut off"),
        pytest.param(lambda _: "A" * 270_000, "response_invalid", id="too large"),
    ],
)
async def test_what_is_no_response_has_its_page(
    person: Person, api: Api, idp: Idp, mangle: Callable[[str], str], code: str
) -> None:
    provider_id = await connected(api, person.platform, idp)
    page = await person.leave(provider_id)
    page = await post(person.platform.issuer, provider_id, mangle(idp.respond(page.location)))
    assert (page.status, page.error_code) == (502, code)
