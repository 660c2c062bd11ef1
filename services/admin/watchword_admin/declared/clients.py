"""Clients as declared documents."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from watchword_admin import changes, client_documents, clients, store
from watchword_admin.client_documents import NewClient
from watchword_admin.client_secrets import FreshSecret, generate_secret
from watchword_admin.declared.organizations import organization_called, organization_of
from watchword_admin.edge import Parts, refusals
from watchword_admin.models import Client, ClientKind
from watchword_database import Session
from watchword_runtime.callers import OWN_CLIENTS
from watchword_runtime.declared import Existing, Kind, Run, Written
from watchword_web.errors import FieldError, Problem


class DeclaredClient(NewClient):
    """A client as a document declares it. client_id: chosen, so that applications can be configured before; without
    one it is found by its short name, or else by its name.
    """

    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$")] | None = None


class Clients(Kind[DeclaredClient]):
    """Clients that administrators register; those that registered themselves are nobody's to declare."""

    name = "Client"
    model = DeclaredClient
    secrets = ("client_secret",)
    usual = {"enabled": True}  # noqa: RUF012 - a ClassVar by its declaration in Kind

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def resolve(self, wanted: DeclaredClient, *, is_rehearsal: bool) -> DeclaredClient:
        """With its organization's id."""
        organization = await organization_of(self._parts, wanted.organization, is_rehearsal=is_rehearsal)
        return wanted.model_copy(update={"organization": organization})

    async def prepare(self, wanted: DeclaredClient) -> FreshSecret | None:
        """A chosen secret with its slow hash."""
        await self._parts.sectors.check(wanted)
        return await changes.chosen_secret(self._parts, wanted.client_secret)

    async def find(self, run: Run, wanted: DeclaredClient) -> Existing | None:
        """By `client_id`, else by `short_name`, else by `client_name`."""
        by: dict[str, Any] = {"client_name": wanted.client_name}
        if wanted.client_id is not None:
            by = {"client_id": wanted.client_id}
        elif wanted.short_name is not None:
            by = {"short_name": wanted.short_name}
        found = await store.list_clients(run.session, after=("", ""), limit=2, kind=ClientKind.REGISTERED, **by)
        if len(found) > 1:
            raise _conflict("client_name", "several clients have this name: give one a short_name, or a client_id")
        if not found:
            return None
        with refusals("client"):
            clients.refuse_built_in(found[0].id)
        return await _existing_client(run.session, await store.get_client_for_change(run.session, found[0].id))

    async def create(self, run: Run, wanted: DeclaredClient, prepared: FreshSecret | None) -> Written:
        """A client under the chosen id, or a generated one, with a generated secret where none was chosen."""
        if wanted.client_id is not None and await store.is_taken_client_id(run.session, wanted.client_id):
            raise _conflict("client_id", "this id is, or was, another client's")
        client_id = wanted.client_id or str(uuid.uuid4())
        secret = generate_secret() if wanted.needs_secret and prepared is None else prepared
        with refusals("client"):
            client, entries = await clients.register_client(
                run.session,
                wanted.document(),
                secret_hash=await changes.stored_secret(self._parts, client_id, wanted, secret),
                enabled=wanted.enabled is not False,
                client_id=client_id,
                feed=run.feed,
                now=run.now,
            )
        run.entries += entries
        client = await store.get_client_for_change(run.session, client.id)
        return Written(await _existing_client(run.session, client), None if secret is None else secret.shown)

    async def change(
        self, run: Run, existing: Existing, wanted: DeclaredClient, prepared: FreshSecret | None
    ) -> Written:
        """As `PUT` does; a chosen secret is written where there is none, or when that was asked for."""
        client = await store.get_client_for_change(run.session, existing.id)
        if wanted.organization is None and existing.document["organization"] is None:
            gone = client_documents.document_of(client).organization
            wanted = wanted.model_copy(update={"organization": gone})
        with refusals("client"):
            entries, generated = await clients.change_client(
                run.session,
                client,
                wanted.document(),
                enabled=wanted.enabled,
                secret=prepared if run.set_secrets or not existing.has_secret else None,
                seal=self._parts.client_seal,
                feed=run.feed,
                now=run.now,
            )
        run.entries += entries
        return Written(await _existing_client(run.session, client), generated)

    async def delete(self, run: Run, existing: Existing) -> None:
        """The client is gone, and everything that it was issued."""
        run.entries += await clients.delete_client(run.session, existing.id, feed=run.feed, now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """Registered clients but Watchword's own."""
        found = await store.list_registered_clients(session, after=after, limit=limit, besides=OWN_CLIENTS)
        return [await _existing_client(session, client) for client in found]


async def _existing_client(session: Session, client: Client) -> Existing:
    document = client_documents.document_of(client).model_dump(mode="json")
    secrets = (await store.secrets_of(session, [client.id]))[client.id]
    document["organization"] = await organization_called(session, client_documents.document_of(client).organization)
    members = {"client_id": client.id, **document, "enabled": client.enabled}
    return Existing(client.id, client.short_name or client.client_name, members, has_secret=bool(secrets))


def _conflict(field: str, why: str) -> Problem:
    return Problem(409, "Cannot be declared", errors=[FieldError(pointer=f"#/{field}", detail=why)])
