"""What doctor says of certificates and tokens that end at a date."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from watchword.doctor import Finding, Level
from watchword.ends import End, Kind
from watchword.public_face import EXPIRES_WITHIN_DAYS, expiring

_REMEDIES: Final = {
    Kind.SAML_PROVIDER: "ask it for the next certificate, or read its metadata again, on its page of the console",
    Kind.SAML_KEY: "add a next key, let providers read it, activate it: docs/saml.md",
    Kind.SCIM_TOKEN: "make another with `watchword scim create` and give it to the system before the old one ends",
    Kind.API_KEY: "its owner makes another on the account page and deletes this one",
    Kind.REGISTRATION_TOKEN: "make another in the console where programs still register; else nothing",
}
_CERTIFICATES: Final = frozenset({Kind.SAML_PROVIDER, Kind.SAML_KEY})


def findings(ends: Iterable[End], now: datetime) -> list[Finding]:
    """A finding for each kind of which something ends soon, or that all is well.

    A token made for a short time is no news before the last quarter of it. Without one, who has it is refused; without
    a certificate nobody signs in.
    """
    found = []
    known = list(ends)
    for kind in Kind:
        mine = [each for each in known if each.kind is kind]
        if kind not in _CERTIFICATES:
            mine = [each for each in mine if each.ends - now < (each.ends - each.begun) / 4]
        finding = expiring(kind.replace("_", " "), [(each.name, each.ends) for each in mine], _REMEDIES[kind])
        if finding.level is Level.ERROR and kind not in _CERTIFICATES:
            finding = replace(finding, level=Level.WARNING)
        found += [finding] if finding.level is not Level.OK else []
    said = f"no certificate and no token ends within {EXPIRES_WITHIN_DAYS} days"
    return found or [Finding("ends", Level.OK, said)]
