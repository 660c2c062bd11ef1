"""What a provider last said of somebody: sealed, short, without secrets, for whoever decides about its mapping."""

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.directory.conftest import Configure, Describe, Person

from watchword_directory.last_claims import MAX_BYTES, REDACTED, bounded
from watchword_directory.sweeper import sweep
from watchword_events.names import Service
from watchword_policy.administration import opens
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
# Claims as providers write them, and what of them may be kept.
SECRETS: dict[str, tuple[object, object]] = {
    "access_token": ("plain-looking", REDACTED),
    "refreshToken": ("plain-looking", REDACTED),
    "client_secret": ("plain-looking", REDACTED),
    "password": ("plain-looking", REDACTED),
    "userPassword": ({"value": "plain-looking"}, REDACTED),
    "saml_assertion": ("<Assertion/>", REDACTED),
    "a JWT": (JWT, REDACTED),
    "a JWT in a text": (f"Bearer {JWT}", REDACTED),
    "an encrypted JWT": ("eyJhbGciOiJkaXIifQ..aXY.dGV4dA.dGFn", REDACTED),
    "a key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", REDACTED),
    "one of GitHub": ("gho_16C7e42F292c6912E7710c838347Ae178B4a", REDACTED),
    "a link": ("https://graph.example/me/photo?access_token=abc", REDACTED),
    "a signed link": ("https://img.example/a.png?Expires=1&Signature=abc", REDACTED),
    "in a list": ([["ops", JWT]], [["ops", REDACTED]]),
    # OpenID Connect Core 5.6.2.2: a distributed claim brings the token with which it is asked for.
    "_claim_sources": (
        {"src1": {"endpoint": "https://graph.example/groups", "access_token": "plain-looking"}, "src2": {"JWT": "x"}},
        {"src1": {"endpoint": "https://graph.example/groups", "access_token": REDACTED}, "src2": {"JWT": REDACTED}},
    ),
    "groups": (["ops", "writers"], ["ops", "writers"]),
    "picture": ("https://img.example/a.png?size=64", "https://img.example/a.png?size=64"),
    "realm_access": ({"roles": ["admin"]}, {"roles": ["admin"]}),
    "numbers": ([1, 2.5, True, None], [1, 2.5, True, None]),
}


@pytest.mark.row(55)
@pytest.mark.parametrize(("name", "claim"), SECRETS.items(), ids=SECRETS)
def test_nothing_that_opens_anything_is_kept(name: str, claim: tuple[object, object]) -> None:
    said, kept = claim
    assert bounded({name: said}).claims == {name: kept}  # type: ignore[dict-item]


LONG: dict[str, dict[str, object]] = {
    "many groups": {"groups": [f"group-{number:05}" for number in range(10_000)]},
    "one long text": {"note": "x" * MAX_BYTES},
    "many claims": {f"claim-{number}": "x" * 100 for number in range(2_000)},
    "long names": {"n" * 100_000: 1},
    "deep": {"deep": json.loads("[" * 60 + "]" * 60)},
    "letters of several bytes": {"groups": ["Größe" * 10] * 1_000},
    "escapes": {"groups": ['"\\\n' * 10] * 2_000},
}


@pytest.mark.row(45)
@pytest.mark.parametrize("claims", LONG.values(), ids=LONG)
def test_what_is_kept_is_short_and_says_what_was_cut(claims: dict[str, object]) -> None:
    kept = bounded({"sub": "248289761001", "email": "jane@example.com", **claims})  # type: ignore[dict-item]
    assert len(kept.model_dump_json(include={"claims"}).encode()) <= MAX_BYTES + 100
    assert len(kept.model_dump_json().encode()) <= 3 * MAX_BYTES
    assert kept.claims["sub"] == "248289761001"
    assert kept.claims["email"] == "jane@example.com"
    assert bool(kept.cut) is ("deep" not in claims)


def test_of_a_long_list_the_first_items_are_kept() -> None:
    groups = [f"group-{number:05}" for number in range(10_000)]
    kept = bounded({"groups": list(groups)})
    first = kept.claims["groups"]
    assert isinstance(first, list)
    assert len(first) > 500
    assert first == groups[: len(first)]
    assert kept.cut == ("groups",)


@pytest.mark.seed(103)
async def test_an_administrator_reads_what_was_said_at_the_last_sign_in(
    people: Callable[[], Person], identity: Describe, api: Api
) -> None:
    first, later = people(), people()
    asserted = identity(claims={"department": "Ops", "groups": ["writers"], "access_token": "not-to-be-seen"})
    signed_in = await first.signed_in(await first.arrive(asserted))
    (link,) = (await api.get("/identities", user_id=signed_in.user_id))["items"]
    said = await api.get(f"/identities/{link['id']}/claims")
    assert said["claims"] == {
        "iss": asserted.issuer,
        "sub": asserted.subject,
        "department": "Ops",
        "groups": ["writers"],
        "access_token": REDACTED,
    }
    assert (said["user_id"], said["provider_id"], said["cut"]) == (signed_in.user_id, asserted.provider_id, [])
    await later.signed_in(await later.arrive(asserted.model_copy(update={"claims": {"department": "Sales"}})))
    again = await api.get(f"/identities/{link['id']}/claims")
    assert again["claims"]["department"] == "Sales"
    assert "groups" not in again["claims"]
    assert again["said_at"] > said["said_at"]


