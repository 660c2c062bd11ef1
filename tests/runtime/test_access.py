"""Who calls the administration: by access token, by API key, or not at all."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from watchword_database import Database, bus, key_uses, transaction
from watchword_events.exports import ApiKeyExport, UserExport
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime import opaque_tokens
from watchword_runtime.access import Access, AccessDenied, Caller
from watchword_runtime.broker import Broker
from watchword_runtime.clock import Clock
from watchword_runtime.connections import Origin
from watchword_runtime.feed import Feed, FeedAway
from watchword_runtime.internal import InternalClients, Unreachable, router
from watchword_runtime.jwks import Genuine
from watchword_runtime.key_uses import KeyUses
from watchword_runtime.keyring import Keyring
from watchword_runtime.service import Receive, Scope, Send
from watchword_testkit.databases import TestDatabase

from .conftest import SettingsFor

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUER = "http://localhost:8080"
KEYS: dict[str, tuple[str, Key]] = {
    "es": ("ES256", ECKey.generate_key("P-256")),
    "rs": ("RS256", RSAKey.generate_key(2048)),
    "ed": ("EdDSA", OKPKey.generate_key("Ed25519")),
}


def public_jwk(kid: str) -> dict[str, Any]:
    alg, key = KEYS[kid]
    return {**key.as_dict(private=False), "kid": kid, "alg": alg, "use": "sig"}


class TokenService:
    """Serves a key set and opens opaque tokens, counts how often it was asked. status: unless it is 200."""

    def __init__(self, keyring: Keyring, now: Clock) -> None:
        self.keys = [public_jwk(kid) for kid in KEYS]
        self.asked = 0
        self.status = 200
        self.sealed: dict[str, Genuine] = {}
        self.targets: list[str] = []
        self.inside = FastAPI()
        replies = {opaque_tokens.QUESTION: opaque_tokens.reply_of(self.open)}
        self.inside.include_router(router(keyring, Service.TOKEN, {}, replies=replies, now=now))

    async def open(self, token: str) -> Genuine | None:
        return self.sealed.get(token)

    def seal(self, claims: Mapping[str, Any]) -> str:
        """An opaque token that says this."""
        token = f"head..{len(self.sealed)}.text.tag"
        self.sealed[token] = Genuine(claims, "enc")
        return token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        self.targets.append(f"{scope['path']}?{scope['query_string'].decode()}")
        if self.status == 200 and scope["path"].startswith("/internal/"):
            await self.inside(scope, receive, send)
            return
        assert scope["path"] == "/oauth2/jwks" or self.status != 200
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": orjson.dumps({"keys": self.keys})})


class World:
    """One service with its copies of users and keys."""

    def __init__(self, settings_for: SettingsFor, database: TestDatabase) -> None:
        self.now = NOW
        self.users = {
            "ada": UserExport(id="ada", username="ada", claims_version=1, roles=("administrator",)),
            "bob": UserExport(id="bob", username="bob", claims_version=1),
            "eve": UserExport(id="eve", username="eve", claims_version=1, roles=("administrator",), active=False),
        }
        self.api_keys: dict[str, ApiKeyExport] = {}
        self.ends_meanwhile = False
        self.database = database.open(Service.TOKEN)
        settings = settings_for(Service.TOKEN)
        self.token = TokenService(settings.keyring, lambda: self.now)
        self.feed = Feed(self.database, Broker(settings, self.database))

        async def find_user(user_id: str) -> UserExport | None:
            return self.users.get(user_id)

        async def find_api_key(key_id: str) -> ApiKeyExport | None:
            if self.ends_meanwhile:
                await self.feed.stop()
            return self.api_keys.get(key_id)

        internal = InternalClients({Service.TOKEN: self.token}, lambda: self.now).of(settings, Service.TOKEN)
        self.key_uses = KeyUses(self.database)
        common = {"feed": self.feed, "internal": internal, "find_user": find_user, "find_api_key": find_api_key}
        common["key_uses"] = self.key_uses
        self.access = Access(settings, now=lambda: self.now, **common)  # type: ignore[arg-type]  # see `common`
        self.of_token = Access(settings, now=lambda: self.now, open_opaque=self.token.open, **common)  # type: ignore[arg-type]  # see `common`

    async def bearer(self, token: str) -> Caller:
        return await self.access.caller({"authorization": f"Bearer {token}"})

    async def revoke(self, claim: Claim, value: str, kind: RevocationKind = RevocationKind.CUT) -> None:
        until = NOW + timedelta(days=400)
        async with transaction(self.database) as session:
            entry = await bus.revoke(
                session, claim=claim, value=value, kind=kind, reason="test", until=until, keep_until=until
            )
            self.feed.pend(entry, claim, value)


@pytest.fixture
async def world(settings_for: SettingsFor, database: TestDatabase) -> AsyncIterator[World]:
    made = World(settings_for, database)
    await made.feed.start()
    yield made
    await made.feed.stop()


def claims(**changes: object) -> dict[str, Any]:
    seconds = int(NOW.timestamp())
    made = {
        "iss": ISSUER,
        "aud": ["client", ISSUER],
        "sub": "ada",
        "client_id": "client",
        "scope": "openid watchword:admin",
        "jti": "j",
        "gid": "g",
        "sid": "s",
        "rev": 1 << 40,
        "iat": seconds,
        "exp": seconds + 300,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def token(kid: str = "es", *, header: dict[str, Any] | None = None, key: Key | None = None, **changes: object) -> str:
    alg, own = KEYS[kid]
    head = {"alg": alg, "typ": "at+jwt", "kid": kid, **(header or {})}
    return jwt.encode(
        {name: value for name, value in head.items() if value is not None},
        claims(**changes),
        key or own,
        algorithms=[head["alg"]],
        default_type=None,
    )


@pytest.mark.spec("RFC 6750 2.1")
@pytest.mark.spec("RFC 9068 4")
@pytest.mark.parametrize("kid", list(KEYS))
async def test_an_administrator_calls_with_an_access_token(world: World, kid: str) -> None:
    caller = await world.bearer(token(kid))
    assert (caller.user_id, caller.client_id, caller.api_key_id) == ("ada", "client", None)
    assert caller.is_administrator


@pytest.mark.spec("RFC 9068 2.2")
@pytest.mark.spec("RFC 6750 3.1")
async def test_a_machine_calls_with_a_scope(world: World) -> None:
    caller = await world.bearer(token(sub="client", scope="watchword:events"))
    assert caller.user_id is None
    assert caller.require_scope("watchword:events") is caller
    assert not caller.is_administrator
    with pytest.raises(AccessDenied) as refused:
        caller.require_scope("watchword:scim")
    assert refused.value.status == 403
    assert 'error="insufficient_scope"' in refused.value.headers["WWW-Authenticate"]
    assert (await world.bearer(token(sub="client", scope="watchword:admin"))).is_administrator


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sub": "bob"}, id="without the role"),
        pytest.param({"scope": "openid profile"}, id="in an application that has no administration"),
        pytest.param({"scope": None}, id="without any scope"),
    ],
)
async def test_role_and_scope_are_both_needed(world: World, changes: dict[str, Any]) -> None:
    caller = await world.bearer(token(**changes))
    assert not caller.is_administrator


def tampered(text: str) -> str:
    head, payload, signature = text.split(".")
    body = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    body["sub"] = "somebody"
    return f"{head}.{base64.urlsafe_b64encode(orjson.dumps(body)).decode().rstrip('=')}.{signature}"


def unsigned(alg: str) -> str:
    head = base64.urlsafe_b64encode(orjson.dumps({"alg": alg, "typ": "at+jwt", "kid": "es"})).decode().rstrip("=")
    return f"{head}.{token().split('.')[1]}.AA"


def hs256_with_the_public_key() -> str:
    """The old confusion: the verifier's public key taken as the secret of an HMAC."""
    key = KEYS["rs"][1]
    assert isinstance(key, RSAKey)
    secret = key.as_pem(private=False)
    head = base64.urlsafe_b64encode(orjson.dumps({"alg": "HS256", "typ": "at+jwt", "kid": "rs"})).decode().rstrip("=")
    signed = f"{head}.{token().split('.')[1]}"
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


