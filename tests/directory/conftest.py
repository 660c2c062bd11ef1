"""People who come back from a provider, as the directory sees them: a ticket and a cookie."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from watchword_database import Database, bus, transaction
from watchword_events.handovers import AccountProved, Identity, Payload, ProveAccount, SignedIn, VerifiedIdentity
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform


@dataclass
class Step:
    """The answer to `/login/identity`. goes_to: the path of the redirect, "" for a page."""

    response: httpx2.Response

    @property
    def goes_to(self) -> str:
        return urlsplit(self.response.headers.get("location", "")).path

    @property
    def ticket(self) -> str:
        return parse_qs(urlsplit(self.response.headers.get("location", "")).query).get("ticket", [""])[0]

    @property
    def error(self) -> str:
        """The code on the error page, or ""."""
        return self.response.text.partition('id="error-code">')[2].partition("<")[0]


class Person:
    """One browser in one flow. federation and authz: their side of the hand-overs, in the test's hands."""

    def __init__(self, platform: Platform, canary: Canary) -> None:
        self.platform = platform
        self.issuer = platform.issuer
        self.flow = secrets.token_hex(8)
        self.secret = secrets.token_urlsafe(32)
        self.canary = canary
        canary.add("flow cookie", self.secret)
        self.federation = platform.database.open(Service.FEDERATION, pool_size=2)
        self.authz = platform.database.open(Service.AUTHZ, pool_size=2)
        self.http = http_client(follow_redirects=False, timeout=20)

    @property
    def binding(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()

    async def issue(self, database: Database, payload: Payload) -> str:
        """A ticket from another service."""
        async with transaction(database) as session:
            ticket = await bus.hand_over(session, payload, flow=self.flow, now=utc_now())
        self.canary.add("ticket", ticket)
        return ticket

    async def ticket_for(
        self, identity: VerifiedIdentity, *, binding: str = "", solicited: bool = True, ui_locales: tuple[str, ...] = ()
    ) -> str:
        """What federation hands over. solicited: False for a sign-in that began at the provider."""
        handed_over = Identity(
            binding=binding or self.binding, identity=identity, solicited=solicited, ui_locales=ui_locales
        )
        return await self.issue(self.federation, handed_over)

    async def send(self, ticket: str, *, secret: str | None = None) -> Step:
        """What the browser does with a ticket. secret: of the flow cookie; "" for no cookie."""
        cookie = self.secret if secret is None else secret
        headers = {"Cookie": f"ww-flow-{self.flow}={cookie}"} if cookie else {}
        answer = await self.http.get(f"{self.issuer}/login/identity", params={"ticket": ticket}, headers=headers)
        step = Step(answer)
        self.canary.add("ticket", step.ticket)
        return step

    async def arrive(self, identity: VerifiedIdentity) -> Step:
        """The person is back from the provider."""
        return await self.send(await self.ticket_for(identity))

    async def signed_in(self, step: Step) -> SignedIn:
        """What authz takes. Raises AssertionError when the step was another."""
        assert step.goes_to == "/login/complete", f"{step.response.status_code} {step.error} {step.goes_to}"
        async with transaction(self.authz) as session:
            taken = await bus.take(session, SignedIn, step.ticket, now=utc_now())
        assert taken is not None
        assert taken.flow == self.flow
        assert taken.payload.binding == self.binding
        return taken.payload

    async def asked_to_prove(self, step: Step) -> ProveAccount:
        """What authz takes when the person has to prove an account."""
        assert step.goes_to == "/login/prove", f"{step.response.status_code} {step.error} {step.goes_to}"
        async with transaction(self.authz) as session:
            taken = await bus.take(session, ProveAccount, step.ticket, now=utc_now())
        assert taken is not None
        return taken.payload

    @property
    def position(self) -> int:
        """What has been applied of the ledger."""
        assert self.platform.process is not None
        return self.platform.process.shared.feed.position

    async def prove(self, asked: ProveAccount, **given: object) -> Step:
        """authz says that the person proved the account."""
        fields: dict[str, object] = {
            "binding": self.binding,
            "user_id": asked.user_id,
            "pending_link_id": asked.pending_link_id,
            "rev": self.position,
            **given,
        }
        proof = AccountProved.model_validate(fields)
        return await self.send(await self.issue(self.authz, proof))

    async def close(self) -> None:
        """Every connection is closed."""
        await self.http.aclose()
        await self.federation.dispose()
        await self.authz.dispose()


@pytest.fixture
async def person(platform: Platform, canary: Canary) -> AsyncIterator[Person]:
    """One browser, in the middle of a sign-in."""
    made = Person(platform, canary)
    yield made
    await made.close()


@pytest.fixture
async def people(platform: Platform, canary: Canary) -> AsyncIterator[Callable[[], Person]]:
    """Makes browsers."""
    made: list[Person] = []

    def make() -> Person:
        made.append(Person(platform, canary))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
async def provider(api: Api) -> str:
    """An enabled provider of the test's own."""
    provider_id = f"Corp-{secrets.token_hex(4)}"
    await api.create(
        "/providers",
        id=provider_id,
        preset="oidc",
        display_name="Corp",
        issuer="https://login.corp.example",
        client_id="watchword",
        client_secret=secrets.token_urlsafe(24),
    )
    return provider_id


@pytest.fixture
def configure(api: Api) -> "Configure":
    """Configures providers with ids of the test's own."""

    async def make(**settings: object) -> str:
        provider_id = f"Corp-{secrets.token_hex(5)}"
        await api.create(
            "/providers",
            id=provider_id,
            display_name="Corp",
            issuer="https://login.corp.example",
            client_id="watchword",
            **settings,
        )
        return provider_id

    return make


Configure = Callable[..., Awaitable[str]]
Describe = Callable[..., VerifiedIdentity]
Register = Callable[..., Awaitable[dict[str, object]]]


@pytest.fixture
def identity(provider: str) -> Describe:
    """Describes whom the provider authenticated."""

    def describe(**given: object) -> VerifiedIdentity:
        fields: dict[str, object] = {
            "provider_id": provider,
            "issuer": "https://login.corp.example",
            "subject": secrets.token_hex(8),
            "auth_time": utc_now(),
            "amr": ("pwd",),
            **given,
        }
        return VerifiedIdentity.model_validate(fields)

    return describe


@pytest.fixture
def register(api: Api) -> Register:
    """Creates users with names of the test's own."""

    async def make(**given: object) -> dict[str, object]:
        name = f"user-{secrets.token_hex(5)}"
        return await api.create("/users", **({"username": name, "email": f"{name}@corp.example"} | given))

    return make
