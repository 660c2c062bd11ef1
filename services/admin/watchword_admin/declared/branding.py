"""What the installation looks like, as a declared document."""

from collections.abc import Sequence

from watchword_admin.branding import store
from watchword_admin.branding.changes import change_branding
from watchword_admin.branding.documents import BrandingDocument, document_of
from watchword_admin.models import Branding
from watchword_database import Session
from watchword_runtime.declared import Existing, Kind, Run, Written


class Brandings(Kind[BrandingDocument]):
    """The branding, of which there is one: it is found whatever it is called."""

    name = "Branding"
    model = BrandingDocument

    async def find(self, run: Run, wanted: BrandingDocument) -> Existing | None:
        """The one there is."""
        return _existing(await store.get_branding_for_change(run.session))

    async def create(self, run: Run, wanted: BrandingDocument, prepared: None) -> Written:
        """It is there from the beginning."""
        raise LookupError("there is always a branding")

    async def change(self, run: Run, existing: Existing, wanted: BrandingDocument, prepared: None) -> Written:
        """As `PUT` does."""
        branding = await store.get_branding_for_change(run.session)
        return Written(_existing(await change_branding(run.session, branding, wanted, now=run.now)))

    async def delete(self, run: Run, existing: Existing) -> None:
        """Pages and mails look as Watchword's own."""
        branding = await store.get_branding_for_change(run.session)
        await change_branding(run.session, branding, BrandingDocument(), now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """The one there is, where somebody has said anything."""
        found = await store.export_branding(session, ids=(), after=after)
        return [_existing(each) for each in found if document_of(each) != BrandingDocument()]


def _existing(branding: Branding) -> Existing:
    document = document_of(branding)
    return Existing(branding.id, document.name, document.model_dump(mode="json"))
