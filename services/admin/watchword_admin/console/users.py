"""Users at the console: finding, making and changing them, and ending what they hold."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.controls import said_of, shown_by
from watchword_admin.console.fields import items_of
from watchword_admin.console.groups import user_named
from watchword_admin.console.kinds.user_fields import FIELDS, SECTIONS
from watchword_admin.console.pages import Console, Handler, asked_of, cursor_of, following, named
from watchword_admin.console.revocations import evidence_file
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused, together, unless_away
from watchword_web.texts import Text

_TEXTS: Final = ("username", "email", "name")
_ADDRESS: Final = "address."
_ROWS: Final = "25"
_MANY: Final = "200"
_MOST_TICKED: Final = 256
_USER: Final = "/admin/users/{user_id}"
# Who may do this may say where somebody belongs, and what rules look at; whoever else helps people is not asked.
_BELONGING: Final = ("POST", "/admin/groups")
_RIGHTS: Final = frozenset({"groups", "organization", "attributes"})


async def list_users(console: Console, request: Request, visit: Visit) -> Response:
    """Users in the order of their names: all, or those that were searched for."""
    asked = asked_of(request, ("search", "active", "organization"))
    found = await console.calls.page(visit.token, "users", seen.User, limit=_ROWS, **asked, **cursor_of(request))
    return console.render(
        request,
        visit,
        "users.html",
        here="users",
        users=found.items,
        asked=asked,
        following=following("/admin/users", asked, found.next),
        names=await console.names(
            providers=[each.provider_id for each in found.items], organizations=[asked.get("organization")]
        ),
    )


async def new_user(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return _form(console, request, visit, values={})


async def add_user(console: Console, request: Request, visit: Visit) -> Response:
    """A new user, who may sign in at once."""
    form = await console.sessions.read_form(request, visit)
    try:
        members = {name: value for name, value in _members(form).items() if value not in (None, [], {})}
        made = await console.calls.post(visit.token, "users", seen.User, members)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors)
    return console.go(f"/admin/users/{made.id}")


async def show_user(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    invitation: seen.Invitation | None = None,
) -> Response:
    """One user: who that is, what it may, and what it holds at this moment.

    typed: what a form of the page said that was refused.  invitation: just made, shown this once.
    """
    user_id = named(request)["user_id"]
    token, of = visit.token, {"user_id": user_id, "limit": _MANY}
    user = await console.calls.get(token, f"users/{user_id}", seen.User)
    api_keys = await unless_away(console.calls.page(token, "api-keys", seen.ApiKey, **of))  # not for every role
    sees_all = visit.is_everywhere  # what applications hold, and through whom somebody comes, is not for every role
    rights, credentials, sessions, roles = await together(
        console.calls.get(token, f"users/{user_id}/rights", seen.Rights),
        console.calls.get(token, f"credentials/{user_id}", seen.Credentials),
        console.calls.page(token, "sessions", seen.UserSession, **of),
        console.calls.page(token, "roles", seen.Role, limit=_MANY),
    )
    grants, identities = (
        await together(
            console.calls.page(token, "grants", seen.Grant, **of),
            console.calls.page(token, "identities", seen.Identity, **of),
        )
        if sees_all
        else (None, None)
    )
    held, linked = grants.items if grants else (), identities.items if identities else ()
    names = await console.names(
        clients=[each.client_id for each in held],
        providers=[user.provider_id, *(each.provider_id for each in (*sessions.items, *linked))],
        organizations=[user.organization, *(each.organization for each in rights.organizations)],
    )
    return console.form(
        request,
        visit,
        "user.html",
        here="users",
        user=user,
        errors=errors,
        typed=typed or {},
        ticked=[name.removeprefix("role_") for name in typed if name.startswith("role_")] if typed else user.roles,
        invitation=invitation,
        rights=rights,
        credentials=credentials,
        user_sessions=sessions.items,
        cut_off=[
            room
            for room, each in (("sessions", sessions), ("grants", grants), ("api-keys", api_keys))
            if each and each.next
        ],
        grants=held,
        identities=linked,
        sees_all=sees_all,
        api_keys=api_keys.items if api_keys else None,
        roles=roles.items,
        names=names,
        is_self=user_id == visit.user.id,
    )


async def edit_user(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing user."""
    user = await _user(console, request, visit)
    return _form(console, request, visit, values=await _values(console, user), known=user)


