"""The canonical form of an e-mail address: the one form in which addresses are compared, stored and unique."""

import re
from typing import Final

import idna

MAX_LENGTH: Final = 254  # RFC 5321 4.5.3.1.3: a path has 256 octets, two of them are < and >
_MAX_LOCAL: Final = 64  # RFC 5321 4.5.3.1.1
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# Only A-Z: str.lower() also turns the Kelvin sign U+212A into k, which would make two addresses one.
_ASCII_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class InvalidEmail(ValueError):
    """The text is not an address that can be compared safely; the message says what is wrong, without the address."""


def canonical_email(value: str) -> str:
    """The address with an ASCII-lower-cased local part and its domain as lower-case A-labels (IDNA2008, unmapped).

    Refused, because two spellings could be taken for one mailbox or one spelling for two: letters beyond ASCII in the
    local part, quoted local parts, comments, white space, address literals, a trailing dot, and domain labels that
    only a Unicode mapping would make valid (full-width letters, zero-width joiners out of place).
    Raises InvalidEmail. Spec: RFC 5321 4.1.2; RFC 5891 4; RFC 5892.
    """
    if len(value) > MAX_LENGTH:
        raise InvalidEmail(f"an e-mail address has at most {MAX_LENGTH} characters")
    local, at, domain = value.rpartition("@")
    if not at or not domain:
        raise InvalidEmail("an e-mail address needs a local part, @ and a domain")
    if not local.isascii():
        raise InvalidEmail("letters beyond ASCII before the @ are not accepted")
    if len(local) > _MAX_LOCAL or not _LOCAL.fullmatch(local):
        raise InvalidEmail("the part before the @ is not a plain one (no quotes, spaces or stray dots)")
    if domain.endswith(".") or re.fullmatch(r"[\d.]+", domain):
        raise InvalidEmail("the part after the @ is not a domain name")
    try:
        encoded = idna.encode(domain.translate(_ASCII_LOWER), strict=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidEmail("the part after the @ is not a domain name") from error
    canonical = f"{local.translate(_ASCII_LOWER)}@{encoded}"
    if len(canonical) > MAX_LENGTH:
        raise InvalidEmail(f"an e-mail address has at most {MAX_LENGTH} characters")
    return canonical
