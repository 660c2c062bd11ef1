"""What is said on NATS is said twice, in the wrong order, again after a week, or by somebody who may not say it."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import nats
import pytest
from nats.aio.msg import Msg
from tests.chaos.conftest import Observe, until
from tests.chaos.sentries import Ring, claims_of

from watchword_events.contracts import UserProvisioned
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_runtime.feed import SUBJECT
from watchword_testkit.events import expect_events
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_verifier.tokens import take_apart

pytestmark = pytest.mark.chaos


def said(position: int, claim: Claim, value: str, kind: RevocationKind, *, entry_id: int = 10**12) -> bytes:
    """A feed message as the leader would publish it."""
    now = datetime.now(UTC)
    later = now + timedelta(days=1)
    entry = RevocationEntry(
        id=entry_id, position=position, claim=claim, value=value, kind=kind, until=later, keep_until=later, at=now
    )
    return entry.model_dump_json().encode()


async def head(ring: Ring) -> int:
    """The newest position."""
    connection = await asyncpg.connect(ring.platform.database.admin_url)
    try:
        return int(await connection.fetchval("SELECT position FROM bus.ledger"))
    finally:
        await connection.close()


async def publish(platform: WorkerPlatform, *messages: bytes) -> None:
    """Said on the feed's subject by somebody whom NATS lets say anything."""
    async with platform.nats_client() as client:
        for message in messages:
            await client.publish(SUBJECT, message)
        await client.flush()


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_is_said_again_and_in_any_order_changes_nothing(
    ring: Ring, installation: WorkerPlatform, observed: Observe, seed: int
) -> None:
    chance = random.Random(seed)
    dead = [await ring.token() for _ in range(5)]
    live = await ring.token()
    heard: list[bytes] = []
    async with installation.nats_client() as client:

        async def on_entry(message: Msg) -> None:
            heard.append(message.data)

        await client.subscribe(SUBJECT, cb=on_entry)
        await client.flush()
        since = [await ring.revoke(token) for token in dead]

        async def all_heard() -> bool:
            return len(heard) >= len(dead)

        await until(all_heard, "the feed is silent", within_s=5)
        again = [*heard, *heard]
        chance.shuffle(again)
        noisy = asyncio.create_task(publish(installation, *again))
        taken = [await ring.last_acceptance_s(token, since=at) for token, at in zip(dead, since, strict=True)]
        await noisy
    one_more = await ring.token()
    taken.append(await ring.last_acceptance_s(one_more, since=await ring.revoke(one_more)))
    await ring.all_accept(live)
    assert claims_of(await ring.token())["rev"] <= await head(ring)
    observed(*taken)


@pytest.mark.row(61)
@pytest.mark.parametrize("claim", [Claim.CLIENT_ID, Claim.ALL, Claim.KID])
async def test_a_forged_revocation_is_found_out(
    ring: Ring, installation: WorkerPlatform, observed: Observe, claim: Claim
) -> None:
    """It may refuse good tokens for a moment, as caution wants, until the table is read again. It hides nothing."""
    token, doomed = await ring.token(), await ring.token()
    await ring.all_accept(token)
    kid = header_kid(token)
    value = {Claim.CLIENT_ID: ring.machine.client_id, Claim.KID: kid}.get(claim, "")
    kind = RevocationKind.STATE if claim is Claim.KID else RevocationKind.CUT
    await publish(installation, said(await head(ring) + 1, claim, value, kind))
    # The entry that really has this position is obeyed all the same. Who calls may be thought dead for a moment, too.
    api, body = installation.api(), {"claim": "jti", "value": claims_of(doomed)["jti"]}

    async def revoked() -> bool:
        return (await api.call("POST", "/revocations", body)).is_success

    await until(revoked, "nobody can revoke")
    taken = await ring.last_acceptance_s(doomed, since=time.monotonic())
    await ring.all_accept(token)
    observed(taken)


