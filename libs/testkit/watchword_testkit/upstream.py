"""A provider that somebody else wrote, on a real port, and its configuration at an installation."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import oidc_provider_mock
import pytest

from watchword_testkit.api import Api

# A preset that an operator wrote: nothing in Watchword knows of it.
MOCK_PRESET: Final = """\
display_name: Mock
kind: oidc
docs_url: https://oidc-provider-mock.example
asks:
- {name: base, label: Address, kind: url, required: true}
- client_id
- client_secret
sets:
  issuer: '{base}'
  scopes: [openid, email, profile]
  groups_claim: groups
steps:
- Nothing has to be registered there.
"""


def with_mock_preset(home: Path) -> Path:
    """A directory with the preset `mock`, as WATCHWORD_PROVIDER_PRESETS names it."""
    presets = home / "presets"
    presets.mkdir()
    (presets / "mock.yaml").write_text(MOCK_PRESET)
    return presets


@pytest.fixture
def mock_issuer() -> Iterator[str]:
    """The issuer of the test's own provider: alice, bob and carol are known; whoever else comes has no claims.

    carol signs in with two factors.
    """
    users = [
        oidc_provider_mock.User(
            sub=name,
            claims={
                "email": f"{name}-{secrets.token_hex(4)}@mock.test",
                "email_verified": True,
                "name": name.title(),
                "groups": ["dev"],
                **({"amr": ["mfa"]} if name == "carol" else {}),
            },
        )
        for name in ("alice", "bob", "carol")
    ]
    with oidc_provider_mock.run_server_in_thread(require_nonce=True, user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


async def configure_mock(api: Api, issuer: str) -> str:
    """The id under which an administrator configured it, fresh each time."""
    made = await api.create(
        "/providers",
        id=f"Mock-{secrets.token_hex(4)}",
        preset="oidc",
        enabled=True,
        display_name="Mock",
        issuer=issuer,
        client_id=f"watchword-{secrets.token_hex(4)}",
        client_secret="mock-secret-4711",
    )
    return str(made["id"])
