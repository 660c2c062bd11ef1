"""The vault: what a provider gave at a person's last sign-in, kept for applications where an administrator said so.

One row per identity (provider, issuer, subject), sealed; the refresh token never leaves it. Whoever needs a token that
is over renews it with the row locked, so that a refresh token that is good once is used once, on all instances
together. What the ledger cuts is dead here as well: a row carries the position that its sign-in was decided at.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from watchword_database import Session, transaction
from watchword_events.exports import IdentityExport, ProviderExport
from watchword_federation import token_store
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Arrived
from watchword_federation.connectors.oidc import expected_of
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import hash_of
from watchword_federation.id_tokens import named, read_header, verify_id_token
from watchword_federation.metadata import Endpoints
from watchword_federation.models import UpstreamTokens
from watchword_runtime.foreign_jwts import UnusableJwt, unverified_claims

KEEP: Final = timedelta(days=90)  # after the last sign-in, or the last renewal
RENEW_WITHIN_S: Final = 5.0  # a row and a connection are held for so long at most
_EARLY: Final = timedelta(seconds=30)  # what is over so soon is of no use to whoever asked
_OVER: Final = datetime.min.replace(tzinfo=UTC)
_LONGEST: Final = 10 * 365 * 86_400

TokenName = Literal["access_token", "id_token"]

log = structlog.get_logger()


class Kept(BaseModel):
    """The tokens of one identity. subject: how the provider names the person.  expires_at: of the access token."""

    model_config = ConfigDict(frozen=True)

    subject: str = Field(repr=False)
    access_token: str = Field(repr=False)
    expires_at: datetime | None = None
    refresh_token: str | None = Field(default=None, repr=False)
    id_token: str | None = Field(default=None, repr=False)
    scope: str | None = None

    def is_fresh(self, name: TokenName, now: datetime) -> bool:
        """Whether the token can be used for a while, as far as that is known."""
        if name == "access_token":
            return self.expires_at is None or self.expires_at > now + _EARLY
        return self.id_token is not None and _end_of(self.id_token) > now + _EARLY


def identity_key(provider_id: str, issuer: str, subject: str) -> bytes:
    """Under what the tokens of an identity are kept."""
    return hashlib.sha256("\n".join((provider_id, issuer, subject)).encode()).digest()


async def keep(federation: Federation, session: Session, arrived: Arrived, *, rev: int) -> None:
    """What the provider gave at this sign-in is kept, where its settings say so. rev: of the sign-in."""
    if arrived.granted is None:
        return
    whom, now = arrived.identity, federation.now()
    identity = identity_key(whom.provider_id, whom.issuer, whom.subject)
    provider = await federation.providers.get(whom.provider_id)
    kept = kept_of(arrived.granted.subject, arrived.granted.document, now, provider)
    earlier = await token_store.find_tokens(session, identity)
    if kept.refresh_token is None and earlier is not None and is_live(federation, earlier):
        # Some providers give one at the first sign-in only.
        kept = kept.model_copy(update={"refresh_token": opened(federation, earlier).refresh_token})
    scopes = (kept.scope or "").split() if kept.scope else provider.scopes if provider is not None else ()
    row = UpstreamTokens(
        identity=identity,
        provider_id=whom.provider_id,
        subject_hash=hash_of(kept.subject),
        sealed=await sealed(federation, identity, kept),
        is_offline="offline_access" in scopes,
        rev=rev,
        kept_at=now,
        keep_until=now + KEEP,
    )
    await token_store.put_tokens(session, row)
    log.info("upstream_tokens.kept", provider_id=whom.provider_id, renewable=kept.refresh_token is not None)


async def fresh(
    federation: Federation, provider: ProviderExport, link: IdentityExport, name: TokenName, trail: Trail
) -> Kept:
    """The person's tokens at the provider, of which the named one is good for a while, renewed if it has to be.

    Raises SignInFailed(upstream_exchange_failed).
    """
    identity = identity_key(provider.id, link.issuer, link.subject)
    async with transaction(federation.database) as session:
        await token_store.claim_owner(session, identity, link, now=federation.now())
        row = await token_store.find_tokens(session, identity)
    if row is None:
        raise _none("nothing is kept: the person has not signed in through it since its tokens are")
    if not is_live(federation, row):
        async with transaction(federation.database) as session:
            await token_store.drop_identity(session, identity, reason="revoked", now=federation.now())
        raise _none("revoked in the ledger since the person signed in through it")
    kept = opened(federation, row)
    if kept.is_fresh(name, federation.now()):
        trail.step("vault", f"{name} as kept at {row.kept_at:%Y-%m-%dT%H:%MZ}")
        return kept
    async with federation.renewals:
        return await _renewed(federation, provider, identity, name, trail)


async def _renewed(
    federation: Federation, provider: ProviderExport, identity: bytes, name: TokenName, trail: Trail
) -> Kept:
    """As `fresh`, with the row locked. A refusal by the provider is committed before it is told."""
    refused: SignInFailed | None = None
    async with transaction(federation.database) as session:
        row = await token_store.find_tokens_for_change(session, identity)
        if row is None:
            raise _none("dropped meanwhile")
        kept, now = opened(federation, row), federation.now()
        if kept.is_fresh(name, now):
            trail.step("vault", f"{name} as another request renewed it")
            return kept
        if kept.refresh_token is None:
            raise _none(f"the {name} is over, and the provider gave no refresh token (offline_access is not asked for)")
        try:
            async with asyncio.timeout(RENEW_WITHIN_S):
                renewed = await _refresh(federation, provider, kept, now)
        except TimeoutError:
            raise _none("the provider did not renew the tokens in time") from None
        except SignInFailed as error:
            if _said(error) != "invalid_grant":
                raise
            refused = error
            await token_store.drop_identity(session, identity, reason="refused", now=now)
        else:
            row.sealed = await sealed(federation, identity, renewed)
            row.keep_until = now + KEEP
    if refused is not None:
        raise _none(f"renewing: {refused.reason}")
    trail.step("vault", "renewed")
    log.info("upstream_tokens.renewed", provider_id=provider.id)
    # Some providers' tokens live for seconds: what was made at this moment is as good as it gets.
    if not renewed.is_fresh(name, now - _EARLY):
        raise _none(f"the provider gave no new {name}")
    return renewed


async def _refresh(federation: Federation, provider: ProviderExport, kept: Kept, now: datetime) -> Kept:
    """New tokens for the refresh token; one that is not rotated stays. Spec: RFC 6749 6; OpenID Connect Core 12.2."""
    endpoints = await endpoints_of(federation, provider)
    form = {"grant_type": "refresh_token", "refresh_token": kept.refresh_token or ""}
    document = await federation.requests.ask(await federation.ways.to(provider), provider, endpoints, form, now=now)
    renewed = kept_of(kept.subject, document, now, provider)
    if renewed.id_token is not None:
        await _check_same_person(federation, provider, endpoints, renewed, now)
    carried = {name: getattr(kept, name) for name in ("refresh_token", "id_token", "scope")}
    missing = {name: value for name, value in carried.items() if getattr(renewed, name) is None}
    return renewed.model_copy(update=missing)


async def _check_same_person(
    federation: Federation, provider: ProviderExport, endpoints: Endpoints, renewed: Kept, now: datetime
) -> None:
    """A renewed ID token is genuine and about the person of the first. Raises SignInFailed.

    Spec: OpenID Connect Core 12.2.
    """
    token = renewed.id_token or ""
    key = await federation.oidc.key_for(provider, endpoints, read_header(token))
    expected = replace(expected_of(provider, endpoints), nonce_policy="off")
    claims = verify_id_token(token, key, expected=expected, access_token=renewed.access_token, now=now)
    if named(str(claims["sub"]), claims, expected) != renewed.subject:
        raise SignInFailed(Failure.ID_TOKEN_INVALID, "the renewed ID token is about somebody else")


async def endpoints_of(federation: Federation, provider: ProviderExport) -> Endpoints:
    """Where a provider gives tokens. Raises SignInFailed."""
    if provider.kind == "oauth2":
        return federation.oauth2.endpoints(provider)
    return await federation.oidc.endpoints(provider)


def kept_of(subject: str, document: Mapping[str, JsonValue], now: datetime, provider: ProviderExport | None) -> Kept:
    """A token response as it is kept; its access token has been looked at, and its ID token where that can be verified.

    Spec: RFC 6749 5.1.
    """
    life = document.get("expires_in")
    seconds = life if isinstance(life, int | float) and not isinstance(life, bool) and 0 <= life <= _LONGEST else None
    return Kept(
        subject=subject,
        access_token=str(document["access_token"]),
        expires_at=None if seconds is None else now + timedelta(seconds=seconds),
        refresh_token=_text(document, "refresh_token"),
        id_token=_text(document, "id_token") if provider is not None and provider.kind == "oidc" else None,
        scope=_text(document, "scope"),
    )


def is_live(federation: Federation, row: UpstreamTokens) -> bool:
    """Whether nothing was revoked since that the tokens came from: the person's sign-ins, or the provider."""
    lineage: dict[str, object] = {"idp": row.provider_id, "rev": row.rev}
    if row.user_id is not None:
        lineage["sub"] = row.user_id
    return federation.feed.is_live(lineage)


def opened(federation: Federation, row: UpstreamTokens) -> Kept:
    """The tokens of a row. Raises SignInFailed when it was altered, or sealed with another key."""
    return Kept.model_validate_json(federation.seal.open_bytes(row.sealed, _name(row.identity)))


async def sealed(federation: Federation, identity: bytes, kept: Kept) -> bytes:
    """The tokens as they are stored."""
    return await federation.seal.seal_bytes(kept.model_dump_json().encode(), _name(identity))


def _name(identity: bytes) -> str:
    return f"tokens {identity.hex()}"


def _text(document: Mapping[str, JsonValue], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and value and value.isprintable() else None


def _end_of(id_token: str) -> datetime:
    """When a kept ID token is over; it was verified when it came."""
    try:
        seconds = unverified_claims(id_token).get("exp")
    except UnusableJwt:
        return _OVER
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else _OVER


def _said(error: SignInFailed) -> str:
    """The code with which the token endpoint refused."""
    return error.reason.removeprefix("token endpoint: ").partition(" ")[0]


def _none(reason: str) -> SignInFailed:
    return SignInFailed(Failure.UPSTREAM_EXCHANGE_FAILED, reason)
