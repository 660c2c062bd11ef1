"""The policy of each audience: what becomes of a token while the feed is fresh and while it is not."""

from collections.abc import Sequence
from typing import Final

import pytest
from tests.verifier.conftest import Clock, Issuer, Make, b64, cut_off, refused, until

from watchword_verifier import HttpFeed, Reason, Verifier, WhenStale

REFUSES, ASKS, ACCEPTS, UNNAMED = "urn:refuses", "urn:asks", "urn:accepts", "urn:unnamed"
FOREIGN: Final = "urn:foreign"
AUDIENCES: Final = (REFUSES, ASKS, ACCEPTS, UNNAMED)
POLICIES: Final = {REFUSES: WhenStale.REFUSE, ASKS: WhenStale.INTROSPECT, ACCEPTS: WhenStale.ACCEPT}

# The audiences of a token, and the policy that holds for it.
CASES: Final = [
    pytest.param([REFUSES], WhenStale.REFUSE, id="refuse"),
    pytest.param([ASKS], WhenStale.INTROSPECT, id="introspect"),
    pytest.param([ACCEPTS], WhenStale.ACCEPT, id="accept"),
    pytest.param([UNNAMED], WhenStale.INTROSPECT, id="not named: introspect"),
    pytest.param([ACCEPTS, FOREIGN], WhenStale.ACCEPT, id="accept and one that is not ours"),
    pytest.param([ACCEPTS, ASKS], WhenStale.INTROSPECT, id="accept and introspect"),
    pytest.param([ACCEPTS, UNNAMED], WhenStale.INTROSPECT, id="accept and not named"),
    pytest.param([ASKS, REFUSES], WhenStale.REFUSE, id="introspect and refuse"),
    pytest.param(list(AUDIENCES), WhenStale.REFUSE, id="all"),
]
# What becomes of a token while the feed is stale: the issuer says it is active, says it is not, says nothing.
STALE: Final[dict[WhenStale, Sequence[Reason | None]]] = {
    WhenStale.REFUSE: (Reason.STALE, Reason.STALE, Reason.STALE),
    WhenStale.INTROSPECT: (None, Reason.REVOKED, Reason.STALE),
    WhenStale.ACCEPT: (None, None, None),
}


def opaque(issuer: Issuer, name: str, **claims: object) -> str:
    """A token that only the issuer can read."""
    header = b64(b'{"alg":"dir"}')
    token = f"{header}..aXY.{b64(name.encode())}.dGFn"
    issuer.opaque[token] = issuer.claims(**claims)
    return token


def questions(issuer: Issuer) -> int:
    return issuer.asked.count("/oauth2/introspect")


async def when_stale(issuer: Issuer, verifier: Verifier, token: str) -> list[Reason | None]:
    """What becomes of it when the issuer says yes, says no and says nothing."""
    assert not verifier.is_fresh
    found = [await refused(verifier, token)]
    issuer.inactive.add(token)
    found.append(await refused(verifier, token))
    issuer.broken.add("/oauth2/introspect")
    found.append(await refused(verifier, token))
    return found


@pytest.mark.parametrize(("audience", "policy"), CASES)
async def test_a_signed_token_obeys_the_strictest_policy_of_its_audiences(
    issuer: Issuer, make: Make, clock: Clock, audience: list[str], policy: WhenStale
) -> None:
    async with make(POLICIES, audience=AUDIENCES) as verifier:
        seen, unseen = issuer.token(aud=audience), issuer.token(aud=audience)
        assert await refused(verifier, seen) is None
        assert questions(issuer) == 0
        cut_off(issuer)
        clock.ahead_s = 10
        for token in (seen, unseen):
            assert await when_stale(issuer, verifier, token) == list(STALE[policy])
            issuer.broken.remove("/oauth2/introspect")
        assert questions(issuer) == (6 if policy is WhenStale.INTROSPECT else 0)


