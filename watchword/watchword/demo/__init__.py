"""The demo: a small application that signs people in with Watchword, and a company's provider that is not ours.

    upstream   oidc-provider-mock from PyPI with the people of "Demo Corp", on 127.0.0.1, a port above Watchword's
    app        a relying party as any application could be (Authlib), two ports above
    shown      what its pages show
    sessions   its sessions, kept on the server
    listener   the live events that it shows, from /api/v1/events/stream

Both are child processes of `watchword up`. What they need is described in `DEMO`, and applied through /api/v1 as
anybody would apply it. They use nothing of Watchword but its public endpoints.
"""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from watchword.embedded.process import Child, StartError, Step, end_leftover, free_port, spawn, tail_of, write_private

HOST: Final = "127.0.0.1"  # Watchword is at `localhost`: another site, so that cookies behave as between companies
STOP_STEPS: Final = (Step(signal.SIGTERM, 3.0), Step(signal.SIGKILL, 3.0))
READY_WITHIN_S: Final = 20.0
_DEFAULT_PORT: Final = 8080


@dataclass(frozen=True)
class Person:
    """Somebody at Demo Corp: who has a password here is known to Watchword only, the others to their company."""

    username: str
    name: str
    group: str

    @property
    def email(self) -> str:
        """Their address; nobody receives mail there."""
        return f"{self.username}@demo.test"


@dataclass(frozen=True)
class Described:
    """A document for `/api/v1`, as `watchword apply` would read it."""

    kind: str
    members: dict[str, object]


@dataclass(frozen=True)
class Demo:
    """What the demo consists of, as documents for `/api/v1`."""

    provider_id: str = "demo-corp"
    upstream_people: tuple[Person, ...] = (
        Person("alice", "Alice Andersen", "admin"),
        Person("bob", "Bob Berg", "dev"),
    )
    local_person: Person = Person("carol", "Carol Christensen", "dev")

    def client(self, app_url: str, client_secret: str) -> Described:
        """The application. It asks for live events as itself, never for a person."""
        return _described(
            "Client",
            short_name="demo",
            client_name="Demo application",
            description="Shows what an application learns from a sign-in.",
            main_uri=app_url,
            redirect_uris=[f"{app_url}/callback"],
            post_logout_redirect_uris=[f"{app_url}/"],
            grant_types=["authorization_code", "client_credentials"],
            scope="openid profile email groups watchword:events",
            require_consent=False,
            client_secret=client_secret,
        )

    def provider(self, upstream_url: str) -> Described:
        """Demo Corp's identity provider."""
        return _described(
            "IdentityProvider",
            id=self.provider_id,
            preset="oidc",
            display_name="Demo Corp",
            enabled=True,
            issuer=upstream_url,
            client_id="watchword",
            client_secret="demo-corp-knows-no-secrets",
        )

    def user(self, password: str) -> Described:
        """Somebody who signs in with a password."""
        person = self.local_person
        return _described("User", username=person.username, email=person.email, name=person.name, password=password)


DEMO: Final = Demo()


