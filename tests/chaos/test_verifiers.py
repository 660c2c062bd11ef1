"""A resource server is cut off or stands still: it asks or refuses within its bound, and heals by itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from tests.chaos.conftest import Observe, assert_healed, until
from tests.chaos.sentries import Ring, accepted_by, ring_of
from tests.chaos.wire import Cut, wired

from watchword_testkit.factory import WorkerPlatform
from watchword_verifier import WhenStale

pytestmark = pytest.mark.chaos

BOUND_S = 2.0  # these verifiers promise more than the usual five seconds, so that a test need not wait as long


@pytest.fixture
async def bare_ring(installation: WorkerPlatform) -> AsyncIterator[Ring]:
    """A ring whose sentries are the test's own."""
    async with ring_of(installation) as made:
        yield made
        await assert_healed(made)


@pytest.mark.parametrize("how", [Cut.CLOSED, Cut.SILENT])
@pytest.mark.parametrize("cut_off", [("nats",), ("http",), ("nats", "http")], ids="-".join)
async def test_a_verifier_that_is_cut_off(
    bare_ring: Ring, installation: WorkerPlatform, observed: Observe, cut_off: tuple[str, ...], how: Cut
) -> None:
    """With one way left it still hears of the revocation, or refuses; without any it refuses within its bound."""
    ring = bare_ring
    http_port, nats_port = urlsplit(installation.issuer).port, urlsplit(installation.nats.url).port
    assert http_port is not None
    assert nats_port is not None
    async with wired(http_port) as http, wired(nats_port) as nats:
        verifier = await ring.add_verifier(
            "verifier",
            issuer_at=f"http://127.0.0.1:{http.port}",
            nats_at=f"nats://127.0.0.1:{nats.port}",
            bound_s=BOUND_S,
        )
        dead, live = await ring.token(), await ring.token()
        await ring.all_accept(dead)
        await ring.all_accept(live)
        wires = {"http": http, "nats": nats}
        for name in cut_off:
            await wires[name].cut(how)
        since = await ring.revoke(dead)
        last_s = await ring.last_acceptance_s(dead, since=since)
        observed(last_s, bound_s=BOUND_S)
        if "http" in cut_off:  # it can neither date what it knows nor ask

            async def is_refused() -> bool:
                return not await accepted_by(verifier)(live)

            await until(is_refused, "a verifier that cannot know accepts", within_s=BOUND_S + 10)
            assert time.monotonic() - since >= last_s
        else:  # HTTP has taken over, and good tokens are good
            await ring.all_accept(live)
        for name in cut_off:
            await wires[name].mend()
        await ring.all_accept(live)
        assert not await accepted_by(verifier)(dead)
        await assert_healed(ring)


@pytest.mark.parametrize("when_stale", [WhenStale.INTROSPECT, WhenStale.REFUSE])
@pytest.mark.parametrize("over_nats", [True, False], ids=["nats", "http"])
async def test_a_verifier_that_stood_still_for_longer_than_its_bound(
    bare_ring: Ring, observed: Observe, over_nats: bool, when_stale: WhenStale
) -> None:
    """The question is in its input when it wakes, before anything that the network has for it."""
    ring = bare_ring
    process = await ring.add_process("sleeper", over_nats=over_nats, bound_s=BOUND_S, when_stale=when_stale)
    dead, live = await ring.token(), await ring.token()

    async def accepts_both() -> bool:
        return await process.refusals([dead, live]) == [None, None]

    await until(accepts_both, "good tokens are refused")
    process.suspend()
    await ring.revoke(dead)
    asked = process.send("verify", tokens=[dead, live])
    await asyncio.sleep(BOUND_S + 0.5)
    process.wake()
    of_dead, of_live = (await process.answer_to(asked))["refusals"]
    assert of_dead is not None, "it woke and accepted"
    observed(0.0, bound_s=BOUND_S)
    if when_stale is WhenStale.INTROSPECT:
        assert (of_dead, of_live) == ("revoked", None), "it asks the issuer"
    else:
        assert of_live in {"stale", None}, "it refuses until it knows"

    async def knows() -> bool:
        answers = await process.refusals([dead, live])
        return bool((await process.ask("state"))["fresh"]) and answers == ["revoked", None]

    await until(knows, "it does not heal")
