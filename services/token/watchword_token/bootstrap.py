"""What a new or a restored installation needs before anybody can call it."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text

from watchword_database import Database, bus, transaction
from watchword_events.names import Position
from watchword_events.revocations import Claim, RevocationKind
from watchword_policy.scopes import ADMIN_SCOPE, SIGN_IN
from watchword_runtime.keyring import Keyring, Sealer
from watchword_token.api_keys import create_api_key
from watchword_token.key_table import KeyTable
from watchword_token.lifetimes import FOR_EVER
from watchword_token.models import KeyUse


async def create_admin_key(database: Database, *, user_id: str, now: datetime, name: str = "first start") -> str:
    """The text of a new API key with which an administrator may call all of `/api/v1`, and scripts of theirs may get
    tokens for applications; it is never shown again.

    database: as the role of `token`.  Appends ApiKeyCreated.
    """
    async with transaction(database) as session:
        connection = await session.connection()
        rev = (await connection.execute(text("SELECT position FROM bus.ledger"))).scalar_one()
        _key, shown = create_api_key(
            session, user_id=user_id, name=name, scope=frozenset({ADMIN_SCOPE, SIGN_IN}), rev=Position(rev), now=now
        )
    return shown


async def revoke_keys(database: Database, keyring: Keyring, kids: Iterable[str], *, reason: str, now: datetime) -> None:
    """These keys are revoked for ever, whether the table knows them or not, and others stand in their places.

    database, keyring: as the role of `token`.  Appends KeyRevoked.
    """
    async with transaction(database) as session:
        number = await bus.sealer_id(session)
        purposes = {KeyUse.SIG: "signing-keys", KeyUse.ENC: "encryption-keys"}
        table = KeyTable({use: Sealer(keyring.key(purpose), number) for use, purpose in purposes.items()})
        for kid in kids:
            await table.revoke(session, kid)
            await bus.revoke(
                session,
                claim=Claim.KID,
                value=kid,
                kind=RevocationKind.STATE,
                reason=reason,
                until=now + FOR_EVER,
                keep_until=now + FOR_EVER,
            )
