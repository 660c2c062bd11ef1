"""The verifier against an issuer on a real port: tokens, keys, revocation, staleness."""

import asyncio
import hashlib
import hmac
from datetime import timedelta

import orjson
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from tests.verifier.conftest import (
    AUDIENCE,
    BOUND,
    CLIENT_ID,
    SECRET,
    Clock,
    Issuer,
    Make,
    b64,
    cut_off,
    refused,
    signed,
    until,
)

from watchword_verifier import ClientCredentials, HttpFeed, Reason, TokenRefused, Verifier, WhenStale


async def becomes_refused(verifier: Verifier, token: str, reason: Reason) -> None:
    async with asyncio.timeout(30):
        while await refused(verifier, token) is None:
            await asyncio.sleep(0.005)
    assert await refused(verifier, token) is reason


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ECKey.generate_key("P-256", {"kid": "e"}), id="ES256"),
        pytest.param(RSAKey.generate_key(2048, {"kid": "r"}), id="RS256"),
        pytest.param(OKPKey.generate_key("Ed25519", {"kid": "o"}), id="EdDSA"),
    ],
)
@pytest.mark.spec("RFC 9068 4")
async def test_a_good_token_is_accepted_twice(issuer: Issuer, make: Make, key: ECKey | RSAKey | OKPKey) -> None:
    issuer.keys = [key]
    async with make() as verifier:
        token = issuer.token(key=key)
        first = await verifier.verify(token)
        assert first.subject == "ann"
        assert first.scope == {"orders:read", "orders:write"}
        assert await verifier.verify(token) is first
        assert verifier.is_fresh
        assert "/oauth2/introspect" not in issuer.asked


@pytest.mark.spec("RFC 8725 3.1")
async def test_tokens_that_no_key_of_the_issuer_signed_are_refused(issuer: Issuer, make: Make) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "k1"})
    rsa = RSAKey.generate_key(2048, {"kid": "k1"})
    payload = orjson.dumps(issuer.claims())
    good = issuer.token()
    head, body, signature = good.split(".")
    none = b64(orjson.dumps({"typ": "at+jwt", "alg": "none", "kid": "k1"}))
    hmac_head = b64(orjson.dumps({"typ": "at+jwt", "alg": "HS256", "kid": "k1"}))
    mac = hmac.new(issuer.key.as_pem(private=False), f"{hmac_head}.{body}".encode(), hashlib.sha256).digest()
    jwk = stranger.as_dict(private=False)
    rows = {
        issuer.token(key=stranger): Reason.BAD_SIGNATURE,
        issuer.token(key=rsa): Reason.WRONG_ALGORITHM,
        issuer.token(header={"alg": "ES384"}): Reason.WRONG_ALGORITHM,
        f"{none}.{body}.AAAA": Reason.WRONG_ALGORITHM,
        f"{hmac_head}.{body}.{b64(mac)}": Reason.WRONG_ALGORITHM,
        issuer.token(key=stranger, header={"jwk": jwk, "jku": "https://evil.example", "kid": "x"}): Reason.UNKNOWN_KEY,
        f"{head}.{b64(payload.replace(b'ann', b'bob'))}.{signature}": Reason.BAD_SIGNATURE,
        f"{head}.{body}.{signature[:-8]}": Reason.BAD_SIGNATURE,
        f"{head}.{body}.{b64(bytes(64))}": Reason.BAD_SIGNATURE,
        f"{head}.{body}.{b64(bytes(1))}": Reason.BAD_SIGNATURE,
        f"{head}.{head}.{signature}": Reason.BAD_SIGNATURE,
    }
    async with make() as verifier:
        assert await refused(verifier, good) is None
        for token, reason in rows.items():
            assert await refused(verifier, token) is reason, token


async def test_a_deep_payload_is_refused_even_when_it_is_signed(issuer: Issuer, make: Make) -> None:
    token = signed({"typ": "at+jwt", "alg": "ES256", "kid": "k1"}, b'{"a":' * 2000 + b"1" + b"}" * 2000, issuer.key)
    async with make() as verifier:
        assert await refused(verifier, token) is Reason.MALFORMED


async def test_a_remembered_token_ends_when_it_ends(issuer: Issuer, make: Make, clock: Clock) -> None:
    async with make(WhenStale.ACCEPT) as verifier:
        token = issuer.token()
        assert await refused(verifier, token) is None
        clock.ahead_s = 300  # of 310, with the leeway: what happens meanwhile takes a while
        assert await refused(verifier, token) is None
        clock.ahead_s = 311
        assert await refused(verifier, token) is Reason.EXPIRED
        assert await refused(verifier, token) is Reason.EXPIRED


