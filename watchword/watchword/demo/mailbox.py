"""Where the demo's mail ends: each one is a file, and a page shows them. Nothing leaves this machine."""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Final

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as Connection
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchword.demo import DEMO, HOST
from watchword.demo.pages import Pages, static
from watchword.embedded.process import write_private

_MOST_SHOWN: Final = 100
_NAME: Final = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True)
class Letter:
    """A mail as it arrived. id: of its file."""

    id: str
    at: datetime
    to: str
    subject: str
    text: str


class Inbox:
    """Keeps what arrives."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory

    async def handle_DATA(self, _server: SMTP, _connection: Connection, envelope: Envelope) -> str:  # noqa: N802
        """The library's hook for a whole mail."""
        content = envelope.content or b""
        text = content if isinstance(content, str) else content.decode(errors="replace")
        write_private(self._directory / f"{time.time_ns()}.eml", text)
        return "250 kept"

    def letters(self) -> Iterator[Letter]:
        """The newest first, as many as fit on a page."""
        files = sorted(self._directory.glob("*.eml"), key=lambda each: int(each.stem), reverse=True)
        return map(_read, files[:_MOST_SHOWN])

    def letter(self, letter_id: str) -> Letter | None:
        """The mail with this id."""
        file = self._directory / f"{letter_id}.eml"
        return _read(file) if _NAME.fullmatch(letter_id) and file.is_file() else None


def _read(file: Path) -> Letter:
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    body = mail.get_body(("plain",))
    return Letter(
        id=file.stem,
        at=datetime.fromtimestamp(int(file.stem) / 1e9, UTC).astimezone(),
        to=str(mail.get("To", "")),
        subject=str(mail.get("Subject", "")),
        text=body.get_content() if body is not None else "",
    )


def create_app(inbox: Inbox) -> Starlette:
    """The pages. Whoever asks for them by another name is a page that had its own name lead here."""
    pages = Pages()

    async def listed(_request: Request) -> Response:
        return pages.render("mails.html", letters=list(inbox.letters()), forgetful=DEMO.local_person.username)

    async def shown(request: Request) -> Response:
        found = inbox.letter(request.path_params["letter_id"])
        if found is None:
            raise HTTPException(404, "There is no such mail.")
        return pages.render("mail.html", letter=found)

    return Starlette(
        routes=[Route("/", listed), Route("/{letter_id}", shown), static()],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


async def serve(directory: Path, *, pages: socket.socket, smtp: socket.socket) -> None:
    """Mail is taken at one socket and shown at the other, until the process is told to end."""
    inbox, loop = Inbox(directory), asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(inbox, hostname="localhost"), sock=smtp):
        config = uvicorn.Config(create_app(inbox), access_log=False, log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[pages])
