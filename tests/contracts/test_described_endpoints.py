"""Every endpoint of the OpenAPI document, called by everybody with what it allows and with what it does not.

schemathesis makes the calls, always the same ones. None may be answered with a 5xx, and nobody may do what is somebody
else's to do (threats 15, 18 and 58). They do damage, and so have an installation of their own.
"""

import asyncio
import hashlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode

from watchword_database.ids import new_id
from watchword_policy.administration import DELEGATED
from watchword_testkit.api import Api
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.fuzz

DOCUMENT: Final = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
PASSWORD: Final = "correct horse battery staple"
ADMIN_SCOPE: Final = "watchword:admin"
EXAMPLES: Final = 3  # of each kind, for each endpoint
# They end what others sign in with: the more, the later.
LAST: Final = ("/api/v1/apply", "/api/v1/clients", "/api/v1/users", "/api/v1/sessions", "/api/v1/keys",
               "/api/v1/revocations")  # fmt: skip
# What is there for the endpoints that are about one thing.
THINGS: Final[Mapping[str, Mapping[str, object]]] = {
    "groups": {"name": "described"},
    "roles": {"name": "described"},
    "organizations": {"short_name": "described", "name": "Described"},
    "rules": {"name": "described", "expression": "true"},
    "service-accounts": {"name": "described"},
    "scopes": {"name": "described", "description": "Described"},
    "resources": {"identifier": "https://described.example", "name": "Described"},
    "verifiers": {"name": "described", "audience": "https://described.example"},
    "registration-tokens": {"name": "described"},
    "scim-tokens": {"name": "described"},
    "issuers": {"iss": "https://described.example", "aud": ["described"]},
    "providers": {
        "id": "Described", "preset": "oidc", "display_name": "Described", "issuer": "https://described.example",
        "client_id": "watchword",
    },
}  # fmt: skip


# What is the help desk's to see, or to see and change, by the first segment of the path.
SEEN_BY_HELP: Final = frozenset({"groups", "organizations", "roles", "decisions"})
CHANGED_BY_HELP: Final = frozenset({"users", "identities", "sessions", "credentials", "consents", "grants"})
# What providers say of people is read by whoever decides what is made of it.
ADMINISTRATORS_ALONE: Final = frozenset({"/api/v1/identities/{identity_id}/claims"})
PEOPLE: Final = {"a person with a key", "auditor", "help desk", "administrator of an organization"}


@dataclass(frozen=True)
class Endpoint:
    """An operation. is_open: it asks nobody who they are."""

    method: str
    path: str

    @property
    def is_open(self) -> bool:
        asks = self.path.startswith(("/api/v1", "/revocations"))
        return not asks or DOCUMENT["paths"][self.path][self.method].get("security") == []

    @property
    def ends(self) -> tuple[int, bool]:
        """How much of what others need."""
        last = next((number for number, path in enumerate(LAST, 1) if self.path.startswith(path)), 0)
        return last, self.method == "delete"

    def is_for(self, who: str) -> bool:
        """Whether somebody besides administrators may call it."""
        area = self.path.removeprefix("/api/v1/").partition("/")[0]
        reads = self.method == "get" or self.path == "/api/v1/rules/test"
        if area == "me":
            return who in PEOPLE
        if self.path in ADMINISTRATORS_ALONE:
            return False
        if who == "help desk" and not self.path.endswith(("}/roles", "}/merge")):
            return area in CHANGED_BY_HELP or (reads and area in SEEN_BY_HELP)
        if who == "administrator of an organization":  # what they reach: tests/flows/test_organization_administrators
            return (self.method.upper(), self.path) in DELEGATED
        return who == "auditor" and reads and self.path.startswith("/api/v1") and area != "events"

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


ENDPOINTS: Final = sorted(
    (Endpoint(method, path) for path, item in DOCUMENT["paths"].items() for method in item), key=lambda each: each.ends
)


def _without_credentials() -> dict[str, object]:
    """The document by which calls are made up: who calls is ours to say."""
    paths = {
        path: {method: {**operation, "security": []} for method, operation in item.items()}
        for path, item in DOCUMENT["paths"].items()
    }
    return {**DOCUMENT, "paths": paths}


SCHEMA: Final = schemathesis.openapi.from_dict(_without_credentials())


@dataclass
class Everybody:
    """Who calls, by what they are. known: a thing that exists, by the collection that it is in.

    called, done: by the administrator, and with success.
    """

    platform: Platform
    callers: dict[str, Mapping[str, str]]
    known: dict[str, str]
    session: requests.Session = field(default_factory=requests.Session)
    called: set[Endpoint] = field(default_factory=set)
    done: set[Endpoint] = field(default_factory=set)

    def status(self, case: Case, who: str) -> int:
        """Of the answer. Raises AssertionError for a 5xx.

        503 says that PostgreSQL did not answer in time, as on a machine that is busy: what is asked again as it is
        then gets an answer, unless it is the call that is answered so.
        """
        headers = {**(case.headers or {}), **self.callers[who]}
        request = self.session.prepare_request(
            requests.Request(**case.as_transport_kwargs(base_url=self.platform.issuer, headers=headers))
        )
        for pause_s in (1, 3, 0):
            with self.session.send(request, stream=True, allow_redirects=False, timeout=60) as answer:
                has_end = not answer.headers.get("content-type", "").startswith("text/event-stream")
                said = answer.text if has_end else ""
            if answer.status_code != 503:
                break
            time.sleep(pause_s)
        assert answer.status_code < 500, f"{who}: {case.as_curl_command()}\n{answer.status_code} {said}"
        return answer.status_code

    def parameters(self, endpoint: Endpoint) -> dict[str, str]:
        """Of the path: names something that exists."""
        found = re.match(r"/api/v1/([a-z-]+)/\{(\w+)\}", endpoint.path)
        return {found[2]: self.known[found[1]]} if found and found[1] in self.known else {}


