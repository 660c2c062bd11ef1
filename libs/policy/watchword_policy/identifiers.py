"""The canonical forms in which e-mail addresses, user names and domains are compared, stored and unique everywhere."""

import re
from typing import Final

import idna

MAX_EMAIL: Final = 254  # RFC 5321 4.5.3.1.3: a path has 256 octets, two of them are < and >
MAX_USERNAME: Final = 128
_MAX_LOCAL: Final = 64  # RFC 5321 4.5.3.1.1
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# ASCII only, so that lower() is one to one and no name looks like another.
_USERNAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,126}[a-z0-9_])?")
# Only A-Z: str.lower() also turns the Kelvin sign U+212A into k, which would make two addresses one.
_ASCII_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class InvalidEmail(ValueError):
    """The text is not an address that can be compared safely; the message says what is wrong, without the address."""


class InvalidUsername(ValueError):
    """The text is no user name; the message says what one looks like."""


class InvalidDomain(ValueError):
    """The text is no domain name."""


def canonical_email(value: str) -> str:
    """The address with an ASCII-lower-cased local part and its domain in canonical form.

    Refused, because two spellings could be taken for one mailbox or one spelling for two: letters beyond ASCII in the
    local part, quoted local parts, comments, white space, address literals and a trailing dot.
    Raises InvalidEmail. Spec: RFC 5321 4.1.2; RFC 5891 4; RFC 5892.
    """
    if len(value) > MAX_EMAIL:
        raise InvalidEmail(f"an e-mail address has at most {MAX_EMAIL} characters")
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
        canonical = f"{local.translate(_ASCII_LOWER)}@{canonical_domain(domain)}"
    except InvalidDomain as error:
        raise InvalidEmail("the part after the @ is not a domain name") from error
    if len(canonical) > MAX_EMAIL:
        raise InvalidEmail(f"an e-mail address has at most {MAX_EMAIL} characters")
    return canonical


def canonical_username(value: str) -> str:
    """The user name in lower case: letters, digits and . _ @ + - between them. Raises InvalidUsername."""
    if not value.isascii() or not _USERNAME.fullmatch(value.lower()):
        raise InvalidUsername(
            f"a user name has 1 to {MAX_USERNAME} characters of a-z, 0-9 and . _ @ + -"
            " and begins with a letter or digit"
        )
    return value.lower()


def canonical_domain(value: str) -> str:
    """The domain as lower-case A-labels (IDNA2008, unmapped).

    Labels that only a Unicode mapping would make valid are refused (full-width letters, joiners out of place).
    Raises InvalidDomain. Spec: RFC 5891 4; RFC 5892.
    """
    try:
        return idna.encode(value.translate(_ASCII_LOWER), strict=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise InvalidDomain("not a domain name") from None