@pytest.mark.parametrize(("audience", "policy"), CASES)
async def test_an_opaque_token_obeys_the_strictest_policy_of_its_audiences(
    issuer: Issuer, make: Make, clock: Clock, audience: list[str], policy: WhenStale
) -> None:
    async with make(POLICIES, audience=AUDIENCES) as verifier:
        token = opaque(issuer, "seen", aud=audience)
        assert await refused(verifier, token) is None
        assert await refused(verifier, token) is None
        assert questions(issuer) == 1
        cut_off(issuer)
        clock.ahead_s = 10
        assert await when_stale(issuer, verifier, token) == list(STALE[policy])
        assert questions(issuer) == (4 if policy is WhenStale.INTROSPECT else 1)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(WhenStale.REFUSE, [Reason.STALE, Reason.STALE, Reason.STALE], id="refuse"),
        pytest.param(WhenStale.INTROSPECT, [None, Reason.REVOKED, Reason.STALE], id="introspect"),
        pytest.param(WhenStale.ACCEPT, [None, None, None], id="accept"),
    ],
)
async def test_an_opaque_token_that_nobody_asked_about_yet(
    issuer: Issuer, make: Make, clock: Clock, policy: WhenStale, expected: list[Reason | None]
) -> None:
    async with make(policy) as verifier:
        cut_off(issuer)
        clock.ahead_s = 10
        dead = opaque(issuer, "dead")
        issuer.inactive.add(dead)
        assert await refused(verifier, dead) is Reason.REVOKED
        assert await when_stale(issuer, verifier, opaque(issuer, "live")) == expected
        assert await refused(verifier, opaque(issuer, "too late")) is Reason.STALE


async def test_an_opaque_token_is_not_accepted_from_memory_for_long(issuer: Issuer, make: Make, clock: Clock) -> None:
    async with make(WhenStale.ACCEPT) as verifier:
        token = opaque(issuer, "seen")
        assert await refused(verifier, token) is None
        cut_off(issuer)
        issuer.broken.add("/oauth2/introspect")
        clock.ahead_s = 29
        assert await refused(verifier, token) is None
        clock.ahead_s = 31
        assert await refused(verifier, token) is Reason.STALE


async def test_what_is_known_to_be_dead_is_refused_under_every_policy(issuer: Issuer, make: Make, clock: Clock) -> None:
    async with make(POLICIES, audience=AUDIENCES) as verifier:
        tokens = [issuer.token(aud=name) for name in AUDIENCES]
        tokens += [opaque(issuer, name, aud=name) for name in AUDIENCES]
        assert [await refused(verifier, token) for token in tokens] == [None] * 8
        issuer.revoke("sub", "ann")
        await until(lambda: verifier.position == issuer.position)
        cut_off(issuer)
        clock.ahead_s = 10
        assert [await refused(verifier, token) for token in tokens] == [Reason.REVOKED] * 8


async def test_a_revocation_during_the_question_counts(issuer: Issuer, make: Make) -> None:
    async with make() as verifier:
        token = opaque(issuer, "asked about")

        async def revoked_meanwhile() -> None:
            issuer.restore([])
            issuer.revoke("all", "")
            await until(lambda: verifier.position == issuer.position)

        issuer.instead["/oauth2/introspect"] = revoked_meanwhile
        assert await refused(verifier, token) is Reason.REVOKED


async def test_what_one_verifier_accepted_is_nothing_to_another(issuer: Issuer, make: Make) -> None:
    async with make(audience=ASKS) as one, make(audience=REFUSES) as other:
        for token in (issuer.token(aud=ASKS), opaque(issuer, "for one", aud=ASKS)):
            assert await refused(one, token) is None
            assert await refused(other, token) is Reason.WRONG_AUDIENCE
            assert await refused(one, token) is None


@pytest.mark.parametrize(
    ("policies", "audience", "policy"),
    [
        pytest.param(WhenStale.REFUSE, ASKS, "refuse", id="one for all"),
        pytest.param({}, ASKS, "introspect", id="none named"),
        pytest.param(POLICIES, ACCEPTS, "accept", id="accept before all"),
        pytest.param({REFUSES: WhenStale.REFUSE}, ASKS, "introspect", id="introspect before refuse"),
    ],
)
async def test_the_receipts_name_the_policy_that_waits_longest(
    issuer: Issuer, make: Make, policies: dict[str, WhenStale] | WhenStale, audience: str, policy: str
) -> None:
    accepted = [REFUSES, ASKS] if policies is not POLICIES else AUDIENCES
    async with make(policies, audience=accepted):
        await until(lambda: bool(issuer.reported))
    assert (issuer.reported[0]["audience"], issuer.reported[0]["policy"]) == (audience, policy)
    assert issuer.reported[0]["staleness_bound_s"] == 5.0


@pytest.mark.parametrize(
    ("policies", "what"),
    [
        pytest.param({FOREIGN: WhenStale.ACCEPT}, FOREIGN, id="an audience that is not ours"),
        pytest.param({ASKS: "perhaps"}, "perhaps", id="a policy that there is not"),
        pytest.param("perhaps", "perhaps", id="one for all that there is not"),
    ],
)
def test_a_slip_is_an_error_at_the_start(policies: dict[str, WhenStale] | WhenStale, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Verifier("https://sso.example", AUDIENCES, feed=HttpFeed("https://sso.example", str), when_stale=policies)  # type: ignore[arg-type]  # asks for nothing