async def test_no_more_tokens_are_remembered_than_told(issuer: Issuer, make: Make) -> None:
    async with make(remembered=2) as verifier:
        tokens = [issuer.token() for _ in range(3)]
        first = [await verifier.verify(token) for token in tokens]
        again = [await verifier.verify(token) for token in reversed(tokens)]
        assert [a is b for a, b in zip(first, reversed(again), strict=True)] == [False, True, True]


@pytest.mark.parametrize("claim", ["jti", "gid", "sid", "sub", "client_id", "idp", "all"])
async def test_a_revocation_reaches_the_verifier_by_itself(issuer: Issuer, make: Make, claim: str) -> None:
    async with make() as verifier:
        token = issuer.token()
        assert await refused(verifier, token) is None
        issuer.revoke(claim, str((await verifier.verify(token)).raw.get(claim, "")))
        await becomes_refused(verifier, token, Reason.REVOKED)
        assert await refused(verifier, issuer.token()) is None


async def test_a_disabled_user_is_refused_until_enabled_and_old_tokens_for_ever(issuer: Issuer, make: Make) -> None:
    async with make() as verifier:
        old = issuer.token()
        assert await refused(verifier, old) is None
        issuer.revoke("sub", "ann", "state")
        await becomes_refused(verifier, old, Reason.REVOKED)
        assert await refused(verifier, issuer.token()) is Reason.REVOKED
        issuer.revoke("sub", "ann", "lift")
        await until(lambda: verifier.position == issuer.position)
        assert await refused(verifier, old) is Reason.REVOKED
        assert await refused(verifier, issuer.token()) is None


async def test_what_was_revoked_before_the_start_is_known(issuer: Issuer, make: Make) -> None:
    token = issuer.token()
    issuer.revoke("gid", "another")
    issuer.revoke("sub", "ann")
    async with make() as verifier:
        assert await refused(verifier, token) is Reason.REVOKED


async def test_a_new_key_is_fetched_when_a_token_needs_it(issuer: Issuer, make: Make) -> None:
    async with make() as verifier:
        new = ECKey.generate_key("P-256", {"kid": "k2"})
        issuer.keys = [issuer.key, new]
        await asyncio.sleep(0.25)
        assert await refused(verifier, issuer.token(key=new)) is None


async def test_invented_kids_do_not_become_requests(issuer: Issuer, make: Make) -> None:
    async with make() as verifier:
        await asyncio.sleep(0.25)
        before = issuer.asked.count("/oauth2/jwks")
        for n in range(50):
            assert await refused(verifier, issuer.token(header={"kid": f"invented-{n}"})) is Reason.UNKNOWN_KEY
        assert issuer.asked.count("/oauth2/jwks") - before <= 3


async def test_a_revoked_key_is_refused_at_once_and_not_learned_again(issuer: Issuer, make: Make) -> None:
    async with make() as verifier:
        seen, unseen = issuer.token(), issuer.token(rev=1 << 50)
        assert await refused(verifier, seen) is None
        issuer.revoke("kid", "k1", "state")
        async with asyncio.timeout(30):
            while (why := await refused(verifier, seen)) is None:
                await asyncio.sleep(0.005)
        assert why in {Reason.REVOKED, Reason.UNKNOWN_KEY}  # the key may have been dropped by then
        async with asyncio.timeout(30):
            while await refused(verifier, unseen) is not Reason.UNKNOWN_KEY:
                await asyncio.sleep(0.01)
        issuer.revoke("kid", "k1", "lift")
        await until(lambda: verifier.position == issuer.position)
        await asyncio.sleep(0.25)
        assert await refused(verifier, unseen) is Reason.UNKNOWN_KEY


@pytest.mark.spec("RFC 9111 5.2.1.4")
async def test_the_successor_of_a_revoked_key_is_known_as_soon_as_an_instance_shows_it(
    issuer: Issuer, make: Make
) -> None:
    """Instances that have not heard of the revocation yet answer first; no cache on the way answers in their place."""
    successor, asked = ECKey.generate_key("P-256", {"kid": "k2"}), 0
    hints = 60  # in a row, right before: they make nobody wait

    async def behind() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            issuer.keys = [successor]  # from the next answer on

    async with make() as verifier:
        await until(lambda: verifier.is_fresh)
        for _ in range(hints):
            verifier._follower.on_key()
            await asyncio.sleep(0.03)
        issuer.instead["/oauth2/jwks"] = behind
        issuer.revoke("kid", "k1", "state")
        await until(lambda: issuer.reported[-1]["kids"] == ["k2"], within_s=1.9)
        assert await refused(verifier, issuer.token(key=successor)) is None
        assert issuer.told_caches == {"no-cache"}


