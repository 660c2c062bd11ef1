"""token-exchange: for less, for somebody else, in another's name; by policy only (threat 22)."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from tests.token.conftest import ISSUER, MASTER, App, Site
from tests.token.test_resources import known_to

from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.keyring import Keyring, derive_service_keys
from watchword_testkit.clock import TestClock
from watchword_token.keys import Keys
from watchword_token.tokens import compact

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS, ID, JWT = f"{TYPE}access_token", f"{TYPE}id_token", f"{TYPE}jwt"
BILLING = "https://billing.example.test"


def policy(**given: Any) -> dict[str, Any]:
    return {"audiences": [BILLING], "scope": ["read", "write", "openid"], **given}


async def exchanger(site: Site, *policies: dict[str, Any], **given: Any) -> App:
    """A client that may exchange tokens: by one ordinary policy unless others are given."""
    found = policies or (policy(),)
    return await site.client(**{"grant_types": [GRANT, "client_credentials"], "exchange_policies": found, **given})


async def signed_in(site: Site, shop: App, **given: Any) -> dict[str, Any]:
    """What an application got for somebody, meant for the exchanging client as well."""
    return await site.sign_in(shop, **{"scope": ("openid", "read"), **given})


async def exchange(site: Site, app: App, token: str, **form: str) -> dict[str, Any]:
    """The answer to an exchange, with its status."""
    asked = {"subject_token": token, "subject_token_type": ACCESS, **form}
    answer = await site.token(app, grant_type=GRANT, **asked)
    assert answer.headers["cache-control"] == "no-store"
    return {"status": answer.status_code, **answer.json()}


async def pair(site: Site, *policies: dict[str, Any], **given: Any) -> tuple[App, App]:
    """A client that exchanges, and a shop whose tokens are meant for it."""
    app = await exchanger(site, *policies, **given)
    return app, await site.client(audience=[app.id])


@pytest.mark.spec("RFC 8693 2.1, 2.2, 2.2.1")
async def test_a_token_becomes_one_for_another_audience_with_less(site: Site) -> None:
    app, shop = await pair(site)
    user, gid, sid = await site.user(), new_id(), new_id()
    tokens = await signed_in(site, shop, user=user, gid=gid, sid=sid, idp="acme", scope=("openid", "read", "write"))
    said = await exchange(site, app, tokens["access_token"], audience=BILLING, scope="read")
    assert said["status"] == 200, said
    assert (said["issued_token_type"], said["token_type"], said["scope"]) == (ACCESS, "Bearer", "read")
    assert "refresh_token" not in said
    claims, before = await site.claims(said["access_token"]), await site.claims(tokens["access_token"])
    assert (claims["sub"], claims["client_id"], claims["aud"]) == (user.id, app.id, BILLING)
    assert (claims["gid"], claims["sid"], claims["idp"]) == (gid, sid, "acme")
    assert claims["via"] == [shop.id]
    assert claims["exp"] <= before["exp"]
    assert claims["jti"] != before["jti"]
    assert "act" not in claims


@pytest.mark.parametrize("kind", [ACCESS, JWT, ID])
@pytest.mark.spec("RFC 8693 3")
async def test_each_type_of_token_of_ours_may_be_the_subject(site: Site, kind: str) -> None:
    app, shop = await pair(site)
    app = shop if kind == ID else app
    if kind == ID:  # it is for the client that it was issued to
        app = shop = await exchanger(site, grant_types=[GRANT, "authorization_code"])
    tokens = await signed_in(site, shop)
    token = tokens["id_token" if kind == ID else "access_token"]
    said = await exchange(site, app, token, subject_token_type=kind, requested_token_type=JWT)
    assert said["status"] == 200, said
    assert said["issued_token_type"] == JWT
    claims = await site.claims(said["access_token"])
    assert claims["gid"] == (await site.claims(tokens["access_token"]))["gid"]
    assert set(said["scope"].split()) <= {"openid", "read"}


async def test_an_opaque_token_is_exchanged_as_well(site: Site) -> None:
    app = await exchanger(site)
    shop = await site.client(audience=[app.id], access_token_format="opaque")
    tokens = await signed_in(site, shop)
    assert tokens["access_token"].count(".") == 4
    assert (await exchange(site, app, tokens["access_token"]))["status"] == 200


@pytest.mark.spec("RFC 8693 1.1, 4.1")
async def test_who_acts_stands_in_the_token_before_those_who_acted_earlier(site: Site) -> None:
    first = await exchanger(site, policy(audiences=["next"], actor="required"))
    shop = await site.client(audience=[first.id])
    tokens = await signed_in(site, shop)
    acting = await site.machine_token(first)
    once = await exchange(site, first, tokens["access_token"], actor_token=acting, actor_token_type=ACCESS)
    assert (await site.claims(once["access_token"]))["act"] == {"sub": first.id}
    second = await exchanger(site, policy(actor="optional", subject_clients=[first.id]))
    acting = await site.machine_token(second)
    twice = await exchange(site, second, once["access_token"], actor_token=acting, actor_token_type=ACCESS)
    claims = await site.claims(twice["access_token"])
    assert claims["act"] == {"sub": second.id, "act": {"sub": first.id}}
    assert claims["via"] == [shop.id, first.id]
    without = await exchange(site, second, once["access_token"])
    assert (await site.claims(without["access_token"]))["act"] == {"sub": first.id}


@pytest.mark.row(22)
@pytest.mark.parametrize(
    ("given", "form", "error"),
    [
        pytest.param({}, {"subject_token": ""}, "invalid_request", id="no subject"),
        pytest.param({}, {"subject_token_type": ""}, "invalid_request", id="no subject type"),
        pytest.param({}, {"subject_token_type": f"{TYPE}saml2"}, "invalid_request", id="a type that is not taken"),
        pytest.param({}, {"subject_token_type": ID}, "invalid_request", id="an access token as ID token"),
        pytest.param({}, {"subject_token": "garbage"}, "invalid_request", id="garbage"),
        pytest.param({}, {"subject_token": "a.b.c"}, "invalid_request", id="dots"),
        pytest.param({}, {"subject_token": "x" * 20_000}, "invalid_request", id="a very long token"),
        pytest.param({}, {"subject_token": "x", "subject_token_type": JWT}, "invalid_request", id="no JWT"),
        pytest.param({}, {"actor_token_type": ACCESS}, "invalid_request", id="an actor's type without a token"),
        pytest.param({}, {"actor_token": "x"}, "invalid_request", id="an actor without a type"),
        pytest.param({}, {"requested_token_type": f"{TYPE}refresh_token"}, "invalid_request", id="a refresh token"),
        pytest.param({}, {"requested_token_type": ID}, "invalid_request", id="an ID token"),
        pytest.param({}, {"audience": "https://elsewhere.test"}, "invalid_target", id="an audience not listed"),
        pytest.param({}, {"resource": "https://elsewhere.test"}, "invalid_target", id="a resource not listed"),
        pytest.param({}, {"resource": "billing"}, "invalid_target", id="a relative resource"),
        pytest.param({}, {"resource": f"{BILLING}#x"}, "invalid_target", id="a resource with a fragment"),
        pytest.param({}, {"audience": BILLING, "resource": "https://x.test"}, "invalid_target", id="one of two"),
        pytest.param({"audiences": ["a", "b"]}, {}, "invalid_target", id="none named of two"),
        pytest.param({}, {"scope": "write"}, "invalid_scope", id="more than the subject"),
        pytest.param({"scope": ["openid"]}, {"scope": "read"}, "invalid_scope", id="more than the policy"),
        pytest.param({}, {"scope": "email"}, "invalid_scope", id="another scope"),
        pytest.param({}, {"scope": "watchword:admin"}, "invalid_scope", id="administration"),
        pytest.param({}, {"scope": 'read "'}, "invalid_scope", id="a malformed scope"),
        pytest.param({"actor": "required"}, {}, "invalid_request", id="no actor where one is needed"),
        pytest.param({"subject_clients": ["nobody"]}, {}, "invalid_request", id="a token of another client"),
    ],
)
@pytest.mark.spec("RFC 8693 2.1, 2.2.2; RFC 8707 2")
async def test_exchanges_that_are_refused(site: Site, given: dict[str, Any], form: dict[str, str], error: str) -> None:
    app, shop = await pair(site, policy(**given))
    token = (await signed_in(site, shop))["access_token"]
    asked = {"subject_token": token, "subject_token_type": ACCESS, **form}
    answer = await site.token(app, grant_type=GRANT, **{name: value for name, value in asked.items() if value})
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text


@pytest.mark.row(22)
@pytest.mark.spec("RFC 8693 5")
async def test_nothing_is_exchanged_without_a_policy_or_by_a_public_client(site: Site) -> None:
    bare = await site.client(grant_types=[GRANT])
    public = await exchanger(site, token_endpoint_auth_method="none", grant_types=[GRANT])
    without = await site.client(grant_types=["client_credentials"], exchange_policies=[policy()])
    for app, error in ((bare, "invalid_request"), (public, "unauthorized_client"), (without, "unauthorized_client")):
        token = (await signed_in(site, await site.client(audience=[app.id])))["access_token"]
        said = await exchange(site, app, token)
        assert (said["status"], said["error"]) == (400, error)


async def test_a_token_that_is_not_meant_for_the_client_is_not_its_to_exchange(site: Site) -> None:
    """Keycloak CVE-2022-1245: any client could exchange any other's tokens."""
    app = await exchanger(site)
    shop = await site.client()
    token = (await signed_in(site, shop))["access_token"]
    assert (await exchange(site, app, token))["error"] == "invalid_request"
    named = await exchanger(site, policy(subject_clients=[shop.id]))
    assert (await exchange(site, named, token))["status"] == 200
    other = (await signed_in(site, await site.client()))["access_token"]
    assert (await exchange(site, named, other))["error"] == "invalid_request"


