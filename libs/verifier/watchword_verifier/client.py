"""The resource server as a client of the issuer: its access token for the feed, and introspection."""

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

import httpx2
import orjson

FEED_SCOPE: Final = "revocations:read"
TIMEOUT: Final = httpx2.Timeout(5.0)
_TOGETHER_S: Final = 15.0  # an answer that comes in drops is none
_MAX_ANSWER_BYTES: Final = 256 * 1024
# RFC 6750 2.1. It goes into a header as it is.
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*", re.ASCII)


class IssuerUnavailable(OSError):
    """The issuer did not answer, or not as it should. Never carries the request."""


class ClientCredentials:
    """A confidential client at the issuer. Calling it gives a bearer token with scope `revocations:read`."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        secret: str,
        *,
        scope: str = FEED_SCOPE,
        http: httpx2.AsyncClient | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """http: for an own certificate authority or proxy; it stays the caller's to close."""
        self.issuer = issuer.rstrip("/")
        self._scope = scope
        # RFC 6749 2.3.1: both halves are form-encoded before they are joined.
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
        self._headers = {"Authorization": f"Basic {b64encode(pair).decode()}", "Accept": "application/json"}
        self._own = http is None
        self._http = http
        self._elapsed = elapsed
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = float("-inf")

    async def __call__(self) -> str:
        """A token that is good for a while yet. Raises IssuerUnavailable. Spec: RFC 6749 4.4."""
        async with self._lock:
            if self._elapsed() >= self._renew_at:
                asked = self._elapsed()
                answer = await self._post("/oauth2/token", {"grant_type": "client_credentials", "scope": self._scope})
                token, expires_in_s = answer.get("access_token"), answer.get("expires_in", 60)
                if (
                    not isinstance(token, str)
                    or _BEARER.fullmatch(token) is None
                    or not isinstance(expires_in_s, int | float)
                ):
                    raise IssuerUnavailable("the token response has no token")
                self._token, self._renew_at = token, asked + 0.8 * expires_in_s
            return self._token

    def forget(self, token: str) -> None:
        """The token was refused: the next call asks for another."""
        if token == self._token:
            self._renew_at = float("-inf")

    async def introspect(self, token: str) -> Mapping[str, object] | None:
        """What the issuer says of a token now, or None when it is not active. Raises IssuerUnavailable.

        Spec: RFC 7662 2.
        """
        answer = await self._post("/oauth2/introspect", {"token": token, "token_type_hint": "access_token"})
        return answer if answer.get("active") is True else None

    @property
    def http(self) -> httpx2.AsyncClient:
        """Its connections, which the feed shares."""
        if self._http is None:
            self._http = httpx2.AsyncClient(timeout=TIMEOUT)
        return self._http

    async def aclose(self) -> None:
        """Connections of its own are closed."""
        if self._own and self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _post(self, path: str, form: Mapping[str, str]) -> dict[str, object]:
        return (await ask(self.http, "POST", self.issuer + path, headers=self._headers, form=form)).object()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the issuer answered at a path."""

    path: str
    status: int
    body: bytes

    def content(self) -> bytes:
        """The body of a successful answer. Raises IssuerUnavailable."""
        if self.status != httpx2.codes.OK:
            raise IssuerUnavailable(f"{self.path}: status {self.status}")
        return self.body

    def object(self) -> dict[str, object]:
        """The JSON object of a successful answer. Raises IssuerUnavailable."""
        try:
            value = orjson.loads(self.content())
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise IssuerUnavailable(f"{self.path}: not a JSON object")
        return value


async def ask(
    http: httpx2.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    json: Mapping[str, object] | None = None,
    timeout: httpx2.Timeout = TIMEOUT,
    together_s: float = _TOGETHER_S,
    max_bytes: int = _MAX_ANSWER_BYTES,
) -> Answer:
    """The whole answer to a request. Raises IssuerUnavailable.

    A redirect is not followed, whatever the client does otherwise: the request carries a secret. max_bytes: after
    decompression, of which a little becomes much.
    """
    path, body = httpx2.URL(url).path, bytearray()
    try:
        async with (
            asyncio.timeout(together_s),
            http.stream(
                method,
                url,
                headers=headers,
                params=params,
                data=form,
                json=json,
                timeout=timeout,
                follow_redirects=False,
            ) as response,
        ):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > max_bytes:
                    raise IssuerUnavailable(f"{path}: more than {max_bytes} bytes")
    except (httpx2.HTTPError, TimeoutError) as error:
        raise IssuerUnavailable(f"{path}: {type(error).__name__}") from None
    return Answer(path, response.status_code, bytes(body))
