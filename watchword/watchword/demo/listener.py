"""Live events of Watchword, as any program with the scope `watchword:events` can follow them."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

RECENT: Final = 500
_RETRY_S: Final = 1.0
_READ_S: Final = 30.0  # Watchword sends a comment every ten seconds


@dataclass(frozen=True)
class Happened:
    """An event, by ids only. number: counts what this listener has heard."""

    number: int
    type: str
    subject: str
    data: dict[str, Any]
    at: float = field(default_factory=time.time)

    def concerns(self, sub: str, sid: str) -> bool:
        """Whether it is about this person or this session."""
        ids = {self.subject, self.data.get("id"), self.data.get("user_id")}
        return sub in ids or (bool(sid) and sid in ids)


class Listener:
    """Follows the stream in the background and remembers the last events."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self._issuer = issuer
        self._login = httpx2.BasicAuth(client_id, client_secret)
        self._recent: deque[Happened] = deque(maxlen=RECENT)
        self._count = 0
        self._news = asyncio.Condition()
        self.connected = False

    def about(self, sub: str, sid: str, since: float) -> list[Happened]:
        """What happened around this person since then, oldest first."""
        return [event for event in self._recent if event.at >= since and event.concerns(sub, sid)]

    async def after(self, number: int, timeout_s: float) -> list[Happened]:
        """What was heard after the event with this number; nothing when that took longer."""
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(lambda: self._count > number), timeout_s)
            except TimeoutError:
                return []
        return [event for event in self._recent if event.number > number]

    @property
    def heard(self) -> int:
        """How many events were heard so far."""
        return self._count

    async def follow(self) -> None:
        """Listens until cancelled; a stream that ended, as each does with its token, is opened again."""
        while True:
            try:
                async with httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(5.0, read=_READ_S)) as client:
                    async for kind, data in self._messages(client, await self._token(client)):
                        await self._note(kind, json.loads(data))
            except (httpx2.HTTPError, ValueError, KeyError):
                await asyncio.sleep(_RETRY_S)
            finally:
                self.connected = False

    async def _token(self, client: httpx2.AsyncClient) -> str:
        """An access token for the application itself. Spec: RFC 6749 4.4."""
        answer = await client.post(
            f"{self._issuer}/oauth2/token",
            data={"grant_type": "client_credentials", "scope": "watchword:events"},
            auth=self._login,
        )
        return str(answer.raise_for_status().json()["access_token"])

    async def _messages(self, client: httpx2.AsyncClient, token: str) -> AsyncIterator[tuple[str, str]]:
        """Type and data of each server-sent event. Spec: HTML Standard 9.2.6."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        async with client.stream("GET", f"{self._issuer}/api/v1/events/stream", headers=headers) as answer:
            answer.raise_for_status()
            self.connected = True
            kind, data = "", ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(":")
                match name:
                    case "":
                        if not line and data:
                            yield kind, data
                        kind, data = ("", "") if not line else (kind, data)
                    case "event":
                        kind = value.strip()
                    case "data":
                        data += value.strip()

    async def _note(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "resync":  # events may have been missed: for a page that shows what happens now, no matter
            return
        async with self._news:
            self._count += 1
            self._recent.append(Happened(self._count, kind, str(event.get("subject", "")), dict(event["data"])))
            self._news.notify_all()
