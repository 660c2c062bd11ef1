"""What stands behind a sector's address, read before a client may use the sector's names."""

import httpx2
import orjson

from watchword_admin.provider_documents import InvalidAddress
from watchword_admin.sectors import FIELD, Sectored
from watchword_runtime import outbound


class Sectors:
    """Reads what stands behind a sector's address."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        """http: the guarded client of watchword_runtime.outbound; closed by aclose()."""
        self._http = http

    async def check(self, client: Sectored) -> None:
        """The address lists every redirect URI of the client: only then may it use the sector's names.

        Raises InvalidAddress. Spec: OpenID Connect Core 8.1.
        """
        uri = client.sector_identifier_uri
        if uri is None:
            return
        try:
            listed = orjson.loads((await outbound.fetch(self._http, uri)).content)
        except (httpx2.HTTPError, TimeoutError) as error:
            known = isinstance(error, outbound.Blocked | outbound.BadAnswer)
            raise InvalidAddress(FIELD, str(error) if known else "the address does not answer") from None
        except orjson.JSONDecodeError:
            raise InvalidAddress(FIELD, "the address answers with something that is not JSON") from None
        named = {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
        if not set(client.redirect_uris) <= named:
            raise InvalidAddress(FIELD, "the address does not list every redirect URI of the client")

    async def aclose(self) -> None:
        """Connections are closed."""
        await self._http.aclose()
