"""Password hashing: argon2id in a few low-priority threads, so that sign-ins do not slow down tokens."""

import asyncio
import contextlib
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's minimum for argon2id: 19 MiB, 2 passes, 1 lane (17 ms a hash here).
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
LANES: Final = 1
MAX_BYTES: Final = 1024
_NICE: Final = 10


class Busy(Exception):
    """Too many passwords are waiting: answer 503 with Retry-After."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The answer about a password. new_hash: to be stored in place of the old, weaker one."""

    ok: bool
    new_hash: str | None = None


class Passwords:
    """A bounded pool that hashes and verifies passwords."""

    def __init__(self, *, threads: int = 2, queue: int = 64) -> None:
        """threads: at work at once, each with 19 MiB.  queue: waiting or at work; one more raises Busy."""
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords", initializer=_be_nice)
        self._free = queue
        # Verified when the user is unknown, so that the answer takes as long as for a known one.
        self._dummy = self._hasher.hash(secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """An argon2id hash of the password. Raises ValueError beyond 1024 bytes, Busy when the queue is full."""
        raw = password.encode()
        if len(raw) > MAX_BYTES:
            raise ValueError(f"a password has at most {MAX_BYTES} bytes")
        with self._slot():
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, raw)

    async def verify(self, stored: str | None, password: str) -> Verified:
        """Whether the password fits. stored: its hash, or None for an unknown user: the same work, never ok.

        Raises Busy when the queue is full. A password beyond 1024 bytes is wrong at once.
        """
        raw = password.encode(errors="surrogatepass")
        if len(raw) > MAX_BYTES:
            return Verified(False)
        with self._slot():
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._check, stored or self._dummy, raw)
            verified = await work
        return verified if stored else Verified(False)

    def close(self) -> None:
        """Ends the threads; what waits is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, stored: str, raw: bytes) -> Verified:
        try:
            self._hasher.verify(stored, raw)
        except (VerificationError, InvalidHashError):
            return Verified(False)
        return Verified(True, self._hasher.hash(raw) if self._hasher.check_needs_rehash(stored) else None)

    @contextlib.contextmanager
    def _slot(self):  # type: ignore[no-untyped-def]
        if self._free <= 0:
            raise Busy
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def _be_nice() -> None:
    """Lowers the priority of the calling thread (Linux counts it per thread)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
