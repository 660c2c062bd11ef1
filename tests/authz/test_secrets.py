"""What is stored, and what is said: no cookie, ticket or password stands in a table, an event or a line."""

from base64 import b64encode
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from tests.authz.conftest import PASSWORD, Rig, Visit


@pytest.mark.row(57)
async def test_no_live_value_stands_in_the_database(rig: Rig) -> None:
    provider = rig.provider()
    await rig.know_provider(provider)
    visit = Visit(rig, rig.browser(), rig.client(require_consent=True), {"scope": "openid offline_access"})
    user = await rig.person()
    await visit.start()
    flow_secret = visit.browser.cookies[f"ww-flow-{visit.flow_id}"]
    await visit.enter(user.username)
    session_secret = visit.browser.cookies["ww-session"]
    await visit.browser.submit("decision", "allow")
    code = visit.answer["code"]
    hybrid = rig.client(
        grant_types=["authorization_code", "implicit"],
        response_types=["code id_token"],
        response_modes=["fragment", "fragment.jwt"],
    )
    last = Visit(rig, visit.browser, hybrid, {"response_type": "code id_token", "response_mode": "jwt"})
    answer = parse_qs(urlsplit((await last.browser.send("GET", last.url)).location).query)
    tickets = [answer["ticket"][0], answer["code"][0]]
    connection = await asyncpg.connect(rig.site.database.admin_url)
    tables = await connection.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('authz', 'bus')"
    )
    rows = [
        row["row"]
        for table in tables
        for row in await connection.fetch(f"SELECT t::text AS row FROM {table['name']} t")
    ]
    await connection.close()
    text = "\n".join(rows)
    assert user.id in text
    for value in (flow_secret, session_secret, code, *tickets, PASSWORD):
        assert value not in text
        assert b64encode(value.encode()).decode().rstrip("=") not in text
