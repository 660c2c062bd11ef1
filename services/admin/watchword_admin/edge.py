"""What the HTTP edge of this service works with, and how its refusals look."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from watchword_admin import store
from watchword_admin.clients import BuiltIn, LastSecret, PublicClient, ShortNameTaken
from watchword_admin.live import Live
from watchword_admin.provider_documents import InvalidAddress, ProviderDocument
from watchword_admin.providers import ProviderExists, SecretSeal
from watchword_admin.settings import AdminSettings
from watchword_database import Database
from watchword_runtime.access import Access, AccessDenied, Caller
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.passwords import Passwords
from watchword_web.addresses import address_prefix, client_address
from watchword_web.api import Cursor
from watchword_web.errors import Problem
from watchword_web.forms import read_query
from watchword_web.limits import Limiter
from watchword_web.surfaces import Surface

EVENTS_SCOPE = "watchword:events"


class LedgerAway(ConnectionError):
    """What has been revoked cannot be known at this moment: nobody is taken for live, and nobody for dead."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once, in `main`. refused: how often one address may call the API without a credential."""

    settings: AdminSettings
    database: Database
    feed: Feed
    access: Access
    passwords: Passwords
    cursor: Cursor
    seal: SecretSeal
    live: Live
    now: Clock
    refused: Limiter
    console_calls: Limiter

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
        return await self._caller(request, "")

    async def listener(self, request: Request) -> Caller:
        """Who calls, if they may follow the events: an administrator, or a holder of `watchword:events`."""
        return await self._caller(request, EVENTS_SCOPE)

    async def _caller(self, request: Request, scope: str) -> Caller:
        self.require_ledger()
        read_query(request)  # a repeated parameter is refused before two readers could each see another value
        try:
            caller = await self.access.caller(request.headers)
            return caller.require_scope(scope) if scope else caller.require_administrator()
        except AccessDenied as denied:
            if denied.status == 401:
                self.refused.check(self.address(request), self.now(), Surface.API)
            title = "Not signed in" if denied.status == 401 else "Not allowed"
            raise Problem(denied.status, title, denied.description, headers=denied.headers) from denied

    def check_addresses(self, document: ProviderDocument) -> None:
        """Raises InvalidAddress when this installation would not call one of the provider's addresses."""
        demo = self.settings.environment == "demo"
        document.check_addresses(allowed=self.settings.outbound_allow, demo=demo)


def actor(caller: Caller) -> Mapping[str, str | None]:
    """Who did it, for the log."""
    return {"by_user": caller.user_id, "by_client": caller.client_id, "by_key": caller.api_key_id}


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Broken rules of this service become problem documents. what: `client` or `provider`."""
    try:
        yield
    except ValidationError as invalid:
        problems: Sequence[dict[str, object]] = [
            {**problem, "loc": ("body", *problem["loc"])} for problem in invalid.errors(include_input=False)
        ]
        raise RequestValidationError(problems) from None
    except store.Unknown:
        raise not_found(what) from None
    except ShortNameTaken:
        error = "another client has this short name"
        raise Problem(409, "Already taken", errors=[{"pointer": "#/short_name", "detail": error}]) from None
    except ProviderExists:
        raise Problem(
            409, "Already configured", errors=[{"pointer": "#/id", "detail": "a provider has this id already"}]
        ) from None
    except InvalidAddress as wrong:
        raise Problem(
            400, "The request is not valid", errors=[{"pointer": f"#/{wrong.field}", "detail": str(wrong)}]
        ) from None
    except BuiltIn:
        raise Problem(409, "Built in", "The console's own client cannot be changed.") from None
    except PublicClient:
        detail = "Its token_endpoint_auth_method is none: it has no use for a secret."
        raise Problem(409, "A client without secrets", detail) from None
    except LastSecret:
        detail = "Without it the client could not authenticate. Add another first."
        raise Problem(409, "The last secret", detail) from None


def not_found(what: str) -> Problem:
    """The 404 of one kind of thing."""
    return Problem(404, f"No such {what}", f"There is no {what} with this id.")
