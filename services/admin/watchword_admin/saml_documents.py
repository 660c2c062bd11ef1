"""What may be said of a SAML provider. Uploaded metadata becomes settings here; nothing of it is kept as it came."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from watchword_admin.provider_documents import ProviderDocument, ProviderId, Shown, Url, printable, wrong
from watchword_events.exports import SamlExport
from watchword_runtime.saml_metadata import (
    MAX_CERTIFICATES,
    MAX_METADATA,
    UnusableCertificate,
    UnusableMetadata,
    is_entity_id,
    read_certificates,
    read_metadata,
)

_MAX_SP_METADATA: Final = 32 * 1024
_METADATA: Final = "urn:oasis:names:tc:SAML:2.0:metadata"
# SAML Core 8.3; the first is what asks for nothing.
NAME_ID_FORMATS: Final[dict[str, str]] = {
    "unspecified": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
    "email": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
    "persistent": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    "transient": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
}
# Members that uploaded metadata decides, where it says something, with its name for each.
_FROM_METADATA: Final = {
    "issuer": "entity_id",
    "sso_url": "sso_url",
    "slo_url": "slo_url",
    "slo_response_url": "slo_response_url",
    "certificates": "certificates",
    "sign_requests": "wants_signed_requests",
}


def _entity_id(value: str) -> str:
    if not is_entity_id(value):
        raise ValueError("an entity ID is a URI of at most 1024 characters, without spaces")
    return value


def _certificates(value: object) -> object:
    """PEM, however the administrator had them: one text with several, or a list; metadata's bare base64 also works."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        return value
    try:
        return [each.pem for each in read_certificates([each for each in given if each.strip()])]
    except UnusableCertificate as error:
        raise ValueError(f"a certificate cannot be used: {error}") from error


def _sp_metadata(value: str) -> str:
    try:
        root = fromstring(value.encode(), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ValueError("this is not well-formed XML, or has a document type") from error
    if root.tag != f"{{{_METADATA}}}EntityDescriptor":
        raise ValueError("SP metadata is an EntityDescriptor")
    return value


EntityId = Annotated[str, Field(max_length=1024), AfterValidator(_entity_id)]
Pem = Annotated[str, Field(max_length=16 * 1024)]
Attribute = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(printable)]
ContextClass = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(printable)]


class SamlDocument(ProviderDocument):
    """The settings of a SAML 2.0 provider. issuer: its entity ID; may be left out where metadata says it.

    sso_url, slo_url, certificates: instead of what stands behind `metadata_url`.  sp_entity_id: the public URL when
    left out.  acs_url: where responses are sent, if not straight to Watchword.
    Spec: SAML Profiles 4.1; SAML Metadata 2.4.
    """

    kind_of = "saml"
    callback = "/api/auth/sso/saml2/sp/acs/"
    addresses = ("metadata_url", "sso_url", "slo_url", "slo_response_url", "acs_url")

    preset: str = "saml"
    issuer: EntityId | None = None
    metadata_url: Url | None = None
    sso_url: Url | None = None
    slo_url: Url | None = None
    slo_response_url: Url | None = None
    certificates: Annotated[tuple[Pem, ...], Field(max_length=MAX_CERTIFICATES), BeforeValidator(_certificates)] = ()
    signature: Literal["assertion", "response", "either"] = "assertion"
    require_encryption: bool = False
    sign_requests: bool | None = None
    single_logout: bool = True
    idp_initiated: bool = False
    name_id_format: Literal["unspecified", "email", "persistent", "transient"] = "unspecified"
    authn_context: Annotated[tuple[ContextClass, ...], Field(max_length=8)] = ()
    sp_entity_id: EntityId | None = None
    acs_url: Url | None = None
    sp_metadata_xml: Annotated[str, Field(max_length=_MAX_SP_METADATA), AfterValidator(_sp_metadata)] | None = None
    subject_attribute: Attribute | None = None
    email_attribute: Attribute = "email"
    first_name_attribute: Attribute = "firstName"
    last_name_attribute: Attribute = "lastName"
    name_attribute: Attribute | None = None
    username_attribute: Attribute | None = None
    groups_attribute: Attribute | None = None

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.metadata_url is None:
            for name in ("issuer", "sso_url", "certificates"):
                if not getattr(self, name):
                    raise wrong(name, "needed, unless metadata_url or metadata_xml says it")
        if self.name_id_format == "transient" and self.subject_attribute is None:
            # Threat 40: a transient NameID is another one at each sign-in.
            raise wrong("subject_attribute", "a transient NameID recognises nobody the next time: name an attribute")
        return self

    def exported(self) -> dict[str, Any]:
        """The settings as members of ProviderExport."""
        fields = self.model_dump()
        saml = {name: fields.pop(name) for name in SamlExport.model_fields}
        saml["name_id_format"] = NAME_ID_FORMATS[self.name_id_format]
        return fields | {"issuer": self.issuer or "", "saml": saml}

    def shown(self, public_url: str, provider_id: str) -> dict[str, Any]:
        """What the API shows of the settings, and what the administrator of the provider asks for."""
        return super().shown(public_url, provider_id) | {
            "callback_url": self.acs_url or self.callback_of(public_url, provider_id),
            "sp_metadata_url": f"{public_url}/api/auth/sso/saml2/sp/metadata/{provider_id}",
            "effective_sp_entity_id": self.sp_entity_id or public_url,
        }


class SamlSettings(SamlDocument):
    """A SAML provider as it is replaced. enabled: when left out, it stays.

    metadata_xml: the provider's metadata; what it says takes the place of issuer, addresses and certificates.
    """

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    enabled: bool | None = None
    metadata_xml: Annotated[str, Field(max_length=MAX_METADATA)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_metadata(cls, members: object) -> object:
        uploaded = members.get("metadata_xml") if isinstance(members, Mapping) else None
        if not isinstance(members, Mapping) or not isinstance(uploaded, str):
            return members
        issuer = members.get("issuer")
        try:
            found = read_metadata(uploaded.encode(), entity_id=issuer if isinstance(issuer, str) else "")
        except UnusableMetadata as error:
            raise wrong("metadata_xml", f"it cannot be used: {error}") from error
        said = {name: value for name, its in _FROM_METADATA.items() if (value := getattr(found, its))}
        return {**members, **said}


class NewSamlProvider(SamlSettings):
    """A SAML provider as it is configured first, under an id of the administrator's choice."""

    id: ProviderId


class SamlProviderView(SamlDocument, Shown):
    """A SAML provider as the API shows it.

    callback_url: the assertion consumer service.  sp_metadata_url: what the provider's administrator can import.
    """

    kind: Literal["saml"] = "saml"
    sp_metadata_url: str
    effective_sp_entity_id: str
