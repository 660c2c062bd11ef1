"""How Watchword looks to a SAML provider: its entity id, its addresses, its metadata.

Spec: SAML Metadata 2.4.4; SAML Profiles 4.1.6.
"""

from html import escape
from typing import Final
from urllib.parse import quote

from watchword_events.exports import ProviderExport
from watchword_federation.connectors.saml_idp import saml_of
from watchword_federation.connectors.saml_keys import SpKeys

BASE: Final = "/api/auth/sso/saml2/sp"
MEDIA_TYPE: Final = "application/samlmetadata+xml"
_BINDINGS: Final = "urn:oasis:names:tc:SAML:2.0:bindings"
_XMLENC: Final = ("http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes128-gcm")
_OAEP: Final = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"


class ServiceProvider:
    """Watchword as the service provider of one installation."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url

    def entity_id(self, provider: ProviderExport) -> str:
        """Our entity id for this provider: the public URL, unless it was told another."""
        return saml_of(provider).sp_entity_id or self._public_url

    def acs_url(self, provider: ProviderExport) -> str:
        """Where responses of this provider are sent, letter by letter."""
        return saml_of(provider).acs_url or self._at("acs", provider.id)

    def slo_url(self, provider: ProviderExport) -> str:
        """Where logout messages of this provider are sent."""
        return self._at("slo", provider.id)

    def _at(self, what: str, provider_id: str) -> str:
        return f"{self._public_url}{BASE}/{what}/{quote(provider_id, safe='')}"

    def metadata(self, provider: ProviderExport, keys: SpKeys) -> str:
        """What the provider's administrator imports: the administrator's own document, or ours.

        The active key comes first: a provider that reads only one signing or encryption key takes that.
        """
        saml = saml_of(provider)
        if saml.sp_metadata_xml is not None:
            return saml.sp_metadata_xml
        described = "".join(
            f'<md:KeyDescriptor use="{use}"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>'
            f"{_base64(key.certificate.pem)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>{methods}</md:KeyDescriptor>"
            for use, methods in (("signing", ""), ("encryption", _encryption_methods()))
            for key in keys.published
        )
        slo = escape(self.slo_url(provider))
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
            'xmlns:ds="http://www.w3.org/2000/09/xmldsig#" '
            f'entityID="{escape(self.entity_id(provider))}">'
            f'<md:SPSSODescriptor AuthnRequestsSigned="{"true" if saml.sign_requests else "false"}" '
            f'WantAssertionsSigned="{"false" if saml.signature == "response" else "true"}" '
            'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
            f"{described}"
            f'<md:SingleLogoutService Binding="{_BINDINGS}:HTTP-Redirect" Location="{slo}"/>'
            f'<md:SingleLogoutService Binding="{_BINDINGS}:HTTP-POST" Location="{slo}"/>'
            f"<md:NameIDFormat>{escape(saml.name_id_format)}</md:NameIDFormat>"
            f'<md:AssertionConsumerService Binding="{_BINDINGS}:HTTP-POST" '
            f'Location="{escape(self.acs_url(provider))}" index="0" isDefault="true"/>'
            "</md:SPSSODescriptor></md:EntityDescriptor>\n"
        )


def _base64(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def _encryption_methods() -> str:
    return "".join(f'<md:EncryptionMethod Algorithm="{each}"/>' for each in (*_XMLENC, _OAEP))