async def test_hints_in_a_row_are_few_reads_and_the_last_is_obeyed(issuer: Issuer, make: Make) -> None:
    successor = ECKey.generate_key("P-256", {"kid": "k2"})
    async with make() as verifier:
        await until(lambda: verifier.is_fresh)
        before = issuer.asked.count("/oauth2/jwks")
        for _ in range(150):
            verifier._follower.on_key()
            await asyncio.sleep(0.01)
        issuer.keys = [issuer.key, successor]
        verifier._follower.on_key()
        await until(lambda: issuer.reported[-1]["kids"] == ["k1", "k2"])
        assert issuer.asked.count("/oauth2/jwks") - before <= 10


async def test_a_client_whose_own_token_was_refused_asks_for_another(issuer: Issuer, make: Make) -> None:
    async with make() as verifier:
        issuer.bearer = "another"
        token = issuer.token()
        issuer.revoke("sub", "ann", silently=True)
        await becomes_refused(verifier, token, Reason.REVOKED)


async def test_a_stale_verifier_asks_the_issuer(issuer: Issuer, make: Make, clock: Clock) -> None:
    async with make(WhenStale.INTROSPECT) as verifier:
        good, bad = issuer.token(), issuer.token()
        assert await refused(verifier, good) is None
        cut_off(issuer)
        issuer.inactive.add(bad)
        clock.ahead_s = 60
        assert not verifier.is_fresh
        assert await refused(verifier, good) is None
        assert await refused(verifier, bad) is Reason.REVOKED
        issuer.broken.add("/oauth2/introspect")
        assert await refused(verifier, good) is Reason.STALE
        issuer.broken.clear()
        issuer.streaming = True
        await until(lambda: verifier.is_fresh)
        asked = len(issuer.asked)
        assert await refused(verifier, good) is None
        assert "/oauth2/introspect" not in issuer.asked[asked:]


async def test_a_stale_verifier_refuses_when_told_so(issuer: Issuer, make: Make, clock: Clock) -> None:
    async with make(WhenStale.REFUSE) as verifier:
        token = issuer.token()
        cut_off(issuer)
        clock.ahead_s = 60
        with pytest.raises(TokenRefused) as caught:
            await verifier.verify(token)
        assert caught.value.reason is Reason.STALE
        assert caught.value.is_temporary


async def test_a_stale_verifier_accepts_when_told_so_but_not_what_it_knows_to_be_dead(
    issuer: Issuer, make: Make, clock: Clock
) -> None:
    async with make(WhenStale.ACCEPT) as verifier:
        dead = issuer.token()
        issuer.revoke("jti", str((await verifier.verify(dead)).token_id))
        await becomes_refused(verifier, dead, Reason.REVOKED)
        cut_off(issuer)
        clock.ahead_s = 60
        assert await refused(verifier, issuer.token()) is None
        assert await refused(verifier, dead) is Reason.REVOKED


@pytest.mark.parametrize("when_stale", [WhenStale.ACCEPT, WhenStale.REFUSE])
async def test_nothing_is_accepted_before_a_snapshot_was_loaded(
    issuer: Issuer, clock: Clock, when_stale: WhenStale
) -> None:
    issuer.broken.add("/revocations")
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=when_stale, elapsed=clock.elapsed)
    assert await verifier.start(wait=timedelta(milliseconds=300)) is False
    assert await refused(verifier, issuer.token()) is Reason.STALE
    issuer.broken.clear()
    await until(lambda: verifier.is_fresh)
    assert await refused(verifier, issuer.token()) is None
    await verifier.aclose()


async def test_an_old_answer_does_not_make_old_knowledge_fresh(issuer: Issuer, make: Make, clock: Clock) -> None:
    async with make() as verifier:
        issuer.age_s = 20.0
        clock.ahead_s = BOUND.total_seconds() + 1
        await asyncio.sleep(1.2)
        assert not verifier.is_fresh
        issuer.age_s = 0.0
        await until(lambda: verifier.is_fresh)


