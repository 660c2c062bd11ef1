"""When the rules for Prometheus call somebody, and when they do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from .promql import Samples, evaluated, fires, series

RULES = {
    rule["alert"]: rule
    for group in YAML(typ="safe").load(Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml")["groups"]
    for rule in group["rules"]
}
HOUR = 3600
LOGINS, DELIVERIES = "watchword_logins_total", "watchword_webhook_deliveries_total"
LOGOUTS = "watchword_logout_deliveries_total"


def counted(
    *, every: float, until: float = 2 * HOUR, begin: float = 0, seen_from: float = 0
) -> list[tuple[float, float]]:
    """A counter that rises by one at `begin` and each `every` seconds, looked at twice a minute while it is there."""
    return [(at, float(1 + (at - begin) // every) if at >= begin else 0.0) for at in looks(seen_from, until)]


def looks(since: float, until: float) -> Iterator[float]:
    """When Prometheus looks."""
    at = since
    while at <= until:
        yield at
        at += 30


SIGN_INS: dict[str, tuple[dict[str, float], bool]] = {
    # Seconds between sign-ins of each outcome; whether somebody is called.
    "a provider that was broken from the start": ({"provider refused": 10}, True),
    "passwords that are guessed": ({"password refused": 2, "password succeeded": 300}, True),
    "as many fail as succeed": ({"password refused": 10, "password succeeded": 10}, False),
    "a few fail and nobody else comes": ({"password refused": 120}, False),
    "all succeed": ({"password succeeded": 1}, False),
    "nobody comes": ({}, False),
}


@pytest.mark.parametrize("case", SIGN_INS)
def test_sign_ins_that_fail_call_somebody(case: str) -> None:
    given, is_told = SIGN_INS[case]
    samples: Samples = {
        series(LOGINS, method=name.split()[0], outcome=name.split()[1], instance="a"): counted(every=every)
        for name, every in given.items()
    }
    assert fires(RULES["WatchwordSignInsFail"], samples, 2 * HOUR) is is_told


def test_a_webhook_that_two_instances_try_in_turn_calls_somebody() -> None:
    """A try each ten minutes: of one instance each twenty."""
    samples: Samples = {
        series(DELIVERIES, outcome="failed", instance="a"): counted(every=1200, begin=600),
        series(DELIVERIES, outcome="failed", instance="b"): counted(every=1200, begin=1200),
    }
    assert fires(RULES["WatchwordWebhooksFail"], samples, 2 * HOUR)


@pytest.mark.parametrize("outcome", ["failed", "delivered"])
def test_a_webhook_that_fails_once_calls_nobody(outcome: str) -> None:
    samples: Samples = {series(DELIVERIES, outcome=outcome, instance="a"): counted(every=10 * HOUR, begin=600)}
    assert not fires(RULES["WatchwordWebhooksFail"], samples, 2 * HOUR)


@pytest.mark.parametrize(("outcome", "is_told"), [("given_up", True), ("failed", False), ("delivered", False)])
def test_a_sign_out_notice_that_is_given_up_calls_somebody(outcome: str, is_told: bool) -> None:
    """The first as well: the counter is there from the start."""
    samples: Samples = {
        series(LOGOUTS, outcome=outcome, instance="a"): [(at, float(at >= 1.5 * HOUR)) for at in looks(0, 2 * HOUR)]
    }
    assert fires(RULES["WatchwordLogoutsGivenUp"], samples, 2 * HOUR) is is_told


@pytest.mark.parametrize(
    ("kind", "days", "is_told"),
    [
        pytest.param("saml_provider", 10, True, id="a provider's certificate"),
        pytest.param("saml_key", -1, True, id="our key is over"),
        pytest.param("scim_token", 13, True, id="a SCIM token"),
        pytest.param("saml_provider", 20, False, id="in three weeks"),
        pytest.param("api_key", 1, False, id="a person's key: it is theirs"),
    ],
)
def test_what_ends_within_two_weeks_calls_somebody(kind: str, days: int, is_told: bool) -> None:
    samples: Samples = {
        series("watchword_first_end_timestamp_seconds", kind=each, instance="a"): [(at, end) for at in looks(0, HOUR)]
        for each, end in ((kind, days * 86400.0), ("scim_token" if kind != "scim_token" else "saml_key", 99 * 86400.0))
    }
    assert fires(RULES["WatchwordEndsSoon"], samples, HOUR) is is_told


@pytest.mark.parametrize("name", RULES)
def test_a_rule_can_be_evaluated(name: str) -> None:
    """With nothing at all, what is there once is told of by its absence alone."""
    assert bool(evaluated(RULES[name]["expr"], {}, HOUR)) is (name == "WatchwordAbsent")
