"""What the control plane of this service works with, and who may call it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from watchword_database import Database
from watchword_runtime.access import Access, AccessDenied, Caller
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_token.feed_api import READ_SCOPE, FeedApi
from watchword_token.keys import Keys
from watchword_token.revocation import Revoking
from watchword_token.settings import TokenSettings
from watchword_web.addresses import address_prefix, client_address
from watchword_web.api import Cursor
from watchword_web.errors import Problem
from watchword_web.forms import read_query
from watchword_web.limits import Limiter
from watchword_web.surfaces import Surface


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once, in `main`. refused: how often one address may call in vain."""

    settings: TokenSettings
    database: Database
    feed: Feed
    access: Access
    keys: Keys
    revoking: Revoking
    feed_api: FeedApi
    cursor: Cursor
    now: Clock
    refused: Limiter

    async def administrator(self, request: Request) -> Caller:
        """Who calls, if that is an administrator. Raises Problem: 401 without a live credential, 403 for others.

        The caller is known by the credential alone; nothing of the body or the query says who somebody is.
        """
        return await self.caller(request, "")

    async def feed_reader(self, request: Request) -> Caller:
        """Who calls, if it may read the feed. Raises Problem as above."""
        return await self.caller(request, READ_SCOPE)

    async def caller(self, request: Request, scope: str) -> Caller:
        """Who calls, if it holds the scope or is an administrator ("" for the latter). Raises Problem as above."""
        read_query(request)  # a repeated parameter is refused before two readers could each see another value
        try:
            caller = await self.access.caller(request.headers)
            return caller.require_scope(scope) if scope else caller.require_administrator()
        except AccessDenied as denied:
            peer = request.client.host if request.client else None
            address = client_address(request.scope["headers"], peer, self.settings.trusted_proxies)
            self.refused.check(address_prefix(address), self.now(), Surface.API)
            title = "Not signed in" if denied.status == 401 else "Not allowed"
            raise Problem(denied.status, title, denied.description, headers=denied.headers) from denied


def actor(caller: Caller) -> Mapping[str, str | None]:
    """Who did it, for the log."""
    return {"by_user": caller.user_id, "by_client": caller.client_id, "by_key": caller.api_key_id}
