"""Named SQL of admin. `get_` raises, `find_` may return None, `claim_` changes exactly once."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, or_, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_admin.models import Client, ClientKind, ClientSecret, ConsoleSession, Provider, UserCopy
from watchword_admin.organizations import GONE
from watchword_database import Database, Session
from watchword_database.searching import holds

_CLIENT_STANDS = col(Client.deleted_at).is_(None)
_PROVIDER_STANDS = col(Provider.deleted_at).is_(None)
# Whoever comes back from a provider has it pulled: a plain statement, since a session costs ten times as much.
_PROVIDERS: Final = "SELECT {} FROM admin.providers".format(", ".join(f'"{name}"' for name in Provider.model_fields))


class Unknown(LookupError):
    """There is no such client or provider, or no more."""


# clients -------------------------------------------------------------------------------------------------------------


async def find_client(session: Session, client_id: str) -> Client | None:
    """The client, unless unknown or deleted."""
    return (await session.exec(select(Client).where(col(Client.id) == client_id, _CLIENT_STANDS))).one_or_none()


async def get_client_for_change(session: Session, client_id: str) -> Client:
    """The client, locked until the end of the transaction. Raises Unknown."""
    statement = select(Client).where(col(Client.id) == client_id, _CLIENT_STANDS).with_for_update()
    client = (await session.exec(statement)).one_or_none()
    if client is None:
        raise Unknown(client_id)
    return client


async def find_document_for_change(session: Session, url: str) -> Client | None:
    """The client that a document on the web is, deleted or not, locked until the end of the transaction."""
    statement = select(Client).where(col(Client.id) == url, col(Client.kind) == ClientKind.DOCUMENT.value)
    return (await session.exec(statement.with_for_update())).one_or_none()


async def is_deleted_client(session: Session, client_id: str) -> bool:
    """Whether there was such a client, which has been deleted."""
    statement = select(col(Client.id)).where(col(Client.id) == client_id, col(Client.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def claim_new_client(session: Session, client: Client) -> bool:
    """True when the client exists now; False when its id or short name belongs to another."""
    statement = insert(Client).values(**client.model_dump()).on_conflict_do_nothing().returning(col(Client.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_clients(
    session: Session,
    *,
    after: tuple[str, str],
    limit: int,
    client_id: str | None = None,
    client_name: str | None = None,
    short_name: str | None = None,
    kind: ClientKind | None = None,
    enabled: bool | None = None,
    search: str | None = None,
) -> Sequence[Client]:
    """Clients in the order of their names, those after (lower-case name, id).

    search: a part of the name, of the short name, of the description or of the id.
    """
    name = func.lower(col(Client.client_name))
    place = tuple_(name, col(Client.id))
    statement = select(Client).where(_CLIENT_STANDS, place > after).order_by(name, col(Client.id)).limit(limit)
    if client_id is not None:
        statement = statement.where(col(Client.id) == client_id)
    if kind is not None:
        statement = statement.where(col(Client.kind) == kind.value)
    if client_name is not None:
        statement = statement.where(col(Client.client_name) == client_name, name == func.lower(client_name))
    if short_name is not None:
        statement = statement.where(func.lower(col(Client.short_name)) == short_name.lower())
    if enabled is not None:
        statement = statement.where(col(Client.enabled) == enabled)
    if search is not None:
        shown = (
            col(Client.client_name),
            col(Client.short_name),
            col(Client.document)["description"].astext,
            col(Client.id),
        )
        statement = statement.where(holds(search, *shown))
    return (await session.exec(statement)).all()


async def list_registered_clients(
    session: Session, *, after: str, limit: int, besides: Collection[str]
) -> Sequence[Client]:
    """Clients that administrators registered, but some, in the order of their ids, those after `after`."""
    statement = (
        select(Client)
        .where(
            _CLIENT_STANDS,
            col(Client.kind) == ClientKind.REGISTERED.value,
            col(Client.id).not_in(besides),
            col(Client.id) > after,
        )
        .order_by(col(Client.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def short_names(session: Session, client_ids: Sequence[str]) -> Mapping[str, str | None]:
    """The short name of each of these clients that exists."""
    statement = select(col(Client.id), col(Client.short_name)).where(col(Client.id).in_(client_ids), _CLIENT_STANDS)
    return dict((await session.exec(statement)).all()) if client_ids else {}


async def is_taken_client_id(session: Session, client_id: str) -> bool:
    """Whether there is, or ever was, a client with this id."""
    statement = select(col(Client.id)).where(col(Client.id) == client_id)
    return (await session.exec(statement)).one_or_none() is not None


async def export_clients(session: Session, *, ids: Sequence[str], after: str, limit: int) -> Sequence[Client]:
    """Clients by their ids or, without ids, the page after an id, tombstones included."""
    statement = select(Client).order_by(col(Client.id)).limit(limit)
    statement = statement.where(col(Client.id).in_(ids)) if ids else statement.where(col(Client.id) > after)
    return (await session.exec(statement)).all()


async def secrets_of(session: Session, client_ids: Sequence[str]) -> Mapping[str, list[ClientSecret]]:
    """The live secrets of each client, oldest first."""
    found: dict[str, list[ClientSecret]] = {client_id: [] for client_id in client_ids}
    statement = (
        select(ClientSecret).where(col(ClientSecret.client_id).in_(client_ids)).order_by(col(ClientSecret.created_at))
    )
    for secret in (await session.exec(statement)).all():
        found[secret.client_id].append(secret)
    return found


async def put_secret(session: Session, secret: ClientSecret, *, keep: Sequence[str] = ()) -> None:
    """The client has this secret and those of the ids in `keep`, and no other."""
    old = (col(ClientSecret.client_id) == secret.client_id) & col(ClientSecret.id).not_in(keep)
    await session.exec(delete(ClientSecret).where(old))
    await session.exec(insert(ClientSecret).values(**secret.model_dump()))


async def drop_secrets(session: Session, client_id: str) -> None:
    """The client has no secret."""
    await session.exec(delete(ClientSecret).where(col(ClientSecret.client_id) == client_id))


async def claim_removed_secret(session: Session, client_id: str, secret_id: str) -> bool:
    """True for the one transaction that removes the secret."""
    statement = (
        delete(ClientSecret)
        .where(col(ClientSecret.client_id) == client_id, col(ClientSecret.id) == secret_id)
        .returning(col(ClientSecret.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def count_clients(session: Session) -> tuple[int, int]:
    """How many clients there are, and how many of them are enabled."""
    statement = select(func.count(), func.count().filter(col(Client.enabled))).where(_CLIENT_STANDS)
    row = (await session.exec(statement)).one()
    return int(row[0]), int(row[1])


# providers -----------------------------------------------------------------------------------------------------------


async def find_provider(session: Session, provider_id: str) -> Provider | None:
    """The provider, unless unknown or removed."""
    statement = select(Provider).where(col(Provider.id) == provider_id, _PROVIDER_STANDS)
    return (await session.exec(statement)).one_or_none()


async def get_provider_for_change(session: Session, provider_id: str) -> Provider:
    """The provider, locked until the end of the transaction. Raises Unknown."""
    statement = select(Provider).where(col(Provider.id) == provider_id, _PROVIDER_STANDS).with_for_update()
    provider = (await session.exec(statement)).one_or_none()
    if provider is None:
        raise Unknown(provider_id)
    return provider


async def find_removed_provider_for_change(session: Session, provider_id: str) -> Provider | None:
    """The tombstone of a provider, locked until the end of the transaction."""
    statement = select(Provider).where(col(Provider.id) == provider_id, col(Provider.deleted_at).is_not(None))
    return (await session.exec(statement.with_for_update())).one_or_none()


async def claim_new_provider(session: Session, provider: Provider) -> bool:
    """True when the provider exists now; False when its id is or was in use."""
    statement = insert(Provider).values(**provider.model_dump()).on_conflict_do_nothing().returning(col(Provider.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_providers(
    session: Session, *, after: str, limit: int, enabled: bool | None = None
) -> Sequence[Provider]:
    """Providers in the order of their ids, those after `after`."""
    statement = (
        select(Provider).where(_PROVIDER_STANDS, col(Provider.id) > after).order_by(col(Provider.id)).limit(limit)
    )
    if enabled is not None:
        statement = statement.where(col(Provider.enabled) == enabled)
    return (await session.exec(statement)).all()


async def list_declared_providers(session: Session, *, after: str, limit: int) -> Sequence[Provider]:
    """Providers in the order of their ids, those after `after`, but those of an organization that is gone."""
    organization = col(Provider.document)["organization"].astext
    statement = select(Provider).where(
        _PROVIDER_STANDS,
        col(Provider.id) > after,
        or_(organization.is_(None), organization.not_in(GONE)),
    )
    return (await session.exec(statement.order_by(col(Provider.id)).limit(limit))).all()


async def export_providers(database: Database, *, ids: Sequence[str], after: str, limit: int) -> Sequence[Provider]:
    """Providers by their ids or, without ids, the page after an id, tombstones included."""
    which, asked = ("id = ANY($1)", list(ids)) if ids else ("id > $1", after)
    pool = await database.raw_pool()
    rows = await pool.fetch(f"{_PROVIDERS} WHERE {which} ORDER BY id LIMIT $2", asked, limit)
    return [Provider(**row) for row in rows]


async def issuers_of_providers(session: Session) -> dict[str, str]:
    """How providers call themselves, by id."""
    statement = select(col(Provider.id), col(Provider.document)["issuer"].astext).where(_PROVIDER_STANDS)
    return {provider_id: issuer for provider_id, issuer in (await session.exec(statement)).all() if issuer}


async def count_providers(session: Session) -> tuple[int, int]:
    """How many providers there are, and how many of them are enabled."""
    statement = select(func.count(), func.count().filter(col(Provider.enabled))).where(_PROVIDER_STANDS)
    row = (await session.exec(statement)).one()
    return int(row[0]), int(row[1])


# console -------------------------------------------------------------------------------------------------------------


async def put_console_session(session: Session, opened: ConsoleSession, *, now: datetime) -> None:
    """The session exists; whatever has expired is gone."""
    await session.exec(delete(ConsoleSession).where(col(ConsoleSession.expires_at) <= now))
    await session.exec(insert(ConsoleSession).values(**opened.model_dump()))


async def find_console_session(
    session: Session, secret_hash: bytes, *, idle_since: datetime, now: datetime
) -> ConsoleSession | None:
    """The session behind a cookie, used now; None when it is unknown, expired or was idle too long."""
    statement = (
        update(ConsoleSession)
        .where(
            col(ConsoleSession.secret_hash) == secret_hash,
            col(ConsoleSession.expires_at) > now,
            col(ConsoleSession.used_at) > idle_since,
        )
        .values(used_at=now)
        .returning(ConsoleSession)
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def drop_console_session(session: Session, secret_hash: bytes) -> None:
    """There is no such session any more."""
    await session.exec(delete(ConsoleSession).where(col(ConsoleSession.secret_hash) == secret_hash))


async def names_of_users(session: Session, ids: Collection[str]) -> dict[str, str]:
    """What the copy calls these users: their name, or their user name."""
    name = func.coalesce(col(UserCopy.data)["claims"]["name"].astext, col(UserCopy.data)["username"].astext)
    statement = select(col(UserCopy.id), name).where(col(UserCopy.id).in_(ids), ~col(UserCopy.deleted))
    return dict((await session.exec(statement)).all()) if ids else {}


async def names_of_clients(session: Session, ids: Collection[str]) -> dict[str, str]:
    """What these clients are called."""
    statement = select(col(Client.id), col(Client.client_name)).where(col(Client.id).in_(ids), _CLIENT_STANDS)
    return dict((await session.exec(statement)).all()) if ids else {}


async def names_of_providers(session: Session, ids: Collection[str]) -> dict[str, str]:
    """What these providers are called."""
    statement = select(col(Provider.id), col(Provider.display_name)).where(col(Provider.id).in_(ids), _PROVIDER_STANDS)
    return dict((await session.exec(statement)).all()) if ids else {}


async def count_users(session: Session) -> int:
    """How many users the copy knows."""
    statement = select(func.count()).select_from(UserCopy).where(~col(UserCopy.deleted))
    return int((await session.exec(statement)).one())
