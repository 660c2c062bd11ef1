"""How well a sign-in proved who somebody is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_policy.assurance import LEVELS, ONE_FACTOR, TWO_FACTORS, is_met, is_ours, level_of, stated

GOLD = "urn:corp:gold"


@pytest.mark.spec("RFC 8176 2")
@pytest.mark.parametrize(
    ("amr", "level"),
    [
        ([], ONE_FACTOR),
        (["pwd"], ONE_FACTOR),
        (["pwd", "kba", "pin"], ONE_FACTOR),
        (["otp", "sms"], ONE_FACTOR),
        (["unheard", "of"], ONE_FACTOR),
        (["mfa"], TWO_FACTORS),
        (["pwd", "otp"], TWO_FACTORS),
        (["hwk", "fpt"], TWO_FACTORS),
    ],
)
def test_two_kinds_of_proof_are_two_factors(amr: list[str], level: str) -> None:
    assert level_of(amr) == level


MET = {
    "nothing asked for": ((), None, ["pwd"], True),
    "the level itself": ((ONE_FACTOR,), None, ["pwd"], True),
    "a better one": ((ONE_FACTOR,), None, ["pwd", "otp"], True),
    "a worse one": ((TWO_FACTORS,), None, ["pwd"], False),
    "one of several": ((TWO_FACTORS, ONE_FACTOR), None, ["pwd"], True),
    "the provider's own name": ((GOLD,), GOLD, ["pwd"], True),
    "another name": ((GOLD,), "urn:corp:silver", ["mfa"], False),
    "no name": ((GOLD,), None, ["mfa"], False),
    "the name, or our level": ((GOLD, TWO_FACTORS), "urn:corp:silver", ["mfa"], True),
}


@pytest.mark.spec("RFC 9470 5; OpenID Connect Core 5.5.1.1")
@pytest.mark.parametrize(("wanted", "acr", "amr", "expected"), MET.values(), ids=MET.keys())
def test_what_is_asked_for_is_met_by_it_or_better(
    wanted: tuple[str, ...], acr: str | None, amr: list[str], expected: bool
) -> None:
    assert is_met(wanted, acr=acr, amr=amr) is expected


def test_only_our_levels_are_judged_here() -> None:
    assert is_ours([GOLD, TWO_FACTORS])
    assert not is_ours([GOLD])
    assert not is_ours([])


STATED = {
    "nothing asked for": ((), None, ["pwd"], ONE_FACTOR),
    "nothing asked for, the provider's name": ((), GOLD, ["mfa"], GOLD),
    "what was asked for": ((ONE_FACTOR,), None, ["mfa"], ONE_FACTOR),
    "the best that was asked for": ((ONE_FACTOR, TWO_FACTORS), None, ["mfa"], TWO_FACTORS),
    "not what was asked for": ((TWO_FACTORS,), None, ["pwd"], ONE_FACTOR),
    "our level rather than the provider's name": ((TWO_FACTORS,), GOLD, ["mfa"], TWO_FACTORS),
    "the name, where that was asked for": ((GOLD, TWO_FACTORS), GOLD, ["mfa"], GOLD),
    "neither": ((TWO_FACTORS,), GOLD, ["pwd"], GOLD),
}


@pytest.mark.spec("RFC 9470 6.1; OpenID Connect Core 2")
@pytest.mark.parametrize(("wanted", "acr", "amr", "expected"), STATED.values(), ids=STATED.keys())
def test_tokens_say_what_was_asked_for_where_it_is_so(
    wanted: tuple[str, ...], acr: str | None, amr: list[str], expected: str
) -> None:
    assert stated(wanted, acr=acr, amr=amr) == expected


_METHODS = st.lists(st.sampled_from(["pwd", "otp", "hwk", "mfa", "fpt", "x"]), max_size=4)
_WANTED = st.lists(st.sampled_from([*LEVELS, GOLD, "urn:corp:silver"]), max_size=3)


@given(_WANTED, st.sampled_from([None, GOLD]), _METHODS)
def test_nothing_is_stated_that_was_asked_for_and_is_not_so(wanted: list[str], acr: str | None, amr: list[str]) -> None:
    said = stated(wanted, acr=acr, amr=amr)
    assert said == acr or said in LEVELS[: LEVELS.index(level_of(amr)) + 1]
    if wanted:
        assert (said in wanted) is is_met(wanted, acr=acr, amr=amr)
