"""Every cause of death against every place that must notice, and nothing else dies.

One decision, `RevocationSet.is_live`, is asked everywhere; here it is asked through each door.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.http import http_client
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock
from watchword_verifier import ClientCredentials, HttpFeed, TokenRefused, Verifier

AUDIENCE = "https://truth.example"
BOUND_S = 5.0


@dataclass
class Person:
    """An administrator who signed in through a provider, with everything that can be shown somewhere.

    api: another administrator's.  reader: the client of resource servers.  other: an application that has no tokens of
    the person.  api_key: a key that the person made.
    """

    platform: Platform
    api: Api
    app: Party
    reader: Party
    other: Party
    browser: Browser
    verifier: Verifier
    provider_id: str
    user_id: str
    api_key: str
    tokens: dict[str, str]

    @property
    def token(self) -> str:
        """The first access token."""
        return self.tokens["access_token"]

    async def calls(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the administration API takes the caller."""
        async with http_client() as http:
            answer = await http.get(f"{self.platform.issuer}/api/v1{path}", headers=dict(headers))
        assert answer.status_code in {200, 401, 403}, answer.text
        return answer.status_code == 200

    async def only(self, path: str, **query: str) -> dict[str, object]:
        """The one item of a list."""
        items = (await self.api.get(path, **query))["items"]
        assert isinstance(items, list)
        (item,) = items
        return dict(item)


# The places ----------------------------------------------------------------------------------------------------------


async def introspection(person: Person) -> bool:
    return bool((await person.reader.introspect(person.token))["active"])


async def userinfo(person: Person) -> bool:
    return (await person.app.userinfo(person.token)).status_code == 200


async def refresh(person: Person) -> bool:
    answer = await person.app.ask("token", grant_type="refresh_token", refresh_token=person.tokens["refresh_token"])
    if answer.status_code == 200:
        person.tokens["refresh_token"] = answer.json()["refresh_token"]
        return True
    assert answer.json()["error"] in {"invalid_grant", "invalid_client"}, answer.text
    return False


async def verifier(person: Person) -> bool:
    try:
        await person.verifier.verify(person.token)
    except TokenRefused:
        return False
    return True


async def session(person: Person) -> bool:
    """Whether another application learns who it is without a question."""
    page = await SignIn(person.browser, person.other, params={"prompt": "none"}).start()
    assert ("code=" in page.location) is not ("error=login_required" in page.location), page.location
    return "code=" in page.location


async def api_key(person: Person) -> bool:
    return await person.calls("/keys", {"Watchword-API-Key": person.api_key})


def administration(path: str) -> "Place":
    """The API of the service that owns the path, called with the access token."""

    async def administration(person: Person) -> bool:
        return await person.calls(path, {"Authorization": f"Bearer {person.token}"})

    administration.__name__ = f"administration{path}"
    return administration


Place = Callable[[Person], Awaitable[bool]]
# `token` alone can read an opaque token.
AT_TOKEN = administration("/keys")
AT_OTHERS = (administration("/sessions"), administration("/users"), administration("/clients"))
OF_TOKEN = frozenset({introspection, userinfo, verifier, AT_TOKEN, *AT_OTHERS})
OF_GRANT = OF_TOKEN | {refresh}
OF_SESSION = OF_GRANT | {session}
EVERYTHING = OF_SESSION | {api_key}
PLACES: tuple[Place, ...] = (introspection, userinfo, refresh, verifier, session, api_key, AT_TOKEN, *AT_OTHERS)


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
    consent_withdrawn: OF_GRANT,
    session_ended: OF_SESSION,
    sessions_ended: OF_SESSION,
    user_disabled: EVERYTHING,
    user_deleted: EVERYTHING,
    signed_out_everywhere: EVERYTHING,
    password_changed: EVERYTHING,
    identity_unlinked: EVERYTHING,
    client_disabled: OF_GRANT,
    client_deleted: OF_GRANT,
    client_secret_compromised: OF_GRANT,
    provider_removed: OF_SESSION,
    provider_distrusted: OF_SESSION,
    api_key_revoked: frozenset({api_key}),
}
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
    scope = "openid profile watchword:admin"
    app = await Party.registered(
        api,
        platform.issuer,
        audience=[AUDIENCE],
        scope=scope,
        access_token_format=token_format,
        require_consent=True,
    )
    reader = await Party.registered(
        api,
        platform.issuer,
        grant_types=["client_credentials"],
        redirect_uris=[],
        response_types=[],
        scope="revocations:read introspect:any",
    )
    other = await Party.registered(api, platform.issuer)
    provider_id = await configure_mock(api, mock_issuer)
    assert reader.client_secret is not None
    feed = HttpFeed(platform.issuer, ClientCredentials(platform.issuer, reader.client_id, reader.client_secret))
    async with platform.browser() as browser, Verifier(platform.issuer, AUDIENCE, feed=feed) as checks:
        sub = secrets.token_hex(8)
        first = await SignIn(browser, app, scope=scope).through(provider_id, sub=sub)
        user_id = json.loads((await app.userinfo(first["access_token"])).content)["sub"]
        answer = await api.call("PUT", f"/users/{user_id}/roles", {"roles": ["administrator"]})
        assert answer.status_code == 200, answer.text
        await platform.until_seen(answer)
        assert (await app.ask("revoke", token=first["refresh_token"])).status_code == 200
        tokens = await SignIn(browser, app, scope=scope).with_password("", "")  # it still knows the person
        as_person = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with http_client() as http:
            body = {"name": "of the person", "scope": ["watchword:admin"]}
            made = await http.post(f"{platform.issuer}/api/v1/api-keys", json=body, headers=as_person)
        assert made.status_code == 201, made.text
        yield Person(
            platform, api, app, reader, other, browser, checks, provider_id, user_id, made.json()["key"], tokens
        )


async def until(place: Place, person: Person, *, accepts: bool) -> None:
    """The place accepts, or refuses, within the bound."""
    async with asyncio.timeout(BOUND_S):
        while await place(person) is not accepts:
            await asyncio.sleep(0.01)


async def check(person: Person, cause: Cause, dies: frozenset[Place]) -> None:
    """Each place accepts; then the cause, and each of those that must refuses within the bound; the rest accept."""
    is_opaque = person.token.count(".") == 4
    places = [place for place in PLACES if not (is_opaque and place in AT_OTHERS)]
    for place in places:
        await until(place, person, accepts=True)  # what was just configured arrives
    await cause(person)
    for place in places:
        if place in dies:
            await until(place, person, accepts=False)
    for place in places:
        assert await place(person) is (place not in dies), f"{place.__name__} after {cause.__name__}"


@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
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
