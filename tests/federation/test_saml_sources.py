"""Metadata behind an address: fetched once for all, again in time, kept when it cannot be had; alarms in time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.federation.conftest import Stage
from tests.federation.saml_idp import Pair, pair
from tests.runtime.test_saml_metadata import entity, key_of

from watchword_database import transaction
from watchword_events.exports import ProviderExport, SamlExport
from watchword_events.names import Service
from watchword_federation.connectors.saml_idp import certificate_troubles
from watchword_federation.connectors.saml_keys import KeyStore
from watchword_federation.connectors.saml_sources import Sources, is_due
from watchword_federation.connectors.saml_watch import Watch, troubles_of
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import SignInFailed
from watchword_federation.models import ProviderCopy
from watchword_federation.settings import FederationSettings
from watchword_testkit.databases import TestDatabase


@dataclass
class Published:
    """A provider's metadata on a real port, as a test wants it."""

    body: str
    status: int = 200
    asked: int = 0
    issuer: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def app(self) -> Any:
        from starlette.applications import Starlette
        from starlette.routing import Route

        async def metadata(_request: Request) -> Response:
            self.asked += 1
            await asyncio.sleep(0.05)
            return Response(self.body, self.status, self.headers, "application/samlmetadata+xml")

        return Starlette(routes=[Route("/metadata", metadata)])


@pytest.fixture(scope="module")
def keys() -> Pair:
    return pair()


@pytest.fixture
def published(first_stage: Stage, keys: Pair) -> Published:
    return first_stage.play(Published(entity(key_of(keys.bare))))  # type: ignore[arg-type,return-value]


@pytest.fixture(scope="module")
async def ways(settings: FederationSettings) -> AsyncIterator[Ways]:
    made = Ways(settings)
    yield made
    await made.close()


@pytest.fixture
async def nothing_known(module_database: TestDatabase) -> AsyncIterator[TestDatabase]:
    yield module_database
    await module_database.close()
    async with module_database.postgres.admin(module_database.name) as connection:
        await connection.execute("TRUNCATE federation.saml_provider, federation.saml_key, federation.provider_copy")


@pytest.fixture
def sources(nothing_known: TestDatabase, ways: Ways, manual_clock: Any) -> Sources:
    manual_clock.at = datetime.now(UTC)
    return Sources(nothing_known.open(Service.FEDERATION), ways, manual_clock)


def provider(published: Published, **saml: object) -> ProviderExport:
    members = {"metadata_url": f"{published.issuer}/metadata", **saml}
    return ProviderExport(
        id="Acme", preset="saml", kind="saml", display_name="Acme", saml=SamlExport.model_validate(members)
    )


async def test_it_is_fetched_once_for_many(sources: Sources, published: Published, keys: Pair) -> None:
    found = await asyncio.gather(*(sources.idp(provider(published)) for _ in range(8)))
    assert {idp.entity_id for idp in found} == {"urn:idp"}
    assert [each.pem for each in found[0].certificates] == [keys.certificate]
    assert published.asked == 1


async def test_instances_wait_for_the_one_that_was_faster(
    nothing_known: TestDatabase, ways: Ways, manual_clock: Any, published: Published
) -> None:
    manual_clock.at = datetime.now(UTC)
    several = [Sources(nothing_known.open(Service.FEDERATION), ways, manual_clock) for _ in range(3)]
    found = await asyncio.gather(*(each.idp(provider(published)) for each in several))
    assert {idp.sso_url for idp in found} == {"https://idp/sso"}
    assert published.asked == 1


async def test_settings_come_first(sources: Sources, published: Published) -> None:
    other = pair("pinned")
    saml = {"certificates": [other.certificate], "sso_url": "https://elsewhere/sso", "slo_url": "https://elsewhere/slo"}
    idp = await sources.idp(provider(published, **saml))
    assert (idp.sso_url, idp.slo_url, idp.slo_response_url) == (
        "https://elsewhere/sso",
        "https://elsewhere/slo",
        "https://elsewhere/slo",
    )
    assert [each.pem for each in idp.certificates] == [other.certificate]


async def test_what_cannot_be_had_keeps_what_was_known(
    sources: Sources, published: Published, manual_clock: Any, keys: Pair
) -> None:
    one = provider(published)
    assert await sources.idp(one)
    for body, status in (("", 500), ("<x/>", 200), (entity(key_of(keys.bare), entity_id="urn:other"), 200)):
        published.body, published.status = body, status
        manual_clock.tick(minutes=2)
        assert not await sources.refresh(one, unless_since=manual_clock())
        assert (await sources.idp(one)).entity_id == "urn:idp"
    known = await sources.known(one)
    assert known is not None
    assert known.failure == "it names another entity than before"
    manual_clock.tick(hours=2)
    assert [each.code for each in troubles_of(one, known, manual_clock())] == ["metadata_not_refreshed"]


async def test_what_was_never_had_is_said_and_tried_again(
    sources: Sources, published: Published, manual_clock: Any, keys: Pair
) -> None:
    published.status = 503
    with pytest.raises(SignInFailed, match="provider_unreachable"):
        await sources.idp(provider(published))
    with pytest.raises(SignInFailed, match="provider_unreachable"):
        await sources.idp(provider(published))
    assert published.asked == 1, "a storm of sign-ins is one request a minute"
    published.status = 200
    manual_clock.tick(minutes=2)
    assert await sources.idp(provider(published))


