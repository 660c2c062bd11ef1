"""Named SQL of the directory. `get_` raises, `find_` may return None, `claim_` changes exactly once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from watchword_database import Database, Session
from watchword_database.audit import as_json
from watchword_database.searching import holds
from watchword_directory.models import IdentityClaims, IdentityLink, PendingLink, ProviderCopy, User
from watchword_directory.ranks import EVERYTHING, Reach
from watchword_events.handovers import VerifiedIdentity

_STANDING = col(User.deleted_at).is_(None)
_COLUMNS: Final = ", ".join(User.model_fields)
_NEW_USERS: Final = text(f"""
INSERT INTO directory.users ({_COLUMNS})
SELECT {_COLUMNS} FROM jsonb_populate_recordset(NULL::directory.users, CAST(:users AS jsonb))
    ON CONFLICT DO NOTHING RETURNING id
""")
_PUT_CLAIMS: Final = text("""
INSERT INTO directory.identity_claims (identity_id, provider_id, sealed, said_at, keep_until)
VALUES (:identity_id, :provider_id, :sealed, :said_at, :keep_until)
    ON CONFLICT (identity_id) DO UPDATE
   SET sealed = excluded.sealed, said_at = excluded.said_at, keep_until = excluded.keep_until
""")
_USE_LINK: Final = text("""
UPDATE directory.identities SET last_used_at = :now
 WHERE provider_id = :provider_id AND issuer = :issuer AND subject = :subject RETURNING id, user_id
