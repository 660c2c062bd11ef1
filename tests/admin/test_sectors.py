"""Which sector a pairwise client belongs to."""

from typing import Any, Final

import pytest
from pydantic import ValidationError
from tests.admin.conftest import Make
from tests.admin.test_clients import exported
from tests.runtime.test_published import running

from watchword_admin.client_documents import NewClient
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

URI: Final = "https://app.example.com/callback"
OTHER: Final = "https://other.example.com/callback"
PAIRWISE: Final[dict[str, Any]] = {"subject_type": "pairwise"}


@pytest.mark.spec("OpenID Connect Core 8.1")
@pytest.mark.parametrize(
    "given",
    [
        pytest.param({**PAIRWISE, "redirect_uris": [URI, OTHER]}, id="two hosts"),
        pytest.param({"sector_identifier_uri": "https://app.example.com/s"}, id="public"),
        pytest.param({"subject_type": "private"}, id="another type"),
        pytest.param({**PAIRWISE, "sector_identifier_uri": "file:///etc/passwd"}, id="a file"),
        pytest.param({**PAIRWISE, "grant_types": ["client_credentials"], "redirect_uris": []}, id="no host"),
    ],
)
def test_what_makes_no_sector_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewClient.model_validate({"client_name": "App", "redirect_uris": [URI], **given})


async def test_the_host_of_the_redirect_uris_or_of_the_address_is_the_sector(
    platform: Platform, make_client: Make
) -> None:
    by_host = await make_client(**PAIRWISE, redirect_uris=[URI, "https://app.example.com/again"])
    public = await make_client()
    async with running() as server:
        server.document = [URI, OTHER, "https://third.example.com/x"]
        by_address = await make_client(**PAIRWISE, redirect_uris=[URI, OTHER], sector_identifier_uri=server.url)
    for made, sector in ((by_host, "app.example.com"), (by_address, "localhost"), (public, None)):
        data = (await exported(platform, made["client_id"])).data
        assert data is not None
        assert data.sector == sector


@pytest.mark.parametrize(
    "document",
    [None, [], {}, [URI], [[URI, OTHER]], "text"],
    ids=["no answer", "empty", "object", "one", "deep", "text"],
)
async def test_an_address_that_does_not_list_every_uri_is_refused(api: Api, document: Any) -> None:
    async with running() as server:
        server.document = document
        refused = await api.call(
            "POST",
            "/clients",
            {
                "client_name": "App",
                "redirect_uris": [URI, OTHER],
                "sector_identifier_uri": server.url,
                **PAIRWISE,
            },
        )
    assert refused.status_code == 400
    assert "sector_identifier_uri" in refused.text


@pytest.mark.parametrize(
    "uri", ["http://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/s", "http://10.0.0.1/s", "https://0.0.0.0/s"]
)
async def test_an_address_inside_is_not_read(api: Api, uri: str) -> None:
    """Threats 28 and 48."""
    body = {"client_name": "App", "redirect_uris": [URI], "sector_identifier_uri": uri, **PAIRWISE}
    refused = await api.call("POST", "/clients", body)
    assert refused.status_code == 400
    assert "sector_identifier_uri" in refused.text
