"""What a sign-in through an OpenID provider costs Watchword: `python -m tests.bench.oidc`. See `upstream`."""

import argparse
import asyncio
import secrets
import tempfile
from pathlib import Path

from tests.bench.upstream import chosen, installation, sign_ins
from tests.federation.conftest import Stage, Upstream

from watchword.supervisor import running
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn


async def measure(home: Path, asked: argparse.Namespace) -> None:
    """The figures are printed."""
    stages = Stage().serve()
    upstream = (stage := await anext(stages)).play(Upstream())
    async with running(installation(home / "data"), say=lambda _line: None) as found:
        api, provider_id = Api(found.issuer, found.admin.admin_token), f"Acme-{secrets.token_hex(4)}"
        known = upstream.provider()
        await api.create(
            "/providers",
            id=provider_id,
            preset="oidc",
            enabled=True,
            display_name="Acme",
            issuer=stage.issuer,
            client_id=known.client_id,
            client_secret=known.client_secret,
        )
        party = await Party.registered(api, found.issuer)

        async def sign_in() -> None:
            upstream.now = utc_now()
            async with Browser(found.issuer) as browser:
                signing_in = SignIn(browser, party)
                await signing_in.start()
                page = await browser.click_soon(f"provider-{provider_id}")
                answer = upstream.authorize(page.location)
                query = "&".join(f"{name}={value}" for name, value in answer.items())
                await browser.open(f"{found.issuer}/api/auth/sso/callback/{provider_id}?{query}")
                await signing_in.redeem()

        await sign_ins(found, "OIDC", sign_in, asked)
        await api.close()
    await stages.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), chosen(__doc__)))
