"""What the control plane of this service works with, and who may call it."""

from dataclasses import dataclass

from fastapi import Request

from watchword_database import Database
from watchword_runtime.access import Caller
from watchword_runtime.callers import Callers
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClient
from watchword_runtime.receipts import Endings
from watchword_token.backchannel import Deliveries
from watchword_token.feed_api import READ_SCOPE, FeedApi
from watchword_token.keys import Keys
from watchword_token.revocation import Revoking
from watchword_token.rotation import Rotation
from watchword_token.settings import TokenSettings
from watchword_token.trial import Trials
from watchword_token.verifiers import Verifiers
from watchword_web.api import Cursor


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once, in `main`."""

    settings: TokenSettings
    database: Database
    feed: Feed
    callers: Callers
    pulls: InternalClient
    keys: Keys
    rotation: Rotation
    deliveries: Deliveries
    revoking: Revoking
    trials: Trials
    feed_api: FeedApi
    verifiers: Verifiers
    endings: Endings
    cursor: Cursor
    now: Clock

    async def feed_reader(self, request: Request) -> Caller:
        """Who calls, if it may read the feed: an administrator, or a holder of `revocations:read`. Not audited:
        a verifier says once a second how far it is.
        """
        return await self.callers.holder(request, READ_SCOPE, via=None)
