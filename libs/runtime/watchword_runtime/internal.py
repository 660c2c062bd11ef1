"""Pulls between services: authenticated by a key that only caller and owner hold, short-lived, changing nothing.

Caller and owner share one derived key per direction. A request carries the caller's name, the time and a MAC over
what is asked, which stands in the URL, or in the body where it is a secret. The answer carries a MAC over the request's
and the body, so that nobody in between can make up state.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import httpx2
import structlog
from fastapi import APIRouter, Request, Response
from opentelemetry.propagate import inject
from pydantic import ValidationError

from watchword_database.outages import note_interruption
from watchword_events.exports import Exported, ExportPage
from watchword_events.names import Service
from watchword_runtime.clock import Clock, utc_now
from watchword_runtime.keyring import Keyring, KeyringError, pair_purpose
from watchword_runtime.service import ASGIApp
from watchword_runtime.settings import ServiceSettings

log = structlog.get_logger()

EXPORT_PATH: Final = "/internal/export/"
ASK_PATH: Final = "/internal/ask/"
MAX_AGE_S: Final = 30  # between two machines' clocks and on the way
MAX_IDS: Final = 200
PAGE: Final = 200
MAX_PAGE: Final = 500
_TIMEOUT: Final = httpx2.Timeout(5, connect=2)
_CALLER: Final = "watchword-caller"
_TIME: Final = "watchword-time"
_MAC: Final = "watchword-mac"

Param = str | int | Sequence[str]


class Unreachable(ConnectionError):
    """The owner did not answer, or its answer is not its own. A request that needs it is answered 503."""


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What is asked of an exporter: entities by `ids`, or a page `after` an id, of all or of one value (`lookup`)."""

    ids: tuple[str, ...] = ()
    lookup: tuple[str, str] | None = None
    after: str = ""
    limit: int = PAGE


# What is not found is left out; deleted entities come as tombstones. Pages are ordered by id, deleted ones included.
Exporter = Callable[[ExportQuery], Awaitable[Sequence[Exported[Any]]]]
# Of an owner: the status and the body of its answer to an entity and a query string.
Answer = Callable[[str, str], Awaitable[tuple[int, bytes]]]
# Of an owner: its answer to a question that must not stand in a URL, None where it has none.
Reply = Callable[[bytes], Awaitable[bytes | None]]


def _request_mac(key: bytes, caller: str, owner: Service, target: str, time_s: str, body: bytes | None) -> str:
    """body: of a POST, None for a GET."""
    asked = ("GET", target, time_s) if body is None else ("POST", target, time_s, hashlib.sha256(body).hexdigest())
    text = "\n".join(("watchword-pull-1", caller, owner.value, *asked))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _answer_mac(key: bytes, request_mac: str, status: int, body: bytes) -> str:
    text = f"watchword-answer-1\n{request_mac}\n{status}\n{hashlib.sha256(body).hexdigest()}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class InternalClients:
    """The way to the other services of one process: their applications called directly, or HTTP."""

    def __init__(self, apps: Mapping[Service, ASGIApp] | None = None, now: Clock = utc_now) -> None:
        """apps: the services of this process; the mapping may still be filled after services were built."""
        self._apps = apps if apps is not None else {}
        self._now = now
        self._answers: dict[Service, Answer] = {}
        self._http: dict[tuple[Service, str], httpx2.AsyncClient] = {}

    def of(self, settings: ServiceSettings, service: Service) -> "InternalClient":
        """The client with which `service` pulls from the others."""
        return InternalClient(self, settings, service, self._now)

    def has(self, owner: Service) -> bool:
        """Whether the owner runs in this process."""
        return owner in self._apps

    def offer(self, owner: Service, answer: Answer) -> None:
        """Who asks for an export of the owner in this process asks it directly."""
        self._answers[owner] = answer

    def answer_of(self, owner: Service) -> Answer | None:
        """The way to the owner's exports in this process, if it runs here."""
        return self._answers.get(owner) if self.has(owner) else None

    def transport_to(self, owner: Service, settings: ServiceSettings) -> httpx2.AsyncClient:
        """An HTTP client for an owner's inside. Raises Unreachable when no way to it is known."""
        app = self._apps.get(owner)
        url = settings.internal_urls.get(owner.value, "")
        if app is None and not url:
            raise Unreachable(f"WATCHWORD_INTERNAL_URLS names no {owner.value}")
        known = self._http.get((owner, url))
        if known is None:
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False) if app is not None else None
            known = httpx2.AsyncClient(
                base_url=settings.origin if app is not None else url,
                transport=transport,
                timeout=_TIMEOUT,
                trust_env=False,
                follow_redirects=False,
            )
            self._http[(owner, url)] = known
        return known

    async def close(self) -> None:
        """Every connection is closed."""
        clients = list(self._http.values())
        self._http.clear()
        await asyncio.gather(*(client.aclose() for client in clients))