SECONDS = int(NOW.timestamp())
DEEP = base64.urlsafe_b64encode(b"[" * 6000).decode().rstrip("=")


@pytest.mark.row(15, 17)
@pytest.mark.spec("RFC 8725 3.1")
@pytest.mark.spec("RFC 8725 3.11")
@pytest.mark.spec("RFC 9068 4")
@pytest.mark.parametrize(
    "presented",
    [
        pytest.param(lambda: token(header={"typ": "JWT"}), id="an ID token"),
        pytest.param(lambda: token(header={"typ": "logout+jwt"}), id="a logout token"),
        pytest.param(lambda: token(header={"typ": None}), id="without typ"),
        pytest.param(lambda: token(iss="https://other.example"), id="of another issuer"),
        pytest.param(lambda: token(aud="client"), id="for somebody else"),
        pytest.param(lambda: token(aud=[]), id="for nobody"),
        pytest.param(lambda: token(aud=None), id="without aud"),
        pytest.param(lambda: token(exp=SECONDS), id="expired"),
        pytest.param(lambda: token(exp=None), id="without exp"),
        pytest.param(lambda: token(exp=str(SECONDS + 300)), id="exp as text"),
        pytest.param(lambda: token(iat=SECONDS + 60), id="from the future"),
        pytest.param(lambda: token(iat=None), id="without iat"),
        pytest.param(lambda: token(nbf=SECONDS + 60), id="not yet"),
        pytest.param(lambda: token(sub=None), id="without sub"),
        pytest.param(lambda: token(sub=["ada"]), id="sub as list"),
        pytest.param(lambda: token(client_id=None), id="without client_id"),
        pytest.param(lambda: token(jti=None), id="without jti"),
        pytest.param(lambda: token(scope=["watchword:admin"]), id="scope as list"),
        pytest.param(lambda: token(key=ECKey.generate_key("P-256")), id="signed by a stranger"),
        pytest.param(lambda: token(header={"kid": "rs"}), id="alg of another key"),
        pytest.param(lambda: token(header={"kid": "unknown"}), id="unknown kid"),
        pytest.param(lambda: token(header={"kid": "../../dev/null"}), id="kid as path"),
        pytest.param(lambda: tampered(token()), id="altered"),
        pytest.param(lambda: unsigned("none"), id="alg none"),
        pytest.param(lambda: unsigned("None"), id="alg None"),
        pytest.param(hs256_with_the_public_key, id="HMAC with the public key"),
        pytest.param(lambda: token() + "=", id="padded"),
        pytest.param(lambda: token() + ".", id="one dot more"),
        pytest.param(lambda: token().replace(".", ".."), id="empty part"),
        pytest.param(lambda: "." * 1_000_000, id="a million dots"),
        pytest.param(lambda: "x" * 17_000, id="17 KB"),
        pytest.param(lambda: f"{DEEP}.{DEEP}.AA", id="deep header"),
        pytest.param(lambda: f"{token().split('.')[0]}.{DEEP}.AA", id="deep payload"),
        pytest.param(lambda: "bm90IGpzb24.e30.AA", id="header is no JSON"),
        pytest.param(lambda: "W10.e30.AA", id="header is no object"),
        pytest.param(lambda: token(cnf={"jkt": "x"}), id="bound to a key"),
        pytest.param(lambda: token(cnf={"x5t#S256": "x"}), id="bound to a certificate"),
        pytest.param(lambda: token(sub="nobody"), id="unknown user"),
        pytest.param(lambda: token(sub="eve"), id="disabled user"),
    ],
)
async def test_what_is_no_access_token_is_refused(world: World, presented: Any) -> None:
    with pytest.raises(AccessDenied) as refused:
        await world.bearer(presented())
    assert refused.value.status == 401
    assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (Claim.JTI, "j"),
        (Claim.GID, "g"),
        (Claim.SID, "s"),
        (Claim.SUB, "ada"),
        (Claim.CLIENT_ID, "client"),
        (Claim.KID, "es"),
        (Claim.ALL, ""),
    ],
)
async def test_what_was_revoked_is_refused(world: World, claim: Claim, value: str) -> None:
    assert (await world.bearer(token())).user_id == "ada"
    await world.revoke(claim, value, RevocationKind.STATE if claim is Claim.KID else RevocationKind.CUT)
    with pytest.raises(AccessDenied):
        await world.bearer(token())


