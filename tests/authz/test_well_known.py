"""Names at fixed places: password managers, WebFinger, security.txt, robots.txt."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from tests.authz.conftest import ISSUER, Rig, running

from watchword_authz.routes.well_known import ISSUER_REL
from watchword_authz.settings import AuthzSettings
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres


async def get(rig: Rig, target: str) -> Response:
    """What a program without cookies is answered."""
    transport = ASGITransport(rig.app.app, client=(rig.address, 4711))
    async with AsyncClient(transport=transport, base_url=ISSUER) as http:
        return await http.get(target)


async def test_a_password_manager_is_led_to_where_a_password_is_changed(rig: Rig) -> None:
    answer = await get(rig, "/.well-known/change-password")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account/password")
    unknown = await get(rig, "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200")
    assert unknown.status_code == 404


@pytest.mark.spec("OpenID Connect Discovery 1.0 2.1")
@pytest.mark.parametrize("resource", ["acct:nobody@example.com", "mailto:a@b.example", "https://example.com/joe"])
async def test_the_issuer_is_the_same_for_whoever_is_named(rig: Rig, resource: str) -> None:
    answer = await get(rig, f"/.well-known/webfinger?resource={quote(resource, safe='')}&rel={quote(ISSUER_REL)}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jrd+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {"subject": resource, "links": [{"rel": ISSUER_REL, "href": ISSUER}]}


async def test_webfinger_gives_the_links_that_were_asked_for(rig: Rig) -> None:
    asked = "/.well-known/webfinger?resource=acct:a%40example.com"
    assert (await get(rig, f"{asked}&rel=avatar")).json()["links"] == []
    assert len((await get(rig, f"{asked}&rel=avatar&rel={quote(ISSUER_REL)}")).json()["links"]) == 1
    assert len((await get(rig, asked)).json()["links"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "resource=",
        "resource=alice",
        "resource=alice@example.com",
        "resource=acct:alice",
        "resource=acct:@example.com",
        "resource=acct:alice@",
        "resource=acct://alice@example.com",
        "resource=javascript:alert(1)",
        "resource=https://",
        "resource=https://[::1",
        "resource=acct:a%00b@example.com",
        "resource=acct:a%20b@example.com",
        "resource=acct:%FF@",
        f"resource=acct:{'a' * 600}@example.com",
        "resource=acct:a@example.com&resource=acct:b@example.com",
        "resource=acct:a@example.com" + "&rel=x" * 9,
    ],
)
async def test_what_names_no_one_account_is_refused(rig: Rig, query: str) -> None:
    answer = await get(rig, f"/.well-known/webfinger?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_without_a_contact_there_is_no_security_txt(rig: Rig) -> None:
    assert (await get(rig, "/.well-known/security.txt")).status_code == 404


@pytest.mark.spec("RFC 9116 2.5")
async def test_security_txt_names_the_contact_and_does_not_expire_while_it_is_served(
    postgres: Postgres, database_template: Template, tmp_path: Path, clock: TestClock, canary: Canary
) -> None:
    contact = "mailto:security@example.com"
    async with running(postgres, database_template, tmp_path, clock, canary, security_contact=contact) as rig:
        answer = await get(rig, "/.well-known/security.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields["Contact"] == contact
    assert fields["Canonical"] == f"{ISSUER}/.well-known/security.txt"
    assert fields["Preferred-Languages"] == "en, de"
    expires = datetime.strptime(fields["Expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert timedelta(days=29) < expires - clock() <= timedelta(days=30)


@pytest.mark.parametrize("contact", ["security@example.com", "http://example.com", "mailto:a@b.example\nExpires: x"])
def test_a_contact_that_no_security_txt_may_hold_stops_the_start(contact: str) -> None:
    field = AuthzSettings.model_fields["security_contact"]
    (pattern,) = [each.pattern for each in field.metadata if hasattr(each, "pattern")]
    assert re.search(pattern, contact) is None
    assert re.search(pattern, "https://example.com/report")


async def test_search_engines_find_nothing(rig: Rig) -> None:
    answer = await get(rig, "/robots.txt")
    assert answer.text == "User-agent: *\nDisallow: /\n"
