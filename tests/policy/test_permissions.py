"""Names of permissions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_policy.permissions import InvalidPermission, check_permission


@pytest.mark.parametrize(
    "name", ["DATASTORE-VIEWER", "Function:Invoke", "orders.read", "https://api.example/admin", "a"]
)
def test_what_names_a_permission(name: str) -> None:
    assert check_permission(name) == name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="nothing"),
        pytest.param(" ", id="a space"),
        pytest.param("read write", id="two words"),
        pytest.param("read\n", id="a trailing line end"),
        pytest.param('read"', id="a quote"),
        pytest.param("re\\ad", id="a backslash"),
        pytest.param("lesen-für-alle", id="beyond ASCII"),
        pytest.param("\x00", id="a zero byte"),
        pytest.param("a" * 129, id="too long"),
        pytest.param("watchword:admin", id="our own"),
        pytest.param("Watchword:Admin", id="our own in other letters"),
    ],
)
def test_what_does_not(name: str) -> None:
    with pytest.raises(InvalidPermission):
        check_permission(name)


@given(st.text())
@pytest.mark.spec("RFC 6749 3.3")
def test_a_permission_can_travel_as_a_scope(name: str) -> None:
    try:
        check_permission(name)
    except InvalidPermission:
        return
    assert re.fullmatch(r"[!#-\[\]-~]{1,128}", name)
