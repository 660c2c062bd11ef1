"""`?wait=all` on every call that ends something: whoever has not applied it yet is named, and then nobody is.

Where SCIM or OAuth decides what is answered, a header says whether all have.
"""

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import httpx2
import pytest

from watchword_database import followers
from watchword_runtime.receipts import COMPLETE, REVOCATIONS
from watchword_testkit.api import Api
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

OPENAPI = Path(__file__).parents[2] / "docs/reference/openapi.json"
SLOW = "a slow verifier"


@dataclass(frozen=True)
class Call:
    """One revoking call. path: with the ids filled in."""

    operation: str
    path: str
    body: Mapping[str, object] | None = None
    usual: int = 200
    more: Mapping[str, str] | None = None

    async def made(self, api: Api) -> tuple[int, dict[str, object]]:
        """Status and body of the answer, having waited for all."""
        method = self.operation.partition(" ")[0]
        answer = await api.call(method, self.path, self.body, wait="all", timeout_s="1", **(self.more or {}))
        return answer.status_code, answer.json() if answer.content else {}


Make = Callable[[Platform, Api], Awaitable[Call]]


async def signed_in(platform: Platform, api: Api) -> tuple[Party, str]:
    """An application and the id of a person who has just signed in there, allowing what it asked for."""
    app = await Party.registered(api, platform.issuer, require_consent=True)
    name, password = f"waiting-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    user = await api.create("/users", username=name, password=password)
    async with platform.browser() as browser:
        await SignIn(browser, app).with_password(name, password)
    return app, str(user["id"])


def of_user(operation: str, body: Mapping[str, object] | None, usual: int = 200, **more: str) -> Make:
    """A call about a user of its own."""

    async def make(_platform: Platform, api: Api) -> Call:
        name = f"waiting-{secrets.token_hex(4)}"
        user = await api.create("/users", username=name)
        filled = None if body is None else {**body, **({"username": name} if operation.startswith("PUT") else {})}
        return Call(operation, f"/users/{user['id']}", filled, usual, more)

    return make


def of_client(operation: str, body: Mapping[str, object] | None, usual: int = 200) -> Make:
    """A call about a client of its own."""

    async def make(platform: Platform, api: Api) -> Call:
        app = await Party.registered(api, platform.issuer)
        secrets_path = "/secrets" if operation.endswith("/secrets") else ""
        return Call(operation, f"/clients/{app.client_id}{secrets_path}", body, usual)

    return make


def of_provider(operation: str, body: Mapping[str, object] | None, usual: int = 200, **more: str) -> Make:
    """A call about a provider of its own."""

    async def make(_platform: Platform, api: Api) -> Call:
        made = await api.create("/providers", **provider())
        return Call(operation, f"/providers/{made['id']}", body, usual, more)

    return make


def provider() -> dict[str, object]:
    """An upstream provider's settings."""
    return {
        "id": f"waiting-{secrets.token_hex(4)}",
        "preset": "oidc",
        "display_name": "Waiting",
        "issuer": "https://upstream.example",
        "client_id": "watchword",
    }


async def remove_secret(platform: Platform, api: Api) -> Call:
    app = await Party.registered(api, platform.issuer)
    old = (await api.get(f"/clients/{app.client_id}"))["secrets"]
    assert isinstance(old, list)
    await api.create(f"/clients/{app.client_id}/secrets", keep_newest=True)
    path = f"/clients/{app.client_id}/secrets/{old[0]['id']}"
    return Call("DELETE /clients/{client_id}/secrets/{secret_id}", path, None, 204, {"compromised": "true"})


async def trust_again(_platform: Platform, api: Api) -> Call:
    made = await api.create("/providers", **provider())
    await api.call("DELETE", f"/providers/{made['id']}")
    return Call("POST /providers", "/providers", {**provider(), "id": made["id"]}, 201)


async def remove_issuer(_platform: Platform, api: Api) -> Call:
    made = await api.create("/issuers", iss=f"https://waiting-{secrets.token_hex(4)}.example", aud=["watchword"])
    return Call("DELETE /issuers/{issuer_id}", f"/issuers/{made['id']}", None, 204)


