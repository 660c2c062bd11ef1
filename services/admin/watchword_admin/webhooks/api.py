"""HTTP edge of `/api/v1/webhooks`."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, JsonValue

from watchword_admin.api import Listing
from watchword_admin.edge import Parts, not_found
from watchword_admin.merging import merged
from watchword_admin.models import Webhook
from watchword_admin.webhooks import changes, store
from watchword_admin.webhooks.deliveries import Deliveries, NotTaken
from watchword_admin.webhooks.documents import DeadLetter, NewWebhook, Replay, Tested, WebhookView, document_of, view
from watchword_admin.webhooks.refusals import webhook_refusals
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import Page

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
Members = dict[str, JsonValue]


class WebhookListing(Listing):
    """Webhooks by name."""


class DeadLetterListing(Listing):
    """Dead letters of one webhook."""


def webhook_router(parts: Parts, deliveries: Deliveries) -> APIRouter:
    """`/api/v1/webhooks`, for administrators only."""
    router = APIRouter(prefix="/api/v1/webhooks")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def add_webhook(body: NewWebhook, caller: administrator, response: Response) -> WebhookView:
        """A new webhook, which is sent what happens from now on; a generated secret is shown in this answer only."""
        with webhook_refusals():
            async with transaction(parts.database) as session:
                webhook, secret = await changes.add_webhook(session, body, seal=parts.webhook_seal, now=parts.now())
        log.info("webhook.added", webhook_id=webhook.id, name=webhook.name, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/webhooks/{webhook.id}"
        return view(webhook, secret=secret)

    @router.get("")
    async def list_webhooks(listing: Annotated[WebhookListing, Query()], _caller: administrator) -> Page[WebhookView]:
        """Webhooks in the order of their names."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_webhooks(session, after=after, limit=listing.limit + 1)
        shown = found[: listing.limit]
        more = len(found) > listing.limit
        return Page(
            items=[view(webhook) for webhook in shown],
            next=parts.cursor.make(listing.name, shown[-1].name) if more else None,
        )

    @router.get("/{webhook_id}")
    async def get_webhook(webhook_id: Id, _caller: administrator) -> WebhookView:
        """One webhook, with how far it is and what is wrong."""
        return view(await _found(webhook_id))

    @router.put("/{webhook_id}")
    async def replace_webhook(webhook_id: Id, body: NewWebhook, caller: administrator) -> WebhookView:
        """The webhook as described; what is left out returns to its default, but for the secret, which stays."""
        with webhook_refusals():
            async with transaction(parts.database) as session:
                webhook = await store.get_for_change(session, webhook_id)
                await changes.change_webhook(session, webhook, body, seal=parts.webhook_seal, now=parts.now())
        log.info("webhook.changed", webhook_id=webhook_id, fields=sorted(body.model_fields_set), **actor(caller))
        return view(webhook)

    @router.patch("/{webhook_id}")
    async def update_webhook(webhook_id: Id, body: Members, caller: administrator) -> WebhookView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        with webhook_refusals():
            async with transaction(parts.database) as session:
                webhook = await store.get_for_change(session, webhook_id)
                new = NewWebhook.model_validate(merged(document_of(webhook), body))
                await changes.change_webhook(session, webhook, new, seal=parts.webhook_seal, now=parts.now())
        log.info("webhook.changed", webhook_id=webhook_id, fields=sorted(body), **actor(caller))
        return view(webhook)

    @router.delete("/{webhook_id}", status_code=204)
    async def delete_webhook(webhook_id: Id, caller: administrator) -> None:
        """The webhook is sent nothing more."""
        with webhook_refusals():
            async with transaction(parts.database) as session:
                await session.delete(await store.get_for_change(session, webhook_id))
        log.info("webhook.deleted", webhook_id=webhook_id, **actor(caller))

    @router.post("/{webhook_id}/replay")
    async def replay_webhook(webhook_id: Id, body: Replay, caller: administrator) -> WebhookView:
        """Everything behind a number is sent again: what a receiver lost, or a dead letter's batch."""
        with webhook_refusals():
            async with transaction(parts.database) as session:
                webhook = await store.get_for_change(session, webhook_id)
                await changes.replay(session, webhook, body.after, now=parts.now())
        deliveries.look()
        log.info("webhook.replayed", webhook_id=webhook_id, after=body.after, **actor(caller))
        return view(webhook)

    @router.post("/{webhook_id}/test")
    async def try_webhook(webhook_id: Id, _caller: administrator) -> Tested:
        """A batch without items is sent at once; says whether the receiver took it."""
        webhook = await _found(webhook_id)
        try:
            await deliveries.send(webhook, [], webhook.after)
        except NotTaken as error:
            return Tested(delivered=False, error=str(error))
        return Tested(delivered=True)

    @router.get("/{webhook_id}/dead-letters")
    async def list_dead_letters(
        webhook_id: Id, listing: Annotated[DeadLetterListing, Query()], _caller: administrator
    ) -> Page[DeadLetter]:
        """Batches that were given up, the newest first."""
        await _found(webhook_id)
        name = f"{listing.name}:{webhook_id}"
        before = str(parts.cursor.read(name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.dead_letters(session, webhook_id, before=before, limit=listing.limit + 1)
        shown = found[: listing.limit]
        more = len(found) > listing.limit
        return Page(
            items=[DeadLetter.model_validate(letter.model_dump()) for letter in shown],
            next=parts.cursor.make(name, shown[-1].id) if more else None,
        )

    async def _found(webhook_id: str) -> Webhook:
        async with transaction(parts.database) as session:
            webhook = await store.find(session, webhook_id)
        if webhook is None:
            raise not_found("webhook")
        return webhook

    return router
