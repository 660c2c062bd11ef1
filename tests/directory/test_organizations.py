"""Organizations: their imported ids, and domains that they have to prove."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import cast

import dns.message
import dns.rcode
import dns.rrset
import pytest
from tests.directory.conftest import Register

from watchword_directory.domains import DnsAway, Domains
from watchword_directory.organization_documents import ownable_domain
from watchword_directory.settings import DirectorySettings
from watchword_events.contracts import OrganizationCreated, OrganizationDeleted, OrganizationUpdated
from watchword_runtime.settings import load
from watchword_testkit.api import Api
from watchword_testkit.databases import Template
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres

MALFORMED: dict[str, dict[str, object]] = {
    "no short name": {"name": "Acme"},
    "no name": {"short_name": "acme"},
    "short name with a slash": {"short_name": "ac/me", "name": "Acme"},
    "short name with a space": {"short_name": "ac me", "name": "Acme"},
    "short name that begins with a dot": {"short_name": ".acme", "name": "Acme"},
    "long short name": {"short_name": "a" * 65, "name": "Acme"},
    "short name beyond ascii": {"short_name": "\u0430cme", "name": "Acme"},
    "name with a line break": {"short_name": "acme", "name": "Ac\nme"},
    "id": {"short_name": "acme", "name": "Acme", "id": "mine"},
    "domains": {"short_name": "acme", "name": "Acme", "domains": ["acme.example"]},
    "verified": {"short_name": "acme", "name": "Acme", "verified": True},
    "external id as truth": {"short_name": "acme", "name": "Acme", "external_id": True},
    "external id with a fraction": {"short_name": "acme", "name": "Acme", "external_id": 1.5},
    "external id of a float": {"short_name": "acme", "name": "Acme", "external_id": 1.0},
    "negative external id": {"short_name": "acme", "name": "Acme", "external_id": -1},
    "external id that readers round": {"short_name": "acme", "name": "Acme", "external_id": 2**53},
    "external id as list": {"short_name": "acme", "name": "Acme", "external_id": [1]},
    "empty external id": {"short_name": "acme", "name": "Acme", "external_id": ""},
    "external id with a space": {"short_name": "acme", "name": "Acme", "external_id": "a b"},
    "external id with a nul": {"short_name": "acme", "name": "Acme", "external_id": "a\u0000"},
    "domain id as object": {"short_name": "acme", "name": "Acme", "domain_id": {}},
}

NO_DOMAINS = {
    "nothing": "",
    "one label": "example",
    "top level": "com",
    "an address": "192.0.2.1",
    "an IPv6 address": "2001:db8::1",
    "a trailing dot": "acme.example.",
    "a leading dot": ".acme.example",
    "two dots": "acme..example",
    "a wildcard": "*.acme.example",
    "an underscore": "_dmarc.acme.example",
    "a URL": "https://acme.example",
    "a port": "acme.example:80",
    "a space": "ac me.example",
    "a line break": "acme.example\n",
    "a slash": "acme.example/x",
    "full-width letters": "\uff41\uff43\uff4d\uff45.example",
    "too long": "a." * 130 + "example",
    "a long label": "a" * 64 + ".example",
    "a hyphen in front": "-acme.example",
}


def fresh(what: str = "org") -> str:
    return f"{what}-{secrets.token_hex(5)}"


class NameServer(asyncio.DatagramProtocol):
    """A name server of the test's own on loopback. records: what TXT records say, by name; | parts their strings."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.rcode = dns.rcode.NOERROR
        self.asked: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        name = question.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        answer = dns.message.make_response(question)
        answer.set_rcode(self.rcode)
        said = self.records.get(name, [])
        if said:
            quoted = [" ".join(f'"{part}"' for part in each.split("|")) for each in said]
            answer.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "TXT", *quoted))
        elif self.rcode == dns.rcode.NOERROR:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)


