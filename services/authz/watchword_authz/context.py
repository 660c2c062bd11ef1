"""What the composition root made, as the HTTP edge and the steps of a sign-in need it."""

from dataclasses import dataclass

from watchword_authz.hints import IdTokenHints
from watchword_authz.sessions import Lifetimes
from watchword_authz.settings import AuthzSettings
from watchword_authz.throttle import Limits
from watchword_database.engine import Database
from watchword_events.exports import ClientExport, ProviderExport, UserExport
from watchword_runtime.access import Access
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.feed import Feed
from watchword_runtime.passwords import Passwords
from watchword_web.api import Cursor
from watchword_web.cookies import Cookies
from watchword_web.limits import Limiter
from watchword_web.pages import Pages


@dataclass(frozen=True, slots=True)
class Context:
    """Made once by main.build(). forms_key: of form tokens and device marks.  beginnings: sign-ins per address."""

    settings: AuthzSettings
    database: Database
    feed: Feed
    now: Clock
    users: Copy[UserExport]
    clients: Copy[ClientExport]
    providers: Copy[ProviderExport]
    hints: IdTokenHints
    access: Access
    passwords: Passwords
    pages: Pages
    cookies: Cookies
    cursor: Cursor
    forms_key: bytes
    limits: Limits
    lifetimes: Lifetimes
    beginnings: Limiter
