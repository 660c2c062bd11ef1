"""openid-client and oauth4webapi register themselves where an administrator gave them an initial access token."""

from collections.abc import AsyncIterator

import pytest
from tests.interop.conftest import REDIRECT_URI, Library, somebody

from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    """An installation where `registration` is `token`. At its end no secret is found."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("registration")) as made,
        in_this_process(made, registration="token") as running,
    ):
        yield running
        await running.check_secrets()


@pytest.mark.spec("RFC 7591 3")
async def test_it_registers_itself_and_signs_somebody_in(site: Platform, library: Library, canary: Canary) -> None:
    api = site.api(canary)
    initial = await api.create("/registration-tokens", name="Interop")
    async with somebody(site, api, canary) as person:
        found = await library.play(
            "registration",
            person,
            issuer=site.issuer,
            initial_access_token=initial["token"],
            redirect_uri=REDIRECT_URI,
            scope="openid profile",
            use=[],
            more={},
        )
    assert found["registered"]["registration_client_uri"].startswith(f"{site.issuer}/oauth2/register/")
    assert found["tokens"]["refresh_token"]
    assert (await api.get(f"/clients/{found['registered']['client_id']}"))["kind"] == "dynamic"
