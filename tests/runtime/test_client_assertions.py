"""Client assertions: one row for each thing that RFC 7523 section 3 and RFC 8725 forbid, and how keys are found."""

import hmac
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Final

import httpx2
import pytest
from joserfc.jwk import OctKey

from watchword_events.exports import ClientExport
from watchword_events.names import Service
from watchword_runtime import outbound
from watchword_runtime.client_assertions import (
    KEY_ALGS,
    SECRET_ALGS,
    AssertionKeys,
    Assertions,
    NotProved,
    client_named_in,
)
from watchword_runtime.client_keys import ClientKeys, RegisteredKeys, key_set
from watchword_runtime.client_proofs import proofs_of
from watchword_runtime.keyring import Sealer
from watchword_testkit.clock import TestClock
from watchword_testkit.holder import LEFT_OUT, Holder, b64, compact

from .conftest import SettingsFor
from .test_published import Site, running

ISSUER: Final = "https://sso.example"
CLIENT: Final = "app"
HOLDER: Final = Holder()
SECRET: Final = "a secret of thirty-two characters"
SEALER: Final = Sealer(b"k" * 32, 1)


class World:
    """Assertions with a memory of what was used."""

    def __init__(self, http: httpx2.AsyncClient, clock: TestClock) -> None:
        self.used: set[tuple[str, str]] = set()
        self.clock = clock

        async def spend(purpose: str, key: str, until_s: float) -> bool:
            assert until_s > clock().timestamp()
            is_first = (purpose, key) not in self.used
            self.used.add((purpose, key))
            return is_first

        self.checks = Assertions(ISSUER, ClientKeys(http, clock), SEALER, spend, clock)

    async def check(self, keys: AssertionKeys, assertion: str) -> None:
        await self.checks.check(CLIENT, keys, assertion)

    def signed(self, holder: Holder = HOLDER, audience: object = ISSUER, **changes: Any) -> str:
        return holder.assertion(CLIENT, audience, now=self.clock().timestamp(), **changes)

    async def refused(self, keys: AssertionKeys, assertion: str) -> str:
        with pytest.raises(NotProved) as caught:
            await self.check(keys, assertion)
        return str(caught.value)


@pytest.fixture
async def world(settings_for: SettingsFor, clock: TestClock) -> AsyncIterator[World]:
    async with outbound.client(settings_for(Service.TOKEN, environment="demo")) as http:
        yield World(http, clock)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as made:
        yield made


def registered(*holders: Holder, alg: str | None = None) -> AssertionKeys:
    document: dict[str, Any] = {"keys": [key for holder in holders for key in holder.jwks["keys"]]}  # type: ignore[attr-defined]  # a list
    return AssertionKeys(KEY_ALGS if alg is None else (alg,), keys=RegisteredKeys(key_set(document)))


def with_secret(*secrets: str) -> AssertionKeys:
    return AssertionKeys(SECRET_ALGS, sealed=tuple(SEALER.seal(secret.encode(), CLIENT.encode()) for secret in secrets))


BY_KEY: Final = registered(HOLDER)
BY_SECRET: Final = with_secret(SECRET)
HMAC: Final = Holder("HS256", OctKey.import_key(SECRET))


@pytest.mark.spec("RFC 7523 3; OpenID Connect Core 9")
@pytest.mark.parametrize("alg", KEY_ALGS)
async def test_a_client_proves_itself_with_its_key(world: World, alg: str) -> None:
    holder = Holder(alg)
    await world.check(registered(holder), world.signed(holder))
    await world.check(registered(holder), world.signed(holder, header={"typ": "client-authentication+jwt"}))
    await world.check(registered(holder, alg=alg), world.signed(holder, header={"typ": "JWT", "kid": LEFT_OUT}))


@pytest.mark.spec("OpenID Connect Core 9; RFC 7518 3.2")
async def test_a_client_proves_itself_with_any_of_its_secrets(world: World) -> None:
    for keys in (BY_SECRET, with_secret("another secret, 32 characters or so", SECRET)):
        await world.check(keys, world.signed(HMAC, header={"kid": LEFT_OUT}))


def head(**changes: object) -> Callable[[World], str]:
    return lambda world: world.signed(header=changes)


def said(**changes: object) -> Callable[[World], str]:
    return lambda world: world.signed(**changes)


def at(name: str, off_s: float) -> Callable[[World], str]:
    return lambda world: world.signed(**{name: world.clock().timestamp() + off_s})


def with_public_key_as_secret(world: World) -> str:
    """RFC 8725 2.1: what everybody knows, used as a secret."""
    message = compact({"alg": "HS256", "kid": HOLDER.kid}, {}, HOLDER.key, "ES256").rpartition(".")[0]
    return f"{message}.{b64(hmac.digest(HOLDER.key.as_pem(private=False), message.encode(), 'sha256'))}"


