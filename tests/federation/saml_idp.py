"""A SAML identity provider that is not ours: pysaml2 with the xmlsec1 program, as its users run it."""

import base64
import datetime as dt
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, xmldsig
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID
from saml2.server import Server

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform

TOOLS = Path(__file__).parents[2] / "deploy" / "install-tools"
SIG_ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
ALICE: Mapping[str, list[str]] = {
    "email": ["alice@acme.test"],
    "firstName": ["Alice"],
    "lastName": ["Andersen"],
    "groups": ["dev", "admin"],
}


def xmlsec1() -> str:
    """The program; installed from the system's packages where it is missing."""
    if shutil.which("xmlsec1") is None:
        subprocess.run([TOOLS], check=True)
    found = shutil.which("xmlsec1")
    assert found is not None
    return found


@dataclass(frozen=True)
class Pair:
    """A private key and its self-signed certificate, both in PEM."""

    key: str
    certificate: str

    @property
    def bare(self) -> str:
        """The certificate as it stands in metadata."""
        return "".join(self.certificate.split("-----")[2].split())


def pair(name: str = "idp", *, days: float = 365, kind: str = "rsa") -> Pair:
    """A fresh one. days: until it expires; negative for one that has."""
    bits = 1024 if kind == "weak" else 2048
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=400))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Pair(pem, certificate.public_bytes(Encoding.PEM).decode())


