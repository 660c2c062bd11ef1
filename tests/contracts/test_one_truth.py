"""Every cause of death against every place that must notice, and nothing else dies.

One decision, `RevocationSet.is_live`, is asked everywhere; here it is asked through each door.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watchword_database import transaction
from watchword_events.contracts import UpstreamSessionEnded
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.http import http_client
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.issuers import Issuer
from watchword_testkit.platform import Platform
from watchword_testkit.signin import REDIRECT_URI, Party, SignIn
from watchword_testkit.upstream import configure_mock
from watchword_testkit.web import Site
from watchword_verifier import ClientCredentials, HttpFeed, NatsFeed, TokenRefused, Verifier

AUDIENCE = "https://truth.example"
BOUND_S = 5.0
PATIENCE_S = 30.0  # until what was just configured has arrived
SCOPE = "openid profile watchword:admin watchword:scim"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Person:
    """An administrator who signed in through a provider, with everything that can be shown somewhere.

    api: another administrator's.  reader: the client of resource servers.  other: an application that has no tokens of
    the person.  verifier, over_nats: of resource servers, by either way.  api_key: a key that the person made.
    code, device_code, request_uri: what the application holds and has not used: the redemption of a code, a device that
    the person allowed, a request that it pushed.
    """

    platform: Platform
    api: Api
    app: Party
    reader: Party
    other: Party
    browser: Browser
    verifier: Verifier
    over_nats: Verifier
    provider_id: str
    user_id: str
    api_key: str
    tokens: dict[str, str]
    code: Mapping[str, str]
    device_code: str
    request_uri: str

    @property
    def token(self) -> str:
        """The first access token."""
        return self.tokens["access_token"]

    async def calls(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the caller is taken at a path."""
        async with http_client(timeout=20.0) as http:
            answer = await http.get(f"{self.platform.issuer}{path}", headers=dict(headers))
        assert answer.status_code in {200, 401, 403}, answer.text
        return answer.status_code == 200

    async def gets(self, party: Party, **form: str) -> dict[str, str] | None:
        """What the token endpoint gives; None when it refuses."""
        answer = await party.ask("token", **form)
        if answer.status_code == 200:
            return dict(answer.json())
        assert answer.json()["error"] in {"invalid_grant", "invalid_client", "invalid_request"}, answer.text
        return None

    async def only(self, path: str, **query: str) -> dict[str, object]:
        """The one item of a list."""
        items = (await self.api.get(path, **query))["items"]
        assert isinstance(items, list)
        (item,) = items
        return dict(item)


# The places ----------------------------------------------------------------------------------------------------------


async def introspection(person: Person) -> bool:
    return bool((await person.reader.introspect(person.token))["active"])


async def introspection_of_refresh(person: Person) -> bool:
    answer = await person.app.ask("introspect", token=person.tokens["refresh_token"])
    return answer.status_code == 200 and bool(answer.json()["active"])


async def userinfo(person: Person) -> bool:
    return (await person.app.userinfo(person.token)).status_code == 200


async def refresh(person: Person) -> bool:
    got = await person.gets(person.app, grant_type="refresh_token", refresh_token=person.tokens["refresh_token"])
    if got is not None:
        person.tokens["refresh_token"] = got["refresh_token"]
    return got is not None


async def exchange(person: Person) -> bool:
    asked = {"subject_token": person.token, "subject_token_type": f"{TOKEN_TYPE}access_token", "audience": AUDIENCE}
    return await person.gets(person.reader, grant_type=f"{GRANT_TYPE}token-exchange", **asked) is not None


async def authorization_code(person: Person) -> bool:
    return await person.gets(person.app, grant_type="authorization_code", **person.code) is not None


async def device_code(person: Person) -> bool:
    asked = {"grant_type": f"{GRANT_TYPE}device_code", "device_code": person.device_code}
    return await person.gets(person.app, **asked) is not None


async def pushed_request(person: Person) -> bool:
    """Whether it leads on, be it to the sign-in."""
    page = await SignIn(person.browser, person.app, params={"request_uri": person.request_uri}).start()
    return not page.error_code


async def verifier(person: Person) -> bool:
    return await _is_verified(person.verifier, person.token)


async def verifier_over_nats(person: Person) -> bool:
    return await _is_verified(person.over_nats, person.token)


