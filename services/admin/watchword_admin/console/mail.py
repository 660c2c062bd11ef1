"""By which server mails leave, at the console, and a test message to whoever is there."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.answers import worded
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused


async def show_mail(console: Console, request: Request, visit: Visit) -> Response:
    """The settings of the mail server, without its password."""
    return await _page(console, request, visit)


async def test_mail(console: Console, request: Request, visit: Visit) -> Response:
    """A message is on its way to the person's own address, or the page says what the server answered."""
    await console.sessions.read_form(request, visit)
    try:
        test = await console.calls.post(visit.token, "mail/test", seen.MailTest, {})
    except Refused as refused:
        wrong = next(iter(worded(refused.errors).values()))
        return await _page(console, request, visit, wrong=wrong, status=refused.status)
    return await _page(console, request, visit, test=test)


async def _page(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    test: seen.MailTest | None = None,
    wrong: str = "",
    status: int = 200,
) -> Response:
    server = await console.calls.get(visit.token, "mail", seen.MailServer)
    return console.render(
        request, visit, "mail.html", here="mail", status=status, server=server, test=test, wrong=wrong
    )


GET: Final[Mapping[str, Handler]] = {"/admin/mail": show_mail}
POST: Final[Mapping[str, Handler]] = {"/admin/mail/test": test_mail}
