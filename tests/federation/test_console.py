"""The console's page about one provider, with a real provider behind it."""

import secrets
from typing import Any

from tests.admin.conftest import sign_in
from tests.federation.test_routes import configured
from tests.federation.test_trials import tried

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party


async def test_a_provider_is_tested_and_a_sign_in_tried(
    platform: Platform, api: Api, upstream: Any, canary: Canary
) -> None:
    email = f"{secrets.token_hex(6)}@acme.test"
    upstream.user = {"sub": "trial-9", "email": email, "email_verified": True, "team": {"names": ["ops"]}}
    provider_id = await configured(
        api, upstream, groups_claim="team.names", group_sync={"claim": "team.names", "pattern": ".*"}
    )
    async with platform.browser(canary) as administrator, platform.browser(canary) as somebody:
        await sign_in(administrator, platform, f"/admin/providers/{provider_id}/test")
        page = await administrator.submit("test-now")
        assert page.texts["tested"] in {"All is well", "It works, with reservations"}, page.body
        page = await administrator.submit("try")
        trial = {"url": page.links["trial-url"], "provider_id": provider_id}
        assert (await tried(platform, somebody, upstream, trial)).status == 200
        page = await administrator.click("refresh")
        assert page.texts["trial-state"] == "It works"
        assert email in page.body
        assert "trial-9" in page.texts["claims"]
        assert page.texts["mapping-outcome"] == "a new one"
        assert "/ops" in page.texts["mapping-groups"] or "ops" in page.texts["mapping-groups"]
        assert page.texts["access"].startswith("Let in"), "no rule is about any application"
        party = await Party.registered(api, platform.issuer, canary)
        name = f"only-ops-{secrets.token_hex(3)}"
        await api.create("/rules", name=name, expression="'ops' in groups", precedence=1, clients=[party.client_id])
        page = await administrator.submit("client_id", "decide", client_id=party.client_id)
        assert page.texts["access"].startswith("Let in")
        assert name in page.texts["access"]
        other = f"nobody-{secrets.token_hex(3)}"
        shut = await Party.registered(api, platform.issuer, canary)
        await api.create("/rules", name=other, expression="'board' in groups", precedence=1, clients=[shut.client_id])
        page = await administrator.submit("client_id", "decide", client_id=shut.client_id)
        assert page.texts["access"].startswith("Not let in")
    found: Any = await api.get("/users", email=email)
    assert found["items"] == [], "nobody was created"
