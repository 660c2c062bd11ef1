"""What a new person brings along, and what is not believed."""

import secrets
from collections.abc import Callable

import pytest
from tests.directory.conftest import Describe, Person, Register

from watchword_directory.names import RESERVED, candidates, check_sign_in_names
from watchword_directory.provisioning import email_of, profile_of
from watchword_events.contracts import IdentityLinked, UserProvisioned, UserUpdated
from watchword_policy.identifiers import InvalidUsername, canonical_username
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

RIGHTS: dict[str, dict[str, object]] = {
    "groups": {"groups": ["administrator", "admin"]},
    "groups as text": {"groups": "administrator"},
    "groups as object": {"groups": {"administrator": True}},
    "many groups": {"groups": [f"group-{number}" for number in range(5_000)]},
    "roles": {"roles": ["administrator"], "role": "administrator"},
    "verified": {"email_verified": True, "active": True, "claims_version": 99},
}


# What a provider may send as a name or link, and what is kept of it.
CLAIMS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "plain": ({"name": "Ana López"}, {"name": "Ana López"}),
    "line breaks": ({"name": "Ana\r\nBcc: eve"}, {}),
    "direction marks": ({"name": "Ana\u202e@example"}, {}),
    "too long": ({"name": "a" * 300}, {}),
    "empty": ({"name": "   "}, {}),
    "script link": ({"picture": "javascript:alert(1)"}, {}),
    "data link": ({"picture": "data:text/html,x"}, {}),
    "web link": ({"picture": "https://img.example/a.png"}, {"picture": "https://img.example/a.png"}),
    "locale": ({"claims": {"locale": "de-CH"}}, {"locale": "de-CH"}),
    "locale as list": ({"claims": {"locale": ["de"]}}, {}),
}


@pytest.mark.row(45)
@pytest.mark.parametrize("claims", RIGHTS.values(), ids=RIGHTS)
async def test_claims_about_rights_give_none(
    person: Person, identity: Describe, api: Api, claims: dict[str, object]
) -> None:
    signed_in = await person.signed_in(await person.arrive(identity(claims=claims)))
    user = await api.get(f"/users/{signed_in.user_id}")
    assert user["roles"] == []
    assert user["email_verified"] is False
    assert user["version"] == 1


@pytest.mark.parametrize(("given", "kept"), CLAIMS.values(), ids=CLAIMS)
def test_only_claims_that_show_what_they_are_are_kept(
    identity: Describe, given: dict[str, object], kept: dict[str, object]
) -> None:
    assert profile_of(identity(**given)) == kept


def test_an_address_that_cannot_be_compared_is_left_out(identity: Describe) -> None:
    assert email_of(identity(email="\u212aate@corp.example")) is None
    assert email_of(identity(email="Kate@Corp.Example")) == "kate@corp.example"


async def test_provisioning_is_told_once_with_ids_only(
    platform: Platform, person: Person, identity: Describe, provider: str
) -> None:
    async with (
        platform.nats_client() as client,
        expect_events(client, UserProvisioned, IdentityLinked) as seen,
    ):
        asserted = identity(email=f"{secrets.token_hex(4)}@corp.example", name="Nobody Else", subject="upstream-7")
        signed_in = await person.signed_in(await person.arrive(asserted))
    (event,) = [each for each in seen.of("user.provisioned") if each.id == signed_in.user_id]
    assert isinstance(event.event, UserProvisioned)
    assert event.event.origin == "sign-in"
    assert event.event.provider_id == provider
    told = " ".join(each.body for each in seen.events)
    assert "corp.example" not in told
    assert "Nobody" not in told
    assert "upstream-7" not in told


