"""Access rules at the console: writing and trying them, and what they decided."""

from collections.abc import Iterable, Mapping
from typing import Final

import orjson
from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.answers import worded
from watchword_admin.console.fields import items_of
from watchword_admin.console.group_names import groups_in, unknown_groups
from watchword_admin.console.pages import Console, Handler, Names, cursor_of, following, named
from watchword_admin.console.sessions import Visit
from watchword_admin.organizations import NoSuchOrganization, organization_id
from watchword_admin.rules.store import client_ids
from watchword_database import transaction
from watchword_runtime.calls import Refused, unless_away
from watchword_web.forms import read_query
from watchword_web.texts import Text

_RULE: Final = "/admin/rules/{rule_id}"
_MANY: Final = "200"
_ROWS: Final = "50"


async def list_rules(console: Console, request: Request, visit: Visit) -> Response:
    """Rules in the order in which they are asked. `saved`: the one that was just written, and may name no group."""
    saved = read_query(request).get("saved")
    found = await console.calls.page(visit.token, "rules", seen.Rule, limit=_MANY, **cursor_of(request))
    names = await console.names(
        clients=[client for rule in found.items for client in rule.clients],
        organizations=[rule.organization for rule in found.items],
    )
    return console.render(
        request,
        visit,
        "rules.html",
        here="rules",
        rules=found.items,
        names=names,
        unknown=await unknown_groups(
            console, visit, [name for rule in found.items if rule.id == saved for name in groups_in(rule.expression)]
        ),
        following=following("/admin/rules", {}, found.next),
    )


