"""Which roles and groups a provider's people get: its rules as rows of a form, tried with claims before they are saved.

Everything works without JavaScript: a button adds a row, takes one out or moves it up, and the page comes back with it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

import structlog
from fastapi import Request, Response
from pydantic import JsonValue, ValidationError

from watchword_admin import changes
from watchword_admin.console import documents as seen
from watchword_admin.console.fields import Errors, items_of, lines_of, map_of
from watchword_admin.console.pages import Console, Handler, read_provider
from watchword_admin.console.sessions import Visit
from watchword_admin.provider_kinds import ProviderView
from watchword_admin.provisioning_documents import Provisioning
from watchword_runtime.calls import Refused, unless_away
from watchword_web.errors import MalformedJson
from watchword_web.forms import parse_json, read_query
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/admin/providers/{provider_id}/mapping"
_MOST_FIELDS: Final = 512  # 64 rules of each kind, and the rest
_FIELD: Final = re.compile(r"(role|group)-(\d{1,3})-(name|expression|given|row)")
_DEED: Final = re.compile(r"(add|remove|up)-(role|group)(?:-(\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class Row:
    """A rule as it is typed. given: roles or groups, one a line.  name: of a rule for roles."""

    expression: str = ""
    given: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """What the form says. plain: its controls that are not in rows."""

    roles: tuple[Row, ...]
    groups: tuple[Row, ...]
    plain: Mapping[str, str]

    def members(self) -> dict[str, JsonValue]:
        """The members of a provider that it says."""
        roles: list[JsonValue] = [
            {"name": row.name or None, "expression": row.expression, "roles": items_of(row.given)} for row in self.roles
        ]
        groups: list[JsonValue] = [{"expression": row.expression, "groups": items_of(row.given)} for row in self.groups]
        strict = "strict" in self.plain
        sync: dict[str, JsonValue] = {
            "claim": self.plain.get("claim") or None,
            "names": map_of(self.plain.get("names", "")),
            "pattern": self.plain.get("pattern") or None,
            "rules": groups,
        }
        return {
            "role_mapping": {"rules": roles, "strict": strict} if roles or strict else None,
            "group_sync": sync if any(sync.values()) else None,
            "default_role": self.plain.get("default_role") or None,
            "sync": self.plain.get("sync", "every"),
        }

    def after(self, deed: str) -> "Typed":
        """The same with a row more or less, or in another place."""
        found = _DEED.fullmatch(deed)
        if found is None:
            return self
        what, kind, place = found[1], found[2], int(found[3] or 0)
        rows = list(self.roles if kind == "role" else self.groups)
        if what == "add":
            rows.append(Row())
        elif place < len(rows):
            row = rows.pop(place)
            if what == "up":
                rows.insert(max(place - 1, 0), row)
        return replace(self, roles=tuple(rows)) if kind == "role" else replace(self, groups=tuple(rows))


def typed_in(form: Mapping[str, str]) -> Typed:
    """What a form says; rows in the order of their numbers."""
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for name, value in form.items():
        if (found := _FIELD.fullmatch(name)) is not None:
            row = rows.setdefault((found[1], int(found[2])), {})
            if found[3] != "row":  # which says that there is one, whatever is empty in it
                row[found[3]] = value.strip()
    ordered = {kind: tuple(Row(**rows[key]) for key in sorted(rows) if key[0] == kind) for kind in ("role", "group")}
    plain = {name: value for name, value in form.items() if not _FIELD.fullmatch(name)}
    return Typed(ordered["role"], ordered["group"], plain)


def typed_of(provider: ProviderView) -> Typed:
    """What the form of a provider shows first."""
    mapping, sync = provider.role_mapping, provider.group_sync
    plain = {"default_role": provider.default_role or "", "sync": provider.sync}
    if mapping is not None and mapping.strict:
        plain["strict"] = "1"
    if sync is not None:
        plain |= {"claim": sync.claim or "", "pattern": sync.pattern or "", "names": lines_of(sync.names)}
    return Typed(
        tuple(
            Row(each.expression, "\n".join(each.roles), each.name or "")
            for each in (mapping.rules if mapping is not None else ())
        ),
        tuple(Row(each.expression, "\n".join(each.groups)) for each in (sync.rules if sync is not None else ())),
        plain,
    )


def errors_of(invalid: ValidationError) -> Errors:
    """What is wrong, by the control that says it; "" for what concerns several."""
    found: Errors = {}
    for problem in invalid.errors(include_input=False, include_url=False):
        message = str(problem["msg"]).removeprefix("Value error, ")
        match [str(each) for each in problem["loc"]]:
            case ["role_mapping", "rules", place, "roles", *_]:
                control = f"role-{place}-given"
            case ["role_mapping", "rules", place, member, *_]:
                control = f"role-{place}-{member}"
            case ["group_sync", "rules", place, "groups", *_]:
                control = f"group-{place}-given"
            case ["group_sync", "rules", place, member, *_]:
                control = f"group-{place}-{member}"
            case ["group_sync", member, *_] if member != "rules":
                control = member
            case ["default_role" | "sync" as member, *_]:
                control = member
            case _:
                control = ""
        found.setdefault(control, message.removeprefix("role_mapping: "))
    return found


async def show(console: Console, request: Request, visit: Visit) -> Response:
    """The rules of a provider, to be tried with what it last said of somebody, where that was asked for."""
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    typed, identity_id = typed_of(provider), read_query(request).get("identity")
    if identity_id is not None:
        path = f"identities/{quote(identity_id, safe='')}/claims"
        said = await unless_away(console.calls.get(visit.token, path, seen.LastClaims))
        if said is not None and said.provider_id == provider.id:
            claims = json.dumps(said.claims, ensure_ascii=False, indent=2)
            typed = replace(typed, plain={**typed.plain, "claims": claims})
    return _page(console, request, visit, provider, typed)


async def change(console: Console, request: Request, visit: Visit) -> Response:
    """The rules are saved or tried, or there is a row more or less, by the button that was pressed."""
    form = await console.sessions.read_form(request, visit, most=_MOST_FIELDS)
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    typed, deed = typed_in(form), form.get("deed", "save")
    if deed not in ("save", "try"):
        return _page(console, request, visit, provider, typed.after(deed))
    members = typed.members()
    try:
        Provisioning.model_validate({"organization": provider.organization, **members})
        if deed == "save":
            ending = console.parts.endings.here()
            await changes.update_provider(console.parts, provider.id, members, ending, end_sessions=False)
    except ValidationError as wrong:
        return _page(console, request, visit, provider, typed, errors=errors_of(wrong))
    if deed == "save":
        log.info("provider.changed", provider_id=provider.id, fields=sorted(members), by_user=visit.user.id)
        return console.go(f"/admin/providers/{provider.id}/mapping")
    return await _try(console, request, visit, provider, typed, members)


async def _try(
    console: Console,
    request: Request,
    visit: Visit,
    provider: ProviderView,
    typed: Typed,
    members: Mapping[str, JsonValue],
) -> Response:
    """What somebody with the typed claims would get by what is typed; nothing is stored."""
    settings: dict[str, JsonValue] = {name: members[name] for name in ("role_mapping", "group_sync", "default_role")}
    try:
        claims = parse_json(typed.plain.get("claims", "").encode())
        body = {"provider_id": provider.id, "claims": claims, "as_if": settings}
        tried = await console.calls.post(visit.token, "identities/preview", seen.Resolved, body)
    except MalformedJson:
        return _page(console, request, visit, provider, typed, errors={"claims": Text("not JSON")})
    except Refused as refused:
        return _page(console, request, visit, provider, typed, errors={"claims": " ".join(refused.errors.values())})
    return _page(console, request, visit, provider, typed, tried=tried)


def _page(
    console: Console,
    request: Request,
    visit: Visit,
    provider: ProviderView,
    typed: Typed,
    *,
    errors: Errors | None = None,
    tried: seen.Resolved | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "provider_mapping.html",
        here="providers",
        provider=provider,
        typed=typed,
        values=dict(typed.plain),
        errors=errors,
        tried=tried,
    )


GET: Final[Mapping[str, Handler]] = {_PATH: show}
POST: Final[Mapping[str, Handler]] = {_PATH: change}