@pytest.fixture(scope="module")
async def name_server() -> AsyncIterator[tuple[NameServer, int]]:
    """The server and its port."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield server, transport.get_extra_info("sockname")[1]
    transport.close()


@pytest.fixture
def records(name_server: tuple[NameServer, int]) -> NameServer:
    """The server, with nothing said."""
    server = name_server[0]
    server.records.clear()
    server.asked.clear()
    server.rcode = dns.rcode.NOERROR
    return server


@pytest.fixture(scope="module")
def domains(name_server: tuple[NameServer, int]) -> Domains:
    """Asks that server."""
    return Domains([("127.0.0.1", name_server[1])])


@pytest.fixture(scope="module")
async def proving(
    postgres: Postgres,
    database_template: Template,
    tmp_path_factory: pytest.TempPathFactory,
    name_server: tuple[NameServer, int],
) -> AsyncIterator[Api]:
    """The API of an installation that asks the test's name server."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("domains")) as site,
        in_this_process(site, dns_servers=f"127.0.0.1:{name_server[1]}") as running,
    ):
        yield running.api()


async def organization(api: Api, **given: object) -> dict[str, object]:
    return await api.create("/organizations", **({"short_name": fresh(), "name": "Org"} | given))


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_organizations_are_refused(api: Api, body: dict[str, object]) -> None:
    if body.get("short_name") == "acme":
        body = body | {"short_name": fresh()}
    refused = await api.call("POST", "/organizations", body)
    assert refused.status_code == 400, refused.text


async def test_an_organization_is_created_read_changed_and_deleted(platform: Platform, api: Api) -> None:
    wanted = (OrganizationCreated, OrganizationUpdated, OrganizationDeleted)
    async with platform.nats_client() as client, expect_events(client, *wanted) as seen:
        made = await organization(api, name="Acme Ltd")
        path = f"/organizations/{made['id']}"
        assert await api.get(path) == made
        assert await api.change(path, name="Acme Ltd") == made
        number = secrets.randbelow(2**40)
        changed = await api.change(path, name="Acme AG", external_id=number)
        assert (changed["name"], changed["external_id"], changed["version"]) == ("Acme AG", number, 2)
        replaced = (await api.call("PUT", path, {"short_name": made["short_name"], "name": "Acme AG"})).json()
        assert (replaced["external_id"], replaced["version"]) == (None, 3)
        await api.delete(path)
        assert (await api.call("GET", path)).status_code == 404
        assert (await api.call("DELETE", path)).status_code == 204
        assert (await organization(api, short_name=made["short_name"]))["id"] != made["id"]
    assert [each.type for each in seen.events if each.id == made["id"]][-1] == "organization.deleted"


@pytest.mark.parametrize("value", [0, 7, 2**53 - 1, "7", "cust-7"])
async def test_an_imported_id_stays_what_it_was(api: Api, register: Register, value: int | str) -> None:
    made = await organization(api, domain_id=value)
    assert made["domain_id"] == value
    assert type(made["domain_id"]) is type(value)
    user = await register(organization=made["id"])
    home = (await api.get(f"/users/{user['id']}/rights"))["home"]
    assert isinstance(home, dict)
    assert type(home["domain_id"]) is type(value)
    assert home == {
        "id": made["id"],
        "short_name": made["short_name"],
        "name": "Org",
        "external_id": None,
        "domain_id": value,
    }


async def test_a_number_and_its_text_are_two_values_of_one_id(api: Api) -> None:
    number = secrets.randbelow(2**40)
    made = await organization(api, external_id=number)
    taken = await api.call("POST", "/organizations", {"short_name": fresh(), "name": "X", "external_id": str(number)})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "#/external_id")
    changed = await api.change(f"/organizations/{made['id']}", external_id=str(number))
    assert (changed["external_id"], changed["version"]) == (str(number), 2)


