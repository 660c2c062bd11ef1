"""What may be used once (proofs, assertions): noted where a service likes, and it holds for all of them."""

from collections.abc import Awaitable, Callable

# (purpose, key, until when in seconds since 1970): whether this is its first use, in any service and instance.
Spend = Callable[[str, str, float], Awaitable[bool]]
