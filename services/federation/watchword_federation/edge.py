"""What the HTTP edge of this service works with, and what every step of a sign-in does around itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse
from pydantic import JsonValue
from starlette.responses import Response

from watchword_database import Database, Session, bus
from watchword_database.ids import new_id
from watchword_events.exports import IdentityExport, ProviderExport
from watchword_events.handovers import Identity
from watchword_federation import store
from watchword_federation.attempts import Trail, record
from watchword_federation.connectors import Arrived, Connector, ProviderSession
from watchword_federation.connectors.oauth2 import OAuth2Connector
from watchword_federation.connectors.oidc import OidcConnector
from watchword_federation.connectors.saml import SamlConnector
from watchword_federation.connectors.saml_logout import SamlLogout
from watchword_federation.connectors.token_requests import TokenRequests
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import FlowSeal, hash_of
from watchword_federation.models import UpstreamSession
from watchword_federation.settings import FederationSettings
from watchword_runtime.audit_log import AuditLog
from watchword_runtime.callers import Callers
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.feed import Feed
from watchword_runtime.internal import Unreachable
from watchword_web.addresses import address_prefix, client_address
from watchword_web.api import Cursor
from watchword_web.cookies import Cookies
from watchword_web.limits import Limiter
from watchword_web.pages import Pages
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface

REFRESH_WITHIN_S: Final = 1.0
KEEP_SESSIONS: Final = timedelta(days=90)  # no session here lasts longer

FindIdentities = Callable[[str], Awaitable[Sequence[IdentityExport]]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Federation:
    """Made once, in `main`. connectors: by the provider's kind.  oidc, oauth2, saml: the same ones, by their names;
    logout: what it says of sign-outs.  renewals: how many kept tokens are renewed at once.  identities_of: those that
    lead to a user.
    """

    settings: FederationSettings
    database: Database
    providers: Copy[ProviderExport]
    connectors: Mapping[str, Connector]
    oidc: OidcConnector
    oauth2: OAuth2Connector
    saml: SamlConnector
    logout: SamlLogout
    ways: Ways
    requests: TokenRequests
    seal: FlowSeal
    feed: Feed
    cookies: Cookies
    pages: Pages
    callers: Callers
    cursor: Cursor
    forms_key: bytes
    limiter: Limiter
    renewals: asyncio.Semaphore
    identities_of: FindIdentities
    audit: AuditLog
    now: Clock

    def callback_of(self, provider: ProviderExport) -> str:
        """Where a provider sends people back to: what is registered there, letter by letter."""
        if provider.kind == "saml":
            return self.saml.sp.acs_url(provider)
        return f"{self.settings.public_url}/api/auth/sso/callback/{quote(provider.id, safe='')}"

    def redirect(self, path: str, **query: str) -> Response:
        """303 to a path of ours."""
        suffix = f"?{urlencode(query)}" if query else ""
        return RedirectResponse(f"{self.settings.public_url}{path}{suffix}", 303)

    def limit(self, request: Request, surface: Surface = Surface.PAGE) -> None:
        """Raises PageError or Problem (429) for an address that asks too often."""
        peer = request.client.host if request.client else None
        address = client_address(request.scope["headers"], peer, self.settings.trusted_proxies)
        self.limiter.check(address_prefix(address), self.now(), surface)

    async def refresh(self, provider_id: str) -> None:
        """The copy has the provider as its owner has it now, if the owner answers soon; events bring changes otherwise.

        A provider that was switched off or removed while the person was there must not sign them in (Casdoor
        CVE-2026-9098), and an event takes a few milliseconds, or as long as NATS is away.
        """
        with suppress(Unreachable, TimeoutError):
            async with asyncio.timeout(REFRESH_WITHIN_S):
                await self.providers.pull([provider_id])

    async def usable_provider(self, provider_id: str, rev: int) -> ProviderExport:
        """The provider, if people may sign in through it. rev: as below.  Raises SignInFailed(provider_disabled)."""
        provider = await self.known_provider(provider_id, rev)
        if not provider.enabled or not provider.sign_in:
            raise SignInFailed(Failure.PROVIDER_DISABLED, "not enabled for sign-in")
        return provider

    async def known_provider(self, provider_id: str, rev: int) -> ProviderExport:
        """The provider as the copy and the ledger have it at this moment.

        Raises SignInFailed(provider_disabled), and FeedAway (503) while nobody can know what was revoked.
        rev: the position that was applied when the sign-in began; a provider that was distrusted since is refused.
        """
        provider = await self.providers.get(provider_id)
        if provider is None or provider.id != provider_id or provider.kind not in self.connectors:
            raise SignInFailed(Failure.PROVIDER_DISABLED, "no such provider")
        if self.feed.is_revoked({"idp": provider_id, "rev": rev}):
            raise SignInFailed(Failure.PROVIDER_DISABLED, "revoked in the ledger")
        return provider

    @asynccontextmanager
    async def attempt(
        self, request: Request, provider_id: str, *, action: str = "sign_in.refused", user_id: str | None = None
    ) -> AsyncIterator[Trail]:
        """The trail of one step of a sign-in: one that fails here leaves a line in the log, and its steps.

        action: as what the failure stands in the audit log.  user_id: whom it is about, where that is known.
        """
        trail = Trail()
        try:
            yield trail
        except SignInFailed as error:
            trail.step("refused", error.reason)
            log.warning(
                f"upstream_{action.removeprefix('upstream_')}",
                provider_id=provider_id[:64],
                failure=error.failure.value,
                detail=error.reason,
            )
            with suppress(Unreachable):
                if await self.providers.get(provider_id) is not None:
                    reason = error.failure.value
                    self.audit.note(action, user_id=user_id, provider_id=provider_id, reason=reason)
                    await record(
                        self.database,
                        trail,
                        provider_id=provider_id,
                        reference=reference_of(request.scope),
                        failure=error.failure.value,
                        now=self.now(),
                    )
            raise

    async def note_arrival(self, session: Session, arrived: Arrived) -> None:
        """What may be presented once has been. Raises SignInFailed(state_mismatch) when it was before."""
        once = arrived.once
        if once is not None and not await bus.spend(session, purpose=once.purpose, key=once.key, expires_at=once.until):
            raise SignInFailed(Failure.STATE_MISMATCH, "this very assertion was accepted before")

    async def hand_on(
        self,
        session: Session,
        arrived: Arrived,
        *,
        flow: str,
        binding: str,
        began: datetime,
        solicited: bool = True,
        ui_locales: Sequence[str] = (),
        steps: Sequence[dict[str, JsonValue]] = (),
    ) -> str:
        """The ticket with which directory learns whom the provider authenticated. began: when the sign-in did.

        steps: of the attempt, for the case that directory refuses it.

        Raises SignInFailed(access_denied) when the provider has ended its session since.
        """
        provider_id, kept = arrived.identity.provider_id, arrived.session
        upstream_session = None if kept is None else await self._keep(session, provider_id, kept, began)
        payload = Identity(
            binding=binding,
            identity=arrived.identity,
            solicited=solicited,
            upstream_session=upstream_session,
            ui_locales=tuple(ui_locales),
            steps=tuple(steps),
        )
        log.info("upstream_sign_in.verified", provider_id=provider_id)
        return await bus.hand_over(session, payload, flow=flow, now=self.now())

    async def _keep(self, session: Session, provider_id: str, kept: ProviderSession, began: datetime) -> str:
        """Our name for the session at the provider, noted so that one can end with the other. Raises SignInFailed."""
        now, session_id = self.now(), new_id()
        subject_hash, session_hash = hash_of(kept.subject), None if kept.session is None else hash_of(kept.session)
        if await store.has_ended(
            session, provider_id, subject_hash=subject_hash, session_hash=session_hash, since=began
        ):
            raise SignInFailed(Failure.ACCESS_DENIED, "the provider ended its session while the sign-in was on its way")
        session.add(
            UpstreamSession(
                id=session_id,
                provider_id=provider_id,
                subject_hash=subject_hash,
                session_hash=session_hash,
                sealed=await self.seal.seal_bytes(kept.kept, f"session {session_id}"),
                created_at=now,
                keep_until=now + KEEP_SESSIONS,
            )
        )
        return session_id
