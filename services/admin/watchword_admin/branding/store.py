"""Named SQL of the branding, of which there is one."""

from collections.abc import Sequence

from sqlmodel import col, select

from watchword_admin.models import Branding
from watchword_database import Session


async def get_branding(session: Session) -> Branding:
    """The one there is."""
    return (await session.exec(select(Branding))).one()


async def get_branding_for_change(session: Session) -> Branding:
    """The same, locked until the end of the transaction."""
    return (await session.exec(select(Branding).with_for_update())).one()


async def export_branding(session: Session, *, ids: Sequence[str], after: str) -> Sequence[Branding]:
    """By its id or, without ids, as the page after an id."""
    wanted = col(Branding.id).in_(ids) if ids else col(Branding.id) > after
    return (await session.exec(select(Branding).where(wanted))).all()