async def test_a_verifier_that_was_suspended_does_not_trust_what_it_knew(
    issuer: Issuer, make: Make, clock: Clock
) -> None:
    async with make(WhenStale.REFUSE) as verifier:
        token = issuer.token()
        assert await refused(verifier, token) is None
        clock.ahead_s = 30
        assert await refused(verifier, token) is Reason.STALE
        await until(lambda: verifier.is_fresh)
        assert await refused(verifier, token) is None


async def test_without_a_client_nothing_can_be_introspected(issuer: Issuer, make: Make, clock: Clock) -> None:
    async def bearer() -> str:
        return issuer.bearer

    async with make(WhenStale.INTROSPECT, HttpFeed(issuer.url, bearer)) as verifier:
        token = issuer.token()
        assert await refused(verifier, token) is None
        cut_off(issuer)
        clock.ahead_s = 60
        assert await refused(verifier, token) is Reason.STALE


async def test_an_opaque_token_is_introspected_and_obeys_the_feed(issuer: Issuer, make: Make) -> None:
    opaque = "eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn"
    issuer.opaque[opaque] = issuer.claims(gid="g1")
    async with make() as verifier:
        assert (await verifier.verify(opaque)).grant_id == "g1"
        issuer.revoke("gid", "g1")
        await until(lambda: verifier.position == issuer.position)
        assert await refused(verifier, opaque) is Reason.REVOKED
        issuer.opaque[opaque] = issuer.claims(gid="g2", aud="https://other.example")
        assert await refused(verifier, opaque) is Reason.WRONG_AUDIENCE
        issuer.opaque[opaque] = {}
        assert await refused(verifier, opaque) is Reason.MISSING_CLAIM


async def test_an_issuer_that_is_down_does_not_keep_a_service_from_starting(clock: Clock) -> None:
    issuer = Issuer()
    async with issuer.served():
        url = issuer.url
    feed = HttpFeed(url, ClientCredentials(url, CLIENT_ID, SECRET))
    verifier = Verifier(url, AUDIENCE, feed=feed)
    assert await verifier.start(wait=timedelta(milliseconds=300)) is False
    async with issuer.served(int(url.rpartition(":")[2])):
        await until(lambda: verifier.is_fresh)
        await asyncio.sleep(1.1)
        assert await refused(verifier, issuer.token()) is None
    await verifier.aclose()


@pytest.mark.parametrize("audience", ["", [], [""]])
def test_an_audience_must_be_named(audience: str | list[str]) -> None:
    with pytest.raises(ValueError, match="audience"):
        Verifier("https://sso.example", audience, feed=Issuer(url="https://sso.example").feed())


OPAQUE = "eyJhbGciOiJkaXIiLCJraWQiOiJlMSJ9..aXY.Y2lwaGVy.dGFn"  # its header names the key e1


async def test_an_answer_about_an_opaque_token_is_kept_for_a_while(issuer: Issuer, make: Make) -> None:
    issuer.opaque[OPAQUE] = issuer.claims(gid="g1")
    async with make() as verifier:
        for _ in range(5):
            assert (await verifier.verify(OPAQUE)).grant_id == "g1"
        assert issuer.asked.count("/oauth2/introspect") == 1


@pytest.mark.parametrize(
    ("claim", "value"),
    [("gid", "g1"), ("jti", "j1"), ("sid", "session-1"), ("sub", "ann"), ("client_id", "shop"), ("kid", "e1")],
)
async def test_the_feed_ends_what_is_kept(issuer: Issuer, make: Make, claim: str, value: str) -> None:
    issuer.opaque[OPAQUE] = issuer.claims(gid="g1", jti="j1")
    async with make() as verifier:
        assert (await verifier.verify(OPAQUE)).grant_id == "g1"
        issuer.revoke(claim, value, "state" if claim == "kid" else "cut")
        await until(lambda: verifier.position == issuer.position)
        assert await refused(verifier, OPAQUE) is Reason.REVOKED
        assert issuer.asked.count("/oauth2/introspect") == 1


async def test_an_answer_without_lineage_is_not_kept(issuer: Issuer, make: Make) -> None:
    issuer.opaque[OPAQUE] = issuer.claims(rev=None)
    async with make() as verifier:
        await refused(verifier, OPAQUE)
        await refused(verifier, OPAQUE)
        assert issuer.asked.count("/oauth2/introspect") == 2


