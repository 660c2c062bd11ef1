"""What the HTTP edge of this service works with, and how its refusals look."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from watchword_admin import store
from watchword_admin.clients import BuiltIn, LastSecret, PublicClient, ShortNameTaken
from watchword_admin.live import Live
from watchword_admin.organizations import BeyondReach, NoSuchOrganization
from watchword_admin.presets import Presets
from watchword_admin.provider_documents import InvalidAddress, ProviderDocument
from watchword_admin.providers import ProviderExists, StillOpen
from watchword_admin.registration.documents import Documents
from watchword_admin.sector_addresses import Sectors
from watchword_admin.settings import AdminSettings
from watchword_database import Database
from watchword_events.exports import InvitationExport, OrganizationExport
from watchword_policy.scopes import EVENTS_SCOPE
from watchword_runtime.access import Access, Caller
from watchword_runtime.callers import Callers
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClients
from watchword_runtime.passwords import Passwords
from watchword_runtime.receipts import Endings
from watchword_runtime.seal import SecretSeal
from watchword_web.addresses import address_prefix, client_address
from watchword_web.api import Cursor
from watchword_web.errors import Problem
from watchword_web.limits import Limiter

# Metadata of a provider, of 256 KiB, as a form encodes it.
PROVIDER_BODY = 768 * 1024


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once, in `main`. console_calls, registrations: how often one address may ask for a page of the console, and
    call `/oauth2/register`.  invitation: asks authz whether people can be invited.
    """

    settings: AdminSettings
    database: Database
    feed: Feed
    internal: InternalClients
    access: Access
    organizations: Copy[OrganizationExport]
    callers: Callers
    endings: Endings
    passwords: Passwords
    cursor: Cursor
    seal: SecretSeal
    client_seal: SecretSeal
    webhook_seal: SecretSeal
    sectors: Sectors
    live: Live
    now: Clock
    console_calls: Limiter
    presets: Presets
    documents: Documents
    registrations: Limiter
    invitation: Callable[[], Coroutine[Any, Any, InvitationExport]]

    def address(self, request: Request) -> str:
        """Under which the caller's address is limited."""
        peer = request.client.host if request.client else None
        found = client_address(request.scope["headers"], peer, self.settings.trusted_proxies)
        return address_prefix(found)

    async def listener(self, request: Request) -> Caller:
        """Who calls, if they may follow the events: an administrator, or a holder of `watchword:events`."""
        return await self.callers.holder(request, EVENTS_SCOPE)

    def check_addresses(self, document: ProviderDocument) -> None:
        """Raises InvalidAddress when this installation would not call one of the provider's addresses."""
        demo = self.settings.environment == "demo"
        document.check_addresses(allowed=self.settings.outbound_allow, demo=demo)

    async def require_invitation(self) -> None:
        """Raises Problem (409) when people cannot be invited by mail."""
        invitation = await self.invitation()
        if not invitation.are_allowed:
            raise Problem(409, "Nobody can be invited", "Local passwords or invitations are switched off.")
        if not invitation.are_sent:
            raise Problem(409, "Nobody can be invited", "There is no mail server.")


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
    except NoSuchOrganization:
        error = "there is no such organization"
        raise Problem(
            400, "The request is not valid", errors=[{"pointer": "#/organization", "detail": error}]
        ) from None
    except BeyondReach:
        error = "say one that the caller administers"
        raise Problem(
            403, "Not allowed", f"organization: {error}.", errors=[{"pointer": "#/organization", "detail": error}]
        ) from None
    except StillOpen:
        error = "people are invited when the provider is disabled"
        raise Problem(400, "The request is not valid", errors=[{"pointer": "#/enabled", "detail": error}]) from None
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
