"""Idle clients that nobody vouches for are cleared away; whoever has a live grant is spared."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.admin.registration.conftest import REDIRECT_URI, Stranger, sql, until_it_is_on

from watchword.composition import settings_of
from watchword_admin.registration.reaper import Reaper
from watchword_events.names import Service
from watchword_runtime.internal import Unreachable
from watchword_runtime.receipts import Endings
from watchword_testkit.api import Api
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.web import Site

IDLE = timedelta(days=30)


def reaper_of(site: Platform, *, later: timedelta = timedelta(0)) -> Reaper:
    """A reaper of its own, some time from now."""
    assert site.process is not None
    shared = site.process.shared
    settings = settings_of(Service.ADMIN, site.site.settings(site.issuer, {})[Service.ADMIN])
    database = site.database.open(Service.ADMIN)
    return Reaper(
        database,
        shared.internal.of(settings, Service.ADMIN),
        shared.feed,
        Endings(shared.feed, database),
        idle=IDLE,
        now=lambda: datetime.now(UTC) + later,
    )


@pytest.fixture
async def old(site: Platform) -> None:
    """What the tests before left behind is in use, as far as is known."""
    await sql(site, "UPDATE admin.clients SET used_at = now() + interval '100 days' WHERE kind <> 'registered'")


async def age(site: Platform, *client_ids: object) -> None:
    """The clients were made long ago, and never used since."""
    long_ago = "now() - interval '31 days'"
    ids = [str(each) for each in client_ids]
    await sql(site, f"UPDATE admin.clients SET created_at = {long_ago}, used_at = NULL WHERE id = ANY($1)", ids)


@pytest.mark.usefixtures("old")
async def test_who_is_idle_goes_and_who_has_a_live_grant_stays(site: Platform, stranger: Stranger, admin: Api) -> None:
    idle, used, fresh = [await stranger.register(token_endpoint_auth_method="none") for _ in range(3)]
    by_hand = await admin.create("/clients", client_name="By hand", redirect_uris=[REDIRECT_URI])
    party = Party(site.issuer, str(used["client_id"]), None, REDIRECT_URI, "none", (site.canary,))
    async with site.browser() as browser:
        tokens = await SignIn(browser, party).with_password(site.admin.username, site.admin.password)
    await age(site, idle["client_id"], used["client_id"], by_hand["client_id"])

    assert await reaper_of(site).reap() == [idle["client_id"]]
    assert (await stranger.manage("GET", idle)).status_code == 401
    assert (await admin.call("GET", f"/clients/{idle['client_id']}")).status_code == 404
    for each in (used, fresh):
        assert (await stranger.manage("GET", each)).status_code == 200
    assert (await admin.get(f"/clients/{by_hand['client_id']}"))["client_name"] == "By hand"
    assert (await party.userinfo(tokens["access_token"])).status_code == 200
    assert (await admin.get(f"/clients/{used['client_id']}"))["used_at"] is not None

    # Its grant was revoked: nothing of it is live, but it was used a moment ago. A month later it is idle as well.
    await sql(site, "UPDATE token.grants SET revoked_at = now() WHERE client_id = $1", used["client_id"])
    assert await reaper_of(site).reap() == []
    assert used["client_id"] in await reaper_of(site, later=IDLE + timedelta(hours=1)).reap()


@pytest.mark.usefixtures("old")
async def test_who_was_switched_off_stays_switched_off(site: Platform, stranger: Stranger, admin: Api) -> None:
    made = await stranger.register()
    await admin.change(f"/clients/{made['client_id']}", enabled=False)
    await age(site, made["client_id"])
    assert await reaper_of(site).reap() == []


@pytest.mark.usefixtures("old")
async def test_who_acts_for_itself_leaves_no_grants_and_stays(site: Platform, admin: Api, stranger: Stranger) -> None:
    token = await admin.create("/registration-tokens", name="Machines", grant_types=["client_credentials"])
    program = Stranger(site.issuer, str(token["token"]), stranger.canaries)
    made = await program.register(grant_types=["client_credentials"], response_types=[])
    await program.http.aclose()
    await age(site, made["client_id"])
    assert await reaper_of(site).reap() == []


@pytest.mark.usefixtures("old")
async def test_a_document_that_nobody_uses_goes_and_may_come_again(site: Platform, web: Site) -> None:
    path = f"/{secrets.token_hex(4)}.json"
    url = web.put(path, {"client_id": f"{web.url}{path}", "client_name": "Doc", "redirect_uris": [REDIRECT_URI]})
    party = Party(site.issuer, url, None, REDIRECT_URI, "none")
    async with site.browser() as browser:
        assert (await SignIn(browser, party).start()).has("username")
    await age(site, url)
    assert await reaper_of(site).reap() == [url]
    await until_it_is_on(site, url)
    async with site.browser() as browser:
        tokens = await SignIn(browser, party).with_password(site.admin.username, site.admin.password)
    assert (await party.userinfo(tokens["access_token"])).status_code == 200


@pytest.mark.usefixtures("old")
async def test_nothing_goes_while_token_cannot_be_asked(site: Platform, stranger: Stranger) -> None:
    made = await stranger.register()
    await age(site, made["client_id"])
    reaper = reaper_of(site)
    assert site.process is not None
    apps = site.process.shared.internal._apps
    away = apps.pop(Service.TOKEN)  # type: ignore[attr-defined]  # a dict, so far as this test knows
    try:
        with pytest.raises(Unreachable):
            await reaper.reap()
    finally:
        apps[Service.TOKEN] = away  # type: ignore[index]
    assert (await stranger.manage("GET", made)).status_code == 200


async def test_initial_tokens_that_are_long_over_are_forgotten(site: Platform, admin: Api) -> None:
    over, present = [await admin.create("/registration-tokens", name="Over") for _ in range(2)]
    await sql(
        site,
        "UPDATE admin.registration_tokens SET expires_at = now() - interval '31 days' WHERE id = $1",
        over["id"],
    )
    await reaper_of(site).reap()
    assert (await admin.call("GET", f"/registration-tokens/{over['id']}")).status_code == 404
    assert (await admin.call("GET", f"/registration-tokens/{present['id']}")).status_code == 200


async def test_an_initial_token_ends_with_everything_that_was_given_out(
    postgres: Postgres, database_template: Template, tmp_path: Path
) -> None:
    """Also when the ledger has forgotten what ended it, and not with what was given out before it."""
    async with (
        prepared(postgres, database_template, tmp_path) as made,
        in_this_process(made, registration="token") as own,
    ):
        api = own.api()
        token = await api.create("/registration-tokens", name="Before", uses=10)
        program = Stranger(own.issuer, str(token["token"]), (own.canary,))
        await api.create("/revocations", claim="all", issued_before=(datetime.now(UTC) - timedelta(days=1)).isoformat())
        client = await program.register()
        assert (await api.get(f"/registration-tokens/{token['id']}"))["revoked_at"] is None
        await api.create("/revocations", claim="all")
        await api.close()
        refused = await program.try_to_register()
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
        assert (await program.manage("GET", client)).status_code == 200, "a client's own secrets are its own"
        await program.http.aclose()
        await reaper_of(own).reap()
        await sql(own, "DELETE FROM bus.revocations")
        (row,) = await sql(own, "SELECT revoked_at, uses_left FROM admin.registration_tokens")
        assert row["revoked_at"] is not None
        assert row["uses_left"] == 9
