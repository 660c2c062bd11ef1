"""The canonical forms of e-mail addresses, user names and domains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_policy.identifiers import InvalidEmail, canonical_email

SAME = {
    "plain": ("ana@example.com", "ana@example.com"),
    "ascii upper case": ("Ana.Lopez@Example.COM", "ana.lopez@example.com"),
    "plus tag kept": ("ana+sso@example.com", "ana+sso@example.com"),
    "unicode domain": ("ana@münchen.example", "ana@xn--mnchen-3ya.example"),
    "unicode domain with capitals of ASCII": ("ana@M\u00fcnchen.example", "ana@xn--mnchen-3ya.example"),
    "the same domain as A-labels": ("ana@XN--MNCHEN-3ya.example", "ana@xn--mnchen-3ya.example"),
    "one label, as in a lab": ("root@localhost", "root@localhost"),
    "reserved test domain": ("alice@demo.test", "alice@demo.test"),
}

REFUSED = {
    "empty": "",
    "no at sign": "ana.example.com",
    "no domain": "ana@",
    "no local part": "@example.com",
    "two at signs": "ana@evil@example.com",
    "quoted local part": '"ana"@example.com',
    "quoted at sign": '"ana@evil"@example.com',
    "comment": "ana(admin)@example.com",
    "display name": "Ana <ana@example.com>",
    "leading dot": ".ana@example.com",
    "double dot": "a..na@example.com",
    "inner space": "a na@example.com",
    "trailing space": "ana@example.com ",
    "line break": "ana@example.com\n",
    "header injection": "ana@example.com\r\nBcc: eve@example.com",
    "nul": "ana\x00@example.com",
    "kelvin sign in the local part": "\u212aate@example.com",
    "dotless i in the local part": "adm\u0131n@example.com",
    "full-width local part": "\uff41dmin@example.com",
    "cyrillic homoglyph in the local part": "\u0430dmin@example.com",
    "zero-width space": "ana\u200b@example.com",
    "zero-width space in the domain": "ana@exam\u200bple.com",
    "kelvin sign in the domain": "ana@\u212aelvin.example",
    "full-width domain": "ana@\uff45xample.com",
    "ideographic full stop": "ana@example\u3002com",
    "trailing dot": "ana@example.com.",
    "empty label": "ana@example..com",
    "label starts with a hyphen": "ana@-example.com",
    "underscore in the domain": "ana@exa_mple.com",
    "address literal": "ana@[127.0.0.1]",
    "bare address": "ana@127.0.0.1",
    "broken A-label": "ana@xn--a.com",
    "long local part": "a" * 65 + "@example.com",
    "long address": "a" * 60 + "@" + ".".join(["b" * 60] * 4) + ".com",
    "a megabyte": "a" * 1_000_000,
}


@pytest.mark.spec("RFC 5321 4.1.2")
@pytest.mark.parametrize(("given_address", "canonical"), SAME.values(), ids=SAME)
def test_addresses_have_one_canonical_form(given_address: str, canonical: str) -> None:
    assert canonical_email(given_address) == canonical


@pytest.mark.row(42)
@pytest.mark.spec("RFC 5891 4")
@pytest.mark.spec("RFC 5892")
@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED)
def test_addresses_that_could_be_taken_for_others_are_refused(address: str) -> None:
    with pytest.raises(InvalidEmail) as refusal:
        canonical_email(address)
    assert not address or address not in str(refusal.value), "a refusal must not repeat the address"


@given(st.text(max_size=80) | st.emails())
def test_the_canonical_form_is_stable_and_ascii(text: str) -> None:
    try:
        canonical = canonical_email(text)
    except InvalidEmail:
        return
    assert canonical.isascii()
    assert canonical_email(canonical) == canonical
    assert canonical == canonical.lower()
