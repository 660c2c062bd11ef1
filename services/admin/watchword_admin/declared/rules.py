"""Access rules and service accounts as declared documents."""

import re
from collections.abc import Sequence
from typing import Final

from watchword_admin.declared.organizations import organization_called, organization_of
from watchword_admin.edge import Parts
from watchword_admin.models import AccessRule, ServiceAccount
from watchword_admin.rules import changes, store
from watchword_admin.rules.documents import AccountDocument, RuleDocument, account_of, settings_of
from watchword_admin.rules.refusals import rule_refusals
from watchword_admin.store import short_names
from watchword_database import Session
from watchword_runtime.declared import Existing, Kind, Run, Written

# The id of a client that registered itself: where it did, rules may name it, and documents say nothing else of it.
_GENERATED: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ServiceAccounts(Kind[AccountDocument]):
    """Service accounts, by their name."""

    name = "ServiceAccount"
    model = AccountDocument

    async def find(self, run: Run, wanted: AccountDocument) -> Existing | None:
        """By `name`."""
        found = await store.find_account(run.session, wanted.name)
        return None if found is None else _account(found)

    async def create(self, run: Run, wanted: AccountDocument, prepared: None) -> Written:
        """Rules may lead to it."""
        with rule_refusals("service account"):
            return Written(_account(await changes.add_account(run.session, wanted, now=run.now)))

    async def change(self, run: Run, existing: Existing, wanted: AccountDocument, prepared: None) -> Written:
        """As `PUT` does."""
        account = await store.get_account_for_change(run.session, existing.id)
        await changes.change_account(run.session, account, wanted, now=run.now)
        return Written(_account(account))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is gone, if no rule leads to it."""
        with rule_refusals("service account"):
            await changes.delete_account(run.session, existing.id)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [_account(each) for each in await store.list_accounts(session, after=after, limit=limit)]


class Rules(Kind[RuleDocument]):
    """Access rules, by organization and name."""

    name = "AccessRule"
    model = RuleDocument
    after = ("Client", "ServiceAccount")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def resolve(self, wanted: RuleDocument, *, is_rehearsal: bool) -> RuleDocument:
        """With its organization's id."""
        organization = await organization_of(self._parts, wanted.organization, is_rehearsal=is_rehearsal)
        return wanted.model_copy(update={"organization": organization})

    async def find(self, run: Run, wanted: RuleDocument) -> Existing | None:
        """By `organization` and `name`."""
        found = await store.list_rules(
            run.session, after=None, limit=1, name=wanted.name, organization=wanted.organization or ""
        )
        return await _rule(run.session, found[0]) if found else None

    async def create(self, run: Run, wanted: RuleDocument, prepared: None) -> Written:
        """It counts from the next sign-in on."""
        with rule_refusals("rule"):
            rule = await changes.add_rule(run.session, wanted, keep=_generated(wanted), now=run.now)
        return Written(await _rule(run.session, rule))

    async def change(self, run: Run, existing: Existing, wanted: RuleDocument, prepared: None) -> Written:
        """As `PUT` does."""
        rule = await store.get_rule_for_change(run.session, existing.id)
        if list(wanted.clients) == existing.document["clients"]:
            wanted = wanted.model_copy(update={"clients": settings_of(rule).clients})  # with those that are gone
        with rule_refusals("rule"):
            await changes.change_rule(run.session, rule, wanted, keep=_generated(wanted), now=run.now)
        return Written(await _rule(run.session, rule))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is gone."""
        await changes.delete_rule(run.session, existing.id, now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All but those of an organization that is gone, or for clients that are gone alone: they count for nobody."""
        found = await store.list_declared_rules(session, after=after, limit=limit)
        return [await _rule(session, each) for each in found]


def _generated(wanted: RuleDocument) -> list[str]:
    return [each for each in wanted.clients if _GENERATED.fullmatch(each)]


def _account(account: ServiceAccount) -> Existing:
    return Existing(account.name, account.name, account_of(account).model_dump(mode="json"))


async def _rule(session: Session, rule: AccessRule) -> Existing:
    """The rule, with its clients and organization by their short names where they have one; without what is gone."""
    settings = settings_of(rule)
    called = await short_names(session, settings.clients)
    gone = await store.gone_clients(session, settings.clients)
    organization = await organization_called(session, settings.organization)
    members = settings.model_dump(mode="json") | {
        "clients": [called.get(each) or each for each in settings.clients if each not in gone],
        "organization": organization,
    }
    return Existing(rule.id, rule.name if organization is None else f"{organization}/{rule.name}", members)