""")


class Leads(NamedTuple):
    """To whom an identity leads, and by which link."""

    link_id: str
    user_id: str


class UnknownUser(LookupError):
    """There is no such user, or no more."""


async def find_user(session: Session, user_id: str, *, by: Reach = EVERYTHING) -> User | None:
    """The user, unless unknown, deleted or beyond reach."""
    user = (await session.exec(select(User).where(col(User.id) == user_id, _STANDING))).one_or_none()
    return user if user is not None and by.has(user.organization_id) else None


async def within_reach(session: Session, user_ids: Sequence[str], by: Reach) -> set[str]:
    """Those of the users, who all exist, whose home is within reach."""
    if by.organizations is None:
        return set(user_ids)
    home = col(User.organization_id).in_(by.organizations)
    return set((await session.exec(select(col(User.id)).where(col(User.id).in_(user_ids), home))).all())


async def get_user_for_change(session: Session, user_id: str) -> User:
    """The user, locked until the end of the transaction. Raises UnknownUser."""
    statement = select(User).where(col(User.id) == user_id, _STANDING).with_for_update(key_share=True)
    user = (await session.exec(statement)).one_or_none()
    if user is None:
        raise UnknownUser(user_id)
    return user


async def is_tombstone(session: Session, user_id: str) -> bool:
    """Whether there was such a user, who has been deleted."""
    statement = select(col(User.id)).where(col(User.id) == user_id, col(User.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def find_user_by_username(session: Session, username: str) -> User | None:
    """The user with this canonical name."""
    statement = select(User).where(func.lower(col(User.username)) == username, _STANDING)
    return (await session.exec(statement)).one_or_none()


async def find_user_by_email(session: Session, email: str) -> User | None:
    """The user whose verified address this is, in canonical form."""
    statement = select(User).where(func.lower(col(User.email)) == email, col(User.email_verified), _STANDING)
    return (await session.exec(statement)).one_or_none()


async def claim_new_users(session: Session, users: Sequence[User]) -> set[str]:
    """The ids of those who exist now; name or verified address of the others belong to somebody already."""
    connection = await session.connection()
    rows = as_json([user.model_dump() for user in users])
    return set((await connection.execute(_NEW_USERS, {"users": rows})).scalars())


async def claim_new_user(session: Session, user: User) -> bool:
    """True when the user exists now; False when name or verified address belong to somebody already."""
    return bool(await claim_new_users(session, [user]))


async def drop_unused_user(session: Session, user_id: str) -> None:
    """A user whom this same transaction created, and nobody saw, is gone."""
    await session.exec(delete(User).where(col(User.id) == user_id))


async def list_users(
    session: Session,
    *,
    after: str,
    limit: int,
    by: Reach,
    username: str | None = None,
    email: str | None = None,
    organization_id: str | None = None,
    active: bool | None = None,
    search: str | None = None,
) -> Sequence[User]:
    """Users within reach in the order of their names, those after `after`. email: verified or not, in canonical form.

    search: a part of the user name, of the address or of the name, whatever its case.
    """
    name = func.lower(col(User.username))
    statement = select(User).where(_STANDING, name > after).order_by(name).limit(limit)
    if by.organizations is not None:
        statement = statement.where(col(User.organization_id).in_(by.organizations))
    if username is not None:
        statement = statement.where(name == username)
    if email is not None:
        statement = statement.where(func.lower(col(User.email)) == email)
    if organization_id is not None:
        statement = statement.where(col(User.organization_id) == organization_id)
    if active is not None:
        statement = statement.where(col(User.active) == active)
    if search is not None:
        shown = (col(User.username), col(User.email), col(User.profile)["name"].astext)
        statement = statement.where(holds(search, *shown))
    return (await session.exec(statement)).all()


async def list_users_by_id(session: Session, *, after: str, limit: int) -> Sequence[User]:
    """Users in the order of their ids, those after `after`."""
    statement = select(User).where(_STANDING, col(User.id) > after).order_by(col(User.id)).limit(limit)
    return (await session.exec(statement)).all()


async def export_users(session: Session, *, ids: Sequence[str], after: str, limit: int) -> Sequence[User]:
    """Users by their ids or, without ids, the page after an id, tombstones included."""
    statement = select(User).order_by(col(User.id)).limit(limit)
    statement = statement.where(col(User.id).in_(ids)) if ids else statement.where(col(User.id) > after)
    return (await session.exec(statement)).all()


async def release_unverified_emails(session: Session, owners: Sequence[User], *, now: datetime) -> list[User]:
    """Nobody but these owners shows their addresses any more unless verified; returns whom they were taken from."""
    statement = (
        update(User)
        .where(
            func.lower(col(User.email)).in_([owner.email for owner in owners]),
            ~col(User.email_verified),
            col(User.id).not_in([owner.id for owner in owners]),
            _STANDING,
        )
        .values(email=None, version=col(User.version) + 1, claims_version=col(User.version) + 1, updated_at=now)
        .returning(User)
    )
    return list((await session.exec(statement)).scalars().all())


async def find_link(session: Session, identity: VerifiedIdentity) -> IdentityLink | None:
    """The link of exactly this provider, issuer and subject."""
    statement = select(IdentityLink).where(
        col(IdentityLink.provider_id) == identity.provider_id,
        col(IdentityLink.issuer) == identity.issuer,
        col(IdentityLink.subject) == identity.subject,
    )
    return (await session.exec(statement)).one_or_none()


async def claim_link(session: Session, link: IdentityLink) -> bool:
    """True when the link exists now; False when its identity leads to a user already.

    Waits for another transaction that links the same identity at this moment.
    """
    statement = (
        insert(IdentityLink).values(**link.model_dump()).on_conflict_do_nothing().returning(col(IdentityLink.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def use_link(session: Session, identity: VerifiedIdentity, *, now: datetime) -> Leads | None:
    """To whom the identity leads; its link was used now. None when it leads to nobody."""
    connection = await session.connection()
    of = {"provider_id": identity.provider_id, "issuer": identity.issuer, "subject": identity.subject}
    row = (await connection.execute(_USE_LINK, {**of, "now": now})).one_or_none()
    return None if row is None else Leads(*row)


async def put_claims(session: Session, said: IdentityClaims) -> None:
    """What was said at an identity's last sign-in is this."""
    await (await session.connection()).execute(_PUT_CLAIMS, said.model_dump())


