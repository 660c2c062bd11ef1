"""Base64url: one value, one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_token.encoding import b64url, b64url_decode


@pytest.mark.spec("RFC 7515 2")
@given(st.binary(max_size=200))
def test_what_was_written_is_read(data: bytes) -> None:
    assert b64url_decode(b64url(data)) == data


@given(st.binary(max_size=60) | st.text(alphabet="AQgw-_+/=. \n", max_size=12).map(str.encode))
def test_what_is_read_is_what_would_have_been_written(segment: bytes) -> None:
    try:
        data = b64url_decode(segment)
    except ValueError:
        return
    assert b64url(data) == segment


@pytest.mark.parametrize(
    "segment",
    [
        pytest.param(b"QUI=", id="padding"),
        pytest.param(b"QUJ", id="stray low bits after two bytes"),
        pytest.param(b"QR", id="stray low bits after one byte"),
        pytest.param(b"Q", id="one character"),
        pytest.param(b"a+b/", id="the standard alphabet"),
        pytest.param(b"QUJD\n", id="line end"),
        pytest.param(b"QU JD", id="space inside"),
        pytest.param("QÜJD".encode(), id="not ASCII"),
    ],
)
def test_other_spellings_are_refused(segment: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        b64url_decode(segment)