async def test_a_refusal_is_never_kept(issuer: Issuer, make: Make) -> None:
    issuer.inactive.add(OPAQUE)
    async with make() as verifier:
        assert await refused(verifier, OPAQUE) is Reason.REVOKED
        issuer.inactive.clear()
        issuer.opaque[OPAQUE] = issuer.claims()
        assert (await verifier.verify(OPAQUE)).subject == "ann"


async def test_who_is_not_heard_is_not_fresh(issuer: Issuer, make: Make) -> None:
    """A call that waits for all does not wait for it, so it must not decide by itself either."""
    issuer.broken.add("/revocations/receipts")
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=WhenStale.REFUSE)
    assert not await verifier.start(wait=timedelta(seconds=1))
    assert await refused(verifier, issuer.token()) is Reason.STALE
    issuer.broken.clear()
    await until(lambda: verifier.is_fresh)
    assert issuer.reported[0]["position"] == 0, "heard before it knew anything"
    assert await refused(verifier, issuer.token()) is None
    issuer.broken.add("/revocations/receipts")
    await until(lambda: not verifier.is_fresh, within_s=10)
    assert "/revocations/position" not in issuer.asked
    await verifier.aclose()


@pytest.mark.parametrize("when_stale", list(WhenStale))
async def test_a_closed_verifier_accepts_nothing(issuer: Issuer, when_stale: WhenStale) -> None:
    unasked = "eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn"
    issuer.opaque |= {OPAQUE: issuer.claims(), unasked: issuer.claims()}
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=when_stale)
    assert await verifier.start()
    seen = issuer.token()
    for token in (seen, OPAQUE):
        assert await refused(verifier, token) is None
    await verifier.aclose()
    issuer.keys = [issuer.key, ECKey.generate_key("P-256", {"kid": "k2"})]
    asked = len(issuer.asked)
    for token in (seen, issuer.token(), issuer.token(key=issuer.keys[1]), OPAQUE, unasked):
        assert await refused(verifier, token) is Reason.STALE
    assert not verifier.is_fresh
    assert issuer.asked[asked:] == [], "its connections are closed"


def leaving(issuer: Issuer) -> str:
    """Where a verifier that has reported says that nobody need wait for it."""
    return f"/revocations/receipts/{issuer.reported[-1]['instance']}"


@pytest.mark.parametrize("when_stale", list(WhenStale))
async def test_when_nobody_waits_for_it_any_more_it_refuses_already(issuer: Issuer, when_stale: WhenStale) -> None:
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=when_stale)
    assert await verifier.start()
    token = issuer.token()
    assert await refused(verifier, token) is None
    reasons: list[Reason | None] = []

    async def left() -> None:
        reasons.append(await refused(verifier, token))

    issuer.instead[leaving(issuer)] = left
    await verifier.aclose()
    assert reasons == [Reason.STALE]


@pytest.mark.parametrize("is_opaque", [False, True])
async def test_what_the_issuer_answers_a_closing_verifier_counts_no_more(
    issuer: Issuer, clock: Clock, is_opaque: bool
) -> None:
    issuer.opaque[OPAQUE] = issuer.claims()
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), now=clock.now, elapsed=clock.elapsed)
    assert await verifier.start()
    token = OPAQUE if is_opaque else issuer.token()
    cut_off(issuer)
    clock.ahead_s = 60
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        asked.set()
        await answer.wait()

    async def left() -> None:
        answer.set()
        await verifying

    issuer.instead |= {"/oauth2/introspect": slowly, leaving(issuer): left}
    verifying = asyncio.create_task(refused(verifier, token))
    await asked.wait()
    await verifier.aclose()
    assert await verifying is Reason.STALE


async def test_the_last_receipt_arrives_before_it_leaves(issuer: Issuer) -> None:
    """One that came after would make it known again, and with `accept` for good."""
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=WhenStale.ACCEPT)
    assert await verifier.start()
    reached, path = asyncio.Event(), leaving(issuer)

    async def slowly() -> None:
        reached.set()
        await asyncio.sleep(0.3)
        issuer.asked.append("the receipt was taken")

    issuer.instead["/revocations/receipts"] = slowly
    await reached.wait()
    await verifier.aclose()
    assert [each for each in issuer.asked if each in {"the receipt was taken", path}] == ["the receipt was taken", path]
    assert "/revocations/receipts" not in issuer.asked[issuer.asked.index(path) :]
