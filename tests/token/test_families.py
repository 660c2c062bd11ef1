"""Refresh tokens as strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_database.ids import new_id
from watchword_events.names import GrantId
from watchword_token.families import Families

FAMILIES = Families(bytes(range(32)))
OTHERS = Families(bytes(32))
# Made by 0.1.0; never edited.
EARLIER = "01a20592-6a79-7239-94e1-1a5baaf67c66.AAAAAWRlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn-AgYKD9y5eRG_llmiJMpbn"
ITS_SUCCESSOR = "01a20592-6a79-7239-94e1-1a5baaf67c66.AAAAAk3U8m8cB3dfjysNE7NDxcJl2n2lAdvnQ75rj-dSejm3Try5_xl1vakLd0aC"


def test_a_token_is_read_as_what_it_was_made() -> None:
    token = FAMILIES.first(GrantId(new_id()))
    assert FAMILIES.read(token.text) == token
    assert FAMILIES.read(FAMILIES.successor(token).text) == FAMILIES.successor(token)


def test_a_successor_is_the_same_each_time_and_nobody_elses() -> None:
    token = FAMILIES.first(GrantId(new_id()))
    assert FAMILIES.successor(token) == FAMILIES.successor(token)
    assert FAMILIES.successor(token).seq == token.seq + 1
    assert FAMILIES.successor(token).text != OTHERS.successor(token).text
    assert FAMILIES.first(token.gid).text != token.text


def test_tokens_of_earlier_releases_are_read_and_continued_as_they_were() -> None:
    token = FAMILIES.read(EARLIER)
    assert token is not None
    assert token.seq == 1
    assert FAMILIES.successor(token).text == ITS_SUCCESSOR


@given(st.integers(0, 100), st.characters(max_codepoint=255))
def test_an_altered_token_is_none_of_ours(place: int, character: str) -> None:
    text = FAMILIES.first(GrantId("01a20592-6a79-7239-94e1-1a5baaf67c66")).text
    altered = text[:place] + character + text[place + 1 :]
    if altered != text:
        assert FAMILIES.read(altered) is None


@given(st.text(max_size=120))
def test_garbage_is_none_of_ours(text: str) -> None:
    assert FAMILIES.read(text) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: t[:-1], id="shorter"),
        pytest.param(lambda t: t + "A", id="longer"),
        pytest.param(lambda t: t.replace(".", "-", 1), id="no dot"),
        pytest.param(lambda t: new_id() + t[36:], id="another gid with the same secret"),
        pytest.param(lambda t: t + "=", id="padding"),
        pytest.param(lambda t: " " + t[1:], id="space"),
    ],
)
def test_a_forged_token_is_none_of_ours(change) -> None:  # type: ignore[no-untyped-def]  # a row's function
    assert FAMILIES.read(change(FAMILIES.first(GrantId(new_id())).text)) is None


def test_another_installations_token_is_none_of_ours() -> None:
    assert FAMILIES.read(OTHERS.first(GrantId(new_id())).text) is None