class InternalClient:
    """One service's pulls from owners."""

    def __init__(self, clients: InternalClients, settings: ServiceSettings, service: Service, now: Clock) -> None:
        self._clients = clients
        self._settings = settings
        self._service = service
        self._keyring = settings.keyring
        self._now = now

    async def get(self, owner: Service, path: str, params: Mapping[str, Param] | None = None) -> httpx2.Response:
        """The owner's answer, whatever its status. Raises Unreachable.

        path: without the base path.  Below `/internal/` the answer is proved to be the owner's.
        """
        if not path.startswith("/internal/") and not self._clients.has(owner):
            path = self._settings.base_path + path  # a gateway of the owner's own takes it off again
        return await self._send(owner, path + ("?" + urlencode(params, doseq=True) if params else ""))

    async def ask(self, owner: Service, question: str, asked: bytes) -> bytes | None:
        """The owner's answer to what must not stand in a URL; None where it has none. Raises Unreachable."""
        response = await self._send(owner, ASK_PATH + question, asked)
        if response.status_code == httpx2.codes.NO_CONTENT:
            return None
        if response.status_code != httpx2.codes.OK:
            raise Unreachable(f"{owner.value}: answered {response.status_code}")
        return response.content

    async def _send(self, owner: Service, target: str, body: bytes | None = None) -> httpx2.Response:
        key = self._keyring.key(pair_purpose(self._service, owner))
        time_s = str(int(self._now().timestamp()))
        mac = _request_mac(key, self._service.value, owner, target, time_s, body)
        headers = {_CALLER: self._service.value, _TIME: time_s, _MAC: mac, "Host": self._settings.host}
        inject(headers)  # the owner goes on with the trace that is recorded, if one is
        try:
            http = self._clients.transport_to(owner, self._settings)
            pull = http.request("GET" if body is None else "POST", target, headers=headers, content=body)
            # A task of its own: an owner in this process binds its request to a log context that is not the caller's.
            response = await asyncio.create_task(pull)
        except httpx2.HTTPError as error:
            raise Unreachable(f"{owner.value}: {type(error).__name__}") from error
        if target.startswith("/internal/"):
            expected = _answer_mac(key, mac, response.status_code, response.content)
            if not hmac.compare_digest(expected.encode(), response.headers.get(_MAC, "").encode()):
                raise Unreachable(f"{owner.value}: an answer with status {response.status_code} that is not its own")
        return response

    async def export(self, owner: Service, entity: str, params: Mapping[str, Param]) -> ExportPage[Any]:
        """A page of an owner's entities, their data as JSON objects. Raises Unreachable, also for a refusal."""
        if (answer := self._clients.answer_of(owner)) is not None:
            try:
                status, body = await answer(entity, urlencode(params, doseq=True))
            except Exception as error:
                note_interruption("internal.failed", error, owner=owner.value, entity=entity)
                raise Unreachable(f"{owner.value}: {type(error).__name__}") from error
        else:
            response = await self.get(owner, EXPORT_PATH + entity, params)
            status, body = response.status_code, response.content
        if status != httpx2.codes.OK:
            raise Unreachable(f"{owner.value}: answered {status}")
        try:
            return ExportPage[Any].model_validate_json(body)
        except ValidationError as error:
            raise Unreachable(f"{owner.value}: {error.error_count()} errors in its export of {entity}") from error


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def router(
    keyring: Keyring,
    owner: Service,
    exporters: Mapping[str, Exporter],
    *,
    lookups: Mapping[str, frozenset[str]] | None = None,
    replies: Mapping[str, Reply] | None = None,
    now: Clock = utc_now,
    clients: InternalClients | None = None,
) -> APIRouter:
    """`GET /internal/export/{entity}` for authenticated services, and the same without HTTP for those of this process.

    Asked with repeated `id`, or one lookup parameter, or `after` and `limit`, or both of these. lookups: the columns by
    entity that may be asked for.  replies: by question, at `POST /internal/ask/{question}`.  clients: of this process.
    Whoever cannot authenticate gets an empty 401.
    """
    api = APIRouter()

    async def answer(entity: str, query: str) -> tuple[int, bytes]:
        exporter = exporters.get(entity)
        try:
            if exporter is None:
                raise _Refused(404, "no such entity")
            return 200, await _page(exporter, _query(query, (lookups or {}).get(entity, frozenset())))
        except _Refused as refused:
            return refused.status, str(refused).encode()

    async def reply_to(question: str, asked: bytes) -> tuple[int, bytes]:
        reply = (replies or {}).get(question)
        if reply is None:
            return 404, b"no such question"
        found = await reply(asked)
        return (204, b"") if found is None else (200, found)

    async def proved(
        request: Request, body: bytes | None, answering: Callable[[], Awaitable[tuple[int, bytes]]]
    ) -> Response:
        """The answer to an authenticated service, with the proof that it is the owner's."""
        try:
            key, mac = _authenticate(keyring, owner, request, body, now)
        except _Refused as refused:
            log.warning("internal.refused", owner=owner.value, reason=str(refused))
            return Response(status_code=refused.status)
        status, content = await answering()
        headers = {_MAC: _answer_mac(key, mac, status, content)}
        return Response(content, status, headers, media_type="application/json" if status == 200 else "text/plain")

    if clients is not None:
        clients.offer(owner, answer)

    @api.get(EXPORT_PATH + "{entity}", include_in_schema=False)
    async def export(entity: str, request: Request) -> Response:
        return await proved(request, None, lambda: answer(entity, request.url.query))

    @api.post(ASK_PATH + "{question}", include_in_schema=False)
    async def ask(question: str, request: Request) -> Response:
        asked = await request.body()
        return await proved(request, asked, lambda: reply_to(question, asked))

    return api


