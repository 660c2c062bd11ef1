"""`samlp`, which Auth0 wrote, as a second SAML identity provider: what it signs and encrypts, and what is refused."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator

import pytest
from tests.federation.saml_idp import pair
from tests.interop.conftest import HERE
from tests.interop.test_upstream import arrive

from watchword.embedded.process import free_port
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
async def second() -> AsyncIterator[str]:
    """Its origin. It encrypts for a key that is not ours where it encrypts for nobody in particular."""
    keys, port = pair("second"), free_port()
    told = {"port": port, "key": keys.key, "cert": keys.certificate}
    told |= {"encryptionPublicKey": keys.certificate, "encryptionCert": keys.certificate}
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "saml.mjs")), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=None
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield str(json.loads(line)["origin"])
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize(
    ("variant", "signature", "failure"),
    [
        ("assertion", "assertion", None),
        ("assertion", "response", "signature_validation_failed"),
        ("response", "response", None),
        ("response", "assertion", "signature_validation_failed"),
        ("both", "either", None),
        ("nothing", "either", "signature_validation_failed"),
        ("encrypted", "assertion", "response_invalid"),
    ],
)
async def test_what_the_second_provider_signs(
    platform: Platform, api: Api, canary: Canary, second: str, variant: str, signature: str, failure: str | None
) -> None:
    made = await api.create(
        "/providers",
        id=f"Second-{secrets.token_hex(4)}",
        preset="saml",
        enabled=True,
        display_name="Second",
        metadata_url=f"{second}/metadata/{variant}",
        signature=signature,
        single_logout=False,
    )
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.browser(canary) as browser:
        signing = SignIn(browser, party)
        await signing.start()
        await arrive(browser, await browser.click_soon(f"provider-{made['id']}"))
        page = await arrive(browser, await browser.submit("SAMLResponse"))
        if failure is not None:
            assert page.error_code == failure, page.body
            return
        assert "access_token" in await signing.redeem()
    people = (await api.get(f"/identities?provider_id={made['id']}"))["items"]
    assert [each["issuer"] for each in people] == [f"urn:second:{variant}"]  # type: ignore[attr-defined]