async def new_user(_platform: Platform, _api: Api) -> Call:
    return Call("POST /users", "/users", {"username": f"waiting-{secrets.token_hex(4)}", "active": False}, 201)


async def new_client(_platform: Platform, _api: Api) -> Call:
    body = {"client_name": "Waiting", "redirect_uris": ["https://app.example/callback"], "enabled": False}
    return Call("POST /clients", "/clients", body, 201)


def of_document(operation: str, body: Mapping[str, object] | None, usual: int = 200) -> Make:
    """A call about a client that is a document on the web, and was read before documents were switched off."""

    async def make(platform: Platform, _api: Api) -> Call:
        url = f"https://waiting.example/{secrets.token_hex(4)}.json"
        document = {"client_name": "Waiting", "redirect_uris": ["https://app.example/callback"]}
        connection = await asyncpg.connect(platform.database.admin_url)
        await connection.execute(
            "INSERT INTO admin.clients (id, version, client_name, enabled, kind, document, created_at, updated_at) "
            "VALUES ($1, 1, 'Waiting', true, 'document', $2, now(), now())",
            url,
            json.dumps(document | {"token_endpoint_auth_method": "none"}),
        )
        await connection.close()
        path = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
        return Call(operation, f"/client-documents/{path}", body, usual)

    return make


async def apply_users(_platform: Platform, _api: Api) -> Call:
    documents = [{"kind": "User", "username": f"waiting-{secrets.token_hex(4)}", "active": False}]
    return Call("POST /apply/directory", "/apply/directory", {"documents": documents}, 200)


async def apply_clients(_platform: Platform, _api: Api) -> Call:
    document = {
        "kind": "Client",
        "short_name": f"waiting-{secrets.token_hex(4)}",
        "client_name": "Waiting",
        "redirect_uris": ["https://app.example/callback"],
        "enabled": False,
    }
    return Call("POST /apply/admin", "/apply/admin", {"documents": [document]}, 200)


async def end_session(platform: Platform, api: Api) -> Call:
    _, user_id = await signed_in(platform, api)
    return Call("DELETE /sessions/{sid}", f"/sessions/{await only(api, '/sessions', user_id)}", None, 204)


async def end_sessions(platform: Platform, api: Api) -> Call:
    _, user_id = await signed_in(platform, api)
    return Call("DELETE /sessions", "/sessions", None, 200, {"user_id": user_id})


async def withdraw_consent(platform: Platform, api: Api) -> Call:
    _, user_id = await signed_in(platform, api)
    return Call("DELETE /consents/{consent_id}", f"/consents/{await only(api, '/consents', user_id)}", None, 204)


async def demand_factor(platform: Platform, api: Api) -> Call:
    app, _ = await signed_in(platform, api)
    body = {"applies_to": "client", "entity_id": app.client_id}
    return Call("POST /factor-requirements", "/factor-requirements", body, 201)


async def end_grant(platform: Platform, api: Api) -> Call:
    _, user_id = await signed_in(platform, api)
    return Call("DELETE /grants/{grant_id}", f"/grants/{await only(api, '/grants', user_id)}", None, 204)


async def revoke_api_key(_platform: Platform, api: Api) -> Call:
    made = await api.create("/api-keys", name="waiting", scope=["watchword:admin"])
    return Call("DELETE /api-keys/{key_id}", f"/api-keys/{made['id']}", None, 204)


async def revoke_own_key(_platform: Platform, api: Api) -> Call:
    made = await api.create("/me/api-keys", name="waiting")
    return Call("DELETE /me/api-keys/{key_id}", f"/me/api-keys/{made['id']}", None, 204)


async def merge_users(_platform: Platform, api: Api) -> Call:
    kept, other = [await api.create("/users", username=f"waiting-{secrets.token_hex(8)}") for _ in range(2)]
    return Call("POST /users/{user_id}/merge", f"/users/{kept['id']}/merge", {"user": other["id"]}, 200)


