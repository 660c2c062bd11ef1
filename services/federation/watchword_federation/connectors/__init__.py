"""How a kind of upstream provider is spoken to: one connector per protocol, each with the same two steps."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity


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
    """What the provider sent back through the browser, as it arrived."""

    code: str | None = field(default=None, repr=False)
    error: str | None = None
    issuer: str | None = None


class Connector(Protocol):
    """A protocol with upstream providers."""

    async def depart(
        self, provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str
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
    ) -> VerifiedIdentity:
        """Whom the provider authenticated, after every check of the protocol. Raises SignInFailed."""
        ...
