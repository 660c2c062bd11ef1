"""What clients registered, as an instance remembers it."""

import asyncio

from watchword_events.names import Service
from watchword_testkit.databases import TestDatabase
from watchword_token.registered import Registered


async def test_what_is_registered_while_the_copy_is_read_is_not_forgotten(database: TestDatabase) -> None:
    """A reading that began before tells of before; the next one tells of everything."""
    origins = Registered(database.open(Service.TOKEN), "allowed_origins")
    origins.add(["https://gone.example"])
    async with database.postgres.admin(database.name) as admin:
        async with admin.transaction():
            await admin.execute("LOCK TABLE token.client_copy IN ACCESS EXCLUSIVE MODE")
            reading = asyncio.create_task(origins.reload())
            await asyncio.sleep(0.2)
            origins.add(["https://new.example"])
        await reading
    assert origins.known == {"https://new.example"}
    await origins.reload()
    assert origins.known == frozenset()
