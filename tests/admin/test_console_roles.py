"""Who may do what at the console: what the same role may do at the API."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import pytest
from tests.admin.conftest import CLIENT, PROVIDER

from watchword_admin.console import routes
from watchword_admin.console.rooms import CALLS, client_page, may_enter, may_follow
from watchword_policy.administration import (
    ADMINISTRATOR,
    AUDITOR,
    DELEGATED,
    HELP_DESK,
    ORGANIZATION_ADMINISTRATOR,
    opens,
)
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import REDIRECT_URI, Party, SignIn
from watchword_testkit.web import Site, web_site


@pytest.fixture(scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Where a stranger publishes the document that is its client id."""
    async with web_site(tmp_path_factory.mktemp("web")) as site:
        yield site


@pytest.fixture(scope="module")
async def module_platform(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, web: Site
) -> AsyncIterator[Platform]:
    """An installation of this file's own, where documents on the web are clients. At its end no secret is found."""
    settings = {"client_document_hosts": "localhost", "outbound_ca_file": str(web.ca_file)}
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("roles")) as made,
        in_this_process(made, **settings) as running,
    ):
        yield running
        await running.check_secrets()


@pytest.fixture
async def platform(module_platform: Platform) -> Platform:
    """The same."""
    return module_platform


async def somebody(browser: Browser, platform: Platform, api: Api, role: str, organization: str = "") -> None:
    """At the console, with one role. organization: within which one."""
    name, password = f"{role}-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    user = await api.create("/users", username=name, password=password)
    if organization:
        await api.create("/assignments", role=role, user=user["id"], organization=organization)
    else:
        given = await api.call("PUT", f"/users/{user['id']}/roles", {"roles": [role]})
        assert given.status_code == 200, given.text
    await browser.open(f"{platform.issuer}/admin")
    page = await browser.submit("username", "sign-in", username=name, password=password)
    assert page.status == 200, page.body


@dataclass(frozen=True)
class Shown:
    """A person of one role at the console."""

    role: str
    browser: Browser

    def may(self, method: str, template: str) -> bool:
        """Whether the API would let the role do what a page does."""
        return all(opens({self.role}, *call) for call in CALLS[method, template])


@pytest.fixture(params=[ADMINISTRATOR, HELP_DESK, AUDITOR, ORGANIZATION_ADMINISTRATOR])
async def shown(
    request: pytest.FixtureRequest, platform: Platform, api: Api, canary: Canary, organization: str
) -> AsyncIterator[Shown]:
    """Somebody of each role that has to do with the console; an owner may here what an administrator may."""
    async with platform.browser(canary) as browser:
        within = organization if request.param == ORGANIZATION_ADMINISTRATOR else ""
        await somebody(browser, platform, api, request.param, within)
        yield Shown(request.param, browser)


@pytest.fixture(scope="module")
async def organization(module_platform: Platform) -> str:
    """The id of an organization, of which some of the things are."""
    made = await module_platform.api().create("/organizations", short_name=f"s{secrets.token_hex(4)}", name="Shown")
    return str(made["id"])


def test_every_page_says_what_it_does_at_the_api() -> None:
    assert {path for method, path in CALLS if method == "GET"} == set(routes.GET)
    assert {path for method, path in CALLS if method == "POST"} == set(routes.POST)


def test_an_organization_s_administrator_finds_all_that_the_api_delegates() -> None:
    role = {ORGANIZATION_ADMINISTRATOR}
    done = {call for page, calls in CALLS.items() if may_enter(role, *page) for call in calls}
    otherwise = {  # which a page does in another way
        ("PUT", "/api/v1/users/{user_id}"),
        ("PUT", "/api/v1/groups/{group_id}"),
        ("PATCH", "/api/v1/rules/{rule_id}"),
        ("DELETE", "/api/v1/sessions"),
        ("GET", "/api/v1/assignments/{assignment_id}"),
    }
    assert DELEGATED - done == otherwise


async def test_a_page_is_for_those_who_may_do_at_the_api_what_it_does(shown: Shown) -> None:
    """Without the token of a page nothing is done; that somebody may not is said before."""
    wrong = []
    for method, template in CALLS:
        if method == "GET" and shown.may(method, template):
            continue  # the next test goes there
        path = re.sub(r"\{\w+\}", "1", template)
        page = await shown.browser.send(method, path, {"csrf": "none"} if method == "POST" else None)
        if (page.error_code == "not_allowed") is shown.may(method, template):
            wrong.append((method, template, page.status, page.error_code))
    assert wrong == []