async def test_nobody_is_believed_before_the_ledger_was_loaded(world: World) -> None:
    await world.feed.stop()
    with pytest.raises(FeedAway):  # 503: nobody is dead either
        await world.bearer(token())


async def test_nobody_is_dead_because_looking_up_took_too_long(world: World) -> None:
    headers = {"watchword-api-key": api_key(world)}
    assert (await world.access.caller(headers)).user_id
    world.ends_meanwhile = True
    with pytest.raises(FeedAway):
        await world.access.caller(headers)


@pytest.mark.spec("RFC 6750 3")
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer"}, {"authorization": "Bearer  "}],
)
async def test_without_a_credential_there_is_a_plain_challenge(world: World, headers: dict[str, str]) -> None:
    with pytest.raises(AccessDenied) as refused:
        await world.access.caller(headers)
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}


async def test_two_credentials_are_refused(world: World) -> None:
    key = api_key(world)
    for headers in (
        {"authorization": f"Bearer {token()}", "watchword-api-key": key},
        {"argus-api-key": key, "watchword-api-key": key},
    ):
        with pytest.raises(AccessDenied, match="one credential"):
            await world.access.caller(headers)


# Opaque tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 9068 4")
@pytest.mark.parametrize("changes", [{}, {"sub": "bob"}, {"permissions": ["a"], "scope": None, "idp": "corp"}])
async def test_an_opaque_token_is_worth_what_a_jwt_with_its_claims_is(world: World, changes: dict[str, Any]) -> None:
    opaque = world.token.seal(claims(**changes))
    caller = await world.bearer(opaque)
    assert caller == await world.bearer(token(**changes))
    assert caller == await world.of_token.caller({"authorization": f"Bearer {opaque}"})


