"""Key rotations one after another, and parties that must never notice: verifiers, and one that only reads the JWKS."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from tests.bench.ring import Ring

_SWITCHED_WITHIN_S: Final = 60.0
_SHOW_EVERY_S: Final = 0.1


class KeyClient:
    """A relying party without the verifier: it reads the JWKS when its max-age is over, and at no other time."""

    def __init__(self, ring: Ring, *, max_age_s: float) -> None:
        self._url = f"{ring.platform.issuer}/oauth2/jwks"
        self._max_age_s = max_age_s
        self._read_at = float("-inf")
        self._keys = KeySet([])

    async def verifies(self, http: httpx2.AsyncClient, token: str) -> bool:
        """Whether the signature is by a key that it knows. Spec: RFC 7517 5."""
        if time.monotonic() - self._read_at >= self._max_age_s:
            read_at = time.monotonic()
            answer = (await http.get(self._url)).raise_for_status()
            assert f"max-age={self._max_age_s:g}" in answer.headers["cache-control"], answer.headers["cache-control"]
            self._keys, self._read_at = KeySet.import_key_set(answer.json()), read_at
        try:
            jwt.decode(token, self._keys, algorithms=["ES256"])
        except (JoseError, ValueError):
            return False
        return True


@dataclass
class Done:
    """What happened. failed: good tokens that a verifier refused."""

    rotations: int = 0
    took_s: float = 0.0
    verified: int = 0
    failed: int = 0
    failed_at_party: int = 0


class Rotations:
    """Rotates and shows good tokens to everybody meanwhile."""

    def __init__(self, ring: Ring, party: KeyClient) -> None:
        self._ring, self._party = ring, party
        self._done = Done()

    async def run(self, count: int) -> Done:
        """So many rotations, each waited for."""
        began = time.monotonic()
        showing = asyncio.create_task(self._show())
        for _ in range(count):
            await self._rotate()
            self._done.rotations += 1
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        self._done.took_s = time.monotonic() - began
        return self._done

    async def _rotate(self) -> None:
        before = await self._active()
        answer = await self._ring.api.call("POST", "/keys/rotate", {"alg": "ES256"})
        assert answer.is_success, f"{answer.status_code}: {answer.text}"
        deadline = time.monotonic() + _SWITCHED_WITHIN_S
        while await self._active() == before:
            assert time.monotonic() < deadline, "the new key does not sign"
            await asyncio.sleep(0.1)

    async def _active(self) -> str:
        listed = await self._ring.api.get("/keys")
        items = listed["items"]
        assert isinstance(items, list)
        return str(next(item["kid"] for item in items if item["alg"] == "ES256" and item["state"] == "active"))

    async def _show(self) -> None:
        """A token fresh from the token endpoint, whichever key signed it, must be good everywhere at once."""
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            while True:
                token = (await self._ring.at_token("token", grant_type="client_credentials")).json()["access_token"]
                self._done.failed_at_party += not await self._party.verifies(http, token)
                refusals = await asyncio.gather(*[each.refusals([token]) for each in self._ring.servers])
                self._done.failed += sum(refusal != [None] for refusal in refusals)
                self._done.verified += 1 + len(refusals)
                await asyncio.sleep(_SHOW_EVERY_S)
