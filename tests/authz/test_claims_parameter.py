"""The `claims` parameter: read strictly, or refused in words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_authz.claims_parameter import ClaimsAsked, InvalidClaims, parse_claims


@pytest.mark.spec("OpenID Connect Core 5.5, 5.5.1, 5.5.1.1")
def test_names_values_and_who_are_read() -> None:
    found = parse_claims(
        json.dumps(
            {
                "userinfo": {"given_name": {"essential": True}, "nickname": None, "http://x.test/y": {"foo": 1}},
                "id_token": {
                    "auth_time": {"essential": True},
                    "acr": {"essential": True, "values": ["urn:a", "urn:b"]},
                    "sub": {"value": "248289761001"},
                },
                "unheard_of": {"x": 1},
            }
        )
    )
    assert found == ClaimsAsked(
        id_token=("auth_time", "acr", "sub"),
        userinfo=("given_name", "nickname", "http://x.test/y"),
        acr_values=("urn:a", "urn:b"),
        acr_essential=True,
        subject="248289761001",
    )


ACR: dict[str, tuple[Any, tuple[tuple[str, ...], bool]]] = {
    "as it is": (None, ((), False)),
    "one value": ({"value": "urn:a"}, (("urn:a",), False)),
    "essential without values": ({"essential": True}, ((), False)),
    "essential": ({"value": "urn:a", "essential": True}, (("urn:a",), True)),
    "values and a value": ({"values": ["urn:a"], "value": "urn:b"}, (("urn:a", "urn:b"), False)),
}


@pytest.mark.parametrize(("acr", "expected"), ACR.values(), ids=ACR.keys())
def test_how_to_sign_in(acr: Any, expected: tuple[tuple[str, ...], bool]) -> None:
    found = parse_claims(json.dumps({"id_token": {"acr": acr}}))
    assert (found.acr_values, found.acr_essential) == expected


REFUSED: dict[str, str] = {
    "not JSON": "{",
    "a list": "[]",
    "text": '"x"',
    "nothing": "null",
    "too long": json.dumps({"userinfo": {"x": {"value": "y" * 9000}}}),
    "nested without end": '{"userinfo":' * 3000,
    "userinfo is a list": '{"userinfo": ["name"]}',
    "id_token is text": '{"id_token": "name"}',
    "too many": json.dumps({"userinfo": {f"c{n}": None for n in range(65)}}),
    "a claim asked for with true": '{"userinfo": {"name": true}}',
    "a claim asked for with text": '{"userinfo": {"name": "essential"}}',
    "essential is text": '{"userinfo": {"name": {"essential": "true"}}}',
    "values is text": '{"id_token": {"acr": {"values": "urn:a"}}}',
    "value of acr is a number": '{"id_token": {"acr": {"value": 2}}}',
    "values of acr are numbers": '{"id_token": {"acr": {"values": [1]}}}',
    "value of sub is a number": '{"id_token": {"sub": {"value": 7}}}',
    "value of sub is an object": '{"id_token": {"sub": {"value": {}}}}',
    "NUL in a value of acr": '{"id_token": {"acr": {"value": "a\\u0000"}}}',
    "NUL anywhere": '{"userinfo": {"x": {"value": ["\\u0000"]}}}',
    "line break in a value of acr": '{"id_token": {"acr": {"values": ["a\\nb"]}}}',
    "two values in one": '{"id_token": {"acr": {"value": "a b"}}}',
    "line break in a subject": '{"id_token": {"sub": {"value": "a\\nb"}}}',
    "long subject": json.dumps({"id_token": {"sub": {"value": "x" * 256}}}),
    "two subjects": '{"id_token": {"sub": {"value": "a"}}, "userinfo": {"sub": {"value": "b"}}}',
    "empty name": '{"userinfo": {"": null}}',
    "name with a control character": '{"userinfo": {"a\\u0001": null}}',
    "long name": json.dumps({"userinfo": {"x" * 129: None}}),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_meant_is_refused(raw: str) -> None:
    with pytest.raises(InvalidClaims):
        parse_claims(raw)


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=6,
)
_REQUEST = st.none() | st.fixed_dictionaries(
    {}, optional={"essential": st.booleans() | _VALUE, "value": _VALUE, "values": _VALUE}
)
_MEMBERS = st.dictionaries(st.sampled_from(["sub", "acr", "name", "email", "x"]), _REQUEST | _VALUE, max_size=4)


@given(st.fixed_dictionaries({}, optional={"id_token": _MEMBERS | _VALUE, "userinfo": _MEMBERS | _VALUE}) | _VALUE)
def test_any_json_is_read_or_refused(document: Any) -> None:
    try:
        found = parse_claims(json.dumps(document))
    except InvalidClaims:
        return
    assert set(found.userinfo) == set(document.get("userinfo") or {})
    assert all(isinstance(each, str) for each in found.acr_values)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(raw: str) -> None:
    try:
        parse_claims(raw)
    except InvalidClaims:
        return