@pytest.mark.row(15, 17)
@pytest.mark.spec("RFC 9068 4")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"iss": "https://other.example"}, id="of another issuer"),
        pytest.param({"aud": "client"}, id="for somebody else"),
        pytest.param({"aud": []}, id="for nobody"),
        pytest.param({"aud": None}, id="without aud"),
        pytest.param({"exp": SECONDS}, id="expired"),
        pytest.param({"iat": SECONDS + 60}, id="from the future"),
        pytest.param({"sub": None}, id="without sub"),
        pytest.param({"sub": ["ada"]}, id="sub as list"),
        pytest.param({"client_id": None}, id="without client_id"),
        pytest.param({"jti": None}, id="without jti"),
        pytest.param({"scope": ["watchword:admin"]}, id="scope as list"),
        pytest.param({"cnf": {"jkt": "x"}}, id="bound to a key"),
        pytest.param({"cnf": {"x5t#S256": "x"}}, id="bound to a certificate"),
        pytest.param({"client_ip": "198.51.100.1", "client_ip_ranges": ["192.0.2.0/24"]}, id="for another address"),
        pytest.param({"sub": "nobody"}, id="unknown user"),
        pytest.param({"sub": "eve"}, id="disabled user"),
    ],
)
async def test_an_opaque_token_meets_the_checks_of_a_jwt(world: World, changes: dict[str, Any]) -> None:
    opaque = world.token.seal(claims(**changes))
    application = Origin({b"x-forwarded-for": b"198.51.100.2"}, "192.0.2.9")
    for access, presented in (
        (world.access, opaque),
        (world.of_token, opaque),
        (world.access, token(**changes)),
    ):
        with pytest.raises(AccessDenied) as refused:
            await access.caller({"authorization": f"Bearer {presented}"}, application)
        assert refused.value.status == 401
        assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("presented", "asked"),
    [
        pytest.param("head..0.text.ta", 1, id="truncated"),
        pytest.param("head..9.text.tag", 1, id="of nobody"),
        pytest.param("head.key.0.text.tag", 0, id="with a wrapped key"),
        pytest.param("head..0.text.tag=", 0, id="padded"),
        pytest.param("....", 0, id="four dots"),
        pytest.param("head..0.te xt.tag", 0, id="with a space"),
        pytest.param("head..0.te\u00e9xt.tag", 0, id="beyond ASCII"),
        pytest.param(f"head..0.{'x' * 17_000}.tag", 0, id="17 KB"),
    ],
)
async def test_what_nobody_sealed_is_refused(world: World, presented: str, asked: int) -> None:
    world.token.seal(claims())
    with pytest.raises(AccessDenied) as refused:
        await world.bearer(presented)
    assert (refused.value.status, refused.value.error) == (401, "invalid_token")
    assert world.token.asked == asked


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (Claim.JTI, "j"),
        (Claim.GID, "g"),
        (Claim.SID, "s"),
        (Claim.SUB, "ada"),
        (Claim.CLIENT_ID, "client"),
        (Claim.KID, "enc"),
        (Claim.ALL, ""),
    ],
)
async def test_a_revoked_opaque_token_is_refused_though_what_it_says_is_known(
    world: World, claim: Claim, value: str
) -> None:
    opaque = world.token.seal(claims())
    assert (await world.bearer(opaque)).user_id == "ada"
    await world.revoke(claim, value, RevocationKind.STATE if claim is Claim.KID else RevocationKind.CUT)
    with pytest.raises(AccessDenied):
        await world.bearer(opaque)
    assert world.token.asked == 1


