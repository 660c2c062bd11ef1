"""Roles at the console, and who has them."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.groups import user_named
from watchword_admin.console.pages import Console, Handler, asked_of, cursor_of, following, named
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused, together, unless_away
from watchword_web.texts import Text

_ROWS: Final = "50"
_ROLE: Final = "/admin/roles/{role_id}"


async def list_roles(console: Console, request: Request, visit: Visit) -> Response:
    """Roles in the order of their names."""
    asked = asked_of(request, ("search",))
    found = await console.calls.page(visit.token, "roles", seen.Role, limit=_ROWS, **asked, **cursor_of(request))
    return console.render(
        request,
        visit,
        "roles.html",
        here="roles",
        roles=found.items,
        asked=asked,
        following=following("/admin/roles", asked, found.next),
    )


async def new_role(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return _form(console, request, visit, values={})


async def save_role(console: Console, request: Request, visit: Visit) -> Response:
    """The role as the form says."""
    form = await console.sessions.read_form(request, visit)
    known = await _role(console, request, visit) if "role_id" in request.path_params else None
    members: dict[str, object] = {"name": form.get("name", ""), "description": form.get("description")}
    members["permissions"] = form.get("permissions", "").split()
    try:
        if known:
            await console.calls.send(visit.token, "PATCH", f"roles/{known.id}", members)
            return console.go(f"/admin/roles/{known.id}")
        made = await console.calls.post(visit.token, "roles", seen.Role, members)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors, known=known)
    return console.go(f"/admin/roles/{made.id}")


async def edit_role(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing role."""
    role = await _role(console, request, visit)
    values = {
        "name": role.name,
        "description": role.description or "",
        "permissions": "\n".join(role.permissions),
    }
    return _form(console, request, visit, values=values, known=role)


async def show_role(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    """One role, and who has it. typed: what the form said that was refused."""
    role_id = named(request)["role_id"]
    given = await unless_away(  # not for every role
        console.calls.page(visit.token, "assignments", seen.Assignment, limit=_ROWS, role=role_id, **cursor_of(request))
    )
    role, groups = await together(
        console.calls.get(visit.token, f"roles/{role_id}", seen.Role),
        console.calls.page(visit.token, "groups", seen.Group, limit="200"),
    )
    assignments = given.items if given else []
    names = await console.names(
        users=[each.user for each in assignments], organizations=[each.organization for each in assignments]
    )
    return console.form(
        request,
        visit,
        "role.html",
        here="roles",
        role=role,
        assignments=assignments if given else None,
        groups={group.id: group.full_name for group in groups.items},
        names=names,
        typed=typed or {"organization": await console.own_organization(visit)},
        errors=errors,
        following=following(f"/admin/roles/{role_id}", {}, given.next if given else None),
    )


async def give_role(console: Console, request: Request, visit: Visit) -> Response:
    """A user or a group has the role, everywhere or within one organization."""
    form = await console.sessions.read_form(request, visit)
    role_id = str(request.path_params["role_id"])
    body: dict[str, object] = {"role": role_id}
    body |= {"organization": form["organization"]} if "organization" in form else {}
    who = form.get("who", "")
    if form.get("kind") == "group":
        found = await console.calls.page(visit.token, "groups", seen.Group, full_name=who[:320])
        body["group"] = found.items[0].id if found.items and who else ""
    else:
        user = await user_named(console, visit, who)
        body["user"] = user.id if user else ""
    if not (body.get("group") or body.get("user")):
        wrong = {"who": Text("there is nobody of this name")}
        return await show_role(console, request, visit, errors=wrong, typed=form)
    try:
        await console.calls.send(visit.token, "POST", "assignments", body)
    except Refused as refused:
        return await show_role(console, request, visit, errors=refused.errors, typed=form)
    return console.go(f"/admin/roles/{named(request)['role_id']}")


async def take_role(console: Console, request: Request, visit: Visit) -> Response:
    """The assignment is gone."""
    await console.sessions.read_form(request, visit)
    given = named(request)
    try:
        await console.calls.send(visit.token, "DELETE", f"assignments/{given['assignment_id']}")
    except Refused as refused:
        return await show_role(console, request, visit, errors=refused.errors)
    return console.go(f"/admin/roles/{given['role_id']}")


async def ask_to_delete(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    role = await _role(console, request, visit)
    return console.render(request, visit, "role_question.html", here="roles", role=role)


async def delete_role(console: Console, request: Request, visit: Visit) -> Response:
    """The role is gone."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "DELETE", f"roles/{named(request)['role_id']}")
    return console.go("/admin/roles")


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    known: seen.Role | None = None,
) -> Response:
    return console.form(request, visit, "role_form.html", here="roles", values=values, errors=errors, known=known)


async def _role(console: Console, request: Request, visit: Visit) -> seen.Role:
    return await console.calls.get(visit.token, f"roles/{named(request)['role_id']}", seen.Role)


GET: Final[Mapping[str, Handler]] = {
    "/admin/roles": list_roles,
    "/admin/roles/new": new_role,
    _ROLE: show_role,
    f"{_ROLE}/edit": edit_role,
    f"{_ROLE}/delete": ask_to_delete,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/roles": save_role,
    _ROLE: save_role,
    f"{_ROLE}/assignments": give_role,
    f"{_ROLE}/assignments/{{assignment_id}}/take": take_role,
    f"{_ROLE}/delete": delete_role,
}