async def find_claims(session: Session, identity_id: str, *, now: datetime) -> IdentityClaims | None:
    """What was said at an identity's last sign-in, while that is kept."""
    statement = select(IdentityClaims).where(
        col(IdentityClaims.identity_id) == identity_id, col(IdentityClaims.keep_until) > now
    )
    return (await session.exec(statement)).one_or_none()


async def list_links(
    session: Session,
    *,
    after: str,
    limit: int,
    user_id: str | None = None,
    provider_id: str | None = None,
    only: bool = False,
) -> Sequence[IdentityLink]:
    """Links in the order of their ids, those after `after`. only: of users who have none of another provider
    that is open for sign-ins.
    """
    statement = select(IdentityLink).where(col(IdentityLink.id) > after).order_by(col(IdentityLink.id)).limit(limit)
    if user_id is not None:
        statement = statement.where(col(IdentityLink.user_id) == user_id)
    if provider_id is not None:
        statement = statement.where(col(IdentityLink.provider_id) == provider_id)
    if only:
        other = aliased(IdentityLink)
        elsewhere = select(other.id).where(
            col(other.user_id) == col(IdentityLink.user_id),
            col(other.provider_id) != col(IdentityLink.provider_id),
            col(other.provider_id).in_(_open_providers()),
        )
        statement = statement.where(~elsewhere.exists())
    return (await session.exec(statement)).all()


async def has_other_link(session: Session, user_id: str, link_id: str) -> bool:
    """Whether the user could sign in with another identity."""
    statement = select(col(IdentityLink.id)).where(
        col(IdentityLink.user_id) == user_id,
        col(IdentityLink.id) != link_id,
        col(IdentityLink.provider_id).in_(_open_providers()),
    )
    return (await session.exec(statement.limit(1))).one_or_none() is not None


def _open_providers() -> SelectOfScalar[str]:
    """Ids of the providers through which people may sign in now."""
    settings = col(ProviderCopy.data)
    is_open = settings["enabled"].as_boolean() & func.coalesce(settings["sign_in"].as_boolean(), True)
    return select(col(ProviderCopy.id)).where(~col(ProviderCopy.deleted), is_open)


async def find_link_by_id(session: Session, link_id: str) -> IdentityLink | None:
    """The link with this id."""
    return await session.get(IdentityLink, link_id)


async def claim_links_of(session: Session, user_id: str) -> Sequence[IdentityLink]:
    """Every link of a user, removed."""
    statement = delete(IdentityLink).where(col(IdentityLink.user_id) == user_id).returning(IdentityLink)
    return (await session.exec(statement)).scalars().all()


async def claim_removed_link(session: Session, link_id: str) -> bool:
    """True for the one transaction that removes the link."""
    statement = delete(IdentityLink).where(col(IdentityLink.id) == link_id).returning(col(IdentityLink.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def put_pending_link(session: Session, pending: PendingLink) -> None:
    """The link waits for its proof; an older one of the same flow is gone."""
    await session.exec(delete(PendingLink).where(col(PendingLink.flow) == pending.flow))
    await session.exec(insert(PendingLink).values(**pending.model_dump()))


async def find_pending_provider(database: Database, pending_id: str) -> str | None:
    """The provider of an identity that waits for its proof."""
    identity = await database.ask("SELECT identity FROM directory.pending_links WHERE id = $1", pending_id)
    return None if identity is None else VerifiedIdentity.model_validate(identity).provider_id


async def claim_pending_link(
    session: Session, pending_id: str, *, flow: str, binding: str, user_id: str, now: datetime
) -> PendingLink | None:
    """What waited for exactly this proof, once; None when it is another's, used or expired."""
    statement = (
        delete(PendingLink)
        .where(
            col(PendingLink.id) == pending_id,
            col(PendingLink.flow) == flow,
            col(PendingLink.binding) == binding,
            col(PendingLink.user_id) == user_id,
            col(PendingLink.expires_at) > now,
        )
        .returning(PendingLink)
    )
    return (await session.exec(statement)).scalar_one_or_none()
