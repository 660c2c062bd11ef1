"""`watchword events`: following them, which programs of other teams may read them, and what was given up."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from watchword.commands.admin import reached
from watchword.commands.remote import (
    DATA_DIR,
    AsJson,
    DataDir,
    Token,
    Url,
    Yes,
    access_of,
    confirm,
    fail,
    in_a_line,
    remote,
    say,
    show,
    tell,
    told,
)
from watchword.commands.restore import DATABASE_URL, DatabaseUrl, PgBin, Secrets

if TYPE_CHECKING:
    from watchword.teams import Place

app = typer.Typer(help="Events, and other teams' programs that may read them.", no_args_is_help=True)

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The program: 1 to 64 of a-z, 0-9 and -")]
NatsUrl = Annotated[
    str, typer.Option(envvar="WATCHWORD_NATS_URL", help="With --secrets: where nats-server is reached from here")
]
_LOCAL = "nats://127.0.0.1:4222"
_SILENCE_S = 60.0  # the stream says every few seconds that it is there


@app.command()
def tail(
    types: Annotated[
        str | None, typer.Option(help="Only these, with commas between: user.disabled,session.ended")
    ] = None,
    count: Annotated[int | None, typer.Option(help="End after so many; else with Ctrl-C", min=1)] = None,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show public events as they happen; with --json a CloudEvents document on each line."""
    with remote(data_dir, url, token, timeout_s=_SILENCE_S) as installation:
        params = {} if types is None else {"types": types}
        seen = 0
        for event in _events(installation.stream("/events/stream", params)):
            if not (document := json.loads(event)):
                print("watchword: events may have been missed here", file=sys.stderr, flush=True)
                continue
            say(event if as_json else _line(document))
            seen += 1
            if seen == count:
                return
    fail("the stream has ended: what happened meanwhile is in `watchword audit list`")


def _events(pieces: Iterable[bytes]) -> Iterator[str]:
    """The data of each server-sent event. Spec: HTML Standard 9.2."""
    waiting = b""
    for piece in pieces:
        *lines, waiting = (waiting + piece).split(b"\n")
        yield from (line.removeprefix(b"data:").strip().decode() for line in lines if line.startswith(b"data:"))


def _line(event: Mapping[str, Any]) -> str:
    about = " ".join(f"{name}={value}" for name, value in event.get("data", {}).items() if isinstance(value, str | int))
    return in_a_line(f"{event['time']}  {event['type']:<24} {about}")


@app.command()
def grant(
    name: Name,
    subjects: Annotated[
        str | None, typer.Option(help="Only these, with commas between: auth.directory.user.*,auth.token.key.rotated")
    ] = None,
    feed: Annotated[bool, typer.Option("--feed", help="Also the revocation feed, for a verifier")] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Begin here, at most 7 days ago; UTC unless it says otherwise")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    nats_url: NatsUrl = _LOCAL,
    as_json: AsJson = False,
) -> None:
    """Let a program read public events; the key that it needs is written to a file."""
    from watchword import teams
    from watchword.grants import document

    place = _place(data_dir, secrets, nats_url)
    patterns = [each.strip() for each in (subjects or "").split(",") if each.strip()]
    begin = None if since is None else since.replace(tzinfo=since.tzinfo or UTC)
    made, file = _done(teams.grant(place, name, subjects=patterns, feed=feed, since=begin, now=datetime.now(UTC)), name)
    if as_json:
        tell({**document(made), "key_file": str(file), "server": _where(place, secrets)}, as_json=True)
        return
    say(f"{name} may read {', '.join(made.subjects)}{' and the revocation feed' if feed else ''}.")
    say(f"  Key       {file}  (mode 0600: hand it to the program; it is shown nowhere else)")
    say(f"  Connect   {_where(place, secrets)}, as the nkey user of that file")
    say(f"  Consumer  {name}, on stream EVENTS, with JetStream domain `events`")
    say("  How       docs/events.md, examples/subscriber")


@app.command("list")
def list_grants(
    data_dir: DataDir = DATA_DIR, secrets: Secrets = None, nats_url: NatsUrl = _LOCAL, as_json: AsJson = False
) -> None:
    """Who may read what, since when."""
    from watchword.grants import document

    place = _place(data_dir, secrets, nats_url)
    rows = [document(each) for each in _read(place)]
    for each in rows:
        each["key_file"] = str(place.seed_file(str(each["name"])))
    show(rows, ("name", "subjects", "feed", "granted_at", "public_key"), as_json=as_json)


@app.command()
def revoke(
    name: Name,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    nats_url: NatsUrl = _LOCAL,
    as_json: AsJson = False,
) -> None:
    """End a program's access; its connections are closed at once."""
    from watchword import teams

    place = _place(data_dir, secrets, nats_url)
    _done(teams.revoke(place, name), name)
    said = f"{name} may read no longer" + (" and is disconnected." if place.servers else ".")
    told(said, {"revoked": name, "disconnected": bool(place.servers)}, as_json=as_json)


