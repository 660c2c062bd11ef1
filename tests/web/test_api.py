"""List cursors: made here, for this list, or refused."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_web.api import Cursor, Page
from watchword_web.errors import Problem

CURSOR = Cursor(b"c" * 32)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.integers(-(2**53), 2**53), max_size=3)
)
def test_a_position_comes_back(position: list[str | int]) -> None:
    assert CURSOR.read("clients", CURSOR.make("clients", *position)) == tuple(position)


def _forged() -> list[str]:
    made = CURSOR.make("clients", "name", "id")
    return [
        "",
        "x",
        "é",
        made[:-1],
        made[:-2] + ("AA" if made[-2:] != "AA" else "BB"),
        "A" + made[1:] if made[0] != "A" else "B" + made[1:],
        made + "AAAA",
        urlsafe_b64encode(b'["\' OR 1=1 --"]').decode(),
        urlsafe_b64encode(b"\x00" * 16 + b'["a"]').decode(),
        Cursor(b"d" * 32).make("clients", "name", "id"),
        CURSOR.make("users", "name", "id"),
        "A" * 100_000,
    ]


@pytest.mark.parametrize("cursor", _forged())
def test_a_cursor_made_elsewhere_is_refused(cursor: str) -> None:
    with pytest.raises(Problem) as refusal:
        CURSOR.read("clients", cursor)
    assert refusal.value.status == 400


def test_a_page_has_items_and_the_next_cursor() -> None:
    assert Page[str](items=["a"]).model_dump() == {"items": ["a"], "next": None}
