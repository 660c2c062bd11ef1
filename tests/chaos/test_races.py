"""A revocation falls into the middle of something: between two steps of a sign-in, or between two statements."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.chaos.conftest import PASSWORD, Observe, until
from tests.chaos.sentries import AUDIENCE, Ring

from watchword_events.names import Service
from watchword_testkit.browser import Browser
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.chaos


class Person:
    """Somebody with a browser, on the way to the tokens of an application that asks for consent."""

    def __init__(self, platform: WorkerPlatform, party: Party, user_id: str, username: str) -> None:
        self.platform, self.party, self.user_id, self.username = platform, party, user_id, username
        self.browser = Browser(platform.issuer, platform.canary)
        self.sign_in = SignIn(self.browser, party, scope="openid profile orders:read offline_access")
        self.tokens: dict[str, str] = {}

    async def open_page(self) -> None:
        await self.sign_in.start()

    async def enter_password(self) -> None:
        await self.sign_in.enter(self.username, PASSWORD)

    async def consent(self) -> None:
        await self.sign_in.decide()

    async def redeem(self) -> None:
        self.tokens = await self.sign_in.redeem()

    async def refresh(self) -> None:
        self.tokens |= await self.party.tokens(grant_type="refresh_token", refresh_token=self.tokens["refresh_token"])

    async def change(self, *, active: bool) -> None:
        """An administrator disables or enables them."""
        await self.platform.api().change(f"/users/{self.user_id}", active=active)


STEPS: list[Callable[[Person], Awaitable[None]]] = [
    Person.open_page,
    Person.enter_password,
    Person.consent,
    Person.redeem,
    Person.refresh,
]


@pytest.fixture
async def person(installation: WorkerPlatform) -> AsyncIterator[Person]:
    """A user of the test's own."""
    api = installation.api()
    party = await Party.registered(
        api,
        installation.issuer,
        installation.canary,
        require_consent=True,
        audience=[AUDIENCE],
        scope="openid profile orders:read offline_access",
    )
    name = f"person-{secrets.token_hex(4)}"
    user = await api.create("/users", username=name, name="A Person", email=f"{name}@example.com", password=PASSWORD)
    made = Person(installation, party, str(user["id"]), name)
    yield made
    await made.browser.close()


@pytest.mark.parametrize("done", range(len(STEPS) + 1), ids=["before", *[f"after {step.__name__}" for step in STEPS]])
async def test_a_user_is_disabled_between_two_steps_of_a_sign_in(
    ring: Ring, person: Person, observed: Observe, done: int
) -> None:
    """No later step brings a token, what was issued is dead, and nothing of it comes to life with the user again."""
    for step in STEPS[:done]:
        await step(person)
    held = dict(person.tokens)
    await person.change(active=False)
    since = time.monotonic()
    for step in STEPS[done:]:
        try:
            await step(person)
        except (AssertionError, LookupError, StopIteration):  # a page of refusal has no such form
            break
    made = {person.tokens.get("access_token"), held.get("access_token")} - {None}
    assert done >= STEPS.index(Person.redeem) + 1 or not made, "a disabled user got tokens"
    observed(*[await ring.last_acceptance_s(str(token), since=since) for token in made])
    await person.change(active=True)
    for token in made:
        for sentry in ring.sentries:
            assert not await sentry.accepts(str(token)), f"{sentry.name}: enabling the user revived a token"
    if "refresh_token" in person.tokens:
        answer = await person.party.ask(
            "token", grant_type="refresh_token", refresh_token=person.tokens["refresh_token"]
        )
        assert answer.json()["error"] == "invalid_grant"
    if done > STEPS.index(Person.enter_password):
        page = await person.sign_in.start()
        assert page.has("username"), "the session from before is alive"
    # Whoever signs in from the beginning is welcome.
    again = Person(person.platform, person.party, person.user_id, person.username)
    for step in STEPS:
        await step(again)
    await ring.all_accept(again.tokens["access_token"])
    await again.browser.close()


@asynccontextmanager
async def held(platform: WorkerPlatform, lock: str) -> AsyncIterator[asyncpg.Connection]:
    """Rows are locked until the block ends; whoever wants to change them waits in the middle of what they do."""
    connection = await asyncpg.connect(platform.database.admin_url)
    try:
        async with connection.transaction():
            await connection.execute(lock)
            yield connection
    finally:
        await connection.close()


async def token_waits(platform: WorkerPlatform) -> None:
    """Returns when a statement of the token service waits for a lock."""
    connection = await asyncpg.connect(platform.database.admin_url)
    sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND datname = $2 AND wait_event_type = 'Lock'"
    try:

        async def waits() -> bool:
            return bool(await connection.fetchval(sql, Service.TOKEN.role, platform.database.name))

        await until(waits, "the token service does not wait")
    finally:
        await connection.close()


@pytest.mark.parametrize("source", ["code", "refresh token"])
@pytest.mark.parametrize("claim", ["sub", "client_id"])
async def test_a_token_that_is_minted_while_the_revocation_is_under_way_is_dead_on_arrival(
    ring: Ring, installation: WorkerPlatform, person: Person, observed: Observe, source: str, claim: str
) -> None:
    """The instance has read the person's state, then waits for a row; meanwhile everything of theirs is revoked."""
    for step in STEPS[: 3 if source == "code" else 4]:
        await step(person)
    lock, act = (
        ("SELECT 1 FROM bus.handover FOR UPDATE", person.redeem)
        if source == "code"
        else ("SELECT 1 FROM token.grants FOR UPDATE", person.refresh)
    )
    person.tokens.pop("access_token", None)
    async with held(installation, lock):
        minting = asyncio.create_task(act())
        await token_waits(installation)
        value = {"sub": person.user_id, "client_id": person.party.client_id}[claim]
        await installation.api().create("/revocations", claim=claim, value=value)
        since = time.monotonic()
    (outcome,) = await asyncio.gather(minting, return_exceptions=True)
    assert outcome is None or "invalid_grant" in str(outcome), outcome
    token = person.tokens.get("access_token")
    observed(await ring.last_acceptance_s(token, since=since) if token else 0.0)
    again = Person(installation, person.party, person.user_id, person.username)
    for step in STEPS[:4]:
        await step(again)
    await ring.all_accept(again.tokens["access_token"])
    await again.browser.close()


async def test_a_stale_copy_mints_nothing_that_lives(
    ring: Ring, installation: WorkerPlatform, person: Person, observed: Observe
) -> None:
    """Without NATS the copies do not hear that the user was disabled. The ledger says so all the same."""
    for step in STEPS[:4]:
        await step(person)
    token = person.tokens["access_token"]
    await ring.all_accept(token)
    installation.nats.kill()
    await person.change(active=False)
    since = time.monotonic()
    minted = [token]
    while time.monotonic() - since < 1.0:
        answer = await person.party.ask(
            "token", grant_type="refresh_token", refresh_token=person.tokens["refresh_token"]
        )
        if answer.status_code == 200:
            person.tokens = dict(answer.json())
            minted.append(person.tokens["access_token"])
        await asyncio.sleep(0.02)
    taken = [await ring.last_acceptance_s(each, since=since) for each in minted]
    installation.nats.start()
    observed(*taken)
