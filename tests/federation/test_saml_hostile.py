"""Every hostile response goes through the public address: refused by name, nobody signed in, nothing left behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.federation.saml_hostile import CASES, Live
from tests.federation.saml_idp import Idp, Pair, connected, pair, post
from tests.federation.test_routes import Person
from tests.federation.test_saml_routes import certificates

from watchword_testkit.api import Api
from watchword_testkit.platform import Platform


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idp")


@pytest.fixture(scope="module")
async def acme(module_platform: Platform, home: Path, idp_keys: Pair) -> AsyncIterator[tuple[Idp, str]]:
    """A provider that is configured once for all of them."""
    idp = Idp(home, idp_keys)
    api: Api = module_platform.api()
    yield idp, await connected(api, module_platform, idp)
    await api.close()


@pytest.fixture(scope="module")
def stranger() -> Pair:
    """Keys of somebody who is nobody's provider."""
    return pair("evil.test")


@pytest.mark.row(33, 34, 35, 36)
@pytest.mark.spec("SAML Core 1.3.3; SAML Core 2.2.2; SAML Core 2.2.3; SAML Core 2.3.3; SAML Core 2.4.1.2")
@pytest.mark.spec(
    "SAML Core 2.5.1; SAML Core 2.5.1.4; SAML Core 2.7.2; SAML Core 3.2.2; SAML Core 5.4; SAML Core 5.4.2"
)
@pytest.mark.spec("SAML Profiles 4.1.4.2; SAML Profiles 4.1.4.3; SAML Profiles 4.1.4.5; SAML Bindings 3.5.4")
@pytest.mark.spec("SAML Core 5.4.2; SAML Bindings 3.5.5.2; XML Signature 3.2; XML Signature 8")
@pytest.mark.parametrize("name", CASES)
async def test_it_signs_nobody_in(platform: Platform, acme: tuple[Idp, str], stranger: Pair, name: str) -> None:
    idp, provider_id = acme
    make, code = CASES[name]
    person = Person(platform, platform.browser())
    page = await person.leave(provider_id)
    ours = certificates(idp.sp_metadata)["encryption"][0]
    live = Live(
        idp.respond(page.location),
        idp.keys,
        f"-----BEGIN CERTIFICATE-----\n{ours}\n-----END CERTIFICATE-----\n",
        stranger,
    )
    page = await post(platform.issuer, provider_id, make(live))
    assert (page.error_code, page.status >= 400, page.location) == (code, True, "")
    async with platform.database.postgres.admin(platform.database.name) as connection:
        handed = "SELECT count(*) FROM bus.handover WHERE kind = 'identity' AND flow = $1"
        assert await connection.fetchval(handed, person.flow) == 0
    await platform.database.close()


async def test_the_live_response_itself_is_fine(platform: Platform, acme: tuple[Idp, str]) -> None:
    """What the others are made of signs somebody in: they are refused for what was done to them."""
    idp, provider_id = acme
    person = Person(platform, platform.browser())
    page = await person.leave(provider_id)
    page = await post(platform.issuer, provider_id, idp.respond(page.location))
    assert (await person.identity(page)).identity.email == "alice@acme.test"
    await platform.database.close()
