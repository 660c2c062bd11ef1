"""Forms, queries and JSON: what two readers could read differently is refused, with a 4xx."""

import contextlib
from urllib.parse import quote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_web.errors import BadRequest, BodyTooLarge, MalformedForm, MalformedJson, RepeatedParameter
from watchword_web.forms import check_form_type, check_length, parse_form, parse_json

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30)


@given(st.dictionaries(TEXT, TEXT, max_size=10))
def test_what_a_browser_encodes_comes_back(fields: dict[str, str]) -> None:
    assert parse_form(urlencode(fields).encode()) == fields


@given(st.binary(max_size=200))
def test_any_bytes_give_parameters_or_a_refusal(raw: bytes) -> None:
    try:
        params = parse_form(raw)
    except BadRequest:
        return
    assert all(value and "\x00" not in value for value in params.values())


@pytest.mark.row(9)
@pytest.mark.spec("RFC 6749 3.1")
@pytest.mark.parametrize(
    "raw",
    [b"scope=a&scope=b", b"scope=a&scope=a", b"scope=&scope=a", b"scope&scope", b"s%63ope=a&scope=b", b"=a&=b"],
)
@pytest.mark.spec("RFC 6749 3.1")
def test_a_repeated_parameter_is_refused(raw: bytes) -> None:
    with pytest.raises(RepeatedParameter):
        parse_form(raw)


def test_a_repeated_name_is_not_echoed_when_it_is_none_of_ours() -> None:
    with pytest.raises(RepeatedParameter) as refusal:
        parse_form(b"%3Cscript%3E=1&%3Cscript%3E=2")
    assert "<" not in refusal.value.description


@pytest.mark.spec("RFC 8707 2; RFC 8693 2.1")
@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"resource=https://a.test&scope=x&resource=https://b.test", "https://a.test https://b.test"),
        (b"resource=https%3A%2F%2Fa.test&resource=https://a.test", "https://a.test"),
        (b"resource=&resource=https://a.test&resource", "https://a.test"),
    ],
)
def test_several_resources_are_a_list(raw: bytes, value: str) -> None:
    assert parse_form(raw)["resource"] == value


@pytest.mark.parametrize("raw", [b"resource=a%20b", b"audience=a+b", b"resource=x&resource=a%20b"])
def test_a_list_cannot_be_sent_in_one_value(raw: bytes) -> None:
    with pytest.raises(MalformedForm):
        parse_form(raw)


@pytest.mark.spec("RFC 6749 3.1")
def test_a_parameter_without_a_value_is_omitted() -> None:
    assert parse_form(b"scope=&state=x&nonce&&") == {"state": "x"}


@pytest.mark.parametrize(
    "raw",
    [
        b"a=%",
        b"a=%2",
        b"a=%zz",
        b"%zz=a",
        b"a=%ff",
        b"a=\xff",
        b"a=%c0%af",
        b"a=%ed%a0%80",
        b"a=%00",
        b"a=\x00",
        b"%00=a",
    ],
)
@pytest.mark.spec("RFC 6749 B")
def test_a_broken_encoding_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedForm):
        parse_form(raw)


def test_a_semicolon_separates_nothing() -> None:
    assert parse_form(b"a=1;b=2") == {"a": "1;b=2"}


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(MalformedForm):
        parse_form(b"&".join(b"p%d=1" % number for number in range(101)))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
        'application/x-www-form-urlencoded;charset="utf-8"',
    ],
)
def test_the_form_type_is_read_as_a_media_type(content_type: str) -> None:
    check_form_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json",
        "application/x-www-form-urlencoded; charset=utf-7",
    ],
)
def test_any_other_body_type_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedForm):
        check_form_type(content_type)


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (b"65537", BodyTooLarge),
        (b"9" * 5000, BodyTooLarge),
        (b"-1", BadRequest),
        (b"1e3", BadRequest),
        (b"", BadRequest),
    ],
)
def test_an_announced_length_is_checked(value: bytes, refusal: type[BadRequest]) -> None:
    with pytest.raises(refusal):
        check_length(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_a_json_value_comes_back(value: object) -> None:
    assert parse_json(orjson.dumps(value)) == value


@given(st.binary(max_size=100))
def test_any_bytes_give_json_or_a_refusal(raw: bytes) -> None:
    with contextlib.suppress(MalformedJson):
        parse_json(raw)


@pytest.mark.parametrize("depth", [20])
def test_twenty_levels_are_allowed(depth: int) -> None:
    assert parse_json(b"[" * depth + b"]" * depth)


@pytest.mark.row(18)
@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 21 + b"]" * 21,
        b'{"a":' * 21 + b"1" + b"}" * 21,
        b"[" * 30_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":["' + b'\\"' * 10 + b'",' + b"[" * 20 + b"]" * 20 + b"]}",
    ],
    ids=["lists", "objects", "unclosed", "very deep", "behind escaped quotes"],
)
def test_deeper_nesting_is_refused_before_it_is_parsed(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    text = "[{" * 100 + '\\"' + "[" * 100
    assert parse_json(orjson.dumps([text])) == [text]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nul",
        b"NaN",
        b"[Infinity]",
        b'{"a":1}x',
        b'"\xff"',
        b'"\\ud800"',
        b'"a\\u0000b"',
        b"'a'",
        b'{"a":1,}',
        b"\xef\xbb\xbf{}",
        quote_plus("{}").encode(),
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)