async def revoke(_platform: Platform, _api: Api) -> Call:
    return Call("POST /revocations", "/revocations", {"claim": "sub", "value": secrets.token_hex(8)}, 201)


async def rotate(_platform: Platform, _api: Api) -> Call:
    return Call("POST /keys/rotate", "/keys/rotate", {"use": "sig", "alg": "EdDSA", "revoke": True}, 200)


async def revoke_key(_platform: Platform, api: Api) -> Call:
    items = (await api.get("/keys"))["items"]
    assert isinstance(items, list)
    kid = next(item["kid"] for item in items if (item["alg"], item["state"]) == ("RS256", "active"))
    return Call("POST /keys/{kid}/revoke", f"/keys/{kid}/revoke", None, 200)


async def only(api: Api, path: str, user_id: str) -> str:
    """The id of the one item that a user has."""
    items = (await api.get(path, user_id=user_id))["items"]
    assert isinstance(items, list)
    (item,) = items
    return str(item["id"])


CALLS: dict[str, Make] = {
    "POST /users": new_user,
    "PUT /users/{user_id}": of_user("PUT /users/{user_id}", {"active": False}),
    "PATCH /users/{user_id}": of_user("PATCH /users/{user_id}", {"name": "New"}, end_sessions="true"),
    "DELETE /users/{user_id}": of_user("DELETE /users/{user_id}", None, 204),
    "POST /clients": new_client,
    "PUT /clients/{client_id}": of_client(
        "PUT /clients/{client_id}",
        {"client_name": "Waiting", "redirect_uris": ["https://app.example/callback"], "enabled": False},
    ),
    "PATCH /clients/{client_id}": of_client("PATCH /clients/{client_id}", {"enabled": False}),
    "DELETE /clients/{client_id}": of_client("DELETE /clients/{client_id}", None, 204),
    "POST /clients/{client_id}/secrets": of_client("POST /clients/{client_id}/secrets", {"compromised": True}, 201),
    "DELETE /clients/{client_id}/secrets/{secret_id}": remove_secret,
    "PATCH /client-documents/{document_id}": of_document("PATCH /client-documents/{document_id}", {"enabled": False}),
    "DELETE /client-documents/{document_id}": of_document("DELETE /client-documents/{document_id}", None, 204),
    "POST /apply/directory": apply_users,
    "POST /apply/admin": apply_clients,
    "POST /providers": trust_again,
    "PUT /providers/{provider_id}": of_provider(
        "PUT /providers/{provider_id}",
        {**{k: v for k, v in provider().items() if k != "id"}, "enabled": False},
        end_sessions="true",
    ),
    "PATCH /providers/{provider_id}": of_provider(
        "PATCH /providers/{provider_id}", {"enabled": False}, end_sessions="true"
    ),
    "DELETE /providers/{provider_id}": of_provider("DELETE /providers/{provider_id}", None, 204),
    "DELETE /issuers/{issuer_id}": remove_issuer,
    "DELETE /sessions/{sid}": end_session,
    "DELETE /sessions": end_sessions,
    "DELETE /consents/{consent_id}": withdraw_consent,
    "POST /factor-requirements": demand_factor,
    "DELETE /grants/{grant_id}": end_grant,
    "DELETE /api-keys/{key_id}": revoke_api_key,
    "DELETE /me/api-keys/{key_id}": revoke_own_key,
    "POST /users/{user_id}/merge": merge_users,
    "POST /revocations": revoke,
    "POST /keys/rotate": rotate,
    "POST /keys/{kid}/revoke": revoke_key,
}
# Answered as something that is not there any more, or is there already, when it is called once more: at once, and
# nothing is said of who has applied it. The ids of the first answer tell that (`GET /revocations/{id}`).
REFUSED_AGAIN = {
    "POST /users": 409,
    "POST /users/{user_id}/merge": 404,
    "POST /providers": 409,
    "POST /factor-requirements": 409,
    "POST /keys/{kid}/revoke": 409,
    "DELETE /clients/{client_id}/secrets/{secret_id}": 404,
    "DELETE /client-documents/{document_id}": 404,
    "DELETE /sessions/{sid}": 404,
    "DELETE /consents/{consent_id}": 404,
    "DELETE /grants/{grant_id}": 404,
    "DELETE /api-keys/{key_id}": 404,
    "DELETE /me/api-keys/{key_id}": 404,
}
# Needs a person who came through a provider (tests/contracts/test_one_truth.py ends one), or who has just signed in.
# Needs an installation where clients register themselves (tests/admin/registration/test_managing.py).
_ELSEWHERE = {
    "DELETE /identities/{identity_id}",
    "DELETE /me/identities/{identity_id}",
    "DELETE /me/account",
    "DELETE /oauth2/register/{client_id}",
}

