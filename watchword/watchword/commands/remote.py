"""The installation that a command is about: its API, with an administrator's key."""

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    import httpx2

DATA_DIR = Path(".data")
_PATIENCE_S = 2.0
_IS_SHOWN: ContextVar[bool] = ContextVar("_IS_SHOWN", default=False)

DataDir = Annotated[Path, typer.Option(help="Data directory of `watchword up`, to find it by", file_okay=False)]
Url = Annotated[str | None, typer.Option(help="The issuer; read from access.json when left out")]
Token = Annotated[str | None, typer.Option(envvar="WATCHWORD_ADMIN_TOKEN", help="An administrator's API key; as above")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts")]


@dataclass(frozen=True)
class Remote:
    """`/api/v1` of an installation."""

    http: "httpx2.Client"

    def call(self, method: str, path: str, body: object = None, params: Mapping[str, str] | None = None) -> Any:
        """The JSON answer. Ends the command with what the API said against it."""
        import httpx2

        try:
            with progress(f"Waiting for {self.http.base_url}"):
                answer = self.http.request(method, f"/api/v1{path}", json=body, params=params)
        except httpx2.HTTPError as error:
            fail(self._silent(error))
        if not answer.is_success:
            fail(_refused(answer))
        return answer.json() if answer.content else {}

    def stream(self, path: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """A long answer in pieces. Ends the command with what the API said against it."""
        import httpx2

        try:
            with self.http.stream("GET", f"/api/v1{path}", params=params) as answer:
                if not answer.is_success:
                    answer.read()
                    fail(_refused(answer))
                yield from answer.iter_bytes()
        except httpx2.HTTPError as error:
            fail(self._silent(error))

    def _silent(self, error: Exception) -> str:
        return (
            f"{self.http.base_url} does not answer: {type(error).__name__}. Is it started, and is --url right? "
            "`watchword doctor` looks"
        )

    def items(self, path: str, **given: str) -> list[dict[str, Any]]:
        """Every item of a list, page after page. given: what narrows it."""
        found: list[dict[str, Any]] = []
        cursor = None
        with progress(f"Reading {path}") as goes_on:
            while True:
                page = self.call("GET", path, params={**given, "cursor": cursor} if cursor else given)
                found += page["items"]
                cursor = page.get("next")
                if cursor is None:
                    return found
                goes_on(f"Reading {path}: {len(found)} so far")


@contextmanager
def remote(data_dir: Path, url: str | None, token: str | None, *, timeout_s: float = 30.0) -> Iterator[Remote]:
    """The installation at `url`, or the one that runs from `data_dir`."""
    import httpx2  # not above: every command would load it, `watchword health` as well

    url, token = access(data_dir, url, token)
    headers = {"Watchword-API-Key": token}
    with httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s) as http:
        yield Remote(http)


def access(data_dir: Path, url: str | None, token: str | None) -> tuple[str, str]:
    """Issuer and API key: as given, or those of what runs from `data_dir`."""
    if url is None or token is None:
        found = access_of(data_dir)
        url, token = url or found["issuer"], token or found["admin_token"]
    return url, token


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """On a terminal, what takes over two seconds says that it goes on. What is printed meanwhile goes where it goes.

    Comes back with what says how far it is. Within another, the outer one is shown.
    """
    if _IS_SHOWN.get() or not sys.stderr.isatty():
        yield lambda said: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots", f"{what} …")
    # With redirection what a file or a pipe was to get would be shown at the terminal instead.
    shown = Live(
        spinner,
        console=Console(stderr=True),
        refresh_per_second=12.5,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    timer = threading.Timer(_PATIENCE_S, shown.start)
    timer.start()
    outer = _IS_SHOWN.set(True)
    try:
        yield lambda said: spinner.update(text=f"{said} …")
    finally:
        _IS_SHOWN.reset(outer)
        timer.cancel()
        timer.join()
        shown.stop()


def access_of(data_dir: Path) -> dict[str, str]:
    """What `watchword up` wrote when it was ready."""
    path = data_dir / "access.json"
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        fail(f"{path} is not there: start `watchword up`, or give --url and --token")
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A table, or JSON. On a terminal that is too narrow for it things stand one below the other."""
    if as_json:
        say(json.dumps(list(rows), indent=2))
        return
    texts = [[_text(row.get(name)) for name in columns] for row in rows]
    titles = [name.replace("_", " ") for name in columns]
    widths = [max(len(line[n]) for line in (titles, *texts)) for n in range(len(columns))]
    if texts and sys.stdout.isatty() and sum(widths) + 2 * len(widths) - 2 > shutil.get_terminal_size().columns:
        width = max(map(len, titles))
        things = [
            "\n".join(f"{title:<{width}}  {text}" for title, text in zip(titles, line, strict=True)) for line in texts
        ]
        say("\n\n".join(things))
        return
    for line in (titles, *texts):
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def tell(found: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a line for each member, or JSON."""
    if as_json:
        say(json.dumps(found, indent=2))
        return
    width = max(map(len, found), default=0)
    for name, value in found.items():
        if value not in (None, [], {}, ""):
            say(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def confirm(question: str, yes: bool) -> None:
    """Goes on only when somebody said so; a script says so with --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("say --yes where nobody can be asked")
    typer.confirm(question, abort=True)


def check_everywhere(said: str, done: Mapping[str, Any]) -> None:
    """Ends the command with 1 and the names when somebody who was waited for may still accept what was ended."""
    if done.get("complete") is False:
        fail(f"{said}, but still behind: {', '.join(each['name'] for each in done['behind']) or 'the ledger'}")


def told(said: str, found: Mapping[str, Any], *, as_json: bool) -> None:
    """What was done: the line for people, or JSON."""
    say(json.dumps(found, indent=2) if as_json else said)


def say(line: str) -> None:
    """A line for who typed the command."""
    print(line, flush=True)


def fail(why: str) -> NoReturn:
    """The command ends with 1 and the reason."""
    print(f"watchword: {why}", file=sys.stderr, flush=True)
    raise typer.Exit(1)


def _refused(answer: "httpx2.Response") -> str:
    """What the API said, and for a credential that it does not take, where the credential comes from."""
    told = f"{_said(answer)} ({answer.status_code})"
    if answer.status_code != 401:
        return told
    return (
        f"{told}. Give an administrator's key with --token or WATCHWORD_ADMIN_TOKEN; `watchword admin key` draws one "
        "where the database is"
    )


def _said(answer: "httpx2.Response") -> str:
    """What a problem document says, on one line."""
    try:
        problem = answer.json()
    except ValueError:
        return "refused"
    said = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    said += [f"{each.get('pointer', '')} {each.get('detail', '')}".strip() for each in problem.get("errors", [])]
    return in_a_line(": ".join(said)) or "refused"


def in_a_line(text: str) -> str:
    """The text without what a terminal would obey: some of it was chosen by strangers."""
    return "".join(each if each.isprintable() else "�" for each in text)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return in_a_line(", ".join(map(str, value)) if isinstance(value, list) else str(value))
