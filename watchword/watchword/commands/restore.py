"""`watchword restore`: what has to happen after the database was restored from a back-up."""

import asyncio
import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.commands.remote import DATA_DIR, AsJson, DataDir, Yes, confirm, fail, progress, say, tell
from watchword.embedded.process import StartError, write_private

if TYPE_CHECKING:
    from watchword.reach import Reach
    from watchword.restore import Done

Secrets = Annotated[
    Path | None,
    typer.Option(envvar="WATCHWORD_SECRETS", help="Directory of `watchword init`, in place of the data directory"),
]
DatabaseUrl = Annotated[
    str, typer.Option(envvar="WATCHWORD_DATABASE_URL", help="With --secrets: as its superuser; no password needed")
]
NatsUrl = Annotated[str, typer.Option(envvar="WATCHWORD_NATS_URL", help="With --secrets: where nats-server is")]
PgBin = Annotated[str | None, typer.Option(envvar="WATCHWORD_PG_BIN", help="PostgreSQL's bin directory")]
NatsBin = Annotated[str | None, typer.Option(envvar="WATCHWORD_NATS_BIN", help="The nats-server program")]
DATABASE_URL = "postgresql://postgres@127.0.0.1:5432/watchword"
NATS_URL = "nats://127.0.0.1:4222"
_QUESTION = (
    "Everything that was given out ends: everybody is signed out, and every token and API key is dead.\n"
    "Was the database restored from a back-up, and shall that happen?"
)


def restore(
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    nats_url: NatsUrl = NATS_URL,
    pg_bin: PgBin = None,
    nats_bin: NatsBin = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """After a back-up of the database was restored: end all that was given out before, and begin a new epoch."""
    from watchword.installation import BrokenInstallation
    from watchword.reach import reach_of_data, reach_of_secrets
    from watchword_runtime import logging

    logging.configure("restore", "error", sys.stderr)
    confirm(_QUESTION, yes)
    try:
        with ExitStack() as stack:
            with progress("Restoring"):
                if secrets is not None:
                    reach = reach_of_secrets(secrets.absolute(), database_url=database_url, nats_url=nats_url)
                else:
                    here = reach_of_data(data_dir.absolute(), start=True, pg_bin=pg_bin, nats_bin=nats_bin)
                    reach = stack.enter_context(here)
                done = asyncio.run(_restored(reach))
            if as_json:
                tell(_document(done, reach), as_json=True)
            else:
                _report(done, reach)
    except (BrokenInstallation, StartError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"PostgreSQL cannot be reached: {error}")


async def _restored(reach: "Reach") -> "Done":
    from watchword.installation import Operator
    from watchword.restore import restore as restored
    from watchword.schema import migrated

    await migrated(reach.url, reach.installation)
    done = await restored(
        reach.url,
        reach.urls,
        token_keys=reach.token_keys,
        servers=reach.servers,
        nats_seed=reach.installation.seeds[Operator.PROVISION],
        admin_file=reach.admin_file,
        now=datetime.now(UTC),
    )
    if done.administrator is not None and reach.access is not None:
        shown = json.loads(reach.access.read_text())
        write_private(reach.access, json.dumps({**shown, "admin_token": done.administrator.admin_token}, indent=2))
    return done


def _report(done: "Done", reach: "Reach") -> None:
    """What happened, and what people have to do."""
    say(f"Epoch {done.epoch} begins at position {done.position}; the back-up stood at {done.before}.")
    say("Ended: every session, grant, token and API key of before" + _ended(done.tickets))
    say(f"Emptied: {done.copies} copies, which their services fill again by themselves.")
    say(f"Replaced, because nobody knows whether one was revoked since: the keys {', '.join(done.keys)}")
    if done.lost:
        say("Ended after the back-up was made, and valid again in it. Do it once more where it still holds:")
        for each in done.lost:
            say(f"  {each.claim} {each.value}  ({each.reason}, {each.at:%Y-%m-%d %H:%M} UTC)")
    if not done.asked_nats:
        say("NATS does not answer: which revocations the back-up lacks is not known. Look for people and clients")
        say("that were disabled since, and do it again.")
    if done.administrator is None:
        say("No administrator is noted: sign in at the console and make a new API key.")
    else:
        say(f"The administrator's new API key is in {reach.admin_file}.")
    say("Passwords, factors and settings are as they were when the back-up was made.")


def _document(done: "Done", reach: "Reach") -> dict[str, object]:
    return {
        "epoch": done.epoch,
        "position": done.position,
        "before": done.before,
        "sign_ins_ended": done.tickets,
        "copies_emptied": done.copies,
        "keys_revoked_again": list(done.keys),
        "lost": [each.model_dump(mode="json", include={"claim", "value", "reason", "at"}) for each in done.lost],
        "asked_nats": done.asked_nats,
        "admin_file": None if done.administrator is None else str(reach.admin_file),
    }


def _ended(tickets: int) -> str:
    return f", and {tickets} sign-ins that were under way." if tickets else "."
