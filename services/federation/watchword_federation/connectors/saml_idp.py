"""What is in force about a SAML provider: its settings first, its metadata otherwise; and how it stands with both.

Spec: SAML Metadata 2.4.3, 4.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from watchword_events.exports import ProviderExport, SamlExport
from watchword_runtime.saml_metadata import Certificate, IdpMetadata, read_certificates

EXPIRES_SOON: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Idp:
    """An identity provider as sign-ins and sign-outs use it."""

    entity_id: str
    sso_url: str
    slo_url: str | None
    slo_response_url: str | None
    certificates: tuple[Certificate, ...]
    wants_signed_requests: bool

    def usable(self, now: datetime) -> tuple[Certificate, ...]:
        """The certificates that are in time."""
        return tuple(each for each in self.certificates if not each.has_expired(now))

    def expired(self, now: datetime) -> tuple[Certificate, ...]:
        """The others."""
        return tuple(each for each in self.certificates if each.has_expired(now))


def saml_of(provider: ProviderExport) -> SamlExport:
    """The SAML settings of a provider of that kind."""
    return provider.saml or SamlExport()


def idp_of(provider: ProviderExport, metadata: IdpMetadata | None) -> Idp | None:
    """The provider as it is in force; None when settings and metadata together do not say enough."""
    saml = saml_of(provider)
    entity_id = provider.issuer or (metadata.entity_id if metadata else "")
    sso_url = saml.sso_url or (metadata.sso_url if metadata else None)
    certificates = saml.certificates or (metadata.certificates if metadata else ())
    if not entity_id or sso_url is None or not certificates:
        return None
    slo_url = saml.slo_url or (metadata.slo_url if metadata else None)
    answers = saml.slo_response_url or (metadata.slo_response_url if metadata and not saml.slo_url else None)
    asked = metadata.wants_signed_requests if metadata else False
    return Idp(
        entity_id=entity_id,
        sso_url=sso_url,
        slo_url=slo_url if saml.single_logout else None,
        slo_response_url=answers or slo_url,
        certificates=read_certificates(certificates),
        wants_signed_requests=asked if saml.sign_requests is None else saml.sign_requests,
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that an administrator has to do something about. code: also the name of the log event."""

    code: str
    detail: str
    is_urgent: bool = False


def certificate_troubles(idp: Idp, now: datetime) -> Iterator[Trouble]:
    """Certificates that have expired or will soon, unless another one takes their place."""
    for certificate in idp.certificates:
        what = f"{certificate.subject}, SHA-256 {certificate.fingerprint[:16]}, until {certificate.not_after:%Y-%m-%d}"
        if certificate.has_expired(now):
            yield Trouble("certificate_expired", what, is_urgent=not idp.usable(now))
        elif certificate.has_expired(now + EXPIRES_SOON):
            yield Trouble("certificate_expires", what, is_urgent=not _is_replaced(idp, now))


def _is_replaced(idp: Idp, now: datetime) -> bool:
    return any(not each.has_expired(now + EXPIRES_SOON) for each in idp.certificates)
