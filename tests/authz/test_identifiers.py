"""What people type to say who they are."""

import pytest

from watchword_authz.identifiers import Identifier, identify


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ann", Identifier("username", "ann")),
        ("  Ann ", Identifier("username", "ann")),
        ("Ann@Demo.Test", Identifier("email", "ann@demo.test")),
        ("ann@bücher.example", Identifier("email", "ann@xn--bcher-kva.example")),
    ],
)
def test_canonical_form(typed: str, expected: Identifier) -> None:
    assert identify(typed) == expected


LOOKALIKES = {
    "Kelvin sign": "mar\u212a",
    "Kelvin sign in an address": "mar\u212a@demo.test",
    "full-width": "\uff41nn",
    "full-width domain": "ann@\uff44emo.test",
    "zero-width space": "an\u200bn",
    "newline": "ann\nbob",
    "NUL": "ann\x00",
    "empty": "   ",
    "too long": "x" * 255,
    "dot domain": "ann@.",
    "no domain": "ann@",
}


@pytest.mark.parametrize("typed", LOOKALIKES.values(), ids=LOOKALIKES.keys())
def test_what_looks_like_a_name_is_nobodys(typed: str) -> None:
    assert identify(typed) is None
