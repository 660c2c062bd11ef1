"""Who has to prove a second factor: whoever has one, and whom a requirement of the installation names.

A requirement counts at once: what was granted in a session of one factor ends with it, and the session itself is good
for nothing that it covers until the person has stepped up.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from watchword_authz import requirement_store
from watchword_authz.consent import end_each
from watchword_authz.models import FactorRequirement, UserSession
from watchword_authz.sessions import SignIn
from watchword_database.engine import Database, Session
from watchword_database.ids import new_id
from watchword_events.exports import UserExport
from watchword_policy.assurance import TWO_FACTORS, level_of
from watchword_runtime.feed import Feed


class AppliesTo(StrEnum):
    """Of whom a second factor is demanded: of everybody, of an organization's people, of who uses a client."""

    INSTALLATION = "installation"
    ORGANIZATION = "organization"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Need:
    """What a person with one factor so far has and has to have. is_demanded: by a requirement."""

    has_factor: bool
    is_demanded: bool


def is_enough(amr: Collection[str], *, is_remembered: bool) -> bool:
    """Whether a sign-in is one of two factors where that is demanded. is_remembered: a device stood in for the second.

    An identity provider that says that it asked for two is believed.
    """
    return is_remembered or level_of(amr) == TWO_FACTORS


async def need_of(database: Database, user: UserExport, *, client_id: str | None) -> Need:
    """What there is about one person, and the client that they want to use."""
    has_factor, is_demanded = await requirement_store.look_up(
        database, user.id, organizations=_organizations(user), client_id=client_id
    )
    return Need(has_factor, is_demanded)


async def lacks_factor(database: Database, who: SignIn, user: UserExport, *, client_id: str | None) -> bool:
    """Whether a second factor is still to come."""
    if is_enough(who.amr, is_remembered=who.is_remembered):
        return False
    need = await need_of(database, user, client_id=client_id)
    return need.has_factor or need.is_demanded


async def is_still_enough(session: Session, signed_in: UserSession, user: UserExport, *, client_id: str) -> bool:
    """Whether the factors of a session are as many as are demanded, and stay so until the transaction ends."""
    if is_enough(signed_in.amr, is_remembered=signed_in.is_remembered):
        return True
    await requirement_store.hold(session)
    return not await requirement_store.is_demanded(session, organizations=_organizations(user), client_id=client_id)


async def demand(
    session: Session, applies_to: AppliesTo, entity_id: str, *, feed: Feed, now: datetime
) -> tuple[FactorRequirement, list[int]] | None:
    """The requirement, and the ledger entries of what ended with it, to settle; None when it stood already."""
    row = FactorRequirement(id=new_id(), applies_to=applies_to.value, entity_id=entity_id, created_at=now)
    if not await requirement_store.claim_new(session, row):
        return None
    covered = await requirement_store.list_covered_grants(session, row, now)
    # A session that is gone says nothing of its factors: what came of it ends as well.
    short = [gid for gid, amr, is_remembered in covered if not is_enough(amr, is_remembered=is_remembered)]
    over = await requirement_store.claim_grants(session, short)
    entries = await end_each(session, over, reason="factor.required", feed=feed, now=now)
    return row, entries


def _organizations(user: UserExport) -> Sequence[str]:
    """Those that the person belongs to or has a role in."""
    home = () if user.organization is None else (user.organization,)
    return (*home, *(each.organization for each in user.organizations))
