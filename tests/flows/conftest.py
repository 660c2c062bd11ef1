"""An installation of three worker processes, shared by the stories of a module."""

from collections.abc import AsyncIterator

import pytest

from watchword_testkit.databases import Template
from watchword_testkit.factory import WorkerPlatform, in_processes
from watchword_testkit.platform import prepared
from watchword_testkit.servers import Postgres


@pytest.fixture(scope="module")
async def workers(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerPlatform]:
    """Three workers that agree only through PostgreSQL and NATS. At the end no secret is found anywhere."""
    home = tmp_path_factory.mktemp("workers")
    async with prepared(postgres, database_template, home) as site, in_processes(site, 3) as running:
        yield running
        await running.check_secrets()
