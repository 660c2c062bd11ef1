"""Pairwise subjects: each sector's clients have a name of their own for a person, and it ends with the person."""

import asyncio
from typing import Any, Final

import pytest
from tests.token.conftest import App, Site

from watchword_events.contracts import ClientUpdated
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.ledger import entry_of
from watchword_token.pairwise import Names
from watchword_verifier import RevocationSet

SECTOR: Final = "app.example"


async def signed_in(site: Site, user: Any, **given: Any) -> tuple[App, dict[str, Any]]:
    app = await site.client(**{"sector": SECTOR, **given})
    return app, await site.sign_in(app, user)


@pytest.mark.spec("OpenID Connect Core 8.1")
@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
async def test_every_document_calls_the_person_by_the_sectors_name(site: Site, token_format: str) -> None:
    user = await site.user()
    app, tokens = await signed_in(site, user, access_token_format=token_format)
    subject = (await site.claims(tokens["id_token"]))["sub"]
    assert subject != user.id
    assert len(subject) == 43
    found = await site.introspect(app, tokens["access_token"])
    info = (await site.userinfo(tokens["access_token"])).json()
    about_refresh = await site.introspect(app, tokens["refresh_token"])
    assert found["sub"] == info["sub"] == about_refresh["sub"] == subject
    assert info["name"] == "Ada Lovelace"
    for document in (found, info, about_refresh, await site.claims(tokens["id_token"])):
        assert user.id not in str(document)
    refreshed = (
        await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="openid")
    ).json()
    assert (await site.claims(refreshed["id_token"]))["sub"] == subject
    _, again = await signed_in(site, user)
    assert (await site.claims(again["id_token"]))["sub"] == subject  # another client of the sector
    _, elsewhere = await signed_in(site, user, sector="other.example")
    assert (await site.claims(elsewhere["id_token"]))["sub"] not in (subject, user.id)
    _, someone = await signed_in(site, await site.user())
    assert (await site.claims(someone["id_token"]))["sub"] != subject


async def test_a_client_acting_for_itself_is_called_by_its_id(site: Site) -> None:
    app = await site.client(sector=SECTOR)
    assert (await site.claims(await site.machine_token(app)))["sub"] == app.id


async def test_whom_a_name_meant_before_a_back_up_came_back_is_not_remembered(site: Site) -> None:
    """Else it would count as recorded, in a table that does not have it any more: nothing would end such tokens."""
    names = Names(site.db(Service.TOKEN), b"k" * 32, site.feed)
    pool = await site.db(Service.TOKEN).raw_pool()
    await pool.execute(
        "INSERT INTO token.pairwise_subjects (subject, sector, user_id) VALUES ('known', 'a.example', 'ada')"
    )
    async with site.database.postgres.admin(site.database.name) as admin:
        async with admin.transaction():
            await admin.execute("LOCK TABLE token.pairwise_subjects IN ACCESS EXCLUSIVE MODE")
            asking = asyncio.create_task(names.user_of("known"))
            await asyncio.sleep(0.2)
            site.feed._on_epoch[-1]()
        assert await asking == "ada"
        assert "known" not in names._users
        assert await names.user_of("known") == "ada"
        assert "known" in names._users


