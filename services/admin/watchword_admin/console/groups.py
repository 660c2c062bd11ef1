"""Groups at the console, with who is in them."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.fields import items_of
from watchword_admin.console.pages import Console, Handler, asked_of, cursor_of, following, named
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused, together, unless_away
from watchword_web.texts import Text

_ROWS: Final = "50"
_MANY: Final = "200"
_GROUP: Final = "/admin/groups/{group_id}"


async def list_groups(console: Console, request: Request, visit: Visit) -> Response:
    """Groups in the order of their names."""
    asked = asked_of(request, ("search", "organization"))
    found = await console.calls.page(visit.token, "groups", seen.Group, limit=_ROWS, **asked, **cursor_of(request))
    return console.render(
        request,
        visit,
        "groups.html",
        here="groups",
        groups=found.items,
        names=await console.names(
            organizations=[asked.get("organization"), *(group.organization for group in found.items)]
        ),
        asked=asked,
        following=following("/admin/groups", asked, found.next),
    )


async def new_group(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return _form(console, request, visit, values={})


async def edit_group(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing group."""
    group = await _group(console, request, visit)
    values = {"name": group.name, "description": group.description or "", "parents": "\n".join(group.parents)}
    return _form(console, request, visit, values=values, known=group)


async def save_group(console: Console, request: Request, visit: Visit) -> Response:
    """The group as the form says."""
    form = await console.sessions.read_form(request, visit)
    known = await _group(console, request, visit) if "group_id" in request.path_params else None
    members: dict[str, object] = {"name": form.get("name", ""), "description": form.get("description")}
    members["parents"] = items_of(form.get("parents", ""))
    try:
        if known:
            await console.calls.send(visit.token, "PATCH", f"groups/{known.id}", members)
            return console.go(f"/admin/groups/{known.id}")
        members |= {"organization": form["organization"]} if "organization" in form else {}
        made = await console.calls.post(visit.token, "groups", seen.Group, members)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors, known=known)
    return console.go(f"/admin/groups/{made.id}")


async def show_group(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    """One group with its members and what it may. typed: what the form said that was refused."""
    group_id = named(request)["group_id"]
    assignments = await unless_away(  # not for every role
        console.calls.page(visit.token, "assignments", seen.Assignment, limit=_MANY, group=group_id)
    )
    given = assignments.items if assignments else []
    group, members, roles = await together(
        console.calls.get(visit.token, f"groups/{group_id}", seen.Group),
        console.calls.page(visit.token, f"groups/{group_id}/members", seen.Member, limit=_ROWS, **cursor_of(request)),
        console.calls.page(visit.token, "roles", seen.Role, limit=_MANY),
    )
    names = await console.names(
        users=[member.user_id for member in members.items],
        providers=[member.provider_id for member in members.items],
        organizations=[group.organization, *(each.organization for each in given)],
    )
    return console.form(
        request,
        visit,
        "group.html",
        here="groups",
        errors=errors,
        group=group,
        members=members.items,
        assignments=given,
        roles={role.id: role.name for role in roles.items},
        names=names,
        typed=typed or {},
        following=following(f"/admin/groups/{group_id}", {}, members.next),
    )


async def add_member(console: Console, request: Request, visit: Visit) -> Response:
    """Somebody is a member, found by user name."""
    form = await console.sessions.read_form(request, visit)
    group_id = named(request)["group_id"]
    user = await user_named(console, visit, form.get("username", ""))
    if user is None:
        wrong = {"username": Text("there is nobody with this user name")}
        return await show_group(console, request, visit, errors=wrong, typed=form)
    try:
        await console.calls.send(visit.token, "POST", f"groups/{group_id}/members", {"add": [user.id]})
    except Refused as refused:
        told = {"username": refused.first}
        return await show_group(console, request, visit, errors=told, typed=form)
    return console.go(f"/admin/groups/{group_id}")


async def remove_member(console: Console, request: Request, visit: Visit) -> Response:
    """Somebody is a member no more, as far as administrators said so."""
    await console.sessions.read_form(request, visit)
    group_id = named(request)["group_id"]
    gone = [str(request.path_params["user_id"])]
    try:
        await console.calls.send(visit.token, "POST", f"groups/{group_id}/members", {"remove": gone})
    except Refused as refused:
        return await show_group(console, request, visit, errors=refused.errors)
    return console.go(f"/admin/groups/{group_id}")


async def ask_to_delete(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    group = await _group(console, request, visit)
    assignments = await console.calls.page(visit.token, "assignments", seen.Assignment, limit=_MANY, group=group.id)
    return console.render(
        request, visit, "group_question.html", here="groups", group=group, roles=len(assignments.items)
    )


async def delete_group(console: Console, request: Request, visit: Visit) -> Response:
    """The group is gone."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "DELETE", f"groups/{named(request)['group_id']}")
    return console.go("/admin/groups")


async def user_named(console: Console, visit: Visit, username: str) -> seen.User | None:
    """The user with a user name."""
    if not username:
        return None
    try:
        found = await console.calls.page(visit.token, "users", seen.User, username=username)
    except Refused:
        return None  # no text of this kind is a user name
    return found.items[0] if found.items else None


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    known: seen.Group | None = None,
) -> Response:
    return console.form(request, visit, "group_form.html", here="groups", values=values, errors=errors, known=known)


async def _group(console: Console, request: Request, visit: Visit) -> seen.Group:
    return await console.calls.get(visit.token, f"groups/{named(request)['group_id']}", seen.Group)


GET: Final[Mapping[str, Handler]] = {
    "/admin/groups": list_groups,
    "/admin/groups/new": new_group,
    _GROUP: show_group,
    f"{_GROUP}/edit": edit_group,
    f"{_GROUP}/delete": ask_to_delete,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/groups": save_group,
    _GROUP: save_group,
    f"{_GROUP}/members": add_member,
    f"{_GROUP}/members/{{user_id}}/remove": remove_member,
    f"{_GROUP}/delete": delete_group,
}
