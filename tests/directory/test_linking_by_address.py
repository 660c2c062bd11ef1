"""When an e-mail address leads to an account: rows 40 to 44 of the threat model, each with its test."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from tests.directory.conftest import Configure, Describe, Person, Register

from watchword_authz.models import Passkey
from watchword_authz.passkey_store import claim_new_passkey
from watchword_authz.store import put_password
from watchword_database import transaction
from watchword_directory.organization_table import claim_proof, find_domain
from watchword_events.names import Service
from watchword_policy.identifiers import InvalidEmail, canonical_email
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

People = Callable[[], Person]
PASSWORD = "correct horse battery staple"


async def subjects_of(api: Api, user_id: object) -> list[str]:
    """The subjects that lead to a user."""
    items = (await api.get("/identities", user_id=str(user_id)))["items"]
    assert isinstance(items, list)
    return [link["subject"] for link in items]


async def owned_domain(platform: Platform, api: Api) -> tuple[str, str]:
    """The id of an organization, and a domain that it has proved."""
    made = await api.create("/organizations", short_name=f"acme-{secrets.token_hex(4)}", name="Acme")
    organization_id, domain = str(made["id"]), f"{secrets.token_hex(6)}.example"
    await api.create(f"/organizations/{organization_id}/domains", domain=domain)
    directory = platform.database.open(Service.DIRECTORY, pool_size=1)
    async with transaction(directory) as session:
        found = await find_domain(session, organization_id, domain)
        assert found is not None
        assert await claim_proof(session, organization_id, domain, found.challenge, now=utc_now())
    await directory.dispose()
    return organization_id, domain


async def test_row_40_only_provider_issuer_and_subject_say_who_somebody_is(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    """The same subject from elsewhere, or in other letters, and the same address, unverified, are somebody else."""
    one, two = await configure(), await configure()
    address = f"{secrets.token_hex(4)}@corp.example"
    mine = identity(provider_id=one, subject="Alice", email=address)
    others = [
        mine.model_copy(update={"provider_id": two}),
        mine.model_copy(update={"issuer": "https://evil.example"}),
        mine.model_copy(update={"subject": "alice"}),
    ]
    found = []
    for who in [mine, *others]:
        person = people()
        found.append((await person.signed_in(await person.arrive(who))).user_id)
    assert len(set(found)) == 4
    person = people()
    changed = mine.model_copy(update={"email": "other@corp.example", "preferred_username": "other"})
    assert (await person.signed_in(await person.arrive(changed))).user_id == found[0]


async def keep_at_authz(platform: Platform, what: str, user_id: str) -> None:
    """The user has chosen a password, or made a passkey, at their account page: authz alone knows."""
    database = platform.database.open(Service.AUTHZ, pool_size=1)
    async with transaction(database) as session:
        if what == "credential":
            await put_password(session, user_id, "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA", utc_now())
        else:
            key = Passkey(
                credential_id=secrets.token_bytes(16),
                user_id=user_id,
                public_key=b"k",
                sign_count=0,
                name="Key",
                is_synced=False,
                created_at=utc_now(),
            )
            assert await claim_new_passkey(session, key)
    await database.dispose()


# Who asserts what, with `linking: verified`, about an account that has no way in of its own.
UNPROVED: dict[str, dict[str, Any]] = {
    "not verified": {"email_verified": False},
    "nothing said": {},
    "another domain": {"email_verified": True, "elsewhere": True},
    "an account with a password": {"email_verified": True, "password": PASSWORD},
    "an account with a password that directory never saw": {"email_verified": True, "kept": "credential"},
    "an account with a passkey": {"email_verified": True, "kept": "passkey"},
    "an account of another organization": {"email_verified": True, "foreign": True},
    "another organization's, by a trusted one": {"email_verified": True, "foreign": True, "linking": "trusted"},
    "a provider of no organization": {"email_verified": True, "of_nobody": True},
    "a provider that is not set so": {"email_verified": True, "linking": "prove"},
    "an administrator": {"email_verified": True, "role": "administrator"},
    "a helper": {"email_verified": True, "role": "help-desk"},
}


@pytest.mark.parametrize("case", UNPROVED.values(), ids=UNPROVED)
async def test_row_41_otherwise_an_address_links_nothing_without_a_proof(
    platform: Platform,
    person: Person,
    identity: Describe,
    configure: Configure,
    api: Api,
    register: Register,
    case: dict[str, Any],
) -> None:
    organization_id, domain = await owned_domain(platform, api)
    settings: dict[str, object] = {"linking": case.get("linking", "verified")}
    if "of_nobody" not in case:
        settings["organization"] = organization_id
    provider = await configure(**settings)
    address = f"{secrets.token_hex(4)}@{'other.example' if 'elsewhere' in case else domain}"
    account: dict[str, object] = {"email": address}
    if "password" in case:
        account["password"] = case["password"]
    if "foreign" in case:
        other = await api.create("/organizations", short_name=f"o-{secrets.token_hex(4)}", name="Other")
        account["organization"] = other["id"]
    user = await register(**account)
    if "role" in case:
        await api.create("/assignments", role=case["role"], user=user["id"])
    if "kept" in case:
        await keep_at_authz(platform, case["kept"], str(user["id"]))
    verified = {"email_verified": case["email_verified"]} if "email_verified" in case else {}
    arriving = identity(provider_id=provider, email=address, **verified)
    asked = await person.asked_to_prove(await person.arrive(arriving))
    assert asked.user_id == user["id"]
    assert await subjects_of(api, user["id"]) == []


async def test_row_41_a_verified_address_of_a_proved_domain_leads_to_an_account_without_a_way_in(
    platform: Platform, people: People, identity: Describe, configure: Configure, api: Api, register: Register
) -> None:
    organization_id, domain = await owned_domain(platform, api)
    provider = await configure(linking="verified", organization=organization_id)
    address = f"{secrets.token_hex(4)}@{domain}"
    user = await register(email=address)
    first, second = people(), people()
    arriving = identity(provider_id=provider, email=address.upper(), email_verified=True)
    assert (await first.signed_in(await first.arrive(arriving))).user_id == user["id"]
    assert await subjects_of(api, user["id"]) == [arriving.subject]
    # Now there is a way in, and so something to prove the account with.
    again = identity(provider_id=provider, email=address, email_verified=True)
    assert (await second.asked_to_prove(await second.arrive(again))).user_id == user["id"]


@pytest.mark.seed(94)
async def test_a_trusted_provider_leads_to_the_account_with_the_address_at_once(
    people: People, identity: Describe, configure: Configure, api: Api, register: Register
) -> None:
    provider = await configure(linking="trusted")
    user = await register(password=PASSWORD)
    first, second = people(), people()
    arriving = identity(provider_id=provider, email=user["email"])
    assert (await first.signed_in(await first.arrive(arriving))).user_id == user["id"]
    # Later ones are known by the link, whatever address they have then (seed 93: by e-mail there).
    moved = arriving.model_copy(update={"email": f"{secrets.token_hex(4)}@corp.example"})
    assert (await second.signed_in(await second.arrive(moved))).user_id == user["id"]
    assert await subjects_of(api, user["id"]) == [arriving.subject]


@pytest.mark.seed(94, 98)
@pytest.mark.parametrize("role", ["administrator", "help-desk", "auditor"])
async def test_whoever_administers_proves_the_account_even_to_a_trusted_provider(
    person: Person, identity: Describe, configure: Configure, api: Api, register: Register, role: str
) -> None:
    provider = await configure(linking="trusted")
    user = await register()
    await api.create("/assignments", role=role, user=user["id"])
    arriving = identity(provider_id=provider, email=user["email"], email_verified=True)
    assert (await person.asked_to_prove(await person.arrive(arriving))).user_id == user["id"]


# Where the address is that an organization's provider calls verified, what else it has, and whether that counts.
VOUCHED: dict[str, tuple[str, dict[str, Any], bool]] = {
    "a domain that its organization has proved": ("{own}", {}, True),
    "below a domain that it has proved": ("mail.{own}", {}, False),
    "a domain that only ends so": ("x{own}", {}, False),
    "a domain that it has named and not proved": ("{named}", {}, False),
    "a domain that another organization has proved": ("{foreign}", {}, False),
    "any other domain": ("elsewhere.example", {}, False),
    "an allowed domain": ("allowed.example", {"allowed_email_domains": ["allowed.example"]}, True),
    "below an allowed domain": ("mail.allowed.example", {"allowed_email_domains": ["allowed.example"]}, True),
    "a domain that another has proved, but allowed": ("{foreign}", {"allowed_email_domains": ["{foreign}"]}, True),
    "a proved domain, said to be unverified": ("{own}", {"email_verified": False}, False),
    "any other domain, of the installation's provider": ("elsewhere.example", {"organization": None}, True),
}


@pytest.mark.parametrize("case", VOUCHED.values(), ids=VOUCHED)
async def test_row_41_an_organizations_provider_vouches_for_addresses_of_its_own_domains_alone(
    platform: Platform,
    people: People,
    identity: Describe,
    configure: Configure,
    api: Api,
    case: tuple[str, dict[str, Any], bool],
) -> None:
    (organization_id, own), (_, foreign) = await owned_domain(platform, api), await owned_domain(platform, api)
    domains = {"own": own, "foreign": foreign, "named": f"{secrets.token_hex(6)}.example"}
    await api.create(f"/organizations/{organization_id}/domains", domain=domains["named"])
    where, given, counts = case
    settings = {"organization": organization_id} | {k: v for k, v in given.items() if k != "email_verified"}
    if "allowed_email_domains" in settings:
        settings["allowed_email_domains"] = [each.format(**domains) for each in given["allowed_email_domains"]]
    provider = await configure(**{name: value for name, value in settings.items() if value is not None})
    address = f"{secrets.token_hex(4)}@{where.format(**domains)}"
    said = {"email": address, "email_verified": given.get("email_verified", True)}
    found = await api.create("/identities/preview", provider_id=provider, claims={"sub": "new", **said})
    assert (found["outcome"], found["email"], found["email_verified"]) == ("new", address, counts)
    arriving = identity(provider_id=provider, **said)
    for person in (people(), people()):  # at the first sign-in, and at a later one
        user_id = (await person.signed_in(await person.arrive(arriving))).user_id
        user = await api.get(f"/users/{user_id}")
        assert (user["email"], user["email_verified"]) == (address, counts)


async def test_row_41_an_address_that_a_provider_may_not_vouch_for_is_not_taken_over_later_either(
    platform: Platform, people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    organization_id, domain = await owned_domain(platform, api)
    provider = await configure(organization=organization_id)
    address = f"{secrets.token_hex(4)}@{domain}"
    first, second = people(), people()
    arriving = identity(provider_id=provider, email=address, email_verified=True)
    user_id = (await first.signed_in(await first.arrive(arriving))).user_id
    moved = arriving.model_copy(update={"email": f"{secrets.token_hex(4)}@elsewhere.example"})
    assert (await second.signed_in(await second.arrive(moved))).user_id == user_id
    assert (await api.get(f"/users/{user_id}"))["email"] == address


async def test_row_43_an_organizations_provider_takes_nobodys_claim_to_an_address_elsewhere(
    platform: Platform, people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    """Only whoever comes with the address verified releases it from somebody who merely said so."""
    organization_id, _ = await owned_domain(platform, api)
    address = f"{secrets.token_hex(4)}@elsewhere.example"
    first, second = people(), people()
    claimed = identity(provider_id=await configure(), email=address, email_verified=False)
    user_id = (await first.signed_in(await first.arrive(claimed))).user_id
    provider = await configure(organization=organization_id)
    await second.signed_in(await second.arrive(identity(provider_id=provider, email=address, email_verified=True)))
    assert (await api.get(f"/users/{user_id}"))["email"] == address


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_row_41_a_trusted_provider_of_an_organization_reaches_only_addresses_that_it_vouches_for(
    platform: Platform,
    person: Person,
    identity: Describe,
    configure: Configure,
    api: Api,
    register: Register,
    is_allowed: bool,
) -> None:
    organization_id, _ = await owned_domain(platform, api)
    allowed = {"allowed_email_domains": ["corp.example"]} if is_allowed else {}
    provider = await configure(linking="trusted", organization=organization_id, **allowed)
    user = await register()  # of no organization
    step = await person.arrive(identity(provider_id=provider, email=user["email"], email_verified=True))
    if is_allowed:
        assert (await person.signed_in(step)).user_id == user["id"]
    else:
        assert (await person.asked_to_prove(step)).user_id == user["id"]


@pytest.mark.parametrize("linking", ["prove", "verified", "trusted"])
async def test_a_sign_in_that_began_at_the_provider_never_links(
    person: Person, identity: Describe, configure: Configure, register: Register, linking: str
) -> None:
    provider = await configure(linking=linking)
    user = await register()
    arriving = identity(provider_id=provider, email=user["email"], email_verified=True)
    ticket = await person.ticket_for(arriving, solicited=False)
    assert (await person.send(ticket)).error == "account_not_linked"


# Row 42: what looks like somebody's address and is another, or none that can be compared.
LOOKALIKES = {
    "kelvin sign": "\u212aate@corp.example",
    "dotless i": "l\u0131sa@corp.example",
    "full width": "\uff4bate@corp.example",
    "zero width": "kate\u200b@corp.example",
    "homoglyph": "k\u0430te@corp.example",
    "trailing dot": "kate@corp.example.",
    "quoted": '"kate"@corp.example',
    "full width domain": "kate@\uff43orp.example",
}


@pytest.mark.parametrize("address", LOOKALIKES.values(), ids=LOOKALIKES)
def test_row_42_an_address_that_only_looks_alike_is_no_address(address: str) -> None:
    with pytest.raises(InvalidEmail):
        canonical_email(address)


async def test_row_43_whoever_registered_an_address_in_advance_is_out_when_its_owner_comes(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    """The unverified account holds nothing of the owner's: neither the address, nor links, nor the owner's rights."""
    squatted, genuine = await configure(linking="trusted"), await configure(linking="trusted", default_role=None)
    address = f"{secrets.token_hex(4)}@corp.example"
    attacker, owner, again = people(), people(), people()
    squatting = identity(provider_id=squatted, email=address, email_verified=False)
    squatter = await attacker.signed_in(await attacker.arrive(squatting))
    await api.change(f"/users/{squatter.user_id}", password=PASSWORD)
    theirs = await owner.signed_in(
        await owner.arrive(identity(provider_id=genuine, email=address, email_verified=True, subject="owner"))
    )
    assert theirs.user_id != squatter.user_id
    assert (await api.get(f"/users/{squatter.user_id}"))["email"] is None
    assert await subjects_of(api, theirs.user_id) == ["owner"]
    still = await again.signed_in(await again.arrive(squatting))
    assert still.user_id == squatter.user_id, "a stranger to the owner's account"


async def test_row_44_a_proof_is_of_one_user_one_subject_and_one_browser_and_the_newest_one(
    people: People, identity: Describe, configure: Configure, api: Api, register: Register
) -> None:
    provider = await configure()
    user, other = await register(), await register()
    mine, thief = people(), people()
    first = identity(provider_id=provider, email=user["email"], email_verified=True)
    old = await mine.asked_to_prove(await mine.arrive(first))
    assert (await thief.prove(old)).error == "account_not_linked", "another browser"
    assert (await mine.prove(old, user_id=str(other["id"]))).error == "account_not_linked", "another account"
    newer = identity(provider_id=provider, email=user["email"], email_verified=True)
    new = await mine.asked_to_prove(await mine.arrive(newer))
    assert (await mine.prove(old)).error == "account_not_linked", "another upstream account came since"
    await mine.signed_in(await mine.prove(new))
    assert (await mine.prove(new)).error == "account_not_linked", "used"
    assert await subjects_of(api, user["id"]) == [newer.subject]
    assert await subjects_of(api, other["id"]) == []
