"""Watchword's own clients, made by the supervisor before anybody can sign in: the console's, and that of `/account`."""

from datetime import datetime
from typing import Final

from watchword_admin import store
from watchword_admin.client_documents import ClientDocument, document_of
from watchword_admin.clients import ShortNameTaken, register_client, rise
from watchword_admin.console.owners import OWNERS
from watchword_database import Database, Session, transaction
from watchword_events.contracts import ClientUpdated
from watchword_policy.administration import OWN, READ, WRITE
from watchword_policy.rules import Access
from watchword_policy.scopes import ADMIN_SCOPE, RESERVED_PREFIX
from watchword_runtime.callers import ACCOUNT, CONSOLE
from watchword_web.texts import Text

CALLBACK: Final = "/admin/callback"
# What people who are no administrators may do through it, as far as their roles give it.
_PERMISSIONS: Final = tuple(
    f"{RESERVED_PREFIX}{area}:{verb}" for area in (*sorted(OWNERS), "events") for verb in (READ, WRITE)
)
_TOKEN_LIFE_S: Final = 8 * 3600  # as long as a session at the console, which calls `/api/v1` with it
_ACCOUNT_TOKEN_LIFE_S: Final = 300  # authz makes itself a new one from the session whenever it needs one


def console_document(public_url: str) -> ClientDocument:
    """The console as a client: public with PKCE, at this installation's address, without a question for consent."""
    return ClientDocument(
        client_name="Watchword console",
        description=Text("The administration of this installation"),
        main_uri=f"{public_url}/admin",
        redirect_uris=(f"{public_url}{CALLBACK}",),
        post_logout_redirect_uris=(f"{public_url}/admin/signed-out",),
        token_endpoint_auth_method="none",
        scope=f"openid profile {ADMIN_SCOPE}",
        require_consent=False,
        access_token_lifetime_s=_TOKEN_LIFE_S,
        permission_scope=_PERMISSIONS,
        access=Access.OPEN,  # who administers is decided by roles: no rule can lock the administrators out
    )


def account_document(public_url: str) -> ClientDocument:
    """The account pages as a client: what they do for the person is what anybody may do about themselves."""
    return ClientDocument(
        client_name="Watchword account",
        description=Text("The pages at which people see to their own account"),
        main_uri=f"{public_url}/account",
        redirect_uris=(f"{public_url}/account",),
        grant_types=("authorization_code",),
        token_endpoint_auth_method="none",
        scope="openid",
        require_consent=False,
        access_token_lifetime_s=_ACCOUNT_TOKEN_LIFE_S,
        permission_scope=(f"{RESERVED_PREFIX}{OWN}:{READ}", f"{RESERVED_PREFIX}{OWN}:{WRITE}"),
        access=Access.OPEN,  # everybody may see to their own account
    )


async def ensure_own_clients(database: Database, *, public_url: str, now: datetime) -> bool:
    """Both can sign people in at this public URL; True when that was not so before.

    database: admin's. Safe to call at each start and in several processes at once. Appends ClientRegistered, or
    ClientUpdated after a move to another URL.
    """
    documents = {CONSOLE: console_document(public_url), ACCOUNT: account_document(public_url)}
    is_new = False
    try:
        async with transaction(database) as session:
            for client_id, document in documents.items():
                is_new |= await _ensure(session, client_id, document, now=now)
    except ShortNameTaken:
        return False  # another process was faster
    return is_new


async def _ensure(session: Session, client_id: str, document: ClientDocument, *, now: datetime) -> bool:
    """The client is as described; True when it was not. Raises ShortNameTaken."""
    if await store.find_client(session, client_id) is None:
        await register_client(session, document, secret_hash=None, client_id=client_id, now=now)
        return True
    client = await store.get_client_for_change(session, client_id)
    if document_of(client) == document:
        return False
    client.document = document.model_dump(mode="json")
    await rise(session, client, now=now)
    session.emit(ClientUpdated(id=client_id, version=client.version))
    return True