async def test_nobody_is_shown_what_they_may_not_do(shown: Shown, things: list[str]) -> None:
    """Every link and form of every page that somebody gets to: nothing of it answers 403, and nothing is left out."""
    offered: set[tuple[str, str]] = set()
    begins = "/admin/organizations" if shown.role == ORGANIZATION_ADMINISTRATOR else "/admin"
    waiting = [begins, *things]
    visited = {("GET", "/admin"), ("GET", "/admin/sign-out"), *NOT_CRAWLED}
    while waiting:
        path = waiting.pop()
        page = await shown.browser.send("GET", path)
        visited.add(("GET", template_of("GET", path)))
        if not shown.may("GET", template_of("GET", path)):
            assert page.error_code == "not_allowed", path
            continue
        assert page.status == 200, (path, page.error_code, page.body)
        for form in page.forms:
            if form.method == "POST" and form.id not in {"languages", "themes"}:  # which are everybody's
                actions = {each.action or form.action for each in form.buttons} or {form.action}
                offered |= {("POST", template_of("POST", urlsplit(action).path)) for action in actions}
        for link in page.links.values():
            if urlsplit(link).path.startswith("/admin"):
                call = ("GET", template_of("GET", urlsplit(link).path))
                offered.add(call)
                if call not in visited:
                    visited.add(call)
                    waiting.append(link)
    assert {call for call in offered if not shown.may(*call)} == set()
    if shown.role == AUDITOR:
        assert {path for method, path in offered if method == "POST"} == {
            "/admin/sign-out",
            "/admin/rules/test",
            "/admin/applications/{client_id}/trial",
        }
    if shown.role == ADMINISTRATOR:
        unoffered = {path for method, path in CALLS if method == "POST"} - {path for _, path in offered}
        assert unoffered <= ONLY_SOMETIMES


# Streams and downloads.
NOT_CRAWLED = {
    ("GET", "/admin/events/stream"),
    ("GET", "/admin/audit/export"),
    ("GET", "/admin/audit/verification"),
    ("GET", "/admin/configuration"),
    ("GET", "/admin/revocations/{entry_id}/receipts"),
    ("GET", "/admin/revocations/{entry_id}/evidence"),
    ("GET", "/admin/users/{user_id}/evidence"),
}
# What is offered of a thing in a certain state only, which nothing here needs to be in.
ONLY_SOMETIMES = {
    "/admin/client-documents/{key}/delete",
    "/admin/client-documents/{key}/disable",
    "/admin/client-documents/{key}/enable",
    "/admin/consents/{key}/withdraw",
    "/admin/deliveries/{key}/replay",
    "/admin/mail/test",
    "/admin/providers/{provider_id}/enable",
    "/admin/providers/{provider_id}/metadata",
    "/admin/saml-keys/{key}/activate",
    "/admin/saml-keys/{key}/delete",
    "/admin/users/{user_id}/api-keys/{key_id}/revoke",
    "/admin/users/{user_id}/enable",
    "/admin/users/{user_id}/forget-factors",
    "/admin/users/{user_id}/grants/{grant_id}/revoke",
    "/admin/users/{user_id}/identities/{identity_id}/unlink",
    "/admin/users/{user_id}/sessions/{sid}/end",
    "/admin/users/{user_id}/unlock",
    "/admin/users/{user_id}/vouch",
}


def template_of(method: str, path: str) -> str:
    """The page that a path means: the one with the fewest parameters."""
    fits = [
        template
        for asked, template in CALLS
        if asked == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), urlsplit(path).path)
    ]
    assert fits, (method, path)
    return min(fits, key=lambda template: template.count("{"))


