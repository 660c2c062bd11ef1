"""The promise about revocation, its eight points one after another, with the numbers that stand in it.

How many milliseconds something takes is measured (`make bench-revocation`); here stand counts, positions and bounds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from inspect import signature

import asyncpg
import pytest

from watchword_events.names import EPOCH_SHIFT, Service, epoch_of
from watchword_runtime import feed as runtime_feed
from watchword_testkit.api import Api
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.http import http_client
from watchword_testkit.signin import Party, SignIn
from watchword_verifier import ClientCredentials, HttpFeed, NatsFeed, Reason, TokenRefused, Verifier, WhenStale
from watchword_verifier.tokens import take_apart

AUDIENCE = "https://promise.example"
STALENESS_BOUND_S = 5.0
PASSWORD = "correct horse battery staple"


class Asked:
    """A machine, a person's application, and the client of resource servers."""

    def __init__(self, platform: WorkerPlatform, api: Api, machine: Party, reader: Party, app: Party) -> None:
        self.platform, self.api, self.machine, self.reader, self.app = platform, api, machine, reader, app

    async def token(self, door: int | None = None) -> str:
        """A token of the machine, from any worker or from one."""
        at = self.machine if door is None else self.at(self.machine, door)
        return (await at.tokens(grant_type="client_credentials", scope="orders:read"))["access_token"]

    def at(self, party: Party, door: int) -> Party:
        """The same client at one worker."""
        return Party(self.platform.doors[door], party.client_id, party.client_secret)

    async def accepted(self, token: str) -> list[bool]:
        """What each worker says."""
        doors = range(len(self.platform.doors))
        answers = await asyncio.gather(*[self.at(self.reader, door).introspect(token) for door in doors])
        return [bool(answer["active"]) for answer in answers]

    async def sql(self, statement: str, *parameters: object) -> list[asyncpg.Record]:
        """Rows, as the superuser."""
        connection = await asyncpg.connect(self.platform.database.admin_url)
        try:
            return list(await connection.fetch(statement, *parameters))
        finally:
            await connection.close()

    async def head(self) -> int:
        """The newest position."""
        return int((await self.sql("SELECT position FROM bus.ledger"))[0]["position"])

    @asynccontextmanager
    async def verifier(self, *, nats: bool = False, **more: object) -> AsyncIterator[Verifier]:
        """A resource server's verifier."""
        issuer = self.platform.issuer
        assert self.reader.client_secret is not None
        http = HttpFeed(issuer, ClientCredentials(issuer, self.reader.client_id, self.reader.client_secret))
        seed = self.platform.site.installation.seeds[Service.ADMIN]
        over_nats = NatsFeed(self.platform.nats.url, http, seed=seed, inbox_prefix=f"_INBOX_{Service.ADMIN}")
        async with Verifier(issuer, AUDIENCE, feed=over_nats if nats else http, **more) as verifier:  # type: ignore[arg-type]  # options of Verifier
            yield verifier


@pytest.fixture
async def asked(workers: WorkerPlatform) -> Asked:
    """Clients of the test's own."""
    api = workers.api()
    machine = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    return Asked(
        workers,
        api,
        await Party.registered(api, workers.issuer, audience=[AUDIENCE], scope="orders:read", **machine),
        await Party.registered(api, workers.issuer, scope="revocations:read introspect:any", **machine),
        await Party.registered(api, workers.issuer, audience=[AUDIENCE], scope="openid profile offline_access"),
    )


async def refusal(verifier: Verifier, token: str) -> Reason | None:
    """Why the verifier refuses; None when it does not."""
    try:
        await verifier.verify(token)
    except TokenRefused as error:
        return error.reason
    return None


async def within_bound(condition: Callable[[], Awaitable[bool]], since: float) -> None:
    """The condition holds at the latest when the staleness bound is over. That number is the promise."""
    while not await condition():
        assert time.monotonic() - since <= STALENESS_BOUND_S, "later than the staleness bound"
        await asyncio.sleep(0.005)


def claims_of(token: str) -> dict[str, object]:
    """What a token says, unchecked."""
    return dict(take_apart(token).claims())


def test_the_bound_is_five_seconds_for_instances_and_verifiers() -> None:
    assert runtime_feed.STALE_S == STALENESS_BOUND_S
    parameters = signature(Verifier.__init__).parameters
    assert parameters["staleness_bound"].default == timedelta(seconds=STALENESS_BOUND_S)
    assert parameters["when_stale"].default is WhenStale.INTROSPECT
    # Whoever follows looks several times within the bound, with NATS and without.
    assert max(runtime_feed.POLL_S, runtime_feed.POLL_WITHOUT_NATS_S) * 4 < STALENESS_BOUND_S


