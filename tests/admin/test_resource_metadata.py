"""Whoever is refused by our API learns where tokens for it come from."""

import pytest

from watchword_admin.resource_metadata import own_metadata
from watchword_testkit.platform import Platform


@pytest.mark.spec("RFC 9728 3")
@pytest.mark.spec("RFC 9728 5.1")
@pytest.mark.parametrize("path", ["/clients", "/users", "/keys", "/sessions"])
async def test_every_refusal_names_the_metadata(platform: Platform, path: str) -> None:
    async with platform.api(token="").client as nobody:
        refused = await nobody.get(path)
        assert refused.status_code == 401
        url = f"{platform.issuer}/.well-known/oauth-protected-resource"
        assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{url}"'
        refused = await nobody.get(path, headers={"Authorization": "Bearer nonsense"})
        assert refused.headers["www-authenticate"].startswith('Bearer error="invalid_token", error_description=')
        assert refused.headers["www-authenticate"].endswith(f', resource_metadata="{url}"')
        document = (await nobody.get(url, headers={"Origin": "https://agent.example"})).raise_for_status()
    assert document.headers["access-control-allow-origin"] == "https://agent.example"
    assert document.json() == own_metadata(platform.issuer)
    assert document.json()["authorization_servers"] == [platform.issuer]


async def test_what_is_no_resource_has_no_metadata(platform: Platform) -> None:
    async with platform.api(token="").client as nobody:
        for path in ("/nothing", "/auth", "/a/b%2Fc"):
            answer = await nobody.get(f"{platform.issuer}/.well-known/oauth-protected-resource{path}")
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/json"
