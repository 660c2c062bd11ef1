"""Sign-ins are counted by what people signed in with."""

import pytest
from pydantic import JsonValue

from watchword_events.names import Service
from watchword_runtime.audit_log import AuditLog
from watchword_runtime.telemetry import Telemetry
from watchword_testkit.databases import TestDatabase


@pytest.mark.parametrize(
    ("members", "method"),
    [
        pytest.param({"amr": ["pwd"], "provider_id": None}, "password", id="password"),
        pytest.param({"amr": ["pwd", "otp", "mfa"]}, "password", id="password and a code"),
        pytest.param({"amr": ["pwd", "hwk", "user", "mfa"]}, "password", id="password and a passkey"),
        pytest.param({}, "password", id="a refused password"),
        pytest.param({"amr": ["swk", "user", "mfa"]}, "passkey", id="a synchronized passkey"),
        pytest.param({"amr": ["hwk", "user", "mfa"], "provider_id": None}, "passkey", id="a passkey of one device"),
        pytest.param({"amr": [], "provider_id": "okta"}, "provider", id="a provider that says nothing"),
        pytest.param({"amr": ["hwk"], "provider_id": "okta"}, "provider", id="a provider with a passkey"),
    ],
)
async def test_a_sign_in_is_counted_by_its_method(
    database: TestDatabase, members: dict[str, JsonValue], method: str
) -> None:
    telemetry = Telemetry("test")
    AuditLog(database.open(Service.AUTHZ), telemetry).note("sign_in.succeeded", **members)
    assert dict(telemetry.sign_ins) == {(method, "succeeded"): 1}