@pytest.fixture(scope="module")
async def things(module_platform: Platform, organization: str, web: Site) -> list[str]:
    """The pages of one thing of each kind, all of one organization that can be."""
    api, name, of = module_platform.api(), secrets.token_hex(4), {"organization": organization}
    password = secrets.token_urlsafe(16)
    module_platform.canary.add("password", password)
    user = await api.create("/users", username=f"shown-{name}", password=password, **of)
    group = await api.create("/groups", name=f"shown-{name}", **of)
    await api.call("POST", f"/groups/{group['id']}/members", {"add": [user["id"]]})
    await api.create(f"/organizations/{organization}/domains", domain=f"{name}.example")
    role = await api.create("/roles", name=f"shown-{name}", permissions=["shown:read"])
    await api.create("/assignments", role=role["id"], user=user["id"])
    client = await api.create("/clients", **CLIENT, **of)
    off = await api.create("/clients", **CLIENT)
    await api.create(f"/clients/{client['client_id']}/secrets", keep_newest=True)
    await api.change(f"/clients/{off['client_id']}", enabled=False)
    provider = await api.create("/providers", id=f"Shown-{name}", **PROVIDER)
    rule = await api.create("/rules", name=f"shown-{name}", expression="true", clients=[client["client_id"]], **of)
    issuer = await api.create("/issuers", iss=f"https://{name}.example", aud=["here"], jwks_uri="https://j.example/k")
    hook = await api.create("/webhooks", name=f"shown-{name}", url="https://receiver.example/hook", enabled=False)
    scope = await api.create("/scopes", name=f"shown:{name}", description="See it")
    resource = await api.create("/resources", identifier=f"https://{name}.example", name="Shown")
    await api.create("/service-accounts", name=f"shown/{name}")
    await api.call("PUT", f"/attributes/shown_{name}", {"kind": "string"})
    await api.create("/factor-requirements", applies_to="client", entity_id=off["client_id"])
    await api.create("/verifiers", name=f"shown-{name}", audience=f"https://{name}.example")
    await api.create("/registration-tokens", name=f"shown-{name}")
    await api.create("/scim-tokens", name=f"shown-{name}")
    await api.create("/api-keys", name=f"shown-{name}", scope=["watchword:scim"])
    ended = await api.create("/revocations", claim="sub", value=user["id"])
    decided = await sign_in_to_a_document(module_platform, api, web, f"shown-{name}", password)
    return [
        f"/admin/users/{user['id']}",
        f"/admin/groups/{group['id']}",
        f"/admin/organizations/{organization}",
        f"/admin/roles/{role['id']}",
        f"/admin/applications/{client['client_id']}",
        f"/admin/applications/{off['client_id']}",
        f"/admin/providers/{provider['id']}",
        f"/admin/providers/{provider['id']}/test",
        f"/admin/rules/{rule['id']}",
        f"/admin/issuers/{issuer['id']}",
        f"/admin/webhooks/{hook['id']}",
        f"/admin/scopes/{scope['id']}",
        f"/admin/resources/{resource['id']}",
        f"/admin/service-accounts/shown%252F{name}",
        f"/admin/revocations/{ended['id']}",
        f"/admin/decisions/{decided}",
    ]


async def sign_in_to_a_document(platform: Platform, api: Api, web: Site, username: str, password: str) -> str:
    """Somebody allows a client whose id is a URL, which gets a grant; the id of what a rule decided about it."""
    path = f"/{secrets.token_hex(4)}/client.json"
    grants = ["authorization_code", "refresh_token"]
    document = {"client_name": "Agent", "redirect_uris": [REDIRECT_URI], "grant_types": grants}
    url = web.put(path, {**document, "client_id": f"{web.url}{path}"})
    await api.create("/rules", name=f"agents-{secrets.token_hex(4)}", expression="true")
    async with platform.browser() as browser:
        party = Party(platform.issuer, url, None, REDIRECT_URI, "none", (platform.canary,))
        await SignIn(browser, party, scope="openid profile").with_password(username, password)
    async with asyncio.timeout(20):  # decisions are written behind
        while not (decided := (await api.get("/decisions", client_id=url))["items"]):
            await asyncio.sleep(0.05)
    assert isinstance(decided, list)
    for room in ("grants", "consents"):
        items = (await api.get(f"/{room}"))["items"]
        assert isinstance(items, list)
        assert url in {each["client_id"] for each in items}, room
    return str(decided[0]["id"])


async def test_a_client_that_is_a_document_has_its_row_among_documents(
    platform: Platform, api: Api, canary: Canary, things: list[str]
) -> None:
    (listed,) = (await api.get("/client-documents"))["items"]  # type: ignore[misc]
    url = str(listed["client_id"])
    (grant,) = (await api.get("/grants", client_id=url))["items"]  # type: ignore[misc]
    wanted = f"/admin/client-documents?client_id={quote(url, safe='')}"
    assert client_page(url) == wanted
    async with platform.browser(canary) as browser:
        await somebody(browser, platform, api, ADMINISTRATOR)
        user = f"/admin/users/{grant['user_id']}"
        decision = things[-1]
        for path in ("/admin/applications", "/admin/grants", "/admin/consents", user, decision):
            page = await browser.send("GET", path)
            assert page.status == 200, (path, page.body)
            assert urljoin(page.url, page.links["Agent"]) == f"{platform.issuer}{wanted}", path
        page = await browser.open(f"{platform.issuer}{wanted}")
        assert url in page.body
        for other in ("https://nowhere.example/client.json", "../..", "a/b"):
            page = await browser.open(f"{platform.issuer}{client_page(other)}")
            assert page.status in {200, 404}, (other, page.body)