async def _is_verified(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except TokenRefused:
        return False
    return True


async def session(person: Person) -> bool:
    """Whether another application learns who it is without a question."""
    page = await SignIn(person.browser, person.other, params={"prompt": "none"}).start()
    assert ("code=" in page.location) is not ("error=login_required" in page.location), page.location
    return "code=" in page.location


async def api_key(person: Person) -> bool:
    return await person.calls("/api/v1/keys", {"Watchword-API-Key": person.api_key})


def called(path: str) -> "Place":
    """What the service that owns the path says to the access token."""

    async def called(person: Person) -> bool:
        return await person.calls(path, {"Authorization": f"Bearer {person.token}"})

    called.__name__ = path
    return called


Place = Callable[[Person], Awaitable[bool]]
SERVED = tuple(map(called, ("/api/v1/keys", "/api/v1/sessions", "/api/v1/users", "/api/v1/clients")))
SCIM = called("/scim/v2/Users?count=1")
OF_TOKEN = frozenset({introspection, userinfo, exchange, verifier, verifier_over_nats, *SERVED, SCIM})
OF_GRANT = OF_TOKEN | {refresh, introspection_of_refresh}
OF_CONSENT = OF_GRANT | {authorization_code, device_code}
OF_CLIENT = OF_CONSENT | {pushed_request}
OF_SESSION = OF_CONSENT | {session}
OF_PERSON = OF_SESSION | {api_key}
EVERYTHING = OF_PERSON | {pushed_request}
NOTHING: frozenset["Place"] = frozenset()
# What is used up by being asked is asked once, after the cause.
ONCE: tuple[Place, ...] = (authorization_code, device_code, pushed_request)
PLACES: tuple[Place, ...] = (
    introspection, introspection_of_refresh, userinfo, refresh, exchange, verifier, verifier_over_nats, session,
    api_key, *SERVED, SCIM,
)  # fmt: skip


# The causes ----------------------------------------------------------------------------------------------------------


async def token_revoked(person: Person) -> None:
    assert (await person.app.ask("revoke", token=person.token)).status_code == 200


async def refresh_token_revoked(person: Person) -> None:
    assert (await person.app.ask("revoke", token=person.tokens["refresh_token"])).status_code == 200


async def refresh_token_used_twice(person: Person) -> None:
    old = person.tokens["refresh_token"]
    assert await refresh(person)
    assert await refresh(person), "the successor was used: the old one is nobody's any more"
    person.tokens["refresh_token"], newest = old, person.tokens["refresh_token"]
    assert not await refresh(person)
    person.tokens["refresh_token"] = newest


async def grant_ended(person: Person) -> None:
    grant = await person.only("/grants", user_id=person.user_id)
    await person.api.delete(f"/grants/{grant['id']}")


async def consent_withdrawn(person: Person) -> None:
    consent = await person.only("/consents", user_id=person.user_id)
    await person.api.delete(f"/consents/{consent['id']}")


async def session_ended(person: Person) -> None:
    found = await person.only("/sessions", user_id=person.user_id)
    await person.api.delete(f"/sessions/{found['id']}")


async def sessions_ended(person: Person) -> None:
    assert (await person.api.call("DELETE", "/sessions", user_id=person.user_id)).json() == {"ended": 1}


async def user_disabled(person: Person) -> None:
    await person.api.change(f"/users/{person.user_id}", active=False)


async def user_deleted(person: Person) -> None:
    await person.api.delete(f"/users/{person.user_id}")


async def signed_out_everywhere(person: Person) -> None:
    await person.api.create("/revocations", claim="sub", value=person.user_id)


async def password_changed(person: Person) -> None:
    path, body = f"/users/{person.user_id}", {"password": secrets.token_urlsafe(16)}
    assert (await person.api.call("PATCH", path, body, end_sessions="true")).status_code == 200


async def identity_unlinked(person: Person) -> None:
    await person.api.change(f"/users/{person.user_id}", password=secrets.token_urlsafe(16))  # not the last way in
    identity = await person.only("/identities", user_id=person.user_id)
    await person.api.delete(f"/identities/{identity['id']}")


async def user_merged(person: Person) -> None:
    """Into another account, which has the identity from then on."""
    other = await person.api.create("/users", username=f"truth-{secrets.token_hex(4)}")
    await person.api.create(f"/users/{other['id']}/merge", user=person.user_id)


async def deleted_themselves(person: Person) -> None:
    name = str((await person.api.get(f"/users/{person.user_id}"))["username"])
    await person.browser.open(f"{person.platform.issuer}/account/data")
    await person.browser.submit("username", "delete", username=name)
    assert "Your account is deleted" in person.browser.page.body


async def deprovisioned(person: Person) -> None:
    key = await person.api.create("/api-keys", name="SCIM", scope=["watchword:scim"])
    change = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "active", "value": False}]}
    async with http_client(headers={"Authorization": f"Bearer {key['key']}"}, timeout=20.0) as http:
        answer = await http.patch(f"{person.platform.issuer}/scim/v2/Users/{person.user_id}", json=change)
    assert answer.status_code in {200, 204}, answer.text


