"""Named SQL of SAML: our keys, and what is known of providers."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from pydantic import JsonValue
from sqlalchemy import case, delete, false, func, null, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Database, Session
from watchword_federation.models import SamlKey, SamlProvider

_LIST_KEYS: Final = f"SELECT {', '.join(SamlKey.model_fields)} FROM federation.saml_key ORDER BY id DESC"

# keys ----------------------------------------------------------------------------------------------------------------


async def list_keys(database: Database) -> list[SamlKey]:
    """All keys, newest first."""
    return [SamlKey(**row) for row in await (await database.raw_pool()).fetch(_LIST_KEYS)]


async def claim_new_key(session: Session, row: SamlKey) -> bool:
    """True when the key exists now; False when another one has its state, of which there is only one."""
    statement = insert(SamlKey).values(**row.model_dump()).on_conflict_do_nothing().returning(col(SamlKey.id))
    return (await session.exec(statement)).one_or_none() is not None


async def claim_activation(session: Session, key_id: str, *, now: datetime) -> bool:
    """True when the next key is the active one now, and the one that was is a previous one."""
    found = select(col(SamlKey.id)).where(col(SamlKey.id) == key_id, col(SamlKey.state) == "next").with_for_update()
    if (await session.exec(found)).one_or_none() is None:
        return False
    retire = update(SamlKey).where(col(SamlKey.state) == "active").values(state="previous", changed_at=now)
    await session.exec(retire)
    await session.exec(update(SamlKey).where(col(SamlKey.id) == key_id).values(state="active", changed_at=now))
    return True


async def claim_removal(session: Session, key_id: str) -> bool:
    """True when the key is gone; False for the active one."""
    statement = delete(SamlKey).where(col(SamlKey.id) == key_id, col(SamlKey.state) != "active")
    return (await session.exec(statement)).rowcount == 1


# providers -----------------------------------------------------------------------------------------------------------


async def find_provider(session: Session, provider_id: str) -> SamlProvider | None:
    """What is known of a provider."""
    return await session.get(SamlProvider, provider_id, populate_existing=True)


async def claim_fetch(
    session: Session, provider_id: str, url: str, *, unverified: bool, unless_since: datetime, now: datetime
) -> bool:
    """True for the one caller that fetches metadata from this URL; False when somebody tried after `unless_since`.

    What was fetched from another URL is forgotten, and what came from a server that nobody vouched for, unless it may
    still come so.
    """
    statement = insert(SamlProvider).values(provider_id=provider_id, url=url, tried_at=now)
    moved = col(SamlProvider.url).is_distinct_from(statement.excluded.url)
    if not unverified:
        moved = or_(moved, col(SamlProvider.unverified))

    def kept(column: object) -> object:
        return case((moved, null()), else_=column)

    claim = statement.on_conflict_do_update(
        index_elements=["provider_id"],
        set_={
            "url": url,
            "tried_at": now,
            "document": kept(col(SamlProvider.document)),
            "fetched_at": kept(col(SamlProvider.fetched_at)),
            "failed_since": kept(col(SamlProvider.failed_since)),
            "failure": kept(col(SamlProvider.failure)),
            "unverified": case((moved, false()), else_=col(SamlProvider.unverified)),
        },
        where=or_(moved, col(SamlProvider.tried_at).is_(None), col(SamlProvider.tried_at) <= unless_since),
    )
    return (await session.exec(claim.returning(col(SamlProvider.provider_id)))).one_or_none() is not None


async def put_metadata(
    session: Session, provider_id: str, url: str, document: dict[str, JsonValue], *, unverified: bool, now: datetime
) -> None:
    """The metadata is what was fetched, unless the provider has another URL by now."""
    await session.exec(
        update(SamlProvider)
        .where(col(SamlProvider.provider_id) == provider_id, col(SamlProvider.url) == url)
        .values(document=document, unverified=unverified, fetched_at=now, failed_since=None, failure=None)
    )


async def note_failure(session: Session, provider_id: str, url: str, reason: str, *, now: datetime) -> None:
    """It is known since when, and why, the metadata cannot be refreshed."""
    await session.exec(
        update(SamlProvider)
        .where(col(SamlProvider.provider_id) == provider_id, col(SamlProvider.url) == url)
        .values(failure=reason, failed_since=func.coalesce(col(SamlProvider.failed_since), now))
    )


async def claim_alarm(session: Session, provider_id: str, *, unless_since: datetime, now: datetime) -> bool:
    """True for the one caller that says what is wrong with a provider; False when it was said after `unless_since`."""
    claim = (
        insert(SamlProvider)
        .values(provider_id=provider_id, alarmed_at=now)
        .on_conflict_do_update(
            index_elements=["provider_id"],
            set_={"alarmed_at": now},
            where=or_(col(SamlProvider.alarmed_at).is_(None), col(SamlProvider.alarmed_at) <= unless_since),
        )
        .returning(col(SamlProvider.provider_id))
    )
    return (await session.exec(claim)).one_or_none() is not None


async def drop_providers(session: Session, provider_ids: Collection[str]) -> None:
    """Nothing is known of these providers."""
    await session.exec(delete(SamlProvider).where(col(SamlProvider.provider_id).in_(provider_ids)))
