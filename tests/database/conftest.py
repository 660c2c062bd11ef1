"""A database with the shared schema and two services' schemas, and Database objects under the services' own roles."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from watchword_database.base import backbone
from watchword_database.engine import Database
from watchword_database.migrate import upgrade
from watchword_events.names import Service
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres


@pytest.fixture(scope="session")
async def bus_template(postgres: Postgres) -> str:
    """The name of a database with `bus` and the backbone of every service, to be copied."""
    name = await postgres.create_database()
    url = postgres.url(name)
    await asyncio.to_thread(upgrade, url, ["bus"])
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        for service in Service:
            schema, role = service.value, service.role
            metadata = MetaData(schema=schema)
            backbone(metadata)
            await connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
            await connection.run_sync(metadata.create_all)
            await connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
            await connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
            await connection.exec_driver_sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")
    await engine.dispose()
    return name


@pytest.fixture(scope="module")
async def bus_database(postgres: Postgres, bus_template: str) -> AsyncIterator[str]:
    """The superuser's URL of a database of the module's own with `bus` and the backbone of every service."""
    name = await postgres.create_database(template=bus_template)
    yield postgres.url(name)
    await postgres.drop_database(name)


@pytest.fixture(scope="module")
async def database_of(
    bus_database: str, postgres: Postgres, database_template: Template
) -> AsyncIterator[Callable[[Service], Database]]:
    """Makes a Database that is connected as the given service's role."""
    made: list[Database] = []
    name = bus_database.partition("?")[0].rpartition("/")[2]

    def make(service: Service) -> Database:
        database = Database(
            postgres.url(name, user=service.role, password=database_template.passwords[service]), service=service
        )
        made.append(database)
        return database

    yield make
    for database in made:
        await database.dispose()


@pytest.fixture(scope="module")
def databases(database_of: Callable[[Service], Database]) -> dict[Service, Database]:
    """One Database per service."""
    return {service: database_of(service) for service in Service}