async def signed_out(person: Person) -> None:
    await person.browser.open(f"{person.platform.issuer}/oauth2/logout")
    await person.browser.submit("csrf", "sign-out")


async def session_idle(person: Person) -> None:
    """As if it had not been used for long; for everyone else it is over when that was looked for."""
    database = person.platform.database
    of_person = "FROM authz.session WHERE user_id = $1"
    async with database.postgres.admin(database.name) as admin, asyncio.timeout(30):
        await admin.execute(
            "UPDATE authz.session SET ends_at = now() - interval '1 second' WHERE user_id = $1", person.user_id
        )
        while await admin.fetchval(f"SELECT max(end_reason) {of_person}", person.user_id) != "idle":
            await asyncio.sleep(0.05)


async def session_ended_by_provider(person: Person) -> None:
    """By a logout token, which federation has read."""
    database = person.platform.database
    async with database.postgres.admin(database.name) as admin:
        name = await admin.fetchval("SELECT upstream_session FROM authz.session WHERE user_id = $1", person.user_id)
    async with transaction(database.open(Service.FEDERATION, pool_size=1)) as session:
        session.emit(UpstreamSessionEnded(id=name, version=1, provider_id=person.provider_id))


async def factor_required(person: Person) -> None:
    await person.api.create("/factor-requirements", applies_to="client", entity_id=person.app.client_id)


async def trusted_issuer_removed(person: Person) -> None:
    """Ends what a workload of it got, and nothing of a person's."""
    ci = Issuer(Site(f"https://ci-{secrets.token_hex(4)}.example", Path()), utc_now)
    keys = {"keys": [ci.key.as_dict(private=False)]}
    issuer = await person.api.create(
        "/issuers", iss=ci.iss, aud=[person.platform.issuer], token_expiry_s=1800, jwks=keys
    )
    rule = {"name": f"ci-{secrets.token_hex(4)}", "expression": "true", "clients": [person.reader.client_id]}
    await person.platform.until_seen(await person.api.call("POST", "/rules", rule))
    asked = {"subject_token": ci.token(aud=person.platform.issuer), "subject_token_type": f"{TOKEN_TYPE}jwt"}
    got = await person.gets(person.reader, grant_type=f"{GRANT_TYPE}token-exchange", audience=AUDIENCE, **asked)
    assert got is not None
    workload = replace(person, tokens=got)
    for place in (introspection, verifier, verifier_over_nats):
        await until(place, workload, accepts=True)
    await person.api.delete(f"/issuers/{issuer['id']}")
    for place in (introspection, verifier, verifier_over_nats):
        await until(place, workload, accepts=False)


async def client_deleted_by_itself(person: Person) -> None:
    """Another one than the person's, which registered itself."""
    initial = await person.api.create("/registration-tokens", name="Truth", uses=1)
    async with http_client(timeout=20.0) as http:
        made = await http.post(
            f"{person.platform.issuer}/oauth2/register",
            json={"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code", "refresh_token"]},
            headers={"Authorization": f"Bearer {initial['token']}"},
        )
        assert made.status_code == 201, made.text
        client = made.json()
        app = Party(person.platform.issuer, client["client_id"], client["client_secret"])
        tokens = await SignIn(person.browser, app, scope="openid").with_password("", "")
        theirs = replace(person, app=app, tokens=tokens)
        places = (introspection, introspection_of_refresh, userinfo, refresh)
        for place in places:
            await until(place, theirs, accepts=True)
        registration = {"Authorization": f"Bearer {client['registration_access_token']}"}
        answer = await http.delete(client["registration_client_uri"], headers=registration)
    assert answer.status_code == 204, answer.text
    for place in places:
        await until(place, theirs, accepts=False)


async def client_disabled(person: Person) -> None:
    await person.api.change(f"/clients/{person.app.client_id}", enabled=False)


async def client_deleted(person: Person) -> None:
    await person.api.delete(f"/clients/{person.app.client_id}")


