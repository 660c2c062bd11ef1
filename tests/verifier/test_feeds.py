"""The feed: gaps, epochs, roll-backs, contradictions, unknown entries, and both ways to hear of an entry."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Protocol

import nats
import pytest
from joserfc.jwk import ECKey
from starlette.responses import Response
from tests.verifier.conftest import AUDIENCE, CLIENT_ID, SECRET, Issuer, refused, until

from watchword_events.contracts import KeyPublished, KeyRotated
from watchword_events.revocations import RevocationEntry
from watchword_verifier import ClientCredentials, IssuerUnavailable, NatsFeed, Reason, Verifier
from watchword_verifier.feeds import HttpFeed
from watchword_verifier.follower import Follower

BOUND_S: Final = 2.0


class Broker(Protocol):
    """What the test kit's brokers can do."""

    @property
    def url(self) -> str: ...
    def stop(self) -> None: ...
    def restart(self) -> None: ...


@asynccontextmanager
async def following(feed: HttpFeed | NatsFeed, *, live: bool = True) -> AsyncIterator[Follower]:
    """A follower that has loaded; live: it hears of entries as they come."""
    http = feed if isinstance(feed, HttpFeed) else feed.http
    follower = Follower(
        http, http.newest, bound_s=BOUND_S, leeway_s=0, now=time.time, elapsed=time.monotonic, on_key=lambda: None
    )
    works: list[Callable[[], Awaitable[None]]] = [follower.run]
    if live:
        works.append(lambda: feed.follow(follower))
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        await asyncio.wait_for(follower.loaded.wait(), 5)
        yield follower
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await feed.aclose()


def is_dead(follower: Follower, value: str, rev: int = 0) -> bool:
    return not follower.revoked.is_live({"sub": value, "rev": rev})


async def test_an_entry_that_the_stream_did_not_bring_is_fetched(issuer: Issuer) -> None:
    async with following(issuer.feed()) as follower:
        await asyncio.sleep(0.1)
        issuer.streaming = False
        issuer.revoke("sub", "ann", silently=True)
        await until(lambda: is_dead(follower, "ann"))
        assert follower.is_fresh