# Where a specification decides what is answered -----------------------------------------------------------------------

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
WAIT: Final = "wait=all&timeout_s=1"
SWITCH_OFF: Final = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}


@dataclass(frozen=True)
class Told:
    """A call whose answer waits tell by a header. send: with a query.  is_alive: whether nothing has ended yet."""

    usual: int
    send: Callable[[str], Awaitable[httpx2.Response]]
    is_alive: Callable[[], Awaitable[bool]]


Tell = Callable[[Platform, Api], Awaitable[Told]]
User = Mapping[str, object]


def of_scim(method: str, path: str, body: Callable[[User], object], usual: int) -> Tell:
    """A call of a SCIM client about a user of its own."""

    async def tell(platform: Platform, api: Api) -> Told:
        user = await api.create("/users", username=f"waiting-{secrets.token_hex(6)}")
        key = await api.create("/api-keys", name="waiting", scope=["watchword:scim"])
        url = f"{platform.issuer}/scim/v2{path.format(id=user['id'])}"
        headers = {"Authorization": f"Bearer {key['key']}", "Content-Type": "application/scim+json"}

        async def send(query: str) -> httpx2.Response:
            async with http_client(timeout=20.0) as http:
                return await http.request(method, f"{url}?{query}", json=body(user), headers=headers)

        async def is_alive() -> bool:
            return (await api.get(f"/users/{user['id']}"))["active"] is True

        return Told(usual, send, is_alive)

    return tell


def bulk(user: User) -> object:
    """A request of two operations."""
    path = f"/Users/{user['id']}"
    operations = [{"method": "PATCH", "path": path, "data": SWITCH_OFF}, {"method": "DELETE", "path": path}]
    return {"schemas": [BULK], "Operations": operations}


async def revoke_token(platform: Platform, api: Api) -> Told:
    app = await Party.registered(
        api, platform.issuer, platform.canary, redirect_uris=[], response_types=[],
        grant_types=["client_credentials"], scope="orders:read",
    )  # fmt: skip
    token = (await app.tokens(grant_type="client_credentials"))["access_token"]

    async def is_alive() -> bool:
        return (await app.introspect(token))["active"] is True

    return Told(200, lambda query: app.ask(f"revoke?{query}", token=token), is_alive)


TOLD: dict[str, Tell] = {
    "POST /scim/v2/Users": of_scim(
        "POST",
        "/Users",
        lambda user: {"schemas": [USER], "userName": f"off-{user['username']}", "active": False},
        201,
    ),
    "PUT /scim/v2/Users/{id}": of_scim(
        "PUT",
        "/Users/{id}",
        lambda user: {"schemas": [USER], "userName": user["username"], "active": False},
        200,
    ),
    "PATCH /scim/v2/Users/{id}": of_scim("PATCH", "/Users/{id}", lambda _user: SWITCH_OFF, 204),
    "DELETE /scim/v2/Users/{id}": of_scim("DELETE", "/Users/{id}", lambda _user: None, 204),
    "POST /scim/v2/Bulk": of_scim("POST", "/Bulk", bulk, 200),
    "POST /oauth2/revoke": revoke_token,
}
# RFC 7644 3.6: what was deleted is not there.  RFC 7644 3.3: what is there is not made.
TOLD_AGAIN = {"POST /scim/v2/Users": 409, "DELETE /scim/v2/Users/{id}": 404}