async def client_secret_compromised(person: Person) -> None:
    new = await person.api.create(f"/clients/{person.app.client_id}/secrets", compromised=True)
    person.app.client_secret = str(new["client_secret"])


async def provider_removed(person: Person) -> None:
    await person.api.delete(f"/providers/{person.provider_id}")


async def provider_distrusted(person: Person) -> None:
    path = f"/providers/{person.provider_id}"
    assert (await person.api.call("PATCH", path, {"enabled": False}, end_sessions="true")).status_code == 200


async def api_key_revoked(person: Person) -> None:
    key = await person.only("/api-keys", user_id=person.user_id)
    await person.api.delete(f"/api-keys/{key['id']}")


async def key_revoked(person: Person) -> None:
    header = person.token.partition(".")[0]
    kid = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    answer = await person.api.call("POST", f"/keys/{kid}/revoke")
    assert answer.status_code == 200, answer.text


async def key_revoked_with_sessions(person: Person) -> None:
    use = "enc" if person.token.count(".") == 4 else "sig"
    answer = await person.api.call("POST", "/keys/rotate", {"use": use, "revoke": True, "sessions": True})
    assert answer.status_code == 200, answer.text


async def everything_revoked(person: Person) -> None:
    await person.api.create("/revocations", claim="all")


async def everything_before_revoked(person: Person) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    await person.api.create("/revocations", claim="all", issued_before=soon.isoformat())


Cause = Callable[[Person], Awaitable[None]]
CAUSES: dict[Cause, frozenset[Place]] = {
    token_revoked: OF_TOKEN,
    refresh_token_revoked: OF_GRANT,
    refresh_token_used_twice: OF_GRANT,
    grant_ended: OF_GRANT,
    consent_withdrawn: OF_CONSENT,
    factor_required: OF_CONSENT,
    session_ended: OF_SESSION,
    sessions_ended: OF_SESSION,
    signed_out: OF_SESSION,
    session_idle: OF_SESSION,
    session_ended_by_provider: OF_SESSION,
    user_disabled: OF_PERSON,
    user_deleted: OF_PERSON,
    user_merged: OF_PERSON,
    deleted_themselves: OF_PERSON,
    deprovisioned: OF_PERSON,
    signed_out_everywhere: OF_PERSON,
    password_changed: OF_PERSON,
    identity_unlinked: OF_PERSON,
    client_disabled: OF_CLIENT,
    client_deleted: OF_CLIENT,
    client_secret_compromised: OF_CLIENT,
    provider_removed: OF_SESSION,
    provider_distrusted: OF_SESSION,
    trusted_issuer_removed: NOTHING,
    api_key_revoked: frozenset({api_key}),
}
# The ledger gets the same kind of entry as by another cause, which is asked with opaque tokens as well.
ALIKE = frozenset({
    factor_required, signed_out, session_idle, session_ended_by_provider, user_merged, deleted_themselves,
    deprovisioned, trusted_issuer_removed,
})  # fmt: skip
# These end what others have as well, so they need an installation of their own.
CAUSES_FOR_ALL: dict[Cause, frozenset[Place]] = {
    key_revoked: OF_TOKEN,
    key_revoked_with_sessions: EVERYTHING,
    everything_revoked: EVERYTHING,
    everything_before_revoked: EVERYTHING,
}