async def test_what_an_opaque_token_says_is_known_for_five_seconds_and_not_beyond_its_life(world: World) -> None:
    long, short = world.token.seal(claims()), world.token.seal(claims(exp=SECONDS + 2))
    for seconds, asked in ((0, 1), (1, 1), (4.9, 1), (5, 2), (9, 2), (4, 3), (8.9, 3), (9, 4)):
        world.now = NOW + timedelta(seconds=seconds)
        await world.bearer(long)
        assert (seconds, world.token.asked) == (seconds, asked)
    world.now = NOW
    await world.bearer(short)
    world.now = NOW + timedelta(seconds=2)
    del world.token.sealed[short]
    with pytest.raises(AccessDenied):
        await world.bearer(short)
    assert world.token.asked == asked + 2


async def test_no_more_than_two_thousand_opaque_tokens_are_known(world: World) -> None:
    tokens = [world.token.seal(claims(jti=str(number))) for number in range(2_001)]
    for each in (*tokens, tokens[-1], tokens[1]):
        await world.bearer(each)
    assert world.token.asked == 2_001
    await world.bearer(tokens[0])
    assert world.token.asked == 2_002


async def test_an_opaque_token_stands_in_no_address(world: World) -> None:
    opaque = world.token.seal(claims())
    await world.bearer(opaque)
    assert world.token.targets == ["/internal/ask/opaque-token?"]


async def test_while_nobody_can_open_it_an_opaque_token_is_an_outage_and_not_a_refusal(world: World) -> None:
    opaque, other = world.token.seal(claims()), world.token.seal(claims(sub="bob"))
    await world.bearer(opaque)
    world.token.status = 500
    assert (await world.bearer(opaque)).user_id == "ada"
    for _ in range(2):
        with pytest.raises(Unreachable):
            await world.bearer(other)
    world.now += timedelta(seconds=5)
    with pytest.raises(Unreachable):
        await world.bearer(opaque)


# Keys ----------------------------------------------------------------------------------------------------------------


async def test_keys_are_fetched_once(world: World) -> None:
    for _ in range(3):
        await world.bearer(token())
    assert world.token.asked == 1


async def test_unknown_kids_do_not_keep_the_key_service_busy(world: World) -> None:
    for number in range(20):
        with pytest.raises(AccessDenied):
            await world.bearer(token(header={"kid": f"k{number}"}))
    assert world.token.asked == 1


async def test_a_key_that_left_is_not_used_any_more(world: World) -> None:
    await world.bearer(token())
    world.token.keys = [public_jwk("rs")]
    world.access.keys.changed()
    with pytest.raises(AccessDenied):
        await world.bearer(token("es"))
    assert (await world.bearer(token("rs"))).user_id == "ada"


@pytest.mark.spec("RFC 8725 3.1")
@pytest.mark.spec("RFC 8725 3.2")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"use": "enc"}, id="for encryption"),
        pytest.param({"alg": "HS256"}, id="for HMAC"),
        pytest.param({"alg": None}, id="without algorithm"),
        pytest.param({"alg": "RS256"}, id="of another kind than its algorithm"),
        pytest.param({"x": "AA"}, id="not on the curve"),
        pytest.param({"crv": "P-384"}, id="of another curve"),
    ],
)
async def test_a_key_that_is_not_for_signing_verifies_nothing(world: World, change: dict[str, Any]) -> None:
    world.token.keys = [{**public_jwk("es"), **change}]
    with pytest.raises(AccessDenied):
        await world.bearer(token())


@pytest.mark.spec("RFC 8725 3.2")
async def test_a_short_rsa_key_verifies_nothing(world: World) -> None:
    short = RSAKey.generate_key(1024)
    world.token.keys = [{**short.as_dict(private=False), "kid": "rs", "alg": "RS256", "use": "sig"}]
    with pytest.raises(AccessDenied):
        await world.bearer(token("rs", key=short))


