"""The keys of `token` in the memory of another service."""

import asyncio

from fastapi import FastAPI
from joserfc.jwk import ECKey
from pydantic import JsonValue

from watchword_events.names import Service
from watchword_runtime.internal import InternalClients
from watchword_runtime.jwks import JWKS_PATH, AccessTokenKeys

from .conftest import SettingsFor, eventually


class Owner:
    """`token`: each question is answered with the keys of its own moment, as soon as the test lets it."""

    def __init__(self) -> None:
        self.kid = "old"
        self.asked: list[asyncio.Event] = []
        self.app = FastAPI()
        self.app.get(JWKS_PATH)(self._jwks)

    async def _jwks(self) -> dict[str, JsonValue]:
        key = ECKey.generate_key("P-256", {"kid": self.kid, "alg": "ES256", "use": "sig"})
        answers = asyncio.Event()
        self.asked.append(answers)
        await answers.wait()
        return {"keys": [dict(key.as_dict(private=False))]}


async def test_an_answer_that_was_overtaken_by_a_newer_one_changes_nothing(settings_for: SettingsFor) -> None:
    """The first question was asked before the key was replaced, and its answer is late."""
    owner = Owner()
    clients = InternalClients({Service.TOKEN: owner.app})
    internal = clients.of(settings_for(Service.AUTHZ), Service.AUTHZ)
    keys = AccessTokenKeys(internal, issuer="https://sso.example")
    first = asyncio.create_task(keys.key("new"))
    await eventually(lambda: len(owner.asked) == 1)
    owner.kid = "new"
    keys.changed()
    second = asyncio.create_task(keys.key("new"))
    await eventually(lambda: len(owner.asked) == 2)
    owner.asked[1].set()
    assert await second is not None
    owner.asked[0].set()
    assert await first is not None
    assert await keys.key("new") is not None
    await clients.close()
