"""Where providers differ: patterns for issuers, names of claims, nonces left out, channels, proofs, certificates."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.responses import JSONResponse
from tests.federation.conftest import NOW
from tests.federation.test_oidc import CALLBACK, SignIn, connector_of, refused, with_claims
from tests.federation.test_saml_response import HONEST

from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Answer
from watchword_federation.connectors.client_authentication import ASSERTION_TYPE
from watchword_federation.connectors.saml_identity import saml_identity
from watchword_federation.connectors.saml_response import NameId
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import SignInFailed
from watchword_federation.flows import new_secrets
from watchword_federation.id_tokens import SKEW_S
from watchword_federation.logout_tokens import EVENT, read_logout_token
from watchword_federation.settings import FederationSettings
from watchword_testkit.databases import TestDatabase

TENANT = "4a3b5c6d-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
async def ways(settings: FederationSettings) -> AsyncIterator[Ways]:
    made = Ways(settings)
    yield made
    await made.close()


@pytest.fixture
def sign_in(fetched_nothing: TestDatabase, ways: Ways, manual_clock: Any) -> SignIn:
    return SignIn(connector_of(fetched_nothing, ways, manual_clock), manual_clock)


def with_oauth(upstream: Any, provider: dict[str, object] | None = None, **oauth: object) -> ProviderExport:
    return upstream.provider(oauth=oauth, **(provider or {}))  # type: ignore[no-any-return]


# Entra ID ------------------------------------------------------------------------------------------------------------


def entra(upstream: Any, **oauth: object) -> ProviderExport:
    """As the preset `entra` configures it for `common`."""
    upstream.metadata["issuer"] = f"{upstream.issuer}/{{tenantid}}/v2.0"
    upstream.alter = with_claims(
        iss=f"{upstream.issuer}/{TENANT}/v2.0", tid=TENANT, oid="o-1", xms_edov="1", email_verified=...
    )
    return with_oauth(
        upstream,
        {"userinfo": "never", "issuer": f"{upstream.issuer}/common/v2.0", "groups_claim": "groups",
         "discovery_url": f"{upstream.issuer}/.well-known/openid-configuration"},
        issuer_template=upstream.metadata["issuer"],
        claims={"sub": "oid", "email_verified": "xms_edov"},
        email_trust="claim_or_text",
        **oauth,
    )  # fmt: skip


@pytest.mark.seed(85)
async def test_each_tenant_is_an_issuer_of_its_own(sign_in: SignIn, upstream: Any) -> None:
    identity = await sign_in(upstream, entra(upstream))
    assert (identity.issuer, identity.subject) == (f"{upstream.issuer}/{TENANT}/v2.0", "o-1")
    assert identity.email_verified is True


@pytest.mark.parametrize(
    ("claims", "failure"),
    [
        pytest.param({"tid": "another"}, "issuer_mismatch", id="another tenant than in iss"),
        pytest.param({"tid": ...}, "issuer_mismatch", id="no tenant"),
        pytest.param({"tid": "x/../y"}, "issuer_mismatch", id="a tenant with a path"),
        pytest.param({"tid": [TENANT]}, "issuer_mismatch", id="a list of tenants"),
        pytest.param({"oid": ...}, "account_not_found", id="no object id"),
        pytest.param({"oid": ""}, "account_not_found", id="an empty object id"),
        pytest.param({"oid": "o" * 256}, "account_not_found", id="a long object id"),
        pytest.param({"oid": "o\u0007"}, "account_not_found", id="an object id that cannot be shown"),
    ],
)
async def test_a_token_fits_the_pattern_or_is_refused(
    sign_in: SignIn, upstream: Any, claims: dict[str, object], failure: str
) -> None:
    provider, alter = entra(upstream), upstream.alter
    upstream.alter = lambda given: with_claims(**claims)(alter(given))
    await refused(failure, sign_in(upstream, provider))


async def test_only_tenants_that_are_accepted(sign_in: SignIn, upstream: Any) -> None:
    await refused("access_denied", sign_in(upstream, entra(upstream, required_claims={"tid": ["another"]})))
    assert (await sign_in(upstream, entra(upstream, required_claims={"tid": ["x", TENANT]}))).subject == "o-1"


async def test_a_single_tenant_is_no_pattern(sign_in: SignIn, upstream: Any) -> None:
    """Its keys sign for every tenant: only the exact issuer counts."""
    provider = entra(upstream).model_copy(update={"issuer": f"{upstream.issuer}/{TENANT}/v2.0"})
    upstream.metadata["issuer"] = provider.issuer
    assert (await sign_in(upstream, provider)).subject == "o-1"
    alter = upstream.alter
    upstream.alter = lambda given: with_claims(iss=f"{upstream.issuer}/other/v2.0", tid="other")(alter(given))
    await refused("issuer_mismatch", sign_in(upstream, provider))


OVERAGE = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "http://169.254.169.254/"}}}


async def test_too_many_groups_have_their_name(sign_in: SignIn, upstream: Any) -> None:
    provider, alter = entra(upstream), upstream.alter
    upstream.alter = lambda given: with_claims(**OVERAGE)(alter(given))
    await refused("groups_overage", sign_in(upstream, provider))
    assert (await sign_in(upstream, provider.model_copy(update={"groups_claim": None}))).subject == "o-1"


# Settings that give something by groups, besides the claim that is named for them, and whether they do.
BY_GROUPS: dict[str, tuple[dict[str, object], bool]] = {
    "groups that come over": ({"group_sync": {"pattern": "."}}, True),
    "groups by rules": ({"group_sync": {"rules": [{"expression": "'g1' in groups", "groups": ["a"]}]}}, True),
    "groups of another claim": ({"group_sync": {"claim": "roles", "pattern": "."}}, False),
    "roles by groups": ({"role_mapping": {"rules": [{"expression": "'g1' in groups", "roles": ["a"]}]}}, True),
    "roles by claims": ({"role_mapping": {"rules": [{"expression": "claims.x == 'y'", "roles": ["a"]}]}}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize(("by_groups", "is_needed"), BY_GROUPS.values(), ids=BY_GROUPS)
async def test_nobody_silently_loses_what_groups_give_because_there_are_too_many(
    sign_in: SignIn, upstream: Any, by_groups: dict[str, object], is_needed: bool
) -> None:
    provider = ProviderExport.model_validate({**entra(upstream).model_dump(), "groups_claim": None, **by_groups})
    alter = upstream.alter
    upstream.alter = lambda given: with_claims(**OVERAGE)(alter(given))
    if is_needed:
        await refused("groups_overage", sign_in(upstream, provider))
    else:
        assert (await sign_in(upstream, provider)).subject == "o-1"


@pytest.mark.parametrize(("by_groups", "is_needed"), BY_GROUPS.values(), ids=BY_GROUPS)
def test_saml_says_so_too(by_groups: dict[str, object], is_needed: bool) -> None:
    """Entra ID does, from 150 groups on."""
    provider = ProviderExport.model_validate(
        {"id": "Entra", "preset": "saml", "kind": "saml", "display_name": "Entra", "saml": {}, **by_groups}
    )
    link = {
        "http://schemas.microsoft.com/claims/groups.link": ("https://graph.windows.net/t/users/u/getMemberObjects",)
    }
    name_id = NameId("u-1", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")
    assertion = replace(HONEST, name_id=name_id, attributes={"email": ("a@x.test",), **link})

    def identified() -> VerifiedIdentity:
        assert provider.saml is not None
        return saml_identity(
            provider, provider.saml, assertion, sp_entity_id="https://sso.test", auth_time=NOW, now=NOW
        )

    if is_needed:
        with pytest.raises(SignInFailed, match="groups_overage"):
            identified()
    else:
        assert identified().email == "a@x.test"


async def test_too_many_groups_are_asked_for_where_that_is_allowed(sign_in: SignIn, upstream: Any) -> None:
    lookup = {"endpoint": f"{upstream.issuer}/groups", "items": "value", "scope": "Read", "when": "overage", "body": {}}
    provider, alter = entra(upstream, group_lookups=[lookup]), upstream.alter
    await refused("groups_overage", sign_in_with(sign_in, upstream, provider, alter))
    upstream.groups_answer = JSONResponse({"value": ["g1", "g2"]})
    allowed = provider.model_copy(update={"scopes": ("openid", "Read")})
    assert (await sign_in_with(sign_in, upstream, allowed, alter)).claims["groups"] == ["g1", "g2"]
    upstream.groups_answer = JSONResponse({"error": "?"}, 403)
    await refused("userinfo_failed", sign_in_with(sign_in, upstream, allowed, alter))


def sign_in_with(sign_in: SignIn, upstream: Any, provider: ProviderExport, alter: Callable[[Any], Any]) -> Any:
    upstream.alter = lambda given: with_claims(**OVERAGE)(alter(given))
    return sign_in(upstream, provider)


# Others --------------------------------------------------------------------------------------------------------------


async def test_an_alias_is_the_same_issuer(sign_in: SignIn, upstream: Any) -> None:
    """Apple signs under two names; a person stays the same."""
    upstream.alter = with_claims(iss="https://account.apple.test")
    provider = with_oauth(upstream, issuer_aliases=["https://account.apple.test"])
    assert (await sign_in(upstream, provider)).issuer == upstream.issuer
    await refused("issuer_mismatch", sign_in(upstream))


@pytest.mark.parametrize(("policy", "sent"), [("off", False), ("optional", True)])
async def test_a_provider_that_leaves_the_nonce_out(sign_in: SignIn, upstream: Any, policy: str, *, sent: bool) -> None:
    """LinkedIn; state and code still bind the answer."""
    upstream.alter = with_claims(nonce=...)
    provider = with_oauth(upstream, nonce=policy)
    url = await sign_in.depart(provider, new_secrets())
    assert ("nonce" in parse_qs(urlsplit(url).query)) is sent
    assert (await sign_in(upstream, provider)).subject == "alice-1"
    await refused("id_token_invalid", sign_in(upstream))


async def test_a_wrong_nonce_is_refused_also_where_it_is_optional(sign_in: SignIn, upstream: Any) -> None:
    upstream.alter = with_claims(nonce="another")
    await refused("id_token_invalid", sign_in(upstream, with_oauth(upstream, nonce="optional")))


async def test_what_lies_below_the_issuer_is_called_elsewhere(sign_in: SignIn, upstream: Any) -> None:
    """Keycloak in a network of containers: browsers know it by another address."""
    front = "http://localhost:1/realms/team"
    upstream.metadata = {"issuer": front, "authorization_endpoint": f"{front}/authorize"}
    upstream.alter = with_claims(iss=front)
    provider = with_oauth(upstream, {"issuer": front}, back_channel_base=upstream.issuer)
    kept = new_secrets()
    url = await sign_in.depart(provider, kept)
    assert url.startswith(f"{front}/authorize?")
    answer = upstream.authorize(url.replace(front, upstream.issuer))
    assert (await sign_in.arrive(provider, kept, answer)).issuer == front


async def test_a_provider_that_was_asked_through_the_back_door_names_it(sign_in: SignIn, upstream: Any) -> None:
    front = "http://localhost:1/realms/team"
    provider = with_oauth(upstream, {"issuer": front}, back_channel_base=upstream.issuer)
    url = await sign_in.depart(provider, new_secrets())
    assert url.startswith(f"{front}/authorize?"), "browsers cannot reach the back door"


@pytest.mark.parametrize(("skew_s", "passes"), [(0, False), (SKEW_S, True)])
async def test_how_far_clocks_may_differ(sign_in: SignIn, upstream: Any, skew_s: int, *, passes: bool) -> None:
    upstream.alter = with_claims(exp=int(sign_in.clock().timestamp()) - 30)
    provider = with_oauth(upstream, clock_skew_s=skew_s)
    if passes:
        assert (await sign_in(upstream, provider)).subject == "alice-1"
    else:
        await refused("clock_skew", sign_in(upstream, provider))


async def test_further_parameters_are_sent_and_never_replace_ours(sign_in: SignIn, upstream: Any) -> None:
    provider = with_oauth(upstream, authorization_parameters={"hd": "acme.test", "state": "x", "client_id": "y"})
    request = parse_qs(urlsplit(await sign_in.depart(provider, new_secrets())).query)
    assert (request["hd"], request["state"]) == (["acme.test"], ["state-1"])
    assert request["client_id"] == [provider.client_id]


@pytest.mark.parametrize(
    ("trust", "claims", "verified"),
    [
        ("google", {"email": "a@gmail.com"}, True),
        ("google", {"email": "a@acme.test"}, False),
        ("google", {"email": "a@acme.test", "hd": "acme.test"}, True),
        ("google", {"email": "a@acme.test", "hd": "acme.test", "email_verified": False}, False),
        ("google", {"email": "a@gmail.com.evil.test"}, False),
        ("claim", {"email_verified": "true"}, False),
        ("claim_or_text", {"email_verified": "true"}, True),
        ("claim_or_text", {"email_verified": 1}, True),
        ("claim_or_text", {"email_verified": "no"}, False),
        ("claim_or_text", {"email_verified": ["true"]}, False),
        ("claim_or_text", {"email_verified": ...}, False),
        ("always", {"email_verified": ...}, True),
        ("never", {}, False),
    ],
)
async def test_what_vouches_for_an_address(
    sign_in: SignIn, upstream: Any, trust: str, claims: dict[str, object], *, verified: bool
) -> None:
    upstream.alter = with_claims(**claims)
    assert (await sign_in(upstream, with_oauth(upstream, email_trust=trust))).email_verified is verified


# Proofs and signatures -----------------------------------------------------------------------------------------------


async def test_a_provider_that_wants_proofs_gets_its_name_on_the_page(sign_in: SignIn, upstream: Any) -> None:
    """What the seed could only tell administrators to switch off at Okta."""
    upstream.token_answer = JSONResponse({"error": "invalid_dpop_proof"}, 400)
    await refused("invalid_dpop_proof", sign_in(upstream, with_oauth(upstream, dpop="off")))


async def test_a_token_that_is_not_bound_is_refused_where_that_is_required(sign_in: SignIn, upstream: Any) -> None:
    await refused("invalid_dpop_proof", sign_in(upstream, with_oauth(upstream, dpop="required")))
    assert (await sign_in(upstream, with_oauth(upstream, dpop="auto"))).subject == "alice-1"


@pytest.mark.spec("RFC 9449 7.1; RFC 9449 9")
@pytest.mark.parametrize("nonce", ["", "n-1"], ids=["no nonce", "a nonce of the resource's"])
async def test_a_bound_token_is_shown_with_a_fresh_proof_at_every_look_up(
    sign_in: SignIn, upstream: Any, nonce: str
) -> None:
    upstream.binds, upstream.resource_nonce = True, nonce
    upstream.metadata["dpop_signing_alg_values_supported"] = ["ES256"]
    upstream.groups_answer = JSONResponse({"value": ["g2"]})
    lookups = [
        {"endpoint": f"{upstream.issuer}/groups?page=1", "items": "value"},
        {"endpoint": f"{upstream.issuer}/groups", "items": "value", "body": {}},
    ]
    identity = await sign_in(upstream, with_oauth(upstream, {"groups_claim": "groups"}, group_lookups=lookups))
    assert identity.claims["groups"] == ["g1", "g2"]
    # With a nonce each list is asked for once more; the second page of the first one knows it.
    assert upstream.asked.count("groups") == (5 if nonce else 3)


@pytest.mark.parametrize("key", [ECKey.generate_key("P-256"), RSAKey.generate_key(2048)], ids=["ES256", "RS256"])
@pytest.mark.parametrize("method", ["private_key_jwt", "apple_jwt"])
async def test_the_client_signs_for_itself(sign_in: SignIn, upstream: Any, method: str, key: ECKey | RSAKey) -> None:
    upstream.token_answer = JSONResponse({"error": "invalid_client"}, 401)
    provider = with_oauth(
        upstream,
        {"token_endpoint_auth_method": method, "client_secret": key.as_pem(private=True).decode()},
        private_key_id="k1",
        client_assertion_issuer="TEAM",
    )
    with pytest.raises(SignInFailed):
        await sign_in(upstream, provider)
    (request,) = upstream.token_requests
    name = "client_assertion" if method == "private_key_jwt" else "client_secret"
    alg = "ES256" if isinstance(key, ECKey) else "RS256"
    token = jwt.decode(request[name], key, algorithms=[alg])
    assert (token.header["kid"], token.claims["sub"]) == ("k1", provider.client_id)
    assert token.claims["exp"] > token.claims["iat"]
    if method == "private_key_jwt":
        assert request["client_assertion_type"] == ASSERTION_TYPE
        assert token.claims["aud"] == f"{upstream.issuer}/token"
        assert token.claims["iss"] == provider.client_id
        assert "jti" in token.claims
    else:
        assert (token.claims["iss"], token.claims["aud"]) == ("TEAM", provider.issuer)


# What Apple posts beside the code, and which names are taken from it.
POSTED: dict[str, tuple[str | None, tuple[str | None, str | None, str | None]]] = {
    "as Apple does": (
        '{"name":{"firstName":"Alice","lastName":"Ångström"},"email":"mallory@evil.test"}',
        ("Alice Ångström", "Alice", "Ångström"),
    ),
    "a first name": ('{"name":{"firstName":"Alice"}}', ("Alice", "Alice", None)),
    "nothing, as later": (None, (None, None, None)),
    "an address alone": ('{"email":"mallory@evil.test","email_verified":true}', (None, None, None)),
    "no JSON": ("{", (None, None, None)),
    "a list": ("[1]", (None, None, None)),
    "a name that is none": ('{"name":"Alice"}', (None, None, None)),
    "parts that are none": ('{"name":{"firstName":["Alice"],"lastName":{"a":1}}}', (None, None, None)),
    "line breaks": ('{"name":{"firstName":"Alice\\r\\nBcc: eve"}}', (None, None, None)),
    "rights": ('{"name":{"sub":"bob","groups":["admin"]},"sub":"bob","groups":["admin"]}', (None, None, None)),
    "very long": ('{"name":{"firstName":"' + "A" * 5_000 + '"}}', (None, None, None)),
    "deep": ('{"name":' + "[" * 2_000 + "]" * 2_000 + "}", (None, None, None)),
}


async def arrived_from_apple(
    sign_in: SignIn, upstream: Any, user: str | None, method: str = "apple_jwt", **claims: object
) -> VerifiedIdentity:
    key = ECKey.generate_key("P-256")
    upstream.admits_all = True
    upstream.alter = with_claims(**{"name": ..., "given_name": ..., "family_name": ..., **claims})
    provider = with_oauth(
        upstream,
        {
            "token_endpoint_auth_method": method,
            "client_secret": key.as_pem(private=True).decode(),
            "userinfo": "never",
            "response_mode": "form_post",
        },
        private_key_id="k1",
        client_assertion_issuer="TEAM",
    )
    kept = new_secrets()
    code = upstream.authorize(await sign_in.depart(provider, kept))["code"]
    arrived = await sign_in.connector.arrive(
        provider,
        Answer(code=code, user=user),
        secrets=kept,
        callback=CALLBACK,
        max_age_s=None,
        now=sign_in.clock(),
        trail=Trail(),
    )
    return arrived.identity


@pytest.mark.parametrize(("user", "names"), POSTED.values(), ids=POSTED)
async def test_the_name_that_apple_posts_once_is_taken_and_nothing_else(
    sign_in: SignIn, upstream: Any, user: str | None, names: tuple[str | None, str | None, str | None]
) -> None:
    plain = await arrived_from_apple(sign_in, upstream, None)
    found = await arrived_from_apple(sign_in, upstream, user)
    assert (found.name, found.given_name, found.family_name) == names
    assert (found.subject, found.email, found.email_verified) == (plain.subject, plain.email, plain.email_verified)
    assert set(found.claims) - set(plain.claims) <= {"given_name", "family_name"}


async def test_what_is_signed_wins_over_what_is_posted(sign_in: SignIn, upstream: Any) -> None:
    posted = '{"name":{"firstName":"Mallory"}}'
    assert (await arrived_from_apple(sign_in, upstream, posted, given_name="Alice")).name == "Alice"
    assert (await arrived_from_apple(sign_in, upstream, posted, method="private_key_jwt")).name is None


async def test_a_key_that_cannot_sign_is_said(sign_in: SignIn, upstream: Any) -> None:
    provider = upstream.provider(token_endpoint_auth_method="private_key_jwt", client_secret="no key")
    await refused("token_exchange_failed", sign_in(upstream, provider))


async def test_pushing_needs_somewhere_to_push(sign_in: SignIn, upstream: Any) -> None:
    await refused("provider_unreachable", sign_in.depart(with_oauth(upstream, par="required"), new_secrets()))


# Logout tokens -------------------------------------------------------------------------------------------------------


def logout_token(upstream: Any, now: float, key: ECKey | None = None, typ: str = "logout+jwt", **claims: object) -> str:
    said = {
        "iss": upstream.issuer, "aud": "watchword-at-acme", "iat": int(now), "exp": int(now) + 60, "jti": "j1",
        "sub": "alice-1", "sid": "s1", "events": {EVENT: {}}, **claims,
    }  # fmt: skip
    header = {"alg": "ES256", "kid": "k1", "typ": typ}
    told = {name: value for name, value in said.items() if value is not ...}
    return jwt.encode(header, told, key or upstream.key, algorithms=["ES256"])


async def test_an_honest_logout_token(sign_in: SignIn, upstream: Any) -> None:
    now = sign_in.clock()
    said = await read_logout_token(
        sign_in.connector, upstream.provider(), logout_token(upstream, now.timestamp()), now=now
    )
    assert (said.subject, said.session) == ("alice-1", "s1")


@pytest.mark.spec("OpenID Connect Back-Channel Logout 2.6")
@pytest.mark.parametrize(
    ("given", "failure"),
    [
        pytest.param({"iss": "https://evil.test"}, "issuer_mismatch", id="another issuer"),
        pytest.param({"aud": "another"}, "id_token_invalid", id="another client"),
        pytest.param({"events": ...}, "id_token_invalid", id="no events"),
        pytest.param({"events": {EVENT: 1}}, "id_token_invalid", id="an event that is no object"),
        pytest.param({"events": {"x": {}}}, "id_token_invalid", id="another event"),
        pytest.param({"nonce": "n"}, "id_token_invalid", id="a nonce, as an ID token has"),
        pytest.param({"jti": ...}, "id_token_invalid", id="no jti"),
        pytest.param({"sub": ..., "sid": ...}, "id_token_invalid", id="about nobody"),
        pytest.param({"iat": ...}, "id_token_invalid", id="no iat"),
        pytest.param({"exp": 1}, "clock_skew", id="over"),
        pytest.param({"exp": "soon"}, "id_token_invalid", id="an end that is a word"),
        pytest.param({"iat": 1, "exp": ...}, "clock_skew", id="old, without an end"),
        pytest.param({"exp": 253_402_300_799}, "id_token_invalid", id="an end that is the calendar's"),
        pytest.param({"iat": 253_402_300_799, "exp": ...}, "id_token_invalid", id="begun when the calendar ends"),
        pytest.param({"exp": True}, "id_token_invalid", id="an end that is true"),
        pytest.param({"sub": 7}, "id_token_invalid", id="a subject that is a number, beside a session"),
        pytest.param({"sid": ["s1"]}, "id_token_invalid", id="a list of sessions, beside a subject"),
        pytest.param({"sub": "s" * 256}, "id_token_invalid", id="a subject that is too long, beside a session"),
        pytest.param({"sid": ""}, "id_token_invalid", id="an empty session, beside a subject"),
        pytest.param({"jti": 7}, "id_token_invalid", id="a number for jti"),
        pytest.param({"typ": "at+jwt"}, "id_token_invalid", id="an access token"),
        pytest.param({"key": ECKey.generate_key("P-256")}, "id_token_invalid", id="another key"),
    ],
)
async def test_a_logout_token_passes_every_check_or_is_refused(
    sign_in: SignIn, upstream: Any, given: dict[str, Any], failure: str
) -> None:
    now = sign_in.clock()
    token = logout_token(upstream, now.timestamp(), **given)
    await refused(failure, read_logout_token(sign_in.connector, upstream.provider(), token, now=now))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * 20_000])
async def test_what_is_no_token_is_refused(sign_in: SignIn, upstream: Any, token: str) -> None:
    reading = read_logout_token(sign_in.connector, upstream.provider(), token, now=sign_in.clock())
    await refused("id_token_invalid", reading)