# What writes and takes no `wait`, and why that is so.
WITHOUT: Final = {
    r"POST /(login|consent|device|account)(/.*)?": "pages; what a person ends there is dead where the page comes from",
    r"POST /oauth2/(authorize|logout|par|device_authorization)": "pages, and what leads to them",
    r"POST /api/auth/sso/.+": "browsers on their way, and providers, which know nothing of ours",
    r"POST /oauth2/(token|introspect|userinfo)": "ends something only where it refuses what was used twice",
    r"POST /oauth2/register|PUT /oauth2/register/\{client_id\}": "a client switches neither itself nor others off",
    r"\w+ /revocations/receipts(/.+)?": "what a verifier says of itself",
    r"\w+ /scim/v2/Groups(/.+)?": "who is in a group counts in what is given from then on",
    r"\w+ /api/v1/(groups|roles|assignments|attributes|organizations)(/.+)?": "counts in what is given from then on",
    r"\w+ /api/v1/(rules|service-accounts|scopes|resources)(/.+)?": "counts in what is given from then on",
    r"PUT /api/v1/users/\{user_id\}/roles|POST /api/v1/users/\{user_id\}/vouch": "counts from then on",
    r"PATCH /api/v1/me/account|PUT /api/v1/me/email|POST /api/v1/invitations": "says something of a person",
    r"DELETE /api/v1/credentials/\{user_id\}/(factors|lock)": "lets people sign in again",
    r"DELETE /api/v1/factor-requirements/.+": "demands less",
    r"POST /api/v1/(me/)?api-keys": "makes a key",
    r"(POST|PUT|PATCH) /api/v1/issuers(/.+)?": "counts in what is exchanged from then on",
    r"\w+ /api/v1/(scim-tokens|registration-tokens)(/.+)?": "looked up in the database at each use",
    r"\w+ /api/v1/(branding|mail|webhooks|deliveries|verifiers|upstream)(/.+)?": "nothing descends from it",
    r"POST /api/v1/(decisions/(dry-run|trial)|grants/trial|identities/preview)": "only looks",
    r"POST /api/v1/providers/\{provider_id\}/test": "only looks, too",
}


@asynccontextmanager
async def slow_verifier(platform: Platform) -> AsyncIterator[None]:
    """A verifier that was heard of just now, and has applied nothing."""
    connection = await asyncpg.connect(platform.database.admin_url)
    report = followers.Report(id=f"{SLOW}/1", kind="verifier", name=SLOW, position=1, bound_s=60.0)
    await followers.report(connection, report)
    try:
        yield
    finally:
        await followers.leave(connection, report.id)
        await connection.close()


def test_the_table_names_every_call_that_can_wait() -> None:
    paths = json.loads(OPENAPI.read_text())["paths"]
    found = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if any(parameter["name"] == "wait" for parameter in operation.get("parameters", []))
    }
    assert found == set(CALLS) | set(TOLD) | _ELSEWHERE


def test_whatever_writes_takes_it_or_is_named_with_a_reason() -> None:
    paths = json.loads(OPENAPI.read_text())["paths"]
    unused = set(WITHOUT)
    for path, operations in paths.items():
        for method in operations.keys() - {"get", "head", "options"}:
            operation = f"{method.upper()} {path}"
            waits = any(parameter["name"] == "wait" for parameter in operations[method].get("parameters", []))
            reasons = {pattern for pattern in WITHOUT if re.fullmatch(pattern, operation)}
            assert waits != bool(reasons), f"{operation} takes no `wait`, or stands in WITHOUT and takes it"
            unused -= reasons
    assert not unused


@pytest.mark.parametrize("operation", CALLS)
async def test_who_is_behind_is_named(platform: Platform, api: Api, operation: str) -> None:
    call = await CALLS[operation](platform, api)
    async with slow_verifier(platform):
        status, body = await call.made(api)
    assert status == 202, body
    assert body["complete"] is False
    behind = body["behind"]
    assert isinstance(behind, list)
    assert SLOW in {each["name"] for each in behind}
    (entry, *_) = body["revocations"]  # type: ignore[misc]  # a list of entries' ids
    assert (await api.get(f"/revocations/{entry}"))["complete"] is True, "the slow one has left, and nobody waits"


