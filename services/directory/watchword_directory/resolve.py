"""From a ticket to a person: the steps behind `/login/identity`."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

import structlog

from watchword_database import Session, bus
from watchword_directory import store
from watchword_directory.linking import LinkedElsewhere, announce_link, ask_for_proof, link, link_proved
from watchword_directory.models import User
from watchword_directory.provisioning import EmailClash, announce, provision_user, refresh_profile
from watchword_events.handovers import AccountProved, Identity, SignedIn, VerifiedIdentity
from watchword_runtime.feed import Feed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A ticket as it arrived. repeated: it was taken before, or its time is over.

    provider_id: through which the person came; None when nothing waits for the proof any more.
    """

    payload: Identity | AccountProved
    flow: str
    repeated: bool
    provider_id: str | None


@dataclass(frozen=True, slots=True)
class HandedOn:
    """The person goes on at authz: with `ticket` to complete the sign-in, or to prove an account first."""

    step: str
    ticket: str


class Refused(Exception):
    """The sign-in ends here. code: `account_disabled`, `provider_disabled`, `account_not_linked` …."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def find_arrival(session: Session, ticket: str, *, now: datetime) -> Arrival | None:
    """The hand-over behind a ticket, not taken yet; None when it is nothing for this service."""
    if (seen := await bus.peek(session, Identity, ticket)) is not None:
        repeated = seen.taken_at is not None or seen.expires_at <= now
        return Arrival(seen.payload, seen.flow, repeated, seen.payload.identity.provider_id)
    if (proved := await bus.peek(session, AccountProved, ticket)) is not None:
        repeated = proved.taken_at is not None or proved.expires_at <= now
        provider_id = await store.find_pending_provider(session, proved.payload.pending_link_id)
        return Arrival(proved.payload, proved.flow, repeated, provider_id)
    return None


def is_of_this_browser(arrival: Arrival, flow_secret: str | None) -> bool:
    """Whether the flow cookie of the request is the one that the ticket was made for."""
    if flow_secret is None:
        return False
    return hmac.compare_digest(hashlib.sha256(flow_secret.encode()).hexdigest(), arrival.payload.binding)


async def receive(session: Session, arrival: Arrival, ticket: str, *, feed: Feed, now: datetime) -> HandedOn | None:
    """Where the person behind a ticket goes on; None when somebody else took the ticket a moment ago.

    Raises Refused. What happened is one transaction: the ticket, the user, the link, the next hand-over and the events.
    """
    position = feed.position  # before anything is read that the decision rests on
    match arrival.payload:
        case Identity(binding=binding, identity=identity):
            if await bus.take(session, Identity, ticket, now=now) is None:
                return None
            user = await _user_of(session, identity, now=now)
            if isinstance(user, EmailClash):
                return await _ask_for_proof(session, identity, user.user, arrival, now=now)
        case AccountProved(binding=binding) as proof:
            if await bus.take(session, AccountProved, ticket, now=now) is None:
                return None
            identity, user = await _linked_user(session, proof, flow=arrival.flow, now=now)
        case _:
            assert_never(arrival.payload)
    if not feed.is_live({"idp": identity.provider_id, "rev": position}):
        raise Refused("provider_disabled")
    if not user.active or not feed.is_live({"sub": user.id, "rev": position}):
        log.info("sign_in.refused", reason="account_disabled", user_id=user.id, provider_id=identity.provider_id)
        raise Refused("account_disabled")
    payload = SignedIn(
        binding=binding,
        user_id=user.id,
        user_version=user.version,
        claims_version=user.claims_version,
        provider_id=identity.provider_id,
        issuer=identity.issuer,
        auth_time=identity.auth_time,
        amr=identity.amr,
        acr=identity.acr,
    )
    return HandedOn("/login/complete", await bus.hand_over(session, payload, flow=arrival.flow, now=now))


async def _user_of(session: Session, identity: VerifiedIdentity, *, now: datetime) -> User | EmailClash:
    """The user to whom the identity leads, a new one if it leads to nobody; or whose address it has."""
    if not identity.subject or not identity.issuer:
        raise Refused("invalid_identity")
    known = await store.find_link(session, identity)
    if known is None:
        try:
            user = await provision_user(session, identity, now=now)
        except EmailClash as clash:
            # The same new person in another tab may have been faster; then the clash is with himself.
            known = await store.find_link(session, identity)
            if known is None:
                return clash
        else:
            made = await link(session, identity, user.id, now=now)
            if made is not None:
                announce(session, user)
                announce_link(session, made)
                log.info("user.provisioned", provider_id=identity.provider_id, user_id=user.id)
                return user
            await store.drop_unused_user(session, user.id)
            known = await store.find_link(session, identity)
    if known is None:
        raise Refused("invalid_identity")
    await store.touch_link(session, known.id, now=now)
    return await refresh_profile(session, known.user_id, identity, now=now)


async def _ask_for_proof(
    session: Session, identity: VerifiedIdentity, user: User, arrival: Arrival, *, now: datetime
) -> HandedOn:
    if not user.active:
        raise Refused("account_disabled")
    log.info("identity.proof_needed", provider_id=identity.provider_id, user_id=user.id)
    binding = arrival.payload.binding
    ticket = await ask_for_proof(session, identity, user, flow=arrival.flow, binding=binding, now=now)
    return HandedOn("/login/prove", ticket)


async def _linked_user(
    session: Session, proof: AccountProved, *, flow: str, now: datetime
) -> tuple[VerifiedIdentity, User]:
    """The identity that waited, linked to the account that was proved, and its user."""
    user = await store.find_user(session, proof.user_id)
    if user is None:
        raise Refused("account_not_linked")
    try:
        identity = await link_proved(session, proof, flow=flow, now=now)
    except LinkedElsewhere as error:
        raise Refused("account_not_linked") from error
    if identity is None:
        raise Refused("account_not_linked")
    log.info("identity.linked", provider_id=identity.provider_id, user_id=user.id)
    return identity, user
