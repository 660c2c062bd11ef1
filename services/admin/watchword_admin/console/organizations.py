"""Organizations at the console, and the domains that they prove."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, asked_of, cursor_of, following, named
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused, together
from watchword_web.errors import PageError

_ROWS: Final = "50"
_ORGANIZATION: Final = "/admin/organizations/{organization_id}"


async def list_organizations(console: Console, request: Request, visit: Visit) -> Response:
    """Organizations in the order of their names."""
    asked = asked_of(request, ("search",))
    found = await console.calls.page(
        visit.token, "organizations", seen.Organization, limit=_ROWS, **asked, **cursor_of(request)
    )
    return console.render(
        request,
        visit,
        "organizations.html",
        here="organizations",
        organizations=found.items,
        asked=asked,
        following=following("/admin/organizations", asked, found.next),
    )


async def new_organization(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return _form(console, request, visit, values={})


async def add_organization(console: Console, request: Request, visit: Visit) -> Response:
    """A new organization."""
    form = await console.sessions.read_form(request, visit)
    body = {name: form.get(name, "") for name in ("short_name", "name")}
    try:
        made = await console.calls.post(visit.token, "organizations", seen.Organization, body)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors)
    return console.go(f"/admin/organizations/{made.id}")


async def show_organization(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, object] | None = None,
) -> Response:
    """One organization: its name, its domains, its groups. typed: what a form of the page said that was refused."""
    organization_id = named(request)["organization_id"]
    organization, domains, groups = await together(
        console.calls.get(visit.token, f"organizations/{organization_id}", seen.Organization),
        console.calls.page(visit.token, f"organizations/{organization_id}/domains", seen.Domain),
        console.calls.page(visit.token, "groups", seen.Group, limit="200", organization=organization_id),
    )
    return console.form(
        request,
        visit,
        "organization.html",
        here="organizations",
        organization=organization,
        domains=domains.items,
        groups=groups.items,
        more_groups=following("/admin/groups", {"organization": organization_id}, groups.next),
        typed={"name": organization.name, **(typed or {})},
        errors=errors,
    )


async def rename(console: Console, request: Request, visit: Visit) -> Response:
    """The organization has another name; its short name stays."""
    form = await console.sessions.read_form(request, visit)
    return await _do(console, request, visit, "PATCH", "", {"name": form.get("name", "")})


async def add_domain(console: Console, request: Request, visit: Visit) -> Response:
    """A domain that waits to be proved."""
    form = await console.sessions.read_form(request, visit)
    return await _do(console, request, visit, "POST", "/domains", {"domain": form.get("domain", "")})


async def verify_domain(console: Console, request: Request, visit: Visit) -> Response:
    """The DNS was asked for the record that proves the domain."""
    await console.sessions.read_form(request, visit)
    return await _do(console, request, visit, "POST", f"/domains/{named(request)['domain']}/verify")


async def remove_domain(console: Console, request: Request, visit: Visit) -> Response:
    """The domain is not this organization's any more."""
    await console.sessions.read_form(request, visit)
    return await _do(console, request, visit, "DELETE", f"/domains/{named(request)['domain']}")


async def ask_to_remove_domain(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    path = f"organizations/{named(request)['organization_id']}"
    organization, domains = await together(
        console.calls.get(visit.token, path, seen.Organization),
        console.calls.page(visit.token, f"{path}/domains", seen.Domain),
    )
    domain = next((each for each in domains.items if each.domain == request.path_params["domain"]), None)
    if domain is None:
        raise PageError("not_found", "That is gone", "It was deleted, or never was.", 404, retry="/admin")
    return console.render(
        request, visit, "domain_question.html", here="organizations", organization=organization, domain=domain
    )


async def ask_to_delete(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    path = f"organizations/{named(request)['organization_id']}"
    organization = await console.calls.get(visit.token, path, seen.Organization)
    return console.render(request, visit, "organization_question.html", here="organizations", organization=organization)


async def delete_organization(console: Console, request: Request, visit: Visit) -> Response:
    """The organization is gone, if it was empty."""
    await console.sessions.read_form(request, visit)
    try:
        await console.calls.send(visit.token, "DELETE", f"organizations/{named(request)['organization_id']}")
    except Refused as refused:
        return await show_organization(console, request, visit, errors=refused.errors)
    return console.go("/admin/organizations")


async def _do(
    console: Console,
    request: Request,
    visit: Visit,
    method: str,
    below: str,
    body: Mapping[str, object] | None = None,
) -> Response:
    """One change of the organization that the page is about, and back to it; a refusal is shown there."""
    organization_id = named(request)["organization_id"]
    try:
        await console.calls.send(visit.token, method, f"organizations/{organization_id}{below}", body)
    except Refused as refused:
        return await show_organization(console, request, visit, errors=refused.errors, typed=body)
    return console.go(f"/admin/organizations/{organization_id}")


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "organization_form.html",
        here="organizations",
        values=values,
        errors=errors,
    )


GET: Final[Mapping[str, Handler]] = {
    "/admin/organizations": list_organizations,
    "/admin/organizations/new": new_organization,
    _ORGANIZATION: show_organization,
    f"{_ORGANIZATION}/domains/{{domain}}/remove": ask_to_remove_domain,
    f"{_ORGANIZATION}/delete": ask_to_delete,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/organizations": add_organization,
    _ORGANIZATION: rename,
    f"{_ORGANIZATION}/domains": add_domain,
    f"{_ORGANIZATION}/domains/{{domain}}/verify": verify_domain,
    f"{_ORGANIZATION}/domains/{{domain}}/remove": remove_domain,
    f"{_ORGANIZATION}/delete": delete_organization,
}
