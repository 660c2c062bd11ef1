"""Changes of webhooks, each in its caller's transaction."""

import secrets
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from watchword_admin.models import Webhook
from watchword_admin.webhooks import store
from watchword_admin.webhooks.documents import NewWebhook, document_of, stored
from watchword_database import Session
from watchword_database.ids import new_id
from watchword_runtime.seal import SecretSeal


class NameTaken(Exception):
    """Another webhook has this name."""


class AboutStays(Exception):
    """What a webhook is about gives its place a meaning, and is never changed."""


async def add_webhook(
    session: Session, new: NewWebhook, *, seal: SecretSeal, now: datetime
) -> tuple[Webhook, str | None]:
    """The webhook, which is sent what happens from now on, and its secret if it was generated. Raises NameTaken."""
    document, webhook_id = new.document(), new_id()
    generated = secrets.token_urlsafe(32) if new.secret is None else None
    secret = generated or (new.secret.get_secret_value() if new.secret else "")
    webhook = Webhook(
        id=webhook_id,
        name=document.name,
        enabled=document.enabled,
        document=stored(document),
        secret=await seal.seal(secret.encode(), webhook_id.encode()),
        after=await store.end_of(session, document.about),
        next_attempt_at=now,
        created_at=now,
        updated_at=now,
    )
    if not await store.claim_new(session, webhook):
        raise NameTaken(document.name)
    return webhook, generated


async def change_webhook(
    session: Session, webhook: Webhook, new: NewWebhook, *, seal: SecretSeal, now: datetime
) -> None:
    """The webhook, locked, is as described; without a secret it keeps its own. Raises NameTaken, AboutStays."""
    document = new.document()
    if document.about is not document_of(webhook).about:
        raise AboutStays
    if new.secret is not None:
        webhook.secret = await seal.seal(new.secret.get_secret_value().encode(), webhook.id.encode())
    elif document == document_of(webhook):
        return
    webhook.name, webhook.enabled, webhook.document = document.name, document.enabled, stored(document)
    webhook.updated_at = webhook.next_attempt_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken(document.name) from error


async def replay(session: Session, webhook: Webhook, after: int, *, now: datetime) -> None:
    """The webhook, locked, is sent everything behind this number again."""
    webhook.after = min(after, await store.end_of(session, document_of(webhook).about))
    webhook.attempts, webhook.failing_since, webhook.locked_until = 0, None, None
    webhook.error, webhook.next_attempt_at = None, now
    await session.flush()