@dataclass
class Idp:
    """Acme's identity provider. home: for its files.  sp_metadata: what it imported from us."""

    home: Path
    keys: Pair
    entity_id: str = "https://idp.acme.test/metadata"
    sso_url: str = "https://idp.acme.test/sso"
    slo_url: str = "https://idp.acme.test/slo"
    sp_metadata: str = ""
    name_id: Any = field(default_factory=lambda: NameID(format=NAMEID_FORMAT_EMAILADDRESS, text="alice@acme.test"))
    attributes: Mapping[str, list[str]] = field(default_factory=lambda: dict(ALICE))
    _told: tuple[object, ...] = ()

    def config(self) -> IdPConfig:
        """What pysaml2 is told."""
        for name, text in (("idp.key", self.keys.key), ("idp.crt", self.keys.certificate)):
            (self.home / name).write_text(text)
        policy = {
            "lifetime": {"minutes": 5},
            "attribute_restrictions": None,
            "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic",
        }
        return IdPConfig().load(
            {
                "entityid": self.entity_id,
                "xmlsec_binary": xmlsec1(),
                "key_file": str(self.home / "idp.key"),
                "cert_file": str(self.home / "idp.crt"),
                "encryption_keypairs": [],
                "metadata": {"inline": [self.sp_metadata]} if self.sp_metadata else {},
                "service": {
                    "idp": {
                        "endpoints": {
                            "single_sign_on_service": [(self.sso_url, BINDING_HTTP_REDIRECT)],
                            "single_logout_service": [(self.slo_url, BINDING_HTTP_REDIRECT)],
                        },
                        "policy": {"default": policy},
                    }
                },
            }
        )

    @property
    def server(self) -> Server:
        """A provider that knows what it imported last: a new one only when something changed, for it reads its keys."""
        told = (self.keys, self.entity_id, self.sso_url, self.slo_url, self.sp_metadata)
        if told != self._told:
            self._server, self._told = Server(config=self.config()), told
        return self._server

    def metadata(self) -> str:
        """What is uploaded at Watchword, or fetched by it."""
        return str(entity_descriptor(self.config()))

    def respond(
        self,
        url: str,
        *,
        sign_assertion: bool = True,
        sign_response: bool = False,
        encrypt: bool = False,
        authn_instant: float | None = None,
        curve: bool = False,
        **more: Any,
    ) -> str:
        """The response to the request in a redirect to us, as it is posted: XML in base64.

        url: with SAMLRequest; "" for a sign-in that begins here.
        """
        server = self.server
        asked = (
            self.asked(url) if url else {"acs": self.acs_url(server), "id": None, "issuer": self.sp_entity_id(server)}
        )
        response = server.create_authn_response(
            dict(self.attributes),
            in_response_to=asked["id"],
            destination=asked["acs"],
            sp_entity_id=asked["issuer"],
            name_id=self.name_id,
            authn={"class_ref": PASSWORD, "authn_instant": int(authn_instant or dt.datetime.now(dt.UTC).timestamp())},
            sign_assertion=sign_assertion,
            sign_response=sign_response,
            encrypt_assertion=encrypt,
            encrypt_assertion_self_contained=True,
            sign_alg=SIG_ECDSA_SHA256 if curve else xmldsig.SIG_RSA_SHA256,
            digest_alg=xmldsig.DIGEST_SHA256,
            **more,
        )
        return base64.b64encode(str(response).encode()).decode()

    def refuse(self, asked: Mapping[str, Any], status: str) -> str:
        """A response that says why nobody is signed in. status: the second code."""
        why = (f"urn:oasis:names:tc:SAML:2.0:status:{status}", "no")
        answer = self.server.create_error_response(asked["id"], asked["acs"], why)
        return base64.b64encode(str(answer).encode()).decode()

    def asked(self, url: str) -> dict[str, Any]:
        """What a redirect to us asks for. pysaml2 checked its signature, if it has one."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        request = self.server.parse_authn_request(
            query["SAMLRequest"],
            BINDING_HTTP_REDIRECT,
            relay_state=query.get("RelayState"),
            sigalg=query.get("SigAlg"),
            signature=query.get("Signature"),
        ).message
        return {
            "id": request.id,
            "acs": request.assertion_consumer_service_url,
            "issuer": request.issuer.text,
            "force": request.force_authn,
            "passive": request.is_passive,
            "signed": "Signature" in query,
            "message": request,
        }

    def sp_entity_id(self, server: Server) -> str:
        """The one service that we know."""
        (found,) = server.metadata.with_descriptor("spsso")
        return str(found)

    def acs_url(self, server: Server) -> str:
        """Where its responses go, by its metadata."""
        services = server.metadata.assertion_consumer_service(self.sp_entity_id(server), BINDING_HTTP_POST)
        return str(services[0]["location"])


def acs(provider_id: str) -> str:
    """The path of our assertion consumer service."""
    return f"/api/auth/sso/saml2/sp/acs/{provider_id}"


async def connected(api: Api, platform: Platform, idp: Idp, **settings: object) -> str:
    """The id of a provider that was configured at both sides by metadata."""
    wanted: dict[str, object] = {"metadata_xml": idp.metadata(), **settings}
    made = await api.create(
        "/providers", id=f"Acme-{secrets.token_hex(4)}", preset="saml", enabled=True, display_name="Acme", **wanted
    )
    page = await platform.browser().send("GET", f"/api/auth/sso/saml2/sp/metadata/{made['id']}")
    assert page.status == 200
    assert page.headers["content-type"].startswith("application/samlmetadata+xml")
    idp.sp_metadata = page.body
    return str(made["id"])


async def reconfigured(api: Api, provider_id: str, **change: object) -> None:
    """The provider is changed and federation has heard of it: who left before is told that the settings changed."""
    changed = await api.call("PATCH", f"/providers/{provider_id}", change)
    assert changed.status_code == 200, changed.text
    demanded = {"Watchword-Position": changed.headers["Watchword-Position"]}
    heard = await api.client.get(f"/upstream/saml/{provider_id}", headers=demanded)
    assert heard.status_code == 200, heard.text


async def post(issuer: str, provider_id: str, response: str, **more: str) -> Page:
    """What the provider's page posts: from another site, so that no cookie of ours comes with it."""
    headers = {"Origin": "https://idp.acme.test", "Sec-Fetch-Site": "cross-site"}
    async with Browser(issuer) as browser:
        return await browser.send("POST", acs(provider_id), {"SAMLResponse": response, **more}, headers)
