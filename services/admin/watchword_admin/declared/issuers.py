"""Trusted issuers as declared documents."""

from collections.abc import Sequence

from watchword_admin.edge import Parts
from watchword_admin.issuers import changes, store
from watchword_admin.issuers.documents import IssuerDocument, document_of
from watchword_admin.issuers.refusals import check, issuer_refusals
from watchword_admin.models import TrustedIssuer
from watchword_database import Session
from watchword_runtime.declared import Existing, Kind, Run, Written


class Issuers(Kind[IssuerDocument]):
    """Trusted issuers, by their `iss`."""

    name = "TrustedIssuer"
    model = IssuerDocument

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, run: Run, wanted: IssuerDocument) -> Existing | None:
        """By `iss`."""
        found = await store.list_issuers(run.session, after="", limit=1, iss=wanted.iss)
        return _existing(await store.get_issuer_for_change(run.session, found[0].id)) if found else None

    async def create(self, run: Run, wanted: IssuerDocument, prepared: None) -> Written:
        """Its tokens are exchanged from now on."""
        with issuer_refusals():
            check(self._parts, wanted)
            return Written(_existing(await changes.trust_issuer(run.session, wanted, now=run.now)))

    async def change(self, run: Run, existing: Existing, wanted: IssuerDocument, prepared: None) -> Written:
        """As `PUT` does."""
        issuer = await store.get_issuer_for_change(run.session, existing.id)
        with issuer_refusals():
            check(self._parts, wanted)
            await changes.change_issuer(run.session, issuer, wanted, now=run.now)
        return Written(_existing(issuer))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is trusted no more, and everything that came of its tokens ends."""
        run.entries += await changes.remove_issuer(run.session, existing.id, feed=run.feed, now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [_existing(each) for each in await store.list_issuers_by_id(session, after=after, limit=limit)]


def _existing(issuer: TrustedIssuer) -> Existing:
    return Existing(issuer.id, issuer.iss, document_of(issuer).model_dump(mode="json"))
