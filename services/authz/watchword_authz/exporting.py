"""What `GET /internal/export` answers: who is signed in, for whoever counts what a revocation would end; and how
somebody can sign in here, for `directory`, which decides about the other ways in."""

from collections.abc import Sequence
from typing import Final

from watchword_authz import passkey_store, store
from watchword_authz.models import UserSession
from watchword_database import bus
from watchword_database.engine import Database, transaction
from watchword_events.exports import CredentialExport, Exported, InvitationExport, SessionExport
from watchword_events.handovers import SetPassword
from watchword_runtime.clock import Clock
from watchword_runtime.internal import Exporter, ExportQuery

LOOKUPS: Final = {"session": frozenset({"user_id"})}


def session_exporter(database: Database, now: Clock) -> Exporter:
    """Sessions that are not over, by id, of a user, or page by page; the ledger is for the caller to ask."""

    async def export_sessions(query: ExportQuery) -> Sequence[Exported[SessionExport]]:
        user_id = query.lookup[1] if query.lookup else None
        async with transaction(database) as session:
            rows = await store.list_sessions(
                session, now(), user_id=user_id, ids=query.ids, after=query.after, limit=query.limit
            )
        return [_exported(row) for row in rows]

    return export_sessions


def credential_exporter(database: Database, local_passwords: bool, now: Clock) -> Exporter:
    """The credentials of users by their ids; a password that directory has just handed over counts.

    local_passwords: whether one gets in with a password at all.
    """

    async def export_credentials(query: ExportQuery) -> Sequence[Exported[CredentialExport]]:
        found = []
        async with transaction(database) as session:
            for user_id in query.ids:
                # What waits is looked for first: another transaction may make a credential of it in between.
                has_password = local_passwords and (
                    await bus.peek_flow(session, SetPassword, flow=f"user:{user_id}", now=now()) is not None
                    or await store.find_credential(session, user_id) is not None
                )
                passkeys = await passkey_store.list_passkeys(session, user_id)
                data = CredentialExport(id=user_id, has_password=has_password, passkeys=len(passkeys))
                found.append(Exported(id=user_id, version=1, data=data))
        return found

    return export_credentials


def invitation_exporter(*, are_allowed: bool, are_sent: bool) -> Exporter:
    """Whether people can be invited here, for `admin`, which offers it where it closes a provider."""
    answer = InvitationExport(are_allowed=are_allowed, are_sent=are_sent)

    async def export_invitations(_query: ExportQuery) -> Sequence[Exported[InvitationExport]]:
        return [Exported(id="invitation", version=1, data=answer)]

    return export_invitations


def _exported(row: UserSession) -> Exported[SessionExport]:
    data = SessionExport(
        id=row.id,
        user_id=row.user_id,
        provider_id=row.provider_id,
        rev=row.rev,
        auth_time=row.auth_time,
    )
    return Exported(id=row.id, version=row.version, data=data)
