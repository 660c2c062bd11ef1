"""One-time passwords by time: the RFC's own values, and an implementation that is not ours."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_authz import totp

KEY = b"12345678901234567890"


@pytest.mark.spec("RFC 6238 4.2, 5.2; RFC 4226 5.3")
@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_the_values_of_the_specification(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert totp.code_at(KEY, totp.step_at(now)) == code
    assert totp.matching_step(KEY, code, now) == totp.step_at(now)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**33))
def test_an_implementation_that_is_not_ours_agrees(secret: bytes, seconds: int) -> None:
    theirs = pyotp.TOTP(base64.b32encode(secret).decode())
    assert totp.code_at(secret, seconds // 30) == theirs.at(seconds)


@pytest.mark.spec("RFC 6238 5.2, 6")
@pytest.mark.parametrize(
    ("ago_s", "fits"), [(-61, False), (-30, True), (0, True), (30, True), (61, False), (3600, False)]
)
def test_a_clock_may_be_off_by_one_step(ago_s: int, fits: bool) -> None:
    now = datetime(2026, 1, 1, 12, 0, 15, tzinfo=UTC)
    code = totp.code_at(KEY, totp.step_at(now - timedelta(seconds=ago_s)))
    assert (totp.matching_step(KEY, code, now) is not None) is fits


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "２８７０８２", "\ud800"])
def test_what_is_no_code_fits_nothing(typed: str) -> None:
    assert totp.matching_step(KEY, typed.encode("utf-8", "replace").decode(), datetime.now(UTC)) is None


def test_an_app_reads_the_enrolment_as_it_was_meant() -> None:
    uri = totp.enrolment_uri(KEY, issuer="sso.example:8080", account="ann@example.test")
    parsed = pyotp.parse_uri(uri)
    assert (parsed.issuer, parsed.name) == ("sso.example:8080", "ann@example.test")
    assert parsed.at(59) == "287082"
    assert parse_qs(urlsplit(uri).query)["secret"] == [totp.spelled(KEY).replace(" ", "")]