async def test_a_short_name_is_one_organizations_and_stays(api: Api) -> None:
    made = await organization(api)
    for name in (str(made["short_name"]), str(made["short_name"]).upper()):
        refused = await api.call("POST", "/organizations", {"short_name": name, "name": "Other"})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "#/short_name")
    refused = await api.call("PATCH", f"/organizations/{made['id']}", {"short_name": fresh()})
    assert (refused.status_code, refused.json()["title"]) == (409, "A short name stays")


async def test_an_organization_with_people_groups_or_roles_is_not_deleted(api: Api, register: Register) -> None:
    made = await organization(api)
    path = f"/organizations/{made['id']}"
    user = await register(organization=made["short_name"])
    assert user["organization"] == made["id"]
    assert (await api.call("DELETE", path)).json()["title"] == "Not empty"
    await api.change(f"/users/{user['id']}", organization=None)
    group = await api.create("/groups", name="ops", organization=made["id"])
    assert (await api.call("DELETE", path)).json()["title"] == "Not empty"
    await api.delete(f"/groups/{group['id']}")
    given = await api.create(
        "/assignments", role="organization-administrator", user=user["id"], organization=made["id"]
    )
    assert (await api.call("DELETE", path)).json()["title"] == "Not empty"
    await api.delete(f"/assignments/{given['id']}")
    assert (await api.call("DELETE", path)).status_code == 204


async def test_people_of_an_organization_learn_of_its_new_name(api: Api, register: Register) -> None:
    made = await organization(api)
    inside, outside = await register(organization=made["id"]), await register()
    await api.change(f"/organizations/{made['id']}", name="New name")
    assert (await api.get(f"/users/{inside['id']}"))["version"] == 2
    assert (await api.get(f"/users/{outside['id']}"))["version"] == 1
    found = (await api.get("/users", organization=str(made["id"])))["items"]
    assert isinstance(found, list)
    assert [user["id"] for user in found] == [inside["id"]]


# domains -------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 1035 2.3.4; RFC 5891 4")
@pytest.mark.parametrize("domain", NO_DOMAINS.values(), ids=NO_DOMAINS)
async def test_what_is_no_domain_of_anybody_is_refused(api: Api, domain: str) -> None:
    made = await organization(api)
    refused = await api.call("POST", f"/organizations/{made['id']}/domains", {"domain": domain})
    assert refused.status_code == 400, refused.text


def test_one_domain_has_one_spelling() -> None:
    assert ownable_domain("Acme.Example") == "acme.example"
    assert ownable_domain("bücher.example") == ownable_domain("XN--BCHER-KVA.EXAMPLE") == "xn--bcher-kva.example"


async def test_nobody_says_that_a_domain_is_verified(api: Api) -> None:
    made = await organization(api)
    path = f"/organizations/{made['id']}/domains"
    for extra in ({"verified": True}, {"verified_at": "2026-01-01T00:00:00Z"}, {"challenge": "mine"}):
        refused = await api.call("POST", path, {"domain": "acme.example", **extra})
        assert refused.status_code == 400
    assert (await api.get(path))["items"] == []


