"""Upstream flows: what ties a provider's answer to one browser, one sign-in and one set of settings."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

import orjson

from watchword_database import Database
from watchword_database.bus import Taken
from watchword_events.exports import ProviderExport
from watchword_events.handovers import UpstreamStart
from watchword_federation.connectors import Secrets
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.models import UpstreamFlow
from watchword_runtime.keyring import Unsealable
from watchword_runtime.seal import SecretSeal

FLOW_LIFE: Final = timedelta(minutes=10)

# Settings that a person or the directory sees, but no check of a sign-in depends on.
_COSMETIC: Final = frozenset({"display_name", "order", "domains", "enabled", "sign_in"})


def new_state() -> str:
    """A fresh `state` of 256 bits; only its hash is stored."""
    return secrets.token_urlsafe(32)


def new_secrets() -> Secrets:
    """Nonce and PKCE verifier of a new sign-in, 256 bits each. Spec: RFC 7636 4.1, 7.1."""
    return Secrets(nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(32))


def hash_of(value: str) -> bytes:
    """What is stored of a `state`: its SHA-256."""
    return hashlib.sha256(value.encode()).digest()


def binding_of(secret: str) -> str:
    """What is stored of a cookie's secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_bound_to(binding: str, cookie: str | None) -> bool:
    """Whether the browser that holds this flow cookie is the one that a binding was made for."""
    if cookie is None:
        return False
    return hmac.compare_digest(binding_of(cookie).encode(), binding.encode())


def check_start(start: Taken[UpstreamStart] | None, provider_id: str, cookie: str | None) -> Taken[UpstreamStart]:
    """The hand-over of a ticket that this browser may use for this provider. Raises SignInFailed.

    cookie: the flow cookie that came with the ticket.
    """
    if start is None:
        raise SignInFailed(Failure.STATE_MISMATCH, "unknown ticket")
    if start.payload.provider_id != provider_id:
        raise SignInFailed(Failure.STATE_MISMATCH, "ticket for another provider")
    if not is_bound_to(start.payload.binding, cookie):
        raise SignInFailed(Failure.STATE_MISMATCH, "ticket of another browser")
    return start


def check_return(flow: UpstreamFlow | None, provider_id: str, mode: str, cookie: str | None) -> UpstreamFlow:
    """The flow that an answer belongs to, before anything of the answer is used. Raises SignInFailed.

    mode: how the answer came.  cookie: the flow cookie that came with it. A posted answer brings none, because Lax
    cookies do not cross sites with a POST: its ticket carries the flow's binding, and the next hop, a GET, compares.
    Each provider has a callback of its own. Spec: OpenID Connect Core 3.1.2.7; RFC 9700 4.4.2.2, 4.7.1.
    """
    if flow is None:
        raise SignInFailed(Failure.STATE_MISMATCH, "unknown state")
    if flow.provider_id != provider_id:
        raise SignInFailed(Failure.STATE_MISMATCH, "state of a sign-in through another provider")
    if flow.response_mode != mode:
        raise SignInFailed(Failure.STATE_MISMATCH, "another response mode than was asked for")
    if mode == "query" and not is_bound_to(flow.binding, cookie):
        raise SignInFailed(Failure.STATE_MISMATCH, "state of another browser")
    return flow


def configuration_of(provider: ProviderExport) -> bytes:
    """A digest of every setting that a check of the provider's answer depends on."""
    settings = provider.model_dump(mode="json", exclude=set(_COSMETIC))
    return hashlib.sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).digest()


def open_flow(
    start: Taken[UpstreamStart],
    provider: ProviderExport,
    *,
    state: str,
    sealed: bytes,
    rev: int,
    now: datetime,
) -> UpstreamFlow:
    """The row behind a `state`, open for ten minutes."""
    return UpstreamFlow(
        state_hash=hash_of(state),
        flow=start.flow,
        binding=start.payload.binding,
        provider_id=provider.id,
        configuration=configuration_of(provider),
        response_mode="saml" if provider.kind == "saml" else provider.response_mode,
        max_age_s=start.payload.max_age_s,
        sealed=sealed,
        rev=rev,
        created_at=now,
        expires_at=now + FLOW_LIFE,
        ui_locales=list(start.payload.ui_locales),
    )


def trial_flow(
    provider: ProviderExport, *, flow: str, binding: str, state: str, sealed: bytes, rev: int, now: datetime
) -> UpstreamFlow:
    """The row behind the `state` of a trial, which comes from no sign-in at Watchword."""
    return UpstreamFlow(
        state_hash=hash_of(state),
        flow=flow,
        binding=binding,
        provider_id=provider.id,
        configuration=configuration_of(provider),
        response_mode="saml" if provider.kind == "saml" else provider.response_mode,
        sealed=sealed,
        rev=rev,
        created_at=now,
        expires_at=now + FLOW_LIFE,
    )


class FlowSeal:
    """Seals what is kept of a sign-in; a database dump then holds neither nonce nor PKCE verifier nor identity."""

    def __init__(self, key: bytes, database: Database) -> None:
        """key: of the purpose "upstream-flow"."""
        self._seal = SecretSeal(key, database)

    async def seal(self, kept: Secrets, state_hash: bytes) -> bytes:
        """The sealed secrets, which open only beside this state."""
        return await self._seal.seal(f"{kept.nonce} {kept.verifier}".encode(), state_hash)

    async def seal_bytes(self, plain: bytes, name: str) -> bytes:
        """Something that opens only under the same name, for example `session` and an id."""
        return await self._seal.seal(plain, name.encode())

    def open(self, flow: UpstreamFlow) -> Secrets:
        """The secrets of a flow. Raises SignInFailed when the row was altered or sealed with another key."""
        try:
            opened = self._seal.open(flow.sealed, flow.state_hash).decode()
        except Unsealable as error:
            raise SignInFailed(Failure.STATE_MISMATCH, "the flow's secrets cannot be opened") from error
        nonce, _, verifier = opened.partition(" ")
        return Secrets(nonce=nonce, verifier=verifier)

    def open_bytes(self, sealed: bytes, name: str) -> bytes:
        """What was sealed under this name. Raises SignInFailed when the row was altered or sealed with another key."""
        try:
            return self._seal.open(sealed, name.encode())
        except Unsealable as error:
            raise SignInFailed(Failure.STATE_MISMATCH, "what was kept cannot be opened") from error
