"""Something is taken from a person, or a rule changes, between two steps of a sign-in: no later token tells of it.

Whoever took it away knows the position of that write, and every later request demands it (`Watchword-Position`).
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from tests.flows.test_claims import payload

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"
HEADER = "Watchword-Position"
SCOPE = "openid profile groups customer watchword:admin offline_access"


@dataclass
class Traveller:
    """Somebody on the way to the tokens of an application, with everything that may be taken away.

    told: of each answer with tokens, whether it was asked for with the position, and what its tokens say.
    """

    api: Api
    sign_in: SignIn
    user_id: str
    username: str
    group: str
    assignment: str
    rule: str
    account: str
    position: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    told: list[tuple[bool, dict[str, Any]]] = field(default_factory=list)

    def demand(self, answer: httpx2.Response) -> None:
        """What the write did is seen by every later request."""
        assert answer.is_success, answer.text
        self.position = answer.headers[HEADER]
        self.sign_in.party.position = self.position
        self.sign_in.browser.client.headers[HEADER] = self.position

    # Steps -----------------------------------------------------------------------------------------------------------

    async def open_page(self) -> None:
        await self.sign_in.start()

    async def enter_password(self) -> None:
        await self.sign_in.enter(self.username, PASSWORD)

    async def consent(self) -> None:
        await self.sign_in.decide()

    async def redeem(self) -> None:
        is_demanded = bool(self.position)
        self._hear(is_demanded, await self.sign_in.redeem())

    async def refresh(self) -> None:
        is_demanded, refresh_token = bool(self.position), self.tokens["refresh_token"]
        form = {"refresh_token": refresh_token, "scope": self.tokens["scope"]}
        self._hear(is_demanded, await self.sign_in.party.tokens(grant_type="refresh_token", **form))

    def _hear(self, is_demanded: bool, tokens: dict[str, str]) -> None:
        self.tokens |= tokens
        said = payload(tokens["id_token"]) | payload(tokens["access_token"]) | {"granted": tokens["scope"].split()}
        self.told.append((is_demanded, said))

    # What is taken away ----------------------------------------------------------------------------------------------

    async def leave_group(self) -> httpx2.Response:
        return await self.api.call("PATCH", f"/users/{self.user_id}", {"groups": []})

    async def lose_role(self) -> httpx2.Response:
        return await self.api.call("DELETE", f"/assignments/{self.assignment}")

    async def leave_organization(self) -> httpx2.Response:
        return await self.api.call("PATCH", f"/users/{self.user_id}", {"organization": None})

    async def lose_rule(self) -> httpx2.Response:
        return await self.api.call("DELETE", f"/rules/{self.rule}")

    async def meet_another_rule(self) -> httpx2.Response:
        return await self.api.call("PATCH", f"/rules/{self.rule}", {"expression": "false"})


STEPS: list[Callable[[Traveller], Awaitable[None]]] = [
    Traveller.open_page, Traveller.enter_password, Traveller.consent, Traveller.redeem, Traveller.refresh,
]  # fmt: skip
# What is taken away, and whether tokens still tell of it.
Change = tuple[Callable[[Traveller], Awaitable[httpx2.Response]], Callable[[Traveller, dict[str, Any]], bool]]
CHANGES: dict[str, Change] = {
    "membership": (Traveller.leave_group, lambda who, said: who.group in said.get("groups", ())),
    "what a membership gave": (Traveller.leave_group, lambda who, said: said.get("service_account") == who.account),
    "role": (Traveller.lose_role, lambda _, said: "watchword:admin" in said["granted"]),
    "organization": (Traveller.leave_organization, lambda _, said: "customer_shortname" in said),
    "rule": (Traveller.lose_rule, lambda who, said: said.get("service_account") == who.account),
    "changed rule": (Traveller.meet_another_rule, lambda who, said: said.get("service_account") == who.account),
}


@pytest.fixture
async def traveller(platform: Platform, api: Api, browser_session: Browser, canary: Canary) -> AsyncIterator[Traveller]:
    mark = secrets.token_hex(4)
    party = await Party.registered(api, platform.issuer, canary, scope=SCOPE, require_consent=True)
    organization = await api.create("/organizations", short_name=f"steps-{mark}", name="Steps")
    user = await api.create(
        "/users", username=f"steps-{mark}", groups=[f"g-{mark}"], organization=organization["id"], password=PASSWORD
    )
    assignment = await api.create("/assignments", role="administrator", user=user["id"])
    own = {"clients": [party.client_id]}
    rule = await api.create(
        "/rules", name=f"r-{mark}", expression=f"'g-{mark}' in groups", precedence=5, service_account=f"a-{mark}", **own
    )
    # The last write: whoever has seen it is to see the others as well.
    made = await api.call(
        "POST", "/rules", {"name": f"e-{mark}", "expression": "true", "precedence": -9, "roles": ["guest"], **own}
    )
    sign_in = SignIn(browser_session, party, scope=SCOPE)
    yield Traveller(
        api, sign_in, str(user["id"]), f"steps-{mark}", f"g-{mark}", str(assignment["id"]), str(rule["id"]), f"a-{mark}"
    )
    for name in (str(rule["id"]), str(made.json()["id"])):
        await api.call("DELETE", f"/rules/{name}")
    await api.delete(f"/users/{user['id']}")


def check(who: Traveller, is_told: Callable[[Traveller, dict[str, Any]], bool]) -> None:
    """No token that was asked for behind the change tells of what was taken away."""
    assert who.told
    for is_demanded, said in who.told:
        assert not (is_demanded and is_told(who, said)), said


@pytest.mark.parametrize("done", range(len(STEPS)), ids=["before", *[f"after {step.__name__}" for step in STEPS[:-1]]])
@pytest.mark.parametrize("name", CHANGES)
async def test_what_was_taken_away_between_two_steps_stands_in_no_later_token(
    traveller: Traveller, name: str, done: int
) -> None:
    change, is_told = CHANGES[name]
    for step in STEPS[:done]:
        await step(traveller)
    traveller.demand(await change(traveller))
    for step in STEPS[done:]:
        await step(traveller)
    check(traveller, is_told)
    assert len(traveller.told) == 2
    if done == len(STEPS) - 1:
        assert is_told(traveller, traveller.told[0][1]), "there was nothing to take away"


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_taken_away_during_a_step_stands_in_no_token_of_a_later_one(
    traveller: Traveller, seed: int
) -> None:
    chance = random.Random(seed)
    change, is_told = CHANGES[chance.choice(list(CHANGES))]
    meanwhile = chance.randrange(len(STEPS))
    for number, step in enumerate(STEPS):
        if number != meanwhile:
            await step(traveller)
            continue

        async def later() -> httpx2.Response:
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            return await change(traveller)

        _, changed = await asyncio.gather(step(traveller), later())
        traveller.demand(changed)
    await traveller.refresh()
    check(traveller, is_told)
