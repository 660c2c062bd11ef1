"""What a SAML sign-in costs Watchword, and how soon hostile responses are refused: `python -m tests.bench.saml`.

Whole sign-ins, from the first redirect to the token response, at a running installation; only the CPU of Watchword's
own workers is counted, so that the provider (pysaml2) and the browser play no part. Hostile responses go through the
public address one by one.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.cases import cpu_s
from tests.bench.whole import options
from tests.federation.saml_hostile import CASES, Live
from tests.federation.saml_idp import Idp, acs, connected, pair
from tests.federation.test_saml_routes import certificates

from watchword.supervisor import Running, running
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn

SIGN_INS = 20
WARM_UP = 5
IDLE_S = 5.0


class _At:
    """What `connected` needs of an installation."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def browser(self) -> Browser:
        return Browser(self.issuer)


async def _sign_in(found: Running, party: Party, idp: Idp, provider_id: str) -> None:
    async with Browser(found.issuer) as browser:
        signing_in = SignIn(browser, party)
        await signing_in.start()
        page = await browser.click(f"provider-{provider_id}")
        response = idp.respond(page.location)
        page = await browser.send("POST", acs(provider_id), {"SAMLResponse": response})
        await browser.open(page.location)
        await signing_in.redeem()


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


async def measure(home: Path) -> None:
    """The figures are printed. An idle worker's CPU is measured first and taken off."""
    async with running(options(home / "data", 1), say=lambda _line: None) as found:
        api = Api(found.issuer, found.admin.admin_token)
        idp = Idp(home, pair())
        provider_id = await connected(api, _At(found.issuer), idp)  # type: ignore[arg-type]
        party = await Party.registered(api, found.issuer)
        for _ in range(WARM_UP):
            await _sign_in(found, party, idp, provider_id)
        pids = [worker.pid for worker in found.workers]
        before = sum(cpu_s(pid) for pid in pids)
        await asyncio.sleep(IDLE_S)
        idle = (sum(cpu_s(pid) for pid in pids) - before) / IDLE_S
        before, began = sum(cpu_s(pid) for pid in pids), time.perf_counter()
        for _ in range(SIGN_INS):
            await _sign_in(found, party, idp, provider_id)
        spent = sum(cpu_s(pid) for pid in pids) - before
        wall = time.perf_counter() - began
        each_ms = (spent - idle * wall) / SIGN_INS * 1000
        say = sys.stdout.write
        say(f"SAML sign-in: {each_ms:.1f} ms of Watchword's CPU each, without the {idle:.1%} of an idle worker\n")
        sys.stdout.flush()
        taken = await _hostile_ms(found, idp, party, provider_id)
        worst = sorted(taken.items(), key=lambda item: -item[1])[:5]
        median = statistics.median(taken.values())
        say(f"hostile responses: {len(taken)}, median {median:.1f} ms, slowest ")
        say(", ".join(f"{name} {ms:.1f} ms" for name, ms in worst) + "\n")
        await api.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory)))
