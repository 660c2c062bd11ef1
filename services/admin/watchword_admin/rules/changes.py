"""Changes of access rules and service accounts, each in its caller's transaction, with its events.

A rule change ends nothing by itself: it counts at the next sign-in, refresh or exchange (docs/access-rules.md).
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError

from watchword_admin.models import AccessRule, ServiceAccount
from watchword_admin.organizations import Reach
from watchword_admin.rules import store
from watchword_admin.rules.documents import AccountDocument, RuleDocument, account_of, settings_of
from watchword_admin.store import Unknown
from watchword_database import Session
from watchword_database.turns import take_turn
from watchword_events.contracts import RuleChanged, ServiceAccountChanged

MAX_RULES: Final = 5000
MAX_DELEGATED: Final = 200  # that an organization's own administrators make: they leave room for everybody else's


class NameTaken(Exception):
    """Another rule of the same level, or another service account, has this name."""


class TooManyRules(Exception):
    """There are as many rules as there may be. most: how many that is."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


class UnknownClient(Exception):
    """A rule names a client that there is not. place: in the list."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class AccountInUse(Exception):
    """Rules lead to the service account. rules: their names."""

    def __init__(self, rules: Sequence[str]) -> None:
        super().__init__(", ".join(rules))
        self.rules = rules


async def add_rule(
    session: Session, document: RuleDocument, *, keep: Sequence[str] = (), reach: Reach = None, now: datetime
) -> AccessRule:
    """The rule counts from now on. reach: of the caller; the document's organization is within it.

    keep: ids of clients that need not be there. Raises NameTaken, UnknownClient, TooManyRules. Appends RuleChanged.
    """
    await take_turn(session, "admin.rules")
    if reach is not None and await store.count_rules(session, document.organization) >= MAX_DELEGATED:
        raise TooManyRules(MAX_DELEGATED)
    if await store.count_rules(session) >= MAX_RULES:
        raise TooManyRules(MAX_RULES)
    document = await _resolved(session, document, keep=keep, reach=reach)
    rule = _written(AccessRule(id=str(uuid.uuid4()), version=1, created_at=now, updated_at=now), document)
    if not await store.claim_new_rule(session, rule):
        raise NameTaken(document.name)
    session.emit(RuleChanged(id=rule.id, version=1))
    return rule


async def change_rule(
    session: Session,
    rule: AccessRule,
    document: RuleDocument,
    *,
    keep: Sequence[str] = (),
    reach: Reach = None,
    now: datetime,
) -> None:
    """The rule is as described. rule: locked. Nothing happens when nothing differs. keep, reach: as of `add_rule`.

    Raises NameTaken, UnknownClient. Appends RuleChanged.
    """
    known = settings_of(rule)
    document = await _resolved(session, document, keep=[*known.clients, *keep], reach=reach)
    if document.model_dump() != known.model_dump():
        await _rise(session, _written(rule, document), now=now)


async def delete_rule(session: Session, rule_id: str, *, reach: Reach = None, now: datetime) -> None:
    """The rule is gone, a tombstone stays; doing it again changes nothing. reach: of the caller.

    Raises Unknown. Appends RuleChanged.
    """
    try:
        rule = await store.get_rule_for_change(session, rule_id, reach)
    except Unknown:
        if reach is None and await store.is_deleted_rule(session, rule_id):
            return
        raise
    rule.name, rule.document, rule.service_account, rule.deleted_at = "", {}, None, now
    await _rise(session, rule, now=now)


async def add_account(session: Session, document: AccountDocument, *, now: datetime) -> ServiceAccount:
    """The service account exists; rules that named it before have its roles. Raises NameTaken.

    Appends ServiceAccountChanged, and RuleChanged for each of those rules.
    """
    account = ServiceAccount(
        name=document.name, version=1, document=document.model_dump(mode="json"), created_at=now, updated_at=now
    )
    if not await store.claim_new_account(session, account):
        raise NameTaken(document.name)
    session.emit(ServiceAccountChanged(id=account.name, version=1))
    if document.roles:
        await _touch_rules(session, document.name, now=now)
    return account


async def change_account(
    session: Session, account: ServiceAccount, document: AccountDocument, *, now: datetime
) -> None:
    """The service account is as described. account: locked. Nothing happens when nothing differs.

    Appends ServiceAccountChanged and, when its roles are others, RuleChanged for each rule that leads to it.
    """
    before = account_of(account)
    if document == before:
        return
    account.document = document.model_dump(mode="json")
    account.version += 1
    account.updated_at = now
    await session.flush()
    session.emit(ServiceAccountChanged(id=account.name, version=account.version))
    if set(document.roles) != set(before.roles):
        await _touch_rules(session, account.name, now=now)


async def delete_account(session: Session, name: str) -> None:
    """The service account is gone. Raises Unknown, AccountInUse. Appends ServiceAccountChanged."""
    if using := await store.rules_of_account(session, name):
        raise AccountInUse([rule.name for rule in using])
    version = await store.claim_deleted_account(session, name)
    if version is None:
        raise Unknown(name)
    session.emit(ServiceAccountChanged(id=name, version=version + 1))


async def _touch_rules(session: Session, account: str, *, now: datetime) -> None:
    """What others copy of these rules has changed."""
    for rule in await store.rules_of_account(session, account):
        await _rise(session, rule, now=now)


async def _rise(session: Session, rule: AccessRule, *, now: datetime) -> None:
    name = rule.name
    rule.version += 1
    rule.updated_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken(name) from error
    session.emit(RuleChanged(id=rule.id, version=rule.version))


async def _resolved(
    session: Session, document: RuleDocument, *, keep: Sequence[str] = (), reach: Reach
) -> RuleDocument:
    """The document with ids in place of short names. A URL names a client that describes itself there.

    keep: ids that may stand there although there is no such client.
    """
    if not document.clients:
        return document
    known = await store.client_ids(session, document.clients, reach)
    ids = []
    for place, name in enumerate(document.clients):
        is_id = name in keep or (name.startswith("https://") and reach is None)
        found = known.get(name, name if is_id else None)
        if found is None:
            raise UnknownClient(place)
        ids.append(found)
    return document.model_copy(update={"clients": tuple(dict.fromkeys(ids))})


def _written(rule: AccessRule, document: RuleDocument) -> AccessRule:
    """The row, as the document says."""
    rule.name, rule.organization = document.name, document.organization
    rule.precedence, rule.service_account, rule.enabled = (
        document.precedence,
        document.service_account,
        document.enabled,
    )
    rule.document = document.model_dump(mode="json")
    return rule