async def test_without_keys_the_answer_is_an_outage_and_not_a_refusal(world: World) -> None:
    world.token.status = 500
    with pytest.raises(Unreachable):
        await world.bearer(token())


async def test_known_keys_go_on_while_the_key_service_is_away(world: World) -> None:
    await world.bearer(token())
    world.token.status = 500
    world.access.keys.changed()
    assert (await world.bearer(token())).user_id == "ada"


# API keys ------------------------------------------------------------------------------------------------------------


def api_key(world: World, **changes: Any) -> str:
    secret = "s3cret"
    made: dict[str, Any] = {
        "id": "key",
        "user_id": "ada",
        "name": "laptop",
        "secret_hash": hashlib.sha256(secret.encode()).hexdigest(),
        "scope": frozenset({"watchword:admin"}),
        "rev": 1 << 40,
        "created_at_s": SECONDS,
        **changes,
    }
    world.api_keys["key"] = ApiKeyExport(**made)
    return f"key.{secret}"


@pytest.mark.parametrize("header", ["watchword-api-key", "argus-api-key"])
async def test_a_person_calls_with_an_api_key(world: World, header: str) -> None:
    caller = await world.access.caller({header: api_key(world)})
    assert (caller.user_id, caller.client_id, caller.api_key_id) == ("ada", None, "key")
    assert caller.is_administrator


@pytest.mark.parametrize(
    ("presented", "changes"),
    [
        pytest.param("key.wrong", {}, id="wrong secret"),
        pytest.param("key.", {}, id="no secret"),
        pytest.param("key", {}, id="no dot"),
        pytest.param("other.s3cret", {}, id="unknown"),
        pytest.param("key.s3crét", {}, id="not ASCII"),
        pytest.param("key." + "x" * 300, {}, id="long"),
        pytest.param("key.s3cret", {"expires_at_s": SECONDS}, id="expired"),
        pytest.param("key.s3cret", {"user_id": "eve"}, id="of a disabled user"),
        pytest.param("key.s3cret", {"user_id": "gone"}, id="of a deleted user"),
    ],
)
async def test_a_bad_api_key_is_refused(world: World, presented: str, changes: dict[str, Any]) -> None:
    api_key(world, **changes)
    with pytest.raises(AccessDenied) as refused:
        await world.access.caller({"watchword-api-key": presented})
    assert refused.value.status == 401


async def last_use(world: World) -> datetime | None:
    async with transaction(world.database) as session:
        return (await key_uses.last(session, ["key", "unknown"])).get("key")


async def test_a_key_s_use_is_written_once_an_hour_however_many_processes_take_it(world: World) -> None:
    key, other = api_key(world), KeyUses(world.database)
    with pytest.raises(AccessDenied):
        await world.access.caller({"watchword-api-key": "key.wrong"})
    await world.key_uses.flush()
    assert await last_use(world) is None
    seen = []
    for minutes in (0, 59, 60, 119):
        world.now = NOW + timedelta(minutes=minutes)
        await world.access.caller({"watchword-api-key": key})
        await world.key_uses.flush()
        other.note("key", world.now - timedelta(seconds=1) if minutes else world.now)
        await other.flush()
        seen.append(await last_use(world))
    assert seen == [NOW, NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=1)]


async def test_a_key_is_taken_while_its_use_cannot_be_written(world: World, database: TestDatabase) -> None:
    nowhere = Database(database.url(Service.TOKEN).replace(f"/{database.name}", "/nowhere"), service=Service.TOKEN)
    world.key_uses._database = nowhere
    for _ in range(2):
        caller = await world.access.caller({"watchword-api-key": api_key(world)})
        assert caller.api_key_id == "key"
        with pytest.raises(Exception, match="nowhere"):
            await world.key_uses.flush()
    world.key_uses._database = world.database
    await world.key_uses.flush()
    assert await last_use(world) == NOW
    await nowhere.dispose()


@pytest.mark.parametrize(("claim", "value"), [(Claim.GID, "key"), (Claim.SUB, "ada")])
async def test_a_revoked_api_key_is_refused(world: World, claim: Claim, value: str) -> None:
    key = api_key(world)
    await world.access.caller({"watchword-api-key": key})
    await world.revoke(claim, value)
    with pytest.raises(AccessDenied):
        await world.access.caller({"watchword-api-key": key})
