"""What a client may exchange tokens for, as an administrator says it."""

from typing import Any

import pytest
from tests.admin.conftest import Make

from watchword_testkit.api import Api

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ROW = {"audiences": ["https://billing.example"], "scope": "write read read", "subject_clients": ["shop", "shop"]}


async def test_policies_are_kept_and_shown(make_client: Make, api: Api) -> None:
    made = await make_client(grant_types=[GRANT], redirect_uris=[], exchange_policies=[ROW])
    expected = {"audiences": ["https://billing.example"], "scope": "read write", "subject_clients": ["shop"]}
    assert made["exchange_policies"] == [expected | {"actor": "none"}]
    changed = await api.change(f"/clients/{made['client_id']}", exchange_policies=None)
    assert changed["exchange_policies"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"exchange_policies": [{"scope": "read"}]}, id="no audience"),
        pytest.param({"exchange_policies": [ROW | {"audiences": []}]}, id="an empty audience"),
        pytest.param({"exchange_policies": [ROW | {"audiences": ["a b"]}]}, id="a space in an audience"),
        pytest.param({"exchange_policies": [ROW | {"scope": 'x "'}]}, id="a malformed scope"),
        pytest.param({"exchange_policies": [ROW | {"scope": "offline_access"}]}, id="lasting access"),
        pytest.param({"exchange_policies": [ROW | {"actor": "maybe"}]}, id="an unknown word"),
        pytest.param({"exchange_policies": [ROW | {"all": True}]}, id="an unknown member"),
        pytest.param({"exchange_policies": [ROW] * 33}, id="too many"),
        pytest.param({"grant_types": ["client_credentials"]}, id="without the grant type"),
        pytest.param({"token_endpoint_auth_method": "none"}, id="a public client"),
    ],
)
async def test_policies_that_are_refused(api: Api, wrong: dict[str, Any]) -> None:
    given = {"client_name": "x", "grant_types": [GRANT], "exchange_policies": [ROW]} | wrong
    assert (await api.call("POST", "/clients", given)).status_code == 400