async def new_rule(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return await _form(console, request, visit, values={"enabled": "1", "precedence": "0"})


async def edit_rule(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing rule."""
    rule = await _rule(console, request, visit)
    names = await console.names(organizations=[rule.organization])
    values = {
        "name": rule.name,
        "description": rule.description or "",
        "expression": rule.expression,
        "precedence": str(rule.precedence),
        "service_account": rule.service_account or "",
        "roles": "\n".join(rule.roles),
        "clients": "\n".join(rule.clients),
        "organization": names.organizations.get(rule.organization or "", rule.organization or ""),
        **({"enabled": "1"} if rule.enabled else {}),
    }
    return await _form(console, request, visit, values=values, known=rule)


async def save_rule(console: Console, request: Request, visit: Visit) -> Response:
    """The rule as the form says; or what it says about the facts in the form."""
    form = await console.sessions.read_form(request, visit)
    known = await _rule(console, request, visit) if "rule_id" in request.path_params else None
    try:
        if form.get("deed") == "try":
            body = {"expression": form.get("expression", ""), "facts": _facts(form)}
            tried = await console.calls.post(visit.token, "rules/test", seen.Tried, body)
            return await _form(console, request, visit, values=form, known=known, tried=tried)
        if known:
            await console.calls.send(visit.token, "PUT", f"rules/{known.id}", _members(form))
        else:
            known = await console.calls.post(visit.token, "rules", seen.Rule, _members(form))
    except Refused as refused:
        return await _form(console, request, visit, values=form, known=known, refused=refused)
    return console.go(f"/admin/rules?saved={known.id}")


async def ask_who(console: Console, request: Request, visit: Visit) -> Response:
    """The rule as the form says is not saved: what it would have said about real sign-ins."""
    form = await console.sessions.read_form(request, visit)
    known = await _rule(console, request, visit) if "rule_id" in request.path_params else None
    try:
        return await _dry_run(console, request, visit, form, known)
    except Refused as refused:
        return await _form(console, request, visit, values=form, known=known, refused=refused)


async def _dry_run(
    console: Console, request: Request, visit: Visit, form: Mapping[str, str], known: seen.Rule | None
) -> Response:
    """What the rule of the form would have decided about the sign-ins of the last 30 days. Raises Refused."""
    members = {name: value for name, value in _members(form).items() if name not in {"roles", "description"}}
    async with transaction(console.parts.database) as session:
        ids = await client_ids(session, form.get("clients", "").split())
    members["clients"] = [ids.get(name, name) for name in form.get("clients", "").split()]
    members |= {"name": form.get("name", "draft")} | ({"id": known.id} if known else {})
    if named_organization := form.get("organization"):
        try:
            members["organization"] = await organization_id(console.parts.organizations, named_organization)
        except NoSuchOrganization:
            raise Refused(400, "", {"organization": Text("there is no such organization")}, {}) from None
    try:
        found = await console.calls.post(visit.token, "decisions/dry-run", seen.DryRun, {"rules": [members]})
    except Refused as refused:  # of one rule in a list: what is wrong is said with its place in the expression
        place = {"expression": next(iter(refused.places.values()))} if refused.places else {}
        text = " ".join(refused.errors.values())
        raise Refused(refused.status, refused.title, {"expression" if place else "": text}, place) from refused
    return await _form(console, request, visit, values=form, known=known, run=found, names=await _names(console, found))


async def _names(console: Console, found: seen.DryRun | None, *, clients: Iterable[str] = ()) -> Names:
    """Of everybody in a dry run, of the clients there, and of others."""
    affected = (*found.gains, *found.loses, *found.others) if found else ()
    return await console.names(
        users=[each.user_id for each in affected], clients=[*clients, *(each.client_id for each in affected)]
    )


async def ask_to_delete(console: Console, request: Request, visit: Visit) -> Response:
    """The question before, with who would get in and who would not any more."""
    rule = await _rule(console, request, visit)
    run = await unless_away(  # not for every role
        console.calls.post(visit.token, "decisions/dry-run", seen.DryRun, {"removed": [rule.id]})
    )
    names = await _names(console, run, clients=rule.clients)
    return console.render(request, visit, "rule_question.html", here="rules", rule=rule, names=names, run=run)


async def delete_rule(console: Console, request: Request, visit: Visit) -> Response:
    """The rule is gone."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "DELETE", f"rules/{named(request)['rule_id']}")
    return console.go("/admin/rules")


async def show_tester(console: Console, request: Request, visit: Visit) -> Response:
    """The form for asking the saved rules."""
    return _tester(console, request, visit, values={})


async def try_rules(console: Console, request: Request, visit: Visit) -> Response:
    """What the saved rules decide about a person, and why."""
    form = await console.sessions.read_form(request, visit)
    try:
        body = {"facts": _facts(form), "client": form.get("client", "")}
        tried = await console.calls.post(visit.token, "rules/test", seen.Tried, body)
    except Refused as refused:
        return _tester(console, request, visit, values=form, errors=refused.errors)
    return _tester(console, request, visit, values=form, tried=tried)


async def list_decisions(console: Console, request: Request, visit: Visit) -> Response:
    """What was decided, newest first."""
    query = read_query(request)
    asked = {name: query[name] for name in ("allowed", "client_id", "user_id", "rule_id") if name in query}
    found = await console.calls.page(
        visit.token, "decisions", seen.Decision, limit=_ROWS, **asked, **cursor_of(request)
    )
    names = await console.names(
        users=[each.user_id for each in found.items], clients=[each.client_id for each in found.items]
    )
    return console.render(
        request,
        visit,
        "decisions.html",
        here="decisions",
        decisions=found.items,
        asked=asked,
        names=names,
        following=following("/admin/decisions", asked, found.next),
    )


async def show_decision(console: Console, request: Request, visit: Visit) -> Response:
    """One decision with the facts that it was about."""
    path = f"decisions/{named(request)['decision_id']}"
    decision = await console.calls.get(visit.token, path, seen.DecisionInFull)
    names = await console.names(users=[decision.user_id], clients=[decision.client_id])
    return console.render(request, visit, "decision.html", here="decisions", decision=decision, names=names)


async def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    known: seen.Rule | None = None,
    refused: Refused | None = None,
    tried: seen.Tried | None = None,
    run: seen.DryRun | None = None,
    names: Names | None = None,
) -> Response:
    place = refused.places.get("expression") if refused else None
    if tried and tried.line and tried.column:
        place = (tried.line, tried.column)
    return console.render(
        request,
        visit,
        "rule_form.html",
        here="rules",
        status=400 if refused else 200,
        values=values,
        errors=worded(refused.errors if refused else {}),
        known=known,
        tried=tried,
        run=run,
        names=names,
        unknown=[] if refused else await unknown_groups(console, visit, groups_in(values.get("expression", ""))),
        pointed=_pointed(values.get("expression", ""), *place) if place else "",
    )


def _tester(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    tried: seen.Tried | None = None,
) -> Response:
    return console.form(request, visit, "rule_tester.html", here="rules", values=values, errors=errors, tried=tried)


def _members(form: Mapping[str, str]) -> dict[str, object]:
    """The rule that a form describes."""
    members: dict[str, object] = {
        name: form[name] for name in ("description", "service_account", "organization") if name in form
    }
    precedence = form.get("precedence", "0")
    is_number = precedence.removeprefix("-").isdecimal() and len(precedence) < 12
    return members | {
        "name": form.get("name", ""),
        "expression": form.get("expression", "").replace("\r\n", "\n"),
        "precedence": int(precedence) if is_number else precedence,
        "roles": form.get("roles", "").split(),
        "clients": form.get("clients", "").split(),
        "enabled": "enabled" in form,
    }


def _facts(form: Mapping[str, str]) -> dict[str, object]:
    """The facts that a form describes. Raises Refused when the claims are no JSON object."""
    facts: dict[str, object] = {name: form[name] for name in ("email", "sub", "ip") if name in form}
    facts["groups"] = items_of(form.get("groups", ""))
    try:
        claims = orjson.loads(form.get("claims", "{}"))
    except orjson.JSONDecodeError as error:
        raise Refused(400, "", {"claims": Text("not JSON: %(reason)s", reason=error.msg)}, {}) from None
    if not isinstance(claims, dict):
        raise Refused(400, "", {"claims": Text('a JSON object, for example {"department": "ops"}')}, {})
    return facts | {"claims": claims}


def _pointed(text: str, line: int, column: int) -> str:
    """The line of a text with a mark below the column, both from 1."""
    lines = text.splitlines()
    return f"{lines[line - 1]}\n{' ' * (column - 1)}^" if line <= len(lines) else ""


async def _rule(console: Console, request: Request, visit: Visit) -> seen.Rule:
    return await console.calls.get(visit.token, f"rules/{named(request)['rule_id']}", seen.Rule)


GET: Final[Mapping[str, Handler]] = {
    "/admin/rules": list_rules,
    "/admin/rules/new": new_rule,
    "/admin/rules/test": show_tester,
    _RULE: edit_rule,
    f"{_RULE}/delete": ask_to_delete,
    "/admin/decisions": list_decisions,
    "/admin/decisions/{decision_id}": show_decision,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/rules": save_rule,
    "/admin/rules/test": try_rules,
    "/admin/rules/dry-run": ask_who,
    _RULE: save_rule,
    f"{_RULE}/dry-run": ask_who,
    f"{_RULE}/delete": delete_rule,
}
