"""The broker and the tail under the permissions that an installation really gives them."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import nats
import nkeys
import pytest
from structlog.testing import capture_logs

from watchword.embedded.nats import NatsServer
from watchword.installation import NATS_USERS, NatsUser, Operator
from watchword.nats_conf import render
from watchword.provision import connected, provision
from watchword_events.catalogue import durables
from watchword_events.contracts import (
    ApiKeyCreated,
    BrandingChanged,
    ClientUpdated,
    Event,
    IdentityUnlinked,
    IssuerTrusted,
    OrganizationCreated,
    ProviderConfigured,
    ResourceChanged,
    RuleChanged,
    ScopeChanged,
    SessionEnded,
    UpstreamSessionEnded,
    UserProvisioned,
)
from watchword_events.names import Service
from watchword_runtime.broker import Broker
from watchword_runtime.tail import Tail
from watchword_testkit.databases import TestDatabase

from .conftest import SettingsFor, eventually
from .events import Owner
from .test_broker import Handler
from .test_tail import Cache

EVENTS: dict[str, Event] = {
    "client": ClientUpdated(id="a", version=1),
    "branding": BrandingChanged(id="a", version=1),
    "provider": ProviderConfigured(id="a", version=1),
    "user": UserProvisioned(id="a", version=1, claims_version=1, origin="api"),
    "api_key": ApiKeyCreated(id="a", version=1, user_id="u"),
    "identity": IdentityUnlinked(id="a", version=1, user_id="u", provider_id="Corp"),
    "issuer": IssuerTrusted(id="a", version=1),
    "organization": OrganizationCreated(id="a", version=1),
    "resource": ResourceChanged(id="a", version=1),
    "rule": RuleChanged(id="a", version=1),
    "scope": ScopeChanged(id="a", version=1),
    "session": SessionEnded(id="a", version=1, user_id="u", reason="sign-out"),
    "upstream_session": UpstreamSessionEnded(id="a", version=1, provider_id="Corp"),
}


class Installation:
    """A server with the account, users and permissions of nats.conf."""

    def __init__(self, home: Path) -> None:
        self.seeds: dict[NatsUser, str] = {}
        public: dict[NatsUser, str] = {}
        for user in NATS_USERS:
            seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
            self.seeds[user] = seed.decode()
            public[user] = nkeys.from_seed(seed).public_key.decode()
        store = str(home / "js")
        self.server = NatsServer(
            home, configuration=lambda port: render(public, port=port, store=store), log=home / "nats.log"
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("accounts"))
    made.server.start()
    yield made
    made.server.stop()


@pytest.mark.parametrize("service", list(Service))
async def test_every_service_can_do_its_work_and_nothing_is_denied(
    installation: Installation, settings_for: SettingsFor, database: TestDatabase, service: Service
) -> None:
    url = installation.server.url
    async with connected([url], installation.seeds[Operator.PROVISION]) as operator:
        await provision(operator.jetstream())
    settings = settings_for(service, nats_url=url, nats_seed=installation.seeds[service])
    broker = Broker(settings, database.open(service))
    handlers: dict[str, Handler] = {}
    for durable in durables():
        if durable.service is service:
            handlers[durable.name] = Handler()
            broker.work(durable.name, durable.subject, handlers[durable.name])
    cache = Cache()
    keys = Tail(broker, Service.TOKEN.stream, "auth.token.key.*", cache.on_event, cache.on_resync)
    heard: list[bytes] = []
    for subject in ("feed.revocation", "sys.hint.>", "auth.token.key.*"):
        broker.listen(subject, heard.append)
    with capture_logs() as logs:
        await broker.start()
        keys.start()
        await eventually(lambda: keys.live)
        broker.hint("sys.hint.outbox.test")
        for durable in durables():
            if durable.service is service:
                _, owner, entity, _ = durable.subject.split(".")
                every = (event for event in EVENTS.values() if event.owner == owner)
                await publish(installation, EVENTS.get(entity) or next(every))
        await eventually(lambda: all("a" in handler.ids for handler in handlers.values()))
        await eventually(lambda: b"" in heard)
        await asyncio.sleep(1.2)  # a pull and a heartbeat more
        assert keys.live
    await keys.stop()
    await broker.stop()
    assert [line for line in logs if line["event"].startswith(("broker.denied", "work.not", "tail.not"))] == []


async def publish(installation: Installation, event: Event) -> None:
    """As the relay of the event's owner does."""
    seed = installation.seeds[event.owner]
    inbox = f"_INBOX_{event.owner.value}".encode()
    nc = await nats.connect(installation.server.url, nkeys_seed_str=seed, inbox_prefix=inbox)
    await Owner(nc).publish(event)
    await nc.close()