# 1. One ledger.
async def test_a_call_returns_when_its_entry_has_the_next_position(asked: Asked) -> None:
    user = await asked.api.create("/users", username="promise-1", name="A User")
    before = await asked.head()
    await asked.api.change(f"/users/{user['id']}", active=False)
    rows = await asked.sql("SELECT kind, position FROM bus.revocations WHERE value = $1", user["id"])
    assert [row["kind"] for row in rows] == ["state"]
    assert rows[0]["position"] == before + 1, "the call returned when the entry had the next position"
    steps = await asked.sql(
        "SELECT count(*) AS n FROM (SELECT position - lag(position) OVER (ORDER BY position) AS step"
        " FROM bus.revocations WHERE position IS NOT NULL) s WHERE step <> 1"
    )
    assert steps[0]["n"] == 0


# 2. Order by position, not by clock.
async def test_a_cut_ends_what_carries_an_older_position_and_a_lift_leaves_a_cut(asked: Asked) -> None:
    old = await asked.token()
    cut = await asked.api.create("/revocations", claim="client_id", value=asked.machine.client_id)
    position = cut["position"]
    assert isinstance(position, int)
    since = time.monotonic()
    new = await asked.token()
    assert claims_of(old)["rev"] < position <= claims_of(new)["rev"]  # type: ignore[operator]  # rev is an integer

    async def is_obeyed() -> bool:
        return not any(await asked.accepted(old))

    await within_bound(is_obeyed, since)

    async def is_accepted() -> bool:
        return all(await asked.accepted(new))

    await within_bound(is_accepted, time.monotonic())
    await asked.api.change(f"/clients/{asked.machine.client_id}", enabled=False)
    await asked.api.change(f"/clients/{asked.machine.client_id}", enabled=True)
    kinds = await asked.sql("SELECT kind FROM bus.revocations WHERE value = $1 ORDER BY id", asked.machine.client_id)
    assert [row["kind"] for row in kinds] == ["cut", "state", "lift"]
    assert not any(await asked.accepted(new)), "what was made before the state stays dead"


async def test_whoever_wrote_an_entry_issues_nothing_for_that_value_until_it_is_applied(asked: Asked) -> None:
    """Every worker in turn: after its own answer it refuses at once, and what it issues next carries the position."""
    for door in range(len(asked.platform.doors)):
        token = await asked.token(door)
        answer = await asked.at(asked.machine, door).ask("revoke", token=token)
        assert answer.status_code == 200
        assert (await asked.at(asked.reader, door).introspect(token))["active"] is False
        jti = claims_of(token)["jti"]
        rows = await asked.sql("SELECT position FROM bus.revocations WHERE value = $1", jti)
        assert claims_of(await asked.token(door))["rev"] >= rows[0]["position"]  # type: ignore[operator]  # an integer


# 3. What makes tokens dies too.
async def test_session_code_and_refresh_token_die_with_the_user(asked: Asked) -> None:
    user = await asked.api.create("/users", username="promise-3", name="A User", password=PASSWORD)
    browsers = [asked.platform.browser() for _ in range(2)]
    first = SignIn(browsers[0], asked.app, scope="openid offline_access")
    tokens = await first.with_password("promise-3", PASSWORD)
    second = SignIn(browsers[1], asked.app)
    await second.start()
    await second.enter("promise-3", PASSWORD)
    await second.decide()
    code = await second.code()
    await asked.api.create("/revocations", claim="sub", value=user["id"])
    since = time.monotonic()

    async def is_dead() -> bool:
        return not any(await asked.accepted(tokens["access_token"]))

    await within_bound(is_dead, since)
    refreshed = await asked.app.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    redeemed = await asked.app.ask(
        "token",
        grant_type="authorization_code",
        code=code,
        redirect_uri=asked.app.redirect_uri,
        code_verifier=second.verifier,
    )
    assert [refreshed.json()["error"], redeemed.json()["error"]] == ["invalid_grant", "invalid_grant"]
    for browser in browsers:
        page = await SignIn(browser, asked.app).start()
        assert page.has("username"), "a session from before lives"


