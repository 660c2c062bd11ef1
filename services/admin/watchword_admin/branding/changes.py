"""The change of the branding, in its caller's transaction, with its event."""

from datetime import datetime

from watchword_admin.branding.documents import BrandingDocument, document_of
from watchword_admin.models import Branding
from watchword_database import Session
from watchword_events.contracts import BrandingChanged
from watchword_web.images import Image


async def change_branding(
    session: Session, branding: Branding, document: BrandingDocument, *, now: datetime
) -> Branding:
    """Pages and mails look as described. branding: locked. Nothing happens when nothing differs.

    Appends BrandingChanged.
    """
    if document == document_of(branding):
        return branding
    branding.document = document.model_dump(mode="json", exclude={"logo"})
    branding.logo = Image.from_data_url(document.logo).body if document.logo else None
    branding.version += 1
    branding.updated_at = now
    await session.flush()
    session.emit(BrandingChanged(id=branding.id, version=branding.version))
    return branding
