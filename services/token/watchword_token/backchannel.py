"""Back-channel logout: clients are told that a session ended, until they have heard it or a day has passed.

`session.ended` makes a row for each client that took part in the session and wants to hear of it. Any instance tries
what is due: it has the row for the length of a lease, so that what a dead instance began is tried again by another.
Every attempt carries a fresh logout token. Spec: OpenID Connect Back-Channel Logout 1.0.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import httpx2
import orjson
import structlog
from sqlalchemy import text

from watchword_database import Database, Session, transaction
from watchword_database.ids import new_id
from watchword_database.tasks import end
from watchword_events.contracts import SessionEnded
from watchword_events.exports import ClientExport
from watchword_runtime.clock import Clock
from watchword_runtime.outbound import Blocked
from watchword_runtime.retries import wait_after
from watchword_runtime.rounds import Rounds
from watchword_runtime.work import Received
from watchword_token.encoding import b64url
from watchword_token.keys import Keys
from watchword_token.models import Delivery, DeliveryState
from watchword_token.tokens import compact_aside

log = structlog.get_logger()

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TYPE: Final = "logout+jwt"
LIFE_S: Final = 120  # Back-Channel Logout 1.0 2.4 recommends two minutes at most
LEASE: Final = timedelta(seconds=30)  # longer than any attempt
_LONGEST_WAIT: Final = timedelta(hours=1)
_AT_ONCE: Final = 32
_AT_ONCE_PER_CLIENT: Final = 4  # one that hangs must not hold up the others
_LOOK_EVERY_S: Final = 1.0
_SWEEP_EVERY_S: Final = 3600.0
KEPT: Final = {DeliveryState.DELIVERED: timedelta(days=7), DeliveryState.DEAD: timedelta(days=30)}

_PARTIES: Final = text("SELECT DISTINCT client_id FROM token.grants WHERE sid = :sid")
_ADD: Final = text("""
INSERT INTO token.deliveries (id, sid, client_id, user_id, state, attempts, created_at, next_attempt_at, give_up_at)
VALUES (:id, :sid, :client_id, :user_id, 'pending', 0, :now, :now, :give_up_at)
ON CONFLICT (sid, client_id) DO NOTHING
""")
# Once a second, mostly to find nothing: therefore a plain statement.
_CLAIM: Final = """
UPDATE token.deliveries SET locked_until = $2, attempts = attempts + 1
 WHERE id IN (SELECT id FROM token.deliveries
               WHERE state = 'pending' AND next_attempt_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
                 AND client_id <> ALL ($3)
               ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING id, sid, client_id, user_id, attempts, give_up_at
"""
# Only while the lease is still ours: attempts has risen when another instance took over.
_NOTE: Final = text("""
UPDATE token.deliveries
   SET state = :state, next_attempt_at = :next, locked_until = NULL, error = :error, ended_at = :ended_at
 WHERE id = :id AND attempts = :attempts AND state = 'pending'
""")
_REPLAY: Final = text("""
UPDATE token.deliveries
   SET state = 'pending', next_attempt_at = :now, give_up_at = :give_up_at, locked_until = NULL, ended_at = NULL
 WHERE id = :id AND state = 'dead' RETURNING id
""")
_SWEEP: Final = text("DELETE FROM token.deliveries WHERE state = :state AND ended_at < :before")

FindClient = Callable[[str], Awaitable[ClientExport | None]]


class NotHeard(Exception):
    """The client did not take it; the text says why, without anything of the request."""


class Deliveries(Rounds):
    """Tells clients that sessions ended."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        find_client: FindClient,
        http: httpx2.AsyncClient,
        *,
        name: Callable[[str | None, str], str],
        issuer: str,
        horizon: timedelta,
        counted: Counter[str],
        now: Clock,
    ) -> None:
        """http: the guarded client of watchword_runtime.outbound.  name: what a sector's clients call a user.  horizon:
        how long a client is tried to be told.  counted: attempts, by outcome.
        """
        super().__init__(every_s=_LOOK_EVERY_S, failure="deliveries.wait")
        self._database = database
        self._keys = keys
        self._find_client = find_client
        self._http = http
        self._name = name
        self._issuer = issuer
        self._horizon = horizon
        self._counted = counted
        self._now = now
        self._busy: Counter[str] = Counter()
        self._attempts: set[asyncio.Task[None]] = set()
        self._sweep_at = now()

    async def on_sessions(self, received: Sequence[Received]) -> None:
        """Whoever took part in a session that ended is going to be told. The same event again changes nothing."""
        now = self._now()
        async with transaction(self._database) as session:
            for each in received:
                if isinstance(each.event, SessionEnded):
                    await self._add(session, each.event, now)
        self.look()

    async def _add(self, session: Session, event: SessionEnded, now: datetime) -> None:
        connection = await session.connection()
        for (client_id,) in (await connection.execute(_PARTIES, {"sid": event.id})).all():
            client = await self._find_client(client_id)
            if client is None or client.backchannel_logout_uri is None:
                continue
            parameters = {"id": new_id(), "sid": event.id, "client_id": client_id, "user_id": event.user_id}
            await connection.execute(_ADD, {**parameters, "now": now, "give_up_at": now + self._horizon})

    async def replay(self, session: Session, delivery_id: str) -> bool:
        """With this transaction one that was given up is tried again; False when there is none such."""
        connection = await session.connection()
        now = self._now()
        parameters = {"id": delivery_id, "now": now, "give_up_at": now + self._horizon}
        return (await connection.execute(_REPLAY, parameters)).one_or_none() is not None

    async def stop(self) -> None:
        """No attempt is under way; what was begun is tried again by another instance when its lease is over."""
        await super().stop()
        await end(*self._attempts)
        await self._http.aclose()

    async def once(self) -> None:
        """What is due is on its way."""
        await self._keys.loaded.wait()
        await self._claim()
        await self._sweep()

    async def _claim(self) -> None:
        most = _AT_ONCE - len(self._attempts)
        if most <= 0:
            return
        now = self._now()
        busy = [client_id for client_id, count in self._busy.items() if count >= _AT_ONCE_PER_CLIENT]
        pool = await self._database.raw_pool()
        rows = await pool.fetch(_CLAIM, now, now + LEASE, busy, min(most, _AT_ONCE_PER_CLIENT))
        for row in rows:
            delivery = Delivery(**row)
            self._busy[delivery.client_id] += 1
            task = asyncio.create_task(self._attempt(delivery))
            self._attempts.add(task)
            task.add_done_callback(partial(self._over, delivery.client_id))
        if rows:
            self.look()

    def _over(self, client_id: str, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._busy[client_id] -= 1
        if not self._busy[client_id]:
            del self._busy[client_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery.not_noted", error=type(error).__name__)
        self.look()

    async def _attempt(self, delivery: Delivery) -> None:
        about = {"sid": delivery.sid, "client_id": delivery.client_id, "attempt": delivery.attempts}
        try:
            client = await self._find_client(delivery.client_id)
            if client is None or not client.enabled or client.backchannel_logout_uri is None:
                await self._note(delivery, DeliveryState.DEAD, "the client no longer wants to hear of it")
                return
            await self._post(client.backchannel_logout_uri, await self.logout_token(delivery, client))
        except NotHeard as error:
            now = self._now()
            next_at = now + wait_after(delivery.attempts, longest=_LONGEST_WAIT)
            state = DeliveryState.PENDING if now < delivery.give_up_at else DeliveryState.DEAD
            await self._note(delivery, state, str(error), next_attempt_at=next_at)
            outcome = "failed" if state is DeliveryState.PENDING else "given_up"
            self._counted[outcome] += 1
            log.warning(f"logout.{outcome}", reason=str(error), **about)
        else:
            await self._note(delivery, DeliveryState.DELIVERED, None)
            self._counted["delivered"] += 1
            log.info("logout.delivered", **about)

    async def logout_token(self, delivery: Delivery, client: ClientExport) -> bytes:
        """A fresh logout token for one attempt. Spec: OpenID Connect Back-Channel Logout 1.0 2.4; RFC 8725 3.11."""
        key = await self._keys.signer(client.id_token_signed_response_alg)
        now_s = int(self._now().timestamp())
        header = b64url(orjson.dumps({"alg": key.alg, "typ": TYPE, "kid": key.kid}))
        claims = {
            "iss": self._issuer,
            "aud": client.client_id,
            "iat": now_s,
            "exp": now_s + LIFE_S,
            "jti": new_id(),
            "sub": self._name(client.sector, delivery.user_id),
            "sid": delivery.sid,
            "events": {EVENT: {}},
        }
        return await compact_aside(key, header, orjson.dumps(claims))

    async def _post(self, uri: str, token: bytes) -> None:
        """The client has heard it. Raises NotHeard. Spec: OpenID Connect Back-Channel Logout 1.0 2.5, 2.8."""
        try:
            answer = await self._http.post(uri, data={"logout_token": token.decode()})
        except Blocked:
            raise NotHeard("the address may not be reached from here: see the setting outbound_allow") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            raise NotHeard(type(error).__name__) from None
        if answer.status_code not in {200, 204}:
            raise NotHeard(f"status {answer.status_code}")

    async def _note(
        self, delivery: Delivery, state: DeliveryState, error: str | None, *, next_attempt_at: datetime | None = None
    ) -> None:
        now = self._now()
        async with transaction(self._database) as session:
            await (await session.connection()).execute(
                _NOTE,
                {
                    "id": delivery.id,
                    "attempts": delivery.attempts,
                    "state": state.value,
                    "error": error,
                    "next": next_attempt_at or now,
                    "ended_at": None if state is DeliveryState.PENDING else now,
                },
            )

    async def _sweep(self) -> None:
        now = self._now()
        if now < self._sweep_at:
            return
        self._sweep_at = now + timedelta(seconds=_SWEEP_EVERY_S)
        async with transaction(self._database) as session:
            connection = await session.connection()
            for state, kept in KEPT.items():
                await connection.execute(_SWEEP, {"state": state.value, "before": now - kept})
