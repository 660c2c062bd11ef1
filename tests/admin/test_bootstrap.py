"""The console's own client."""

import asyncio

import pytest

from watchword_admin import store
from watchword_admin.bootstrap import console_document, ensure_console
from watchword_admin.client_documents import document_of
from watchword_admin.clients import CONSOLE
from watchword_admin.models import Client
from watchword_database import Database, transaction
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.databases import TestDatabase


async def console_of(database: Database) -> Client:
    async with transaction(database) as session:
        found = await store.find_client(session, CONSOLE)
    assert found is not None
    return found


async def test_the_console_is_registered_once_by_however_many_instances(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    made = await asyncio.gather(
        *(ensure_console(admin, public_url="https://sso.example.com", now=utc_now()) for _ in range(6))
    )
    assert made.count(True) == 1
    console = await console_of(admin)
    assert console.version == 1
    document = document_of(console)
    assert document.redirect_uris == ("https://sso.example.com/admin/callback",)
    assert document.is_public
    assert document.require_pkce
    assert document.grant_types == ("authorization_code",)


async def test_the_console_follows_the_public_url(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    await ensure_console(admin, public_url="https://old.example.com", now=utc_now())
    assert await ensure_console(admin, public_url="https://sso.example.com/auth", now=utc_now())
    assert not await ensure_console(admin, public_url="https://sso.example.com/auth", now=utc_now())
    console = await console_of(admin)
    assert console.version == 2
    assert document_of(console).redirect_uris == ("https://sso.example.com/auth/admin/callback",)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080", "https://sso.example.com/a/b"])
def test_the_console_can_be_registered_at_any_public_url(url: str) -> None:
    assert console_document(url).redirect_uris[0].startswith(url)