async def test_another_address_or_entity_starts_anew(sources: Sources, published: Published) -> None:
    assert await sources.idp(provider(published))
    moved = provider(published, metadata_url=f"{published.issuer}/metadata?v=2")
    assert await sources.idp(moved)
    assert published.asked == 2
    other = moved.model_copy(update={"issuer": "urn:somebody"})
    with pytest.raises(SignInFailed, match="provider_unreachable"):
        await sources.idp(other)


async def test_what_nobody_vouched_for_does_not_outlive_the_permission(
    sources: Sources, published: Published, manual_clock: Any
) -> None:
    """Whoever could answer in the provider's place while certificates were not checked is not believed afterwards."""
    verified = provider(published)
    unverified = verified.model_copy(update={"insecure_skip_verify": True})
    assert await sources.idp(unverified)
    published.status = 500
    with pytest.raises(SignInFailed, match="provider_unreachable"):
        await sources.idp(verified)
    assert published.asked == 2
    published.status = 200
    manual_clock.tick(minutes=2)
    assert await sources.idp(verified)
    assert await sources.idp(unverified), "what is vouched for counts always"
    assert published.asked == 3
    assert await sources.refresh(unverified, unless_since=manual_clock())
    assert is_due(await sources.known(verified), manual_clock())


@pytest.mark.spec("SAML Metadata 2.3.1; SAML Metadata 4.3")
async def test_metadata_that_is_not_valid_any_more_is_not_used(
    sources: Sources, published: Published, manual_clock: Any, keys: Pair
) -> None:
    until = manual_clock() + timedelta(minutes=30)
    published.body = entity(key_of(keys.bare), more=f'validUntil="{until:%Y-%m-%dT%H:%M:%SZ}"')
    one = provider(published)
    assert await sources.idp(one)
    assert [each.code for each in troubles_of(one, await sources.known(one), manual_clock())] == ["metadata_expires"]
    manual_clock.tick(hours=1)
    with pytest.raises(SignInFailed, match="provider_unreachable"):
        await sources.idp(one)


async def test_the_inside_is_not_asked(sources: Sources, published: Published) -> None:
    with pytest.raises(SignInFailed, match="provider_unreachable"):
        await sources.idp(provider(published, metadata_url="http://169.254.169.254/metadata"))


async def test_the_watch_refreshes_in_time_and_alarms_once_a_day(
    nothing_known: TestDatabase,
    ways: Ways,
    manual_clock: Any,
    published: Published,
    log_lines: list[dict[str, Any]],
) -> None:
    manual_clock.at = datetime.now(UTC)
    ending = pair("ending", days=20)
    published.body = entity(key_of(ending.bare))
    database = nothing_known.open(Service.FEDERATION)
    async with transaction(database) as session:
        data = provider(published).model_dump(mode="json")
        session.add(ProviderCopy(id="Acme", version=1, deleted=False, data=data))
    several = []
    for _ in range(2):
        sources = Sources(database, ways, manual_clock)
        keys = KeyStore(database, b"k" * 32, public_url="https://sso.test", now=manual_clock)
        several.append(Watch(database, sources, keys, manual_clock))

    async def look() -> list[str]:
        log_lines.clear()
        await asyncio.gather(*(watch.once() for watch in several))
        return [line["event"] for line in log_lines if line["event"].startswith("saml.")]

    assert await look() == ["saml.certificate_expires"]
    assert published.asked == 1
    assert await look() == [], "it was said"
    manual_clock.tick(hours=5)
    await look()
    assert published.asked == 1
    manual_clock.tick(hours=2)
    await look()
    assert published.asked == 2, "six hours are over"
    manual_clock.tick(days=21)
    assert await look() == ["saml.certificate_expired"]
    renewed = pair("renewed")
    published.body = entity(key_of(ending.bare) + key_of(renewed.bare))
    manual_clock.tick(days=2)
    await look()
    idp = await several[0]._sources.idp(provider(published))
    assert [each.is_urgent for each in certificate_troubles(idp, manual_clock())] == [False]
    assert len(idp.usable(manual_clock())) == 1


async def test_metadata_that_is_not_valid_for_long_is_read_again_before_it_ends(
    sources: Sources, published: Published, manual_clock: Any, keys: Pair
) -> None:
    """Its end counts more than the six hours, or what it says of caches."""
    one = provider(published)
    until = manual_clock() + timedelta(hours=3)
    more = f'validUntil="{until:%Y-%m-%dT%H:%M:%SZ}" cacheDuration="PT12H"'
    published.body = entity(key_of(keys.bare), more=more)
    await sources.idp(one)
    manual_clock.tick(hours=1)
    assert not is_due(await sources.known(one), manual_clock())
    manual_clock.tick(hours=1, minutes=1)
    assert is_due(await sources.known(one), manual_clock())


async def test_our_key_is_one_however_many_ask(nothing_known: TestDatabase, manual_clock: Any) -> None:
    manual_clock.at = datetime.now(UTC)
    database = nothing_known.open(Service.FEDERATION)
    stores = [KeyStore(database, b"k" * 32, public_url="https://sso.test", now=manual_clock) for _ in range(3)]
    found = await asyncio.gather(*(store.keys() for store in stores))
    assert len({keys.active.id for keys in found}) == 1
    assert found[0].active.certificate.subject == "CN=sso.test SAML"
    assert found[0].active.private.key_size == 3072