@dataclass
class Started:
    """The demo runs. notes: lines `name: value` for the operator."""

    app_url: str
    upstream_url: str
    notes: list[str]
    children: list[Child] = field(default_factory=list)

    def stop(self) -> None:
        """Both processes have ended."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.popen.send_signal(signal.SIGTERM)
        for child in self.children:
            child.stop()


async def start(*, run: Path, data: Path, issuer: str, admin_token: str, secret: str) -> Started:
    """The demo answers, and Watchword knows its client, its provider and its users.

    run: for logs and records of processes.  data: for what the next start should find again.  secret: the client's,
    new each time. Raises StartError.
    """
    records = [run / f"demo-{name}.process.json" for name in ("upstream", "app")]
    for record in records:
        end_leftover(record, STOP_STEPS)
    kept = await asyncio.to_thread(_kept, data / "demo.json", issuer)
    upstream_url, app_url = f"http://{HOST}:{kept.upstream_port}", f"http://{HOST}:{kept.app_port}"
    started = Started(app_url, upstream_url, _notes(app_url, upstream_url, kept.password))
    try:
        for name, record in zip(("upstream", "app"), records, strict=True):
            started.children.append(_child(name, record, run / f"demo-{name}.log"))
        upstream, app = started.children
        upstream.tell(json.dumps({"port": kept.upstream_port}).encode())
        client_id = await asyncio.to_thread(_apply, issuer, admin_token, app_url, upstream_url, secret, kept.password)
        app.tell(
            json.dumps(
                {"port": kept.app_port, "issuer": issuer, "client_id": client_id, "client_secret": secret}
            ).encode()
        )
        await asyncio.gather(
            _answers(upstream, kept.upstream_port, run / "demo-upstream.log"),
            _answers(app, kept.app_port, run / "demo-app.log"),
        )
    except BaseException:
        started.stop()
        raise
    return started


@dataclass(frozen=True)
class _Kept:
    upstream_port: int
    app_port: int
    password: str


def _kept(path: Path, issuer: str) -> _Kept:
    """What an earlier start noted, as far as it is still good: an identity belongs to the issuer that named it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    noted: dict[str, object] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        noted = dict(json.loads(path.read_text()))
    base = urlsplit(issuer).port or _DEFAULT_PORT
    upstream_port = _port(noted.get("upstream_port"), base + 1)
    kept = _Kept(
        upstream_port=upstream_port,
        app_port=_port(noted.get("app_port"), base + 2, besides=upstream_port),
        password=str(noted.get("password") or secrets.token_urlsafe(9)),
    )
    write_private(path, json.dumps(kept.__dict__))
    return kept


def _port(noted: object, wanted: int, besides: int = 0) -> int:
    candidates = [*([noted] if isinstance(noted, int) else []), wanted]
    return next((port for port in candidates if port != besides and _is_free(port)), 0) or free_port()


def _is_free(port: int) -> bool:
    if not 0 < port < 2**16:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _child(name: str, record: Path, log: Path) -> Child:
    return spawn(
        f"demo-{name}",
        [sys.executable, "-m", f"watchword.demo.{name}"],
        record=record,
        log=log,
        steps=STOP_STEPS,
        waits_for_orders=True,
    )


def _apply(issuer: str, admin_token: str, app_url: str, upstream_url: str, secret: str, password: str) -> str:
    """The client's id, once everything of the demo is configured. Raises StartError."""
    # Here and not above: the two child processes import this package, and need none of it.
    from watchword.apply import KINDS, ApplyError, Document, apply

    def documents(*described: Described) -> list[Document]:
        return [
            Document(file="demo", line=0, kind=KINDS[each.kind], members=each.members, lines={}) for each in described
        ]

    try:
        wanted = documents(DEMO.client(app_url, secret), DEMO.provider(upstream_url))
        applied = list(apply(wanted, url=issuer, token=admin_token, set_secrets=True))
        # A password is set once: setting it again would end the sessions of whoever uses it.
        list(apply(documents(DEMO.user(password)), url=issuer, token=admin_token))
    except ApplyError as error:
        raise StartError(f"the demo could not be configured ({error}); `--no-demo` starts without it") from None
    return applied[0].id


async def _answers(child: Child, port: int, log: Path) -> None:
    """Returns when the process listens. Raises StartError with the end of its log when it does not."""
    deadline = time.monotonic() + READY_WITHIN_S
    while child.is_alive and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            _reader, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise StartError(f"{child.name} did not come up; the end of {log}:\n{tail_of(log)}")


def _notes(app_url: str, upstream_url: str, password: str) -> list[str]:
    people = " and ".join(person.username for person in DEMO.upstream_people)
    return [
        f"Demo app: {app_url}   Sign in, then Demo Corp: two clicks",
        f"Demo users: {people} of Demo Corp ({upstream_url}); {DEMO.local_person.username}, password {password}",
    ]


def _described(kind: str, **members: object) -> Described:
    return Described(kind, members)
