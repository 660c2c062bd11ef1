"""`/oauth2/par`: pushed once, used once, by the client that pushed it (threat 10)."""

import asyncio
import base64
import hashlib
import secrets
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from tests.authz.conftest import CALLBACK, ISSUER, Rig, Visit, running

from watchword_authz.pushed import PREFIX
from watchword_authz.sweeper import sweep
from watchword_database.bus import revoke
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport, Exported
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.holder import Holder

SECRET = secrets.token_urlsafe(32)
HASH = {"id": "1", "hash": f"sha256:{hashlib.sha256(SECRET.encode()).hexdigest()}"}
EVIL = "https://evil.example/request.jwt"


def confidential(rig: Rig, **changes: Any) -> ClientExport:
    """A client with the secret SECRET."""
    rig.canary.add("client secret", SECRET)
    return rig.client(secrets=[HASH], **changes)


def basic(client: ClientExport, secret: str = SECRET) -> dict[str, str]:
    """The header with which the client authenticates."""
    return {"Authorization": f"Basic {base64.b64encode(f'{client.client_id}:{secret}'.encode()).decode()}"}


async def push(visit: Visit, headers: dict[str, str] | None = None, **changes: str) -> httpx2.Response:
    """The endpoint's answer to the visit's request."""
    form = {"request": "", **visit.query, **changes}
    form = {name: value for name, value in form.items() if value}
    sent = basic(visit.client) if headers is None else headers
    return await visit.browser.client.post(f"{ISSUER}/oauth2/par", data=form, headers=sent)


async def pushed(visit: Visit, **changes: str) -> str:
    """The request_uri of a request that was accepted."""
    answer = await push(visit, **changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_uri"])


async def use(visit: Visit, request_uri: str, **more: str) -> None:
    """The browser arrives with the reference."""
    query = httpx2.QueryParams({"client_id": visit.client.client_id, "request_uri": request_uri, **more})
    await visit.browser.open(f"{ISSUER}/oauth2/authorize?{query}")


def visit_of(rig: Rig, client: ClientExport | None = None, **params: str) -> Visit:
    return Visit(rig, rig.browser(), client or confidential(rig), params)


@pytest.mark.spec("RFC 9126 2.1, 2.2")
async def test_pushed_request_is_used_as_if_it_had_been_sent(rig: Rig) -> None:
    visit, user = visit_of(rig), await rig.person()
    answer = await push(visit)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_in"] == 60
    request_uri = answer.json()["request_uri"]
    assert request_uri.startswith(PREFIX)
    assert len(request_uri.removeprefix(PREFIX)) == 43
    await use(visit, request_uri)
    await visit.enter(user.username)
    code = await visit.code()
    assert (code.user_id, code.client_id, code.redirect_uri) == (user.id, visit.client.client_id, CALLBACK)
    assert code.nonce == "n-1"
    assert visit.answer["state"] == visit.state


@pytest.mark.spec("RFC 9126 4; RFC 9101 5")
async def test_what_stands_beside_the_reference_is_not_looked_at(rig: Rig) -> None:
    visit, user = visit_of(rig, scope="openid"), await rig.person()
    beside = {"scope": "openid email", "state": "forged", "redirect_uri": "https://evil.example/", "prompt": "none"}
    await use(visit, await pushed(visit), **beside)
    await visit.enter(user.username)
    assert (await visit.code()).scope == ("openid",)
    assert visit.answer["state"] == visit.state


@pytest.mark.row(10)
@pytest.mark.spec("RFC 9126 7.3")
async def test_reference_is_used_once(rig: Rig) -> None:
    visit = visit_of(rig)
    request_uri = await pushed(visit)
    await use(visit, request_uri)
    assert visit.browser.page.has("sign-in")
    await use(visit, request_uri)
    page = visit.browser.page
    assert (page.status, page.location, page.error_code) == (400, "", "invalid_request_uri")


async def test_of_many_at_once_one_begins(rig: Rig) -> None:
    visit = visit_of(rig)
    request_uri = await pushed(visit)
    browsers = [rig.browser() for _ in range(12)]
    query = httpx2.QueryParams({"client_id": visit.client.client_id, "request_uri": request_uri})
    answers = await asyncio.gather(*(each.send("GET", f"{ISSUER}/oauth2/authorize?{query}") for each in browsers))
    assert sorted(page.status for page in answers) == [303] + [400] * 11


@pytest.mark.spec("RFC 9126 2.2, 7.1; RFC 9101 7")
async def test_foreign_expired_and_made_up_references_are_pages(own_rig: Rig) -> None:
    visit = visit_of(own_rig)
    request_uri = await pushed(visit)
    other = visit_of(own_rig)
    for unknown in (request_uri, PREFIX, f"{PREFIX}x", f"{PREFIX}{secrets.token_urlsafe(32)}"):
        await use(other, unknown)
        page = other.browser.page
        assert (page.status, page.location, page.error_code) == (400, "", "invalid_request_uri"), unknown
    own_rig.clock.advance(timedelta(seconds=91))
    await use(visit, request_uri)
    assert visit.browser.page.error_code == "invalid_request_uri"
    await sweep(own_rig.db(), feed=own_rig.feed, now=own_rig.clock())
    pool = await own_rig.db().raw_pool()
    assert await pool.fetchval("SELECT count(*) FROM authz.pushed_request") == 0


@pytest.mark.row(10)
async def test_another_clients_use_does_not_use_it_up(rig: Rig) -> None:
    visit, other = visit_of(rig), visit_of(rig)
    request_uri = await pushed(visit)
    await use(other, request_uri)
    await use(visit, request_uri)
    assert visit.browser.page.has("sign-in")


@pytest.mark.row(10)
@pytest.mark.spec("RFC 9126 2")
async def test_only_the_reference_of_a_pushed_request_is_one(rig: Rig) -> None:
    """Nothing is ever fetched; with a redirect URI of the client's the error goes there."""
    for uri in (EVIL, "urn:ietf:params:oauth:request", "file:///etc/passwd", "http://169.254.169.254/latest"):
        visit = visit_of(rig, request_uri=uri)
        await visit.start()
        assert visit.answer["error"] == "request_uri_not_supported"


async def test_a_request_that_dies_before_it_is_used(rig: Rig) -> None:
    """A cut of the client between pushing and using: what was pushed before it is nothing any more."""
    visit = visit_of(rig)
    request_uri = await pushed(visit)
    later = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(Service.TOKEN)) as session:
        entry = await revoke(
            session, claim=Claim.CLIENT_ID, value=visit.client.client_id, kind=RevocationKind.CUT, reason="test",
            until=later, keep_until=later,
        )  # fmt: skip
    assert await rig.feed.settle([entry], timeout=10)
    await use(visit, request_uri)
    assert visit.browser.page.error_code == "invalid_request_uri"
    await use(visit, await pushed(visit))
    assert visit.browser.page.has("sign-in")


