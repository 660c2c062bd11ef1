"""Named SQL of access rules and service accounts. `get_` raises, `find_` may return None, `claim_` changes once."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import and_, delete, func, or_, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_admin.models import AccessRule, Client, ClientKind, ServiceAccount
from watchword_admin.organizations import GONE, Reach, is_within, short_names
from watchword_admin.rules.documents import Named, RuleDocument
from watchword_admin.store import Unknown
from watchword_database import Session

_STANDS = col(AccessRule.deleted_at).is_(None)
# One that describes itself at a URL may come back.
_IS_GONE = and_(col(Client.deleted_at).is_not(None), col(Client.kind) != ClientKind.DOCUMENT.value)


async def find_rule(session: Session, rule_id: str, reach: Reach = None) -> AccessRule | None:
    """The rule, unless unknown, deleted or beyond reach."""
    rule = (await session.exec(select(AccessRule).where(col(AccessRule.id) == rule_id, _STANDS))).one_or_none()
    return rule if rule is not None and is_within(reach, rule.organization) else None


async def get_rule_for_change(session: Session, rule_id: str, reach: Reach = None) -> AccessRule:
    """The rule, locked until the end of the transaction. Raises Unknown, also for one beyond reach."""
    statement = select(AccessRule).where(col(AccessRule.id) == rule_id, _STANDS).with_for_update()
    rule = (await session.exec(statement)).one_or_none()
    if rule is None or not is_within(reach, rule.organization):
        raise Unknown(rule_id)
    return rule


async def is_deleted_rule(session: Session, rule_id: str) -> bool:
    """Whether there was such a rule, which has been deleted."""
    statement = select(col(AccessRule.id)).where(col(AccessRule.id) == rule_id, col(AccessRule.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def claim_new_rule(session: Session, rule: AccessRule) -> bool:
    """True when the rule exists now; False when its name belongs to another of the same level."""
    statement = insert(AccessRule).values(**rule.model_dump()).on_conflict_do_nothing().returning(col(AccessRule.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_rules(
    session: Session,
    *,
    after: tuple[int, str, str] | None,
    limit: int,
    reach: Reach = None,
    name: str | None = None,
    organization: str | None = None,
    client_id: str | None = None,
    enabled: bool | None = None,
) -> Sequence[AccessRule]:
    """Rules within reach in the order in which they are asked, those after (−precedence, name, id).

    client_id: those for it.
    """
    place = tuple_(-col(AccessRule.precedence), col(AccessRule.name), col(AccessRule.id))
    statement = select(AccessRule).where(_STANDS).order_by(*place.clauses).limit(limit)
    if after is not None:
        statement = statement.where(place > after)
    if reach is not None:
        statement = statement.where(col(AccessRule.organization).in_(reach))
    if name is not None:
        statement = statement.where(col(AccessRule.name) == name)
    if organization is not None:
        statement = statement.where(col(AccessRule.organization) == (organization or None))
    if enabled is not None:
        statement = statement.where(col(AccessRule.enabled) == enabled)
    if client_id is not None:
        clients = col(AccessRule.document)["clients"]
        statement = statement.where(or_(clients.contains([client_id]), clients == []))
    return (await session.exec(statement)).all()


async def list_declared_rules(session: Session, *, after: str, limit: int) -> Sequence[AccessRule]:
    """Rules in the order of their ids, those after `after`, but those whose organization or clients are all gone."""
    clients = col(AccessRule.document)["clients"]
    named = func.jsonb_array_elements_text(clients).table_valued("value").alias("named")
    gone = select(col(Client.id)).where(_IS_GONE)
    statement = (
        select(AccessRule)
        .where(
            _STANDS,
            col(AccessRule.id) > after,
            or_(col(AccessRule.organization).is_(None), col(AccessRule.organization).not_in(GONE)),
            or_(clients == [], select(named.c.value).where(named.c.value.not_in(gone)).exists()),
        )
        .order_by(col(AccessRule.id))
    )
    return (await session.exec(statement.limit(limit))).all()


async def standing_rules(session: Session) -> Sequence[AccessRule]:
    """Every rule that has not been deleted."""
    return (await session.exec(select(AccessRule).where(_STANDS))).all()


async def count_rules(session: Session, organization: str | None = None) -> int:
    """How many rules there are; of one organization, when one is named."""
    statement = select(func.count()).select_from(AccessRule).where(_STANDS)
    if organization is not None:
        statement = statement.where(col(AccessRule.organization) == organization)
    return int((await session.exec(statement)).one())


async def export_rules(session: Session, *, ids: Sequence[str], after: str, limit: int) -> Sequence[AccessRule]:
    """Rules by their ids or, without ids, the page after an id, tombstones included."""
    statement = select(AccessRule).order_by(col(AccessRule.id)).limit(limit)
    statement = statement.where(col(AccessRule.id).in_(ids)) if ids else statement.where(col(AccessRule.id) > after)
    return (await session.exec(statement)).all()


async def rules_of_account(session: Session, name: str) -> Sequence[AccessRule]:
    """The rules that lead to a service account, locked until the end of the transaction, always in the same order."""
    statement = select(AccessRule).where(col(AccessRule.service_account) == name, _STANDS)
    return (await session.exec(statement.order_by(col(AccessRule.id)).with_for_update())).all()


async def find_account(session: Session, name: str) -> ServiceAccount | None:
    """The service account with a name."""
    return await session.get(ServiceAccount, name)


async def get_account_for_change(session: Session, name: str) -> ServiceAccount:
    """The service account, locked until the end of the transaction. Raises Unknown."""
    statement = select(ServiceAccount).where(col(ServiceAccount.name) == name).with_for_update()
    account = (await session.exec(statement)).one_or_none()
    if account is None:
        raise Unknown(name)
    return account


async def claim_new_account(session: Session, account: ServiceAccount) -> bool:
    """True when the service account exists now; False when there is one with this name."""
    statement = insert(ServiceAccount).values(**account.model_dump()).on_conflict_do_nothing()
    return (await session.exec(statement.returning(col(ServiceAccount.name)))).scalar_one_or_none() is not None


async def claim_deleted_account(session: Session, name: str) -> int | None:
    """The version of the service account that is gone by this statement; None when there is none."""
    statement = delete(ServiceAccount).where(col(ServiceAccount.name) == name).returning(col(ServiceAccount.version))
    return (await session.exec(statement)).scalar_one_or_none()


async def list_accounts(session: Session, *, after: str, limit: int) -> Sequence[ServiceAccount]:
    """Service accounts in the order of their names, those after a name."""
    statement = select(ServiceAccount).where(col(ServiceAccount.name) > after).order_by(col(ServiceAccount.name))
    return (await session.exec(statement.limit(limit))).all()


async def named_by(session: Session, rules: Iterable[AccessRule | RuleDocument]) -> Named:
    """What these rules name; a service account that does not exist gives no roles."""
    rules = list(rules)
    wanted = {rule.service_account for rule in rules if rule.service_account is not None}
    found = (await session.exec(select(ServiceAccount).where(col(ServiceAccount.name).in_(wanted)))).all()
    roles = {account.name: tuple(_texts(account.document.get("roles"))) for account in found}
    return Named(roles, await short_names(session, [rule.organization for rule in rules]))


async def client_ids(session: Session, names: Sequence[str], reach: Reach = None) -> Mapping[str, str]:
    """Ids of clients within reach by what they were called: their id, or their short name."""
    wanted = [name.lower() for name in names]
    statement = select(col(Client.id), col(Client.short_name)).where(
        col(Client.deleted_at).is_(None),
        or_(col(Client.id).in_(names), func.lower(col(Client.short_name)).in_(wanted)),
    )
    if reach is not None:
        statement = statement.where(col(Client.document)["organization"].astext.in_(reach))
    rows = (await session.exec(statement)).all()
    by_id = {row[0]: row[0] for row in rows}
    by_name = {row[1].lower(): row[0] for row in rows if row[1] is not None}
    return {name: found for name in names if (found := by_id.get(name) or by_name.get(name.lower())) is not None}


async def gone_clients(session: Session, ids: Sequence[str]) -> frozenset[str]:
    """Those of the ids that no client has any more."""
    return frozenset((await session.exec(select(col(Client.id)).where(col(Client.id).in_(ids), _IS_GONE))).all())


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
