"""Links between identities and users: made after a proof, removed while another way in remains.

An e-mail address alone links nothing, unless a provider is set up so; it only tells whom to ask for a proof, and the
proof counts for exactly one identity, one user, one flow of one browser, once.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from watchword_database import Session, bus
from watchword_database.ids import new_id
from watchword_directory import organization_table, store
from watchword_directory.mapping import NOTHING, Mapped
from watchword_directory.models import IdentityLink, PendingLink, User
from watchword_directory.provisioning import may_vouch
from watchword_directory.ranks import Rank, Reach, require_rank
from watchword_directory.standing import standing_of
from watchword_directory.users import revoke_user
from watchword_events.contracts import IdentityLinked, IdentityUnlinked
from watchword_events.exports import ProviderExport
from watchword_events.handovers import AccountProved, ProveAccount, VerifiedIdentity
from watchword_events.revocations import RevocationKind
from watchword_runtime.feed import Feed
from watchword_runtime.internal import Unreachable

# Whether somebody has a password or passkey at authz. Raises Unreachable.
HasWayIn = Callable[[str], Awaitable[bool]]
PROOF_LIFE: Final = timedelta(minutes=15)


class LastWayIn(Exception):
    """Without this link its user could not sign in any more."""


class LinkedElsewhere(Exception):
    """The identity leads to another user already."""


async def ask_for_proof(
    session: Session,
    identity: VerifiedIdentity,
    user: User,
    *,
    flow: str,
    binding: str,
    mapped: Mapped = NOTHING,
    upstream_session: str | None = None,
    now: datetime,
) -> str:
    """The ticket with which authz has the person prove the account; the identity waits, bound to this flow."""
    pending = PendingLink(
        id=new_id(),
        flow=flow,
        binding=binding,
        user_id=user.id,
        identity=_bare(identity).model_dump(mode="json"),
        mapped=mapped.model_dump(mode="json"),
        expires_at=now + PROOF_LIFE,
    )
    await store.put_pending_link(session, pending)
    payload = ProveAccount(
        binding=binding,
        user_id=user.id,
        pending_link_id=pending.id,
        provider_id=identity.provider_id,
        upstream_session=upstream_session,
    )
    return await bus.hand_over(session, payload, flow=flow, now=now)


def _bare(identity: VerifiedIdentity) -> VerifiedIdentity:
    """The key of the identity and how the person signed in, without anything else about the person."""
    return VerifiedIdentity(
        provider_id=identity.provider_id,
        issuer=identity.issuer,
        subject=identity.subject,
        auth_time=identity.auth_time,
        amr=identity.amr,
        acr=identity.acr,
    )


async def link_proved(
    session: Session, proof: AccountProved, *, flow: str, now: datetime
) -> tuple[VerifiedIdentity, Mapped] | None:
    """The identity that now leads to the user who proved the account, and what its provider gives the user.

    None when no such identity waits. Raises LinkedElsewhere. Appends IdentityLinked.
    """
    pending = await store.claim_pending_link(
        session, proof.pending_link_id, flow=flow, binding=proof.binding, user_id=proof.user_id, now=now
    )
    if pending is None:
        return None
    identity, mapped = VerifiedIdentity.model_validate(pending.identity), Mapped.model_validate(pending.mapped)
    made = await link(session, identity, proof.user_id, now=now)
    if made is not None:
        announce_link(session, made)
        return identity, mapped
    found = await store.find_link(session, identity)
    if found is None or found.user_id != proof.user_id:
        raise LinkedElsewhere(proof.user_id)
    return identity, mapped


async def is_linked_unproved(
    session: Session, identity: VerifiedIdentity, user: User, provider: ProviderExport, has_way_in: HasWayIn
) -> bool:
    """Whether the address alone leads to the user, who has the same one, verified.

    Never to somebody with rights of administration, nor from an organization's provider to somebody of another one.
    `trusted`: else always, from an organization's provider where it may vouch for the address. `verified`: when there
    is nothing to prove the account with, and the provider's organization has proved that the verified address is in a
    domain of its own.
    has_way_in: asks authz; while nobody can know what somebody has, they have something.
    """
    if provider.linking == "prove" or not user.active:
        return False
    if provider.organization is not None and user.organization_id not in (None, provider.organization):
        return False
    if (await standing_of(session, user.id)).rank() > Rank.NONE:
        return False
    if provider.linking == "trusted":
        return user.email is not None and await may_vouch(session, provider, user.email)
    if not identity.email_verified or user.email is None or provider.organization is None:
        return False
    if await store.list_links(session, after="", limit=1, user_id=user.id):
        return False
    if not await organization_table.has_proved(session, provider.organization, user.email):
        return False
    try:
        return not await has_way_in(user.id)
    except Unreachable:
        return False


async def link(session: Session, identity: VerifiedIdentity, user_id: str, *, now: datetime) -> IdentityLink | None:
    """The link by which the identity leads to the user from now on; None when it leads to one already."""
    made = IdentityLink(
        id=new_id(),
        user_id=user_id,
        provider_id=identity.provider_id,
        issuer=identity.issuer,
        subject=identity.subject,
        created_at=now,
        last_used_at=now,
    )
    return made if await store.claim_link(session, made) else None


def announce_link(session: Session, made: IdentityLink) -> None:
    """Appends IdentityLinked."""
    session.emit(IdentityLinked(id=made.id, version=1, user_id=made.user_id, provider_id=made.provider_id))


async def unlink(
    session: Session, link_id: str, *, has_way_in: bool, by: Reach, feed: Feed, now: datetime
) -> list[int] | None:
    """Ledger entries to settle once the identity leads nowhere any more; None when there is no such link.

    What was started through it ends: every session and token of the user is cut.  has_way_in: whether authz knows a
    password or passkey of theirs.  by: the caller's reach. Raises LastWayIn when the user has neither that nor another
    link of a provider that is open for sign-ins, AboveOwnRank. Appends IdentityUnlinked.
    """
    found = await store.find_link_by_id(session, link_id)
    if found is None:
        return None
    user = await store.get_user_for_change(session, found.user_id)  # one unlinking of a user at a time
    require_rank((await standing_of(session, user.id)).rank(by), by)
    if not has_way_in and not await store.has_other_link(session, user.id, link_id):
        raise LastWayIn(link_id)
    if not await store.claim_removed_link(session, link_id):
        return None
    session.emit(IdentityUnlinked(id=link_id, version=2, user_id=user.id, provider_id=found.provider_id))
    cut = RevocationKind.CUT
    return [await revoke_user(session, user.id, cut, feed=feed, reason="identity.unlinked", now=now)]
