"""SAML 2.0 providers: a request by redirect, a response by POST, every answer checked before it is used.

The XML libraries are imported when the first SAML provider is used, not before: everything else works without them.
Spec: SAML Profiles 4.1, 4.4; SAML Bindings 3.4, 3.5.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import orjson
import structlog
from anyio import CapacityLimiter, to_thread

from watchword_events.exports import ProviderExport
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Answer, Arrived, Once, ProviderSession, Secrets, Wishes
from watchword_federation.connectors.saml_identity import qualified, saml_identity
from watchword_federation.connectors.saml_idp import Idp, saml_of
from watchword_federation.connectors.saml_keys import KeyStore
from watchword_federation.connectors.saml_messages import Heading, authn_request, logout_request, redirect_url
from watchword_federation.connectors.saml_response import (
    Accepted,
    Expected,
    NameId,
    check_response,
    check_status,
    redacted,
)
from watchword_federation.connectors.saml_sources import Sources
from watchword_federation.connectors.saml_sp import ServiceProvider
from watchword_federation.failures import Failure, SignInFailed
from watchword_runtime.clock import Clock

if TYPE_CHECKING:
    from watchword_federation.connectors.saml_library import OpenedResponse, PostedResponse

# XML is checked outside the event loop, two at a time; who waits longer than the queue is told to come again.
_AT_ONCE: Final = 2
_WAITING: Final = 64
LOGOUT_LIFE: Final = timedelta(minutes=5)

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


class SamlConnector:
    """The connector of every provider that speaks SAML."""

    def __init__(self, sources: Sources, keys: KeyStore, sp: ServiceProvider, now: Clock) -> None:
        self.sources, self.keys, self.sp = sources, keys, sp
        self._now = now
        self._limiter: CapacityLimiter | None = None

    async def depart(
        self, provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str, trail: Trail
    ) -> str:
        """The provider's single sign-on address with an AuthnRequest, signed where it wants that. Raises SignInFailed.

        callback: the ACS address.  Spec: SAML Core 3.4.1; SAML Bindings 3.4.
        """
        library()  # who cannot check an answer does not ask
        idp = await self.sources.idp(provider)
        now = self._now()
        if not idp.usable(now):
            raise SignInFailed(Failure.CERTIFICATE_EXPIRED, "every certificate of the provider has expired")
        saml = saml_of(provider)
        request = authn_request(
            Heading(request_id(state), now, idp.sso_url, self.sp.entity_id(provider)),
            acs_url=callback,
            name_id_format=saml.name_id_format,
            # SAML knows no max_age and no choice of accounts: only a new authentication is certainly recent enough, and
            # certainly lets the person be another.
            force=bool({"login", "select_account"}.intersection(wishes.prompt)) or wishes.max_age_s is not None,
            passive="none" in wishes.prompt,
            contexts=saml.authn_context,
        )
        key = (await self.keys.keys()).active.private if idp.wants_signed_requests else None
        trail.step("request", f"{'signed' if key else 'unsigned'} AuthnRequest to {idp.sso_url}")
        return redirect_url(idp.sso_url, "SAMLRequest", request, key=key)

    async def arrive(
        self,
        provider: ProviderExport,
        answer: Answer,
        *,
        secrets: Secrets,
        callback: str,
        max_age_s: int | None,
        now: datetime,
        trail: Trail,
    ) -> Arrived:
        """Whom the provider authenticated in answer to our request. Raises SignInFailed."""
        if answer.posted is None:
            raise SignInFailed(Failure.RESPONSE_INVALID, "no SAMLResponse")
        return await self.receive(
            provider,
            answer.posted,
            request=request_id(answer.state),
            acs_url=callback,
            max_age_s=max_age_s,
            now=now,
            trail=trail,
        )

    async def receive(
        self,
        provider: ProviderExport,
        posted: "PostedResponse",
        *,
        request: str | None,
        acs_url: str,
        max_age_s: int | None = None,
        now: datetime,
        trail: Trail,
    ) -> Arrived:
        """Whom the provider authenticated. The order is the security argument: nothing is read before it is verified.

        request: the id of our AuthnRequest; None for a sign-in that began at the provider.  Raises SignInFailed.
        """
        idp = await self.sources.idp(provider)
        keys = (await self.keys.keys()).for_opening()
        trail.step("trust", _certificates(idp, now))
        check_status(posted.envelope)
        opened, idp = await self._opened(provider, posted, idp, keys, now=now, trail=trail)
        trail.step("signature", f"verified with certificate {opened.signer.fingerprint[:16]}")
        trail.step("assertion", "; ".join(redacted(opened.assertion)))
        expected = Expected(
            issuer=idp.entity_id,
            entity_id=self.sp.entity_id(provider),
            acs_url=acs_url,
            request_id=request,
            max_age_s=max_age_s,
            authn_context=saml_of(provider).authn_context,
        )
        accepted = check_response(opened.envelope, opened.assertion, expected, now=now)
        trail.step("conditions", "issuer, audience, recipient, times and request fit")
        await self.in_thread(opened.confirm, expected)
        return self._arrived(provider, idp, opened, accepted, now)

    def _arrived(
        self, provider: ProviderExport, idp: Idp, opened: "OpenedResponse", accepted: Accepted, now: datetime
    ) -> Arrived:
        assertion = opened.assertion
        identity = saml_identity(
            provider,
            saml_of(provider),
            assertion,
            sp_entity_id=self.sp.entity_id(provider),
            auth_time=accepted.auth_time,
            now=now,
        )
        session, name_id = None, assertion.name_id
        if idp.slo_url is not None and name_id is not None:
            parts = (name_id.value, name_id.format, name_id.name_qualifier, name_id.sp_name_qualifier)
            session = ProviderSession(
                subject=qualified(name_id, issuer=idp.entity_id, sp_entity_id=self.sp.entity_id(provider)),
                session=assertion.session_index,
                kept=orjson.dumps([*parts, assertion.session_index]),
            )
        # SAML Profiles 4.1.4.5: a bearer assertion is accepted once, until nobody would accept it anyway.
        once = Once("saml-assertion", f"{idp.entity_id}\n{assertion.id}", accepted.good_until)
        return Arrived(identity, once, session)

    async def _opened(
        self,
        provider: ProviderExport,
        posted: "PostedResponse",
        idp: Idp,
        keys: Sequence[tuple[str, str]],
        *,
        now: datetime,
        trail: Trail,
    ) -> tuple["OpenedResponse", Idp]:
        """The response, its signature verified; with the provider's metadata read again if its key is new."""
        try:
            return await self._open(provider, posted, idp, keys, now), idp
        except SignInFailed as error:
            if error.failure not in {Failure.SIGNATURE_VALIDATION_FAILED, Failure.CERTIFICATE_EXPIRED}:
                raise
            again = await self.sources.idp_again(provider)
            if again is None or again.certificates == idp.certificates:
                raise
        trail.step("trust", f"metadata read again: {_certificates(again, now)}")
        return await self._open(provider, posted, again, keys, now), again

    async def _open(
        self,
        provider: ProviderExport,
        posted: "PostedResponse",
        idp: Idp,
        keys: Sequence[tuple[str, str]],
        now: datetime,
    ) -> "OpenedResponse":
        saml = saml_of(provider)
        trust = library().Trust(idp.usable(now), idp.expired(now), saml.signature, saml.require_encryption)
        return await self.in_thread(posted.open, trust, keys=keys)

    async def read(self, document: str) -> "PostedResponse":
        """A response as it came, of which nothing is trusted yet. Raises SignInFailed."""
        posted: PostedResponse = await self.in_thread(library().read_response, document)
        return posted

    async def log_out(self, provider: ProviderExport, kept: bytes, *, state: str, now: datetime) -> str | None:
        """The provider's logout address with a signed LogoutRequest; None where it has none. Raises SignInFailed.

        Spec: SAML Profiles 4.4.3.1, 4.4.4.1; SAML Core 3.7.1.
        """
        idp = await self.sources.idp(provider)
        if idp.slo_url is None:
            return None
        name_id, session_index = kept_session(kept)
        message = logout_request(
            Heading(request_id(state), now, idp.slo_url, self.sp.entity_id(provider)),
            name_id=name_id,
            session_index=session_index,
            until=now + LOGOUT_LIFE,
        )
        # SAML Profiles 4.4.4.1: the requester has to be authenticated.
        return redirect_url(idp.slo_url, "SAMLRequest", message, key=(await self.keys.keys()).active.private)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What a call of `saml_library` gives, outside the event loop. Raises TimeoutError when too many wait."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(_AT_ONCE)
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise TimeoutError("too many SAML messages are being checked")
        return await to_thread.run_sync(partial(call, *args, **named), limiter=self._limiter)


