"""The demo: a small application that signs people in with Watchword, and two companies' providers that are not ours.

    upstream   oidc-provider-mock from PyPI with the people of "Demo Corp", on 127.0.0.1, a port above Watchword's
    app        a relying party as any application could be (Authlib), two ports above
    saml       pysaml2 with the people of "Demo Labs" (`labs`, `keys`), three ports above
    mail       takes the mail that Watchword sends, and shows it (aiosmtpd; `mailbox`), four ports above
    shown      what its pages show
    sessions   its sessions, kept on the server
    logout     being told over the back channel that one is over
    listener   the live events that it shows, from /api/v1/events/stream

Each of the first four is a child process of `watchword up`. What they need is described in `DEMO`, and applied
through /api/v1 as anybody would apply it. They use nothing of Watchword but its public endpoints.
"""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from watchword.demo.keys import key_pair
from watchword.embedded.process import Child, StartError, Step, end_leftover, free_port, spawn, tail_of, write_private

HOST: Final = "127.0.0.1"  # Watchword is at `localhost`: another site, so that cookies behave as between companies
STOP_STEPS: Final = (Step(signal.SIGTERM, 3.0), Step(signal.SIGKILL, 3.0))
READY_WITHIN_S: Final = 20.0
_DEFAULT_PORT: Final = 8080


