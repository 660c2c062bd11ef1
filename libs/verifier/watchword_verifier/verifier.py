"""The verifier: is this access token good, here and now?"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar, assert_never

import structlog

from watchword_events.names import Position
from watchword_verifier.client import IssuerUnavailable
from watchword_verifier.clock import elapsed
from watchword_verifier.feeds import HttpFeed, NatsFeed
from watchword_verifier.follower import Follower, woken
from watchword_verifier.keys import KeyCache, VerificationKey
from watchword_verifier.pace import LATEST_S, Pace
from watchword_verifier.possession import NOTHING, Proofs, Shown, check_possession
from watchword_verifier.receipts import Receipts, Standing
from watchword_verifier.staleness import Policies, WhenStale
from watchword_verifier.tokens import (
    Claims,
    Expected,
    Reason,
    TokenRefused,
    check_claims,
    check_size,
    end_of,
    is_opaque,
    kid_of_opaque,
    take_apart,
)

T = TypeVar("T")

log = structlog.get_logger()

_REFRESH_KEYS_S: Final = 300.0
# The feed ends an answer at once; what it does not say (a scope that shrank, a client's new settings) waits so long.
_ANSWER_KEPT_S: Final = 30.0
_LINEAGE: Final = frozenset({"rev", "jti", "sub", "client_id"})


class _Verified(NamedTuple):
    """A token whose signature and claims were found good; only time and revocation can still end it."""

    claims: Claims
    payload: Mapping[str, object]
    key: VerificationKey
    ends_s: float


class _Answered(NamedTuple):
    """What the issuer said of an opaque token."""

    claims: Claims
    payload: Mapping[str, object]
    kid: str | None
    good_until_s: float


class Verifier:
    """Verifies access tokens of one issuer for one resource server.

    Signature and claims are checked here, revocation against the feed's state in memory. `start` before use and
    `aclose` at the end, or `async with`.
    """

    def __init__(
        self,
        issuer: str,
        audience: str | Collection[str],
        *,
        feed: HttpFeed | NatsFeed,
        name: str = "verifier",
        when_stale: WhenStale | Mapping[str, WhenStale] = WhenStale.INTROSPECT,
        staleness_bound: timedelta = timedelta(seconds=5),
        leeway: timedelta = timedelta(seconds=10),
        min_key_refetch: timedelta = timedelta(seconds=10),
        remembered_tokens: int = 20_000,
        proofs: Proofs | None = None,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """issuer, audience: what a token's iss must be, and one of which its aud must name.

        name: what the issuer calls this verifier in its receipts; registered there, or else this client's own.

        when_stale: one policy, or one by audience; of those that a token names the strictest counts.
        staleness_bound: a token whose revocation is older than this is never accepted, unless when_stale is `accept`.
        leeway: how far our clock and the issuer's may differ.  remembered_tokens: their signatures are checked once.
        proofs: how DPoP proofs are checked; without them a token that is bound to a key is refused.
        """
        audiences = frozenset({audience} if isinstance(audience, str) else audience)
        if not audiences or not all(audiences):
            raise ValueError("audience must be named: a token for another service must not be accepted here")
        self._expected = Expected(issuer.rstrip("/"), audiences, leeway.total_seconds())
        self._feed = feed
        self._http = feed if isinstance(feed, HttpFeed) else feed.http
        self._policies = Policies(audiences, when_stale)
        self._remembered = remembered_tokens
        self.proofs = proofs
        self.now = now
        self._seen: dict[bytes, _Verified] = {}
        self._answers: dict[bytes, _Answered] = {}
        self._key_hint = asyncio.Event()
        self._key_revoked = asyncio.Event()
        self._follower = Follower(
            self._http,
            lambda: self._receipts.exchange(),
            bound_s=staleness_bound.total_seconds(),
            leeway_s=leeway.total_seconds(),
            now=now,
            elapsed=elapsed,
            on_key=self._key_hint.set,
            on_revoked_key=self._on_revoked_key,
            on_jwks=self._on_jwks,
        )
        self._receipts = Receipts(
            self._http,
            name=name,
            bound_s=staleness_bound.total_seconds(),
            policies=self._policies,
            standing=lambda: Standing(self._revoked.position, self._keys.kids, self._follower.is_fresh),
        )
        self._revoked = self._follower.revoked
        self._keys = KeyCache(
            self._http.jwks,
            is_revoked=lambda kid: not self._revoked.is_live({"rev": self._revoked.position}, kid),
            min_refetch_s=min_key_refetch.total_seconds(),
            elapsed=elapsed,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_fresh(self) -> bool:
        """Whether revocations older than the staleness bound are known here: for a readiness probe."""
        return self._follower.is_fresh

    @property
    def position(self) -> Position:
        """The newest position of the revocation feed that has been applied here."""
        return self._revoked.position

    async def start(self, *, wait: timedelta = timedelta(seconds=10)) -> bool:
        """Keys and revocations are being followed; True when both have been loaded.

        Waits no longer than told: an issuer that is down must not keep this service from starting. What is verified
        before the first load is treated as stale.
        """
        self._tasks = [
            asyncio.create_task(_forever(self._follower.run)),
            asyncio.create_task(_forever(lambda: self._feed.follow(self._follower))),
            asyncio.create_task(_forever(self._follow_keys)),
        ]
        try:
            async with asyncio.timeout(wait.total_seconds()):
                has_keys = await self._keys.refresh()
                await self._follower.loaded.wait()
        except TimeoutError:
            log.warning("verifier.started_without_feed", issuer=self._expected.issuer)
            return False
        return has_keys

    async def aclose(self) -> None:
        """Nothing is accepted or followed any more, and every connection is closed."""
        self._follower.close()
        await self._receipts.leave()
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            # Again, should one be lost: before Python 3.12 asyncio.wait_for, which nats-py uses, may swallow it.
            _, running = await asyncio.wait(running, timeout=1.0)
        self._tasks = []
        await self._feed.aclose()

    async def __aenter__(self) -> "Verifier":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def verify(self, token: str, shown: Shown = NOTHING) -> Claims:
        """The claims of a good token. Raises TokenRefused with the reason.

        shown: what came with it; without that a token that is bound to a key or a certificate is refused.
        A token that has been seen costs a hash and the revocation check; its signature is not checked again.
        Spec: RFC 9068 4; RFC 8725 3; RFC 9449 7.
        """
        check_size(token)
        digest = sha256(token.encode()).digest()
        known = self._seen.get(digest)
        if known is None or self._keys.find(known.key.kid) is not known.key:
            if is_opaque(token):
                return await self._verify_opaque(token, digest, shown)
            known = await self._check(token)
            self._keep(self._seen, digest, known)
        elif self.now() >= known.ends_s:
            del self._seen[digest]
            raise TokenRefused(Reason.EXPIRED)
        if not self._revoked.is_live(known.payload, known.key.kid):
            self._seen.pop(digest, None)
            raise TokenRefused(Reason.REVOKED)
        is_bound = shown.proof is not None or "cnf" in known.payload
        if not is_bound and self._follower.is_fresh:
            return known.claims
        if is_bound:
            await check_possession(token, known.payload, shown, self.proofs, self.now())
        if not self._follower.is_fresh:
            await self._decide_stale(token, known.claims)
        # Once more: it may have been revoked while the proof was checked or the issuer asked.
        if not self._revoked.is_live(known.payload, known.key.kid):
            raise TokenRefused(Reason.REVOKED)
        return known.claims

    async def _check(self, token: str) -> _Verified:
        """RFC 9068 section 4 in its order: shape and typ, key, algorithm, signature, claims. Raises TokenRefused."""
        parts = take_apart(token)
        self._require_open()
        key = self._keys.find(parts.kid) or await self._keys.find_or_fetch(parts.kid)
        if key is None:
            # Without an answer from the issuer it may just as well be a good key.
            raise TokenRefused(Reason.UNKNOWN_KEY if self._keys.is_current else Reason.STALE, "no such key")
        # RFC 8725 3.1: the key decides on the algorithm, never the token. `none` and HMAC have no key here.
        if parts.alg != key.alg:
            raise TokenRefused(Reason.WRONG_ALGORITHM)
        if not key.verifies(parts.message, parts.signature):
            raise TokenRefused(Reason.BAD_SIGNATURE)
        payload = parts.claims()
        check_claims(payload, self._expected, self.now())
        return _Verified(Claims.of(payload), payload, key, end_of(payload) + self._expected.leeway_s)

    def _keep(self, kept: dict[bytes, T], digest: bytes, what: T) -> None:
        """The newest are kept, as many as told."""
        if self._remembered <= 0:
            return
        while len(kept) >= self._remembered:
            del kept[next(iter(kept))]
        kept[digest] = what

    async def _decide_stale(self, token: str, claims: Claims) -> None:
        """The token may be accepted although the feed is stale. Raises TokenRefused."""
        self._require_open()
        policy = self._policies.strictest(claims.audience)
        match policy:
            case WhenStale.REFUSE:
                raise TokenRefused(Reason.STALE)
            case WhenStale.ACCEPT:
                if not self._follower.has_loaded:
                    raise TokenRefused(Reason.STALE, "no revocations were ever loaded")
            case WhenStale.INTROSPECT:
                await self._introspect(token)
            case _:
                assert_never(policy)

    async def _verify_opaque(self, token: str, digest: bytes, shown: Shown) -> Claims:
        """What the issuer says of a token that only it can read, now or a little while ago. Raises TokenRefused.

        An answer is kept only with the lineage by which the feed can end it.
        """
        answered = self._answers.get(digest)
        if answered is None or not self._may_use(answered):
            asked = self.now()
            answer = await self._introspect(token)
            check_claims(answer, self._expected, self.now())
            good_until_s = min(asked + _ANSWER_KEPT_S, end_of(answer))
            answered = _Answered(Claims.of(answer), answer, kid_of_opaque(token), good_until_s)
            if answer.keys() >= _LINEAGE:
                self._keep(self._answers, digest, answered)
        if not self._revoked.is_live(answered.payload, answered.kid):
            self._answers.pop(digest, None)
            raise TokenRefused(Reason.REVOKED)
        if shown.proof is not None or "cnf" in answered.payload:
            await check_possession(token, answered.payload, shown, self.proofs, self.now())
            if not self._revoked.is_live(answered.payload, answered.kid):
                raise TokenRefused(Reason.REVOKED)
        self._require_open()
        if not self._follower.is_fresh and self._policy_of(answered) is WhenStale.REFUSE:
            raise TokenRefused(Reason.STALE)
        return answered.claims

    def _may_use(self, answered: _Answered) -> bool:
        """Whether a kept answer will do: while the feed is stale only where the policy would not ask anyway."""
        if self.now() >= answered.good_until_s:
            return False
        if self._follower.is_fresh:
            return True
        return self._follower.has_loaded and self._policy_of(answered) is not WhenStale.INTROSPECT

    def _policy_of(self, answered: _Answered) -> WhenStale:
        return self._policies.strictest(answered.claims.audience)

    async def _introspect(self, token: str) -> Mapping[str, object]:
        """What the issuer knows of an active token. Raises TokenRefused. Spec: RFC 7662 2."""
        client = self._http.client
        if client is None:
            raise TokenRefused(Reason.STALE, "introspection needs ClientCredentials")
        self._require_open()
        try:
            answer = await client.introspect(token)
        except IssuerUnavailable as error:
            raise TokenRefused(Reason.STALE, str(error)) from None
        self._require_open()
        if answer is None:
            raise TokenRefused(Reason.REVOKED, "the issuer says that it is not active")
        return answer

    def _require_open(self) -> None:
        """Raises TokenRefused from the moment that `aclose` was called."""
        if self._follower.is_closed:
            raise TokenRefused(Reason.STALE, "the verifier is closed")

    def _on_revoked_key(self) -> None:
        self._key_revoked.set()
        self._key_hint.set()

    def _on_jwks(self, name: str) -> None:
        if name and name != self._keys.name:
            self._key_hint.set()

    async def _follow_keys(self) -> None:
        """The JWKS is read every few minutes, and at once after a hint that a key has changed.

        Until it shows no key that was revoked: an instance that has not heard of that yet may answer first. What
        hints say is not believed, and many in a row are one a second.
        """
        hints, again, read_at = Pace(), Pace(), float("-inf")
        loop = asyncio.get_running_loop()
        while True:
            await woken(self._key_hint, _REFRESH_KEYS_S)
            self._key_hint.clear()
            self._key_revoked.clear()
            is_soon = loop.time() - read_at < 2 * LATEST_S
            is_behind = not await self._keys.refresh() or self._keys.is_behind
            self._follower.report_soon()
            read_at = loop.time()
            if is_behind:
                self._key_hint.set()
                await asyncio.sleep(again.pause_s)
            else:
                hints.reported(news=is_soon)
                await woken(self._key_revoked, hints.pause_s)
            again.reported(news=is_behind)


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """The work goes on, whatever happens to it: a follower that died would leave the feed stale for good."""
    while True:
        try:
            await work()
        except Exception:  # whatever it was, it must be seen and must not end this
            log.exception("verifier.task_failed")
        await asyncio.sleep(1.0)
