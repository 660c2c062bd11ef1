"""What ends at a date by itself: certificates of SAML providers, our own SAML key, and tokens that others hold.

Signing and encryption keys are no part of it: they change by themselves. Upstream client secrets neither: only the
provider knows when they end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import text

from watchword_database import Database, Session, transaction
from watchword_events.names import Service

_LATELY: Final = timedelta(days=30)  # what ended longer ago is missed by nobody
_AT_MOST: Final = 200


class Kind(StrEnum):
    """Of what ends."""

    SAML_PROVIDER = "saml_provider"
    SAML_KEY = "saml_key"
    SCIM_TOKEN = "scim_token"
    API_KEY = "api_key"
    REGISTRATION_TOKEN = "registration_token"


@dataclass(frozen=True)
class End:
    """name: for an administrator.  begun: since when it is good."""

    kind: Kind
    name: str
    begun: datetime
    ends: datetime


_METADATA: Final = text("SELECT provider_id, url, document FROM federation.saml_provider")
_ACTIVE: Final = text("SELECT id, certificate FROM federation.saml_key WHERE state = 'active'")
# The soonest ones. What is used up or was revoked ends nothing any more.
_TOKENS: Final[Mapping[Service, tuple[Kind, str]]] = {
    Service.DIRECTORY: (
        Kind.SCIM_TOKEN,
        "SELECT name, created_at, expires_at FROM directory.scim_tokens"
        " WHERE revoked_at IS NULL AND expires_at > :since ORDER BY expires_at LIMIT :most",
    ),
    Service.TOKEN: (
        Kind.API_KEY,
        "SELECT name || ' (' || id || ')', created_at, expires_at FROM token.api_keys"
        " WHERE revoked_at IS NULL AND expires_at > :since ORDER BY expires_at LIMIT :most",
    ),
    Service.ADMIN: (
        Kind.REGISTRATION_TOKEN,
        "SELECT name, created_at, expires_at FROM admin.registration_tokens"
        " WHERE revoked_at IS NULL AND uses_left > 0 AND expires_at > :since ORDER BY expires_at LIMIT :most",
    ),
}


async def ends_of(database: Database, now: datetime) -> list[End]:
    """What of a service's ends at a date, or has lately."""
    async with transaction(database) as session:
        if database.service is Service.FEDERATION:
            return await _of_saml(session)
        if database.service not in _TOKENS:
            return []
        kind, question = _TOKENS[database.service]
        given = {"since": now - _LATELY, "most": _AT_MOST}
        rows = await (await session.connection()).execute(text(question), given)
        return [End(kind, *row) for row in rows]


async def _of_saml(session: Session) -> list[End]:
    """The last certificate of each provider that is in use, and our active key's."""
    from watchword_federation import store
    from watchword_federation.connectors.saml_idp import idp_of, saml_of
    from watchword_federation.connectors.saml_sources import metadata_in
    from watchword_federation.models import SamlProvider
    from watchword_runtime.saml_metadata import UnusableCertificate, read_certificates

    found = []
    connection = await session.connection()
    known = {row.provider_id: SamlProvider(**row._mapping) for row in await connection.execute(_METADATA)}
    for provider in await store.list_providers(session, kind="saml"):
        row = known.get(provider.id)
        metadata = metadata_in(row) if row is not None and row.url == saml_of(provider).metadata_url else None
        try:
            idp = idp_of(provider, metadata) if provider.enabled else None
        except UnusableCertificate:  # of another release
            continue
        if idp is not None:
            last = max(idp.certificates, key=lambda each: each.not_after)
            found.append(End(Kind.SAML_PROVIDER, provider.id, last.not_before, last.not_after))
    for key_id, pem in await connection.execute(_ACTIVE):
        (certificate,) = read_certificates(pem)
        found.append(End(Kind.SAML_KEY, key_id, certificate.not_before, certificate.not_after))
    return found


async def look(databases: Iterable[Database], now: datetime) -> list[End]:
    """What ends of all of these services."""
    return [each for database in databases for each in await ends_of(database, now)]


def soonest(ends: Iterable[End]) -> dict[tuple[str, ...], float]:
    """For each kind when the first one ends, in seconds since 1970."""
    found: dict[tuple[str, ...], float] = {}
    for each in ends:
        found[each.kind.value,] = min(each.ends.timestamp(), found.get((each.kind.value,), float("inf")))
    return found