def _authenticate(
    keyring: Keyring, owner: Service, request: Request, body: bytes | None, now: Clock
) -> tuple[bytes, str]:
    """The key shared with the caller, and the request's MAC."""
    headers = request.headers
    caller, time_s, mac = headers.get(_CALLER, ""), headers.get(_TIME, ""), headers.get(_MAC, "")
    try:
        key = keyring.key(pair_purpose(Service(caller), owner))
    except (ValueError, KeyringError):
        raise _Refused(401, "unknown caller") from None
    query = request.url.query
    target = request.scope["path"].removeprefix(request.scope.get("root_path", "")) + (f"?{query}" if query else "")
    if not hmac.compare_digest(_request_mac(key, caller, owner, target, time_s, body).encode(), mac.encode()):
        raise _Refused(401, "wrong MAC")
    if not time_s.isdecimal() or abs(now().timestamp() - int(time_s)) > MAX_AGE_S:
        raise _Refused(401, "too old, or clocks differ")
    return key, mac


def _query(query: str, lookups: frozenset[str]) -> ExportQuery:
    pairs = parse_qsl(query, keep_blank_values=True)
    ids = tuple(value for name, value in pairs if name == "id")
    others = {name: value for name, value in pairs if name != "id"}
    if ids and not others:
        if len(ids) > MAX_IDS:
            raise _Refused(400, f"at most {MAX_IDS} ids")
        return ExportQuery(ids=ids)
    if ids or len(others) + len(ids) != len(pairs):
        raise _Refused(400, "ids, one lookup, or a page")
    after, said = others.pop("after", ""), others.pop("limit", None)
    if len(others) > 1 or not others.keys() <= lookups:
        raise _Refused(400, "this cannot be looked up")
    lookup = next(iter(others.items()), None)
    limit = said or str(MAX_PAGE if lookup else PAGE)
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        raise _Refused(400, f"limit is 1 to {MAX_PAGE}")
    return ExportQuery(lookup=lookup, after=after, limit=int(limit))


async def _page(exporter: Exporter, query: ExportQuery) -> bytes:
    items = list(await exporter(query))
    following = items[-1].id if not query.ids and len(items) >= query.limit else None
    return ExportPage[Any].model_construct(items=items, next=following).model_dump_json().encode()
