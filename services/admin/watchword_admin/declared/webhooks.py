"""Webhooks as declared documents."""

from collections.abc import Sequence

from watchword_admin.edge import Parts
from watchword_admin.models import Webhook
from watchword_admin.webhooks import changes, store
from watchword_admin.webhooks.documents import NewWebhook, document_of
from watchword_admin.webhooks.refusals import webhook_refusals
from watchword_database import Session
from watchword_runtime.declared import Existing, Kind, Run, Written


class Webhooks(Kind[NewWebhook]):
    """Webhooks, by their name."""

    name = "Webhook"
    model = NewWebhook
    secrets = ("secret",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, run: Run, wanted: NewWebhook) -> Existing | None:
        """By `name`."""
        found = await store.find_by_name(run.session, wanted.name)
        return None if found is None else _existing(await store.get_for_change(run.session, found.id))

    async def create(self, run: Run, wanted: NewWebhook, prepared: None) -> Written:
        """It is sent what happens from now on."""
        with webhook_refusals():
            made, secret = await changes.add_webhook(run.session, wanted, seal=self._parts.webhook_seal, now=run.now)
        return Written(_existing(made), secret=secret)

    async def change(self, run: Run, existing: Existing, wanted: NewWebhook, prepared: None) -> Written:
        """As `PUT` does; a secret is written only when that was asked for."""
        webhook = await store.get_for_change(run.session, existing.id)
        new = wanted if run.set_secrets else wanted.model_copy(update={"secret": None})
        with webhook_refusals():
            await changes.change_webhook(run.session, webhook, new, seal=self._parts.webhook_seal, now=run.now)
        return Written(_existing(webhook))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is sent nothing more."""
        await run.session.delete(await store.get_for_change(run.session, existing.id))
        await run.session.flush()

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [_existing(each) for each in await store.list_by_id(session, after=after, limit=limit)]


def _existing(webhook: Webhook) -> Existing:
    return Existing(webhook.id, webhook.name, document_of(webhook).model_dump(mode="json"), has_secret=True)
