"""Clients that register and manage themselves: each step checked in full, then written in one transaction."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from pydantic import JsonValue

from watchword_admin import clients
from watchword_admin.client_documents import ClientDocument, document_of
from watchword_admin.client_secrets import generate_secret, is_secret, stored
from watchword_admin.edge import Parts
from watchword_admin.models import Client, ClientKind
from watchword_admin.registration import store
from watchword_admin.registration.metadata import read_metadata, show_metadata, with_given
from watchword_admin.registration.secrets import Presented, new_secret, read_secret
from watchword_admin.registration.terms import Terms
from watchword_admin.registration.usual import usual_terms
from watchword_admin.store import secrets_of
from watchword_database import Session, transaction
from watchword_runtime.receipts import Ending
from watchword_web.errors import OAuthError

log = structlog.get_logger()

# RFC 7592 2.2: what the server says of a client, and the client must not send.
_ANSWERED = frozenset(
    {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A client and the secrets that are shown now and never again."""

    client: Client
    registration_token: str | None = None
    client_secret: str | None = None

    def information(self, public_url: str) -> dict[str, JsonValue]:
        """The client information response. Spec: RFC 7591 3.2.1; RFC 7592 3."""
        shown = show_metadata(document_of(self.client)) | {
            "client_id": self.client.id,
            "client_id_issued_at": int(self.client.created_at.timestamp()),
            "registration_client_uri": f"{public_url}/oauth2/register/{self.client.id}",
        }
        if self.registration_token is not None:
            shown["registration_access_token"] = self.registration_token
        if self.client_secret is not None:
            shown |= {"client_secret": self.client_secret, "client_secret_expires_at": 0}
        return shown


async def register(parts: Parts, metadata: Mapping[str, object], bearer: str | None) -> Registered:
    """A new client, which may be used at once.

    bearer: an initial access token, None when there is none. Raises OAuthError: 403 where registration is off, 401
    without a good token where one is needed (or was sent), 400 for metadata that are refused, 503 when there are too
    many. A refusal leaves the token's uses as they were. Appends ClientRegistered. Spec: RFC 7591 3.1, 3.2.1, 3.2.2.
    """
    now = parts.now()
    initial, terms = await _terms_for(parts, bearer)
    document = _read(parts, metadata, terms)
    secret = generate_secret() if document.needs_secret else None
    client_id = str(uuid.uuid4())
    own = new_secret(client_id)
    origin = clients.Origin(ClientKind.DYNAMIC, terms.model_dump(mode="json"), own.hash)
    async with transaction(parts.database) as session:
        if initial is not None and not await store.claim_use(session, initial.id, initial.hash, now=now):
            raise _unauthorized("the initial access token was used up meanwhile")
        if await store.count_not_vouched_for(session) >= parts.settings.registration_limit:
            log.warning("registration.full", limit=parts.settings.registration_limit)
            raise OAuthError("temporarily_unavailable", "There are too many registered clients", 503)
        secret_hash = None
        if secret is not None:
            sealed = document.signs_with_secret
            secret_hash = await stored(client_id, secret, parts.client_seal, sealed=sealed)
        client, _entries = await clients.register_client(
            session, document, secret_hash=secret_hash, client_id=client_id, origin=origin, now=now
        )
    log.info("client.registered_itself", client_id=client.id, initial_token=initial.id if initial else None)
    return Registered(client, own.text, None if secret is None else secret.text)


async def read(parts: Parts, client_id: str, bearer: str | None) -> Registered:
    """The client as it is registered. Raises OAuthError 401 and 403. Spec: RFC 7592 2.1."""
    own = _own(client_id, bearer)
    async with transaction(parts.database) as session:
        client = await store.find_own(session, own.id, own.hash)
    return Registered(_usable(client), bearer)


