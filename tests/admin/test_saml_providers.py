"""SAML providers: what may be configured, what uploaded metadata becomes, what others copy of it."""

import secrets
from collections.abc import Mapping

import pytest
from tests.admin.test_providers import exported
from tests.federation.saml_idp import pair
from tests.runtime.test_saml_metadata import entity, key_of

from watchword_events.names import Service
from watchword_runtime.plans_api import apply_path
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.platform import Platform

KEYS = pair("idp")
OTHER = pair("other")
METADATA = entity(key_of(KEYS.bare), entity_id="https://idp.example/metadata", sso="https://idp.example/sso").replace(
    "https://idp/slo", "https://idp.example/slo"
)
FIELDS: Mapping[str, object] = {
    "issuer": "https://idp.example/metadata",
    "sso_url": "https://idp.example/sso",
    "certificates": [KEYS.certificate],
}

REFUSED: dict[str, tuple[str, dict[str, object]]] = {
    "nothing to go by": ("issuer", {"issuer": None}),
    "no address": ("sso_url", {"sso_url": None}),
    "no certificate": ("certificates", {"certificates": []}),
    "a certificate of nothing": ("certificates", {"certificates": ["AAAA"]}),
    "a private key": ("certificates", {"certificates": [KEYS.key]}),
    "nine certificates": ("certificates", {"certificates": [pair().certificate for _ in range(9)]}),
    "a script as address": ("sso_url", {"sso_url": "javascript:alert(1)"}),
    "an address over plain http": ("sso_url", {"sso_url": "http://idp.example/sso"}),
    "metadata of the cloud's inside": ("metadata_url", {"metadata_url": "http://169.254.169.254/latest"}),
    "metadata of a service provider": ("metadata_xml", {"metadata_xml": "<a/>"}),
    "metadata with a document type": ("metadata_xml", {"metadata_xml": f"<!DOCTYPE a>{METADATA}"}),
    "metadata of another provider": ("metadata_xml", {"issuer": "urn:other", "metadata_xml": METADATA}),
    "an entity id with spaces": ("issuer", {"issuer": "a b"}),
    "an unknown signature": ("signature", {"signature": "none"}),
    "a transient name alone": ("subject_attribute", {"name_id_format": "transient"}),
    "an attribute without a name": ("email_attribute", {"email_attribute": ""}),
    "own metadata that is none": ("sp_metadata_xml", {"sp_metadata_xml": "<a/>"}),
    "own metadata with a document type": ("sp_metadata_xml", {"sp_metadata_xml": "<!DOCTYPE a><a/>"}),
    "a client secret": ("client_secret", {"client_secret": "x" * 20}),
    "scopes": ("scopes", {"scopes": ["openid"]}),
}


def new(**members: object) -> dict[str, object]:
    return {"id": f"S-{secrets.token_hex(4)}", "preset": "saml", "display_name": "Corp", **members}


@pytest.mark.spec("SAML Metadata 2.4")
@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
async def test_what_would_not_work_or_leads_inside_is_refused(api: Api, row: tuple[str, dict[str, object]]) -> None:
    name, given = row
    refused = await api.call("POST", "/providers", new(**{**FIELDS, **given}))
    assert refused.status_code == 400, refused.text
    assert any(error["pointer"].startswith(f"#/{name}") for error in refused.json()["errors"]), refused.text


@pytest.mark.seed(89)
async def test_fields_are_enough(platform: Platform, api: Api) -> None:
    made = await api.create("/providers", **new(**FIELDS))
    assert (made["kind"], made["has_client_secret"], made["signature"]) == ("saml", False, "assertion")
    assert (made["email_attribute"], made["first_name_attribute"], made["last_name_attribute"]) == (
        "email",
        "firstName",
        "lastName",
    )
    data = (await exported(platform, made["id"])).data
    assert data is not None
    assert data.saml is not None
    assert (data.kind, data.issuer, data.client_id, data.client_secret) == ("saml", FIELDS["issuer"], "", None)
    assert data.saml.certificates == (KEYS.certificate,)
    assert data.saml.name_id_format == "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"


async def test_an_address_alone_is_enough(api: Api) -> None:
    made = await api.create("/providers", **new(metadata_url="https://idp.example/metadata.xml"))
    assert (made["issuer"], made["certificates"]) == (None, [])


