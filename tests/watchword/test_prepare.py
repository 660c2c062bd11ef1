"""Preparing the database happens when there is something to do, and only then."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from watchword.bootstrap import Administrator, noted_administrator
from watchword.embedded.postgres import PostgresServer
from watchword.embedded.process import StartError
from watchword.installation import DATABASE, Installation
from watchword.prepare import Orders, Preparation
from watchword_events.names import Service


def _orders(server: PostgresServer, home: Path, issuer: str) -> Orders:
    installation = Installation.opened(home / "secrets")
    urls = {
        service: server.url(DATABASE, user=service.role, password=installation.database_passwords[service])
        for service in Service
    }
    return Orders(
        url=server.url(DATABASE), urls=urls, secrets=home / "secrets", issuer=issuer, noted=home / "administrator.json"
    )


async def _prepared(run: Path, orders: Orders) -> tuple[bool, Administrator]:
    """Whether a process was needed, and the administrator."""
    log = run / "prepare.log"  # a process writes one
    log.unlink(missing_ok=True)
    preparation = Preparation(run, issuer=orders.issuer)
    preparation.begin()
    try:
        await preparation.done(orders)
        return log.exists(), noted_administrator(orders.noted)
    finally:
        preparation.stop()


async def test_a_prepared_database_is_left_alone(
    postgres_factory: Callable[[], PostgresServer], tmp_path: Path
) -> None:
    server = postgres_factory()
    orders = _orders(server, tmp_path, "http://localhost:1")
    needed, first = await _prepared(tmp_path, orders)
    assert needed
    assert await _prepared(tmp_path, orders) == (False, first)

    moved = _orders(server, tmp_path, "http://localhost:2")
    assert await _prepared(tmp_path, moved) == (True, first)

    connection = await asyncpg.connect(orders.urls[Service.ADMIN])
    document = await connection.fetchval("SELECT document::text FROM admin.clients WHERE id = 'watchword-console'")
    assert "http://localhost:2/admin/callback" in document
    await connection.close()

    # Somebody put an older database in its place.
    admin = await asyncpg.connect(server.url())
    await admin.execute(f"DROP DATABASE {DATABASE}")
    await admin.close()
    moved.noted.unlink()
    needed, again = await _prepared(tmp_path, moved)
    assert needed
    assert again.admin_token != first.admin_token


async def test_an_interrupted_first_start_keeps_its_password(
    postgres_factory: Callable[[], PostgresServer], tmp_path: Path
) -> None:
    orders = _orders(postgres_factory(), tmp_path, "http://localhost:1")
    orders.noted.write_text('{"username": "admin", "password": "drawn before the crash"}')
    _needed, administrator = await _prepared(tmp_path, orders)
    assert administrator.password == "drawn before the crash"


async def test_a_failure_shows_the_reason(tmp_path: Path, postgres_factory: Callable[[], PostgresServer]) -> None:
    server = postgres_factory()
    orders = _orders(server, tmp_path, "http://localhost:1")
    server.stop()
    with pytest.raises(StartError, match="preparing the database failed"):
        await asyncio.wait_for(_prepared(tmp_path, orders), 60)
