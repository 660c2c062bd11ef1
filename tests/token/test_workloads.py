"""Tokens of trusted issuers become ours, where access rules allow it (threats 15 and 22)."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.token.conftest import ISSUER, App, Site, running
from tests.token.test_resources import known_to

from watchword_database.ids import new_id
from watchword_events.exports import IssuerExport, RuleExport
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.issuers import Issuer, new_key
from watchword_testkit.servers import Postgres
from watchword_testkit.web import Site as WebSite
from watchword_testkit.web import web_site

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPE = "urn:ietf:params:oauth:token-type:"
DEPLOY = "https://deploy.example.test"
APP_RULE, CI_RULE = "claims.repository == 'acme/app'", "iss.startsWith('https://localhost')"
RULES = (
    RuleExport(id=new_id(), name="deployers", expression=APP_RULE, precedence=5, roles=("deploy",)),
    RuleExport(id=new_id(), name="ci", expression=CI_RULE, service_account="ci-reader"),
    RuleExport(id=new_id(), name="people", expression="'ops' in groups", precedence=-1, roles=("reader",)),
)


@pytest.fixture(scope="module")
async def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebSite]:
    """Where the issuers are."""
    async with web_site(tmp_path_factory.mktemp("issuers")) as made:
        yield made


@pytest.fixture(scope="module")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, elsewhere: WebSite
) -> AsyncIterator[Site]:
    """An installation that reaches loopback, with rules that let the program of one repository in."""
    home = tmp_path_factory.mktemp("token")
    async with running(
        postgres, database_template, home, TestClock(), Canary(), outbound_allow="127.0.0.0/8,::1/128"
    ) as made:
        for rule in RULES:
            await made._own("rule", rule.id, rule, 1, copied=False)
        yield made


async def trusted(site: Site, elsewhere: WebSite, **given: Any) -> Issuer:
    """An issuer of its own that an administrator trusts since just now."""
    issuer = Issuer(elsewhere, site.clock, path=f"/{new_id()}")
    await trust(site, issuer, **given)
    return issuer


async def trust(site: Site, issuer: Issuer, *, version: int = 1, issuer_id: str = "", **given: Any) -> IssuerExport:
    """admin trusts the issuer; nobody was told."""
    export = IssuerExport(
        **{
            "id": issuer_id or new_id(),
            "iss": issuer.iss,
            "aud": frozenset({"https://sso.example.test", "deploy"}),
            "token_expiry_s": 1800,
            "subject_prefix": "ci:",
            "root_ca": issuer.root_ca,
            **given,
        }
    )
    await site._own("issuer", export.id, export, version, copied=False)
    return export


async def runner(site: Site, **given: Any) -> App:
    """The public client under whose name programs exchange their tokens."""
    return await site.client(
        **{
            "grant_types": [EXCHANGE, BEARER],
            "token_endpoint_auth_method": "none",
            "scope": ["deploy", "read", "openid", "watchword:admin"],
            "audience": [DEPLOY],
            **given,
        }
    )


async def exchange(site: Site, app: App, token: str, **form: str) -> dict[str, Any]:
    """The answer to an exchange, with its status."""
    asked = {"subject_token": token, "subject_token_type": f"{TYPE}jwt", **form}
    answer = await site.token(app, grant_type=EXCHANGE, **asked)
    return {"status": answer.status_code, **answer.json()}


@pytest.mark.parametrize("kind", ["jwt", "id_token"])
@pytest.mark.spec("RFC 8693 2.1, 2.2")
async def test_a_token_of_a_trusted_issuer_becomes_ours(site: Site, elsewhere: WebSite, kind: str) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    said = await exchange(site, app, issuer.token(), subject_token_type=f"{TYPE}{kind}", scope="deploy")
    assert said["status"] == 200, said
    assert (said["expires_in"], said["scope"], said["issued_token_type"]) == (1800, "deploy", f"{TYPE}access_token")
    claims = await site.claims(said["access_token"])
    assert claims["sub"] == "ci:repo:acme/app:ref:refs/heads/main"
    assert (claims["aud"], claims["client_id"], claims["fed:iss"]) == (DEPLOY, app.id, issuer.iss)
    assert (claims["policy"], claims["roles"]) == (["deployers", "ci"], ["deploy"])
    assert "service_account" not in claims
    assert await site.is_active(await site.client(scope=["introspect:any"]), said["access_token"])


@pytest.mark.spec("RFC 7523 2.1, 3")
async def test_an_assertion_is_a_grant(site: Site, elsewhere: WebSite) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    answer = await site.token(app, grant_type=BEARER, assertion=issuer.token(repository="acme/other"), resource=DEPLOY)
    assert answer.status_code == 200, answer.text
    assert "issued_token_type" not in answer.json()
    assert answer.json()["scope"] == "deploy read"
    claims = await site.claims(answer.json()["access_token"])
    assert (claims["service_account"], claims["policy"]) == ("ci-reader", ["ci"])


def _forged(issuer: Issuer, alg: str, secret: bytes) -> str:
    """A token whose signature is an HMAC, or none."""
    header, body, _ = issuer.token().split(".")
    raw = json.dumps({"alg": alg, "typ": "JWT", "kid": issuer.key.kid}).encode()
    header = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    mac = hmac.digest(secret, f"{header}.{body}".encode(), hashlib.sha256) if secret else b""
    return f"{header}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _pem(issuer: Issuer) -> bytes:
    return bytes(issuer.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


BAD = [
    pytest.param(lambda i: i.token(aud="https://elsewhere.test"), "audience is not accepted", id="another audience"),
    pytest.param(lambda i: i.token(aud=["a", "b"]), "audience is not accepted: a, b", id="other audiences"),
    pytest.param(lambda i: i.token(aud=None), "no audience", id="no audience"),
    pytest.param(lambda i: i.token(aud=3), "no audience", id="a number as audience"),
    pytest.param(lambda i: i.token(aud=[]), "audience is not accepted", id="an empty audience"),
    pytest.param(lambda i: i.token(aud=["deploy"] * 40), "no audience", id="too many audiences"),
    pytest.param(lambda i: i.token(exp=None), "no exp", id="no expiry"),
    pytest.param(lambda i: i.token(exp="soon"), "no exp", id="a text as expiry"),
    pytest.param(lambda i: i.token(exp=True), "no exp", id="a boolean as expiry"),
    pytest.param(lambda i: i.token(exp=10**15), "no exp", id="an expiry beyond dates"),
    pytest.param(lambda i: i.token(exp=int(i.now().timestamp()) - 61), "has expired", id="expired"),
    pytest.param(lambda i: i.token(iat=None), "no iat", id="no time of issue"),
    pytest.param(lambda i: i.token(iat=int(i.now().timestamp()) + 120), "not valid yet", id="from the future"),
    pytest.param(lambda i: i.token(nbf=int(i.now().timestamp()) + 120), "not valid yet", id="not yet"),
    pytest.param(lambda i: i.token(sub=None), "no subject", id="no subject"),
    pytest.param(lambda i: i.token(sub=["a"]), "no subject", id="a list as subject"),
    pytest.param(lambda i: i.token(sub="x" * 300), "too long", id="a long subject"),
    pytest.param(lambda i: i.token(sub="a b"), "printable", id="a space in the subject"),
    pytest.param(lambda i: i.token(sub="ä"), "printable", id="a letter beyond ASCII"),
    pytest.param(lambda i: i.token(groups=3), "groups", id="a number as groups"),
    pytest.param(lambda i: i.token(may_act={"sub": "another"}), "who may act", id="for another to act"),
    pytest.param(lambda i: i.token(may_act="anybody"), "who may act", id="a text as may_act"),
    pytest.param(lambda i: i.token(iss=None), "no issuer", id="no issuer"),
    pytest.param(lambda i: i.token(iss=["x"]), "no issuer", id="a list as issuer"),
    pytest.param(lambda i: i.token(iss=f"{i.iss}/"), "not trusted", id="another spelling of the issuer"),
    pytest.param(lambda i: i.token(key=new_key()), "does not publish", id="a key of nobody"),
    pytest.param(lambda i: i.token(key=new_key(i.key.kid)), "not genuine", id="another key under the same id"),
    pytest.param(lambda i: i.token()[:-4] + "AAAA", "not genuine", id="an altered signature"),
    pytest.param(lambda i: _forged(i, "none", b""), "cannot be read", id="alg none"),
    pytest.param(lambda i: _forged(i, "HS256", _pem(i)), "algorithm not allowed", id="HMAC with the public key"),
    pytest.param(lambda i: i.token(header={"typ": "logout+jwt"}), "typ", id="a logout token"),
    pytest.param(lambda i: i.token(header={"b64": True}), "critical", id="an extension of how it is encoded"),
    pytest.param(lambda i: i.token(header={"kid": "../../dev/null"}), "does not publish", id="a path as kid"),
    pytest.param(lambda _: "garbage", "cannot be read", id="garbage"),
    pytest.param(lambda _: "x" * 20_000, "cannot be read", id="a very long one"),
]


@pytest.mark.parametrize(("make", "why"), BAD)
@pytest.mark.spec("RFC 7523 3, 3.1; RFC 7519 4.1.4, 4.1.5, 4.1.6; RFC 8693 4.4; RFC 8725 3.1, 3.9, 3.11")
async def test_assertions_that_are_refused(site: Site, elsewhere: WebSite, make: Any, why: str) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    answer = await site.token(app, grant_type=BEARER, assertion=make(issuer))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert why in answer.json()["error_description"]


async def outcome_of(site: Site, decision: str) -> str:
    """What stands in the log of decisions, which is written behind."""
    async with site.database.postgres.admin(site.database.name) as connection:
        for _ in range(200):
            found = await connection.fetchval("SELECT outcome FROM bus.decisions WHERE id = $1", decision)
            if found is not None:
                return str(found)
            await asyncio.sleep(0.02)
    raise AssertionError(f"no decision {decision}")


@pytest.mark.spec("RFC 8693 2.2.2")
async def test_refusals_of_an_exchange_are_named(site: Site, elsewhere: WebSite) -> None:
    """What a person in front of a failed job has to know, without asking anybody."""
    app, stranger = await runner(site), Issuer(elsewhere, site.clock, path=f"/{new_id()}")
    said = await exchange(site, app, stranger.token())
    assert (said["status"], said["error"]) == (400, "invalid_request")
    assert said["error_description"] == f"The issuer is not trusted: {stranger.iss}"
    corp, keys = "https://login.corp.example.test", {"keys": [stranger.key.as_dict(private=False)]}
    await trust(site, stranger, iss=corp, root_ca=None, jwks=keys)
    said = await exchange(site, app, stranger.token(iss=corp, repository="acme/none"))
    found = said["error_description"].partition(" (decision ")
    assert found[0] == "No access rule matched for the subject ci:repo:acme/app:ref:refs/heads/main"
    decision = found[2].rstrip(")")
    assert await outcome_of(site, decision) == "no_match"
    unknown = await trusted(site, elsewhere, root_ca=None)
    said = await exchange(site, app, unknown.token())
    assert "unknown certificate authority" in said["error_description"]
    away = await trusted(site, elsewhere, jwks_uri=f"{elsewhere.url}/nowhere")
    said = await exchange(site, app, away.token())
    assert said["error_description"].startswith("The issuer's keys cannot be fetched")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({"scope": "openid"}, "invalid_scope", id="about a person"),
        pytest.param({"scope": "watchword:admin"}, "invalid_scope", id="administration"),
        pytest.param({"scope": "write"}, "invalid_scope", id="more than the client"),
        pytest.param({"audience": "https://x.test"}, "invalid_target", id="another audience"),
        pytest.param({"actor_token": "x", "actor_token_type": f"{TYPE}jwt"}, "invalid_request", id="an actor"),
        pytest.param({"subject_token_type": f"{TYPE}access_token"}, "unauthorized_client", id="as a token of ours"),
    ],
)
async def test_nothing_that_the_client_may_not_have(
    site: Site, elsewhere: WebSite, form: dict[str, str], error: str
) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    said = await exchange(site, app, issuer.token(), **form)
    assert (said["status"], said["error"]) == (400, error)


async def test_without_a_scope_nothing_about_persons_and_no_administration_is_granted(
    site: Site, elsewhere: WebSite
) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    said = await exchange(site, app, issuer.token())
    assert said["scope"] == "deploy read"
    assert (await site.userinfo(said["access_token"])).status_code == 403


async def test_what_comes_out_is_as_its_audience_takes_it(site: Site, elsewhere: WebSite) -> None:
    taker = await known_to(
        site, any_client=True, scopes=["read"], access_token_format="opaque", access_token_lifetime_s=77
    )
    issuer, app = await trusted(site, elsewhere), await runner(site, audience=[DEPLOY, taker])
    said = await exchange(site, app, issuer.token(), audience=taker)
    assert (said["access_token"].count("."), said["expires_in"], said["scope"]) == (4, 77, "read")
    said = await exchange(site, app, issuer.token(), audience=taker, requested_token_type=f"{TYPE}jwt")
    assert (said["status"], said["error"]) == (400, "invalid_request")
    said = await exchange(site, app, issuer.token(), audience=DEPLOY)
    assert (said["access_token"].count("."), said["expires_in"], said["scope"]) == (2, 1800, "deploy read")


@pytest.mark.spec("RFC 8707 2; RFC 8693 2.2.2")
async def test_a_resource_that_is_open_to_every_client_is_open_to_a_workload(site: Site, elsewhere: WebSite) -> None:
    taker = await known_to(site, any_client=True, scopes=["read"])
    closed = await known_to(site, scopes=["read"])
    issuer, app = await trusted(site, elsewhere), await runner(site)
    for form, audience in (
        ({"resource": taker}, taker),
        ({"audience": taker}, taker),
        ({"resource": taker, "audience": DEPLOY}, [taker, DEPLOY]),
    ):
        said = await exchange(site, app, issuer.token(), **form)
        assert said["status"] == 200, said
        assert (await site.claims(said["access_token"]))["aud"] == audience
    answer = await site.token(app, grant_type=BEARER, assertion=issuer.token(), resource=taker)
    assert answer.status_code == 200, answer.text
    assert ((await site.claims(answer.json()["access_token"]))["aud"], answer.json()["scope"]) == (taker, "read")
    said = await exchange(site, app, issuer.token(), resource=taker, audience=closed)
    assert (said["status"], said["error"]) == (400, "invalid_target"), "one open, one not"
    for other in (closed, f"{taker}/", "https://x.test"):
        said = await exchange(site, app, issuer.token(), resource=other)
        assert (said["status"], said["error"]) == (400, "invalid_target")
        answer = await site.token(app, grant_type=BEARER, assertion=issuer.token(), resource=other)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_our_own_tokens_are_no_foreign_ones(site: Site) -> None:
    app = await runner(site)
    tokens = await site.sign_in(await site.client(access="open"))
    for token in (tokens["access_token"], tokens["id_token"]):
        answer = await site.token(app, grant_type=BEARER, assertion=token)
        assert answer.json() == {"error": "invalid_grant", "error_description": f"The issuer is not trusted: {ISSUER}"}
        assert (await exchange(site, app, token))["error"] == "unauthorized_client"


async def test_a_discovery_document_of_another_issuer_is_refused(site: Site, elsewhere: WebSite) -> None:
    """Threat 49."""
    issuer, app = await trusted(site, elsewhere), await runner(site)
    elsewhere.put(f"{issuer.path}/.well-known/openid-configuration", {"issuer": "https://x.test", "jwks_uri": "x"})
    assert "names another issuer" in (await exchange(site, app, issuer.token()))["error_description"]
    thief = await trusted(site, elsewhere)
    assert "does not publish" in (await exchange(site, app, issuer.token(iss=thief.iss)))["error_description"]


async def test_keys_are_given_or_found(site: Site, elsewhere: WebSite) -> None:
    app = await runner(site)
    issuer = Issuer(elsewhere, site.clock, path=f"/{new_id()}")
    await trust(site, issuer, jwks={"keys": [issuer.key.as_dict(private=False)]}, root_ca=None)
    assert (await exchange(site, app, issuer.token()))["status"] == 200
    assert not [path for path in elsewhere.asked if path.startswith(issuer.path)]
    other = Issuer(elsewhere, site.clock, path=f"/{new_id()}")
    await trust(site, other, jwks_uri=other.jwks_uri)
    assert (await exchange(site, app, other.token()))["status"] == 200
    assert [path for path in elsewhere.asked if path.startswith(other.path)] == [f"{other.path}/keys"]


async def test_a_new_key_is_learned_and_a_withdrawn_one_forgotten(
    postgres: Postgres,
    database_template: Template,
    tmp_path: Path,
    clock: TestClock,
    canary: Canary,
    elsewhere: WebSite,
) -> None:
    async with running(
        postgres, database_template, tmp_path, clock, canary, outbound_allow="127.0.0.0/8,::1/128"
    ) as site:
        await site._own("rule", RULES[1].id, RULES[1], 1, copied=False)
        issuer, app, newer = await trusted(site, elsewhere), await runner(site), new_key()
        assert (await exchange(site, app, issuer.token()))["status"] == 200
        issuer.publish(issuer.key, newer)
        asked = len(elsewhere.asked)
        assert "does not publish" in (await exchange(site, app, issuer.token(key=newer)))["error_description"]
        assert len(elsewhere.asked) == asked  # a stranger's tokens make nobody ask all the time
        clock.advance(timedelta(minutes=1))
        assert (await exchange(site, app, issuer.token(key=newer)))["status"] == 200
        issuer.publish(newer)
        assert (await exchange(site, app, issuer.token()))["status"] == 200
        clock.advance(timedelta(minutes=10))
        assert "does not publish" in (await exchange(site, app, issuer.token()))["error_description"]


@pytest.mark.parametrize("what", ["issuer", "subject", "client", "token"])
async def test_what_was_exchanged_ends_with_what_it_descends_from(site: Site, elsewhere: WebSite, what: str) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    reader = await site.client(scope=["introspect:any"])
    subject = f"repo:{new_id()}"
    token = issuer.token(sub=subject)
    said = await exchange(site, app, token)
    claims = await site.claims(said["access_token"])
    assert await site.is_active(reader, said["access_token"])
    match what:
        case "issuer":
            await site.revoke(Claim.IDP, claims["idp"], kind=RevocationKind.STATE, by=Service.ADMIN)
        case "subject":
            await site.revoke(Claim.SUB, f"ci:{subject}")
        case "client":
            await site.revoke(Claim.CLIENT_ID, app.id, kind=RevocationKind.STATE, by=Service.ADMIN)
        case _:
            await site.revoke(Claim.GID, claims["gid"])
    assert not await site.is_active(reader, said["access_token"])
    again = await exchange(site, app, token)
    assert (again["status"] == 200) == (what in {"subject", "token"})


async def test_a_removed_issuer_is_not_trusted_any_more(site: Site, elsewhere: WebSite) -> None:
    app = await runner(site)
    issuer = Issuer(elsewhere, site.clock, path=f"/{new_id()}")
    export = await trust(site, issuer)
    assert (await exchange(site, app, issuer.token()))["status"] == 200
    await site.gone("issuer", export.id, 2)
    async with site.database.postgres.admin(site.database.name) as connection:
        await connection.execute("UPDATE token.issuer_copy SET deleted = true, iss = NULL WHERE id = $1", export.id)
    assert "not trusted" in (await exchange(site, app, issuer.token()))["error_description"]


async def test_a_workload_is_nobody_of_ours(site: Site, elsewhere: WebSite) -> None:
    """A subject that is the id of a person stays behind its prefix."""
    user, app = await site.user(roles=["administrator"]), await runner(site)
    issuer = await trusted(site, elsewhere)
    said = await exchange(site, app, issuer.token(sub=user.id))
    assert (await site.claims(said["access_token"]))["sub"] == f"ci:{user.id}"
    api = await site.http.get("/api/v1/grants", headers={"Authorization": f"Bearer {said['access_token']}"})
    assert api.status_code == 401


async def test_what_came_of_a_workload_may_be_exchanged_on(site: Site, elsewhere: WebSite) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    said = await exchange(site, app, issuer.token())
    policies = [{"audiences": ["next"], "scope": ["read"], "subject_clients": [app.id]}]
    second = await site.client(grant_types=[EXCHANGE], exchange_policies=policies)
    passed = await exchange(site, second, said["access_token"], subject_token_type=f"{TYPE}access_token")
    assert passed["status"] == 200, passed
    claims = await site.claims(passed["access_token"])
    assert (claims["sub"], claims["fed:iss"], claims["via"]) == (
        "ci:repo:acme/app:ref:refs/heads/main",
        issuer.iss,
        [app.id],
    )


async def test_a_person_is_passed_on_only_where_access_rules_let_them_in(site: Site, elsewhere: WebSite) -> None:
    issuer, app = await trusted(site, elsewhere), await runner(site)
    await exchange(site, app, issuer.token())  # the rules have been read
    policies = [{"audiences": ["next"], "scope": ["openid", "profile"]}]
    second = await site.client(grant_types=[EXCHANGE], exchange_policies=policies)
    shop = await site.client(audience=[second.id], access="open")
    stranger, person = await site.user(), await site.user(groups=["ops"])
    token = (await site.sign_in(shop, stranger))["access_token"]
    said = await exchange(site, second, token)
    assert (said["status"], said["error"]) == (400, "invalid_request")
    decision = said["error_description"].partition("(decision ")[2].rstrip(")")
    assert await outcome_of(site, decision) == "no_match"
    token = (await site.sign_in(shop, person))["access_token"]
    said = await exchange(site, second, token)
    assert said["status"] == 200, said
    claims = await site.claims(said["access_token"])
    assert (claims["roles"], claims["policy"]) == (["reader"], ["people"])
