"""Positions while what they are looked up in is away."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from watchword_database import Database
from watchword_events.names import Service
from watchword_runtime.broker import Broker
from watchword_runtime.feed import Feed
from watchword_runtime.positions import Positioned, Positions
from watchword_runtime.work import Received

from .conftest import SettingsFor


async def _handle(_events: list[Received]) -> None:
    """Nothing."""


@pytest.mark.parametrize(("path", "error"), [("/api/v1/scopes", "status"), ("/oauth2/userinfo", "error")])
async def test_a_database_that_is_away_is_a_503(settings_for: SettingsFor, path: str, error: str) -> None:
    database = Database("postgresql://watchword_authz:none@127.0.0.1:1/none", service=Service.AUTHZ)
    broker = Broker(settings_for(Service.AUTHZ), database)
    broker.work("authz-scope", "auth.admin.scope.*", _handle)
    positions = Positions(database, Feed(database, broker))
    positions.follow(broker)
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def app(_scope: object, _receive: Callable[[], Awaitable[Any]], _send: object) -> None:
        raise AssertionError("it was asked all the same")

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"watchword-position", b"admin.scope:5")]}
    await Positioned(app, positions, frozenset())(scope, receive, send)
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"1")
    assert error.encode() in sent[1]["body"]
    await database.dispose()