async def test_several_audiences_are_named_together(site: Site) -> None:
    app, shop = await pair(site, policy(audiences=[BILLING, "ledger"]))
    token = (await signed_in(site, shop))["access_token"]
    form = [("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS), ("resource", BILLING)]
    body = urlencode([*form, ("audience", "ledger"), ("audience", BILLING), ("scope", "read")])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await site.http.post("/oauth2/token", content=body, auth=app.basic, headers=headers)
    assert answer.status_code == 200, answer.text
    assert (await site.claims(answer.json()["access_token"]))["aud"] == [BILLING, "ledger"]


async def test_what_an_audience_of_the_client_is_meant_for_is_meant_for_the_client(site: Site) -> None:
    app = await exchanger(site, audience=["https://orders.example.test"])
    shop = await site.client(audience=["https://orders.example.test"])
    assert (await exchange(site, app, (await signed_in(site, shop))["access_token"]))["status"] == 200


async def test_what_comes_out_is_as_its_audience_takes_it(site: Site) -> None:
    taker = await known_to(site, any_client=True, access_token_format="opaque", access_token_lifetime_s=77)
    app, shop = await pair(site, policy(audiences=[taker]))
    token = (await signed_in(site, shop))["access_token"]
    said = await exchange(site, app, token)
    assert (said["access_token"].count("."), said["expires_in"]) == (4, 77)
    said = await exchange(site, app, token, requested_token_type=JWT)
    assert (said["status"], said["error"]) == (400, "invalid_request")


async def test_another_clients_token_is_no_actor(site: Site) -> None:
    app, shop = await pair(site, policy(actor="optional"))
    token = (await signed_in(site, shop))["access_token"]
    foreign = await site.machine_token(await site.client())
    said = await exchange(site, app, token, actor_token=foreign, actor_token_type=ACCESS)
    assert (said["status"], said["error"]) == (400, "invalid_request")
    strict, shop = await pair(site)
    token = (await signed_in(site, shop))["access_token"]
    said = await exchange(site, strict, token, actor_token=await site.machine_token(strict), actor_token_type=ACCESS)
    assert said["error"] == "invalid_request"


REVOKED = [
    pytest.param(lambda c: (Claim.JTI, c["jti"]), id="token"),
    pytest.param(lambda c: (Claim.GID, c["gid"]), id="grant"),
    pytest.param(lambda c: (Claim.SID, c["sid"]), id="session"),
    pytest.param(lambda c: (Claim.SUB, c["sub"]), id="person"),
    pytest.param(lambda c: (Claim.CLIENT_ID, c["client_id"]), id="client"),
    pytest.param(lambda c: (Claim.IDP, c["idp"]), id="provider"),
]


@pytest.mark.row(22)
async def test_what_came_of_two_tokens_ends_with_the_first_of_them(site: Site) -> None:
    app, shop = await pair(site, policy(actor="required"), access_token_lifetime_s=600)
    helper = await site.client(audience=[app.id], access_token_lifetime_s=60)
    token, acting = (await signed_in(site, shop))["access_token"], await site.machine_token(helper)
    said = await exchange(site, app, token, actor_token=acting, actor_token_type=ACCESS)
    assert (await site.claims(said["access_token"]))["exp"] == (await site.claims(acting))["exp"]


@pytest.mark.row(22)
@pytest.mark.spec("RFC 8693 4.1")
@pytest.mark.parametrize("named", REVOKED)
async def test_what_was_exchanged_in_anothers_name_ends_with_what_the_actor_came_of(site: Site, named: Any) -> None:
    """As with the subject: whatever ends the actor, its session, grant, client or provider ends what was made of it."""
    app, shop = await pair(site, policy(actor="required"))
    desk = await site.client(audience=[app.id])
    acting = (await signed_in(site, desk, idp=f"idp-{new_id()}"))["access_token"]
    subject = (await signed_in(site, shop))["access_token"]
    made = (await exchange(site, app, subject, actor_token=acting, actor_token_type=ACCESS))["access_token"]
    again = await exchanger(site, policy(subject_clients=[app.id]))
    passed_on = (await exchange(site, again, made))["access_token"]
    claim, value = named(await site.claims(acting))
    for token, client in ((made, app), (passed_on, again)):
        assert await site.is_active(client, token)
    await site.revoke(claim, value)
    for token, client in ((made, app), (passed_on, again)):
        assert await site.is_active(client, token) == (claim is Claim.JTI)
    assert await site.is_active(shop, subject), "the person for whom somebody acted loses nothing"


async def test_who_acts_acts_for_itself(site: Site) -> None:
    """An actor that somebody acts for would hide who that is."""
    app, shop = await pair(site, policy(actor="required", audiences=["next"]))
    acting = await site.machine_token(app)
    token = (await signed_in(site, shop))["access_token"]
    acted = (await exchange(site, app, token, actor_token=acting, actor_token_type=ACCESS))["access_token"]
    said = await exchange(site, app, token, actor_token=acted, actor_token_type=ACCESS)
    assert (said["status"], said["error"]) == (400, "invalid_request")


async def test_an_instance_that_lags_behind_the_actor_catches_up_before_it_mints(site: Site) -> None:
    """Or what the actor's token was made after would end the new one on arrival."""
    app, shop = await pair(site, policy(actor="required"))
    subject, ahead = (await signed_in(site, shop))["access_token"], site.feed.position + 1
    keys = Keys(site.db(Service.TOKEN), Keyring(json.dumps(derive_service_keys(MASTER, Service.TOKEN))))
    await keys.start()
    claims = {**await site.claims(await site.machine_token(app)), "rev": ahead}
    acting = compact(keys.signing("ES256"), keys.signing("ES256").access_header, orjson.dumps(claims)).decode()
    site.canary.add("token", acting)
    exchanging = asyncio.create_task(exchange(site, app, subject, actor_token=acting, actor_token_type=ACCESS))
    await asyncio.sleep(0.1)
    assert not exchanging.done()
    await site.revoke(Claim.SUB, new_id())
    said = await exchanging
    assert (await site.claims(said["access_token"]))["rev"] >= ahead


@pytest.mark.row(22)
@pytest.mark.parametrize("named", REVOKED)
async def test_a_revoked_subject_is_not_exchanged_and_takes_what_was_exchanged_along(site: Site, named: Any) -> None:
    """Casdoor CVE-2026-9097; the token itself excepted, whose revocation ends no other."""
    app, shop = await pair(site)
    token = (await signed_in(site, shop, idp=f"idp-{new_id()}"))["access_token"]
    before = await exchange(site, app, token)
    claims = await site.claims(token)
    claim, value = named(claims)
    assert await site.is_active(app, before["access_token"])
    await site.revoke(claim, value)
    said = await exchange(site, app, token)
    assert (said["status"], said["error"]) == (400, "invalid_request")
    assert await site.is_active(app, before["access_token"]) == (claim is Claim.JTI)


async def test_what_was_exchanged_ends_with_the_client_that_the_subject_was_issued_to(site: Site) -> None:
    """Also where that is switched off, and for a client's own token."""
    app, shop = await pair(site)
    of_person = await exchange(site, app, (await signed_in(site, shop))["access_token"])
    of_client = await exchange(site, app, await site.machine_token(shop, scope="read"))
    assert (await site.claims(of_client["access_token"]))["sub"] == shop.id
    for said in (of_person, of_client):
        assert await site.is_active(app, said["access_token"])
    await site.revoke(Claim.CLIENT_ID, shop.id, kind=RevocationKind.STATE, by=Service.ADMIN)
    for said in (of_person, of_client):
        assert not await site.is_active(app, said["access_token"])


async def test_a_revoked_actor_does_not_act(site: Site) -> None:
    app, shop = await pair(site, policy(actor="required"))
    token, acting = (await signed_in(site, shop))["access_token"], await site.machine_token(app)
    await site.revoke(Claim.JTI, (await site.claims(acting))["jti"])
    said = await exchange(site, app, token, actor_token=acting, actor_token_type=ACCESS)
    assert said["error"] == "invalid_request"


async def test_an_id_token_of_a_grant_that_is_over_is_not_exchanged(site: Site) -> None:
    app = await exchanger(site, grant_types=[GRANT, "authorization_code", "refresh_token"])
    tokens = await signed_in(site, app)
    assert (await exchange(site, app, tokens["id_token"], subject_token_type=ID))["status"] == 200
    await site.post("/oauth2/revoke", app, {"token": tokens["refresh_token"]})
    assert (await exchange(site, app, tokens["id_token"], subject_token_type=ID))["error"] == "invalid_request"


async def test_expired_and_disabled_subjects_are_not_exchanged(own_site: Site, clock: TestClock) -> None:
    app, shop = await pair(own_site)
    user = await own_site.user()
    token = (await signed_in(own_site, shop, user=user))["access_token"]
    said = await exchange(own_site, app, token)
    assert said["expires_in"] <= 300
    clock.advance(timedelta(seconds=200))
    assert (await exchange(own_site, app, token))["expires_in"] <= 100
    clock.advance(timedelta(seconds=100))
    assert (await exchange(own_site, app, token))["error"] == "invalid_request"
    gone = await own_site.user()
    token = (await signed_in(own_site, shop, user=gone))["access_token"]
    await own_site.user(user_id=gone.id, version=2, active=False)
    await own_site.revoke(Claim.SUB, gone.id, kind=RevocationKind.STATE, by=Service.DIRECTORY)
    assert (await exchange(own_site, app, token))["error"] == "invalid_request"


async def test_tokens_are_passed_on_so_many_times_and_no_more(site: Site) -> None:
    shop = await site.client()
    token, last = (await signed_in(site, shop))["access_token"], shop
    for n in range(7):
        app = await exchanger(site, policy(subject_clients=[last.id], audiences=[f"a{n}"]))
        said = await exchange(site, app, token)
        if said["status"] != 200:
            break
        token, last = said["access_token"], app
    assert n == 5
    assert said["error"] == "invalid_request"


async def test_a_policy_that_was_added_a_moment_ago_counts(site: Site) -> None:
    app = await site.client(grant_types=[GRANT])
    shop = await site.client(audience=[app.id])
    token = (await signed_in(site, shop))["access_token"]
    assert (await exchange(site, app, token))["error"] == "invalid_request"
    await site.client(
        version=2, client_id=app.id, secret=app.secret, copied=False, grant_types=[GRANT],
        exchange_policies=[policy()], secrets=app.export.secrets,
    )  # fmt: skip
    answer = {"status": 0}
    for _ in range(100):  # its owner is asked once a second at most
        if (answer := await exchange(site, app, token))["status"] == 200:
            break
        await asyncio.sleep(0.05)
    assert answer["status"] == 200, answer


async def test_who_may_not_use_the_client_is_not_passed_on_to_it(site: Site) -> None:
    app, shop = await pair(site, required_permission="bill")
    token = (await signed_in(site, shop))["access_token"]
    assert (await exchange(site, app, token))["error"] == "invalid_request"
    allowed = await site.user(permissions=["bill"])
    token = (await signed_in(site, shop, user=allowed))["access_token"]
    assert (await exchange(site, app, token))["status"] == 200


async def test_the_issuers_own_audience_is_there_with_openid_alone(site: Site) -> None:
    app, shop = await pair(site)
    token = (await signed_in(site, shop))["access_token"]
    with_it = await exchange(site, app, token, scope="openid")
    assert (await site.claims(with_it["access_token"]))["aud"] == [BILLING, ISSUER]
    assert (await site.userinfo(with_it["access_token"])).status_code == 200
    without = await exchange(site, app, token, scope="read")
    assert (await site.userinfo(without["access_token"])).status_code == 403
