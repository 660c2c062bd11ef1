"""Assertions, certificates and addresses as client authentication, where clients call authz."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from tests.authz.conftest import CALLBACK, ISSUER, Rig, running

from watchword_events.exports import ClientExport
from watchword_runtime.client_assertions import TYPE
from watchword_testkit.authority import Authority
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.holder import Holder
from watchword_testkit.servers import Postgres

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
CHALLENGE: Final = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PAR: Final = {"response_type": "code", "redirect_uri": CALLBACK, "scope": "openid", "code_challenge": CHALLENGE}
ENDPOINTS: Final[dict[str, dict[str, str]]] = {
    "/oauth2/par": {**PAR, "code_challenge_method": "S256"},
    "/oauth2/device_authorization": {"scope": "openid"},
}
HEADER: Final = "X-Client-Cert"
DN: Final = "CN=app,O=Example"
OURS: Final = Authority("Our clients")


@pytest.fixture(scope="module")
async def proxied(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    """An authz behind a proxy, 10.0.0.1, that passes on client certificates."""
    home: Path = tmp_path_factory.mktemp("authz-proxied")
    ca = home / "ca.pem"
    ca.write_text(OURS.pem)
    settings = {"trusted_proxies": "10.0.0.1/32", "client_certificate_header": HEADER, "client_ca_file": str(ca)}
    async with running(postgres, database_template, home, TestClock(), Canary(), **settings) as made:
        yield made


def client(rig: Rig, **given: Any) -> ClientExport:
    return rig.client(grant_types=["authorization_code", "refresh_token", DEVICE], **given)


async def post(
    rig: Rig, path: str, fields: dict[str, str], *, peer: str = "192.0.2.10", **headers: str
) -> httpx2.Response:
    transport = httpx2.ASGITransport(rig.app.app, client=(peer, 4711))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        answer = await http.post(path, data={**ENDPOINTS[path], **fields}, headers=headers)
    if answer.status_code < 300:
        rig.canary.add("reference", *(answer.json()[n] for n in ("request_uri", "device_code") if n in answer.json()))
    return answer


def asserted(rig: Rig, app: ClientExport, holder: Holder, audience: object = ISSUER) -> dict[str, str]:
    assertion = holder.assertion(app.client_id, audience, now=rig.clock().timestamp())
    rig.canary.add("client assertion", assertion)
    return {"client_assertion_type": TYPE, "client_assertion": assertion}


@pytest.mark.spec("RFC 7523 2.2; RFC 9126 2")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_assertion_proves_the_client_once(rig: Rig, path: str) -> None:
    holder = Holder()
    app = client(rig, token_endpoint_auth_method="private_key_jwt", jwks=holder.jwks)
    fields = asserted(rig, app, holder)
    answer = await post(rig, path, fields)
    assert answer.status_code in (200, 201), answer.text
    for other in ENDPOINTS:
        again = await post(rig, other, fields)
        assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    refused = {
        "for the endpoint": asserted(rig, app, holder, f"{ISSUER}{path}"),
        "another key": asserted(rig, app, Holder()),
        "the name alone": {"client_id": app.client_id},
        "a secret": {"client_id": app.client_id, "client_secret": "x"},
    }
    for name, wrong in refused.items():
        assert (await post(rig, path, wrong)).status_code == 401, name


@pytest.mark.spec("RFC 8705 2")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_certificate_proves_the_client(proxied: Rig, path: str) -> None:
    app = client(proxied, token_endpoint_auth_method="tls_client_auth", tls_client_auth_subject_dn=DN)
    fields = {"client_id": app.client_id}
    certificate = {HEADER: base64.b64encode(OURS.client_certificate(DN)).decode()}
    answer = await post(proxied, path, fields, peer="10.0.0.1", **certificate)
    assert answer.status_code in (200, 201), answer.text
    forged = {HEADER: base64.b64encode(OURS.client_certificate(DN, self_signed=True)).decode()}
    for peer, headers in (("10.0.0.1", {}), ("10.0.0.1", forged), ("192.0.2.10", certificate)):
        assert (await post(proxied, path, fields, peer=peer, **headers)).status_code == 401


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_client_may_be_bound_to_addresses(proxied: Rig, path: str) -> None:
    app = client(proxied, token_endpoint_auth_method="none", client_ip_ranges=["192.0.2.0/24"])
    fields = {"client_id": app.client_id}
    for peer, headers, is_inside in (
        ("192.0.2.1", {}, True),
        ("203.0.113.5", {}, False),
        ("203.0.113.5", {"X-Forwarded-For": "192.0.2.1"}, False),
        ("10.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, True),
        ("10.0.0.1", {"X-Forwarded-For": "192.0.2.1, 203.0.113.5"}, False),
        ("10.0.0.1", {}, False),
    ):
        answer = await post(proxied, path, fields, peer=peer, **headers)
        assert (answer.status_code < 300) is is_inside, (peer, headers)
