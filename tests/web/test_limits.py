"""Token buckets: a burst, then a steady rate, per key."""

from datetime import UTC, datetime, timedelta

import pytest

from watchword_web.errors import OAuthError, PageError, Problem
from watchword_web.limits import Guesses, Limiter
from watchword_web.surfaces import Surface

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_burst_passes_then_the_rate_holds() -> None:
    limiter = Limiter(rate_per_s=2, burst=3)
    assert [limiter.wait_s("a", NOON) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.wait_s("a", NOON + timedelta(seconds=0.5)) == 0
    assert limiter.wait_s("a", NOON + timedelta(seconds=0.5)) == 0.5


def test_keys_do_not_share_a_bucket() -> None:
    limiter = Limiter(rate_per_s=1, burst=1)
    assert limiter.wait_s("a", NOON) == 0
    assert limiter.wait_s("b", NOON) == 0


def test_a_refused_request_costs_nothing_and_a_bucket_never_exceeds_the_burst() -> None:
    limiter = Limiter(rate_per_s=1, burst=2)
    limiter.wait_s("a", NOON)
    limiter.wait_s("a", NOON)
    for _ in range(10):
        assert limiter.wait_s("a", NOON) == 1
    later = NOON + timedelta(hours=1)
    assert [limiter.wait_s("a", later) for _ in range(3)] == [0, 0, 1]


def test_a_clock_set_back_does_not_refill() -> None:
    limiter = Limiter(rate_per_s=1, burst=1)
    limiter.wait_s("a", NOON)
    assert limiter.wait_s("a", NOON - timedelta(hours=1)) == 1


def test_memory_is_bounded_and_the_idlest_bucket_goes_first() -> None:
    limiter = Limiter(rate_per_s=1, burst=1, max_keys=2)
    for key in ("a", "b", "b", "c"):
        limiter.wait_s(key, NOON)
    assert limiter.wait_s("b", NOON) == 1  # still known
    assert limiter.wait_s("a", NOON) == 0  # forgotten


@pytest.mark.spec("RFC 6585 4")
@pytest.mark.parametrize(
    ("surface", "kind"), [(Surface.OAUTH, OAuthError), (Surface.API, Problem), (Surface.PAGE, PageError)]
)
@pytest.mark.spec("RFC 9110 10.2.3")
def test_the_refusal_says_when_to_come_back(surface: Surface, kind: type[Exception]) -> None:
    limiter = Limiter(rate_per_s=0.25, burst=1)
    limiter.check("a", NOON, surface)
    with pytest.raises(kind) as refusal:
        limiter.check("a", NOON, surface)
    assert isinstance(refusal.value, (OAuthError, Problem, PageError))
    assert refusal.value.status == 429
    assert refusal.value.headers == {"Retry-After": "4"}


def test_guesses_are_forgiven_at_a_rate_and_refused_above_the_burst() -> None:
    guesses = Guesses(rate_per_s=0.5, burst=2)
    for _ in range(2):
        guesses.check("a", 1.0)
        guesses.note("a", 1.0)
    with pytest.raises(OAuthError) as refused:
        guesses.check("a", 1.0)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "2")
    guesses.check("b", 1.0)
    guesses.check("a", 3.1)


def test_many_attackers_do_not_push_out_the_worst() -> None:
    guesses = Guesses(rate_per_s=1, burst=2, max_keys=100)
    for _ in range(50):
        guesses.note("worst", 1.0)
    for number in range(150):
        guesses.note(f"mild-{number}", 1.0)
    with pytest.raises(OAuthError):
        guesses.check("worst", 1.0)
