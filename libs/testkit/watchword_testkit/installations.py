"""Fixtures of running installations."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template, migrated_template
from watchword_testkit.factory import WorkerPlatform, in_processes
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres, embedded_postgres
from watchword_testkit.upstream import with_mock_preset


class PlatformFactory(Protocol):
    """Starts an installation of `workers` processes. own_postgres: on a PostgreSQL that the test may kill."""

    def __call__(
        self, workers: int = 1, *, own_postgres: bool = False, path: str = "", **settings: str
    ) -> Awaitable[WorkerPlatform]: ...


@pytest.fixture(scope="session")
async def session_platform(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    """The session's installation, shared: a test makes clients and users of its own. At its end no secret is found."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("platform")) as site,
        in_this_process(site, provider_presets=str(with_mock_preset(site.home))) as running,
    ):
        yield running
        await running.check_secrets()


@pytest.fixture(scope="module")
async def module_platform(session_platform: Platform) -> Platform:
    """The session's installation, for what a file's tests share. It is awake: see `platform`."""
    await session_platform.until_ready()
    return session_platform


@pytest.fixture
async def platform(session_platform: Platform) -> Platform:
    """The session's installation, awake: its loop stood still for as long as tests without one ran."""
    await session_platform.until_ready()
    return session_platform


@pytest.fixture
async def own_platform(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, clock: TestClock
) -> AsyncIterator[Platform]:
    """An installation of the test's own, whose clock is `clock`. At its end no secret is found."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("platform")) as site,
        in_this_process(site, now=clock) as running,
    ):
        yield running
        await running.check_secrets()


@pytest.fixture
async def platform_factory(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PlatformFactory]:
    """Starts installations in processes of their own, ended after the test."""
    async with AsyncExitStack() as stack:

        async def make(
            workers: int = 1, *, own_postgres: bool = False, path: str = "", **settings: str
        ) -> WorkerPlatform:
            home = tmp_path_factory.mktemp("platform")
            server, template, own = postgres, database_template, None
            if own_postgres:
                own = embedded_postgres(home)
                own.start()
                stack.callback(own.stop)
                server = Postgres(own.url())
                template = await migrated_template(server)
            site = await stack.enter_async_context(prepared(server, template, home))
            return await stack.enter_async_context(
                in_processes(site, workers, postgres=own, path=path, settings=settings)
            )

        yield make


@pytest.fixture
async def browser_session(platform: Platform, canary: Canary) -> AsyncIterator[Browser]:
    """A person's browser at the session's installation."""
    async with platform.browser(canary) as browser:
        yield browser


@pytest.fixture
async def api(platform: Platform, canary: Canary) -> AsyncIterator[Api]:
    """The administrator's client of the session's installation."""
    made = platform.api(canary)
    yield made
    await made.close()
