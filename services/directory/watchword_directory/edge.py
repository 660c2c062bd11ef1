"""What the HTTP edge of this service works with, and how its refusals look."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from watchword_database import Database
from watchword_directory import store
from watchword_directory.linking import LastWayIn
from watchword_directory.names import InvalidUsername
from watchword_directory.settings import DirectorySettings
from watchword_directory.users import LastAdministrator, NameTaken
from watchword_events.exports import ProviderExport
from watchword_runtime.access import Access, AccessDenied, Caller
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.feed import Feed
from watchword_runtime.passwords import Passwords
from watchword_web.addresses import address_prefix, client_address
from watchword_web.api import Cursor
from watchword_web.cookies import Cookies
from watchword_web.errors import PageError, Problem
from watchword_web.forms import read_query
from watchword_web.limits import Limiter
from watchword_web.surfaces import Surface


class LedgerAway(ConnectionError):
    """What has been revoked cannot be known at this moment: nobody is taken for live, and nobody for dead."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once, in `main`. refused: how often one address may call the API without a credential."""

    settings: DirectorySettings
    database: Database
    feed: Feed
    access: Access
    passwords: Passwords
    providers: Copy[ProviderExport]
    cookies: Cookies
    cursor: Cursor
    now: Clock
    refused: Limiter
    sign_ins: Limiter

    def address(self, request: Request) -> str:
        """Under which the caller's address is limited."""
        peer = request.client.host if request.client else None
        found = client_address(request.scope["headers"], peer, self.settings.trusted_proxies)
        return address_prefix(found)

    def require_ledger(self) -> None:
        """Raises LedgerAway, which is answered with 503, while the ledger cannot be followed."""
        if not self.feed.ready:
            raise LedgerAway

    async def administrator(self, request: Request) -> Caller:
        """Who calls, if that is an administrator. Raises Problem: 401 without a live credential, 403 for others.

        The caller is known by the credential alone; nothing of the body or the query says who somebody is.
        """
        self.require_ledger()
        read_query(request)  # a repeated parameter is refused before two readers could each see another value
        try:
            return (await self.access.caller(request.headers)).require_administrator()
        except AccessDenied as denied:
            if denied.status == 401:
                self.refused.check(self.address(request), self.now(), Surface.API)
            title = "Not signed in" if denied.status == 401 else "Not allowed"
            raise Problem(denied.status, title, denied.description, headers=denied.headers) from denied


def actor(caller: Caller) -> Mapping[str, str | None]:
    """Who did it, for the log."""
    return {"by_user": caller.user_id, "by_client": caller.client_id, "by_key": caller.api_key_id}


@contextmanager
def refusals() -> Iterator[None]:
    """Broken rules of this service become problem documents."""
    try:
        yield
    except store.UnknownUser:
        raise Problem(404, "No such user", "There is no user with this id.") from None
    except NameTaken as taken:
        what = {"username": "user name", "email": "e-mail address"}[taken.field]
        error = f"another user has this {what}"
        raise Problem(409, "Already taken", errors=[{"pointer": f"#/{taken.field}", "detail": error}]) from None
    except InvalidUsername as error:
        raise Problem(
            400, "The request is not valid", errors=[{"pointer": "#/username", "detail": str(error)}]
        ) from None
    except LastAdministrator:
        raise Problem(
            409,
            "The last administrator",
            "Make somebody else an administrator first: this is the only active one.",
        ) from None
    except LastWayIn:
        raise Problem(
            409,
            "The last way in",
            "Without this identity the user could not sign in. Set a password first, or disable or delete the user.",
        ) from None


_PAGES: Final[Mapping[str, tuple[int, str, str]]] = {
    "account_disabled": (
        403,
        "This account is disabled",
        "Your sign-in worked, but your account here has been disabled. An administrator can enable it again.",
    ),
    "provider_disabled": (
        403,
        "This way to sign in is closed",
        "Signing in through this provider is not possible any more. Choose another way to sign in.",
    ),
    "account_not_linked": (
        403,
        "The accounts were not linked",
        "The proof of your account did not fit this sign-in, or came too late. Nothing was changed.",
    ),
    "invalid_identity": (
        400,
        "The provider sent no usable identity",
        "The provider did not say who you are in a way that can be recognised next time.",
    ),
    "invalid_ticket": (
        400,
        "This step of the sign-in is over",
        "A step of a sign-in works once and for one minute. This one has been used, has expired or never was.",
    ),
    "wrong_browser": (
        400,
        "This sign-in belongs to another browser",
        "It was started in another browser, or the cookie that ties it to this one is missing or blocked.",
    ),
}


def page_error(code: str, *, flow: str = "", detail: str = "") -> PageError:
    """The page for a sign-in that ends here. flow: when given, a button leads back to the choice of ways to sign in."""
    status, title, message = _PAGES[code]
    return PageError(code, title, message, status, detail, retry=f"/login?flow={flow}" if flow else "")