async def test_a_gap_is_filled_before_anything_later_counts(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        lost = issuer.revoke("sub", "ann")
        later = issuer.revoke("sub", "bob")
        follower.received(later.model_dump_json().encode(), from_issuer=True)
        assert follower.revoked.position < lost.position
        await until(lambda: is_dead(follower, "ann") and is_dead(follower, "bob"), within_s=0.9)
        assert follower.revoked.position == later.position


async def test_entries_heard_while_loading_are_not_lost(issuer: Issuer) -> None:
    issuer.broken.add("/revocations")
    feed = issuer.feed()
    follower = Follower(
        feed, feed.newest, bound_s=5, leeway_s=0, now=lambda: 0.0, elapsed=lambda: 0.0, on_key=lambda: None
    )
    follower.received(issuer.revoke("sub", "ann").model_dump_json().encode(), from_issuer=True)
    assert follower.revoked.position == 0
    running = asyncio.create_task(follower.run())
    issuer.broken.clear()
    await until(lambda: is_dead(follower, "ann"))
    running.cancel()
    await feed.aclose()


async def test_a_message_that_cannot_be_read_makes_it_ask(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        issuer.revoke("sub", "ann")
        follower.received(b"{nonsense", from_issuer=False)
        await until(lambda: is_dead(follower, "ann"), within_s=0.9)


async def test_a_repeated_message_changes_nothing(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        entry = issuer.revoke("sub", "ann").model_dump_json().encode()
        follower.received(entry, from_issuer=True)
        asked = len(issuer.asked)
        follower.received(entry, from_issuer=True)
        await asyncio.sleep(0.05)
        assert "/revocations" not in issuer.asked[asked:]
        assert follower.revoked.position == issuer.position


async def test_a_forged_entry_is_found_out_when_the_true_one_comes(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        forged = issuer.revoke("sub", "victim")
        issuer.ledger.remove(forged)
        follower.received(forged.model_dump_json().encode(), from_issuer=False)
        assert is_dead(follower, "victim")
        follower.received(issuer.revoke("sub", "ann").model_dump_json().encode(), from_issuer=False)
        assert not follower.is_fresh
        await until(lambda: follower.is_fresh)
        assert is_dead(follower, "ann")
        assert not is_dead(follower, "victim")


async def test_a_forged_entry_is_found_out_by_asking(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        forged = issuer.revoke("sub", "victim")
        issuer.ledger.remove(forged)
        follower.received(forged.model_dump_json().encode(), from_issuer=False)
        await until(lambda: not is_dead(follower, "victim"), within_s=BOUND_S)
        assert follower.revoked.position == issuer.position


async def test_a_forged_entry_hides_none_even_if_the_true_one_is_lost(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        forged = issuer.revoke("sub", "victim")
        issuer.ledger.remove(forged)
        follower.received(forged.model_dump_json().encode(), from_issuer=False)
        issuer.revoke("sub", "ann")
        follower.received(issuer.revoke("sub", "bob").model_dump_json().encode(), from_issuer=False)
        assert not is_dead(follower, "ann")
        await until(lambda: is_dead(follower, "ann"), within_s=BOUND_S)
        assert not is_dead(follower, "victim")


async def test_a_lift_is_not_believed_before_the_issuer_says_so(issuer: Issuer) -> None:
    issuer.revoke("sub", "ann", "state")
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        forged = issuer.revoke("sub", "ann", "lift")
        issuer.ledger.remove(forged)
        follower.received(forged.model_dump_json().encode(), from_issuer=False)
        await asyncio.sleep(0.2)
        assert is_dead(follower, "ann", forged.position)
        issuer.ledger.append(forged)
        follower.received(forged.model_dump_json().encode(), from_issuer=False)
        await until(lambda: not is_dead(follower, "ann", forged.position), within_s=0.9)


async def heals_in_a_new_epoch(issuer: Issuer, follower: Follower, kept: RevocationEntry) -> None:
    """The ledger that lost entries is made whole, as `watchword restore` does it."""
    issuer.restore([kept])
    issuer.revoke("all", "")
    await until(lambda: follower.is_fresh, within_s=BOUND_S + 4)


async def test_a_ledger_that_went_back_is_not_taken_before_a_new_epoch(issuer: Issuer) -> None:
    kept, lost = issuer.revoke("sub", "ann"), issuer.revoke("sub", "bob")
    async with following(issuer.feed()) as follower:
        await until(lambda: follower.is_fresh)
        issuer.ledger.remove(lost)
        await until(lambda: not follower.is_fresh, within_s=2 * BOUND_S + 4)
        await asyncio.sleep(1.0)
        assert not follower.is_fresh
        assert is_dead(follower, "bob", lost.position - 1)
        await heals_in_a_new_epoch(issuer, follower, kept)
        assert is_dead(follower, "bob", lost.position)
        assert follower.revoked.position == issuer.position


async def test_what_a_ledger_lost_stays_dead_whatever_else_contradicts_it(issuer: Issuer) -> None:
    """What came over NATS last is not in the table that went back: that alone would look like a forgery."""
    kept, lost = issuer.revoke("sub", "ann"), issuer.revoke("sub", "bob")
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        last = issuer.revoke("sub", "eve")
        issuer.ledger = [kept]
        follower.received(last.model_dump_json().encode(), from_issuer=False)
        await until(lambda: not follower.is_fresh, within_s=BOUND_S)
        await asyncio.sleep(1.0)
        assert not follower.is_fresh
        assert is_dead(follower, "bob", lost.position - 1)
        await heals_in_a_new_epoch(issuer, follower, kept)
        assert is_dead(follower, "bob", lost.position)


async def test_a_ledger_that_lost_entries_and_has_grown_since_is_found_out(issuer: Issuer) -> None:
    """A back-up came back and nobody said so: what stands where we had read is another entry."""
    kept, lost = issuer.revoke("sub", "ann"), issuer.revoke("sub", "bob")
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        issuer.ledger = [kept]
        again = issuer.revoke("sub", "carol", silently=True)
        issuer.ledger[-1] = again.model_copy(update={"id": lost.id})  # its number came back with the back-up, too
        issuer.revoke("sub", "dave", silently=True)
        await until(lambda: not follower.is_fresh, within_s=BOUND_S + 2)
        await asyncio.sleep(1.0)
        assert not follower.is_fresh
        assert is_dead(follower, "bob", lost.position - 1)
        await heals_in_a_new_epoch(issuer, follower, kept)


async def test_what_the_stream_tells_during_a_question_is_no_roll_back(issuer: Issuer) -> None:
    first = issuer.revoke("sub", "ann")
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        asked = asyncio.Event()

        async def slowly() -> Response | None:
            asked.set()
            await asyncio.sleep(0.2)
            return None

        issuer.instead["/revocations"] = slowly
        follower.look()
        await asked.wait()
        told = issuer.revoke("sub", "bob", silently=True)
        follower.received(told.model_dump_json().encode(), from_issuer=True)
        assert follower.revoked.position == told.position > first.position
        await asyncio.sleep(0.5)
        assert follower.loaded.is_set()
        assert follower.is_fresh
        assert is_dead(follower, "bob")


async def test_whatever_happens_to_the_bearer_it_goes_on(issuer: Issuer) -> None:
    """Any function may give the bearer token, and may fail as it likes."""
    tries = 0
    credentials = ClientCredentials(issuer.url, CLIENT_ID, SECRET)

    async def bearer() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise FileNotFoundError("/run/secrets/token")
        return await credentials()

    verifier = Verifier(issuer.url, "https://orders.example", feed=HttpFeed(issuer.url, bearer))
    await verifier.start(wait=timedelta(seconds=0.1))
    await until(lambda: verifier.is_fresh, within_s=10)
    await verifier.aclose()
    await credentials.aclose()


async def test_a_new_epoch_starts_from_a_snapshot(issuer: Issuer) -> None:
    kept, lost = issuer.revoke("sub", "ann"), issuer.revoke("sub", "bob")
    async with following(issuer.feed()) as follower:
        assert is_dead(follower, "bob", lost.position - 1)
        issuer.restore([kept])
        cut = issuer.revoke("all", "")
        await until(lambda: follower.revoked.position == cut.position)
        assert is_dead(follower, "anybody", lost.position)
        assert not is_dead(follower, "anybody", cut.position)
        await until(lambda: follower.is_fresh)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({"claim": "colour"}, id="unknown claim"),
        pytest.param({"kind": "freeze"}, id="unknown kind"),
        pytest.param({"until": "some day"}, id="not readable"),
    ],
)
async def test_an_entry_that_it_does_not_understand_makes_it_stale(issuer: Issuer, raw: dict[str, object]) -> None:
    async with following(issuer.feed()) as follower:
        await until(lambda: follower.is_fresh)
        entry = issuer.revoke("sub", "x", silently=True)
        issuer.ledger.remove(entry)
        issuer.raw_entries = [entry.model_dump(mode="json") | raw]
        follower.look()
        await until(lambda: not follower.is_fresh, within_s=0.9)
        assert follower.revoked.stale_reason is not None


async def test_who_is_far_behind_reads_on_at_once_until_nothing_is_left(issuer: Issuer) -> None:
    """The issuer tells a part at a time: ten parts do not take ten looks at the newest position, one a second."""
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        issuer.at_once = 3
        asked = len(issuer.asked)
        for number in range(30):
            issuer.revoke("sub", f"person-{number}")
        await until(lambda: is_dead(follower, "person-29"))
        looks = issuer.asked[asked:]
        assert looks.count("/revocations") >= 10
        assert looks.count("/revocations/position") < looks.count("/revocations")
        await until(lambda: follower.is_fresh)
        assert follower.revoked.position == issuer.position
        assert all(is_dead(follower, f"person-{number}") for number in range(30))


async def test_a_snapshot_that_is_older_than_the_feed_is_not_taken(issuer: Issuer) -> None:
    class Lagging(HttpFeed):
        """Its first snapshots come from an instance that is behind."""

        lagging = 2

        async def snapshot(self):  # type: ignore[no-untyped-def]  # as in HttpFeed
            page = await super().snapshot()
            self.lagging -= 1
            return page if self.lagging < 0 else type(page)(type(page.position)(page.position - 1), [])

    issuer.revoke("sub", "ann")
    feed = Lagging(issuer.url, ClientCredentials(issuer.url, CLIENT_ID, SECRET))
    async with following(feed) as follower:
        assert is_dead(follower, "ann")
        assert feed.lagging < 0


async def test_an_instance_that_is_a_moment_behind_is_no_roll_back(issuer: Issuer) -> None:
    entry = issuer.revoke("sub", "ann")
    async with following(issuer.feed()) as follower:
        await until(lambda: follower.is_fresh)
        issuer.ledger.remove(entry)
        await asyncio.sleep(1.1)
        issuer.ledger.append(entry)
        await asyncio.sleep(BOUND_S)
        assert is_dead(follower, "ann")
        assert issuer.asked.count("/revocations") == 1


async def test_the_stream_is_taken_up_again_after_a_restart_of_the_issuer() -> None:
    issuer = Issuer()
    async with issuer.served():
        port, feed = int(issuer.url.rpartition(":")[2]), issuer.feed()
        follower_of = following(feed)
        follower = await follower_of.__aenter__()
    issuer.revoke("sub", "while down")
    async with issuer.served(port):
        await until(lambda: is_dead(follower, "while down"))
        issuer.revoke("sub", "after")
        await until(lambda: is_dead(follower, "after"))
        await follower_of.__aexit__(None, None, None)


FRAMES: Final = {
    "an event of 100 KB": b"event: revocation\ndata: " + b"x" * 100_000 + b"\n\n",
    "an event of many lines": b"event: revocation\n" + b"data: x\n" * 20_000 + b"\n",
    "a line without an end": b"x" * 500_000,
    "no entry": b"event: revocation\ndata: {}\n\n",
    "an entry that is a list": b"event: revocation\ndata: [1]\n\n",
    "5,000 brackets": b"event: revocation\ndata: " + b"[" * 5_000 + b"\n\n",
    "no position": b"event: position\ndata: {}\n\n",
    "a position of text": b'event: position\ndata: {"position": "7"}\n\n',
    "a position that is no JSON": b"event: position\ndata: seven\n\n",
    "a position of long ago": b'event: position\ndata: {"position": 0}\n\n',
    "a position far ahead": b'event: position\ndata: {"position": 9007199254740991}\n\n',
    "another event": b"event: shutdown\ndata: now\n\n",
    "not UTF-8": b"event: revocation\ndata: \xff\xfe\n\n",
    "nothing": b"",
}


@pytest.mark.parametrize(
    ("frame", "media_type"),
    [
        *[pytest.param(frame, "text/event-stream", id=name) for name, frame in FRAMES.items()],
        pytest.param(b"data: 7\n\n", "text/html", id="no stream of events"),
    ],
)
async def test_a_stream_that_talks_nonsense_is_left_and_taken_up_again(
    issuer: Issuer, frame: bytes, media_type: str
) -> None:
    nonsense = [frame]

    async def answer() -> Response | None:
        return Response(nonsense.pop(), media_type=media_type) if nonsense else None

    issuer.instead["/revocations/stream"] = answer
    async with following(issuer.feed()) as follower:
        await until(lambda: issuer.asked.count("/revocations/stream") == 2)
        issuer.revoke("sub", "ann")
        await until(lambda: is_dead(follower, "ann"))
        assert follower.is_fresh
        assert len(follower.revoked) == 1


async def test_an_epoch_that_starts_during_a_request_is_noticed(issuer: Issuer) -> None:
    async with following(issuer.feed(), live=False) as follower:
        await until(lambda: follower.is_fresh)
        asked = len(issuer.asked)

        async def restored_meanwhile() -> Response | None:
            if issuer.epoch == 1:
                issuer.restore([])
                issuer.revoke("all", "")
            return None

        issuer.instead["/revocations"] = restored_meanwhile
        issuer.revoke("sub", "ann")
        follower.look()
        await until(lambda: follower.revoked.position == issuer.position)
        assert issuer.asked[asked:].count("/revocations") == 2  # what came after, and then all of it
        assert is_dead(follower, "anybody", issuer.position - 1)
        assert not is_dead(follower, "ann", issuer.position)


async def publish(url: str, entry: RevocationEntry) -> None:
    client = await nats.connect(url)
    await client.publish("feed.revocation", entry.model_dump_json().encode())
    await client.drain()


async def test_entries_arrive_over_nats(issuer: Issuer, nats_server: Broker) -> None:
    issuer.streaming = False
    async with following(NatsFeed(nats_server.url, issuer.feed())) as follower:
        await asyncio.sleep(0.3)
        asked = len(issuer.asked)
        await publish(nats_server.url, issuer.revoke("sub", "ann", silently=True))
        await until(lambda: is_dead(follower, "ann"), within_s=0.5)
        assert "/revocations" not in issuer.asked[asked:]


async def test_no_message_makes_a_verifier_trust_a_key(issuer: Issuer, nats_server: Broker) -> None:
    """Whoever may publish what the token service publishes still cannot sign: keys come from the issuer, over HTTP."""
    forged = ECKey.generate_key("P-256", {"kid": "forged"})
    about: dict[str, Any] = {"alg": "ES256", "public_jwk": {**forged.as_dict(private=False), "alg": "ES256"}}
    feed = NatsFeed(nats_server.url, issuer.feed())
    verifier = Verifier(issuer.url, AUDIENCE, feed=feed, min_key_refetch=timedelta(0))
    client = await nats.connect(nats_server.url)
    async with verifier:
        await asyncio.sleep(0.5)
        before = issuer.asked.count("/oauth2/jwks")
        for event in (
            KeyPublished(id="forged", version=1, **about),
            KeyRotated(id="forged", version=2, alg="ES256", previous="k1"),
        ):
            await client.publish(event.subject(), event.model_dump_json().encode())
        await client.flush()
        await until(lambda: issuer.asked.count("/oauth2/jwks") > before)
        assert await refused(verifier, issuer.token(key=forged)) is Reason.UNKNOWN_KEY
        assert await refused(verifier, issuer.token()) is None
    await client.close()


async def test_without_nats_the_feed_changes_over_to_http_and_back(
    issuer: Issuer, nats_factory: Callable[[], Broker]
) -> None:
    broker = nats_factory()
    async with following(NatsFeed(broker.url, issuer.feed())) as follower:
        await asyncio.sleep(0.3)
        asked = len(issuer.asked)
        await asyncio.to_thread(broker.stop)
        await until(lambda: "/revocations/stream" in issuer.asked[asked:])
        issuer.revoke("sub", "over http")
        await until(lambda: is_dead(follower, "over http"), within_s=1.0)
        await asyncio.to_thread(broker.restart)
        await asyncio.sleep(2.5)
        issuer.streaming = False
        await publish(broker.url, issuer.revoke("sub", "over nats", silently=True))
        await until(lambda: is_dead(follower, "over nats"), within_s=0.5)
        assert follower.is_fresh


async def test_the_bearer_token_is_used_again_until_it_nears_its_end(issuer: Issuer) -> None:
    now_s = 0.0
    client = ClientCredentials(issuer.url, CLIENT_ID, SECRET, elapsed=lambda: now_s)
    first = await asyncio.gather(*(client() for _ in range(20)))
    assert issuer.asked == ["/oauth2/token"]
    assert set(first) == {issuer.bearer}
    now_s = 200.0
    await client()
    assert len(issuer.asked) == 1
    now_s = 241.0
    await client()
    assert len(issuer.asked) == 2
    await client.aclose()


async def test_a_client_with_a_wrong_secret_gets_an_error_that_names_no_secret(issuer: Issuer) -> None:
    client = ClientCredentials(issuer.url, CLIENT_ID, "wrong-secret")
    with pytest.raises(IssuerUnavailable) as caught:
        await client()
    assert "wrong-secret" not in str(caught.value)
    assert str(caught.value) == "/oauth2/token: status 401"
    await client.aclose()
