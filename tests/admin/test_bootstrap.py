"""Watchword's own clients."""

import asyncio

import pytest

from watchword_admin import store
from watchword_admin.bootstrap import account_document, console_document, ensure_own_clients
from watchword_admin.client_documents import document_of
from watchword_admin.models import Client
from watchword_database import Database, transaction
from watchword_events.names import Service
from watchword_runtime.callers import ACCOUNT, CONSOLE
from watchword_runtime.clock import utc_now
from watchword_testkit.databases import TestDatabase


async def client_of(database: Database, client_id: str = CONSOLE) -> Client:
    async with transaction(database) as session:
        found = await store.find_client(session, client_id)
    assert found is not None
    return found


async def test_the_console_is_registered_once_by_however_many_instances(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    made = await asyncio.gather(
        *(ensure_own_clients(admin, public_url="https://sso.example.com", now=utc_now()) for _ in range(6))
    )
    assert made.count(True) == 1
    console = await client_of(admin)
    assert console.version == 1
    document = document_of(console)
    assert document.redirect_uris == ("https://sso.example.com/admin/callback",)
    assert document.is_public
    assert document.require_pkce
    assert document.grant_types == ("authorization_code",)
    account = document_of(await client_of(admin, ACCOUNT))
    assert account.permission_scope == ("watchword:me:read", "watchword:me:write")
    assert "watchword:admin" not in account.scope


async def test_the_console_follows_the_public_url(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    await ensure_own_clients(admin, public_url="https://old.example.com", now=utc_now())
    assert await ensure_own_clients(admin, public_url="https://sso.example.com/auth", now=utc_now())
    assert not await ensure_own_clients(admin, public_url="https://sso.example.com/auth", now=utc_now())
    console = await client_of(admin)
    assert console.version == 2
    assert document_of(console).redirect_uris == ("https://sso.example.com/auth/admin/callback",)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080", "https://sso.example.com/a/b"])
def test_the_console_can_be_registered_at_any_public_url(url: str) -> None:
    for document in (console_document(url), account_document(url)):
        assert document.redirect_uris[0].startswith(url)