@dataclass(frozen=True)
class Person:
    """Somebody of the demo: who has a password here is known to Watchword only, the others to their company."""

    username: str
    name: str
    group: str

    @property
    def email(self) -> str:
        """Their address. Mail to it ends in the demo."""
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
    saml_provider_id: str = "demo-labs"
    saml_people: tuple[Person, ...] = (
        Person("erin", "Erin Eriksen", "dev"),
        Person("frank", "Frank Falk", "dev"),
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
            backchannel_logout_uri=f"{app_url}/backchannel-logout",
            backchannel_logout_session_required=True,
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

    def saml_provider(self, saml_url: str, certificate: str) -> Described:
        """Demo Labs' identity provider. Field by field: its metadata is not there yet when this is applied."""
        return _described(
            "IdentityProvider",
            id=self.saml_provider_id,
            preset="saml",
            display_name="Demo Labs (SAML)",
            enabled=True,
            issuer=entity_id_of(saml_url),
            sso_url=sso_url_of(saml_url),
            slo_url=slo_url_of(saml_url),
            certificates=[certificate],
            groups_attribute="groups",
        )

    def user(self, password: str) -> Described:
        """Somebody who signs in with a password."""
        person = self.local_person
        return _described("User", username=person.username, email=person.email, name=person.name, password=password)


DEMO: Final = Demo()


def entity_id_of(saml_url: str) -> str:
    """What Demo Labs' provider calls itself: where its metadata is."""
    return f"{saml_url}/metadata"


def sso_url_of(saml_url: str) -> str:
    """Where people are sent to sign in at Demo Labs."""
    return f"{saml_url}/sso"


def slo_url_of(saml_url: str) -> str:
    """Where people are sent to be signed out at Demo Labs, too."""
    return f"{saml_url}/slo"


@dataclass(frozen=True)
class Kept:
    """What a later start finds again."""

    upstream_port: int
    app_port: int
    saml_port: int
    mail_port: int
    smtp_port: int
    password: str


@dataclass(frozen=True)
class Started:
    """The demo's processes, and where they answer. mail: none where the operator named a mail server."""

    issuer: str
    kept: Kept
    home: Path
    upstream: Child
    app: Child
    saml: Child
    mail: Child | None

    @property
    def app_url(self) -> str:
        """Where one tries it."""
        return f"http://{HOST}:{self.kept.app_port}"

    @property
    def upstream_url(self) -> str:
        """The issuer of Demo Corp."""
        return f"http://{HOST}:{self.kept.upstream_port}"

    @property
    def saml_url(self) -> str:
        """Where Demo Labs' provider answers."""
        return f"http://{HOST}:{self.kept.saml_port}"

    @property
    def mail_url(self) -> str:
        """Where mail is shown; "" where it goes elsewhere."""
        return f"http://{HOST}:{self.kept.mail_port}" if self.mail is not None else ""

    @property
    def mail_settings(self) -> dict[str, str]:
        """Settings with which Watchword's mail ends here."""
        if self.mail is None:
            return {}
        return {"smtp_host": HOST, "smtp_port": str(self.kept.smtp_port), "smtp_security": "none"}

    @property
    def children(self) -> tuple[Child, ...]:
        """Its processes."""
        return self.upstream, self.app, self.saml, *([self.mail] if self.mail is not None else [])

    @property
    def notes(self) -> list[str]:
        """What the operator needs to know to try it: lines `name: value`."""
        corp, labs = (
            " and ".join(person.username for person in people) for people in (DEMO.upstream_people, DEMO.saml_people)
        )
        return [
            f"Demo app: {self.app_url}   Sign in, then Demo Corp or Demo Labs: two clicks",
            f"Demo users: {corp} of Demo Corp ({self.upstream_url}); {labs} of Demo Labs ({self.saml_url});"
            f" {DEMO.local_person.username}, password {self.kept.password}",
            *([f"Demo mail: {self.mail_url}   All that Watchword sends"] if self.mail_url else []),
        ]

    async def configured(self, *, admin_token: str, secret: str) -> None:
        """The demo answers, and Watchword, which must be ready, knows its client, its provider and its users.

        secret: the client's, new each time. Raises StartError.
        """
        client_id = await asyncio.to_thread(_apply, self, admin_token, secret)
        _tell(
            self.app,
            port=self.kept.app_port,
            issuer=self.issuer,
            client_id=client_id,
            client_secret=secret,
            mail_url=self.mail_url,
        )
        _tell(self.saml, port=self.kept.saml_port, issuer=self.issuer, home=str(self.home))
        if self.mail is not None:
            mail = {"port": self.kept.mail_port, "smtp_port": self.kept.smtp_port}
            _tell(self.mail, **mail, directory=str(self.home / "mail"))
        ports = (self.kept.upstream_port, self.kept.app_port, self.kept.saml_port, self.kept.mail_port)
        await asyncio.gather(*[_answers(child, port) for child, port in zip(self.children, ports, strict=False)])

    def stop(self) -> None:
        """Its processes have ended."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.popen.send_signal(signal.SIGTERM)
        for child in self.children:
            child.stop()


def begin(*, run: Path, data: Path, issuer: str, with_mail: bool = True) -> Started:
    """Its processes load their code, which takes longer than all that they do; nobody has to run yet.

    run: for logs and records of processes.  data: for what the next start should find again.
    """
    for name in ("upstream", "app", "saml", "mail"):
        end_leftover(_record_of(run, name), STOP_STEPS)  # so that their ports are free
    kept = _kept(data / "demo.json", issuer)
    upstream, app, saml = (_child(name, run) for name in ("upstream", "app", "saml"))
    mail = _child("mail", run) if with_mail else None
    _tell(upstream, port=kept.upstream_port)
    return Started(issuer, kept, data, upstream, app, saml, mail)


def _kept(path: Path, issuer: str) -> Kept:
    """What an earlier start noted, as far as it is still good: an identity belongs to the issuer that named it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    noted: dict[str, object] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        noted = dict(json.loads(path.read_text()))
    base = urlsplit(issuer).port or _DEFAULT_PORT
    ports: dict[str, int] = {}
    for above, name in enumerate(("upstream_port", "app_port", "saml_port", "mail_port", "smtp_port"), start=1):
        ports[name] = _port(noted.get(name), base + above, besides=ports.values())
    kept = Kept(**ports, password=str(noted.get("password") or secrets.token_urlsafe(9)))
    write_private(path, json.dumps(kept.__dict__))
    return kept


def _port(noted: object, wanted: int, besides: Collection[int]) -> int:
    candidates = [*([noted] if isinstance(noted, int) else []), wanted]
    return next((port for port in candidates if port not in besides and _is_free(port)), 0) or free_port()


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


def _child(name: str, run: Path) -> Child:
    return spawn(
        f"demo-{name}",
        [sys.executable, "-m", f"watchword.demo.{name}"],
        record=_record_of(run, name),
        log=_log_of(run, name),
        steps=STOP_STEPS,
        waits_for_orders=True,
    )


def _tell(child: Child, **orders: object) -> None:
    child.tell(json.dumps(orders).encode())


def _record_of(run: Path, name: str) -> Path:
    return run / f"demo-{name}.process.json"


def _log_of(run: Path, name: str) -> Path:
    return run / f"demo-{name}.log"


def _apply(started: Started, admin_token: str, secret: str) -> str:
    """The client's id, once everything of the demo is configured. Raises StartError."""
    # Here and not above: the two child processes import this package, and need none of it.
    from watchword.apply import Installation, Step
    from watchword.documents import Document, DocumentError

    installation = Installation(started.issuer, admin_token)

    def make(*described: Described, set_secrets: bool) -> list[Step]:
        wanted = [Document(file="demo", line=0, kind=each.kind, members=each.members, lines={}) for each in described]
        return list(installation.apply(installation.plan(wanted, environment={}, set_secrets=set_secrets)))

    try:
        applied = make(
            DEMO.client(started.app_url, secret),
            DEMO.provider(started.upstream_url),
            DEMO.saml_provider(started.saml_url, key_pair(started.home)[1].read_text()),
            set_secrets=True,
        )
        # A password is set once: setting it again would end the sessions of whoever uses it.
        make(DEMO.user(started.kept.password), set_secrets=False)
    except DocumentError as error:
        raise StartError(f"the demo could not be configured ({error}); `--no-demo` starts without it") from None
    finally:
        installation.close()
    return str(applied[0].id)


async def _answers(child: Child, port: int) -> None:
    """Returns when the process listens. Raises StartError with the end of its log when it does not."""
    deadline = time.monotonic() + READY_WITHIN_S
    while child.is_alive and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            _reader, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    log = child.record.with_name(f"{child.name}.log")
    raise StartError(f"{child.name} did not come up; the end of {log}:\n{tail_of(log)}")


def _described(kind: str, **members: object) -> Described:
    return Described(kind, members)
