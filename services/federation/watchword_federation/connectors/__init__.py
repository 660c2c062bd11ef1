"""How a kind of upstream provider is spoken to: one connector per protocol, each with the same steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_federation.attempts import Trail

if TYPE_CHECKING:
    from watchword_federation.connectors.saml_library import PostedResponse


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the application asked of the sign-in, as far as the provider is told."""

    prompt: tuple[str, ...] = ()
    max_age_s: int | None = None
    acr_values: tuple[str, ...] = ()
    login_hint: str | None = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only this sign-in knows: kept sealed until the person is back."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider sent back through the browser, as it arrived. posted: a SAML response.

    state: of the flow that was found by it.  user: what Apple posts beside the code, at a person's first sign-in alone.
    """

    state: str = field(default="", repr=False)
    code: str | None = field(default=None, repr=False)
    error: str | None = None
    issuer: str | None = None
    user: str | None = field(default=None, repr=False)
    posted: "PostedResponse | None" = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Once:
    """Something that is accepted a single time. key: what it is, for all providers.  until: when it is over anyway."""

    purpose: str
    key: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """The person's session at the provider, where one can end with the other.

    subject, session: how the provider names person and session when it ends it, with the issuer where it has several.
    kept: what `log_out` needs.
    """

    subject: str = field(repr=False)
    session: str | None = field(repr=False)
    kept: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Granted:
    """What the provider's token endpoint gave, where it is kept. subject: how the provider names the person."""

    subject: str = field(repr=False)
    document: Mapping[str, JsonValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Arrived:
    """Whom the provider authenticated, and what has to be noted with it."""

    identity: VerifiedIdentity
    once: Once | None = None
    session: ProviderSession | None = None
    granted: Granted | None = None


class Connector(Protocol):
    """A protocol with upstream providers. Every step may leave a line in the attempt's trail."""

    async def depart(
        self, provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str, trail: Trail
    ) -> str:
        """Where the person is sent to. callback: where the provider sends them back to.

        Raises SignInFailed when the provider cannot be asked.
        """
        ...

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
        """Whom the provider authenticated, after every check of the protocol. Raises SignInFailed."""
        ...

    async def log_out(self, provider: ProviderExport, kept: bytes, *, state: str, now: datetime) -> str | None:
        """Where the person is sent to end their session at the provider; None where that is not offered.

        kept: of ProviderSession.  state: comes back with the answer. Raises SignInFailed.
        """
        ...
