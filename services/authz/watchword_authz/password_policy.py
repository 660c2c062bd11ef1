"""Which passwords people may choose: long enough, not easy to guess, and in no list of stolen ones.

Nothing is said about kinds of characters, and nothing expires. Spec: NIST SP 800-63B-4 3.1.1.2.
"""

import asyncio
import hashlib
from typing import Final

import httpx2
import structlog

from watchword_events.exports import UserExport
from watchword_runtime.passwords import MAX_BYTES
from watchword_web.texts import Text

log = structlog.get_logger()

_SAFE: Final = 3  # of zxcvbn's scores, 0 to 4: beyond 10^8 guesses
_LOOKED_AT: Final = 72  # zxcvbn's time grows with the square of the length; what is longer is strong enough
_ANSWER_S: Final = 2.0
_PREFIX: Final = 5  # hexadecimal digits of a SHA-1 that the list is told: hundreds of passwords share them


class PasswordPolicy:
    """The rules of an installation."""

    def __init__(self, client: httpx2.AsyncClient, *, min_length: int, breaches_url: str) -> None:
        """client: guarded.  breaches_url: of a range API (k-anonymity), "" for none."""
        self._client = client
        self.min_length = min_length
        self._breaches_url = breaches_url.rstrip("/")

    async def complaint(self, password: str, user: UserExport) -> Text | None:
        """Why the person may not have this password, in their words; None when they may."""
        if len(password) < self.min_length:
            return Text(
                "Use at least %(count)s characters: a few words that you can remember are good.", count=self.min_length
            )
        if len(password.encode(errors="surrogatepass")) > MAX_BYTES:
            return Text("Use at most %(count)s bytes.", count=MAX_BYTES)
        if await asyncio.to_thread(_is_guessable, password, user):
            return Text("This is easy to guess. Use words that have nothing to do with you or with each other.")
        if await self._is_stolen(password):
            return Text("This password is in a list of stolen ones, which others try first. Choose another.")
        return None

    async def aclose(self) -> None:
        """Every connection is closed."""
        await self._client.aclose()

    async def _is_stolen(self, password: str) -> bool:
        """Whether the list has it. Where the list does not answer in time nobody is turned away for that; it is logged.

        The list learns five digits of a hash, and not which of hundreds of passwords is meant.
        """
        if not self._breaches_url:
            return False
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        url = f"{self._breaches_url}/{digest[:_PREFIX]}"
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await self._client.get(url, headers={"Add-Padding": "true", "Accept": "text/plain"})
            answer.raise_for_status()
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            log.warning("password.breaches_not_asked", error=type(error).__name__)
            return False
        found = (line.partition(":") for line in answer.text.splitlines())
        # Lines that only pad the answer count zero.
        return any(suffix.strip() == digest[_PREFIX:] and count.strip() != "0" for suffix, _, count in found)


def _is_guessable(password: str, user: UserExport) -> bool:
    from zxcvbn import zxcvbn  # its lists take 10 MB: loaded by whoever chooses a password first

    name = user.claims.get("name")
    email = user.email or ""
    own = [user.username, email, *email.split("@"), *(name.split() if isinstance(name, str) else ())]
    score: int = zxcvbn(password[:_LOOKED_AT], user_inputs=[each for each in own if each])["score"]
    return score < _SAFE