def test_an_address_that_is_no_page_of_the_console_is_nobody_s_to_follow() -> None:
    for path in ("/admin/applications/https://a.example/x", "/admin/nowhere", "/", ""):
        assert may_follow({ADMINISTRATOR}, "GET", path) is False
        assert may_follow({ADMINISTRATOR}, "POST", path) is False


async def test_the_help_desk_helps_people_and_nothing_else(platform: Platform, api: Api, canary: Canary) -> None:
    group = f"lost-{secrets.token_hex(4)}"
    user = await api.create("/users", username=group, password=secrets.token_urlsafe(16), groups=[group])
    async with platform.browser(canary) as browser:
        await somebody(browser, platform, api, HELP_DESK)
        page = await browser.open(f"{platform.issuer}/admin")
        assert page.has("nav-users")
        assert not page.has("nav-keys")
        page = await browser.open(f"{platform.issuer}/admin/users/{user['id']}")
        assert page.status == 200, page.body
        await browser.click("ask-sign-out")
        page = await browser.submit("confirm")
        assert page.status == 200, page.body
        page = await browser.open(f"{platform.issuer}/admin/users/{user['id']}/edit")
        assert not {"groups", "organization", "attributes"} & page.form_with("username").fields.keys()
        page = await browser.submit("username", "save", name="Not Lost")
        assert "Not Lost" in page.body
        token = page.form_with("csrf").fields["csrf"]
        page = await browser.send("POST", f"/admin/users/{user['id']}/roles", {"csrf": token, "role_owner": "1"})
        assert page.status == 403
        known = await api.get(f"/users/{user['id']}")
        assert (known["roles"], known["groups"]) == ([], [group])


async def test_an_organization_s_administrator_sees_to_it_at_the_console(
    platform: Platform, api: Api, canary: Canary, organization: str
) -> None:
    stranger = await api.create("/users", username=f"stranger-{secrets.token_hex(4)}")
    async with platform.browser(canary) as browser:
        await somebody(browser, platform, api, ORGANIZATION_ADMINISTRATOR, organization)
        page = await browser.open(f"{platform.issuer}/admin")
        assert page.url.endswith("/admin/organizations"), page.url
        rooms = {"users", "groups", "organizations", "roles", "rules", "sessions", "audit"}
        others = {"overview", "events", "applications", "providers", "decisions", "keys", "grants", "scim"}
        assert {each for each in rooms | others if page.has(f"nav-{each}")} == rooms
        await browser.open(f"{platform.issuer}/admin/users/new")
        name = f"new-{secrets.token_hex(4)}"
        page = await browser.submit("username", "save", username=name, password=secrets.token_urlsafe(16))
        assert page.status == 200, page.body
        made = (await api.get("/users", username=name))["items"]
        assert isinstance(made, list)
        assert made[0]["organization"] == organization
        await browser.open(f"{platform.issuer}/admin/users/{made[0]['id']}/edit")
        page = await browser.submit("username", "save", name="New Name")
        assert "New Name" in page.body
        role = await api.create("/roles", name=f"console-{secrets.token_hex(4)}")
        await browser.open(f"{platform.issuer}/admin/roles/{role['id']}")
        page = await browser.submit("who", "give", who=name)
        assert name in page.texts["assignments"] or "New Name" in page.texts["assignments"], page.body
        await browser.open(f"{platform.issuer}/admin/rules/new")
        page = await browser.submit("expression", "save", name=f"r-{secrets.token_hex(4)}", expression="true")
        assert page.status == 200, page.body
        for path, status in ((f"/admin/users/{stranger['id']}", 404), ("/admin/applications", 403),
                             ("/admin/audit/export", 403), ("/admin/events", 403)):  # fmt: skip
            page = await browser.send("GET", path)
            assert page.status == status, (path, page.body)