@pytest.mark.parametrize("operation", CALLS)
async def test_it_answers_as_usual_when_everybody_has_applied_it(platform: Platform, api: Api, operation: str) -> None:
    call = await CALLS[operation](platform, api)
    status, body = await call.made(api)
    assert status == call.usual, body
    assert "behind" not in body


@pytest.mark.parametrize("operation", CALLS)
async def test_who_calls_again_waits_again(platform: Platform, api: Api, operation: str) -> None:
    """Whoever got no answer, or 202, does the same once more: nothing is left to end, and somebody is behind."""
    call = await CALLS[operation](platform, api)
    status, body = await call.made(api)
    assert status == call.usual, body
    async with slow_verifier(platform):
        status, body = await call.made(api)
    if operation in REFUSED_AGAIN:
        assert status == REFUSED_AGAIN[operation], body
        return
    assert (status, body.get("complete")) == (202, False), body
    behind, waited_for = body["behind"], body["revocations"]
    assert isinstance(behind, list)
    assert isinstance(waited_for, list)
    assert SLOW in {each["name"] for each in behind}
    for entry in waited_for:
        assert (await api.get(f"/revocations/{entry}"))["complete"] is True, "the slow one has left, and nobody waits"


@pytest.mark.spec("RFC 7009 2.2")
@pytest.mark.spec("RFC 7644 3.5.2")
@pytest.mark.spec("RFC 7644 3.6")
@pytest.mark.parametrize("operation", TOLD)
async def test_a_header_says_that_somebody_is_behind(platform: Platform, api: Api, operation: str) -> None:
    told = await TOLD[operation](platform, api)
    async with slow_verifier(platform):
        answer = await told.send(WAIT)
    assert answer.status_code == told.usual, answer.text
    assert answer.headers[COMPLETE] == "false"
    for entry in answer.headers[REVOCATIONS].split(", "):
        assert (await api.get(f"/revocations/{entry}"))["complete"] is True, "the slow one has left, and nobody waits"


@pytest.mark.parametrize("operation", TOLD)
async def test_a_header_says_that_everybody_has_applied_it(platform: Platform, api: Api, operation: str) -> None:
    told = await TOLD[operation](platform, api)
    answer = await told.send(WAIT)
    assert answer.status_code == told.usual, answer.text
    assert (answer.headers[COMPLETE], REVOCATIONS in answer.headers) == ("true", False)
    async with slow_verifier(platform):
        again = await told.send(WAIT)
    if operation in TOLD_AGAIN:
        assert (again.status_code, COMPLETE in again.headers) == (TOLD_AGAIN[operation], False)
    else:
        assert (again.status_code, again.headers[COMPLETE]) == (told.usual, "false")


@pytest.mark.parametrize("operation", TOLD)
async def test_who_does_not_wait_is_told_nothing(platform: Platform, api: Api, operation: str) -> None:
    told = await TOLD[operation](platform, api)
    async with slow_verifier(platform):
        answer = await told.send("")
    assert answer.status_code == told.usual, answer.text
    assert not {COMPLETE.lower(), REVOCATIONS.lower()} & {name.lower() for name in answer.headers}


@pytest.mark.parametrize(
    "query",
    [
        "wait=some",
        "wait=ALL",
        "wait=all&wait=all",
        "wait=all&timeout_s=0",
        "wait=all&timeout_s=61",
        "wait=all&timeout_s=nan",
        "wait=all&timeout_s=inf",
        "wait=all&timeout_s=soon",
    ],
)
@pytest.mark.parametrize("operation", TOLD)
async def test_a_wait_that_makes_no_sense_is_refused_before_anything_ends(
    platform: Platform, api: Api, operation: str, query: str
) -> None:
    told = await TOLD[operation](platform, api)
    answer = await told.send(query)
    assert answer.status_code == 400, answer.text
    assert await told.is_alive()