@pytest.mark.spec("RFC 1035 3.3.14")
async def test_a_domain_is_proved_by_its_record_and_by_nothing_else(proving: Api, records: NameServer) -> None:
    made = await organization(proving)
    domain = f"{fresh('corp')}.example"
    path = f"/organizations/{made['id']}/domains"
    added = await proving.create(path, domain=domain.upper())
    assert (added["domain"], added["verified_at"]) == (domain, None)
    record = added["record"]
    assert isinstance(record, dict)
    name, value = record["name"], record["value"]
    assert (name, record["type"]) == (f"_watchword-challenge.{domain}", "TXT")
    assert await proving.create(path, domain=domain) == added, "asked again it is the same record"

    async def verified() -> bool:
        answer = await proving.call("POST", f"{path}/{domain}/verify")
        assert answer.status_code == 200, answer.text
        return answer.json()["verified_at"] is not None

    wrong = {
        "nothing is said": {},
        "something else is said": {name: ["v=spf1 -all"]},
        "another challenge": {name: ["watchword-verification=" + "A" * 32]},
        "a part of it": {name: [value[:-1]]},
        "more than it": {name: [value + "x"]},
        "without what stands in front": {name: [value.partition("=")[2]]},
        "in other letters": {name: [value.swapcase()]},
        "at the domain itself": {domain: [value]},
        "at its parent": {"_watchword-challenge.example": [value]},
        "below it": {f"_watchword-challenge.sub.{domain}": [value]},
    }
    for said in wrong.values():
        records.records = said
        assert not await verified(), said
    assert (await proving.get(f"/organizations/{made['id']}"))["domains"] == []
    records.records = {name: ["v=spf1 -all", f"{value[:10]}|{value[10:]}"]}
    assert await verified(), "among others, and in two strings"
    assert (await proving.get(f"/organizations/{made['id']}"))["domains"] == [domain]
    records.records = {}
    assert await verified(), "proved once it stays so until it is removed"


async def test_one_organization_at_most_has_a_domain(proving: Api, records: NameServer) -> None:
    domain = f"{fresh('corp')}.example"
    paths = [f"/organizations/{(await organization(proving))['id']}/domains" for _ in range(2)]
    for path in paths:
        record = (await proving.create(path, domain=domain))["record"]
        assert isinstance(record, dict)
        records.records.setdefault(record["name"], []).append(record["value"])
    answers = await asyncio.gather(*(proving.call("POST", f"{path}/{domain}/verify") for path in paths))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    winner = paths[[answer.status_code for answer in answers].index(200)]
    loser = next(path for path in paths if path != winner)
    await proving.delete(f"{winner}/{domain}")
    again = await proving.call("POST", f"{loser}/{domain}/verify")
    assert again.json()["verified_at"] is not None


async def test_name_servers_that_fail_prove_nothing_and_refuse_nothing(
    proving: Api, records: NameServer, domains: Domains
) -> None:
    made = await organization(proving)
    domain = f"{fresh('corp')}.example"
    await proving.create(f"/organizations/{made['id']}/domains", domain=domain)
    records.rcode = dns.rcode.SERVFAIL
    answer = await proving.call("POST", f"/organizations/{made['id']}/domains/{domain}/verify")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    with pytest.raises(DnsAway):
        await domains.challenges(domain)


async def test_a_domain_that_nobody_named_is_not_looked_at(proving: Api, records: NameServer) -> None:
    made = await organization(proving)
    for path in (
        f"/organizations/{made['id']}/domains/corp.example/verify",
        "/organizations/x/domains/a.example/verify",
    ):
        assert (await proving.call("POST", path)).status_code == 404
    assert (await proving.call("POST", f"/organizations/{made['id']}/domains/localhost/verify")).status_code == 400
    assert (await proving.call("DELETE", f"/organizations/{made['id']}/domains/corp.example")).status_code == 404
    assert records.asked == []


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("", []),
        ("192.0.2.1", [("192.0.2.1", 53)]),
        ("192.0.2.1:5353, 2001:db8::1", [("192.0.2.1", 5353), ("2001:db8::1", 53)]),
        ("[2001:db8::1]:5353", [("2001:db8::1", 5353)]),
    ],
)
def test_name_servers_are_set(given: str, servers: list[tuple[str, int]]) -> None:
    settings = load(DirectorySettings, database_url="postgresql://x@h/d", keys="{}", dns_servers=given)
    assert settings.dns_servers == servers


@pytest.mark.parametrize("given", ["dns.example", "192.0.2.1:port", "192.0.2.1:0", "192.0.2.1:70000", "1.2.3"])
def test_what_is_no_name_server_stops_the_start(given: str) -> None:
    with pytest.raises(SystemExit, match="WATCHWORD_DNS_SERVERS"):
        load(DirectorySettings, database_url="postgresql://x@h/d", keys="{}", dns_servers=given)