async def save_user(console: Console, request: Request, visit: Visit) -> Response:
    """What the form says otherwise than it was shown is changed; an empty password stays as it was."""
    form = await console.sessions.read_form(request, visit)
    known = await _user(console, request, visit)
    shown = _members({name: value for name, value in (await _values(console, known)).items() if value})
    ending = {"end_sessions": "true"} if "end_sessions" in form else {}
    try:
        members = {name: value for name, value in _members(form).items() if value != shown[name]}
        if not visit.may(*_BELONGING):
            members = {name: value for name, value in members.items() if name not in _RIGHTS}
        await console.calls.send(visit.token, "PATCH", f"users/{known.id}", members, **ending)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors, known=known)
    return console.go(f"/admin/users/{known.id}")


async def save_roles(console: Console, request: Request, visit: Visit) -> Response:
    """Of the roles that the page showed, the user has exactly the ticked ones everywhere; others stay."""
    form = await console.sessions.read_form(request, visit, most=_MOST_TICKED)
    user_id = named(request)["user_id"]
    known, offered = await together(
        _user(console, request, visit), console.calls.page(visit.token, "roles", seen.Role, limit=_MANY)
    )
    unseen = set(known.roles) - {each.name for each in offered.items}
    roles = [name.removeprefix("role_") for name in form if name.startswith("role_")]
    roles += sorted(unseen.difference(roles))
    try:
        await console.calls.send(visit.token, "PUT", f"users/{user_id}/roles", {"roles": roles})
    except Refused as refused:
        return await show_user(console, request, visit, errors=refused.errors, typed=form)
    return console.go(f"/admin/users/{user_id}")


def deed(method: str, path: str, body: Mapping[str, object] | None = None, **params: str) -> Handler:
    """Does one thing to a user, and goes back to the user. path: below `/api/v1`, with the page's own parameters."""

    async def do(console: Console, request: Request, visit: Visit) -> Response:
        await console.sessions.read_form(request, visit)
        given = named(request)
        asked = {name: value.format(**given) for name, value in params.items()}
        try:
            await console.calls.send(visit.token, method, path.format(**given), body, **asked)
        except Refused as refused:
            return await show_user(console, request, visit, errors={"": refused.first})
        return console.go(f"/admin/users/{given['user_id']}")

    return do


async def delete_user(console: Console, request: Request, visit: Visit) -> Response:
    """The user is gone."""
    await console.sessions.read_form(request, visit)
    try:
        await console.calls.send(visit.token, "DELETE", f"users/{named(request)['user_id']}")
    except Refused as refused:
        return await show_user(console, request, visit, errors={"": refused.first})
    return console.go("/admin/users")


async def invite(console: Console, request: Request, visit: Visit) -> Response:
    """A link with which the person chooses a password, shown this once."""
    await console.sessions.read_form(request, visit)
    body = {"user_id": str(request.path_params["user_id"])}
    try:
        invitation = await console.calls.post(visit.token, "invitations", seen.Invitation, body)
    except Refused as refused:
        return await show_user(console, request, visit, errors={"": refused.first})
    return await show_user(console, request, visit, invitation=invitation)


async def merge(console: Console, request: Request, visit: Visit) -> Response:
    """Another account of the same person, found by user name, is part of this one."""
    form = await console.sessions.read_form(request, visit)
    user_id = named(request)["user_id"]
    other = await user_named(console, visit, form.get("other", ""))
    if other is None:
        wrong = {"other": Text("there is nobody with this user name")}
        return await show_user(console, request, visit, errors=wrong, typed={"other": form.get("other", "")})
    try:
        await console.calls.send(visit.token, "POST", f"users/{user_id}/merge", {"user": other.id})
    except Refused as refused:
        told = {"other": refused.first}
        return await show_user(console, request, visit, errors=told, typed={"other": form.get("other", "")})
    return console.go(f"/admin/users/{user_id}")


async def show_claims(console: Console, request: Request, visit: Visit) -> Response:
    """What a provider last said of the person, and what would become of that by today's rules."""
    given = named(request)
    said = await console.calls.get(visit.token, f"identities/{given['identity_id']}/claims", seen.LastClaims)
    body = {"provider_id": said.provider_id, "claims": said.claims}
    arrival, names = await together(
        unless_away(console.calls.post(visit.token, "identities/preview", seen.Arrival, body)),
        console.names(users=[said.user_id], providers=[said.provider_id]),
    )
    return console.render(request, visit, "identity_claims.html", here="users", said=said, arrival=arrival, names=names)


