"""`/api/v1` as the person at a page: what that person may see and do there, the page shows and does.

Each owner serves its own part, and answers with the refusals that any program gets. Nothing is forwarded: a page is
made from what its owners say (docs/adr/0028).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx2
from opentelemetry.propagate import inject
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from watchword_database.audit import acting
from watchword_events.names import Service
from watchword_runtime.internal import InternalClients, Unreachable
from watchword_runtime.settings import ServiceSettings
from watchword_web.errors import PageError

D = TypeVar("D", bound="Document")
T = TypeVar("T")

_PYDANTIC: Final = "Value error, "


class Document(BaseModel):
    """What a page reads of an answer; members that it does not know are of another release."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Listed(BaseModel, Generic[T]):
    """One page of a list. next: the cursor of the following page, None on the last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    items: list[T]
    next: str | None = None


class _Wrong(Document):
    pointer: str = ""
    parameter: str = ""
    detail: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""

    @property
    def member(self) -> str:
        """What it is about: a member of the document, or a parameter."""
        found = (self.pointer.removeprefix("#").removeprefix("/") or self.parameter).partition("/")[0]
        message = self.detail.removeprefix(_PYDANTIC)
        # A rule over several members begins with the one that has to change.
        return message.partition(": ")[0] if not found and ": " in message else found

    @property
    def text(self) -> str:
        """What is wrong, and what to write instead."""
        message = self.detail.removeprefix(_PYDANTIC).removeprefix(f"{self.member}: ")
        return f"{message}. {self.hint}" if self.hint else message


class _Problem(Document):
    title: str = ""
    detail: str = ""
    errors: tuple[_Wrong, ...] = ()


class SessionOver(Exception):
    """The access token is not taken any more."""


class Refused(Exception):
    """The owner said no. errors: what is wrong, by the name of the member; "" for what concerns the whole.

    places: line and column in the text of a member, from 1.
    """

    def __init__(
        self, status: int, title: str, errors: Mapping[str, str], places: Mapping[str, tuple[int, int]]
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.errors = errors
        self.places = places

    @property
    def first(self) -> str:
        """The first of what is wrong, where it is told without the control that it belongs to."""
        return next(iter(self.errors.values()))


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls the owners with a person's access token.

    owner_of: who serves a path below `/api/v1/`.  home: where the person goes on from what is not there any more.
    """

    clients: InternalClients
    settings: ServiceSettings
    owner_of: Callable[[str], Service]
    home: str

    async def get(self, token: str, path: str, shape: type[D], **params: str) -> D:
        """The document at a path below `/api/v1`. Raises as `send`."""
        return _read(TypeAdapter(shape), await self.send(token, "GET", path, None, **params))

    async def page(self, token: str, path: str, shape: type[D], **params: str) -> Listed[D]:
        """One page of a list. Raises as `send`."""
        return _read(TypeAdapter(Listed[shape]), await self.send(token, "GET", path, None, **params))  # type: ignore[valid-type]  # a type at run time

    async def post(self, token: str, path: str, shape: type[D], body: Mapping[str, object], **params: str) -> D:
        """What the owner answers to a document. Raises as `send`."""
        return _read(TypeAdapter(shape), await self.send(token, "POST", path, body, **params))

    async def send(
        self, token: str, method: str, path: str, body: Mapping[str, object] | None = None, **params: str
    ) -> bytes:
        """The body of a successful answer.

        Raises SessionOver, Refused, PageError (404, and 403 where nothing that was sent is what is not allowed) and
        Unreachable (503), which is also for what the owner itself could not do.
        """
        owner = self.owner_of(path)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        answer = await ask(
            self.clients,
            self.settings,
            owner,
            method,
            f"/api/v1/{path}",
            headers=headers,
            params=params,
            json=None if body is None else dict(body),
        )
        if answer.is_success:
            return answer.content
        raise self._refusal(owner, answer)

    def _refusal(self, owner: Service, answer: httpx2.Response) -> Exception:
        try:
            problem = _Problem.model_validate_json(answer.content)
        except ValidationError:
            problem = _Problem()
        match answer.status_code:
            case 401:
                return SessionOver()
            case 404:
                return PageError("not_found", "That is gone", "It was deleted, or never was.", 404, retry=self.home)
            case 403 if not problem.errors:
                return PageError(
                    "not_allowed", "You may not do that", problem.detail or "Your role does not allow it.", 403
                )
            case 400 | 403 | 409 | 422 | 429:
                errors = {each.member: each.text for each in reversed(problem.errors)}
                places = {each.member: (each.line, each.column) for each in problem.errors if each.line and each.column}
                return Refused(
                    answer.status_code, problem.title, errors or {"": problem.detail or problem.title}, places
                )
            case status:
                return Unreachable(f"{owner.value}: answered {status}")


async def ask(
    clients: InternalClients,
    settings: ServiceSettings,
    owner: Service,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    **content: Any,
) -> httpx2.Response:
    """An owner's answer to a public request, whatever its status. path: without the base path. Raises Unreachable."""
    if not clients.has(owner):
        path = settings.base_path + path  # a gateway of the owner's own takes it off again
    sent = {"Host": settings.host, **(headers or {})}
    inject(sent)  # the owner goes on with the trace that is recorded, if one is
    if (origin := acting()) is not None:  # the owner's audit tells where the person is, not where the page is made
        sent |= {"X-Forwarded-For": origin.address or "", "User-Agent": origin.user_agent or ""}
    try:
        http = clients.transport_to(owner, settings)
        call = http.request(method, path, headers=sent, **content)
        # A task of its own: an owner in this process binds its request to a log context that is not the caller's.
        return await asyncio.create_task(call)
    except httpx2.HTTPError as error:
        raise Unreachable(f"{owner.value}: {type(error).__name__}") from error


async def together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """What several calls bring, made at once. Raises the first refusal, when all are over."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


async def unless_away(call: Coroutine[Any, Any, T]) -> T | None:
    """What a call brings; None while its owner is away, or has not heard yet of what is asked for."""
    try:
        return await call
    except (Unreachable, PageError):
        return None


def _read(adapter: TypeAdapter[T], content: bytes) -> T:
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        raise Unreachable(f"an answer that is of another kind: {error.error_count()} errors") from error
