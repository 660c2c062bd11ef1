"""What the composition root made, as the HTTP edge and the steps of a sign-in need it."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from watchword_authz.hints import IdTokenHints
from watchword_authz.mails import Mails
from watchword_authz.password_policy import PasswordPolicy
from watchword_authz.places import Places
from watchword_authz.sessions import Lifetimes
from watchword_authz.settings import AuthzSettings
from watchword_authz.throttle import Limits
from watchword_database.engine import Database
from watchword_events.exports import ClientExport, ProviderExport, ResourceExport, ScopeExport, UserExport
from watchword_runtime.audit_log import AuditLog
from watchword_runtime.books import Book
from watchword_runtime.callers import Callers
from watchword_runtime.calls import Calls
from watchword_runtime.client_authentication import ClientAuthentication
from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.decisions import DecisionLog
from watchword_runtime.dpop_proofs import EndpointProofs
from watchword_runtime.feed import Feed
from watchword_runtime.passwords import Passwords
from watchword_runtime.receipts import Endings
from watchword_runtime.rules import RuleBook
from watchword_runtime.seal import SecretSeal
from watchword_web.api import Cursor
from watchword_web.cookies import Cookies
from watchword_web.limits import Guesses, Limiter
from watchword_web.pages import Pages


@dataclass(frozen=True, slots=True)
class Context:
    """Made once by main.build().

    scopes: what people are asked, by scope.  resources: those for which every client may ask for tokens.
    seal: for secrets of authenticator apps.  forms_key: of form tokens and device marks.
    beginnings, pushes: sign-ins, and pushed requests, per address.
    guesses: wrong client credentials.  calls, account_tokens: as `own_calls` uses them.
    """

    settings: AuthzSettings
    database: Database
    feed: Feed
    now: Clock
    users: Copy[UserExport]
    clients: Copy[ClientExport]
    providers: Copy[ProviderExport]
    rules: RuleBook
    decisions: DecisionLog
    audit: AuditLog
    scopes: Book[ScopeExport, Mapping[str, ScopeExport]]
    resources: Book[ResourceExport, frozenset[str]]
    hints: IdTokenHints
    authentication: ClientAuthentication[ClientExport]
    client_keys: ClientKeys
    proofs: EndpointProofs
    callers: Callers
    endings: Endings
    passwords: Passwords
    pages: Pages
    cookies: Cookies
    cursor: Cursor
    forms_key: bytes
    seal: SecretSeal
    mails: Mails
    password_policy: PasswordPolicy
    places: Places
    limits: Limits
    lifetimes: Lifetimes
    beginnings: Limiter
    pushes: Limiter
    guesses: Guesses
    calls: Calls
    account_tokens: OrderedDict[tuple[str, datetime, tuple[str, ...]], tuple[str, datetime]] = field(
        default_factory=OrderedDict, repr=False
    )
