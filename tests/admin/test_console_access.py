"""Access rules at the console: written, tried and explained; and who belongs to which group, role and organization."""

import secrets

import pytest
from tests.admin.conftest import Make

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform


def name_of(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


async def test_a_rule_is_tried_saved_changed_and_deleted(console: Browser, api: Api, make_client: Make) -> None:
    client, name = await make_client(), name_of("admins")
    await console.open(f"{console.issuer}/admin/rules/new")
    page = await console.submit(
        "expression", "try", expression="'ops' in groups", groups="ops\nothers", clients=str(client["client_id"])
    )
    assert page.texts["tried"] == "It matches"
    page = await console.submit("expression", "try", groups="others")
    assert page.texts["tried"] == "It does not match"
    page = await console.submit("expression", "save", name=name, precedence="7", roles="deploy")
    assert name in page.links
    (rule,) = (await api.get("/rules", name=name))["items"]  # type: ignore[misc]  # a JSON list
    assert (rule["precedence"], rule["roles"], rule["clients"]) == (7, ["deploy"], [client["client_id"]])

    await console.click(name)
    await console.submit("expression", "save", expression="'dev' in groups", enabled="")
    (rule,) = (await api.get("/rules", name=name))["items"]  # type: ignore[misc]
    assert (rule["expression"], rule["enabled"], rule["clients"]) == ("'dev' in groups", False, [client["client_id"]])

    await console.click(name)
    page = await console.click("ask-delete")
    assert str(client["client_name"]) in page.body
    await console.submit("confirm")
    assert (await api.get("/rules", name=name))["items"] == []


async def test_a_broken_expression_is_shown_where_it_breaks(console: Browser) -> None:
    await console.open(f"{console.issuer}/admin/rules/new")
    for press in ("save", "try"):
        page = await console.submit(
            "expression", press, name=name_of("broken"), expression="true &&\n'ops' within groups"
        )
        assert "'ops' within groups" in page.texts["pointed"]
        assert "^" in page.texts["pointed"]
    page = await console.submit("expression", "try", expression="true", claims="{")
    assert page.texts["claims-note"].startswith("not JSON")
    page = await console.submit("expression", "try", expression="true", claims="[1]")
    assert page.texts["claims-note"].startswith("a JSON object")
    page = await console.submit("expression", "save", expression="true", precedence="--5")
    assert page.status == 400, page.body


async def test_the_saved_rules_say_who_gets_in_and_the_decision_says_why(
    platform: Platform, console: Browser, api: Api, canary: Canary, make_client: Make
) -> None:
    name, password = name_of("gina"), secrets.token_urlsafe(16)
    user = await api.create("/users", username=name, password=password)
    client = await make_client(require_consent=False, scope="openid", token_endpoint_auth_method="none")
    client_id = str(client["client_id"])
    rule = await api.create("/rules", name=name_of("ops"), expression="'ops' in groups", clients=[client_id])
    await console.open(f"{console.issuer}/admin/rules/test")
    page = await console.submit("client", "ask", client=client_id, groups="ops")
    assert page.texts["tried"].startswith("Let in")
    assert str(rule["name"]) in page.texts["tried"]
    page = await console.submit("client", "ask", groups="others")
    assert page.texts["tried"].startswith("Turned away")

    async with platform.browser(canary) as person:
        await person.open(
            f"{platform.issuer}/oauth2/authorize?response_type=code&client_id={client_id}&scope=openid"
            f"&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback"
            f"&code_challenge={'x' * 43}&code_challenge_method=S256"
        )
        await person.submit("username", "sign-in", username=name, password=password)
    page = await console.open(f"{console.issuer}/admin/decisions?client_id={client_id}&allowed=false")
    (found,) = (await api.get("/decisions", client_id=client_id))["items"]  # type: ignore[misc]
    assert name in page.links
    page = await console.open(f"{console.issuer}/admin/decisions/{found['id']}")
    assert page.texts["why"] == found["why"]
    assert page.links[name].endswith(str(user["id"]))
    await console.open(f"{console.issuer}/admin/rules/{rule['id']}")
    page = await console.submit("expression", "ask-who", expression="true")
    assert page.texts["dry-run"].startswith("1 would gain access, 0 would lose it")
    assert name in page.links
    page = await console.submit("expression", "ask-who", expression="groups ==")
    assert "^" in page.texts["pointed"]
    page = await console.open(f"{console.issuer}/admin/rules/{rule['id']}/delete")
    assert page.texts["dry-run"].startswith("1 would gain access")
    assert (await api.get(f"/rules/{rule['id']}"))["expression"] == "'ops' in groups"
    await api.delete(f"/rules/{rule['id']}")


async def test_a_webhook_is_made_tried_replayed_changed_and_deleted(console: Browser, api: Api) -> None:
    name = name_of("hook")
    await console.open(f"{console.issuer}/admin/webhooks")
    await console.click("new-webhooks")
    page = await console.submit("url", "save", name=name, url="no address")
    assert page.status == 400
    assert page.texts["url-note"]
    page = await console.submit(
        "url", "save", url="https://receiver.invalid/hook", types="client.*\nuser.*", enabled=""
    )
    secret = page.texts["once"]
    assert len(secret) == 43
    page = await console.click("go-on")
    assert secret not in page.body
    (hook,) = [each for each in (await api.get("/webhooks", limit="200"))["items"] if each["name"] == name]  # type: ignore[attr-defined]
    assert (hook["types"], hook["enabled"]) == (["client.*", "user.*"], False)
    page = await console.submit("test-it")
    assert "ConnectError" in page.texts["said"]
    await console.submit("after", "replay", after="0")
    assert (await api.get(f"/webhooks/{hook['id']}"))["after"] == 0
    page = await console.submit("after", "replay", after="everything")
    assert page.status == 400
    await console.submit("url", "save", types="client.*")
    changed = await api.get(f"/webhooks/{hook['id']}")
    assert (changed["types"], changed["about"]) == (["client.*"], "audit"), "what is fixed stays"
    await console.open(f"{console.issuer}/admin/webhooks/{hook['id']}")
    await console.click("delete-it")
    await console.submit("confirm")
    assert (await api.call("GET", f"/webhooks/{hook['id']}")).status_code == 404


# What a kind is called by, and what else its form is told.
MADE: dict[str, tuple[str, dict[str, str]]] = {
    "scopes": ("name", {"description": "Words", "claims": '[{"name": "dep", "expression": "claims.department"}]'}),
    "resources": ("identifier", {"name": "Words", "scopes": "a:read\nb:read", "any_client": "1"}),
    "service-accounts": ("name", {"roles": "deploy view"}),
    "registration-tokens": ("name", {"uses": "3", "redirect_hosts": "*.example.com"}),
    "api-keys": ("name", {"scope": "watchword:scim"}),
    "verifiers": ("name", {"audience": "https://made.example", "staleness_bound_s": "2.5"}),
    "attributes": ("name", {"kind": "string"}),
}


@pytest.mark.parametrize("room", MADE)
async def test_a_thing_is_made_shown_and_deleted(console: Browser, api: Api, room: str) -> None:
    named, rest = MADE[room]
    name = f"t{secrets.token_hex(6)}"
    shown = {"resources": f"https://{name}.example", "service-accounts": f"team/{name}"}.get(room, name)
    await console.open(f"{console.issuer}/admin/{room}")
    await console.click(f"new-{room}")
    page = await console.submit(named, "save", **{named: shown}, **rest)
    assert page.status in {200, 201}, page.body
    page = await console.open(f"{console.issuer}/admin/{room}")
    listed = await api.get(f"/{room}", **({} if room == "attributes" else {"limit": "200"}))
    (made,) = [each for each in listed["items"] if each[named] == shown]  # type: ignore[attr-defined]
    key = str(made.get("id", shown))
    if room in {"scopes", "resources", "service-accounts"}:
        page = await console.click(str(made["name"]))
        assert page.status == 200, page.body
        page = await console.submit(next(iter(rest)), "save")
        assert page.status == 200, page.body
        await console.click("delete-it")
    else:
        while f"delete-{key}" not in page.links:
            page = await console.click("next")
        await console.click(f"delete-{key}")
    await console.submit("confirm")
    listed = await api.get(f"/{room}", **({} if room == "attributes" else {"limit": "200"}))
    assert [each for each in listed["items"] if each[named] == shown and not each.get("revoked_at")] == []  # type: ignore[attr-defined]


async def test_a_scim_token_is_made_where_the_address_is_copied_and_shows_what_it_was_refused(
    console: Browser, api: Api
) -> None:
    short = name_of("acme")
    await api.create("/organizations", short_name=short, name="Acme")
    page = await console.open(f"{console.issuer}/admin/scim")
    assert page.texts["scim-url"] == f"{console.issuer}/scim/v2"
    await console.click("new-scim-token")
    page = await console.submit("organization", "save", name=name_of("scim"), organization="no-such-organization")
    assert page.status == 400
    page = await console.submit("organization", "save", name=name_of("scim"), organization=short, expires_at="soon")
    assert page.texts["expires_at-note"] == "choose one of these"
    name = name_of("scim")
    page = await console.submit("organization", "save", name=name, organization=short, expires_at="never")
    token = page.texts["once"]
    headers = {"Authorization": f"Bearer {token}"}
    for path, status in (("Users?count=1", 200), ("Users/nobody", 404)):
        answer = await console.client.get(f"{console.issuer}/scim/v2/{path}", headers=headers, timeout=60)
        assert answer.status_code == status, answer.text
    page = await console.open(f"{console.issuer}/admin/scim")
    assert name in page.body
    assert short in page.body
    token_id = token.partition(".")[0]
    page = await console.click(f"look-{token_id}")
    assert "/Users/nobody" in page.body
    await console.open(f"{console.issuer}/admin/scim")
    await console.click(f"revoke-{token_id}")
    await console.submit("confirm")
    answer = await console.client.get(f"{console.issuer}/scim/v2/Users", headers=headers)
    assert answer.status_code == 401, answer.text


async def test_somebody_is_invited_merged_and_has_evidence(console: Browser, api: Api) -> None:
    user, other = [await api.create("/users", username=name_of(each)) for each in ("kept", "gone")]
    await console.open(f"{console.issuer}/admin/users/{user['id']}")
    page = await console.submit("invite")
    assert page.texts["invitation"].startswith(f"{console.issuer}/")
    page = await console.submit("other", "merge-it", other="nobody-of-this-name")
    assert page.status == 400
    await console.submit("other", "merge-it", other=str(other["username"]))
    assert (await api.call("GET", f"/users/{other['id']}")).status_code == 404
    page = await console.open(f"{console.issuer}/admin/users/{user['id']}/evidence")
    assert page.headers["content-type"] == "application/watchword-evidence+jwt"


async def test_a_second_secret_is_added_and_the_first_removed(console: Browser, make_client: Make, api: Api) -> None:
    client = await make_client()
    await console.open(f"{console.issuer}/admin/applications/{client['client_id']}")
    page = await console.submit("add-secret")
    assert len(page.texts["client-secret"]) == 43
    first, second = (await api.get(f"/clients/{client['client_id']}"))["secrets"]  # type: ignore[misc]  # a JSON list
    await console.submit(f"remove-{first['id']}")
    (left,) = (await api.get(f"/clients/{client['client_id']}"))["secrets"]  # type: ignore[misc]
    assert left["id"] == second["id"]


async def test_who_would_come_of_claims_is_shown(console: Browser, make_provider: Make) -> None:
    provider = await make_provider()
    await console.open(f"{console.issuer}/admin/providers/{provider['id']}/test")
    page = await console.submit("claims", "look", claims="{")
    assert page.texts["claims-note"] == "not JSON"
    page = await console.submit("claims", "look", claims='{"sub": "1", "email": "a@corp.example"}')
    assert page.texts["resolved"]


async def test_a_group_is_made_filled_and_deleted(console: Browser, api: Api) -> None:
    group, user = name_of("team"), await api.create("/users", username=name_of("hans"))
    await console.open(f"{console.issuer}/admin/groups/new")
    page = await console.submit("parents", "save", name=group, description="Words")
    group_id = page.texts["group-id"]
    page = await console.submit("username", "add", username="nobody-of-this-name")
    assert page.texts["username-note"] == "there is nobody with this user name"
    page = await console.submit("username", "add", username=str(user["username"]))
    assert str(user["username"]) in page.texts["members"]
    page = await console.submit(f"remove-{user['id']}")
    assert str(user["username"]) not in page.texts["members"]
    await console.click("edit")
    await console.submit("parents", "save", name=f"{group}-new")
    assert (await api.get(f"/groups/{group_id}"))["full_name"] == f"{group}-new"
    await console.click("ask-delete")
    await console.submit("confirm")
    assert (await api.call("GET", f"/groups/{group_id}")).status_code == 404


async def test_a_role_is_made_given_and_taken(console: Browser, api: Api) -> None:
    role, user = name_of("deployer"), await api.create("/users", username=name_of("ina"))
    group = await api.create("/groups", name=name_of("ops"))
    await console.open(f"{console.issuer}/admin/roles/new")
    page = await console.submit("permissions", "save", name=role, permissions="deploy:read deploy:write")
    assert "deploy:write" in page.body
    page = await console.submit("who", "give", who=str(user["username"]))
    page = await console.submit("who", "give", kind="group", who=str(group["full_name"]))
    assert str(user["username"]) in page.texts["assignments"]
    assert str(group["full_name"]) in page.texts["assignments"]
    assert (await api.get(f"/users/{user['id']}"))["roles"] == [role]
    page = await console.submit("who", "give", who="nobody-of-this-name")
    assert page.texts["who-note"] == "there is nobody of this name"
    (given,) = (await api.get("/assignments", user=str(user["id"])))["items"]  # type: ignore[misc]
    await console.submit(f"take-{given['id']}")
    assert (await api.get(f"/users/{user['id']}"))["roles"] == []
    await console.click("ask-delete")
    await console.submit("confirm")
    assert (await api.get("/roles", name=role))["items"] == []


async def test_an_organization_is_made_with_a_domain_and_deleted(console: Browser, api: Api) -> None:
    short, domain = name_of("acme"), f"{name_of('acme')}.example"
    await console.open(f"{console.issuer}/admin/organizations/new")
    page = await console.submit("short_name", "save", name="Acme", short_name="not a short name!")
    assert page.texts["short_name-note"]
    page = await console.submit("short_name", "save", short_name=short)
    organization_id = page.texts["organization-id"]
    page = await console.submit("domain", "add", domain=domain)
    assert "not yet proved" in page.texts["domains"]
    (shown,) = (await api.get(f"/organizations/{organization_id}/domains"))["items"]  # type: ignore[misc]
    assert shown["record"]["value"] in page.texts["domains"]
    page = await console.click(f"remove-{domain}")
    assert "It was never proved" in page.body
    page = await console.submit("confirm")
    assert domain not in page.texts["domains"]
    page = await console.submit("rename-it", "rename-it", name="Acme & Sons")
    assert "Acme &amp; Sons" in page.body
    await console.click("ask-delete")
    await console.submit("confirm")
    assert (await api.call("GET", f"/organizations/{organization_id}")).status_code == 404


async def test_a_saml_key_is_offered_what_can_be_done_with_it(console: Browser, api: Api) -> None:
    """Only the next one can take over, and the one that signs stays."""
    for _ in range(2):  # the first there ever was signs
        await api.call("POST", "/upstream/saml-keys")
    page = await console.open(f"{console.issuer}/admin/saml-keys")
    offered = {"next": {"activate", "delete"}, "active": set[str](), "previous": {"delete"}}
    found = (await api.get("/upstream/saml-keys"))["items"]
    keys = {str(key["id"]): str(key["state"]) for key in found}  # type: ignore[attr-defined]  # a JSON list
    assert {"next", "active"} <= set(keys.values())
    for key, state in keys.items():
        seen = {deed for deed in ("activate", "delete") if f"/admin/saml-keys/{key}/{deed}" in page.body}
        assert seen == offered[state], (state, key)

    page = await console.open(f"{console.issuer}/admin/saml-keys/new")
    assert "A new one is published first" in page.body
    (key,) = [key for key, state in keys.items() if state == "next"]
    await console.open(f"{console.issuer}/admin/saml-keys/{key}/delete")
    await console.submit("confirm")
    assert key not in (await console.open(f"{console.issuer}/admin/saml-keys")).body
