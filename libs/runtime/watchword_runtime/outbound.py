"""The only HTTP client for addresses that others chose: guarded at connect time, capped, without redirects."""

from collections.abc import Mapping

from httpx2 import AsyncClient
from pydantic import JsonValue

from watchword_runtime.settings import ServiceSettings

MAX_BYTES = 256 * 1024


class Blocked(Exception):
    """The address is not one that outgoing requests may reach."""


class BadAnswer(Exception):
    """The answer is too large, of another type, a redirect or an error."""


def client(settings: ServiceSettings) -> AsyncClient:
    """A client whose connections are checked when they are made; close it at the end."""
    raise NotImplementedError


async def fetch_json(client: AsyncClient, url: str, headers: Mapping[str, str] | None = None) -> dict[str, JsonValue]:
    """The JSON object at a URL. Raises Blocked, BadAnswer, or httpx2.HTTPError when nobody answers."""
    raise NotImplementedError
