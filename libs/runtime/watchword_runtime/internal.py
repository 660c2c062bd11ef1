"""Pulls between services: authenticated by a key that only caller and owner hold, short-lived, GET only."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from httpx2 import Response

from watchword_events.exports import Exported, ExportPage
from watchword_events.names import Service
from watchword_runtime.clock import Clock, utc_now
from watchword_runtime.keyring import Keyring
from watchword_runtime.service import ASGIApp
from watchword_runtime.settings import ServiceSettings

Param = str | int | Sequence[str]


class Unreachable(Exception):
    """The owner did not answer, or its answer is not its own."""


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What is asked of an exporter: entities by `ids`, or by one unique column (`lookup`), or the page `after` an id."""

    ids: tuple[str, ...] = ()
    lookup: tuple[str, str] | None = None
    after: str = ""
    limit: int = 200


# What is not found is left out; deleted entities come as tombstones. Pages are ordered by id, deleted ones included.
Exporter = Callable[[ExportQuery], Awaitable[Sequence[Exported[Any]]]]


class InternalClients:
    """The way to the other services of one process: their applications called directly, or HTTP. Made by the worker."""

    def __init__(self, apps: Mapping[Service, ASGIApp] | None = None, now: Clock = utc_now) -> None:
        """apps: the services of this process; may still be filled after services were built."""
        raise NotImplementedError

    def of(self, settings: ServiceSettings, service: Service) -> "InternalClient":
        """The client with which `service` pulls from the others."""
        raise NotImplementedError

    async def close(self) -> None:
        """Every connection is closed."""
        raise NotImplementedError


class InternalClient:
    """One service's pulls from owners."""

    async def get(self, owner: Service, path: str, params: Mapping[str, Param] | None = None) -> Response:
        """The owner's answer, whatever its status. Raises Unreachable."""
        raise NotImplementedError

    async def export(self, owner: Service, entity: str, params: Mapping[str, Param]) -> ExportPage[Any]:
        """A page of an owner's entities. Raises Unreachable, also for a refusal."""
        raise NotImplementedError


def router(
    keyring: Keyring,
    owner: Service,
    exporters: Mapping[str, Exporter],
    *,
    lookups: Mapping[str, frozenset[str]] | None = None,
    now: Clock = utc_now,
) -> APIRouter:
    """`GET /internal/export/{entity}` for authenticated services. lookups: unique columns by entity that may be asked."""
    raise NotImplementedError
