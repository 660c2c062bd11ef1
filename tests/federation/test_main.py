"""What the composition root makes of the settings."""

import base64
import json
from typing import Any

import pytest

from watchword_events.exports import ProviderExport
from watchword_events.names import Service
from watchword_federation.main import PATHS, secret_opener
from watchword_runtime.keyring import Keyring, Sealer, derive_service_keys

MASTER = b"m" * 32


def sealed_by_admin(provider_id: str, secret: str) -> str:
    key = Keyring(json.dumps(derive_service_keys(MASTER, Service.ADMIN))).key("provider-secrets")
    return base64.urlsafe_b64encode(Sealer(key, 1).seal(secret.encode(), provider_id.encode())).decode().rstrip("=")


def provider(client_secret: str | None, provider_id: str = "acme") -> ProviderExport:
    return ProviderExport(
        id=provider_id,
        preset="oidc",
        kind="oidc",
        display_name="Acme",
        issuer="https://idp.test",
        client_id="us",
        client_secret=client_secret,
    )


def opened(found: ProviderExport) -> str | None:
    return secret_opener(Keyring(json.dumps(derive_service_keys(MASTER, Service.FEDERATION))))(found)


def test_what_admin_sealed_is_opened_here() -> None:
    assert opened(provider(sealed_by_admin("acme", "s3cret ä"))) == "s3cret ä"
    assert opened(provider(None)) is None


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(sealed_by_admin("other", "s3cret"), id="sealed for another provider"),
        pytest.param(sealed_by_admin("acme", "s3cret")[:-4] + "AAAA", id="altered"),
        pytest.param("s3cret", id="in clear"),
        pytest.param("!", id="not base64url"),
        pytest.param("", id="empty"),
    ],
)
def test_a_secret_that_is_not_this_providers_is_not_used(stored: str, log_lines: list[dict[str, Any]]) -> None:
    assert opened(provider(stored)) is None
    (line,) = log_lines
    assert (line["event"], line["provider_id"]) == ("provider_secret.unreadable", "acme")


def test_the_gateway_sends_the_paths_of_upstream_sign_ins_here() -> None:
    assert PATHS == ("/api/auth/sso/", "/api/v1/upstream", "/api/v1/providers/*/test")
