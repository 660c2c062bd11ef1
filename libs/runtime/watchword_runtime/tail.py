"""Every event of a stream on every instance, in order, with loss made visible."""

from collections.abc import Awaitable, Callable

from watchword_runtime.broker import Broker, Received


class Tail:
    """Follows a stream; each event reaches `on_event` of every instance.

    on_resync(why): called before the first event, and whenever events may have been missed: drop or reload what was
    built from them. Events that happen meanwhile follow. An exception in either is logged and tried again.
    """

    def __init__(
        self,
        broker: Broker,
        stream: str,
        subject: str,
        on_event: Callable[[Received], Awaitable[None]],
        on_resync: Callable[[str], Awaitable[None]],
    ) -> None:
        """stream: `Service.X.stream`.  subject: for example `auth.admin.client.*`."""
        raise NotImplementedError

    @property
    def live(self) -> bool:
        """True while the stream was heard within the last three heartbeats: nothing has been missed."""
        raise NotImplementedError

    def start(self) -> None:
        """The tail follows in the background, from whenever NATS is there."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Nothing more arrives."""
        raise NotImplementedError
