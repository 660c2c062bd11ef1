"""What pairwise clients call people, and whom they mean by it. Spec: OpenID Connect Core 8.1."""

import hmac

from watchword_authz.hints import Whom
from watchword_authz.models import UserSession
from watchword_database.engine import Database, transaction
from watchword_events.exports import ClientExport
from watchword_runtime.copies import Copy
from watchword_runtime.keyring import Keyring
from watchword_runtime.pairwise import PURPOSE, pairwise_subject


def subject_of(keyring: Keyring, client: ClientExport | None, user_id: str) -> str | None:
    """What the client calls a person; None for one that learns the ids of people."""
    if client is None or client.sector is None:
        return None
    return pairwise_subject(keyring.key(PURPOSE), client.sector, user_id)


def finder(database: Database, clients: Copy[ClientExport], key: bytes) -> Whom:
    """Finds people by what clients call them. key: the derived key for the purpose "pairwise-subjects"."""

    async def whom(client_id: str, subject: str, sid: str | None) -> str | None:
        """The user's id; of a pairwise client, the one of the session that the token names, if the name is theirs."""
        client = await clients.get(client_id)
        if client is None or client.sector is None:
            return subject
        if sid is None:
            return None
        async with transaction(database) as session:
            found = await session.get(UserSession, sid)
        if found is None:
            return None
        expected = pairwise_subject(key, client.sector, found.user_id)
        return found.user_id if hmac.compare_digest(expected.encode(), subject.encode()) else None

    return whom
