"""The database of an installation: created, migrated, and each service's role able to sign in."""

import asyncio

import asyncpg
from sqlalchemy.engine import make_url

from watchword.installation import Installation
from watchword_database import migrate


async def migrated(url: str, installation: Installation) -> None:
    """The database named by `url` exists at its newest migrations; roles have the installation's passwords.

    url: a superuser's, or the owner's with CREATEROLE.
    """
    await _ensure_database(url)
    await asyncio.to_thread(migrate.upgrade, url)
    await migrate.set_passwords(url, installation.database_passwords)


async def _ensure_database(url: str) -> None:
    name = make_url(url).database
    try:
        connection = await asyncpg.connect(url)
    except asyncpg.InvalidCatalogNameError:
        connection = await asyncpg.connect(make_url(url).set(database="postgres").render_as_string(hide_password=False))
        await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
