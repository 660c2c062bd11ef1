"""What may be registered about how a client proves itself; and that secrets which sign are sealed."""

import base64
import json
from typing import Any, Final

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import ValidationError
from tests.admin.conftest import Make
from tests.admin.test_clients import exported

from watchword.composition import settings_of
from watchword_admin.client_documents import NewClient
from watchword_events.names import Service
from watchword_runtime.keyring import Sealer
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.holder import Holder
from watchword_testkit.platform import Platform

HOLDER: Final = Holder()
JWKS: Final = json.loads(json.dumps(HOLDER.jwks))
URI: Final = "https://app.example.com/keys"
BASE: Final = {"client_name": "App", "redirect_uris": ["https://app.example.com/callback"]}
KEY: Final = {"token_endpoint_auth_method": "private_key_jwt"}
SIGNED: Final = {"token_endpoint_auth_method": "client_secret_jwt"}
TLS: Final = {"token_endpoint_auth_method": "tls_client_auth"}
SELF: Final = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
CERTIFIED: Final = {"keys": [{**JWKS["keys"][0], "x5c": ["MIIB"]}]}


def keys(*listed: object) -> dict[str, object]:
    return {"keys": list(listed)}


GOOD: Final[dict[str, dict[str, Any]]] = {
    "keys by value": {**KEY, "jwks": JWKS},
    "keys behind a URL": {**KEY, "jwks_uri": URI},
    "one algorithm": {**KEY, "jwks": JWKS, "token_endpoint_auth_signing_alg": "ES256"},
    "keys of kinds that nobody here uses, beside one": {
        **KEY,
        "jwks": keys(*JWKS["keys"], ECKey.generate_key("P-384").as_dict(private=False), {"kty": "AKP"}),
    },
    "keys for what is encrypted": {"jwks": keys({**JWKS["keys"][0], "use": "enc"})},
    "a signing secret": SIGNED,
    "a signing secret of its algorithm": {**SIGNED, "token_endpoint_auth_signing_alg": "HS256"},
    "a distinguished name": {**TLS, "tls_client_auth_subject_dn": "CN=app,O=Example\\, Inc."},
    "a DNS name": {**TLS, "tls_client_auth_san_dns": "App.example.com"},
    "an address": {**TLS, "tls_client_auth_san_ip": "2001:DB8::1"},
    "a certificate by value": {**SELF, "jwks": CERTIFIED},
    "certificates behind a URL": {**SELF, "jwks_uri": URI},
    "networks": {"client_ip_ranges": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]},
    "tokens bound to a key": {"dpop_bound_access_tokens": True},
    "tokens bound to the certificate": {"tls_client_certificate_bound_access_tokens": True},
}
REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no keys": (KEY, "jwks"),
    "keys twice": ({**KEY, "jwks": JWKS, "jwks_uri": URI}, "jwks_uri"),
    "keys in a list": ({**KEY, "jwks": [JWKS]}, "jwks"),
    "no key set": ({**KEY, "jwks": {"kty": "EC"}}, "jwks"),
    "something beside the keys": ({**KEY, "jwks": {**JWKS, "x": 1}}, "jwks"),
    "an empty key set": ({**KEY, "jwks": keys()}, "jwks"),
    "33 keys": ({**KEY, "jwks": keys(*JWKS["keys"] * 33)}, "jwks"),
    "a key that is text": ({**KEY, "jwks": keys("key")}, "jwks"),
    "a private key": ({**KEY, "jwks": keys(HOLDER.key.as_dict(private=True))}, "jwks"),
    "a private RSA key": ({**KEY, "jwks": keys(RSAKey.generate_key(2048).as_dict(private=True))}, "jwks"),
    "a secret as a key": ({**KEY, "jwks": keys(OctKey.generate_key(256).as_dict())}, "jwks"),
    "a secret without itself": ({**KEY, "jwks": keys({"kty": "oct"})}, "jwks"),
    "a weak key alone": ({**KEY, "jwks": keys(RSAKey.generate_key(1024).as_dict(private=False))}, "jwks"),
    "a key for encryption alone": ({**KEY, "jwks": keys({**JWKS["keys"][0], "use": "enc"})}, "jwks"),
    "no key for the algorithm": ({**KEY, "jwks": JWKS, "token_endpoint_auth_signing_alg": "RS256"}, "jwks"),
    "an algorithm of secrets": (
        {**KEY, "jwks": JWKS, "token_endpoint_auth_signing_alg": "HS256"},
        "token_endpoint_auth_signing_alg",
    ),
    "an algorithm of keys": ({**SIGNED, "token_endpoint_auth_signing_alg": "ES256"}, "token_endpoint_auth_signing_alg"),
    "an algorithm without assertions": (
        {"token_endpoint_auth_signing_alg": "ES256"},
        "token_endpoint_auth_signing_alg",
    ),
    "no algorithm": ({**KEY, "jwks": JWKS, "token_endpoint_auth_signing_alg": "none"}, "signing_alg"),
    "keys behind plain text": ({**KEY, "jwks_uri": "app.example.com/keys"}, "jwks_uri"),
    "keys in a file": ({**KEY, "jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
    "keys behind a password": ({**KEY, "jwks_uri": "https://a:b@app.example.com/keys"}, "jwks_uri"),
    "a secret beside keys": ({**KEY, "jwks": JWKS, "client_secret": "s" * 40}, "client_secret"),
    "a secret beside a certificate": (
        {**TLS, "tls_client_auth_san_dns": "a.example", "client_secret": "s" * 40},
        "client_secret",
    ),
    "a short secret that signs": ({**SIGNED, "client_secret": "s" * 31}, "client_secret"),
    "no name": (TLS, "tls_client_auth_subject_dn"),
    "two names": (
        {**TLS, "tls_client_auth_san_dns": "a.example", "tls_client_auth_subject_dn": "CN=a"},
        "tls_client_auth_subject_dn",
    ),
    "a name without a certificate": ({"tls_client_auth_san_dns": "a.example"}, "tls_client_auth_san_dns"),
    "no distinguished name": ({**TLS, "tls_client_auth_subject_dn": "app"}, "tls_client_auth_subject_dn"),
    "an empty name": ({**TLS, "tls_client_auth_subject_dn": ""}, "tls_client_auth_subject_dn"),
    "any host": ({**TLS, "tls_client_auth_san_dns": "*.example"}, "tls_client_auth_san_dns"),
    "a network as an address": ({**TLS, "tls_client_auth_san_ip": "10.0.0.0/8"}, "tls_client_auth_san_ip"),
    "no certificate": ({**SELF, "jwks": JWKS}, "jwks"),
    "no certificate anywhere": (SELF, "jwks"),
    "no network": ({"client_ip_ranges": ["everywhere"]}, "client_ip_ranges"),
    "a network with bits beside it": ({"client_ip_ranges": ["10.0.0.1/8"]}, "client_ip_ranges"),
    "too many networks": ({"client_ip_ranges": [f"10.0.{n}.0/24" for n in range(65)]}, "client_ip_ranges"),
    "two bindings": (
        {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True},
        "dpop_bound_access_tokens",
    ),
    "a binding and tokens without a proof": (
        {
            "tls_client_certificate_bound_access_tokens": True,
            "response_types": ["id_token token"],
            "grant_types": ["implicit"],
        },
        "response_types",
    ),
    "keys of a client without any": (
        {"token_endpoint_auth_method": "none", "client_secret": "s" * 40},
        "client_secret",
    ),
}


@pytest.mark.spec("RFC 7591 2; RFC 8705 2.1.2; RFC 8705 3.4; RFC 9449 5.2")
@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD)
def test_what_can_be_is_accepted(given: dict[str, Any]) -> None:
    document = NewClient.model_validate({**BASE, **given})
    again = NewClient.model_validate(document.model_dump(mode="json", exclude={"client_secret"}))
    assert again == document


