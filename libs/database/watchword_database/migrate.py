"""Roles, schemas and Alembic migrations of every member; one version table per schema.

`python -m watchword_database.migrate upgrade --url URL [member…]` brings an installation up to date;
`python -m watchword_database.migrate revision MEMBER` writes a member's first migration afresh from its models while
nothing has been released, against a scratch database on `--url`.
"""

import argparse
import asyncio
import importlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import asyncpg
from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData, pool
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from watchword_database.audit import watch
from watchword_events.names import Service

BUS = "bus"
MEMBERS: tuple[str, ...] = (BUS, *(service.value for service in Service))


def migrations_of(member: str) -> Path:
    """The directory with a member's migrations: inside the installed package, or beside it in the source tree."""
    package = "watchword_database" if member == BUS else f"watchword_{member}"
    root = Path(next(iter(importlib.import_module(package).__path__)))
    inside = root / "migrations"
    return inside if inside.is_dir() else root.parent / "migrations"


def config_of(member: str, url: str) -> Config:
    """Alembic's configuration of one member."""
    config = Config()
    config.set_main_option("script_location", str(migrations_of(member)).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def run_env(schema: str, metadata: MetaData | None) -> None:
    """What every member's `env.py` calls: migrate inside the member's schema, with the version table in it."""
    url = make_url(context.config.attributes["url"]).set(drivername="postgresql+asyncpg")

    def migrate(connection: Connection) -> None:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=schema,
            include_schemas=True,
            include_name=include_name,
            compare_server_default=False,
        )
        with context.begin_transaction():
            context.run_migrations()
            if metadata is not None:
                watch(connection, metadata)

    def include_name(name: str | None, type_: str, _parents: Mapping[Any, Any]) -> bool:
        return name == schema if type_ == "schema" else True

    async def connect() -> None:
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            await connection.run_sync(migrate)
        await engine.dispose()

    asyncio.run(connect())


def upgrade(url: str, members: Iterable[str] = MEMBERS) -> None:
    """Every member stands at its newest migration and every role may use its schema. Must not run in a loop.

    url: as a superuser or as the owner of the database with CREATEROLE.
    """
    asyncio.run(_ensure_roles(url))
    for member in members:
        command.upgrade(config_of(member, url), "head")
    asyncio.run(_grant(url))


async def _ensure_roles(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        known = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for service in Service:
            if service.role not in known:
                await connection.execute(f"CREATE ROLE {service.role} LOGIN")
    finally:
        await connection.close()


async def set_passwords(url: str, passwords: Mapping[Service, str]) -> None:
    """Each service's role signs in with the given password (URL-safe characters only)."""
    connection = await asyncpg.connect(url)
    try:
        for service, password in passwords.items():
            if not password.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"the password of {service.role} may hold letters, digits, - and _ only")
            await connection.execute(f"ALTER ROLE {service.role} LOGIN PASSWORD '{password}'")
    finally:
        await connection.close()


async def _grant(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for service in Service:
            schema, role = service.value, service.role
            if await connection.fetchval("SELECT to_regclass($1)", f"{schema}.alembic_version") is None:
                continue  # not migrated yet: somebody upgrades a single member
            await connection.execute(
                f"GRANT USAGE ON SCHEMA {schema} TO {role};"
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
                f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
                f"REVOKE INSERT, UPDATE, DELETE ON {schema}.alembic_version FROM {role}"
            )
    finally:
        await connection.close()


async def _scratch(url: str, name: str, action: Literal["CREATE", "DROP"]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"{action} DATABASE {name}" + (" WITH (FORCE)" if action == "DROP" else ""))
    finally:
        await connection.close()


def revision(url: str, member: str) -> None:
    """`versions/0001_initial.py` of a member holds what its models say, compared with an empty database."""
    name = f"watchword_scratch_{secrets.token_hex(4)}"
    scratch = make_url(url).set(database=name).render_as_string(hide_password=False)
    asyncio.run(_scratch(url, name, "CREATE"))
    try:
        (migrations_of(member) / "versions" / "0001_initial.py").unlink(missing_ok=True)
        command.revision(config_of(member, scratch), "initial", autogenerate=True, rev_id="0001")
    finally:
        asyncio.run(_scratch(url, name, "DROP"))


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m watchword_database.migrate")
    parser.add_argument("action", choices=["upgrade", "revision"])
    parser.add_argument("members", nargs="*")
    parser.add_argument("--url", required=True, help="postgresql://… of a superuser")
    options = parser.parse_args()
    if options.action == "upgrade":
        upgrade(options.url, options.members or MEMBERS)
    else:
        for member in options.members:
            revision(options.url, member)


if __name__ == "__main__":
    main()
