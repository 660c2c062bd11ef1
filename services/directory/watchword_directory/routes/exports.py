"""The exports for other services' copies: `/internal/export/{user,organization,identity}`."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from watchword_database import Database, Session, transaction
from watchword_directory import organization_table, store
from watchword_directory.edge import Parts
from watchword_directory.models import User
from watchword_directory.organization_documents import export_organization
from watchword_directory.profiles import export
from watchword_directory.standing import NOWHERE, standings
from watchword_events.exports import Exported, IdentityExport, OrganizationExport, UserExport
from watchword_events.names import Service
from watchword_policy.identifiers import InvalidEmail, InvalidUsername, canonical_email, canonical_username
from watchword_runtime.internal import Exporter, ExportQuery
from watchword_runtime.internal import router as internal_router

_NAMED: Final = set(IdentityExport.model_fields)


def user_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/user` answers: by id, by name, by verified address, or a page of all."""

    async def export_users(query: ExportQuery) -> Sequence[Exported[UserExport]]:
        async with transaction(database) as session:
            if query.lookup is not None:
                looked_up = await _look_up(session, *query.lookup)
                users: Sequence[User] = [] if looked_up is None else [looked_up]
            else:
                users = await store.export_users(session, ids=query.ids, after=query.after, limit=query.limit)
            found = await standings(session, [user.id for user in users if user.deleted_at is None])
        return [export(user, found.get(user.id, NOWHERE)) for user in users]

    return export_users


def organization_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/organization` answers: by id, by short name, or a page of all."""

    async def export_organizations(query: ExportQuery) -> Sequence[Exported[OrganizationExport]]:
        async with transaction(database) as session:
            if query.lookup is not None:
                looked_up = await organization_table.find_by_short_name(session, query.lookup[1])
                found = [] if looked_up is None else [looked_up]
            else:
                found = list(
                    await organization_table.export_organizations(
                        session, ids=query.ids, after=query.after, limit=query.limit
                    )
                )
            domains = await organization_table.domains_of(session, [each.id for each in found])
        return [export_organization(each, domains[each.id]) for each in found]

    return export_organizations


def identity_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/identity` answers: those of a user, or those of a provider whose people have no other.

    Nobody keeps a copy of all.
    """

    async def export_identities(query: ExportQuery) -> Sequence[Exported[IdentityExport]]:
        if query.lookup is None:
            return []
        column, value = query.lookup
        is_users = column == "user_id"
        async with transaction(database) as session:
            links = await store.list_links(
                session,
                after=query.after,
                limit=query.limit,
                user_id=value if is_users else None,
                provider_id=None if is_users else value,
                only=not is_users,
            )
        return [
            Exported(id=link.id, version=1, data=IdentityExport(**link.model_dump(include=_NAMED))) for link in links
        ]

    return export_identities


async def _look_up(session: Session, column: str, value: str) -> User | None:
    """The user whom a person means who types this into a sign-in form, in whatever case."""
    try:
        match column:
            case "username":
                return await store.find_user_by_username(session, canonical_username(value))
            case "email":
                return await store.find_user_by_email(session, canonical_email(value))
    except (InvalidUsername, InvalidEmail):
        return None
    return None


def routers(parts: Parts) -> list[APIRouter]:
    """For authenticated services only."""
    exporters = {
        "user": user_exporter(parts.database),
        "organization": organization_exporter(parts.database),
        "identity": identity_exporter(parts.database),
    }
    lookups = {
        "user": frozenset({"username", "email"}),
        "organization": frozenset({"short_name"}),
        "identity": frozenset({"user_id", "only_provider_id"}),
    }
    keyring, clients = parts.settings.keyring, parts.internal
    return [internal_router(keyring, Service.DIRECTORY, exporters, lookups=lookups, now=parts.now, clients=clients)]