def request_id(state: str) -> str:
    """The ID of the message that belongs to a state; an NCName may not begin with a digit."""
    return f"_{state}"


def state_of(in_response_to: str) -> str:
    """The state that an answer names; "" for an ID that none of our messages has."""
    return in_response_to[1:] if in_response_to.startswith("_") else ""


def kept_session(kept: bytes) -> tuple[NameId, str | None]:
    """What was kept of a provider's session: whom it calls the person, and the session's index."""
    *parts, session_index = orjson.loads(kept)
    return NameId(*parts), session_index


def _certificates(idp: Idp, now: datetime) -> str:
    listed = [f"{each.fingerprint[:16]} until {each.not_after:%Y-%m-%d}" for each in idp.certificates]
    return f"entity {idp.entity_id}; {len(idp.usable(now))} usable of: {', '.join(listed)}"


def library() -> ModuleType:
    """The module with the XML libraries. Raises SignInFailed(saml_unavailable) when they cannot be loaded.

    They are compiled, and must share one libxml2: a mismatch raises what is no ImportError.
    """
    try:
        from watchword_federation.connectors import saml_library
    except Exception as error:
        log.error("saml.unavailable", error=f"{type(error).__name__}: {error}"[:300])
        raise SignInFailed(Failure.SAML_UNAVAILABLE, f"the XML libraries: {type(error).__name__}") from error
    return saml_library