async def test_a_forged_lift_brings_nobody_back(ring: Ring, installation: WorkerPlatform, observed: Observe) -> None:
    api = installation.api()
    token = await ring.token()
    await ring.all_accept(token)
    await api.change(f"/clients/{ring.machine.client_id}", enabled=False)
    since = time.monotonic()
    taken = await ring.last_acceptance_s(token, since=since)
    position = await head(ring)
    ids = range(10**12, 10**12 + 5)
    await publish(
        installation,
        *[
            said(position + step, Claim.CLIENT_ID, ring.machine.client_id, RevocationKind.LIFT, entry_id=entry_id)
            for step, entry_id in enumerate(ids, start=-1)
        ],
    )
    ends = time.monotonic() + 2.5  # the table is read each second, a verifier asks each second
    while time.monotonic() < ends:
        for sentry in ring.sentries:
            assert not await sentry.accepts(token), f"{sentry.name} believes a forged lift"
    observed(taken)
    # The real one is obeyed; the old token stays dead.
    await api.change(f"/clients/{ring.machine.client_id}", enabled=True)

    async def is_served() -> bool:
        return (await ring.machine.ask("token", grant_type="client_credentials")).status_code == 200

    await until(is_served, "an enabled client is refused")
    assert not any([await sentry.accepts(token) for sentry in ring.sentries])


@pytest.mark.row(61)
async def test_a_service_that_owns_no_feed_cannot_speak_on_it(ring: Ring, installation: WorkerPlatform) -> None:
    """NATS drops it: nobody hears, nothing has to be found out."""
    token = await ring.token()
    await ring.all_accept(token)
    errors: list[Exception] = []

    async def on_error(error: Exception) -> None:
        errors.append(error)

    client = await nats.connect(
        installation.nats.url,
        nkeys_seed_str=installation.site.installation.seeds[Service.DIRECTORY],
        inbox_prefix=f"_INBOX_{Service.DIRECTORY}".encode(),
        error_cb=on_error,
    )
    forged = said(await head(ring) + 1, Claim.ALL, "", RevocationKind.CUT)
    await client.publish(SUBJECT, forged)
    await client.flush()

    async def was_told() -> bool:
        return bool(errors)

    await until(was_told, "NATS let a stranger speak on the feed", within_s=5)
    for sentry in ring.sentries:
        assert await sentry.accepts(token)
    await client.close()


async def test_an_old_event_of_a_disabled_user_disables_nobody(platform: Platform) -> None:
    """Events carry ids: whoever hears one asks the owner how things are now. The relay goes on behind the stranger."""
    api = platform.api()
    user = await api.create("/users", username="phoenix", name="A User", password="correct horse battery staple")
    user_id = str(user["id"])
    async with platform.nats_client() as client:
        js = client.jetstream()
        await api.change(f"/users/{user_id}", active=False)
        await api.change(f"/users/{user_id}", active=True)

        async def both_out() -> bool:
            state = (await js.stream_info(Service.DIRECTORY.stream)).state
            last = await js.get_msg(Service.DIRECTORY.stream, state.last_seq)
            return (last.headers or {})["ce-type"] == "user.enabled"

        await until(both_out, "the events were not published")
        state = (await js.stream_info(Service.DIRECTORY.stream)).state
        old = await js.get_msg(Service.DIRECTORY.stream, state.last_seq - 1)
        headers = {name: value for name, value in (old.headers or {}).items() if not name.startswith("Nats-")}
        assert headers["ce-type"] == "user.disabled"
        assert old.subject is not None
        await js.publish(old.subject, old.data or b"", headers=headers)

        async def is_consumed() -> bool:
            consumers = await js.consumers_info(Service.DIRECTORY.stream)
            return all(not (each.num_pending or each.num_ack_pending) for each in consumers)

        await until(is_consumed, "the replayed event is not consumed")
        assert (await api.get(f"/users/{user_id}"))["active"] is True
        async with expect_events(client, UserProvisioned, within_s=20):
            await api.create("/users", username="next", name="A User")
    party = await Party.registered(api, platform.issuer, platform.canary)
    async with platform.browser() as browser:
        await SignIn(browser, party).with_password("phoenix", "correct horse battery staple")


def header_kid(token: str) -> str:
    """The key that a token names."""
    return take_apart(token).kid
