"""What the HTTP edge of this service works with, and the pages of a sign-in that ends here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from watchword_database import Database
from watchword_directory.claims import ClaimsWorker
from watchword_directory.domains import Domains
from watchword_directory.last_claims import ClaimsKeeper
from watchword_directory.linking import HasWayIn
from watchword_directory.mapping import Mapper
from watchword_directory.settings import DirectorySettings
from watchword_events.exports import ProviderExport
from watchword_runtime.callers import Callers
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClients
from watchword_runtime.passwords import Passwords
from watchword_runtime.receipts import Endings
from watchword_web.addresses import address_prefix, client_address
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Cursor
from watchword_web.cookies import Cookies
from watchword_web.errors import PageError
from watchword_web.limits import Limiter
from watchword_web.texts import Text


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once, in `main`. claims: whoever is due to learn of a change is told by it.

    sign_ins: how often one address may arrive from a provider.  dns_questions: how often it may have domains looked at.
    has_way_in: whether somebody has a password or passkey at authz.  last_claims: keeps what providers said.
    """

    settings: DirectorySettings
    database: Database
    feed: Feed
    internal: InternalClients
    callers: Callers
    endings: Endings
    passwords: Passwords
    providers: Copy[ProviderExport]
    cookies: Cookies
    cursor: Cursor
    now: Clock
    claims: ClaimsWorker
    domains: Domains
    mapper: Mapper
    last_claims: ClaimsKeeper
    sign_ins: Limiter
    dns_questions: Limiter
    has_way_in: HasWayIn

    def address(self, request: Request) -> str:
        """Under which the caller's address is limited."""
        peer = request.client.host if request.client else None
        found = client_address(request.scope["headers"], peer, self.settings.trusted_proxies)
        return address_prefix(found)


class Listing(BaseModel):
    """Which page of a list. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)

    @property
    def name(self) -> str:
        """The list that a cursor belongs to: the filters are part of it."""
        return f"{type(self).__name__}:{self.model_dump_json(exclude={'limit', 'cursor'})}"

    def after(self, cursor: Cursor) -> str:
        """The key behind which the page begins."""
        return str(cursor.read(self.name, self.cursor)[0]) if self.cursor else ""


_PAGES: Final[Mapping[str, tuple[int, Text, Text]]] = {
    "account_disabled": (
        403,
        Text("This account is disabled"),
        Text("Your sign-in worked, but your account here has been disabled. An administrator can enable it again."),
    ),
    "provider_disabled": (
        403,
        Text("This way to sign in is closed"),
        Text("Signing in through this provider is not possible any more. Choose another way to sign in."),
    ),
    "account_not_linked": (
        403,
        Text("The accounts were not linked"),
        Text(
            "An account here has this address, and was not proved to be yours in this sign-in: the proof did not fit, "
            "came too late, or could not be asked for because the sign-in began at the provider. Nothing was changed. "
            "Begin at the application's sign-in page."
        ),
    ),
    "access_denied": (
        403,
        Text("You are not let in here"),
        Text(
            "Your sign-in worked, but what your provider says about you gives you no access here. If you should have "
            "it, ask an administrator which groups or roles are needed, have them given to you there, and sign in "
            "again."
        ),
    ),
    "email_domain_not_allowed": (
        403,
        Text("This address is not let in"),
        Text(
            "Only people with a verified address of certain domains come in through this provider. Sign in there with "
            "the account of your organization, or choose another way to sign in."
        ),
    ),
    "linked_elsewhere": (
        409,
        Text("This identity belongs to another account"),
        Text(
            "Somebody signs in with it here already, perhaps you with another account. Unlink it there first, or "
            "choose another identity at your provider. Nothing was changed."
        ),
    ),
    "invalid_identity": (
        400,
        Text("The provider sent no usable identity"),
        Text("The provider did not say who you are in a way that can be recognised next time."),
    ),
    "invalid_ticket": (
        400,
        Text("This step of the sign-in is over"),
        Text("A step of a sign-in works once and for one minute. This one has been used, has expired or never was."),
    ),
    "wrong_browser": (
        400,
        Text("This sign-in belongs to another browser"),
        Text("It was started in another browser, or the cookie that ties it to this one is missing or blocked."),
    ),
}


def page_error(code: str, *, flow: str = "", detail: str = "") -> PageError:
    """The page for a sign-in that ends here. flow: when given, a button leads back to the choice of ways to sign in."""
    status, title, message = _PAGES[code]
    return PageError(code, title, message, status, detail, retry=f"/login?flow={flow}" if flow else "")