async def is_live(site: Site, app: App, tokens: dict[str, Any]) -> list[bool]:
    """At introspection, at userinfo, and for a verifier that reads nothing but the table."""
    async with site.database.postgres.admin(site.database.name) as connection:
        rows = await connection.fetch("SELECT * FROM bus.revocations WHERE position IS NOT NULL ORDER BY position")
        head = await connection.fetchval("SELECT position FROM bus.ledger")
    verifier = RevocationSet(tokens_only=True)
    verifier.load([entry_of(row) for row in rows], head)
    claims = await site.claims(tokens["access_token"])
    return [
        await site.is_active(app, tokens["access_token"]),
        (await site.userinfo(tokens["access_token"])).status_code == 200,
        verifier.is_live(claims),
    ]


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        (RevocationKind.CUT, Service.AUTHZ),
        (RevocationKind.CUT, Service.TOKEN),
        (RevocationKind.STATE, Service.DIRECTORY),
    ],
)
async def test_what_ends_the_person_ends_tokens_with_the_name(site: Site, kind: RevocationKind, by: Service) -> None:
    user, other = await site.user(), await site.user()
    app, tokens = await signed_in(site, user)
    elsewhere, others = await signed_in(site, user, sector="other.example")
    app_of_other, tokens_of_other = await signed_in(site, other)
    assert await is_live(site, app, tokens) == [True] * 3
    await site.revoke(Claim.SUB, user.id, kind=kind, by=by)  # back when this instance has applied the entry
    assert await is_live(site, app, tokens) == [False] * 3
    assert await is_live(site, elsewhere, others) == [False] * 3
    assert await is_live(site, app_of_other, tokens_of_other) == [True] * 3
    refused = await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"


async def test_what_is_lifted_leaves_old_tokens_dead_and_new_ones_alive(site: Site) -> None:
    user = await site.user()
    app, tokens = await signed_in(site, user)
    for kind in (RevocationKind.STATE, RevocationKind.LIFT):
        await site.revoke(Claim.SUB, user.id, kind=kind, by=Service.DIRECTORY)
    assert await is_live(site, app, tokens) == [False] * 3
    fresh = await site.sign_in(app, user)
    assert await is_live(site, app, fresh) == [True] * 3


async def test_names_are_numbered_before_what_ends_the_person(site: Site) -> None:
    user = await site.user()
    _, tokens = await signed_in(site, user)
    subject = (await site.claims(tokens["id_token"]))["sub"]
    await site.revoke(Claim.SUB, user.id, by=Service.AUTHZ)
    async with site.database.postgres.admin(site.database.name) as connection:
        rows = await connection.fetch(
            "SELECT value, position, kind, reason FROM bus.revocations WHERE value = ANY ($1) ORDER BY position",
            [user.id, subject],
        )
    assert [row["value"] for row in rows] == [subject, user.id]
    assert rows[1]["position"] == rows[0]["position"] + 1
    assert {(row["kind"], row["reason"]) for row in rows} == {("cut", "test")}


async def test_nobody_slips_through_between_the_look_and_the_record(site: Site) -> None:
    """Sign-ins in many sectors while the person is ended: what comes out alive afterwards is none."""
    for _ in range(3):
        user = await site.user()
        apps = [await site.client(sector=f"s{n}.example") for n in range(8)]
        codes = [await site.code(app, user) for app in apps]
        asking = [asyncio.create_task(site.redeem(app, code)) for app, code in zip(apps, codes, strict=True)]
        await asyncio.sleep(0.005)
        await site.revoke(Claim.SUB, user.id, by=Service.AUTHZ)
        for app, answer in zip(apps, await asyncio.gather(*asking), strict=True):
            if answer.status_code == 200:
                assert await is_live(site, app, answer.json()) == [False] * 3
            else:
                assert answer.json()["error"] == "invalid_grant", answer.text


async def test_a_token_that_a_client_gives_back_is_told_of_by_the_persons_id(site: Site) -> None:
    user = await site.user()
    app, tokens = await signed_in(site, user)
    assert (await site.post("/oauth2/revoke", app, {"token": tokens["access_token"]})).status_code == 200
    assert (await site.events("token.revoked"))[-1]["user_id"] == user.id


async def test_a_name_that_no_token_carried_means_nobody(site: Site) -> None:
    user = await site.user()
    app = await site.client()
    tokens = await site.sign_in(app, user)
    await site.client(version=2, client_id=app.id, sector=SECTOR, secret=app.secret)
    await site.publish(ClientUpdated(id=app.id, version=2))
    async with asyncio.timeout(30):
        while (await site.userinfo(tokens["access_token"])).status_code != 401:
            await asyncio.sleep(0.05)
