"""What exactly a grant is for, and claims that were asked for by name: in tokens, answers, introspection, userinfo."""

import asyncio
import json

import pytest
from tests.token.conftest import App, Site

from watchword_events.contracts import ClientUpdated
from watchword_events.handovers import ClaimsRequest

PAYMENT = {"type": "payment", "actions": ["initiate"], "amount": "123.50"}
FILES = {"type": "files", "locations": ["https://files.test"]}


async def detailed(site: Site) -> App:
    """A client that may ask in detail."""
    return await site.client(
        audience=["https://api.test", "https://files.test"], authorization_details_types=["payment", "files"]
    )


@pytest.mark.spec("RFC 9396 6, 7, 9.1, 9.2")
async def test_what_was_allowed_in_detail_is_in_the_token_the_answer_and_introspection(site: Site) -> None:
    app, user = await detailed(site), await site.user()
    code = await site.code(app, user, scope=(), authorization_details=(PAYMENT, FILES))
    answer = (await site.redeem(app, code)).json()
    assert answer["authorization_details"] == [PAYMENT, FILES]
    assert (await site.claims(answer["access_token"]))["authorization_details"] == [PAYMENT, FILES]
    assert (await site.introspect(app, answer["access_token"]))["authorization_details"] == [PAYMENT, FILES]
    assert (await site.introspect(app, answer["refresh_token"]))["authorization_details"] == [PAYMENT, FILES]
    # RFC 9396 3: a token for one resource says what concerns that one.
    refreshed = await site.token(
        app, grant_type="refresh_token", refresh_token=answer["refresh_token"], resource="https://api.test"
    )
    assert refreshed.json()["authorization_details"] == [PAYMENT]
    assert (await site.claims(refreshed.json()["access_token"]))["authorization_details"] == [PAYMENT]


@pytest.mark.spec("RFC 9396 6, 6.1, 5")
async def test_a_token_may_be_for_less_but_not_for_other_details(site: Site) -> None:
    app, user = await detailed(site), await site.user()
    code = await site.code(app, user, authorization_details=(PAYMENT, FILES))
    more = {**PAYMENT, "amount": "9999.99"}
    for wrong in ([more], [{"type": "admin"}], [], "payment", [PAYMENT, more]):
        refused = await site.redeem(app, code, authorization_details=json.dumps(wrong))
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details"), wrong
    answer = (await site.redeem(app, code, authorization_details=json.dumps([FILES]))).json()
    assert answer["authorization_details"] == [FILES]
    form = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    refused = await site.token(app, **form, authorization_details=json.dumps([more]))
    assert refused.json()["error"] == "invalid_authorization_details"
    again = await site.token(app, **form, authorization_details=json.dumps([PAYMENT]))
    assert again.json()["authorization_details"] == [PAYMENT]


async def test_details_that_the_client_may_not_use_any_more_are_left_out(site: Site) -> None:
    app, user = await detailed(site), await site.user()
    answer = (await site.redeem(app, await site.code(app, user, authorization_details=(PAYMENT, FILES)))).json()
    fewer = app.export.model_copy(update={"authorization_details_types": frozenset({"files"})})
    await site.client(version=2, client_id=app.id, copied=False, secret=app.secret, **fewer.model_dump(
        exclude={"client_id", "client_name"}))  # fmt: skip
    await site.publish(ClientUpdated(id=app.id, version=2))
    token = answer["refresh_token"]
    async with asyncio.timeout(30):
        while True:
            answer = (await site.token(app, grant_type="refresh_token", refresh_token=token)).json()
            token = answer["refresh_token"]
            if answer["authorization_details"] == [FILES]:
                break


@pytest.mark.spec("OpenID Connect Core 5.5")
async def test_claims_asked_for_by_name_are_told_where_they_were_asked_for(site: Site) -> None:
    app = await site.client()
    user = await site.user(email="ada@example.test", email_verified=True)
    asked = ClaimsRequest(id_token=("email",), userinfo=("name", "phone_number"))
    answer = (await site.redeem(app, await site.code(app, user, scope=("openid",), claims_request=asked))).json()
    id_token = await site.claims(answer["id_token"])
    assert (id_token["email"], "name" in id_token, "email_verified" in id_token) == ("ada@example.test", False, False)
    told = (await site.userinfo(answer["access_token"])).json()
    assert told == {"sub": user.id, "name": "Ada Lovelace"}
    refreshed = await site.token(app, grant_type="refresh_token", refresh_token=answer["refresh_token"], scope="openid")
    assert (await site.claims(refreshed.json()["id_token"]))["email"] == "ada@example.test"
    assert (await site.userinfo(refreshed.json()["access_token"])).json() == told


async def test_claims_beyond_the_clients_scope_are_not_told(site: Site) -> None:
    app, user = await site.client(scope=["openid"]), await site.user(email="ada@example.test")
    asked = ClaimsRequest(id_token=("email",), userinfo=("name",))
    answer = (await site.redeem(app, await site.code(app, user, scope=("openid",), claims_request=asked))).json()
    assert "email" not in await site.claims(answer["id_token"])
    assert (await site.userinfo(answer["access_token"])).json() == {"sub": user.id}