async def download_evidence(console: Console, request: Request, visit: Visit) -> Response:
    """The signed document about everything that ended for a person, as a file."""
    user_id = str(request.path_params["user_id"])
    return evidence_file(await console.calls.send(visit.token, "GET", "revocations/evidence", sub=user_id), "person")


def ask(deed_id: str) -> Handler:
    """The question before something that ends what a user holds, with what that is at this moment."""

    async def ask_first(console: Console, request: Request, visit: Visit) -> Response:
        user = await _user(console, request, visit)
        meant = {"claim": "sub", "value": user.id}
        preview = await unless_away(  # whoever helps people may not look into the ledger
            console.calls.post(visit.token, "revocations", seen.Preview, meant, dry_run="true")
        )
        return console.render(
            request, visit, "user_question.html", here="users", user=user, preview=preview, deed=deed_id
        )

    return ask_first


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    known: seen.User | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "user_form.html",
        here="users",
        scripts=True,
        values=values,
        errors=errors,
        known=known,
        sections=[
            each
            for each in SECTIONS
            if visit.may(*_BELONGING) or _RIGHTS.isdisjoint(field.name for field in each.fields)
        ],
    )


def _members(form: Mapping[str, str]) -> dict[str, object]:
    """The members of a user that a form says; what is empty is removed. Raises Refused."""
    members: dict[str, object] = {name: form.get(name) for name in (*_TEXTS, "organization", "password")}
    said = {field.name: said_of(field, form) for field in FIELDS}
    address = {name.removeprefix(_ADDRESS): value for name, value in said.items() if name.startswith(_ADDRESS)}
    members |= {name: value for name, value in said.items() if not name.startswith(_ADDRESS)}
    members["address"] = {name: value for name, value in address.items() if value is not None} or None
    members["attributes"] = {} if said["attributes"] is None else said["attributes"]
    members["groups"] = items_of(form.get("groups", ""))
    return members


async def _values(console: Console, user: seen.User) -> dict[str, str]:
    """What the form of an existing user shows."""
    values = {name: getattr(user, name) or "" for name in _TEXTS} | {"groups": "\n".join(user.groups)}
    values |= shown_by(
        FIELDS,
        user.model_dump(mode="json") | {f"{_ADDRESS}{name}": value for name, value in (user.address or {}).items()},
    )
    names = await console.names(organizations=[user.organization])
    return values | {"organization": names.organizations.get(user.organization or "", user.organization or "")}


async def _user(console: Console, request: Request, visit: Visit) -> seen.User:
    return await console.calls.get(visit.token, f"users/{named(request)['user_id']}", seen.User)


GET: Final[Mapping[str, Handler]] = {
    "/admin/users": list_users,
    "/admin/users/new": new_user,
    _USER: show_user,
    f"{_USER}/edit": edit_user,
    f"{_USER}/disable": ask("disable"),
    f"{_USER}/sign-out": ask("sign-out"),
    f"{_USER}/delete": ask("delete"),
    f"{_USER}/forget-factors": ask("forget-factors"),
    f"{_USER}/evidence": download_evidence,
    f"{_USER}/identities/{{identity_id}}": show_claims,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/users": add_user,
    _USER: save_user,
    f"{_USER}/roles": save_roles,
    f"{_USER}/enable": deed("PATCH", "users/{user_id}", {"active": True}),
    f"{_USER}/disable": deed("PATCH", "users/{user_id}", {"active": False}),
    f"{_USER}/vouch": deed("POST", "users/{user_id}/vouch"),
    f"{_USER}/sign-out": deed("PATCH", "users/{user_id}", {}, end_sessions="true"),
    f"{_USER}/unlock": deed("DELETE", "credentials/{user_id}/lock"),
    f"{_USER}/forget-factors": deed("DELETE", "credentials/{user_id}/factors"),
    f"{_USER}/invite": invite,
    f"{_USER}/merge": merge,
    f"{_USER}/delete": delete_user,
    f"{_USER}/sessions/{{sid}}/end": deed("DELETE", "sessions/{sid}"),
    f"{_USER}/grants/{{grant_id}}/revoke": deed("DELETE", "grants/{grant_id}"),
    f"{_USER}/identities/{{identity_id}}/unlink": deed("DELETE", "identities/{identity_id}"),
    f"{_USER}/api-keys/{{key_id}}/revoke": deed("DELETE", "api-keys/{key_id}"),
}
