"""What a SAML sign-in costs Watchword, and how soon hostile responses are refused: `python -m tests.bench.saml`.

See `upstream`. The provider is pysaml2; what it says once is signed anew for each sign-in. Hostile responses go
through the public address one by one.
"""

import argparse
import asyncio
import re
import secrets
import statistics
import sys
import tempfile
import time
import zlib
from base64 import b64decode
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.bench.upstream import At, chosen, installation, sign_ins
from tests.federation.saml_forge import assertion_of, one, opened, packed, sign
from tests.federation.saml_hostile import CASES, Live
from tests.federation.saml_idp import Idp, acs, connected, pair
from tests.federation.test_saml_routes import certificates

from watchword.supervisor import Running, running
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn

_GOOD_FOR_S = 120.0  # of the five minutes for which a response is good
_ID = re.compile(rb' ID="([^"]+)"')


def answer(said: str, idp: Idp, url: str) -> str:
    """What a provider said once, as its answer to the request in a redirect."""
    (request,) = parse_qs(urlsplit(url).query)["SAMLRequest"]
    found = _ID.search(zlib.decompress(b64decode(request), -15))
    assert found is not None
    root = opened(said)
    for node in (root, one(root, "saml:Assertion/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData")):
        node.set("InResponseTo", found[1].decode())
    for node in (root, assertion_of(root)):
        node.set("ID", f"_{secrets.token_hex(16)}")
    sign(assertion_of(root), idp.keys)
    return packed(root)


async def _hostile_ms(found: Running, idp: Idp, party: Party, provider_id: str) -> dict[str, float]:
    ours = certificates(idp.sp_metadata)["encryption"][0]
    certificate = f"-----BEGIN CERTIFICATE-----\n{ours}\n-----END CERTIFICATE-----\n"
    stranger, taken = pair("evil"), {}
    async with Browser(found.issuer) as browser:
        for name, (make, _code) in CASES.items():
            await SignIn(browser, party, params={"prompt": "login"}).start()
            page = await browser.click(f"provider-{provider_id}")
            document = make(Live(idp.respond(page.location), idp.keys, certificate, stranger))
            began = time.perf_counter()
            page = await browser.send("POST", acs(provider_id), {"SAMLResponse": document})
            taken[name] = (time.perf_counter() - began) * 1000
            if page.status < 400:
                raise SystemExit(f"{name} was accepted")
    return taken


async def measure(home: Path, asked: argparse.Namespace) -> None:
    """The figures are printed."""
    async with running(installation(home / "data"), say=lambda _line: None) as found:
        api = Api(found.issuer, found.admin.admin_token)
        idp = Idp(home, pair())
        provider_id = await connected(api, At(found.issuer), idp)  # type: ignore[arg-type]
        party = await Party.registered(api, found.issuer)
        said, said_at = "", 0.0

        async def sign_in() -> None:
            nonlocal said, said_at
            async with Browser(found.issuer) as browser:
                signing_in = SignIn(browser, party)
                await signing_in.start()
                page = await browser.click_soon(f"provider-{provider_id}")
                if time.monotonic() - said_at > _GOOD_FOR_S:
                    said, said_at = idp.respond(page.location), time.monotonic()
                response = answer(said, idp, page.location)
                page = await browser.send("POST", acs(provider_id), {"SAMLResponse": response})
                await browser.open(page.location)
                await signing_in.redeem()

        await sign_ins(found, "SAML", sign_in, asked)
        taken = await _hostile_ms(found, idp, party, provider_id)
        worst = sorted(taken.items(), key=lambda item: -item[1])[:5]
        median = statistics.median(taken.values())
        say = sys.stdout.write
        say(f"hostile responses: {len(taken)}, median {median:.1f} ms, slowest ")
        say(", ".join(f"{name} {ms:.1f} ms" for name, ms in worst) + "\n")
        await api.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), chosen(__doc__)))