@asynccontextmanager
async def signed_in(platform: Platform, api: Api, mock_issuer: str, token_format: str) -> AsyncIterator[Person]:
    """A person who has just signed in, whom every place accepts."""
    app = await Party.registered(
        api,
        platform.issuer,
        audience=[AUDIENCE],
        scope=SCOPE,
        grant_types=["authorization_code", "refresh_token", f"{GRANT_TYPE}device_code"],
        access_token_format=token_format,
        require_consent=True,
    )
    reader = await Party.registered(
        api,
        platform.issuer,
        audience=[AUDIENCE],
        grant_types=["client_credentials", f"{GRANT_TYPE}token-exchange"],
        exchange_policies=[{"audiences": [AUDIENCE], "subject_clients": [app.client_id]}],
        redirect_uris=[],
        response_types=[],
        scope="revocations:read introspect:any",
    )
    other = await Party.registered(api, platform.issuer)
    provider_id = await configure_mock(api, mock_issuer)
    assert reader.client_secret is not None
    feed = HttpFeed(platform.issuer, ClientCredentials(platform.issuer, reader.client_id, reader.client_secret))
    seed = platform.site.installation.seeds[Service.ADMIN]
    nats = NatsFeed(platform.nats.url, feed, seed=seed, inbox_prefix=f"_INBOX_{Service.ADMIN}")
    async with (
        platform.browser() as browser,
        Verifier(platform.issuer, AUDIENCE, feed=feed) as checks,
        Verifier(platform.issuer, AUDIENCE, feed=nats) as over_nats,
    ):
        first = await SignIn(browser, app, scope=SCOPE).through(provider_id, sub=secrets.token_hex(8))
        user_id = json.loads((await app.userinfo(first["access_token"])).content)["sub"]
        answer = await api.call("PUT", f"/users/{user_id}/roles", {"roles": ["administrator"]})
        assert answer.status_code == 200, answer.text
        await platform.until_seen(answer)
        assert (await app.ask("revoke", token=first["refresh_token"])).status_code == 200
        tokens = await SignIn(browser, app, scope=SCOPE).with_password("", "")  # it still knows the person
        as_person = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with http_client() as http:
            body = {"name": "of the person", "scope": ["watchword:admin"]}
            made = await http.post(f"{platform.issuer}/api/v1/api-keys", json=body, headers=as_person)
        assert made.status_code == 201, made.text
        yield Person(
            platform, api, app, reader, other, browser, checks, over_nats, provider_id, user_id, made.json()["key"],
            tokens, await _code(browser, app), await _device_code(browser, app), await _request_uri(browser, app),
        )  # fmt: skip


async def _code(browser: Browser, app: Party) -> Mapping[str, str]:
    sign_in = SignIn(browser, app, scope=SCOPE)
    await sign_in.start()
    return {"code": await sign_in.code(), "redirect_uri": app.redirect_uri, "code_verifier": sign_in.verifier}


async def _device_code(browser: Browser, app: Party) -> str:
    asked = (await app.ask("device_authorization", scope="openid profile")).json()
    await browser.open(asked["verification_uri_complete"])
    await browser.submit("user_code", "continue", user_code=asked["user_code"])
    await browser.submit("decision", "allow")
    return str(asked["device_code"])


async def _request_uri(browser: Browser, app: Party) -> str:
    answer = await app.ask("par", **SignIn(browser, app, scope="openid").query)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_uri"])


async def until(place: Place, person: Person, *, accepts: bool) -> None:
    """The place accepts, or refuses within the bound."""
    async with asyncio.timeout(PATIENCE_S if accepts else BOUND_S):
        while await place(person) is not accepts:
            await asyncio.sleep(0.01)


async def check(person: Person, cause: Cause, dies: frozenset[Place]) -> None:
    """Each place accepts; then the cause, and each of those that must refuses within the bound; the rest accept."""
    for place in PLACES:
        await until(place, person, accepts=True)
    await cause(person)
    for place in PLACES:
        if place in dies:
            await until(place, person, accepts=False)
    for place in (*PLACES, *ONCE):
        assert await place(person) is (place not in dies), f"{place.__name__} after {cause.__name__}"


@pytest.mark.parametrize(
    ("cause", "token_format"),
    [
        pytest.param(cause, token_format, id=f"{cause.__name__}-{token_format}")
        for cause in CAUSES
        for token_format in ("jwt", "opaque")
        if token_format == "jwt" or cause not in ALIKE
    ],
)
async def test_a_cause_is_noticed_at_every_place(
    platform: Platform, api: Api, mock_issuer: str, cause: Cause, token_format: str
) -> None:
    async with signed_in(platform, api, mock_issuer, token_format) as person:
        await check(person, cause, CAUSES[cause])


@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
@pytest.mark.parametrize("cause", CAUSES_FOR_ALL, ids=lambda cause: cause.__name__)
async def test_a_cause_for_all_is_noticed_at_every_place(
    platform_factory: PlatformFactory, mock_issuer: str, cause: Cause, token_format: str
) -> None:
    platform = await platform_factory()
    async with signed_in(platform, platform.api(), mock_issuer, token_format) as person:
        await check(person, cause, CAUSES_FOR_ALL[cause])


@pytest.mark.spec("RFC 7592 2.3")
async def test_a_client_that_deletes_itself_ends_what_it_got_and_nothing_else(
    platform_factory: PlatformFactory, mock_issuer: str
) -> None:
    platform = await platform_factory(registration="token")
    async with signed_in(platform, platform.api(), mock_issuer, "jwt") as person:
        await check(person, client_deleted_by_itself, NOTHING)
