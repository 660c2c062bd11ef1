"""The guards that are always on: no network, and no secret in what a test prints."""

import socket

import pytest
import structlog

from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.network import NetworkRefused

pytest_plugins = ["pytester"]

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
TICKET = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF"


@pytest.mark.parametrize("address", ["192.0.2.1", "8.8.8.8", "169.254.169.254", "2001:db8::1"])
def test_connections_beyond_loopback_are_refused(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as made, pytest.raises(NetworkRefused, match=address):
        made.connect((address, 80))


def test_real_names_are_not_looked_up() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 443)
    assert socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo("2130706433", 80)[0][4][0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("secret", "text", "leaks"),
    [
        (TICKET, f"ticket={TICKET}&flow=x", True),
        (TICKET, f'{{"a": "prefix{TICKET}"}}', True),
        (TICKET, f"hash of {TICKET[::-1]}", False),
        (JWT, f"Bearer {JWT}", True),
        (JWT, f"only its signature {JWT.rsplit('.', 1)[1]}", True),
        (JWT, f"only its header {JWT.split('.', 1)[0]}", False),
        ("correct horse battery", "he said: correct horse battery!", True),
        ("short", "short", False),
    ],
)
def test_the_canary_recognises_a_secret(secret: str, text: str, leaks: bool) -> None:
    canary = Canary()
    canary.add("it", secret)
    assert canary.found_in(text) == ({"it"} if leaks else set())


def test_the_canary_never_shows_the_secret_itself() -> None:
    canary = Canary()
    canary.add("password", "correct horse battery")
    with pytest.raises(AssertionError) as refused:
        canary.check("a log", ["correct horse battery"])
    assert "correct horse" not in str(refused.value)


@pytest.mark.row(55)
def test_a_test_that_prints_its_secret_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import structlog

        def test_leaks(canary):
            canary.add("ticket", "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4")
            structlog.get_logger().info("x", ticket="Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4")

        def test_does_not(canary):
            canary.add("ticket", "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4")
            structlog.get_logger().info("x", ticket="another")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*secrets in the captured output: ticket*"])


def test_log_lines_are_data(log_lines: list[dict[str, object]]) -> None:
    structlog.get_logger().warning("thing.happened", id="1")
    assert [(line["event"], line["id"]) for line in log_lines] == [("thing.happened", "1")]


def test_the_clock_only_goes_forward() -> None:
    from datetime import timedelta

    clock = TestClock()
    before = clock()
    assert clock.advance(timedelta(hours=1)) - before >= timedelta(hours=1)
    with pytest.raises(ValueError, match="back"):
        clock.advance(timedelta(seconds=-1))
