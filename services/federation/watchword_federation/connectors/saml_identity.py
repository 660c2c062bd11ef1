"""From a verified assertion to an identity: which account it is, and what is said about the person.

Spec: SAML Core 2.2.2, 2.7.3, 8.3.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from watchword_events.exports import ProviderExport, SamlExport
from watchword_events.handovers import VerifiedIdentity
from watchword_federation.connectors.saml_response import Assertion, NameId
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.identities import identity_of, is_subject
from watchword_federation.lookups import relies_on_groups

EMAIL_FORMAT: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
TRANSIENT_FORMAT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_FORMAT_PREFIXES: Final = (
    "urn:oasis:names:tc:SAML:1.1:nameid-format:",
    "urn:oasis:names:tc:SAML:2.0:nameid-format:",
)
# Entra ID leaves groups out when there are more than 150, and writes where they could be asked for.
_GROUPS_ELSEWHERE: Final = "http://schemas.microsoft.com/claims/groups.link"
_XMLSOAP: Final = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_MACE: Final = "urn:mace:dir:attribute-def"
_EIDAS: Final = "http://eidas.europa.eu/attributes/naturalperson"
# Names that mean exactly this, by a standard or as many providers send them without being told: LDAP's (RFC 4519, RFC
# 4524) with their object ids and as MACE wrote them, the claim types of AD FS and Entra ID, eIDAS.
_STANDARD: Final[Mapping[str, tuple[str, ...]]] = {
    "email": (
        "mail",
        "emailAddress",
        "urn:oid:0.9.2342.19200300.100.1.3",
        "urn:oid:1.2.840.113549.1.9.1",
        "urn:oid:1.2.840.113549.1.9.1.1",
        f"{_MACE}:mail",
        f"{_MACE}:email",
        f"{_XMLSOAP}/emailaddress",
    ),
    "given_name": (
        "givenName",
        "urn:oid:2.5.4.42",
        f"{_MACE}:givenName",
        f"{_XMLSOAP}/givenname",
        f"{_EIDAS}/CurrentGivenName",
    ),
    "family_name": (
        "sn",
        "surname",
        "urn:oid:2.5.4.4",
        f"{_MACE}:sn",
        f"{_XMLSOAP}/surname",
        f"{_EIDAS}/CurrentFamilyName",
    ),
    "name": (
        "displayName",
        "urn:oid:2.16.840.1.113730.3.1.241",
        f"{_MACE}:displayName",
        "http://schemas.microsoft.com/identity/claims/displayname",
    ),
    "preferred_username": ("uid", "username", "urn:oid:0.9.2342.19200300.100.1.1", f"{_MACE}:uid"),
}
_ABOUT_THE_TOKEN: Final = frozenset({"iss", "sub", "iat", "auth_time", "acr", "amr", "email_verified"})


def saml_identity(
    provider: ProviderExport,
    saml: SamlExport,
    assertion: Assertion,
    *,
    sp_entity_id: str,
    auth_time: datetime,
    now: datetime,
) -> VerifiedIdentity:
    """The identity that an assertion describes. An address counts as unverified, whoever asserts it.

    Raises SignInFailed: groups_overage, account_not_found, missing_user_info.
    """
    if _GROUPS_ELSEWHERE in assertion.attributes and relies_on_groups(provider):
        raise SignInFailed(Failure.GROUPS_OVERAGE, "the assertion names no groups, because there are too many")
    claims: dict[str, JsonValue] = {
        name: list(values) if len(values) > 1 else values[0]
        for name, values in assertion.attributes.items()
        if values and name not in _ABOUT_THE_TOKEN
    }
    for name, attribute in _mapping(saml).items():
        candidates = (attribute, *_STANDARD.get(name, ())) if attribute else _STANDARD.get(name, ())
        found = next((values for each in candidates if (values := assertion.attributes.get(each))), None)
        if found is not None:
            claims[name] = list(found) if name == "groups" else found[0]
    name_id = assertion.name_id
    if "email" not in claims and name_id is not None and name_id.format == EMAIL_FORMAT:
        claims["email"] = name_id.value
    claims |= {"iss": assertion.issuer, "sub": subject_of(saml, assertion, sp_entity_id=sp_entity_id)}
    claims["iat"] = claims["auth_time"] = int(auth_time.timestamp())
    if assertion.authn_context is not None:
        claims["acr"] = assertion.authn_context
    return identity_of(provider.id, claims, now)


def subject_of(saml: SamlExport, assertion: Assertion, *, sp_entity_id: str) -> str:
    """What identifies the person at this provider, always: the chosen attribute, or the NameID with all that scopes it.

    Raises SignInFailed(account_not_found) when the assertion has nothing that lasts.
    """
    if saml.subject_attribute is not None:
        values = assertion.attributes.get(saml.subject_attribute, ())
        if len(values) != 1 or not _is_subject(values[0]):
            raise SignInFailed(Failure.ACCOUNT_NOT_FOUND, "the subject attribute does not have one usable value")
        return values[0]
    name_id = assertion.name_id
    if name_id is None or not _is_subject(name_id.value):
        raise SignInFailed(Failure.ACCOUNT_NOT_FOUND, "no usable NameID")
    # SAML Core 8.3.8: it is another one at each sign-in.
    if name_id.format == TRANSIENT_FORMAT:
        raise SignInFailed(Failure.ACCOUNT_NOT_FOUND, "the NameID is transient and no subject attribute is set")
    return qualified(name_id, issuer=assertion.issuer, sp_entity_id=sp_entity_id)


def qualified(name_id: NameId, *, issuer: str, sp_entity_id: str) -> str:
    """A NameID as one text. The same value in another format, or scoped to others, is another subject.

    SAML Core 2.2.2: a qualifier that names the parties themselves may be left out, so that it says nothing.
    """
    kind = name_id.format
    for prefix in _FORMAT_PREFIXES:
        kind = kind.removeprefix(prefix)
    scopes = {
        "nq": "" if name_id.name_qualifier == issuer else name_id.name_qualifier,
        "spnq": "" if name_id.sp_name_qualifier == sp_entity_id else name_id.sp_name_qualifier,
    }
    scoped = urlencode({name: value for name, value in scopes.items() if value})
    return f"{quote(kind, safe=':')}:{quote(name_id.value, safe='@+=!$,;')}{'?' if scoped else ''}{scoped}"


def _is_subject(value: str) -> bool:
    # Space at an end would make two people look the same wherever it is trimmed.
    return is_subject(value) and value == value.strip()


def _mapping(saml: SamlExport) -> dict[str, str | None]:
    return {
        "email": saml.email_attribute,
        "given_name": saml.first_name_attribute,
        "family_name": saml.last_name_attribute,
        "name": saml.name_attribute,
        "preferred_username": saml.username_attribute,
        "groups": saml.groups_attribute,
    }
