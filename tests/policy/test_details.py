"""Rich authorization requests: what is shown is what is granted, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_policy.details import MAX_BYTES, InvalidDetails, for_audience, narrowed, parse_details

TYPES = frozenset({"payment", "https://example.com/files"})
PAYMENT = {"type": "payment", "actions": ["initiate"], "instructedAmount": {"currency": "EUR", "amount": "123.50"}}
FILES = {"type": "https://example.com/files", "locations": ["https://files.example"], "privileges": ["admin"]}


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else "x"


@pytest.mark.spec("RFC 9396 2, 2.1, 2.2")
def test_what_a_client_may_ask_for_is_kept_as_it_is() -> None:
    assert parse_details(json.dumps([PAYMENT, FILES]), TYPES) == (PAYMENT, FILES)


REFUSED: dict[str, str] = {
    "not JSON": "payment",
    "cut off": '[{"type": "payment"',
    "an object": json.dumps(PAYMENT),
    "text": '"payment"',
    "null": "null",
    "empty": "[]",
    "too many": json.dumps([PAYMENT] * 17),
    "too long": json.dumps([{**PAYMENT, "note": "x" * MAX_BYTES}]),
    "an entry that is no object": '["payment"]',
    "no type": "[{}]",
    "type of another": '[{"type": "admin"}]',
    "type in other case": '[{"type": "Payment"}]',
    "type is no text": '[{"type": 7}]',
    "type is a list": '[{"type": ["payment"]}]',
    "one good, one bad": json.dumps([PAYMENT, {"type": "admin"}]),
    "actions is no list": '[{"type": "payment", "actions": "initiate"}]',
    "actions holds a number": '[{"type": "payment", "actions": [1]}]',
    "actions holds nothing": '[{"type": "payment", "actions": [""]}]',
    "locations is no list": '[{"type": "payment", "locations": "https://a"}]',
    "identifier is no text": '[{"type": "payment", "identifier": 7}]',
    "nested too deeply": json.dumps([{**PAYMENT, "more": nested(8)}]),
    "nested without end": "[" * 5000,
    "text that turns around": json.dumps([{**PAYMENT, "to": "good\u202eevil"}]),
    "text with a line break": json.dumps([{**PAYMENT, "to": "good\nevil"}]),
    "text of no width": json.dumps([{**PAYMENT, "to": "go\u200bod"}]),
    "a name that is not seen": json.dumps([{**PAYMENT, "to\u2066": "x"}]),
    "NaN": '[{"type": "payment", "amount": NaN}]',
    "a lone surrogate": '[{"type": "payment", "to": "\\ud800"}]',
}


@pytest.mark.spec("RFC 9396 5")
@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_none_or_not_the_clients_is_refused(raw: str) -> None:
    with pytest.raises(InvalidDetails):
        parse_details(raw, TYPES)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@given(_JSON | st.lists(st.fixed_dictionaries({"type": st.sampled_from([*TYPES, "x"])}, optional={"actions": _JSON})))
def test_any_json_is_kept_or_refused(value: Any) -> None:
    try:
        found = parse_details(json.dumps(value), TYPES)
    except InvalidDetails:
        return
    assert list(found) == value
    assert all(each["type"] in TYPES for each in found)


@given(st.text(max_size=60))
def test_any_text_is_kept_or_refused(raw: str) -> None:
    try:
        parse_details(raw, TYPES)
    except InvalidDetails:
        return


@pytest.mark.spec("RFC 9396 6")
def test_only_what_was_granted_can_be_asked_for_again() -> None:
    granted = (PAYMENT, FILES)
    assert narrowed(granted, (FILES,)) == (FILES,)
    assert narrowed(granted, (FILES, PAYMENT)) == granted
    for more in ({**PAYMENT, "actions": ["initiate", "cancel"]}, {"type": "payment"}):
        with pytest.raises(InvalidDetails):
            narrowed(granted, (more,))


@pytest.mark.spec("RFC 9396 3")
@pytest.mark.parametrize(
    ("audience", "kept"),
    [
        ("https://files.example", [PAYMENT, FILES]),
        (["https://a.example", "https://files.example"], [PAYMENT, FILES]),
        ("https://a.example", [PAYMENT]),
    ],
)
def test_a_resource_sees_what_concerns_it(audience: str | list[str], kept: list[Any]) -> None:
    assert list(for_audience((PAYMENT, FILES), audience)) == kept