@pytest.mark.spec("RFC 7517 5")
@pytest.mark.parametrize(("given", "named"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NewClient.model_validate({**BASE, **given})
    assert named in str(refused.value)


def opener(platform: Platform) -> Sealer:
    """What opens secrets in the services that check signatures."""
    assert platform.process is not None
    keys = {
        service: settings_of(service, platform.site.settings(platform.issuer, {})[service]).keyring.key(
            "client-secrets"
        )
        for service in (Service.TOKEN, Service.AUTHZ)
    }
    assert keys[Service.TOKEN] == keys[Service.AUTHZ]
    return Sealer(keys[Service.TOKEN], 0)


async def kept(platform: Platform, client_id: object) -> list[str]:
    """The secrets of a client, as those who check signatures read them."""
    data = (await exported(platform, client_id)).data
    assert data is not None
    stored = [each.hash for each in data.secrets]
    assert all(each.startswith("sealed:") for each in stored)
    sealed = [base64.b64decode(each.removeprefix("sealed:")) for each in stored]
    return [opener(platform).open(each, str(client_id).encode()).decode() for each in sealed]


async def test_a_secret_that_signs_is_sealed_for_those_who_check_and_shown_once(
    platform: Platform, api: Api, make_client: Make, canary: Canary
) -> None:
    made = await make_client(**SIGNED)
    path, first = f"/clients/{made['client_id']}", str(made["client_secret"])
    assert await kept(platform, made["client_id"]) == [first]
    assert (await api.get(path))["client_secret"] is None
    second = (await api.create(f"{path}/secrets", keep_newest=True))["client_secret"]
    assert await kept(platform, made["client_id"]) == [first, second]
    chosen = "a chosen secret of more than thirty-two characters"
    canary.add("client secret", first, str(second), chosen)
    assert (await api.change(path, client_secret=chosen))["client_secret"] is None
    assert await kept(platform, made["client_id"]) == [chosen]


async def test_a_secret_that_is_kept_in_another_way_is_replaced_with_the_method(
    platform: Platform, api: Api, make_client: Make
) -> None:
    made = await make_client()
    path = f"/clients/{made['client_id']}"
    signs = await api.change(path, **SIGNED)
    assert await kept(platform, made["client_id"]) == [signs["client_secret"]]
    assert (await api.change(path, client_name="Another name"))["client_secret"] is None
    compares = await api.change(path, token_endpoint_auth_method="client_secret_post")
    assert compares["client_secret"] not in (None, made["client_secret"], signs["client_secret"])
    posts = await api.change(path, token_endpoint_auth_method="client_secret_basic")
    assert posts["client_secret"] is None  # compared in the same way
    keyed = await api.change(path, **KEY, jwks=JWKS)
    assert (keyed["secrets"], keyed["client_secret"]) == ([], None)
    refused = await api.call("POST", f"{path}/secrets", {})
    assert refused.status_code == 409
