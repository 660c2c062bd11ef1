"""Logout messages from SAML providers: who sent them is proved before anything ends.

Spec: SAML Profiles 4.4.3.3, 4.4.4; SAML Core 3.7.3; SAML Bindings 3.4, 3.5.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from watchword_events.exports import ProviderExport
from watchword_federation.connectors import Once
from watchword_federation.connectors.saml import SamlConnector, library, request_id
from watchword_federation.connectors.saml_identity import qualified
from watchword_federation.connectors.saml_idp import Idp
from watchword_federation.connectors.saml_messages import (
    Heading,
    Received,
    is_signed_by,
    logout_response,
    redirect_url,
)
from watchword_federation.connectors.saml_response import SKEW, parse_time
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import new_state

if TYPE_CHECKING:
    from watchword_federation.connectors.saml_library import LogoutMessage

# A request without an end is accepted once, and a copy of it not for this long.
_WITHOUT_END: Final = timedelta(hours=1)
_MAX_RELAY_STATE: Final = 1024  # SAML Bindings 3.4.3 allows 80 bytes; some send more


@dataclass(frozen=True, slots=True)
class LogoutAsked:
    """A provider's request to end sessions. answer: where the browser is sent when they have ended.  once: spent then.

    subject, sessions: as in ProviderSession.
    """

    subject: str
    sessions: tuple[str, ...]
    answer: str
    once: Once


@dataclass(frozen=True, slots=True)
class LogoutAnswered:
    """A provider's answer to our request. is_success: whether everything has ended there."""

    in_response_to: str
    is_success: bool


class SamlLogout:
    """Reads what providers send to our logout address."""

    def __init__(self, connector: SamlConnector) -> None:
        self._connector = connector

    async def by_redirect(
        self, provider: ProviderExport, received: Received, *, now: datetime
    ) -> LogoutAsked | LogoutAnswered:
        """What a message in a query string asks or answers. Raises SignInFailed."""
        idp = await self._idp(provider)
        _check_signer(received, idp, now)
        message = await self._connector.in_thread(library().read_logout, received.document)
        return await self._checked(provider, idp, message, received.relay_state, now=now)

    async def by_post(
        self, provider: ProviderExport, encoded: str, relay_state: str | None, *, now: datetime
    ) -> LogoutAsked | LogoutAnswered:
        """What a message in a form asks or answers. Raises SignInFailed."""
        idp, xml = await self._idp(provider), library()
        trust = xml.Trust(idp.usable(now), idp.expired(now), "response")
        raw: bytes = await self._connector.in_thread(partial(xml.open_message, encoded, trust))
        message = await self._connector.in_thread(xml.read_logout, raw)
        return await self._checked(provider, idp, message, relay_state, now=now)

    async def _idp(self, provider: ProviderExport) -> Idp:
        idp = await self._connector.sources.idp(provider)
        if idp.slo_url is None or idp.slo_response_url is None:
            raise SignInFailed(Failure.RESPONSE_INVALID, "single logout is not set up for this provider")
        return idp

    async def _checked(
        self, provider: ProviderExport, idp: Idp, message: "LogoutMessage", relay_state: str | None, *, now: datetime
    ) -> LogoutAsked | LogoutAnswered:
        """The message, once its signature was verified. Spec: SAML Core 3.7.3.2."""
        if message.issuer != idp.entity_id:
            raise SignInFailed(Failure.ISSUER_MISMATCH, "issuer of the logout message")
        # SAML Bindings 3.4.5.2, 3.5.5.2: a signed message is for the address in it.
        if message.destination != self._connector.sp.slo_url(provider):
            raise SignInFailed(Failure.RECIPIENT_MISMATCH, "destination of the logout message")
        if relay_state is not None and len(relay_state) > _MAX_RELAY_STATE:
            raise SignInFailed(Failure.RESPONSE_INVALID, "RelayState is too long")
        if not message.is_request:
            return LogoutAnswered(message.in_response_to or "", message.is_success)
        until = now + _WITHOUT_END
        if message.not_on_or_after is not None:
            until = parse_time(message.not_on_or_after, "NotOnOrAfter of the logout request")
            if now >= until + SKEW:
                raise SignInFailed(Failure.CLOCK_SKEW, "the logout request has expired")
        if message.name_id is None or message.id == "":
            raise SignInFailed(Failure.RESPONSE_INVALID, "the logout request names nobody")
        entity_id = self._connector.sp.entity_id(provider)
        return LogoutAsked(
            subject=qualified(message.name_id, issuer=idp.entity_id, sp_entity_id=entity_id),
            sessions=message.session_indexes,
            answer=await self._answer(idp, entity_id, message.id, relay_state, now),
            once=Once("saml-logout", f"{idp.entity_id}\n{message.id}", until + SKEW),
        )

    async def _answer(
        self, idp: Idp, entity_id: str, in_response_to: str, relay_state: str | None, now: datetime
    ) -> str:
        """The address with the signed answer. RelayState goes back as it came. Spec: SAML Bindings 3.4.3."""
        target = idp.slo_response_url or ""
        heading = Heading(request_id(new_state()), now, target, entity_id)
        response = logout_response(heading, in_response_to=in_response_to)
        key = (await self._connector.keys.keys()).active.private
        return redirect_url(target, "SAMLResponse", response, relay_state=relay_state, key=key)


def _check_signer(received: Received, idp: Idp, now: datetime) -> None:
    if any(is_signed_by(received, each.pem) for each in idp.usable(now)):
        return
    if any(is_signed_by(received, each.pem) for each in idp.expired(now)):
        raise SignInFailed(Failure.CERTIFICATE_EXPIRED, "signed with a certificate that has expired")
    raise SignInFailed(Failure.SIGNATURE_VALIDATION_FAILED, "no known certificate verifies the logout message")
