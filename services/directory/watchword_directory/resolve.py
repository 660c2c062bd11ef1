"""From a ticket to a person: the steps behind `/login/identity`."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

import structlog

from watchword_database import Database, Session, bus
from watchword_directory import store
from watchword_directory.last_claims import ClaimsKeeper
from watchword_directory.linking import (
    HasWayIn,
    LinkedElsewhere,
    announce_link,
    ask_for_proof,
    is_linked_unproved,
    link,
    link_proved,
)
from watchword_directory.mapping import NOTHING, Mapped, Mapper, NotLetIn
from watchword_directory.models import User
from watchword_directory.provisioning import EmailClash, announce, provision_user, refresh_profile, vouched
from watchword_directory.synchronizing import organization_of, synchronize
from watchword_directory.users import rise
from watchword_events.contracts import UserUpdated
from watchword_events.exports import ProviderExport
from watchword_events.handovers import AccountProved, Identity, LinkAccount, SignedIn, VerifiedIdentity
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
    """The person goes on at authz: with `ticket` to complete the sign-in, or to prove an account first.

    ticket: "" for whoever goes back to their account page.
    """

    step: str
    ticket: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The provider's settings do not let the person in; what it gave before was taken back. code: of the error page."""

    code: str


class Refused(Exception):
    """The sign-in ends here, and nothing of it happened. code: `account_disabled`, `account_not_linked` ….

    detail: why, where the code leaves it open; for administrators.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Desk:
    """What a sign-in is decided with. provider: through which the person came, None when nothing waits any more.

    has_way_in: whether somebody has a password or passkey at authz.
    """

    provider: ProviderExport | None
    mapper: Mapper
    last_claims: ClaimsKeeper
    feed: Feed
    has_way_in: HasWayIn


async def find_arrival(database: Database, ticket: str, *, now: datetime) -> Arrival | None:
    """The hand-over behind a ticket, not taken yet; None when it is nothing for this service."""
    if (seen := await bus.look(database, Identity, ticket)) is not None:
        repeated = seen.taken_at is not None or seen.expires_at <= now
        return Arrival(seen.payload, seen.flow, repeated, seen.payload.identity.provider_id)
    if (proved := await bus.look(database, AccountProved, ticket)) is not None:
        repeated = proved.taken_at is not None or proved.expires_at <= now
        provider_id = await store.find_pending_provider(database, proved.payload.pending_link_id)
        return Arrival(proved.payload, proved.flow, repeated, provider_id)
    return None


def is_of_this_browser(arrival: Arrival, flow_secret: str | None) -> bool:
    """Whether the flow cookie of the request is the one that the ticket was made for."""
    if flow_secret is None:
        return False
    return hmac.compare_digest(hashlib.sha256(flow_secret.encode()).hexdigest(), arrival.payload.binding)


async def receive(
    session: Session, arrival: Arrival, ticket: str, desk: Desk, *, now: datetime
) -> HandedOn | TurnedAway | None:
    """Where the person behind a ticket goes on; None when somebody else took the ticket a moment ago.

    Raises Refused. What happened is one transaction: the ticket, the user, the link, roles and groups, the next
    hand-over and the events.
    """
    feed, provider = desk.feed, desk.provider
    position = feed.position  # before anything is read that the decision rests on
    match arrival.payload:
        case Identity(binding=binding, identity=identity, solicited=solicited, upstream_session=upstream_session):
            if await bus.take(session, Identity, ticket, now=now) is None:
                return None
            if not identity.subject or not identity.issuer or provider is None:
                raise Refused("invalid_identity")
            identity = await vouched(session, identity, provider)
            try:
                mapped = desk.mapper.mapped(provider, identity, now=now)
            except NotLetIn as refusal:
                log.info("sign_in.refused", reason=refusal.code, why=str(refusal), provider_id=provider.id)
                await _take_back(session, identity, provider, desk.last_claims, now=now)
                return TurnedAway(refusal.code)
            asked = await linking_asked(session, arrival, now=now)
            if asked is not None:
                return await _link_as_asked(session, identity, desk, mapped, asked, solicited=solicited, now=now)
            user = await _user_of(session, identity, desk, mapped, solicited=solicited, now=now)
            if isinstance(user, EmailClash):
                return await _ask_for_proof(session, identity, mapped, user.user, arrival, now=now)
        case AccountProved(binding=binding, upstream_session=upstream_session) as proof:
            if await bus.take(session, AccountProved, ticket, now=now) is None:
                return None
            identity, user = await _linked_user(session, proof, desk, flow=arrival.flow, now=now)
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
        upstream_session=upstream_session,
    )
    return HandedOn("/login/complete", await bus.hand_over(session, payload, flow=arrival.flow, now=now))


async def linking_asked(session: Session, arrival: Arrival, *, now: datetime) -> LinkAccount | None:
    """Who asked in this flow, signed in at their account page, that whoever comes back is linked to them. Once."""
    waiting = await bus.take_flow(session, LinkAccount, flow=arrival.flow, now=now)
    asked = [each.payload for each in waiting if each.payload.binding == arrival.payload.binding]
    return asked[-1] if asked else None


async def _link_as_asked(
    session: Session,
    identity: VerifiedIdentity,
    desk: Desk,
    mapped: Mapped,
    asked: LinkAccount,
    *,
    solicited: bool,
    now: datetime,
) -> HandedOn:
    """The identity leads to the person who asked for it, unless it leads to somebody else. Raises Refused.

    Nobody is signed in by it: the person goes back to the account page, in the session in which they asked.
    """
    provider = desk.provider
    if provider is None or not solicited or identity.provider_id != asked.provider_id:
        raise Refused("account_not_linked", "linking was asked for through another provider, or began at this one")
    try:
        user = await store.get_user_for_change(session, asked.user_id)
    except store.UnknownUser as error:
        raise Refused("account_disabled") from error
    _check_live(desk.feed, user, provider, {"sid": asked.sid, "idp": asked.idp, "rev": asked.rev})
    made = await link(session, identity, user.id, now=now)
    if made is None:
        known = await store.find_link(session, identity)
        if known is None or known.user_id != user.id:
            log.info("identity.linked_elsewhere", provider_id=identity.provider_id, user_id=user.id)
            raise Refused("linked_elsewhere")
    else:
        announce_link(session, made)
        await desk.last_claims.keep(session, made.id, identity, now=now)
        await _give(session, user, provider, mapped, now=now)
        log.info("identity.linked", provider_id=identity.provider_id, user_id=user.id)
    return HandedOn("/account/providers?done=linked", "")


def _check_live(feed: Feed, user: User, provider: ProviderExport, asked: Mapping[str, object]) -> None:
    """Whoever was signed out, disabled or whose provider was closed since they asked, links nothing. Raises Refused.

    provider: of the identity.  asked: what the ledger compares of who asked or proved the account, beside the user.
    """
    if not user.active:
        raise Refused("account_disabled")
    rests_on = ({"sub": user.id, **asked}, {"idp": provider.id, "rev": asked["rev"]})
    if not all(map(feed.is_live, rests_on)):
        log.info("identity.not_linked", reason="revoked", user_id=user.id, provider_id=provider.id)
        raise Refused("account_not_linked", "the person was signed out meanwhile, or a provider was closed")


async def _user_of(
    session: Session,
    identity: VerifiedIdentity,
    desk: Desk,
    mapped: Mapped,
    *,
    solicited: bool,
    now: datetime,
) -> User | EmailClash:
    """The user to whom the identity leads, a new one if it leads to nobody; or whose address it has."""
    provider = desk.provider
    if provider is None:
        raise Refused("invalid_identity")
    known = await store.use_link(session, identity, now=now)
    is_new_link = False
    if known is None:
        organization = await organization_of(session, provider)
        organization_id = organization.id if organization is not None else None
        try:
            user = await provision_user(session, identity, organization_id=organization_id, now=now)
        except EmailClash as clash:
            # The same new person in another tab may have been faster; then the clash is with himself.
            known = await store.use_link(session, identity, now=now)
            if known is None:
                if not solicited:
                    # Whoever can make this browser bring an assertion must not be able to add a way into an account.
                    raise Refused(
                        "account_not_linked", "an account has the address, and the sign-in began at the provider"
                    ) from None
                if not await is_linked_unproved(session, identity, clash.user, provider, desk.has_way_in):
                    return clash
                known, is_new_link = await _linked_by_address(session, identity, clash.user, now=now), True
        else:
            made = await link(session, identity, user.id, now=now)
            if made is not None:
                await desk.last_claims.keep(session, made.id, identity, now=now)
                given = await synchronize(session, user, provider, mapped, now=now)
                announce(session, user)
                announce_link(session, made)
                given.announce(session, user)
                log.info("user.provisioned", provider_id=identity.provider_id, user_id=user.id)
                return user
            await store.drop_unused_user(session, user.id)
            known = await store.use_link(session, identity, now=now)
    if known is None:
        raise Refused("invalid_identity")
    await desk.last_claims.keep(session, known.link_id, identity, now=now)
    user = await refresh_profile(session, known.user_id, identity, now=now)
    if is_new_link or provider.sync == "every":
        await _give(session, user, provider, mapped, now=now)
    return user


async def _linked_by_address(
    session: Session, identity: VerifiedIdentity, user: User, *, now: datetime
) -> store.Leads | None:
    """To whom the identity leads: by a link that is made because of the address alone, unless there is one."""
    made = await link(session, identity, user.id, now=now)
    if made is None:
        return await store.use_link(session, identity, now=now)
    announce_link(session, made)
    log.info("identity.linked", provider_id=identity.provider_id, user_id=user.id, unproved=True)
    return store.Leads(made.id, user.id)


async def _give(session: Session, user: User, provider: ProviderExport, mapped: Mapped, *, now: datetime) -> None:
    """The user, who is locked, has what the provider gives. Appends UserUpdated when anything differs."""
    changed = await synchronize(session, user, provider, mapped, now=now)
    if not changed:
        return
    rise(user, claims=True, now=now)
    await session.flush()
    session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
    changed.announce(session, user)


async def _take_back(
    session: Session, identity: VerifiedIdentity, provider: ProviderExport, last_claims: ClaimsKeeper, *, now: datetime
) -> None:
    """Whoever is not let in any more has nothing of the provider's roles and groups, wherever else they come from."""
    known = await store.find_link(session, identity)
    if known is None:
        return
    await last_claims.keep(session, known.id, identity, now=now)
    if provider.sync == "every":
        user = await store.get_user_for_change(session, known.user_id)
        await _give(session, user, provider, NOTHING, now=now)


