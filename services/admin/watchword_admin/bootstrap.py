"""The console's own client, made by the supervisor before anybody can sign in."""

from datetime import datetime

from watchword_admin import store
from watchword_admin.client_documents import ClientDocument, document_of
from watchword_admin.clients import CONSOLE, ShortNameTaken, register_client, rise
from watchword_database import Database, transaction
from watchword_events.contracts import ClientUpdated
from watchword_runtime.access import ADMIN_SCOPE

CALLBACK = "/admin/callback"


def console_document(public_url: str) -> ClientDocument:
    """The console as a client: public with PKCE, at this installation's address, without a question for consent."""
    return ClientDocument(
        client_name="Watchword console",
        description="The administration of this installation",
        main_uri=f"{public_url}/admin",
        redirect_uris=(f"{public_url}{CALLBACK}",),
        post_logout_redirect_uris=(f"{public_url}/admin/signed-out",),
        token_endpoint_auth_method="none",
        scope=f"openid profile {ADMIN_SCOPE}",
        require_consent=False,
    )


async def ensure_console(database: Database, *, public_url: str, now: datetime) -> bool:
    """The console can sign people in at this public URL; True when that was not so before.

    database: admin's. Safe to call at each start and in several processes at once. Appends ClientRegistered, or
    ClientUpdated after a move to another URL.
    """
    document = console_document(public_url)
    async with transaction(database) as session:
        known = await store.find_client(session, CONSOLE)
        if known is None:
            try:
                await register_client(session, document, secret_hash=None, client_id=CONSOLE, now=now)
            except ShortNameTaken:
                return False  # another process was faster
            return True
        client = await store.get_client_for_change(session, CONSOLE)
        if document_of(client) == document:
            return False
        client.document = document.model_dump(mode="json")
        await rise(session, client, now=now)
        session.emit(ClientUpdated(id=CONSOLE, version=client.version))
        return True
