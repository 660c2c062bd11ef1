"""A program elsewhere shows its own system's token and gets ours; when the issuer is removed, it is dead at once."""

import base64
import json
import secrets
from pathlib import Path

import pytest

from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.issuers import Issuer
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party
from watchword_testkit.web import web_site

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@pytest.mark.seed(65, 66, 67, 70, 71)
async def test_a_job_deploys_until_its_issuer_is_removed(
    platform: Platform, api: Api, canary: Canary, tmp_path: Path
) -> None:
    audience = f"https://deploy-{secrets.token_hex(4)}.example"
    repository = f"acme/{secrets.token_hex(4)}"
    party = await Party.registered(
        api, platform.issuer, canary, redirect_uris=[], grant_types=[EXCHANGE], token_endpoint_auth_method="none",
        scope="deploy", audience=[audience],
    )  # fmt: skip
    reader = await Party.registered(
        api, platform.issuer, canary, redirect_uris=[], grant_types=["client_credentials"], scope="introspect:any"
    )
    async with web_site(tmp_path) as elsewhere:
        ci = Issuer(elsewhere, utc_now)
        issuer = await api.create(
            "/issuers", iss=ci.iss, aud=[platform.issuer], token_expiry_s=1800, root_ca=ci.root_ca
        )
        token = ci.token(aud=platform.issuer, repository=repository, sub=f"repo:{repository}")
        canary.add("token", token)
        asked = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT}
        refused = (await party.ask("token", **asked)).json()
        assert refused["error_description"].startswith("No access rule matched for the subject fed:localhost")
        rule = await api.create(
            "/rules", name=f"deployers-{secrets.token_hex(4)}", expression=f"claims.repository == '{repository}'",
            clients=[party.client_id],
        )  # fmt: skip
        answer = await party.ask("token", **asked, audience=audience)
        for _ in range(200):  # who was refused a moment ago is refused until this instance has heard of the rule
            if answer.status_code == 200:
                break
            answer = await party.ask("token", **asked, audience=audience)
        tokens = answer.json()
        part = tokens["access_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        assert (claims["policy"], claims["fed:iss"], claims["aud"]) == ([rule["name"]], ci.iss, audience)
        assert (await reader.introspect(tokens["access_token"]))["active"] is True
        await api.delete(f"/issuers/{issuer['id']}")
        assert (await reader.introspect(tokens["access_token"]))["active"] is False
        assert (await party.ask("token", **asked)).json()["error"] == "invalid_request"