async def test_a_taken_user_name_gets_a_number(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    taken = str((await register())["username"])
    signed_in = await person.signed_in(await person.arrive(identity(preferred_username=taken)))
    assert (await api.get(f"/users/{signed_in.user_id}"))["username"] == f"{taken}-2"


@pytest.mark.row(43)
async def test_an_unverified_address_reserves_nothing(
    people: Callable[[], Person], identity: Describe, api: Api, register: Register
) -> None:
    """Whoever registers somebody's address in advance at a provider gains nothing from it, and loses it."""
    address = f"victim-{secrets.token_hex(4)}@corp.example"
    attacker, victim = people(), people()
    squatting = identity(email=address, email_verified=False)
    squatter = await attacker.signed_in(await attacker.arrive(squatting))
    genuine = await victim.signed_in(await victim.arrive(identity(email=address, email_verified=True)))
    assert genuine.user_id != squatter.user_id
    assert (await api.get(f"/users/{genuine.user_id}"))["email"] == address
    assert (await api.get(f"/users/{squatter.user_id}"))["email"] is None


@pytest.mark.row(43)
async def test_an_administrator_may_give_an_address_that_somebody_only_claimed(
    person: Person, identity: Describe, api: Api, register: Register
) -> None:
    address = f"claimed-{secrets.token_hex(4)}@corp.example"
    squatter = await person.signed_in(await person.arrive(identity(email=address)))
    owner = await register(email=address)
    assert owner["email"] == address
    assert (await api.get(f"/users/{squatter.user_id}"))["email"] is None


async def test_a_later_sign_in_brings_the_profile_up_to_date(
    platform: Platform, people: Callable[[], Person], identity: Describe, api: Api
) -> None:
    before = identity(name="Rae Old", email=f"{secrets.token_hex(4)}@corp.example", email_verified=True)
    first, later, last = people(), people(), people()
    known = await first.signed_in(await first.arrive(before))
    moved = f"{secrets.token_hex(4)}@corp.example"
    after = before.model_copy(update={"name": "Rae New", "email": moved})
    async with platform.nats_client() as client, expect_events(client, (UserUpdated, known.user_id)):
        newer = await later.signed_in(await later.arrive(after))
    user = await api.get(f"/users/{known.user_id}")
    assert (user["name"], user["email"]) == ("Rae New", moved)
    assert newer.claims_version > known.claims_version
    same = await last.signed_in(await last.arrive(after))
    assert same.claims_version == newer.claims_version, "nothing changed, so nothing rises"


async def test_a_later_sign_in_takes_nobodys_address(
    people: Callable[[], Person], identity: Describe, api: Api, register: Register
) -> None:
    before = identity(email=f"{secrets.token_hex(4)}@corp.example", email_verified=True)
    other = str((await register())["email"])
    first, later = people(), people()
    known = await first.signed_in(await first.arrive(before))
    moved = await later.signed_in(await later.arrive(before.model_copy(update={"email": other})))
    assert moved.user_id == known.user_id
    assert (await api.get(f"/users/{known.user_id}"))["email"] == before.email


def test_names_for_new_people_are_plain_and_never_reserved() -> None:
    names = {
        ("Ana.Lopez", None, None): "ana.lopez",
        ("ana@corp.example", None, None): "ana",
        (None, "ana.l@corp.example", "Ana"): "ana.l",
        (None, None, "Ána López"): "ana-lopez",
        ("\u0430dmin", None, None): "dmin",  # a Cyrillic a is no a
        ("\u3042", None, "\u3042"): "user",
        ("../../etc", None, None): "etc",
        ("x" * 500, None, None): "x" * 48,
    }
    for (preferred, email, name), wanted in names.items():
        assert next(candidates(preferred, email, name)) == wanted
    for reserved in RESERVED:
        assert next(candidates(reserved, None, None)) == f"{reserved}-2"


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\n", "-a", ".a", "a.", "a" * 129, "\u212aate", "adm\u0131n", "a/b", "a\\b", "<b>", "a\x00"],
)
def test_names_that_are_not_plain_are_refused(name: str) -> None:
    with pytest.raises(InvalidUsername):
        canonical_username(name)


def test_a_name_with_an_at_sign_is_the_own_address_only() -> None:
    check_sign_in_names("ana@corp.example", "ana@corp.example")
    with pytest.raises(InvalidUsername):
        check_sign_in_names("victim@corp.example", "ana@corp.example")
    with pytest.raises(InvalidUsername):
        check_sign_in_names("victim@corp.example", None)