@pytest.mark.seed(90)
async def test_uploaded_metadata_becomes_settings_and_is_not_kept(platform: Platform, api: Api) -> None:
    made = await api.create("/providers", **new(metadata_xml=METADATA))
    assert {name: made[name] for name in FIELDS} == FIELDS
    assert (made["slo_url"], made["slo_response_url"]) == ("https://idp.example/slo", "https://idp.example/slo-r")
    assert "metadata_xml" not in made
    path = f"/providers/{made['id']}"
    again = METADATA.replace(KEYS.bare, OTHER.bare)
    changed = await api.change(path, metadata_xml=again, display_name="Corp 2")
    assert changed["certificates"] == [OTHER.certificate], "a renewed certificate takes the old one's place"
    assert changed["display_name"] == "Corp 2"
    assert (await api.change(path, signature="response"))["certificates"] == [OTHER.certificate]


async def test_certificates_are_taken_as_people_have_them(api: Api) -> None:
    text = KEYS.certificate + OTHER.certificate
    made = await api.create("/providers", **new(**{**FIELDS, "certificates": text}))
    assert made["certificates"] == [KEYS.certificate, OTHER.certificate]
    path = f"/providers/{made['id']}"
    assert (await api.change(path, certificates=[KEYS.bare]))["certificates"] == [KEYS.certificate]


async def test_the_preset_says_what_it_asks_for(api: Api) -> None:
    presets = (await api.get("/providers/presets"))["items"]
    assert isinstance(presets, list)
    (saml,) = [preset for preset in presets if preset["preset"] == "saml"]
    assert saml["callback"] == "/api/auth/sso/saml2/sp/acs/{id}"
    names = {field["name"] for field in saml["fields"]}
    made = await api.create("/providers", **new(**FIELDS))
    assert names - {"metadata_xml"} <= set(made)
    replaced = {name: made[name] for name in names if name in made} | {"preset": "saml", "display_name": "Again"}
    assert (await api.call("PUT", f"/providers/{made['id']}", replaced)).status_code == 200


async def test_a_kind_does_not_change(api: Api) -> None:
    made = await api.create("/providers", **new(**FIELDS))
    assert (await api.call("PATCH", f"/providers/{made['id']}", {"preset": "oidc"})).status_code == 400


async def test_large_metadata_fits(api: Api) -> None:
    """AD FS and Entra ID publish far more than 64 KiB."""
    padded = METADATA.replace("<KeyDescriptor", f"<Extensions><a>{'x' * 150_000}</a></Extensions><KeyDescriptor", 1)
    assert (await api.create("/providers", **new(metadata_xml=padded)))["sso_url"] == "https://idp.example/sso"
    too_large = await api.call("POST", "/providers", new(metadata_xml="x" * 800_000))
    assert too_large.status_code == 413


async def test_it_is_configured_with_forms(platform: Platform, console: Browser, api: Api) -> None:
    provider_id = f"Form-{secrets.token_hex(4)}"
    await console.open(f"{platform.issuer}/admin/providers")
    page = await console.click("new-saml-provider")
    assert page.texts["callback-url"].endswith("/api/auth/sso/saml2/sp/acs/saml")
    page = await console.submit("metadata_xml", "save", id=provider_id, display_name="Form", metadata_xml="<a/>")
    assert page.status == 400
    assert "cannot be used" in page.texts["metadata_xml-note"]
    await console.submit("metadata_xml", "save", id=provider_id, display_name="Form", metadata_xml=METADATA)
    made = await api.get(f"/providers/{provider_id}")
    assert made["certificates"] == [KEYS.certificate]
    assert (made["single_logout"], made["sign_requests"], made["signature"]) == (True, None, "assertion")
    page = await console.open(f"{platform.issuer}/admin/providers/{provider_id}")
    assert page.texts["callback-url"] == made["callback_url"]
    await console.submit(
        "metadata_xml",
        "save",
        certificates=KEYS.certificate + OTHER.certificate,
        signature="response",
        sign_requests="yes",
        single_logout="",
        groups_attribute="memberOf",
    )
    changed = await api.get(f"/providers/{provider_id}")
    assert changed["certificates"] == [KEYS.certificate, OTHER.certificate]
    assert (changed["single_logout"], changed["sign_requests"], changed["signature"]) == (False, True, "response")
    assert (changed["groups_attribute"], changed["sso_url"]) == ("memberOf", "https://idp.example/sso")


async def test_it_is_declared_in_a_document(api: Api) -> None:
    document = {"kind": "IdentityProvider", **new(metadata_xml=METADATA, enabled=True)}
    path = apply_path(Service.ADMIN).removeprefix("/api/v1")
    first = await api.create(path, documents=[document])
    again = await api.create(path, documents=[document])
    actions = [step["action"] for plan in (first, again) for step in plan["steps"]]  # type: ignore[attr-defined]
    assert actions == ["create", "unchanged"]
    wrong = await api.call("POST", path, {"documents": [{**document, "signature": "none"}]})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "#/documents/0/signature")