async def test_request_is_checked_again_when_it_is_used(rig: Rig) -> None:
    """The client lost the scope in the meantime."""
    visit = visit_of(rig, scope="email")
    request_uri = await pushed(visit)
    narrowed = visit.client.model_copy(update={"scope": frozenset({"openid"})})
    rig.owners.clients[narrowed.client_id] = Exported(id=narrowed.client_id, version=2, data=narrowed)
    pool = await rig.db().raw_pool()
    await pool.execute(
        "UPDATE authz.client_copy SET version = 2, data = $2 WHERE id = $1",
        narrowed.client_id,
        narrowed.model_dump(mode="json"),
    )
    await use(visit, request_uri)
    assert visit.answer["error"] == "invalid_scope"


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "another request": ({"request_uri": f"{PREFIX}abc"}, "invalid_request"),
    "a request elsewhere": ({"request_uri": EVIL}, "invalid_request"),
    "foreign redirect_uri": ({"redirect_uri": "https://evil.example/cb"}, "invalid_request"),
    "no redirect_uri": ({"redirect_uri": ""}, "invalid_request"),
    "redirect_uri with script": ({"redirect_uri": "javascript:alert(1)"}, "invalid_request"),
    "no response_type": ({"response_type": ""}, "invalid_request"),
    "implicit": ({"response_type": "token"}, "unauthorized_client"),
    "plain challenge": ({"code_challenge_method": "plain"}, "invalid_request"),
    "no challenge": ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
    "scope of another": ({"scope": "watchword:admin"}, "invalid_scope"),
    "resource of another": ({"resource": "https://other.example"}, "invalid_target"),
    "hint that is none": ({"id_token_hint": "a.b.c"}, "invalid_request"),
    "contradicting prompt": ({"prompt": "none login"}, "invalid_request"),
    "another client": ({"client_id": "another"}, "invalid_request"),
}


@pytest.mark.spec("RFC 9126 2.1, 2.3")
@pytest.mark.parametrize(("changes", "error"), REFUSED.values(), ids=REFUSED.keys())
async def test_bad_request_is_refused_when_it_is_pushed(rig: Rig, changes: dict[str, str], error: str) -> None:
    answer = await push(visit_of(rig), **changes)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert answer.headers["cache-control"] == "no-store"