@pytest.mark.row(12)
@pytest.mark.spec("RFC 7523 3; RFC 8725 3.1; RFC 8725 3.11")
@pytest.mark.parametrize(
    "assertion",
    [
        pytest.param(lambda _: "", id="nothing"),
        pytest.param(lambda _: "a.b", id="two parts"),
        pytest.param(lambda world: world.signed() + ".", id="four parts"),
        pytest.param(lambda world: world.signed() + "=", id="padding"),
        pytest.param(said(extra="x" * 20_000), id="20 KB"),
        pytest.param(head(alg="none"), id="alg none"),
        pytest.param(head(alg="HS256"), id="alg of a secret"),
        pytest.param(head(alg="RS256"), id="alg of another kind of key"),
        pytest.param(head(alg="ES384"), id="alg of another curve"),
        pytest.param(head(alg=["ES256"]), id="alg is a list"),
        pytest.param(with_public_key_as_secret, id="HMAC with the public key"),
        pytest.param(head(typ="dpop+jwt"), id="a DPoP proof"),
        pytest.param(head(typ="at+jwt"), id="an access token"),
        pytest.param(head(typ="logout+jwt"), id="a logout token"),
        pytest.param(head(typ=7), id="typ is a number"),
        pytest.param(head(crit=["exp"]), id="critical extension"),
        pytest.param(head(b64=False), id="payload that is not encoded"),
        pytest.param(head(kid="other"), id="unknown kid"),
        pytest.param(head(kid="../../dev/null"), id="kid is a path"),
        pytest.param(head(kid=7), id="kid is a number"),
        pytest.param(head(kid="' OR 1=1 --"), id="kid is SQL"),
        pytest.param(lambda world: world.signed(Holder(), header={"kid": HOLDER.kid}), id="another key"),
        pytest.param(
            lambda world: world.signed(Holder(), header={"kid": LEFT_OUT, "jwk": HOLDER.jwk}), id="a key in the header"
        ),
        pytest.param(head(kid="x", jku="https://evil.example/keys"), id="a URL of keys in the header"),
        pytest.param(lambda world: world.signed().replace(".", ".e30", 1), id="payload changed"),
        pytest.param(said(iss="another"), id="issued by another"),
        pytest.param(said(iss=LEFT_OUT), id="no issuer"),
        pytest.param(said(sub="another"), id="about another"),
        pytest.param(said(sub=LEFT_OUT), id="no subject"),
        pytest.param(lambda world: world.signed(audience=f"{ISSUER}/oauth2/token"), id="for the token endpoint"),
        pytest.param(lambda world: world.signed(audience=[ISSUER]), id="audience is a list"),
        pytest.param(lambda world: world.signed(audience=[ISSUER, "https://other"]), id="for others as well"),
        pytest.param(lambda world: world.signed(audience="https://other.example"), id="for another server"),
        pytest.param(lambda world: world.signed(audience=f"{ISSUER}/"), id="audience with a slash"),
        pytest.param(lambda world: world.signed(audience=LEFT_OUT), id="no audience"),
        pytest.param(said(exp=LEFT_OUT), id="no end"),
        pytest.param(at("exp", 0), id="over"),
        pytest.param(at("exp", -1000), id="long over"),
        pytest.param(at("exp", 311), id="good for more than five minutes"),
        pytest.param(said(exp="4000000000"), id="end is text"),
        pytest.param(said(exp=True), id="end is true"),
        pytest.param(at("iat", 30), id="issued in the future"),
        pytest.param(at("nbf", 30), id="not yet good"),
        pytest.param(said(iat="now"), id="issued at a word"),
        pytest.param(said(jti=LEFT_OUT), id="no jti"),
        pytest.param(said(jti=""), id="empty jti"),
        pytest.param(said(jti=7), id="jti is a number"),
        pytest.param(said(jti="x" * 300), id="very long jti"),
    ],
)
async def test_what_does_not_prove_the_client_is_refused(world: World, assertion: Callable[[World], str]) -> None:
    assert await world.refused(BY_KEY, assertion(world))
    assert world.used == set()  # what is refused costs nothing


@pytest.mark.parametrize("payload", [b"[" * 5000, b"[]", b"{", b"\xff"], ids=["deep", "list", "broken", "bytes"])
async def test_a_payload_that_is_no_object_is_refused(world: World, payload: bytes) -> None:
    assertion = compact({"alg": "ES256", "kid": HOLDER.kid}, payload, HOLDER.key, "ES256")
    assert await world.refused(BY_KEY, assertion)
    with pytest.raises(NotProved):
        client_named_in(assertion)


