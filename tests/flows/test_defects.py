"""A defect of ours is told as one, by every service: a 500 with a reference that stands in the log, and no outage."""

import asyncpg
from structlog.testing import capture_logs

from watchword_testkit.platform import Platform

# A table that somebody took away, and what is read from it.
BROKEN = {
    "admin.trusted_issuers": "/issuers",
    "directory.attributes": "/attributes",
    "authz.consent": "/consents",
    "token.deliveries": "/deliveries",
    "federation.saml_key": "/upstream/saml-keys",
}


async def test_a_statement_that_postgresql_does_not_take_is_no_outage(own_platform: Platform) -> None:
    api = own_platform.api()
    for path in BROKEN.values():
        assert (await api.call("GET", path)).status_code == 200
    connection = await asyncpg.connect(own_platform.database.admin_url)
    for table in BROKEN:
        await connection.execute(f"ALTER TABLE {table} RENAME TO taken_away")
    try:
        for path in BROKEN.values():
            with capture_logs() as lines:
                answer = await api.call("GET", path)
            assert (answer.status_code, answer.json()["title"]) == (500, "Something went wrong"), answer.text
            (line,) = [each for each in lines if each["event"] == "request.failed"]
            assert line["sqlstate"] == "42P01"
            assert line["reference"] in answer.text
    finally:
        for table in BROKEN:
            schema, name = table.split(".")
            await connection.execute(f"ALTER TABLE {schema}.taken_away RENAME TO {name}")
        await connection.close()
