"""Who sends: any instance, one at a time for each webhook, with a lease. A batch that fails is tried for a day."""

import asyncio
import hmac
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Final

import httpx2
import structlog

from watchword_admin.models import Webhook, WebhookDeadLetter, WebhookEvent
from watchword_admin.settings import AdminSettings
from watchword_admin.webhooks import store
from watchword_admin.webhooks.batches import Batch, next_batch
from watchword_admin.webhooks.documents import About, WebhookDocument, document_of
from watchword_database import Database, transaction
from watchword_database.ids import new_id
from watchword_database.tasks import end
from watchword_events.catalogue import BY_TYPE
from watchword_runtime import outbound
from watchword_runtime.clock import Clock
from watchword_runtime.outbound import Blocked
from watchword_runtime.retries import wait_after
from watchword_runtime.rounds import Rounds
from watchword_runtime.seal import SecretSeal
from watchword_runtime.telemetry import Telemetry
from watchword_runtime.work import Received

log = structlog.get_logger()

LEASE: Final = timedelta(seconds=30)  # longer than any attempt
_LONGEST_WAIT: Final = timedelta(minutes=10)
_AT_ONCE: Final = 16
_LOOK_EVERY_S: Final = 1.0
_SWEEP_EVERY: Final = timedelta(hours=1)
EVENTS_KEPT: Final = timedelta(days=8)  # as long as the owners keep theirs


class NotTaken(Exception):
    """The receiver did not take a batch; the text says why, without anything of it."""


class Deliveries(Rounds):
    """Sends webhooks what they want to hear."""

    def __init__(
        self, settings: AdminSettings, database: Database, seal: SecretSeal, telemetry: Telemetry, *, now: Clock
    ) -> None:
        super().__init__(every_s=_LOOK_EVERY_S, failure="webhooks.wait")
        self._settings = settings
        self._database = database
        self._seal = seal
        self._sent = telemetry.deliveries
        self._now = now
        self._http = outbound.client(settings)
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._sweep_at = now()

    async def on_events(self, received: Sequence[Received]) -> None:
        """Public events are there to be sent; the same again changes nothing."""
        about = await store.wanted(self._database)
        if not about:
            return
        now = self._now()
        events = [
            WebhookEvent(
                event_id=each.event_id,
                type=each.type,
                subject=each.subject,
                body=each.event.model_dump(mode="json"),
                at=now,
            )
            for each in received
            if (row := BY_TYPE.get(each.type)) is not None and row.public
        ]
        if events and About.EVENTS in about:
            async with transaction(self._database) as session:
                await store.add_events(session, events)
        self.look()

    async def stop(self) -> None:
        """No attempt is under way; what was begun is tried again by another instance when its lease is over."""
        await super().stop()
        await end(*self._attempts.values())
        await self._http.aclose()

    async def send(self, webhook: Webhook, items: Sequence[bytes], until: int) -> None:
        """The receiver has taken the items. Raises NotTaken."""
        document = document_of(webhook)
        body = _body(webhook, document, items, until)
        secret = self._seal.open(webhook.secret, webhook.id.encode())
        signature = f"sha256={hmac.digest(secret, body, sha256).hex()}"
        headers = {"Content-Type": "application/json", "User-Agent": "Watchword"}
        if document.dialect == "openfaas":
            headers |= {"X-Openfaas-Event": "api_access", "X-Openfaas-Signature-256": signature}
        else:
            headers |= {"Watchword-Event": document.about.value, "Watchword-Signature-256": signature}
        try:
            if document.ca_bundle is None:
                answer = await self._http.post(document.url, content=body, headers=headers)
            else:
                async with outbound.client(self._settings, authorities=document.ca_bundle) as http:
                    answer = await http.post(document.url, content=body, headers=headers)
        except Blocked:
            raise NotTaken("the address may not be reached from here: see the setting outbound_allow") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            raise NotTaken(type(error).__name__) from None
        if not answer.is_success:
            raise NotTaken(f"status {answer.status_code}")

    async def once(self) -> None:
        """What is due is on its way."""
        await self._claim()
        await self._sweep()

    async def _claim(self) -> None:
        most = _AT_ONCE - len(self._attempts)
        if most <= 0:
            return
        due = await store.claim_due(self._database, busy=list(self._attempts), most=most, lease=LEASE, now=self._now())
        for webhook_id in due:
            task = asyncio.create_task(self._attempt(webhook_id), name=f"webhook-{webhook_id}")
            self._attempts[webhook_id] = task
            task.add_done_callback(lambda done, webhook_id=webhook_id: self._over(webhook_id, done))  # type: ignore[misc]

    def _over(self, webhook_id: str, task: asyncio.Task[None]) -> None:
        del self._attempts[webhook_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook.not_noted", error=type(error).__name__)
        self.look()

    async def _attempt(self, webhook_id: str) -> None:
        async with transaction(self._database) as session:
            webhook = await store.find(session, webhook_id)
            if webhook is None:
                return
            batch = await next_batch(session, webhook, document_of(webhook), issuer=self._settings.issuer)
        about = {"webhook_id": webhook_id, "until": batch.until, "attempt": webhook.attempts}
        try:
            if batch.items:
                await self.send(webhook, batch.items, batch.until)
        except NotTaken as error:
            await self._note_failure(webhook, batch, str(error))
            self._sent["failed"] += 1
            log.warning("webhook.failed", reason=str(error), **about)
            return
        async with transaction(self._database) as session:
            await store.note_done(session, webhook, until=batch.until, now=self._now(), delivered=bool(batch.items))
        if batch.items:
            self._sent["delivered"] += 1
            log.info("webhook.delivered", items=len(batch.items), **about)

    async def _note_failure(self, webhook: Webhook, batch: Batch, why: str) -> None:
        """The batch is tried again later or, when it has failed for too long, becomes a dead letter."""
        now = self._now()
        next_at = now + wait_after(webhook.attempts, longest=_LONGEST_WAIT)
        async with transaction(self._database) as session:
            since = await store.note_failed(session, webhook, error=why, next_at=next_at, now=now)
            if now - since < self._settings.webhook_horizon:
                return
            if await store.note_done(session, webhook, until=batch.until, now=now, delivered=False, error=why):
                letter = WebhookDeadLetter(
                    id=new_id(), webhook_id=webhook.id, after=webhook.after, until=batch.until, error=why, at=now
                )
                await store.put_dead_letter(session, letter)
        log.error("webhook.given_up", webhook_id=webhook.id, after=webhook.after, until=batch.until, reason=why)

    async def _sweep(self) -> None:
        now = self._now()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_EVERY
            async with transaction(self._database) as session:
                await store.sweep_events(session, now - EVENTS_KEPT)


def _body(webhook: Webhook, document: WebhookDocument, items: Sequence[bytes], until: int) -> bytes:
    """The batch as it is signed: in OpenFaaS's dialect a list of events, else with the place that follows it."""
    joined = b",".join(items)
    if document.dialect == "openfaas":
        return b"[%b]" % joined
    return b'{"webhook":"%b","after":%d,"items":[%b]}' % (webhook.id.encode(), until, joined)
