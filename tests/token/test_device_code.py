"""device_code: a device asks until somebody has decided, and then gets its tokens once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.token.conftest import App, Site

from watchword_database import bus, transaction
from watchword_database.ids import new_id
from watchword_events.exports import UserExport
from watchword_events.handovers import Approval, DeviceAnswer, DeviceCode
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.clock import TestClock

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
LIFE = timedelta(minutes=10)


class Device:
    """A device that was given its codes by authz."""

    def __init__(self, site: Site, app: App) -> None:
        self.site, self.app, self.id, self.code = site, app, new_id(), ""

    async def begin(self, ttl: timedelta = LIFE) -> "Device":
        """authz hands the device code over."""
        payload = DeviceCode(device_id=self.id, client_id=self.app.id, interval_s=5, rev=self.site.feed.position)
        async with transaction(self.site.db(Service.AUTHZ)) as session:
            self.code = await bus.hand_over(session, payload, flow=self.id, now=self.site.clock(), ttl=ttl)
        self.site.canary.add("device code", self.code)
        return self

    async def answer(self, user: UserExport | None, **given: Any) -> None:
        """authz hands over what the person decided; nobody allowed it when there is no user."""
        now = self.site.clock()
        approval = None
        if user is not None:
            approval = Approval.model_validate(
                {
                    "gid": new_id(),
                    "sid": new_id(),
                    "user_id": user.id,
                    "user_version": 1,
                    "claims_version": 1,
                    "client_id": self.app.id,
                    "client_version": 1,
                    "scope": ("openid", "profile"),
                    "auth_time": now - timedelta(seconds=30),
                    "amr": ("pwd",),
                    "rev": self.site.feed.position,
                    "session_expires_at": now + timedelta(hours=8),
                    **given,
                }
            )
        async with transaction(self.site.db(Service.AUTHZ)) as session:
            await bus.hand_over(session, DeviceAnswer(approval=approval), flow=self.id, now=now, ttl=LIFE)

    async def poll(self, app: App | None = None) -> dict[str, Any]:
        """What the token endpoint says, with its status."""
        answer = await self.site.token(app or self.app, grant_type=GRANT, device_code=self.code)
        assert answer.headers["cache-control"] == "no-store"
        return {"status": answer.status_code, **answer.json()}

    async def error(self, app: App | None = None) -> str:
        """The error of a poll that was refused with 400."""
        said = await self.poll(app)
        assert said["status"] == 400, said
        return str(said["error"])


async def client(site: Site, **given: Any) -> App:
    return await site.client(grant_types=[GRANT, "refresh_token"], **given)


async def device(site: Site, **given: Any) -> Device:
    return await Device(site, await client(site, **given)).begin()


@pytest.mark.parametrize("method", ["client_secret_basic", "none"])
@pytest.mark.spec("RFC 8628 3.4, 3.5")
async def test_what_was_allowed_becomes_tokens_once(site: Site, method: str) -> None:
    asks, user = await device(site, token_endpoint_auth_method=method), await site.user()
    await asks.answer(user)
    tokens = await asks.poll()
    assert tokens["status"] == 200, tokens
    assert tokens["scope"] == "openid profile"
    access, identity = await site.claims(tokens["access_token"]), await site.claims(tokens["id_token"])
    assert (access["sub"], access["client_id"], identity["aud"]) == (user.id, asks.app.id, asks.app.id)
    assert "nonce" not in identity
    renewed = await site.token(asks.app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert renewed.status_code == 200


@pytest.mark.spec("RFC 6749 4.1.2")
async def test_second_use_of_a_device_code_revokes_its_tokens(own_site: Site, clock: TestClock) -> None:
    asks = await device(own_site)
    await asks.answer(await own_site.user())
    tokens = await asks.poll()
    thief = await client(own_site)
    assert await asks.error(thief) == "invalid_grant"
    assert await asks.error() == "slow_down"  # an impatient device is no second use
    assert await own_site.is_active(asks.app, tokens["access_token"])
    clock.advance(timedelta(minutes=11))
    assert await asks.error() == "invalid_grant"
    renewed = await own_site.token(asks.app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert renewed.json()["error"] == "invalid_grant"


async def test_a_replay_is_recognised_after_the_hand_over_was_swept_away(site: Site) -> None:
    asks = await device(site)
    await asks.answer(await site.user())
    tokens = await asks.poll()
    async with site.database.postgres.admin(site.database.name) as connection:
        await connection.execute("DELETE FROM bus.handover")
    assert await asks.error() == "invalid_grant"
    assert not await site.is_active(asks.app, tokens["access_token"])


@pytest.mark.spec("RFC 8628 3.5")
async def test_a_device_waits_is_slowed_down_and_runs_out_of_time(own_site: Site, clock: TestClock) -> None:
    asks = await device(own_site)
    assert await asks.error() == "authorization_pending"
    clock.advance(timedelta(seconds=5))
    assert await asks.error() == "authorization_pending"
    clock.advance(timedelta(seconds=2))
    assert await asks.error() == "slow_down"
    clock.advance(timedelta(seconds=5))  # ten are asked for now
    assert await asks.error() == "slow_down"
    clock.advance(timedelta(seconds=15))
    assert await asks.error() == "authorization_pending"
    await asks.answer(await own_site.user())
    clock.advance(timedelta(seconds=5))
    assert await asks.error() == "slow_down"  # who asks too often gets nothing, allowed or not
    clock.advance(timedelta(seconds=20))
    assert (await asks.poll())["status"] == 200
    late = await device(own_site)
    clock.advance(LIFE)
    assert await late.error() == "expired_token"
    await late.answer(await own_site.user())
    assert await late.error() == "expired_token"


@pytest.mark.spec("RFC 8628 3.5")
async def test_what_was_not_allowed_is_denied(site: Site) -> None:
    asks = await device(site)
    await asks.answer(None)
    assert await asks.error() == "access_denied"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({}, "invalid_request", id="no device code"),
        pytest.param({"device_code": "x" * 43}, "invalid_grant", id="unknown"),
        pytest.param({"device_code": "WDJB-MJHT"}, "invalid_grant", id="the user code"),
        pytest.param({"device_code": "x" * 10_000}, "invalid_grant", id="a very long one"),
        pytest.param({"device_code": "' OR 1=1 --" + "x" * 32}, "invalid_grant", id="SQL"),
    ],
)
async def test_what_is_no_device_code_is_refused(site: Site, form: dict[str, str], error: str) -> None:
    answer = await site.token(await client(site), grant_type=GRANT, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_a_code_of_another_kind_is_no_device_code(site: Site) -> None:
    """Neither is a device code an authorization code."""
    app = await site.client(grant_types=[GRANT, "authorization_code"])
    code = await site.code(app, await site.user())
    refused = await site.token(app, grant_type=GRANT, device_code=code)
    assert refused.json()["error"] == "invalid_grant"
    asks = await Device(site, app).begin()
    assert (await site.redeem(app, asks.code)).json()["error"] == "invalid_grant"
    assert (await site.redeem(app, code)).status_code == 200


async def test_another_clients_poll_learns_and_changes_nothing(site: Site) -> None:
    asks, other = await device(site), await client(site)
    assert await asks.error(other) == "invalid_grant"
    await asks.answer(await site.user())
    assert await asks.error(other) == "invalid_grant"
    assert (await asks.poll())["status"] == 200


async def test_a_client_without_the_grant_type_is_refused(site: Site) -> None:
    app = await site.client()
    answer = await site.token(app, grant_type=GRANT, device_code="x" * 43)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize("claim", [Claim.SUB, Claim.SID, Claim.CLIENT_ID])
async def test_what_was_revoked_before_the_device_asks_again_gives_nothing(site: Site, claim: Claim) -> None:
    asks, user, sid = await device(site), await site.user(), new_id()
    await asks.answer(user, sid=sid)
    value = {Claim.SUB: user.id, Claim.SID: sid, Claim.CLIENT_ID: asks.app.id}[claim]
    await site.revoke(claim, value)
    assert await asks.error() == "invalid_grant"


async def test_a_waiting_code_ends_with_its_client(site: Site) -> None:
    asks = await device(site)
    await site.revoke(Claim.CLIENT_ID, asks.app.id, kind=RevocationKind.CUT)
    assert await asks.error() == "invalid_grant"


async def test_a_disabled_person_connects_nothing(site: Site) -> None:
    asks = await device(site)
    await asks.answer(await site.user(active=False))
    assert await asks.error() == "invalid_grant"


async def test_of_many_polls_at_once_one_gets_tokens_that_live(site: Site) -> None:
    """The others came too soon: they are no second use."""
    asks = await device(site)
    await asks.answer(await site.user())
    answers = await asyncio.gather(*[asks.poll() for _ in range(20)])
    won = [each for each in answers if each["status"] == 200]
    assert len(won) == 1
    assert {each["error"] for each in answers if each["status"] != 200} == {"slow_down"}
    assert await site.is_active(asks.app, won[0]["access_token"])


async def test_a_device_code_stands_nowhere_in_clear(site: Site) -> None:
    asks = await device(site)
    await asks.error()
    async with site.database.postgres.admin(site.database.name) as connection:
        tables = ("bus.handover", "token.device_polls")
        rows = [await connection.fetch(f"SELECT t::text AS row FROM {name} t") for name in tables]
    assert all(found for found in rows)
    assert not any(asks.code in row["row"] for found in rows for row in found)