# 4. Snapshot, then stream.
@pytest.mark.parametrize("nats", [False, True], ids=["http", "nats"])
async def test_a_verifier_accepts_nothing_before_its_snapshot_and_misses_nothing_after_it(
    asked: Asked, nats: bool
) -> None:
    dead = await asked.token()
    await asked.machine.ask("revoke", token=dead)
    head = await asked.head()
    async with asked.verifier(nats=nats) as verifier:
        assert verifier.position >= head
        assert await refusal(verifier, dead) is Reason.REVOKED
        tokens = [await asked.token() for _ in range(10)]
        assert [await refusal(verifier, token) for token in tokens] == [None] * 10
        for token in tokens:
            await asked.machine.ask("revoke", token=token)
        since = time.monotonic()

        async def all_refused() -> bool:
            return {await refusal(verifier, token) for token in tokens} == {Reason.REVOKED}

        await within_bound(all_refused, since)


# 5. Freshness is asked for.
async def test_a_verifier_whose_answers_are_older_than_its_bound_refuses(asked: Asked) -> None:
    """Its own clock alone says so: it jumps ahead by the bound and a little, and nothing that it knew counts."""
    jumped = 0.0
    async with asked.verifier(when_stale=WhenStale.REFUSE, elapsed=lambda: time.monotonic() + jumped) as verifier:
        token = await asked.token()
        assert await refusal(verifier, token) is None
        jumped = STALENESS_BOUND_S + 0.001
        assert await refusal(verifier, token) is Reason.STALE
        since = time.monotonic()

        async def is_fresh() -> bool:
            return await refusal(verifier, token) is None

        await within_bound(is_fresh, since)


# 6. Receipts.
async def test_a_call_that_waits_for_all_returns_when_none_accepts(asked: Asked) -> None:
    async with asked.verifier() as one, asked.verifier(nats=True) as other:
        token = await asked.token()
        assert await refusal(one, token) is None
        assert await refusal(other, token) is None
        body = {"claim": "jti", "value": claims_of(token)["jti"]}
        answer = await asked.api.call("POST", "/revocations", body, wait="all", timeout_s="20")
        # From here on nobody, at the first time of asking.
        assert await refusal(one, token) is Reason.REVOKED
        assert await refusal(other, token) is Reason.REVOKED
        assert await asked.accepted(token) == [False] * len(asked.platform.doors)
        assert answer.status_code == 201, answer.text


# 7. Keys.
async def test_a_revoked_key_is_dead_at_once_and_its_successor_signs(asked: Asked) -> None:
    token = await asked.token()
    kid = take_apart(token).kid
    async with asked.verifier() as verifier:
        assert await refusal(verifier, token) is None
        await asked.api.create("/revocations", claim="kid", value=kid)
        since = time.monotonic()

        async def is_dead() -> bool:
            return await refusal(verifier, token) is not None and not any(await asked.accepted(token))

        await within_bound(is_dead, since)
        successor = take_apart(await asked.token()).kid
        assert successor != kid
        async with http_client() as http:
            jwks = (await http.get(f"{asked.platform.issuer}/oauth2/jwks")).json()
        kids = [key["kid"] for key in jwks["keys"]]
        assert successor in kids
        assert kid not in kids


# 8. A new epoch.
async def test_a_new_epoch_is_above_every_position_of_the_old_one(asked: Asked) -> None:
    """Instances and verifiers notice it by themselves and load everything again; what was dead stays dead."""
    dead, live = await asked.token(), await asked.token()
    await asked.machine.ask("revoke", token=dead)
    async with asked.verifier() as verifier:
        before = verifier.position
        await asked.sql("UPDATE bus.ledger SET position = ((position >> $1) + 1) << $1", EPOCH_SHIFT)
        since = time.monotonic()

        async def has_followed() -> bool:
            return epoch_of(verifier.position) == epoch_of(before) + 1 and verifier.is_fresh

        await within_bound(has_followed, since)
        assert await asked.head() > before
        assert await refusal(verifier, dead) is Reason.REVOKED
        assert await refusal(verifier, live) is None

        async def workers_follow() -> bool:
            """An instance that reads its copies again answers 503 for a moment."""
            answer = await asked.machine.ask("token", grant_type="client_credentials", scope="orders:read")
            if answer.status_code == 503:
                return False
            return claims_of(answer.json()["access_token"])["rev"] >= await asked.head()  # type: ignore[operator]

        await within_bound(workers_follow, since)
        assert not any(await asked.accepted(dead))
        cut = await asked.api.create("/revocations", claim="jti", value=claims_of(live)["jti"])
        assert epoch_of(cut["position"]) == epoch_of(before) + 1  # type: ignore[arg-type]  # an integer

        async def is_dead() -> bool:
            return await refusal(verifier, live) is Reason.REVOKED and not any(await asked.accepted(live))

        await within_bound(is_dead, time.monotonic())