@pytest.fixture(scope="module")
async def everybody(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Everybody]:
    """At an installation where nothing is limited and whoever has an initial access token registers a client."""
    limits = {"refused_calls_per_s": "100000", "refused_calls_burst": "100000", "registration": "token"}
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("described")) as site,
        in_this_process(site, **limits) as running,
    ):
        yield Everybody(running, *await _people(running))
        await running.check_secrets()


async def _people(platform: Platform) -> tuple[dict[str, Mapping[str, str]], dict[str, str]]:
    api = platform.api()
    for collection, body in THINGS.items():
        await api.create(f"/{collection}", **body)
    machine = await Party.registered(
        api, platform.issuer, platform.canary, redirect_uris=[], response_types=[],
        grant_types=["client_credentials"], scope="orders:read",
    )  # fmt: skip
    user = await api.create("/users", username="described-una", password=PASSWORD)
    tokens, party = [], machine
    for scope in (f"openid {ADMIN_SCOPE}", "openid profile"):
        party = await Party.registered(api, platform.issuer, platform.canary, scope=scope, require_consent=True)
        async with platform.browser() as browser:
            tokens.append(await SignIn(browser, party, scope=scope).with_password("described-una", PASSWORD))
    own = await machine.tokens(grant_type="client_credentials")
    callers: dict[str, Mapping[str, str]] = {
        "administrator": await _key_of(platform, api, "administrator"),
        "nobody": {},
        "garbage": {"Authorization": "Bearer nothing"},
        "an ID token": {"Authorization": f"Bearer {tokens[1]['id_token']}"},
        "a person": {"Authorization": f"Bearer {tokens[1]['access_token']}"},
        "a person with a token for administrators": {"Authorization": f"Bearer {tokens[0]['access_token']}"},
        "a machine": {"Authorization": f"Bearer {own['access_token']}"},
        "a person with a key": await _key_of(platform, api, None),
        "auditor": await _key_of(platform, api, "auditor"),
        "help desk": await _key_of(platform, api, "help-desk"),
        "administrator of an organization": await _key_of(platform, api, "organization-administrator"),
    }
    known = {"users": str(user["id"]), "clients": party.client_id, "credentials": str(user["id"])}
    for collection in (*THINGS, "sessions", "consents", "grants", "keys", "api-keys", "decisions"):
        items = (await api.get(f"/{collection}"))["items"]
        assert isinstance(items, list)
        known[collection] = next(items[0][name] for name in ("id", "sid", "kid", "name") if name in items[0])
    return callers, known


async def _key_of(platform: Platform, api: Api, role: str | None) -> Mapping[str, str]:
    """An API key with the scope of administrators, of a new person who has the role; only administrators make one."""
    person = await api.create("/users", username=f"described-{secrets.token_hex(4)}")
    if role is not None:
        within = {"organization": "described"} if role == "organization-administrator" else {}
        await api.create("/assignments", role=role, user=person["id"], **within)
    key_id, secret = f"ww_{new_id()}", secrets.token_urlsafe(32)
    platform.canary.add("API key", secret)
    connection = await asyncpg.connect(platform.database.admin_url)
    await connection.execute(
        "INSERT INTO token.api_keys (id, version, user_id, name, secret_hash, scope, rev, created_at)"
        " SELECT $1, 1, $2, 'described', $3, $4, position, now() FROM bus.ledger",
        key_id, person["id"], hashlib.sha256(secret.encode()).hexdigest(), [ADMIN_SCOPE],
    )  # fmt: skip
    await connection.close()
    return {"Watchword-API-Key": f"{key_id}.{secret}"}


def each(operation: APIOperation, mode: GenerationMode, check: Callable[[Case], None], **known: str) -> None:
    """`check` is called with a few calls of the operation, always the same ones."""
    cases = operation.as_strategy(generation_mode=mode, **({"path_parameters": known} if known else {}))
    chosen = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        chosen(given(cases)(check))()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing that it allows can be made up"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_nobody_breaks_it_or_does_what_is_not_theirs(everybody: Everybody, endpoint: Endpoint) -> None:
    others = [who for who in everybody.callers if who not in {"administrator", "nobody"}]

    def allowed(case: Case) -> None:
        if endpoint.is_open:
            everybody.status(case, "nobody")
            return
        while others:
            status = everybody.status(case, who := others.pop())
            if not endpoint.is_for(who):
                # Whether they may comes before what they ask for: 404 would say that something is not there.
                assert status in {400, 401, 403}, f"{who}: {status}"
            elif endpoint.method == "get" and not any(endpoint.ends):
                assert status not in {401, 403}, f"{who}: {status}"
        assert everybody.status(case, "nobody") in {400, 401}
        everybody.called.add(endpoint)
        if everybody.status(case, "administrator") < 300:
            everybody.done.add(endpoint)

    def forbidden(case: Case) -> None:
        everybody.status(case, "nobody" if endpoint.is_open else "administrator")

    operation = SCHEMA[endpoint.path][endpoint.method.upper()]
    await asyncio.to_thread(each, operation, GenerationMode.POSITIVE, allowed, **everybody.parameters(endpoint))
    await asyncio.to_thread(each, operation, GenerationMode.NEGATIVE, forbidden)


def test_the_administrator_got_through(everybody: Everybody) -> None:
    """Otherwise the others may have been refused for another reason than who they are."""
    assert len(everybody.done) >= len(everybody.called) * 0.5, sorted(map(str, everybody.called - everybody.done))
