"""What is no access token of ours, at every place that takes one."""

import base64
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey
from structlog.testing import capture_logs
from tests.token.conftest import ISSUER, MASTER, App, Site

from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim
from watchword_runtime.internal import InternalClients
from watchword_runtime.jwks import Genuine
from watchword_runtime.keyring import derive_service_keys
from watchword_runtime.opaque_tokens import OpaqueTokens
from watchword_runtime.settings import ServiceSettings

OWN = ECKey.generate_key("P-256")


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def places(site: Site, app: App, token: str) -> dict[str, bool]:
    """Where the token is accepted."""
    headers = {b"Authorization": f"Bearer {token}".encode()}
    api = await site.http.get("/api/v1/grants", headers=headers)
    feed = await site.http.get("/revocations", headers=headers)
    assert api.status_code in {200, 401, 403}, api.text
    assert feed.status_code in {200, 401, 403}, feed.text
    return {
        "introspection": await site.is_active(app, token),
        "userinfo": (await site.userinfo(token)).status_code == 200,
        "api": api.status_code != 401,
        "feed": feed.status_code != 401,
        "another service": await opened(site, token) is not None,
    }


async def opened(site: Site, token: str) -> Genuine | None:
    """What another service is told of an opaque token."""
    keys = json.dumps(derive_service_keys(MASTER, Service.ADMIN))
    given = {"public_url": ISSUER, "database_url": "postgresql://nowhere/none", "keys": keys}
    ways = InternalClients({Service.TOKEN: site.service.app}, site.clock)
    pulls = ways.of(ServiceSettings.model_validate(given), Service.ADMIN)
    found = await OpaqueTokens(pulls, site.clock).open(token)
    await ways.close()
    return found


async def forged(site: Site, app: App, tokens: dict[str, Any]) -> dict[str, str]:
    """Attacks on a genuine token, by name."""
    genuine = tokens["access_token"]
    header, payload, signature = genuine.split(".")
    head = json.loads(base64.urlsafe_b64decode(header + "=="))
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    jwks = (await site.http.get("/oauth2/jwks")).json()
    public = next(key for key in jwks["keys"] if key["kid"] == head["kid"])
    pem = ECKey.import_key({k: public[k] for k in ("kty", "crv", "x", "y")}).as_pem(private=False)
    der = ECKey.import_key(pem).public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    richer = {**claims, "scope": "openid watchword:admin"}

    def hs256(secret: bytes) -> str:
        signed = f"{b64({'alg': 'HS256', 'typ': 'at+jwt', 'kid': head['kid']})}.{b64(richer)}"
        return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"

    def signed(alg_header: dict[str, Any], body: dict[str, Any] = richer) -> str:
        return jwt.encode({"alg": "ES256", "typ": "at+jwt", **alg_header}, body, OWN)

    return {
        "ID token": tokens["id_token"],
        "refresh token": tokens["refresh_token"],
        "alg none": f"{b64({**head, 'alg': 'none'})}.{payload}.",
        "alg None with the signature": f"{b64({**head, 'alg': 'None'})}.{payload}.{signature}",
        "no signature": f"{header}.{payload}.",
        "another payload": f"{header}.{b64(richer)}.{signature}",
        "HS256 with the public PEM": hs256(pem),
        "HS256 with the public DER": hs256(der),
        "HS256 with the public JWK": hs256(json.dumps(public).encode()),
        "a foreign key under our kid": signed({"kid": head["kid"]}),
        "a foreign key under a kid of its own": signed({"kid": "theirs"}),
        "a key in the header": signed({"kid": head["kid"], "jwk": OWN.as_dict(private=False)}),
        "a key set URL in the header": signed({"kid": head["kid"], "jku": "http://127.0.0.1:1/jwks"}),
        "a certificate URL in the header": signed({"kid": head["kid"], "x5u": "http://127.0.0.1:1/x"}),
        "kid as a path": signed({"kid": "../../../../dev/null"}),
        "kid as SQL": signed({"kid": "' OR 1=1 --"}),
        "a very long kid": signed({"kid": "k" * 10_000}),
        "the header spelled otherwise": f"{b64({**head})}.{payload}.{signature}",
        "padding": f"{header}.{payload}.{signature}==",
        "stray low bits": f"{header}.{payload}.{signature[:-1]}{'B' if signature[-1] != 'B' else 'C'}",
        "four parts": f"{genuine}.x",
        "one part": header,
        "dots": "." * 5000,
        "a very long token": "x" * 20_000,
        "empty parts": "..",
        "JWE of somebody": jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, payload, OctKey.generate_key(256)),
        "not ASCII": "tökén",
    }


