"""The guarded ways to providers: one for all, and one each for those that bring certificates of their own."""

from collections import OrderedDict
from typing import Final

import structlog
from httpx2 import AsyncClient

from watchword_events.exports import ProviderExport
from watchword_runtime import outbound
from watchword_runtime.settings import ServiceSettings

_MOST: Final = 64  # clients with certificates of their own; each holds a TLS context

log = structlog.get_logger()


class Ways:
    """Clients by what vouches for the servers at their end. All keep to the outbound guard."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._usual = outbound.client(settings)
        self._own: OrderedDict[tuple[str | None, bool], AsyncClient] = OrderedDict()

    async def to(self, provider: ProviderExport) -> AsyncClient:
        """The client to reach a provider with; it stays open until `close`.

        A provider whose certificates are not checked says so in the log, each time.
        """
        if provider.insecure_skip_verify:
            log.warning("provider.INSECURE_certificates_not_checked", provider_id=provider.id)
        elif provider.root_ca is None:
            return self._usual
        key = (provider.root_ca, provider.insecure_skip_verify)
        if key not in self._own:
            self._own[key] = outbound.client(
                self._settings, authorities=provider.root_ca, unverified=provider.insecure_skip_verify
            )
            if len(self._own) > _MOST:
                await self._own.popitem(last=False)[1].aclose()
        self._own.move_to_end(key)
        return self._own[key]

    async def close(self) -> None:
        """Every connection is closed."""
        for client in (self._usual, *self._own.values()):
            await client.aclose()
