"""The README of the library: its blocks, and the names that they take for granted."""

import re
from pathlib import Path
from typing import Final

from watchword_events.names import Service
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party

HOME: Final = Path(__file__).parents[2] / "libs" / "verifier"
README: Final = (HOME / "README.md").read_text()
BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
AUDIENCE: Final = "https://orders.example.com"


def blocks_of_python() -> dict[str, str]:
    """The one block of Python of each section that has any."""
    found = {}
    for part in re.split(r"^## ", README, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        blocks = [body for language, body in BLOCK.findall(text) if language == "python"]
        if blocks:
            (found[title],) = blocks
    return found


def at(platform: Platform, source: str) -> str:
    """A block with the servers of the platform in place of those it names."""
    return (
        source.replace("https://sso.example.com", platform.issuer)
        .replace("nats://nats.example.com:4222", platform.nats.url)
        .replace("seed=nkey_seed", f"seed=nkey_seed, inbox_prefix='_INBOX_{Service.ADMIN}'")
    )


async def names_for(platform: Platform, api: Api, canary: Canary) -> dict[str, str]:
    """What the README takes for granted: this service's client, and a token of somebody else's.

    caller: who that is, which the README does not name.
    """
    machine = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    own = await Party.registered(api, platform.issuer, canary, scope="revocations:read introspect:any", **machine)
    caller = await Party.registered(api, platform.issuer, canary, scope="orders:read", audience=[AUDIENCE], **machine)
    token = (await caller.tokens(grant_type="client_credentials", scope="orders:read"))["access_token"]
    assert own.client_secret is not None
    return {
        "client_id": own.client_id,
        "client_secret": own.client_secret,
        "token": token,
        "authorization": f"Bearer {token}",
        "nkey_seed": platform.site.installation.seeds[Service.ADMIN],
        "caller": caller.client_id,
    }
