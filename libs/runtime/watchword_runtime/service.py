"""What `<service>.main.build(settings, shared)` returns: an application with its life cycle."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from watchword_database import Database
from watchword_events.names import Service

# ASGI itself is untyped; Any stands at this edge only.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


async def _nothing() -> None:
    """A service that has nothing to start or stop."""


@dataclass(frozen=True, slots=True)
class ServiceApp:
    """A built service.

    hot: ASGI endpoints by path (without the base path), reached before the middleware stack.
    start: returns without waiting for NATS or another service.  ready: why not, in a few words, or "" when ready.
    database, relayed: for metrics; how many events were published from here.
    """

    name: Service
    app: ASGIApp
    hot: Mapping[str, ASGIApp] = field(default_factory=dict)
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing
    ready: Callable[[], str] = lambda: ""
    database: Database | None = None
    relayed: Callable[[], int] = lambda: 0
