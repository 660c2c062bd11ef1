"""What changes at admin, federation follows."""

import asyncio
import secrets
from typing import Any

from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform


async def rows(platform: Platform, statement: str, provider_id: str) -> list[Any]:
    async with platform.site.database.postgres.admin(platform.site.database.name) as connection:
        return list(await connection.fetch(statement, provider_id))


async def until(platform: Platform, statement: str, provider_id: str, wanted: list[tuple[Any, ...]]) -> None:
    """The rows become what is wanted within ten seconds."""
    found: list[tuple[Any, ...]] = []
    for _ in range(200):
        found = [tuple(row) for row in await rows(platform, statement, provider_id)]
        if found == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{found} is not {wanted}")


async def test_the_copy_follows_and_fetched_documents_are_dropped(platform: Platform, api: Api) -> None:
    provider_id = f"acme-{secrets.token_hex(4)}"
    await api.create(
        "/providers",
        id=provider_id,
        preset="oidc",
        enabled=True,
        display_name="Acme",
        issuer="https://idp.acme.test",
        client_id="us",
    )
    copied = "SELECT version, deleted, data->>'display_name' FROM federation.provider_copy WHERE id = $1"
    await until(platform, copied, provider_id, [(1, False, "Acme")])
    async with platform.site.database.postgres.admin(platform.site.database.name) as connection:
        await connection.execute(
            "INSERT INTO federation.upstream_document VALUES ($1, 'keys', 'https://idp.acme.test/keys', '{}', $2)",
            provider_id,
            utc_now(),
        )
    await api.change(f"/providers/{provider_id}", display_name="ACME")
    await until(platform, copied, provider_id, [(2, False, "ACME")])
    await until(platform, "SELECT kind FROM federation.upstream_document WHERE provider_id = $1", provider_id, [])
    await api.delete(f"/providers/{provider_id}")
    await until(platform, copied, provider_id, [(3, True, None)])