async def change(parts: Parts, client_id: str, metadata: Mapping[str, object], bearer: str | None) -> Registered:
    """The client as it says now, under a new registration access token; the one before works no more.

    What an administrator set stays. Raises OAuthError 401 (also for all but one who use the same token at once), 403,
    400. Appends ClientUpdated. Spec: RFC 7592 2.2.
    """
    own = _own(client_id, bearer)
    asked = dict(metadata)
    _check_own_members(client_id, asked)
    presented = asked.pop("client_secret", None)
    asked.pop("client_id")
    successor = new_secret(client_id)
    async with transaction(parts.database) as session:
        client = _usable(await store.claim_own(session, own.id, own.hash, successor=successor.hash))
        if presented is not None and not await _is_secret_of(parts, session, client, presented):
            raise OAuthError("invalid_client_metadata", "client_secret is not the present one")
        stated = _read(parts, asked, Terms.model_validate(client.registration))
        document = with_given(stated, document_of(client))
        _entries, generated = await clients.change_client(
            session, client, document, enabled=None, seal=parts.client_seal, feed=parts.feed, now=parts.now()
        )
    log.info("client.changed_itself", client_id=client_id)
    return Registered(client, successor.text, generated)


async def delete(parts: Parts, client_id: str, bearer: str | None, ending: Ending) -> None:
    """The client is gone, and with it everything that it was issued. Raises OAuthError 401. Spec: RFC 7592 2.3."""
    own = _own(client_id, bearer)
    async with transaction(parts.database) as session:
        if await store.claim_own(session, own.id, own.hash, successor=own.hash) is None:
            raise _unauthorized("unknown registration access token")
        entries = await clients.delete_client(session, own.id, feed=parts.feed, now=parts.now())
    await ending.finish(entries)
    log.info("client.deleted_itself", client_id=client_id)


async def _terms_for(parts: Parts, bearer: str | None) -> tuple[Presented | None, Terms]:
    """The initial access token, if one is used, and the terms that hold for it or for everybody."""
    match parts.settings.registration:
        case "off":
            raise OAuthError("access_denied", "Clients are registered by an administrator here", 403)
        case "open" if bearer is None:
            async with transaction(parts.database) as session:
                return None, await usual_terms(session, parts.settings)
        case _:
            presented = read_secret(bearer or "")
            if presented is None:
                raise _unauthorized("no initial access token", absent=bearer is None)
    async with transaction(parts.database) as session:
        row = await store.find_token(session, presented.id, presented.hash, now=parts.now())
    if row is None:
        raise _unauthorized("unknown, expired, revoked or used up initial access token")
    return presented, Terms.model_validate(row.terms)


def _own(client_id: str, bearer: str | None) -> Presented:
    """The registration access token of this very client. Raises OAuthError 401."""
    presented = read_secret(bearer or "")
    if presented is None or presented.id != client_id:
        raise _unauthorized("no registration access token of this client", absent=bearer is None)
    return presented


def _usable(client: Client | None) -> Client:
    if client is None:
        # RFC 7592 2.1: 401 also for a client that does not exist any more.
        raise _unauthorized("unknown registration access token")
    if not client.enabled:
        raise OAuthError("access_denied", "An administrator switched this client off", 403)
    return client


def _check_own_members(client_id: str, asked: Mapping[str, object]) -> None:
    if sent := sorted(_ANSWERED & asked.keys()):
        raise OAuthError("invalid_request", f"{sent[0]} must not be sent")
    if asked.get("client_id") != client_id:
        raise OAuthError("invalid_request", "client_id must be that of the client")


async def _is_secret_of(parts: Parts, session: Session, client: Client, presented: object) -> bool:
    """Whether a text is a generated secret of the client. (It never chooses one: RFC 7592 2.2.)"""
    if not isinstance(presented, str):
        return False
    live = (await secrets_of(session, [client.id]))[client.id]
    return any(is_secret(each.hash, presented, client.id, parts.client_seal) for each in live)


def _read(parts: Parts, metadata: Mapping[str, object], terms: Terms) -> ClientDocument:
    settings = parts.settings
    return read_metadata(metadata, terms, allowed=tuple(settings.outbound_allow), demo=settings.environment == "demo")


def _unauthorized(detail: str, *, absent: bool = False) -> OAuthError:
    """One answer to every bad token. absent: none was sent, so that there is nothing wrong with it (RFC 6750 3.1)."""
    if absent:
        return OAuthError(
            "invalid_token", "Send a token as Bearer", 401, detail, {"WWW-Authenticate": 'Bearer realm="Watchword"'}
        )
    return OAuthError("invalid_token", "The token is unknown, expired or revoked", 401, detail)
