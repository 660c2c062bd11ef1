"""Prints what 500 access rules add to a sign-in: `python -m tests.bench.rules`.

First the decision alone, the best of several short runs of processor time; then sign-ins at a running installation of a
person who is signed in already, by turns at an application that is open and at one with 500 rules.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from tests.bench.cases import cpu_s
from tests.bench.whole import options

from watchword.supervisor import Running, running
from watchword_policy.engine import RuleEngine
from watchword_policy.facts import Facts
from watchword_policy.rules import Client, Outcome, Rule, RuleSet, decide
from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn

RULES = 500
# A regular expression, which CEL compiles anew at each use, here for each group.
_PATTERNS = ("email.matches('(?i)^[a-z]+@site-{n}[.]example$')", "groups.exists(g, g.matches('^site-{n}-[a-z]+$'))")
RUNS, CALLS = 10, 20
ROUNDS, SIGN_INS = 7, 50
_PASSWORD = "correct horse battery staple"
_CLIENT = Client("orders")
# What rules ask in practice, each for a number of its own.
_SHAPES = (
    "'team-{n}' in groups",
    "groups.exists(g, g in ['ops-{n}', 'admins-{n}'])",
    "groups.exists(g, g.startsWith('unit-{n}-'))",
    "email.endsWith('@unit-{n}.example') && ip.startsWith('10.')",
    "has(claims.department) && claims.department == 'D{n}'",
    "'team-{n}' in groups && !('contractors' in groups) && iss == 'https://idp.example'",
    "groups.exists(g, g == 'site-{n}') && claims.email_verified == true",
    "'night-{n}' in groups && time.getHours('Europe/Oslo') >= 20",
)


def expressions() -> list[str]:
    """500 different rules, of which none matches the person below but the last."""
    return [_SHAPES[n % len(_SHAPES)].format(n=n) for n in range(RULES - 1)] + ["true"]


def person(groups: int) -> Facts:
    """Somebody in so many groups."""
    return Facts(
        sub="5b1f6a5e-7a0e-4d7c-9a62-2f6f5f0b7a11",
        iss="https://idp.example",
        time=datetime.now(UTC),
        groups=tuple(f"group-{n}" for n in range(groups)),
        email="ann@example.test",
        client=_CLIENT.id,
        ip="192.0.2.7",
        claims={"name": "Ann", "email_verified": True, "department": "R&D", "locale": "nb"},
    )


def decisions() -> list[tuple[str, str]]:
    """What the rules cost in the process."""
    engine = RuleEngine()
    started = time.process_time()
    mixed = _rule_set(engine, expressions())
    lines = [(f"{RULES} rules compiled, once", f"{(time.process_time() - started) * 1000:.0f} ms")]
    named = _rule_set(engine, [_SHAPES[0].format(n=n) for n in range(RULES - 1)] + ["true"])
    lines += [
        (f"a decision, {RULES} mixed rules, {groups} groups", f"{_decision_ms(engine, mixed, groups):.2f} ms")
        for groups in (20, 200, 2000)
    ]
    lines.append((f"a decision, {RULES} rules each of a group", f"{_decision_ms(engine, named, 20):.2f} ms"))
    for pattern, about in zip(_PATTERNS, ("an address", "20 groups"), strict=True):
        rules = _rule_set(engine, [pattern.format(n=n) for n in range(10)] + ["true"])
        lines.append((f"10 regular expressions over {about}", f"{_decision_ms(engine, rules, 20):.2f} ms"))
    return lines


def _rule_set(engine: RuleEngine, sources: Sequence[str]) -> RuleSet:
    return RuleSet(
        Rule(f"r{n}", f"rule-{n:03}", engine.compile(source), precedence=-n) for n, source in enumerate(sources)
    )


def _decision_ms(engine: RuleEngine, rules: RuleSet, groups: int) -> float:
    facts = person(groups)
    runs = []
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(CALLS):
            decision = decide(rules, facts, _CLIENT, engine)
        runs.append((time.process_time() - started) / CALLS * 1000)
        # A run that was cut short is no result.
        assert decision.outcome is Outcome.MATCHED, decision.why
        assert decision.rule == f"rule-{len(rules) - 1:03}"
    return min(runs)


async def sign_ins() -> list[tuple[str, str]]:
    """What a sign-in takes at an application without rules and at one with 500, in turns."""
    with tempfile.TemporaryDirectory() as data:
        async with running(options(Path(data), 1), say=lambda _line: None) as found:
            return await _sign_ins(found)


async def _sign_ins(found: Running) -> list[tuple[str, str]]:
    headers = {"Watchword-API-Key": found.admin.admin_token}
    async with httpx2.AsyncClient(base_url=f"{found.issuer}/api/v1/", headers=headers, timeout=30) as api:
        is_open, ruled = [await _application(api, found.issuer, access) for access in ("open", "rules")]
        name = {"username": "bench-rules", "email": "bench-rules@example.test", "password": _PASSWORD}
        (await api.post("users", json=name)).raise_for_status()
        for n, source in enumerate(expressions()):
            rule = {"name": f"rule-{n:03}", "expression": source, "precedence": -n, "clients": [ruled.client_id]}
            (await api.post("rules", json=rule)).raise_for_status()
    rounds: dict[str, list[tuple[float, float]]] = {is_open.client_id: [], ruled.client_id: []}
    async with Browser(found.issuer) as browser:
        await SignIn(browser, is_open).with_password(name["username"], _PASSWORD)
        await asyncio.sleep(2)  # the rules have come into force everywhere
        for _ in range(ROUNDS):
            for party in (is_open, ruled):
                rounds[party.client_id].append(await _round(found, browser, party))
    without, under = (
        tuple(map(statistics.median, zip(*rounds[each.client_id], strict=True))) for each in (is_open, ruled)
    )
    return [
        (f"{name} (of it the worker's CPU)", f"{taken:.1f} ms ({cpu:.1f} ms)")
        for name, (taken, cpu) in (
            ("a sign-in without rules", without),
            (f"a sign-in with {RULES} mixed rules", under),
            ("  the rules add", (under[0] - without[0], under[1] - without[1])),
        )
    ]


async def _round(found: Running, browser: Browser, party: Party) -> tuple[float, float]:
    """What a sign-in took, and of it the worker's processor time, in milliseconds."""
    worker = found.workers[0].pid
    began, worked = time.perf_counter(), cpu_s(worker)
    for _ in range(SIGN_INS):
        page = await SignIn(browser, party).start()
        assert page.location.startswith(f"{party.redirect_uri}?code="), page.location
    taken = time.perf_counter() - began, cpu_s(worker) - worked
    return taken[0] / SIGN_INS * 1000, taken[1] / SIGN_INS * 1000


async def _application(api: httpx2.AsyncClient, issuer: str, access: str) -> Party:
    document: dict[str, Any] = {
        "client_name": f"bench-{access}",
        "redirect_uris": ["https://app.example/callback"],
        "grant_types": ["authorization_code"],
        "scope": "openid profile email groups",
        "require_consent": False,
        "access": access,
    }
    made = (await api.post("clients", json=document)).raise_for_status().json()
    return Party(issuer, made["client_id"], made["client_secret"])


def main() -> None:
    """Prints the lines of docs/performance.md."""
    lines = decisions() + asyncio.run(sign_ins())
    sys.stdout.write("".join(f"{name:46}{figure:>20}\n" for name, figure in lines))


if __name__ == "__main__":
    main()