async def test_it_is_kept_also_when_the_mapping_turned_the_person_away(
    people: Callable[[], Person], identity: Describe, configure: Configure, api: Api
) -> None:
    """Just then somebody asks why."""
    rule = {"name": "staff", "expression": "'staff' in groups", "roles": []}
    provider = await configure(role_mapping={"rules": [rule], "strict": True})
    first, later = people(), people()
    asserted = identity(provider_id=provider, claims={"groups": ["staff"]})
    signed_in = await first.signed_in(await first.arrive(asserted))
    refused = await later.arrive(asserted.model_copy(update={"claims": {"groups": ["staf"]}}))
    assert refused.error == "access_denied"
    (link,) = (await api.get("/identities", user_id=signed_in.user_id))["items"]
    assert (await api.get(f"/identities/{link['id']}/claims"))["claims"]["groups"] == ["staf"]


@pytest.mark.row(57)
async def test_it_stands_sealed_and_goes_with_its_time_the_identity_or_the_provider(
    platform: Platform, people: Callable[[], Person], identity: Describe, configure: Configure, api: Api
) -> None:
    directory = platform.database.open(Service.DIRECTORY, pool_size=2)
    marker = f"marker{secrets.token_hex(8)}"

    async def arrived(provider: str) -> dict[str, object]:
        person = people()
        asserted = identity(provider_id=provider, claims={"department": marker})
        signed_in = await person.signed_in(await person.arrive(asserted))
        (link,) = (await api.get("/identities", user_id=signed_in.user_id))["items"]
        await api.get(f"/identities/{link['id']}/claims")
        return link

    async def is_kept(link: dict[str, object]) -> bool:
        found = await directory.ask("SELECT true FROM directory.identity_claims WHERE identity_id = $1", link["id"])
        return found is not None

    provider, other = await configure(), await configure()
    old, unlinked, gone, removed = [await arrived(each) for each in (provider, provider, provider, other)]
    sealed = await directory.ask("SELECT sealed FROM directory.identity_claims WHERE identity_id = $1", old["id"])
    assert isinstance(sealed, bytes)
    assert marker.encode() not in sealed

    await api.change(f"/users/{unlinked['user_id']}", password=secrets.token_urlsafe(20))
    await api.delete(f"/identities/{unlinked['id']}")
    await api.delete(f"/users/{gone['user_id']}")
    assert not await is_kept(unlinked)
    assert not await is_kept(gone)

    await api.delete(f"/providers/{other}")
    async with asyncio.timeout(10):
        while (await api.call("GET", f"/identities/{removed['id']}/claims")).status_code != 404:
            await asyncio.sleep(0.05)
    await sweep(directory, now=utc_now() + timedelta(days=29))
    assert await is_kept(old)
    assert not await is_kept(removed)
    await sweep(directory, now=utc_now() + timedelta(days=31))
    assert not await is_kept(old)
    assert (await api.call("GET", f"/identities/{old['id']}/claims")).status_code == 404
    assert (await api.call("GET", "/identities/nobody/claims")).status_code == 404
    await directory.dispose()


# Who may read what providers say of people: whoever decides what is made of it.
READERS = {"administrator": True, "owner": True, "auditor": False, "help-desk": False}


@pytest.mark.row(58)
@pytest.mark.parametrize(("role", "may"), READERS.items(), ids=READERS)
def test_it_is_read_by_who_decides_about_mappings(role: str, may: bool) -> None:
    assert opens([role], "GET", "/api/v1/identities/{identity_id}/claims") is may


async def test_the_console_shows_it_and_tries_other_rules_with_it(
    platform: Platform, canary: Canary, people: Callable[[], Person], identity: Describe, configure: Configure, api: Api
) -> None:
    provider = await configure(role_mapping={"rules": [{"name": "ops", "expression": "'ops' in groups", "roles": []}]})
    person = people()
    asserted = identity(
        provider_id=provider, claims={"department": "<b>Ops</b>", "groups": [f"g-{n:04}" for n in range(3_000)]}
    )
    signed_in = await person.signed_in(await person.arrive(asserted))
    (link,) = (await api.get("/identities", user_id=signed_in.user_id))["items"]
    async with platform.browser(canary) as browser:
        await browser.open(f"{platform.issuer}/admin/users/{signed_in.user_id}")
        await browser.submit("username", "sign-in", username=platform.admin.username, password=platform.admin.password)
        await browser.open(f"{platform.issuer}/admin/users/{signed_in.user_id}")
        page = await browser.click(f"said-{link['id']}")
        assert page.status == 200, page.body
        assert "<b>Ops" not in page.body
        assert '"department"' in page.texts["claims"]
        assert page.texts["cut"] == "groups"
        assert "the one that is linked" in page.texts["mapping-outcome"]
        page = await browser.click("try-rules")
        assert json.loads(page.form_with("claims").fields["claims"])["department"] == "<b>Ops</b>"
        rule = {"role-0-expression": "claims.department == '<b>Ops</b>'", "role-0-given": "reader"}
        page = await browser.submit("claims", "try", **rule)
        assert page.status == 200, page.body
        assert "true of these claims" in page.body
        assert (await browser.open(f"{platform.issuer}/admin/users/x/identities/nobody")).status == 404