MALFORMED: dict[str, tuple[bytes, str]] = {
    "JSON": (b"{}", "application/json"),
    "no type": (b"client_id=x", "text/plain"),
    "repeated": (b"scope=a&scope=b", "application/x-www-form-urlencoded"),
    "broken escape": (b"scope=%zz", "application/x-www-form-urlencoded"),
    "NUL": (b"scope=%00", "application/x-www-form-urlencoded"),
    "not UTF-8": (b"scope=%ff", "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize(("body", "kind"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_unreadable_body_is_an_invalid_request(rig: Rig, body: bytes, kind: str) -> None:
    client = confidential(rig)
    answer = await rig.browser().client.post(
        f"{ISSUER}/oauth2/par", content=body, headers={**basic(client), "Content-Type": kind}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_too_large_a_request_is_refused(rig: Rig) -> None:
    answer = await push(visit_of(rig), state="x" * 70_000)
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")


async def test_only_post_pushes(rig: Rig) -> None:
    answer = await rig.browser().client.get(f"{ISSUER}/oauth2/par")
    assert (answer.status_code, answer.json()["error"]) == (405, "invalid_request")


@pytest.mark.spec("RFC 9126 2; RFC 6749 2.3")
async def test_wrong_client_credentials_get_one_answer(rig: Rig) -> None:
    client, public = confidential(rig), rig.client(token_endpoint_auth_method="none")
    disabled = confidential(rig, enabled=False)
    attempts: dict[str, tuple[ClientExport, dict[str, str], dict[str, str]]] = {
        "no credentials": (client, {}, {"client_id": ""}),
        "a confidential client without its secret": (client, {}, {}),
        "wrong secret": (client, basic(client, "wrong"), {}),
        "empty secret": (client, basic(client, ""), {}),
        "the other method": (client, {}, {"client_secret": SECRET}),
        "unknown": (client, basic(client.model_copy(update={"client_id": "nobody"})), {"client_id": ""}),
        "disabled": (disabled, basic(disabled), {}),
        "a public client with a secret": (public, basic(public), {}),
        "not Basic": (client, {"Authorization": "Bearer x"}, {}),
    }
    seen = set()
    for name, (who, headers, changes) in attempts.items():
        answer = await push(visit_of(rig, who), headers, **changes)
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("Basic"), name
        seen.add(answer.text)
    assert len(seen) == 1
    assert '"invalid_client"' in seen.pop()


async def test_public_client_pushes_by_its_name(rig: Rig) -> None:
    visit = visit_of(rig, rig.client(token_endpoint_auth_method="none"))
    answer = await push(visit, {})
    assert answer.status_code == 201
    await use(visit, answer.json()["request_uri"])
    assert visit.browser.page.has("sign-in")


async def test_secret_that_was_changed_a_moment_ago_works_at_once(rig: Rig) -> None:
    visit = visit_of(rig, rig.client(secrets=[{"id": "0", "hash": f"sha256:{'0' * 64}"}]))
    assert (await push(visit)).status_code == 401
    changed = visit.client.model_copy(update={"secrets": confidential(rig).secrets})
    rig.owners.clients[changed.client_id] = Exported(id=changed.client_id, version=2, data=changed)
    async with asyncio.timeout(30):
        while (await push(visit)).status_code != 201:
            await asyncio.sleep(0.1)


@pytest.mark.spec("RFC 9126 6")
async def test_client_that_has_to_push_is_refused_elsewhere(rig: Rig) -> None:
    visit = visit_of(rig, confidential(rig, require_pushed_authorization_requests=True))
    await visit.start()
    assert (visit.answer["error"], visit.answer["state"]) == ("invalid_request", visit.state)
    await use(visit, await pushed(visit))
    assert visit.browser.page.has("sign-in")


async def test_hint_is_pushed_and_its_token_is_not_kept(rig: Rig) -> None:
    client, user = confidential(rig), await rig.person()
    token = rig.id_token(user.id, client)
    visit = visit_of(rig, client, id_token_hint=token, prompt="none")
    request_uri = await pushed(visit)
    pool = await rig.db().raw_pool()
    rows = await pool.fetch("SELECT t::text AS row FROM authz.pushed_request t WHERE client_id = $1", client.client_id)
    assert len(rows) == 1
    for secret in (token.rpartition(".")[2], request_uri.removeprefix(PREFIX), SECRET):
        assert secret not in rows[0]["row"]
    await use(visit, request_uri)
    assert visit.answer["error"] == "login_required"


async def test_one_address_pushes_so_many(
    postgres: Any, database_template: Any, tmp_path: Any, clock: Any, canary: Any
) -> None:
    async with running(postgres, database_template, tmp_path, clock, canary, pushes_per_s="1") as rig:
        visit = visit_of(rig)
        answers = [await push(visit) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [201] * 5 + [429]
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["retry-after"]) >= 1


async def test_guessing_secrets_ends_in_429(
    postgres: Any, database_template: Any, tmp_path: Any, clock: Any, canary: Any
) -> None:
    settings = {"client_failure_burst": "3", "client_failure_rate": "0.01"}
    async with running(postgres, database_template, tmp_path, clock, canary, **settings) as rig:
        visit = visit_of(rig)
        statuses = [(await push(visit, basic(visit.client, "wrong"))).status_code for _ in range(5)]
        assert statuses == [401] * 3 + [429] * 2
        assert (await push(visit)).status_code == 429
        elsewhere = rig.browser("192.0.2.99")
        assert (await push(Visit(rig, elsewhere, visit.client))).status_code == 201


@pytest.mark.spec("RFC 9449 10, 10.1; RFC 9449 8.2")
@pytest.mark.parametrize("named", [True, False])
async def test_proof_binds_the_code_to_its_key(rig: Rig, named: bool) -> None:
    holder, user = Holder(), await rig.person()
    visit = visit_of(rig, dpop_jkt=holder.thumbprint if named else "")
    proof = holder.proof("POST", f"{ISSUER}/oauth2/par", now=rig.clock().timestamp())
    answer = await push(visit, {**basic(visit.client), "DPoP": proof})
    assert answer.status_code == 201, answer.text
    assert answer.headers["dpop-nonce"]
    with_nonce = holder.proof(
        "POST", f"{ISSUER}/oauth2/par", nonce=answer.headers["dpop-nonce"], now=rig.clock().timestamp() + 200
    )
    assert (await push(visit, {**basic(visit.client), "DPoP": with_nonce})).status_code == 201
    await use(visit, answer.json()["request_uri"])
    await visit.enter(user.username)
    assert (await visit.code()).dpop_jkt == holder.thumbprint


async def test_key_may_be_named_without_a_proof(rig: Rig) -> None:
    thumbprint, user = Holder().thumbprint, await rig.person()
    visit = visit_of(rig, dpop_jkt=thumbprint)
    await visit.start()
    await visit.enter(user.username)
    assert (await visit.code()).dpop_jkt == thumbprint


BAD_PROOFS: dict[str, dict[str, Any]] = {
    "another method": {"method": "GET"},
    "another endpoint": {"url": f"{ISSUER}/oauth2/token"},
    "old": {"now": 1_000_000_000.0},
    "of the future": {"now": 4_000_000_000.0},
    "no proof by its type": {"header": {"typ": "JWT"}},
    "unsigned": {"header": {"alg": "none"}},
    "no jti": {"jti": ""},
}


@pytest.mark.spec("RFC 9449 4.3")
@pytest.mark.parametrize("changes", BAD_PROOFS.values(), ids=BAD_PROOFS.keys())
async def test_bad_proof_is_refused(rig: Rig, changes: dict[str, Any]) -> None:
    given = {"method": "POST", "url": f"{ISSUER}/oauth2/par", "now": rig.clock().timestamp(), **changes}
    visit = visit_of(rig)
    answer = await push(visit, {**basic(visit.client), "DPoP": Holder().proof(given.pop("method"), **given)})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_proof_of_another_key_than_the_named_one_and_a_used_one_are_refused(rig: Rig) -> None:
    visit = visit_of(rig, dpop_jkt=Holder().thumbprint)
    proof = Holder().proof("POST", f"{ISSUER}/oauth2/par", now=rig.clock().timestamp())
    headers = {**basic(visit.client), "DPoP": proof}
    assert (await push(visit, headers)).json()["error"] == "invalid_request"
    assert (await push(visit_of(rig, visit.client), headers)).json()["error"] == "invalid_dpop_proof"
    guessed = Holder().proof("POST", f"{ISSUER}/oauth2/par", nonce="guessed", now=rig.clock().timestamp())
    answer = await push(visit, {**basic(visit.client), "DPoP": guessed})
    assert (answer.status_code, answer.json()["error"]) == (400, "use_dpop_nonce")
    assert answer.headers["dpop-nonce"]


@pytest.mark.spec("RFC 8707 2")
async def test_several_resources_are_pushed(rig: Rig) -> None:
    client, user = (
        confidential(rig, audience=["https://a.test", "https://b.test", "https://c.test"]),
        await rig.person(),
    )
    visit = visit_of(rig, client)
    form = [*visit.query.items(), ("resource", "https://c.test"), ("resource", "https://a.test")]
    answer = await visit.browser.client.post(
        f"{ISSUER}/oauth2/par", content=str(httpx2.QueryParams(form)).encode(),
        headers={**basic(client), "Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    await use(visit, answer.json()["request_uri"])
    await visit.enter(user.username)
    assert (await visit.code()).resource == ("https://c.test", "https://a.test")