@pytest.mark.row(15, 16)
@pytest.mark.spec("RFC 8725 3")
@pytest.mark.spec("RFC 9068 4")
@pytest.mark.parametrize("access_token_format", ["jwt", "opaque"])
async def test_nothing_but_our_access_tokens_is_accepted_anywhere(site: Site, access_token_format: str) -> None:
    app = await site.client()
    tokens = await site.sign_in(app, await site.user(roles=["administrator"]))
    other = await site.client(access_token_format=access_token_format)
    genuine = await site.sign_in(other)
    assert (await places(site, other, genuine["access_token"]))["userinfo"]
    for name, token in (await forged(site, app, tokens)).items():
        accepted = await places(site, app, token)
        if name == "refresh token":
            assert accepted.pop("introspection")  # RFC 7662 2.1: a client may ask about its own
        assert not any(accepted.values()), f"{name}: {accepted}"


async def test_another_service_is_told_what_an_opaque_token_says_and_nothing_of_a_jwt(site: Site) -> None:
    user = await site.user()
    app = await site.client(access_token_format="opaque", permission_scope=["watchword:me:read"])
    token = (await site.sign_in(app, user))["access_token"]
    found = await opened(site, token)
    assert found is not None
    claims = await site.introspect(app, token)
    assert {name: found.claims[name] for name in claims.keys() & found.claims.keys()} == {
        name: claims[name] for name in claims.keys() & found.claims.keys()
    }
    assert (found.claims["sub"], found.claims["permissions"]) == (user.id, ["watchword:me:read"])
    await site.revoke(Claim.JTI, found.claims["jti"])
    assert await opened(site, token) is not None, "whether it is live is for whoever asks to know"
    assert await opened(site, (await site.sign_in(await site.client()))["access_token"]) is None


@pytest.mark.spec("RFC 7516 5.2")
async def test_an_altered_opaque_token_is_refused(site: Site) -> None:
    app = await site.client(access_token_format="opaque")
    genuine = (await site.sign_in(app))["access_token"]
    assert (await places(site, app, genuine))["another service"]
    other = (await site.sign_in(app))["access_token"]
    parts, others = genuine.split("."), other.split(".")
    for place in range(5):
        for replacement in (others[place], "", "AAAA", parts[place][:-1]):
            altered = ".".join([*parts[:place], replacement, *parts[place + 1 :]])
            if altered != genuine:
                assert not any((await places(site, app, altered)).values()), (place, replacement)


@pytest.mark.row(18)
async def test_garbage_is_refused_before_anything_is_decoded_or_computed(site: Site) -> None:
    app = await site.client()
    attacks = await forged(site, app, await site.sign_in(app))
    reasons = {
        "dots": "not compact JOSE",
        "a very long token": "too long",
        "a very long kid": "no such key",
        "JWE of somebody": "no such key",
    }
    for name, reason in reasons.items():
        with capture_logs() as logs:
            assert (await site.userinfo(attacks[name])).status_code == 401
        assert [line["detail"] for line in logs if line["event"] == "request.refused"] == [reason], name


async def test_an_expired_token_is_dead_everywhere(own_site: Site) -> None:
    for token_format in ("jwt", "opaque"):
        app = await own_site.client(access_token_lifetime_s=60, access_token_format=token_format)
        tokens = await own_site.sign_in(app)
        assert (await places(own_site, app, tokens["access_token"]))["userinfo"]
        own_site.clock.advance(timedelta(seconds=61))
        assert not any((await places(own_site, app, tokens["access_token"])).values())


@pytest.mark.row(62)
async def test_a_token_of_another_installation_is_none_of_ours(site: Site) -> None:
    app = await site.client()
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": [app.id, ISSUER], "sub": new_id(), "client_id": app.id, "jti": new_id(),
        "iat": now, "exp": now + 60, "scope": "openid", "rev": 1 << 52,
    }  # fmt: skip
    token = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": str(OWN.thumbprint())}, claims, OWN)
    assert not any((await places(site, app, token)).values())