async def _ask_for_proof(
    session: Session, identity: VerifiedIdentity, mapped: Mapped, user: User, arrival: Arrival, *, now: datetime
) -> HandedOn:
    if not user.active:
        raise Refused("account_disabled")
    log.info("identity.proof_needed", provider_id=identity.provider_id, user_id=user.id)
    ticket = await ask_for_proof(
        session,
        identity,
        user,
        flow=arrival.flow,
        binding=arrival.payload.binding,
        mapped=mapped,
        upstream_session=arrival.payload.upstream_session,
        now=now,
    )
    return HandedOn("/login/prove", ticket)


async def _linked_user(
    session: Session, proof: AccountProved, desk: Desk, *, flow: str, now: datetime
) -> tuple[VerifiedIdentity, User]:
    """The identity that waited, linked to the account that was proved, and its user with what the provider gives."""
    provider = desk.provider
    if provider is None:
        raise Refused("account_not_linked", "the proof came too late, or was used")
    try:
        user = await store.get_user_for_change(session, proof.user_id)
        _check_live(desk.feed, user, provider, {"idp": proof.idp, "sid": proof.sid, "rev": proof.rev})
        linked = await link_proved(session, proof, flow=flow, now=now)
    except (store.UnknownUser, LinkedElsewhere) as error:
        raise Refused("account_not_linked", "the account is gone, or the identity leads to another") from error
    if linked is None:
        raise Refused("account_not_linked", "the proof is of another account, came too late or was used")
    identity, mapped = linked
    await _give(session, user, provider, mapped, now=now)
    log.info("identity.linked", provider_id=identity.provider_id, user_id=user.id)
    return identity, user