@pytest.mark.parametrize(
    "assertion",
    [
        pytest.param(lambda w: w.signed(Holder("HS256", OctKey.import_key("x" * 32))), id="another secret"),
        pytest.param(lambda w: w.signed(HMAC, header={"alg": "none"}), id="alg none"),
        pytest.param(lambda w: w.signed(HMAC, header={"alg": "HS512"}), id="another hash"),
        pytest.param(lambda w: w.signed(HMAC, audience="https://other"), id="for another server"),
        pytest.param(lambda w: w.signed(), id="a key's signature"),
    ],
)
async def test_a_client_with_a_secret_proves_itself_with_nothing_else(
    world: World, assertion: Callable[[World], str]
) -> None:
    assert await world.refused(BY_SECRET, assertion(world))


async def test_a_secret_that_was_sealed_for_another_client_opens_nothing(world: World) -> None:
    other = AssertionKeys(SECRET_ALGS, sealed=(SEALER.seal(SECRET.encode(), b"another"),))
    assert await world.refused(other, world.signed(HMAC, header={"kid": LEFT_OUT})) == "signature"


@pytest.mark.row(12)
@pytest.mark.spec("RFC 7523 3")
async def test_an_assertion_is_used_once(world: World) -> None:
    assertion = world.signed()
    await world.check(BY_KEY, assertion)
    assert await world.refused(BY_KEY, assertion) == "used before"


async def test_the_registered_algorithm_is_the_only_one(world: World) -> None:
    holder = Holder("RS256")
    keys = {"keys": [{**holder.jwk, "kid": holder.kid}]}  # good for PS256 as well
    for alg, is_good in (("RS256", True), ("PS256", False)):
        both = AssertionKeys((alg,), keys=RegisteredKeys(key_set(keys)))  # type: ignore[arg-type]  # JSON
        if is_good:
            await world.check(both, world.signed(holder))
        else:
            assert "algorithm" in await world.refused(both, world.signed(holder))


async def test_without_a_kid_one_key_has_to_fit(world: World) -> None:
    two = registered(HOLDER, Holder())
    await world.check(two, world.signed())
    assert "several" in await world.refused(two, world.signed(header={"kid": LEFT_OUT}))


# Published keys ------------------------------------------------------------------------------------------------------


def published(site: Site) -> AssertionKeys:
    return AssertionKeys(KEY_ALGS, keys=RegisteredKeys(jwks_uri=site.url))


@pytest.mark.spec("OpenID Connect Core 10.1.1")
async def test_a_key_that_was_just_published_is_found_and_one_that_left_is_forgotten(world: World, site: Site) -> None:
    old, new = Holder(), Holder()
    site.document = json.loads(json.dumps(old.jwks))
    await world.check(published(site), world.signed(old))
    await world.check(published(site), world.signed(old))
    assert site.asked == 1
    site.document = json.loads(json.dumps(new.jwks))
    world.clock.advance(timedelta(minutes=1))
    await world.check(published(site), world.signed(new))
    assert site.asked == 2
    assert "no such key" in await world.refused(published(site), world.signed(old))


async def test_invented_kids_do_not_keep_anybodys_server_busy(world: World, site: Site) -> None:
    site.document = json.loads(json.dumps(HOLDER.jwks))
    for n in range(20):
        assert await world.refused(published(site), world.signed(Holder(), header={"kid": f"invented-{n}"}))
    assert site.asked == 1
    await world.check(published(site), world.signed())


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"keys": {}}, {"keys": [{}] * 33}, {"keys": [{"kty": "oct", "k": b64(SECRET.encode())}]}],
    ids=["no answer", "list", "no keys", "keys is an object", "33 keys", "a secret"],
)
async def test_what_is_no_set_of_public_keys_proves_nothing(world: World, site: Site, document: Any) -> None:
    site.document = document
    assert await world.refused(published(site), world.signed())
    assert await world.refused(published(site), world.signed(HMAC, header={"kid": LEFT_OUT}))


async def test_keys_are_not_fetched_from_inside(settings_for: SettingsFor, clock: TestClock, site: Site) -> None:
    async with outbound.client(settings_for(Service.TOKEN)) as http:  # in production
        world = World(http, clock)
        for uri in (site.url, "http://169.254.169.254/keys", "file:///etc/passwd", "https://[::1]/", "https://0/"):
            assert await world.refused(AssertionKeys(KEY_ALGS, keys=RegisteredKeys(jwks_uri=uri)), world.signed())
    assert site.asked == 0


def test_an_exported_client_says_what_signs_for_it() -> None:

    export = ClientExport(
        client_id="a", client_name="A", token_endpoint_auth_method="private_key_jwt", jwks=HOLDER.jwks
    )  # type: ignore[arg-type]  # JSON
    keys = proofs_of(export).keys
    assert keys is not None
    assert keys.keys is not None
    assert [key.kid for key in keys.keys.jwks.signing] == [HOLDER.kid]
