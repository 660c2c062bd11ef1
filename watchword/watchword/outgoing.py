"""What doctor says of what an installation sends: mail, notices of sign-outs, webhooks."""

from pathlib import Path
from typing import Final

import asyncpg

from watchword.doctor import Finding, Level
from watchword_authz.mail_server import FAILURES
from watchword_authz.settings import AuthzSettings
from watchword_runtime.settings import from_directory, load

_PATIENCE_S: Final = 5.0
_SHOWN: Final = 5
_MAILS: Final = """
SELECT count(*) AS mails, extract(epoch FROM clock_timestamp() - min(created_at))::int / 60 AS minutes
  FROM authz.mail WHERE attempts > 1
"""
_NOTICES: Final = """
SELECT client_id, count(*) AS notices FROM token.deliveries WHERE state = 'dead' GROUP BY 1 ORDER BY 2 DESC, 1
"""
_WEBHOOKS: Final = """
SELECT w.name, count(l.id) AS batches, w.enabled AND w.failing_since IS NOT NULL AS is_failing, w.error
  FROM admin.webhooks AS w LEFT JOIN admin.webhook_dead_letters AS l ON l.webhook_id = w.id
 GROUP BY w.id HAVING count(l.id) > 0 OR (w.enabled AND w.failing_since IS NOT NULL) ORDER BY w.name
"""


async def waiting(connection: asyncpg.Connection) -> list[Finding]:
    """What was given up, or is tried in vain, as the database knows it."""
    return [await _mails(connection), await _notices(connection), await _webhooks(connection)]


async def at_the_mail_server(directory: Path) -> Finding:
    """Whether the mail server that the settings of `authz` name would take a mail; none is sent.

    directory: of the service's secrets. The other settings are those of the environment, as for the service.
    """
    name = "mail server"
    try:
        settings = load(AuthzSettings, **{"database_url": "none", **from_directory(directory)})
    except (OSError, SystemExit) as error:
        remedy = "give this command the settings of `authz`: docs/reference/settings.md"
        return Finding(name, Level.WARNING, f"is not known here: {error}", remedy)
    server = settings.mail_server
    if not server.host:
        return Finding(name, Level.OK, "none is set here (WATCHWORD_SMTP_HOST): nothing is looked at")
    at = f"{server.host}:{server.port}"
    try:
        await server.look(_PATIENCE_S)
    except (*FAILURES, ValueError) as error:
        remedy = "check WATCHWORD_SMTP_… (docs/credentials.md), and whether the server may be reached from here"
        return Finding(name, Level.ERROR, f"{at} takes no mail from us: {server.told(error)}", remedy)
    said = f"{at} answers, by {server.security}" if server.security != "none" else f"{at} answers"
    return Finding(name, Level.OK, f"{said}, and lets {server.username} in" if server.username else said)


async def _mails(connection: asyncpg.Connection) -> Finding:
    mails, minutes = await connection.fetchrow(_MAILS)
    if mails:
        said = f"{mails} could not be sent yet, the oldest for {minutes} minutes"
        remedy = "look for mail.not_sent in the logs of `authz`; after an hour they are given up"
        return Finding("mail", Level.WARNING, said, remedy)
    return Finding("mail", Level.OK, "none waits to be tried again")


async def _notices(connection: asyncpg.Connection) -> Finding:
    named = [f"{row['client_id']} {row['notices']}" for row in await connection.fetch(_NOTICES)]
    if named:
        said = f"applications did not take notices for a day: {_some(named)}"
        remedy = "`watchword events dead` says why; `watchword events retry` sends them again"
        return Finding("sign-outs", Level.WARNING, said, remedy)
    return Finding("sign-outs", Level.OK, "no notice to an application was given up")


async def _webhooks(connection: asyncpg.Connection) -> Finding:
    rows = await connection.fetch(_WEBHOOKS)
    named = [
        f"{row['name']} ({row['batches']} given up)" if row["batches"] else f"{row['name']} ({row['error']})"
        for row in rows
    ]
    if named:
        remedy = "mend the receiver, then replay from where it stopped on its page of the console"
        return Finding("webhooks", Level.WARNING, f"are not taken: {_some(named)}", remedy)
    return Finding("webhooks", Level.OK, "every batch was taken")


def _some(named: list[str]) -> str:
    return ", ".join(named[:_SHOWN]) + (", …" if len(named) > _SHOWN else "")
