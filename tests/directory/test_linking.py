"""An identity is linked to an existing account by a proof, never by its address alone."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.directory.conftest import Configure, Describe, Person, Register

from watchword_database import bus, transaction
from watchword_directory import store
from watchword_directory.linking import ask_for_proof, link_proved
from watchword_directory.sweeper import sweep
from watchword_directory.users import new_user
from watchword_events.contracts import IdentityLinked, IdentityUnlinked
from watchword_events.handovers import AccountProved, ProveAccount, VerifiedIdentity
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import TestDatabase
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

# How the address of an existing account can come along with an identity. None of these links by itself.
CLASHES: dict[str, dict[str, object]] = {
    "verified": {"email_verified": True},
    "unverified": {"email_verified": False},
    "claim missing": {},
    "upper case": {"email_verified": True, "upper": True},
}


async def links_of(api: Api, user_id: object) -> list[dict[str, object]]:
    found = await api.get("/identities", user_id=str(user_id))
    items = found["items"]
    assert isinstance(items, list)
    return items


@pytest.mark.row(41)
@pytest.mark.parametrize("given", CLASHES.values(), ids=CLASHES)
async def test_the_address_of_an_account_links_nothing_by_itself(
    person: Person, identity: Describe, api: Api, register: Register, given: dict[str, object]
) -> None:
    account = await register()
    email = str(account["email"])
    claims = {name: value for name, value in given.items() if name != "upper"}
    asserted = identity(email=email.upper() if "upper" in given else email, **claims)
    asked = await person.asked_to_prove(await person.arrive(asserted))
    assert asked.user_id == account["id"]
    assert await links_of(api, account["id"]) == []


async def test_a_proof_links_the_identity_that_waited(
    platform: Platform, people: Callable[[], Person], identity: Describe, api: Api, register: Register
) -> None:
    account = await register()
    asserted = identity(email=str(account["email"]), email_verified=True)
    person, later = people(), people()
    async with platform.nats_client() as client, expect_events(client, IdentityLinked):
        asked = await person.asked_to_prove(await person.arrive(asserted))
        signed_in = await person.signed_in(await person.prove(asked))
    assert signed_in.user_id == account["id"]
    assert signed_in.provider_id == asserted.provider_id
    (link,) = await links_of(api, account["id"])
    assert (link["issuer"], link["subject"]) == (asserted.issuer, asserted.subject)
    again = await later.signed_in(await later.arrive(asserted))
    assert again.user_id == account["id"]


@pytest.mark.row(44)
async def test_a_proof_counts_once(person: Person, identity: Describe, register: Register) -> None:
    account = await register()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    await person.signed_in(await person.prove(asked))
    assert (await person.prove(asked)).error == "account_not_linked"


async def test_a_proof_counts_for_the_account_that_was_asked_for(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account, other = await register(), await register()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    assert (await person.prove(asked, user_id=str(other["id"]))).error == "account_not_linked"
    assert await links_of(api, other["id"]) == []
    assert await links_of(api, account["id"]) == []


@pytest.mark.row(44)
async def test_a_proof_counts_for_the_identity_of_its_own_flow(
    people: Callable[[], Person], identity: Describe, api: Api, register: Register
) -> None:
    """The attacker's identity waits in the attacker's flow; the victim's proof, in the victim's, does not reach it."""
    account = await register()
    attacker, victim = people(), people()
    waiting = await attacker.asked_to_prove(await attacker.arrive(identity(email=str(account["email"]))))
    own = await victim.asked_to_prove(await victim.arrive(identity(email=str(account["email"]))))
    assert (await victim.prove(own, pending_link_id=waiting.pending_link_id)).error == "account_not_linked"
    assert await links_of(api, account["id"]) == []


async def test_a_newer_identity_in_a_flow_takes_the_place_of_the_one_that_waited(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register()
    first = identity(email=str(account["email"]))
    second = identity(email=str(account["email"]))
    old = await person.asked_to_prove(await person.arrive(first))
    new = await person.asked_to_prove(await person.arrive(second))
    assert (await person.prove(old)).error == "account_not_linked"
    await person.signed_in(await person.prove(new))
    assert [link["subject"] for link in await links_of(api, account["id"])] == [second.subject]


async def test_a_proof_of_an_account_that_was_disabled_meanwhile_links_nothing(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    await api.change(f"/users/{account['id']}", active=False)
    assert (await person.prove(asked)).error == "account_disabled"
    assert await links_of(api, account["id"]) == []


async def signed_out_everywhere(api: Api, user_id: str, _provider_id: str) -> None:
    await api.create("/revocations", claim="sub", value=user_id)


async def password_set(api: Api, user_id: str, _provider_id: str) -> None:
    body = {"password": secrets.token_urlsafe(16)}
    assert (await api.call("PATCH", f"/users/{user_id}", body, end_sessions="true")).status_code == 200


async def provider_distrusted(api: Api, _user_id: str, provider_id: str) -> None:
    """The one through which the account was proved."""
    answer = await api.call("PATCH", f"/providers/{provider_id}", {"enabled": False}, end_sessions="true")
    assert answer.status_code == 200, answer.text


@pytest.mark.row(44)
@pytest.mark.parametrize("end", [signed_out_everywhere, password_set, provider_distrusted])
async def test_a_proof_links_nothing_when_what_it_rests_on_has_ended(
    person: Person,
    identity: Describe,
    configure: Configure,
    api: Api,
    register: Register,
    end: Callable[[Api, str, str], Awaitable[None]],
) -> None:
    """Also where that comes within the minute in which the ticket is good."""
    account, proved_through = await register(), await configure()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    position = person.position
    await end(api, str(account["id"]), proved_through)
    assert (await person.prove(asked, rev=position, idp=proved_through)).error == "account_not_linked"
    assert await links_of(api, account["id"]) == []


@pytest.mark.row(44)
async def test_a_proof_by_a_password_that_was_replaced_links_nothing(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    position, sid, until = person.position, f"password:{account['id']}:1", datetime.now(UTC) + timedelta(minutes=1)
    async with transaction(person.authz) as session:
        entry = await bus.revoke(
            session,
            claim=Claim.SID,
            value=sid,
            kind=RevocationKind.CUT,
            reason="credential.changed",
            until=until,
            keep_until=until,
        )
    assert person.platform.process is not None
    assert await person.platform.process.shared.feed.settle([entry], timeout=10)
    assert (await person.prove(asked, rev=position, sid=sid)).error == "account_not_linked"
    assert await links_of(api, account["id"]) == []


async def test_a_proof_that_does_not_say_when_it_was_given_is_ended_by_every_cut(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    await signed_out_everywhere(api, str(account["id"]), "")
    assert (await person.prove(asked, rev=0)).error == "account_not_linked"
    assert await links_of(api, account["id"]) == []


async def test_an_account_that_is_disabled_is_not_asked_for(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register(active=False)
    assert (await person.arrive(identity(email=str(account["email"])))).error == "account_disabled"


@pytest.mark.row(40)
@pytest.mark.spec("OpenID Connect Core 5.7")
async def test_an_identity_of_another_provider_or_issuer_is_another_identity(
    people: Callable[[], Person], identity: Describe, api: Api
) -> None:
    mine = identity()
    twin = f"Twin-{secrets.token_hex(4)}"
    await api.create(
        "/providers", id=twin, display_name="Twin", issuer="https://login.twin.example", client_id="watchword"
    )
    others = [
        mine.model_copy(update={"provider_id": twin}),
        mine.model_copy(update={"issuer": "https://login.corp.example/"}),
        mine.model_copy(update={"subject": mine.subject.upper()}),
    ]
    everyone = [people() for _ in range(4)]
    steps = [await each.arrive(who) for each, who in zip(everyone, [mine, *others], strict=True)]
    users = [(await each.signed_in(step)).user_id for each, step in zip(everyone, steps, strict=True)]
    assert len(set(users)) == 4


async def test_unlinking_ends_what_came_through_it(
    platform: Platform, person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register(password="correct horse battery staple")
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    await person.signed_in(await person.prove(asked))
    (link,) = await links_of(api, account["id"])
    assert platform.process is not None
    feed = platform.process.shared.feed
    before = feed.position
    async with platform.nats_client() as client, expect_events(client, (IdentityUnlinked, str(link["id"]))):
        await api.delete(f"/identities/{link['id']}")
    assert not feed.is_live({"sub": account["id"], "rev": before})
    assert feed.is_live({"sub": account["id"], "rev": feed.position})
    assert (await api.call("GET", f"/identities/{link['id']}")).status_code == 404
    assert (await api.call("DELETE", f"/identities/{link['id']}")).status_code == 404


async def test_the_last_way_in_is_not_unlinked(person: Person, identity: Describe, api: Api) -> None:
    user_id = (await person.signed_in(await person.arrive(identity()))).user_id
    (link,) = await links_of(api, user_id)
    refused = await api.call("DELETE", f"/identities/{link['id']}")
    assert refused.status_code == 409
    assert refused.json()["title"] == "The last way in"
    await api.change(f"/users/{user_id}", password="correct horse battery staple")
    assert (await api.call("DELETE", f"/identities/{link['id']}")).status_code == 204


@pytest.mark.parametrize("closing", ["disabled", "removed", "for tokens alone", "open"])
async def test_an_identity_of_a_closed_provider_is_no_way_in(
    people: Callable[[], Person], identity: Describe, configure: Configure, api: Api, closing: str
) -> None:
    """Whoever unlinks the other one could not sign in any more."""
    used, other = await configure(), await configure()
    person, again = people(), people()
    user_id = (await person.signed_in(await person.arrive(identity(provider_id=used)))).user_id
    merged = (await again.signed_in(await again.arrive(identity(provider_id=other)))).user_id
    await api.create(f"/users/{user_id}/merge", user=merged)
    (link,) = [each for each in await links_of(api, user_id) if each["provider_id"] == used]
    match closing:
        case "disabled":
            await api.change(f"/providers/{other}", enabled=False)
        case "removed":
            await api.delete(f"/providers/{other}")
        case "for tokens alone":
            await api.change(f"/providers/{other}", sign_in=False)
        case _:
            assert (await api.get("/identities", provider_id=used, only="true"))["items"] == []
            assert (await api.call("DELETE", f"/identities/{link['id']}")).status_code == 204
            return
    async with asyncio.timeout(10):
        while not (await api.get("/identities", provider_id=used, only="true"))["items"]:
            await asyncio.sleep(0.05)
    refused = await api.call("DELETE", f"/identities/{link['id']}")
    assert (refused.status_code, refused.json()["title"]) == (409, "The last way in")


async def test_of_two_links_that_are_removed_at_once_one_stays(
    people: Callable[[], Person], identity: Describe, api: Api
) -> None:
    email = f"{secrets.token_hex(4)}@corp.example"
    first, second = people(), people()
    user_id = (await first.signed_in(await first.arrive(identity(email=email, email_verified=True)))).user_id
    asked = await second.asked_to_prove(await second.arrive(identity(email=email)))
    await second.signed_in(await second.prove(asked))
    links = await links_of(api, user_id)
    answers = await asyncio.gather(*(api.call("DELETE", f"/identities/{link['id']}") for link in links))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert len(await links_of(api, user_id)) == 1


async def test_parallel_proofs_of_one_pending_link_make_one_link(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    account = await register()
    asked = await person.asked_to_prove(await person.arrive(identity(email=str(account["email"]))))
    steps = await asyncio.gather(*(person.prove(asked) for _ in range(8)))
    assert [step.goes_to for step in steps].count("/login/complete") == 1
    assert len(await links_of(api, account["id"])) == 1


async def test_what_waits_for_a_proof_is_bare_and_does_not_wait_for_ever(
    platform: Platform, person: Person, identity: Describe, register: Register
) -> None:
    account = await register()
    asserted = identity(email=str(account["email"]), name="Vera Waiting", claims={"department": "secret-works"})
    asked = await person.asked_to_prove(await person.arrive(asserted))
    async with platform.database.postgres.admin(platform.database.name) as connection:
        row = await connection.fetchval(
            "SELECT t::text FROM directory.pending_links t WHERE id = $1", asked.pending_link_id
        )
    for private in ("Vera", "secret-works", str(account["email"])):
        assert private not in row
    directory = platform.database.open(Service.DIRECTORY, pool_size=1)
    await sweep(directory, now=utc_now() + timedelta(hours=2))
    async with platform.database.postgres.admin(platform.database.name) as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM bus.handover WHERE receiver = 'watchword_directory' AND flow = $1", person.flow
        )
    assert left == 0, "tickets that say who somebody is are gone"
    assert (await person.prove(asked)).error == "account_not_linked"


async def test_a_proof_that_comes_too_late_links_nothing(database: TestDatabase, clock: TestClock) -> None:
    directory, authz = database.open(Service.DIRECTORY), database.open(Service.AUTHZ)
    identity = VerifiedIdentity(provider_id="P", issuer="https://i.example", subject="s", auth_time=clock())
    user = new_user(username="late", now=clock())
    async with transaction(directory) as session:
        assert await store.claim_new_user(session, user)
        ticket = await ask_for_proof(session, identity, user, flow="f", binding="b", now=clock())
    async with transaction(authz) as session:
        taken = await bus.take(session, ProveAccount, ticket, now=clock())
    assert taken is not None
    proof = AccountProved(binding="b", user_id=user.id, pending_link_id=taken.payload.pending_link_id)
    async with transaction(directory) as session:
        assert await link_proved(session, proof, flow="f", now=clock.advance(timedelta(minutes=16))) is None
