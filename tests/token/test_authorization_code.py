"""authorization_code: a code becomes a grant, once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.token.conftest import CALLBACK, ISSUER, VERIFIER, Site, instance

from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind


@pytest.mark.spec("RFC 6749 4.1.4")
@pytest.mark.spec("OpenID Connect Core 3.1.3.3; RFC 6749 4.1; RFC 7636 4.4")
async def test_a_code_becomes_tokens(site: Site) -> None:
    app, user = await site.client(), await site.user(email="ada@example.test", email_verified=True)
    sid, gid = new_id(), new_id()
    answer = await site.redeem(app, await site.code(app, user, sid=sid, gid=gid, idp="acme"))
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert body["scope"] == "openid profile email"
    assert answer.headers["cache-control"] == "no-store"
    access = await site.claims(body["access_token"])
    assert access["sub"] == user.id
    assert access["client_id"] == app.id
    assert access["aud"] == [app.id, ISSUER]
    assert (access["gid"], access["sid"], access["idp"]) == (gid, sid, "acme")
    identity = await site.claims(body["id_token"])
    assert (identity["iss"], identity["aud"], identity["sub"]) == (ISSUER, app.id, user.id)
    assert (identity["nonce"], identity["sid"], identity["amr"]) == ("a-nonce", sid, ["pwd"])
    assert identity["auth_time"] == access["auth_time"]
    assert (identity["name"], identity["email"]) == ("Ada Lovelace", "ada@example.test")


@pytest.mark.row(5)
@pytest.mark.spec("RFC 6749 4.1.3")
@pytest.mark.spec("RFC 7636 4.6")
@pytest.mark.spec("RFC 9700 2.1.1")
@pytest.mark.parametrize(
    ("code", "form", "error"),
    [
        pytest.param({}, {"code": None}, "invalid_request", id="no code"),
        pytest.param({}, {"code": "x" * 43}, "invalid_grant", id="unknown code"),
        pytest.param({}, {"code": "short"}, "invalid_grant", id="malformed code"),
        pytest.param({}, {"code": "x" * 10_000}, "invalid_grant", id="a very long code"),
        pytest.param({}, {"redirect_uri": None}, "invalid_grant", id="no redirect URI"),
        pytest.param({}, {"redirect_uri": CALLBACK + "/"}, "invalid_grant", id="another redirect URI"),
        pytest.param(
            {"redirect_uri_given": False}, {"redirect_uri": "https://x.test"}, "invalid_grant", id="unasked other URI"
        ),
        pytest.param({}, {"code_verifier": None}, "invalid_grant", id="no verifier"),
        pytest.param({}, {"code_verifier": "w" * 43}, "invalid_grant", id="wrong verifier"),
        pytest.param({}, {"code_verifier": VERIFIER[:42]}, "invalid_grant", id="verifier too short"),
        pytest.param({}, {"code_verifier": VERIFIER + "=" * 90}, "invalid_grant", id="verifier too long"),
        pytest.param({"code_challenge": None}, {}, "invalid_grant", id="a verifier without a challenge"),
        pytest.param({"code_challenge": VERIFIER}, {}, "invalid_grant", id="a plain challenge"),
        pytest.param({}, {"resource": "https://x.test"}, "invalid_target", id="a resource of nobody"),
        pytest.param({"ttl": timedelta(seconds=-1)}, {}, "invalid_grant", id="expired"),
        pytest.param({"user_id": "01a20592-0000-7000-8000-000000000000"}, {}, "invalid_grant", id="nobody"),
    ],
)
@pytest.mark.spec("RFC 9700 2.1.1, 4.8.2")
async def test_attempts_that_must_be_refused_and_cost_nothing(
    site: Site, code: dict[str, Any], form: dict[str, Any], error: str
) -> None:
    app, user = await site.client(), await site.user()
    good = await site.code(app, user, **code)
    refused = await site.redeem(app, good, **form)
    assert refused.status_code == 400
    assert refused.json()["error"] == error
    if not code:
        assert (await site.redeem(app, good)).status_code == 200


async def test_a_person_who_may_not_use_the_client_gets_nothing(site: Site) -> None:
    app = await site.client(required_permission="orders.read", organization="acme")
    within = [{"organization": "acme", "permissions": ["orders.read"]}]
    rows = ((within, 200), ([within[0] | {"organization": "other"}], 400), ([], 400))
    for organizations, status in rows:
        user = await site.user(organizations=organizations)
        answer = await site.redeem(app, await site.code(app, user))
        assert answer.status_code == status, answer.text
        assert status == 200 or answer.json()["error"] == "invalid_grant"


async def test_a_disabled_person_gets_nothing(site: Site) -> None:
    app, user = await site.client(), await site.user(active=False)
    assert (await site.redeem(app, await site.code(app, user))).json()["error"] == "invalid_grant"


@pytest.mark.row(5)
@pytest.mark.spec("RFC 6749 10.5")
async def test_a_public_client_needs_pkce_and_no_secret(site: Site) -> None:
    app, user = await site.client(token_endpoint_auth_method="none"), await site.user()
    assert (await site.redeem(app, await site.code(app, user))).status_code == 200
    without = await site.code(app, user, code_challenge=None)
    refused = await site.redeem(app, without, code_verifier=None)
    assert refused.json()["error"] == "invalid_grant"


async def test_a_redirect_uri_that_was_left_out_may_be_left_out_again(site: Site) -> None:
    app, user = await site.client(), await site.user()
    code = await site.code(app, user, redirect_uri_given=False)
    assert (await site.redeem(app, code, redirect_uri=None)).status_code == 200


@pytest.mark.row(7)
async def test_another_clients_attempt_consumes_and_ends_nothing(site: Site) -> None:
    app, thief, user = await site.client(), await site.client(), await site.user()
    code = await site.code(app, user)
    assert (await site.redeem(thief, code)).json()["error"] == "invalid_grant"
    tokens = (await site.redeem(app, code)).json()
    assert (await site.redeem(thief, code)).json()["error"] == "invalid_grant"
    assert await site.is_active(app, tokens["access_token"])


@pytest.mark.row(6)
@pytest.mark.spec("RFC 6749 4.1.2")
async def test_second_use_of_a_code_revokes_its_tokens(site: Site) -> None:
    app, user = await site.client(), await site.user()
    code = await site.code(app, user, gid=(gid := new_id()))
    tokens = (await site.redeem(app, code)).json()
    assert await site.is_active(app, tokens["access_token"])
    assert (await site.redeem(app, code)).json()["error"] == "invalid_grant"
    assert not await site.is_active(app, tokens["access_token"])
    assert (await site.userinfo(tokens["access_token"])).status_code == 401
    refused = await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
    revoked = [event for event in await site.events("grant.revoked") if event["id"] == gid]
    assert [event["reason"] for event in revoked] == ["code-reuse"]


async def test_a_replay_without_the_verifier_still_revokes(site: Site) -> None:
    app = await site.client(token_endpoint_auth_method="none")
    code = await site.code(app, await site.user())
    tokens = (await site.redeem(app, code)).json()
    await site.redeem(app, code, code_verifier=None)
    assert (await site.userinfo(tokens["access_token"])).status_code == 401


async def test_a_replay_is_recognised_after_the_hand_over_was_swept_away(site: Site) -> None:
    app = await site.client()
    code = await site.code(app, await site.user())
    tokens = (await site.redeem(app, code)).json()
    async with site.database.postgres.admin(site.database.name) as connection:
        await connection.execute("DELETE FROM bus.handover")
    assert (await site.redeem(app, code)).json()["error"] == "invalid_grant"
    assert not await site.is_active(app, tokens["access_token"])


@pytest.mark.row(6)
@pytest.mark.spec("RFC 6749 10.5")
async def test_of_50_parallel_redemptions_one_succeeds_and_then_its_tokens_are_dead(site: Site) -> None:
    """Over two instances that agree through PostgreSQL alone."""
    app, user = await site.client(), await site.user()
    gid = new_id()
    code = await site.code(app, user, gid=gid)
    async with instance(site.database, site.nats_url, site.clock, site.canary, owners=site.owners) as second:
        sites = (site, second)
        answers = await asyncio.gather(*[sites[n % 2].redeem(app, code) for n in range(50)])
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] + [400] * 49
        assert {a.json()["error"] for a in answers if a.status_code == 400} == {"invalid_grant"}
        tokens = next(answer.json() for answer in answers if answer.status_code == 200)
        for each in sites:
            async with asyncio.timeout(30):
                while await each.is_active(app, tokens["access_token"]):
                    await asyncio.sleep(0.02)
            refused = await each.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
            assert refused.json()["error"] == "invalid_grant"
    assert len([event for event in await site.events("grant.revoked") if event["id"] == gid]) == 1


CAUSES = [
    pytest.param(Claim.SUB, RevocationKind.STATE, Service.DIRECTORY, id="user disabled"),
    pytest.param(Claim.SUB, RevocationKind.CUT, Service.AUTHZ, id="signed out everywhere"),
    pytest.param(Claim.SID, RevocationKind.CUT, Service.AUTHZ, id="session ended"),
    pytest.param(Claim.GID, RevocationKind.CUT, Service.AUTHZ, id="consent withdrawn"),
    pytest.param(Claim.CLIENT_ID, RevocationKind.STATE, Service.ADMIN, id="client disabled"),
    pytest.param(Claim.IDP, RevocationKind.STATE, Service.ADMIN, id="provider distrusted"),
]


def value_of(claim: Claim, lineage: dict[str, str]) -> str:
    return lineage[claim.value]


@pytest.mark.parametrize(("claim", "kind", "by"), CAUSES)
async def test_what_was_ended_after_the_sign_in_ends_the_code(
    site: Site, claim: Claim, kind: RevocationKind, by: Service
) -> None:
    app, user = await site.client(), await site.user()
    lineage = {"sub": user.id, "sid": new_id(), "gid": new_id(), "client_id": app.id, "idp": f"idp-{new_id()}"}
    code = await site.code(app, user, sid=lineage["sid"], gid=lineage["gid"], idp=lineage["idp"])
    await site.revoke(claim, value_of(claim, lineage), kind=kind, by=by)
    answer = await site.redeem(app, code)
    assert answer.json()["error"] in {"invalid_grant", "invalid_client"}


async def test_a_session_bound_grant_ends_with_the_session(site: Site) -> None:
    app, user = await site.client(access_token_lifetime_s=3600), await site.user()
    ends = site.clock() + timedelta(seconds=90)
    body = (await site.redeem(app, await site.code(app, user, session_expires_at=ends))).json()
    assert body["expires_in"] in {89, 90}


async def test_an_offline_grant_does_not_descend_from_the_session(site: Site) -> None:
    app, user, sid = await site.client(access_token_lifetime_s=3600), await site.user(), new_id()
    scope = ("openid", "offline_access")
    ends = site.clock() + timedelta(seconds=90)
    code = await site.code(app, user, sid=sid, scope=scope, session_expires_at=ends)
    body = (await site.redeem(app, code)).json()
    assert body["expires_in"] == 3600
    assert "sid" not in await site.claims(body["access_token"])
    assert (await site.claims(body["id_token"]))["sid"] == sid
    await site.revoke(Claim.SID, sid, by=Service.AUTHZ)
    assert await site.is_active(app, body["access_token"])
    refreshed = await site.token(app, grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert refreshed.status_code == 200


async def test_without_the_grant_type_there_is_no_refresh_token(site: Site) -> None:
    app = await site.client(grant_types=["authorization_code"])
    assert "refresh_token" not in await site.sign_in(app)


async def test_without_openid_there_is_no_id_token_and_no_userinfo(site: Site) -> None:
    app = await site.client()
    body = await site.sign_in(app, scope=("read",))
    assert "id_token" not in body
    assert (await site.claims(body["access_token"]))["aud"] == app.id
    assert (await site.userinfo(body["access_token"])).status_code in {401, 403}


@pytest.mark.row(23)
async def test_what_is_granted_is_within_client_and_person(site: Site) -> None:
    app = await site.client(scope=["openid", "watchword:admin"])
    asked = ("openid", "profile", "watchword:admin")
    plain = await site.sign_in(app, scope=asked)
    assert plain["scope"] == "openid"
    administrator = await site.user(roles=["administrator"])
    assert (await site.sign_in(app, administrator, scope=asked))["scope"] == "openid watchword:admin"


async def test_an_instance_that_lags_behind_the_code_catches_up_before_it_mints(site: Site) -> None:
    """A code decided after a cut must not become a token that this cut kills."""
    app, user = await site.client(), await site.user()
    await site.revoke(Claim.SUB, user.id, by=Service.AUTHZ)
    ahead = site.feed.position + 1
    code = await site.code(app, user, rev=ahead)
    redeeming = asyncio.create_task(site.redeem(app, code))
    await asyncio.sleep(0.1)
    assert not redeeming.done()
    await site.revoke(Claim.SUB, new_id(), by=Service.AUTHZ)
    body = (await redeeming).json()
    assert (await site.claims(body["access_token"]))["rev"] >= ahead
    assert await site.is_active(app, body["access_token"])


async def test_an_instance_that_cannot_catch_up_says_try_again(site: Site) -> None:
    app, user = await site.client(), await site.user()
    code = await site.code(app, user, rev=site.feed.position + 5)
    assert (await site.redeem(app, code)).status_code == 503
