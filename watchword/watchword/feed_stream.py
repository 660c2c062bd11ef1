"""What NATS remembers of the revocation ledger, whatever became of the table."""

from collections.abc import AsyncGenerator

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from watchword.nats_conf import FEED_STREAM
from watchword_events.revocations import RevocationEntry


async def published(js: JetStreamContext, *, most: int | None = None) -> AsyncGenerator[RevocationEntry, None]:
    """Entries as they were published, the newest first; NATS forgets them after two days. most: so many messages."""
    state = (await js.stream_info(FEED_STREAM)).state
    first = max(state.first_seq, 1) if most is None else max(state.first_seq, state.last_seq - most + 1, 1)
    for sequence in range(state.last_seq, first - 1, -1):
        try:
            message = await js.get_msg(FEED_STREAM, sequence)
            entry = RevocationEntry.model_validate_json(message.data or b"")
        except (NotFoundError, ValueError):
            continue
        yield entry
