"""Clocks are half a minute wrong, on an instance or at a verifier: order is by position, so nothing comes of it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic, time

import httpx2
import pytest
from tests.chaos.conftest import Observe, until
from tests.chaos.sentries import BOUND_S, Ring, Sentry, claims_of, refusal, ring_of

from watchword.composition import Process, compose, settings_of
from watchword_runtime.clock import utc_now
from watchword_testkit.databases import Template
from watchword_testkit.platform import READY_WITHIN_S, Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_verifier import Reason

pytestmark = pytest.mark.chaos

WRONG = [timedelta(seconds=30), timedelta(seconds=-30)]


def name_of(wrong: timedelta) -> str:
    return "ahead" if wrong > timedelta() else "behind"


@dataclass
class Instance:
    """A second instance of all services, with a clock of its own, asked without a network."""

    process: Process
    issuer: str

    async def ask(self, path: str, ring: Ring, *, as_reader: bool = False, **form: str) -> httpx2.Response:
        """The answer of `/oauth2/<path>` to the machine, or to the resource server's own client."""
        party = ring.reader if as_reader else ring.machine
        assert party.client_secret is not None
        transport = httpx2.ASGITransport(self.process.app)
        async with httpx2.AsyncClient(transport=transport, base_url=self.issuer) as http:
            return await http.post(f"/oauth2/{path}", data=form, auth=(party.client_id, party.client_secret))

    async def token(self, ring: Ring) -> str:
        answer = await self.ask("token", ring, grant_type="client_credentials", scope="orders:read")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
async def right(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    """An instance whose clock is right."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("clocks")) as site,
        in_this_process(site) as running,
    ):
        yield running


@asynccontextmanager
async def instance(platform: Platform, wrong: timedelta, **settings: str) -> AsyncIterator[Instance]:
    """Another instance of the same installation, whose clock is wrong by so much."""

    def now() -> datetime:
        return utc_now() + wrong

    told = platform.site.settings(platform.issuer, settings)
    process = compose({service: settings_of(service, given) for service, given in told.items()}, now=now)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.stop)
        await process.start()
        await process.until_ready(READY_WITHIN_S)
        yield Instance(process, platform.issuer)


@pytest.mark.parametrize("wrong", WRONG, ids=name_of)
async def test_an_instance_whose_clock_is_wrong(right: Platform, observed: Observe, wrong: timedelta) -> None:
    async with instance(right, wrong) as off, ring_of(right) as ring:
        # These verifiers are told that clocks may differ by that much; revocation does not depend on it.
        await ring.add_verifier("verifier on HTTP", leeway=timedelta(seconds=40))
        await ring.add_verifier("verifier on NATS", nats_at=right.nats.url, leeway=timedelta(seconds=40))

        async def right_accepts(token: str) -> bool:
            return bool((await ring.reader.introspect(token))["active"])

        async def wrong_accepts(token: str) -> bool:
            answer = await off.ask("introspect", ring, as_reader=True, token=token)
            return bool(answer.json()["active"])

        ring.sentries += [Sentry("the right instance", right_accepts), Sentry("the wrong instance", wrong_accepts)]
        ahead, behind = ("the wrong", "the right") if wrong > timedelta() else ("the right", "the wrong")
        makers = {"the right": ring.token, "the wrong": lambda: off.token(ring)}

        async def all_accept(token: str, maker: str) -> None:
            """An instance takes nothing from the future: what the one makes that is ahead, the other refuses yet."""
            everybody = ring.sentries
            if maker == ahead:
                ring.sentries = [each for each in everybody if each.name != f"{behind} instance"]
            await ring.all_accept(token)
            ring.sentries = everybody

        taken = []
        for maker, make in makers.items():
            for end in makers:
                token = await make()
                await all_accept(token, maker)
                if end == "the right":
                    since = await ring.revoke(token)
                else:
                    assert (await off.ask("revoke", ring, token=token)).status_code == 200
                    since = monotonic()
                if maker == ahead and end == behind:
                    # RFC 7009 2.2: to an instance for which it is not yet valid it is no token; its maker ends it.
                    other = ring.revoke(token) if ahead == "the right" else off.ask("revoke", ring, token=token)
                    await other
                    since = monotonic()
                taken.append(await ring.last_acceptance_s(token, since=since))
        # A cut of everything the machine has: what either made before is dead, what either makes afterwards lives,
        # whatever `iat` says.
        before = [await make() for make in makers.values()]
        await right.api().create("/revocations", claim="client_id", value=ring.machine.client_id)
        since = monotonic()
        taken += [await ring.last_acceptance_s(token, since=since) for token in before]
        after = {maker: await make() for maker, make in makers.items()}
        for maker, token in after.items():
            await all_accept(token, maker)
        shift = claims_of(after["the wrong"])["iat"] - claims_of(after["the right"])["iat"]
        assert abs(shift - wrong.total_seconds()) <= 5, "the clock was not wrong"
        observed(*taken)


@pytest.mark.parametrize("wrong", WRONG, ids=name_of)
async def test_a_rotation_by_an_instance_whose_clock_is_wrong(right: Platform, wrong: timedelta) -> None:
    """A next key signs when the JWKS's max-age has passed since all knew it, neither too early nor too late."""
    async with instance(right, wrong, token_jwks_max_age_s="5"):
        api, since = right.api(), monotonic()
        answer = await api.call("POST", "/keys/rotate", {"alg": "ES256"})
        (made,) = answer.json()["items"]

        async def signs() -> bool:
            return bool((await api.get(f"/keys/{made['kid']}"))["state"] == "active")

        await until(signs, "the next key does not sign")
        assert 5 <= monotonic() - since < 25


async def test_a_token_from_a_clock_that_is_ahead_is_refused_by_a_verifier_until_it_is_due(right: Platform) -> None:
    """It might be made in advance with a stolen key. Nothing is accepted that should not be; the time heals it."""
    async with instance(right, timedelta(seconds=30)) as off, ring_of(right) as ring:
        passed = 0.0
        verifier = await ring.add_verifier("verifier", now=lambda: time() + passed)
        token = await off.token(ring)
        assert await refusal(verifier, token) is Reason.ISSUED_IN_THE_FUTURE
        passed = 25.0
        assert await refusal(verifier, token) is None


@pytest.mark.parametrize("wrong", WRONG, ids=name_of)
async def test_a_verifier_whose_clock_is_wrong(right: Platform, observed: Observe, wrong: timedelta) -> None:
    async with ring_of(right) as ring:
        verifiers = [
            await ring.add_verifier(
                name, nats_at=at, now=lambda: time() + wrong.total_seconds(), leeway=timedelta(seconds=40)
            )
            for name, at in (("verifier on HTTP", None), ("verifier on NATS", right.nats.url))
        ]
        taken = []
        for _ in range(4):
            token = await ring.token()
            await ring.all_accept(token)
            taken.append(await ring.last_acceptance_s(token, since=await ring.revoke(token)))
        assert all(verifier.is_fresh for verifier in verifiers), "freshness compares no clocks"
        observed(*taken, bound_s=BOUND_S)
