"""What `GET /internal/export/client_use` answers: which clients are in use, for whoever clears the others away."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import col, select

from watchword_database import Database, transaction
from watchword_events.exports import ClientUseExport, Exported
from watchword_runtime.clock import Clock
from watchword_runtime.internal import Exporter, ExportQuery
from watchword_token.models import Grant


def client_use_exporter(database: Database, now: Clock) -> Exporter:
    """Of the clients that are asked for by id: those that ever had a grant. The ledger is for the caller to ask."""

    async def export_client_use(query: ExportQuery) -> Sequence[Exported[ClientUseExport]]:
        at = now()
        live = col(Grant.revoked_at).is_(None) & (col(Grant.expires_at) > at) & (col(Grant.idle_at) > at)
        used = func.max(func.greatest(col(Grant.created_at), col(Grant.rotated_at)))
        statement = (
            select(col(Grant.client_id), func.coalesce(func.bool_or(live), False), used)
            .where(col(Grant.client_id).in_(query.ids))
            .group_by(col(Grant.client_id))
            .order_by(col(Grant.client_id))
        )
        async with transaction(database) as session:
            rows = (await session.exec(statement)).all()
        return [
            Exported(id=each, version=1, data=ClientUseExport(client_id=each, has_live_grants=is_live, used_at=used_at))
            for each, is_live, used_at in rows
        ]

    return export_client_use
