"""HTTP edge of `/api/v1/rules` and `/api/v1/service-accounts`."""

from contextlib import suppress
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, JsonValue, ValidationError

from watchword_admin import client_documents
from watchword_admin.api import Listing
from watchword_admin.edge import Parts, not_found
from watchword_admin.merging import merged
from watchword_admin.organizations import NoSuchOrganization, Reach, is_within, organization_id, require_within
from watchword_admin.rules import changes, documents, store, trial
from watchword_admin.rules.documents import AccountDocument, AccountView, RuleDocument, RuleView
from watchword_admin.rules.refusals import rule_refusals
from watchword_admin.rules.trial import Trial, Tried
from watchword_admin.store import Unknown, find_client
from watchword_database import Session, transaction
from watchword_policy.engine import RuleEngine
from watchword_policy.rules import Client
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
Members = dict[str, JsonValue]


class RuleListing(Listing):
    """Rules. organization: of an organization, "" for the installation's own.  client: those that apply to a client."""

    rule_name: str | None = Field(None, max_length=64, alias="name")
    organization: str | None = Field(None, max_length=64)
    client: str | None = Field(None, max_length=512)
    enabled: bool | None = None


class AccountListing(Listing):
    """Service accounts."""


def rule_router(parts: Parts) -> APIRouter:
    """`/api/v1/rules`, for administrators; of an organization, for its own rules alone: the delegated level."""
    router = APIRouter(prefix="/api/v1/rules")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    engine = RuleEngine()

    @router.post("", status_code=201)
    async def add_rule(body: RuleDocument, caller: administrator, response: Response) -> RuleView:
        """A new rule, which counts from the next sign-in, refresh or exchange on."""
        with rule_refusals("rule"):
            document = await _bound(parts, body, caller.reach)
            async with transaction(parts.database) as session:
                rule = await changes.add_rule(session, document, reach=caller.reach, now=parts.now())
                shown = await _view(session, rule.id)
        log.info("rule.added", rule_id=shown.id, name=shown.name, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/rules/{shown.id}"
        return shown

    @router.post("/test", response_model_exclude_none=True)
    async def try_rules(body: Trial, caller: administrator) -> Tried:
        """What an expression, a set of drafts or the saved rules decide about given facts, and why."""
        try:
            facts = body.facts_at(parts.now(), issuer=parts.settings.issuer)
        except ValidationError:
            wrong = "groups is a text or a list of texts"
            raise Problem(
                400, "The request is not valid", errors=[{"pointer": "#/claims/groups", "detail": wrong}]
            ) from None
        if body.expression is not None:
            return trial.try_expression(body.expression, facts, engine)
        drafts = None
        if body.rules is not None:
            drafts = [await _draft(parts, place, rule, caller.reach) for place, rule in enumerate(body.rules)]
        async with transaction(parts.database) as session:
            client = await _client(session, body.client)
            if not is_within(caller.reach, client.organization):
                wrong = "there is no such client"
                raise Problem(400, "The request is not valid", errors=[{"pointer": "#/client", "detail": wrong}])
            if drafts is not None:
                rules = trial.drafts(drafts, await store.named_by(session, drafts), engine)
            else:
                rows = await store.standing_rules(session)
                rules = trial.saved(rows, await store.named_by(session, rows), engine)
        return trial.try_rules(rules, facts, client, engine)

    @router.get("")
    async def list_rules(listing: Annotated[RuleListing, Query()], caller: administrator) -> Page[RuleView]:
        """Rules in the order in which they are asked: by precedence, the highest first, then by name."""
        after = None
        if listing.cursor:
            rank, name, rule_id = parts.cursor.read(listing.name, listing.cursor)
            after = (int(rank), str(name), str(rule_id))
        organization = listing.organization
        if organization:
            with suppress(NoSuchOrganization):
                organization = await organization_id(parts.organizations, organization, caller.reach)
        async with transaction(parts.database) as session:
            found = await store.list_rules(
                session,
                after=after,
                limit=listing.limit + 1,
                reach=caller.reach,
                name=listing.rule_name,
                organization=organization,
                client_id=listing.client,
                enabled=listing.enabled,
            )
            shown = found[: listing.limit]
            named = await store.named_by(session, shown)
        last = shown[-1] if len(found) > listing.limit else None
        place = (-last.precedence, last.name, last.id) if last else ()
        return Page(
            items=[documents.view(rule, named) for rule in shown],
            next=parts.cursor.make(listing.name, *place) if last else None,
        )

    @router.get("/{rule_id}")
    async def get_rule(rule_id: Id, caller: administrator) -> RuleView:
        """One rule."""
        with rule_refusals("rule"):
            async with transaction(parts.database) as session:
                return await _view(session, rule_id, caller.reach)

    @router.put("/{rule_id}")
    async def replace_rule(rule_id: Id, body: RuleDocument, caller: administrator) -> RuleView:
        """The rule as described; what is left out returns to its default."""
        with rule_refusals("rule"):
            document = await _bound(parts, body, caller.reach)
            async with transaction(parts.database) as session:
                rule = await store.get_rule_for_change(session, rule_id, caller.reach)
                await changes.change_rule(session, rule, document, reach=caller.reach, now=parts.now())
                shown = await _view(session, rule_id)
        log.info("rule.changed", rule_id=rule_id, fields=sorted(body.model_fields_set), **actor(caller))
        return shown

    @router.patch("/{rule_id}")
    async def update_rule(rule_id: Id, body: Members, caller: administrator) -> RuleView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        with rule_refusals("rule"):
            organization = body.get("organization")
            if isinstance(organization, str):
                named = await organization_id(parts.organizations, organization, caller.reach)
                body = {**body, "organization": named}
            async with transaction(parts.database) as session:
                rule = await store.get_rule_for_change(session, rule_id, caller.reach)
                document = RuleDocument.model_validate(merged(documents.settings_of(rule), body))
                require_within(caller.reach, document.organization)
                await changes.change_rule(session, rule, document, reach=caller.reach, now=parts.now())
                shown = await _view(session, rule_id)
        log.info("rule.changed", rule_id=rule_id, fields=sorted(body), **actor(caller))
        return shown

    @router.delete("/{rule_id}", status_code=204)
    async def delete_rule(rule_id: Id, caller: administrator) -> None:
        """The rule is gone. A client that no other rule applies to is open then, unless its `access` is `rules`."""
        with rule_refusals("rule"):
            async with transaction(parts.database) as session:
                await changes.delete_rule(session, rule_id, reach=caller.reach, now=parts.now())
        log.info("rule.deleted", rule_id=rule_id, **actor(caller))

    return router


def account_router(parts: Parts) -> APIRouter:
    """`/api/v1/service-accounts`, for administrators only."""
    router = APIRouter(prefix="/api/v1/service-accounts")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    named = Annotated[str, Field(max_length=128)]

    @router.post("", status_code=201)
    async def add_service_account(body: AccountDocument, caller: administrator, response: Response) -> AccountView:
        """A new service account. Rules may have named it before: they give its roles from now on."""
        with rule_refusals("service account"):
            async with transaction(parts.database) as session:
                account = await changes.add_account(session, body, now=parts.now())
        log.info("service_account.added", name=account.name, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/service-accounts/{account.name}"
        return documents.account_view(account)

    @router.get("")
    async def list_service_accounts(
        listing: Annotated[AccountListing, Query()], _caller: administrator
    ) -> Page[AccountView]:
        """Service accounts in the order of their names."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_accounts(session, after=after, limit=listing.limit + 1)
        shown = [documents.account_view(account) for account in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].name) if more else None)

    @router.get("/{name:path}")
    async def get_service_account(name: named, _caller: administrator) -> AccountView:
        """One service account."""
        async with transaction(parts.database) as session:
            account = await store.find_account(session, name)
        if account is None:
            raise not_found("service account")
        return documents.account_view(account)

    @router.put("/{name:path}")
    async def replace_service_account(name: named, body: AccountDocument, caller: administrator) -> AccountView:
        """The service account as described; its name cannot change."""
        if body.name != name:
            wrong = "a service account keeps its name"
            raise Problem(400, "The request is not valid", errors=[{"pointer": "#/name", "detail": wrong}])
        with rule_refusals("service account"):
            async with transaction(parts.database) as session:
                account = await store.get_account_for_change(session, name)
                await changes.change_account(session, account, body, now=parts.now())
                shown = documents.account_view(account)
        log.info("service_account.changed", name=name, **actor(caller))
        return shown

    @router.delete("/{name:path}", status_code=204)
    async def delete_service_account(name: named, caller: administrator) -> None:
        """The service account is gone. Refused while a rule leads to it."""
        with rule_refusals("service account"):
            async with transaction(parts.database) as session:
                await changes.delete_account(session, name)
        log.info("service_account.deleted", name=name, **actor(caller))

    return router


async def _view(session: Session, rule_id: str, reach: Reach = None) -> RuleView:
    rule = await store.find_rule(session, rule_id, reach)
    if rule is None:
        raise Unknown(rule_id)
    return documents.view(rule, await store.named_by(session, [rule]))


async def _bound(parts: Parts, document: RuleDocument, reach: Reach) -> RuleDocument:
    """The document with its organization's id; when it names none, that of the only one that the caller administers.

    Raises NoSuchOrganization, BeyondReach.
    """
    if document.organization is not None:
        organization = await organization_id(parts.organizations, document.organization, reach)
    elif reach is not None and len(reach) == 1:
        organization = next(iter(reach))
    else:
        require_within(reach, None)
        return document
    return document.model_copy(update={"organization": organization})


async def _draft(parts: Parts, place: int, document: RuleDocument, reach: Reach) -> RuleDocument:
    if document.organization is None:
        return document  # of the installation: nothing is saved, so anybody may think one up
    try:
        return await _bound(parts, document, reach)
    except NoSuchOrganization:
        raise Problem(
            400,
            "The request is not valid",
            errors=[{"pointer": f"#/rules/{place}/organization", "detail": "there is no such organization"}],
        ) from None


async def _client(session: Session, client_id: str) -> Client:
    """The client as rules see it; one that nobody knows belongs to no organization."""
    known = await find_client(session, client_id) if client_id else None
    if known is None:
        return Client(client_id)
    document = client_documents.document_of(known)
    return Client(client_id, document.organization, document.access)