Letters = Annotated[list[str] | None, typer.Argument(help="Which, from `watchword events dead`, such as authz/7")]


@app.command()
def dead(
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    pg_bin: PgBin = None,
    as_json: AsJson = False,
) -> None:
    """Events that a service gave up after half an hour of trying, sign-out notices after a day: why, and when."""
    from watchword import dead_letters

    with reached(data_dir, secrets, database_url, pg_bin) as reach:
        rows = [each.document() for each in asyncio.run(dead_letters.listed(reach.url))]
    show(rows, ("id", "consumer", "type", "about", "at", "error"), as_json=as_json)


@app.command()
def retry(
    which: Letters = None,
    everything: Annotated[bool, typer.Option("--all", help="Every one")] = False,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    pg_bin: PgBin = None,
    as_json: AsJson = False,
) -> None:
    """Let the services try such events again, once, within seconds; what fails again says so in `events dead`."""
    from watchword import dead_letters

    with reached(data_dir, secrets, database_url, pg_bin) as reach:
        done = _of_letters(dead_letters.retry, reach.url, which, everything=everything)
    told(f"tried again: {', '.join(done) or 'none'}", {"retried": done}, as_json=as_json)


@app.command()
def forget(
    which: Letters = None,
    everything: Annotated[bool, typer.Option("--all", help="Every one")] = False,
    yes: Yes = False,
    data_dir: DataDir = DATA_DIR,
    secrets: Secrets = None,
    database_url: DatabaseUrl = DATABASE_URL,
    pg_bin: PgBin = None,
    as_json: AsJson = False,
) -> None:
    """Delete such events: what they would have changed stays as it is."""
    from watchword import dead_letters

    confirm(f"Forget {', '.join(which or ['all of them'])}? What they would have changed stays as it is.", yes)
    with reached(data_dir, secrets, database_url, pg_bin) as reach:
        done = _of_letters(dead_letters.forget, reach.url, which, everything=everything)
    told(f"forgotten: {', '.join(done) or 'none'}", {"forgotten": done}, as_json=as_json)


def _of_letters(
    work: "Callable[[str, Sequence[str]], Coroutine[Any, Any, list[str]]]",
    url: str,
    which: list[str] | None,
    *,
    everything: bool,
) -> list[str]:
    """What was done to those that were chosen. Ends the command when none were, or there is no such letter."""
    from watchword import dead_letters

    if bool(which) == everything:
        fail("name events, from `watchword events dead`, or say --all")
    ids = which or [each.id for each in asyncio.run(dead_letters.listed(url))]
    try:
        return asyncio.run(work(url, ids))
    except dead_letters.NoSuchLetter as error:
        fail(f"there is no dead letter {error}: `watchword events dead` lists them")


def _place(data_dir: Path, secrets: Path | None, nats_url: str) -> "Place":
    """The installation that the options name."""
    from watchword.installation import BrokenInstallation, Installation
    from watchword.teams import Place, container_text, embedded_text

    if secrets is not None:
        servers = tuple(each.strip() for each in nats_url.split(","))
        place = Place(secrets, servers, secrets / "nats" / "nats.conf", container_text)
    else:
        data_dir = data_dir.absolute()
        url = access_of(data_dir).get("nats_url") if (data_dir / "access.json").exists() else None
        port = int(url.rpartition(":")[2]) if url else 0
        conf = data_dir / "nats" / "nats.conf" if url else None
        place = Place(data_dir / "secrets", (url,) if url else (), conf, embedded_text(data_dir, port))
    try:
        if not Installation.exists(place.secrets):
            fail(f"{place.secrets} holds no installation: name it with --data-dir, or with --secrets")
    except BrokenInstallation as error:
        fail(str(error))
    if place.conf is not None and not place.conf.parent.is_dir():
        fail(f"{place.conf.parent} is not there: --secrets names a directory of `watchword init`; use --data-dir")
    return place


def _where(place: "Place", secrets: Path | None) -> str:
    if secrets is not None:
        return "nats://127.0.0.1:4222 on the host, or where WATCHWORD_NATS_PUBLISH has put it"
    if not place.servers:
        return "where `nats_url` in access.json says, when `watchword up` runs"
    return f"{place.servers[0]} (`nats_url` in access.json; kept between runs while the port is free)"


def _read(place: "Place") -> Any:
    from watchword.installation import BrokenInstallation

    try:
        return place.grants
    except BrokenInstallation as error:
        fail(str(error))


def _done(work: "Coroutine[Any, Any, T]", name: str) -> T:
    """What the coroutine returns. Ends the command with the reason of a refusal."""
    from watchword.grants import GrantRefused
    from watchword.installation import BrokenInstallation
    from watchword.teams import NotInForce

    try:
        return asyncio.run(work)
    except (GrantRefused, BrokenInstallation) as error:
        fail(str(error))
    except NotInForce as error:
        fail(f"{name}: written down, but not in force. {error}.")
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}")
