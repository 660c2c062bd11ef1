"""What is said of the installation's looks shows on every page of every service at every instance, at once."""

import base64
import re
from urllib.parse import urlsplit

import pytest
from tests.web.pictures import png

from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.http import http_client

# A page of each service, by the path at which it can be had without having begun anything.
PAGES = {
    "authz": "/login",
    "token": "/oauth2/authorize/answer",
    "federation": "/api/auth/sso/callback/nobody",
    "directory": "/login/identity",
}
METADATA = "/.well-known/openid-configuration"
SAID = {
    "name": "Größe & <Söhne>",
    "primary_color": "#0a5c8f",
    "logo": f"data:image/png;base64,{base64.b64encode(png()).decode()}",
    "tos_uri": "https://acme.example/terms",
}


@pytest.mark.spec("OpenID Connect Discovery 3")
async def test_a_change_shows_on_the_pages_of_all_services_at_all_instances(workers: WorkerPlatform) -> None:
    api = workers.api()
    for said in (SAID, {}):
        changed = await api.call("PUT", "/branding", said)
        assert changed.status_code == 200, changed.text
        # What a page shows after this position is what was said; no page is asked twice.
        headers = {"Watchword-Position": changed.headers["Watchword-Position"], "Host": urlsplit(workers.issuer).netloc}
        name = "Größe &amp; &lt;Söhne&gt;" if said else "Watchword"
        for door in workers.doors:
            async with http_client(base_url=door, headers=headers, follow_redirects=True) as http:
                for service, path in PAGES.items():
                    page = await http.get(path, headers={"Accept": "text/html"})
                    assert page.headers["content-type"].startswith("text/html"), (service, page.text)
                    assert f" · {name}</title>" in page.text, (service, door)
                    assert f"<span>{name}</span>" in page.text, (service, door)
                    assert ("https://acme.example/terms" in page.text) is bool(said), (service, door)
                    parts = re.findall(r'(?:href|src)="(/static/brand/[^"]+)"', page.text)
                    assert {part.rpartition(".")[2] for part in parts} == ({"css", "png"} if said else set())
                    for part in parts:
                        file = await http.get(part)
                        assert (file.status_code, "immutable" in file.headers["cache-control"]) == (200, True)
                metadata = (await http.get(METADATA)).json()
                assert metadata.get("op_tos_uri") == said.get("tos_uri")
