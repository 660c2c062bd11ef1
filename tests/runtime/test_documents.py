"""JSON of strangers: what may be stored and walked, and what may not."""

import pytest

from watchword_runtime.documents import MAX_DEPTH, UnusableDocument, check_document, parse_object


def test_an_object_comes_back_as_it_was() -> None:
    assert parse_object(b'{"a": [1, {"b": "\xc3\xa6"}], "c": null}', max_bytes=100) == {"a": [1, {"b": "æ"}], "c": None}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"a"', id="a string"),
        pytest.param(b'{"a": 1', id="cut off"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": Infinity}', id="Infinity"),
        pytest.param(b'{"a": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"a": "\\u0000"}', id="U+0000 in a value"),
        pytest.param(b'{"a": {"b\\u0000": 1}}', id="U+0000 in a name"),
        pytest.param(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, id="a level too deep"),
        pytest.param(b'{"a":' * 100_000, id="nested without end"),
        pytest.param(b'{"a": "' + b"x" * 200_000 + b'"}', id="too large"),
    ],
)
def test_what_cannot_be_used_is_refused(raw: bytes) -> None:
    with pytest.raises(UnusableDocument):
        parse_object(raw, max_bytes=200_000)


def test_depth_and_width_are_counted_apart() -> None:
    check_document({str(number): ["x"] * 10 for number in range(1000)})
    parse_object(b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1), max_bytes=1000)
