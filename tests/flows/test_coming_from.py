"""docs/coming-from.md, followed: its documents are applied, and clients sign in as those systems' clients do."""

import ast
import asyncio
import json
import re
import secrets
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from tests.flows.test_claims import payload

from watchword import documents
from watchword.apply import Installation
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coming-from.md").read_text()
NUMBERS = {*map(str, range(1, 107)), "47b"}
PASSWORD = "a password for this page"


def rows() -> dict[str, str]:
    """What the tables say about each number."""
    found: dict[str, str] = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for number in re.findall(r"\b\d+b?\b", cells[0]) if len(cells) == 3 else []:
            assert number not in found, f"{number} stands there twice"
            found[number] = cells[2]
    return found


def marked() -> set[str]:
    """The numbers that tests are marked with."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.seed":
                found |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def test_every_number_has_its_line_or_its_test() -> None:
    assert rows().keys() == NUMBERS
    tested = {number for number, said in rows().items() if said.startswith("test")}
    assert tested <= marked(), "said to be tested, and no test is marked"
    assert marked() <= NUMBERS
    assert not {number for number, said in rows().items() if said.startswith("not yet")}


async def applied(platform: Platform, name: str, **environment: str) -> None:
    """The documents of the page with this name are in force."""
    (block,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    file = platform.site.home / name
    file.write_text(block)

    def apply() -> None:
        installation = Installation(platform.issuer, platform.admin.admin_token)
        list(installation.apply(installation.plan(documents.read(file), environment=environment)))
        again = installation.plan(documents.read(file), environment=environment)
        assert {step.action for plan in again for step in plan.steps} == {"unchanged"}
        installation.close()

    await asyncio.to_thread(apply)


async def asked(
    platform: Platform, method: str, path: str, token: str, forwarded: str, json: object = None
) -> httpx2.Response:
    """An application's request with a token of its user. forwarded: for whom it says that it asks, "" for nobody."""
    headers = {"Authorization": f"Bearer {token}"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    async with http_client() as http:
        return await http.request(method, f"{platform.issuer}{path}", headers=headers, json=json)


async def applications(platform: Platform, token: str) -> set[str]:
    """The applications that somebody may use."""
    found: set[str] = set()
    cursor = ""
    while True:
        query = f"?limit=200&cursor={cursor}" if cursor else "?limit=200"
        answer = await asked(platform, "GET", f"/api/v1/me/applications{query}", token, "")
        assert answer.status_code == 200, answer.text
        found |= {each["client_id"] for each in answer.json()["items"]}
        cursor = answer.json()["next"]
        if cursor is None:
            return found


def drawn(canary: Canary) -> str:
    """A secret that nobody may find anywhere."""
    secret = secrets.token_urlsafe(24)
    canary.add("client_secret", secret)
    return secret


async def somebody(api: Api, *groups: str, roles: tuple[str, ...] = ()) -> str:
    """The name of a new person in these groups."""
    name = f"coming-{secrets.token_hex(4)}"
    made = await api.create("/users", username=name, password=PASSWORD, email=f"{name}@example.com", groups=groups)
    if roles:
        answer = await api.call("PUT", f"/users/{made['id']}/roles", {"roles": list(roles)})
        assert answer.status_code == 200, answer.text
    return name


async def until_it_signs_in(sign_in: SignIn, name: str) -> None:
    """The person has come back to the application: rules need some milliseconds to every instance."""
    async with asyncio.timeout(30):
        while True:
            page = await sign_in.start()
            if page.has("username"):
                page = await sign_in.enter(name, PASSWORD)
            if page.location.startswith(sign_in.party.redirect_uri):
                return
            await asyncio.sleep(0.05)


@pytest.mark.seed(4, 5, 6, 11, 13, 15, 16, 17, 19, 22)
async def test_argo_workflows(platform: Platform, api: Api, browser_session: Browser, canary: Canary) -> None:
    secret = drawn(canary)
    await applied(platform, "argo-workflows.yaml", ARGO_CLIENT_SECRET=secret)
    callback = "https://argo.example.com/oauth2/callback"
    discovery = f"{platform.issuer}/.well-known/openid-configuration"
    async with http_client() as http:
        metadata = (await http.get(discovery)).json()
        expected = {("argo-admins",): "argo/admin", (): "argo/read-only"}
        for groups, account in expected.items():
            name = await somebody(api, *groups)
            # As Argo Workflows does: no PKCE, no nonce, a state of its own.
            client = AsyncOAuth2Client("argo-workflows-sso", secret, scope="openid groups", redirect_uri=callback)
            url, state = client.create_authorization_url(metadata["authorization_endpoint"])
            await client.aclose()
            party = Party(platform.issuer, "argo-workflows-sso", secret, callback, canaries=(canary,))
            async with platform.browser(canary) as browser:
                async with asyncio.timeout(30):
                    while not (page := await browser.open(url)).location.startswith(callback):
                        if page.has("username"):
                            page = await browser.submit("username", "sign-in", username=name, password=PASSWORD)
                        if page.location.startswith(callback):
                            break
                        await asyncio.sleep(0.05)
            came = parse_qs(urlsplit(page.location).query)
            assert came["state"] == [state]
            tokens = await party.tokens(grant_type="authorization_code", code=came["code"][0], redirect_uri=callback)
            assert int(tokens["expires_in"]) == 36_000
            assert tokens["access_token"].count(".") == 4, "opaque: nobody else can read it"
            assert payload(tokens["id_token"]).get("groups", []) == list(groups)
            assert (await party.userinfo(tokens["access_token"])).json().get("groups", []) == list(groups)
            assert (await party.introspect(tokens["access_token"]))["service_account"] == account
        # As Argo Workflows signs people out: with client_id, and no hint.
        end = {"client_id": "argo-workflows-sso", "post_logout_redirect_uri": "https://argo.example.com/"}
        assert (await http.get(metadata["end_session_endpoint"], params=end)).status_code in {200, 303}


@pytest.mark.seed(32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 43, 44, 47, "47b", 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58)
async def test_argus(platform: Platform, api: Api, browser_session: Browser, canary: Canary) -> None:
    secret = drawn(canary)
    await applied(platform, "argus.yaml", TICKETS_CLIENT_SECRET=secret)
    callback = "https://tickets.example.com/callback"
    party = Party(platform.issuer, "tickets", secret, callback, canaries=(canary,))
    name = await somebody(api, "mygroup1", "mygroup2", roles=("tickets-user",))
    customer = f"acme-{secrets.token_hex(3)}"
    imported = secrets.randbelow(1_000_000)
    await api.create("/organizations", short_name=customer, name="Acme", external_id=imported)
    (person,) = (await api.get("/users", username=name))["items"]  # type: ignore[misc]
    await api.change(f"/users/{person['id']}", organization=customer)
    sign_in = SignIn(browser_session, party, scope="openid profile email groups groupstring customer clientip")
    await until_it_signs_in(sign_in, name)
    tokens = await sign_in.redeem()
    assert int(tokens["expires_in"]) == 300
    told = payload(tokens["id_token"])
    assert (told["groups"], told["email"]) == (["mygroup1", "mygroup2"], f"{name}@example.com")
    assert json.loads(told["groupstring"]) == ["mygroup1", "mygroup2"]
    assert (told["customer_id"], told["customer_shortname"], told["customer_name"]) == (imported, customer, "Acme")
    # As its clients do, with the address of the user agent; the session is bound to it.
    address, token = str(told["client_ip"]), tokens["access_token"]
    for forwarded, status in ((address, 200), ("192.0.2.9", 401), ("", 401)):
        answer = await asked(platform, "GET", "/oauth2/userinfo", token, forwarded)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.json()["preferred_username"] == name

    # Without `scope=openid` it is OAuth2 and nothing more.
    plain = SignIn(browser_session, party, scope="")
    await plain.start()
    await plain.decide()
    given = await plain.redeem()
    assert "id_token" not in given
    assert {"profile", "groups"} <= set(given["scope"].split()), given["scope"]

    stranger = await somebody(api)
    portal = await Party.registered(
        api, platform.issuer, canary, scope="openid", permission_scope=["watchword:me:read"], required_permission=None
    )
    for who, expected in ((name, True), (stranger, False)):
        async with platform.browser(canary) as browser:
            own = (await SignIn(browser, portal, scope="openid").with_password(who, PASSWORD))["access_token"]
        assert ("tickets" in await applications(platform, own)) is expected

    # A script: the person's key, the client's id, no secret of the client.
    made = await asked(platform, "POST", "/api/v1/me/api-keys", token, address, json={"name": "nightly"})
    assert made.status_code == 201, made.text
    canary.add("token", made.json()["key"])
    async with http_client() as http:
        form = {"grant_type": "client_credentials", "client_id": "tickets"}
        headers = {"Argus-API-Key": made.json()["key"]}
        answer = await http.post(f"{platform.issuer}/oauth2/token", data=form, headers=headers)
    assert answer.status_code == 200, answer.text
    script = answer.json()
    canary.add("token", script["access_token"])
    claims = payload(script["access_token"])
    assert (claims["sub"], script["expires_in"]) == (person["id"], 300)
    assert set(claims["permissions"]) & {"tickets:use", "datastore:view", "datastore:edit"} == {  # type: ignore[call-overload]
        "tickets:use",
        "datastore:view",
    }
    # The application verifies here what the script sends it.
    answer = await asked(platform, "GET", "/oauth2/userinfo", script["access_token"], str(claims["client_ip"]))
    assert answer.json()["sub"] == person["id"]

    async with platform.browser(canary) as browser:
        refused = SignIn(browser, party)
        await refused.start()
        page = await refused.enter(stranger, PASSWORD)
    assert not page.location.startswith(callback) or "error=access_denied" in page.location

    # From an address outside its range the client is nobody.
    await api.change("/clients/tickets", client_ip_ranges=["192.0.2.0/24"])
    async with asyncio.timeout(30):
        while (await party.ask("introspect", token="x")).status_code != 401:
            await asyncio.sleep(0.05)


@pytest.mark.seed(60, 61, 62, 63, 64)
async def test_openfaas(platform: Platform, api: Api, browser_session: Browser, canary: Canary) -> None:
    await applied(platform, "openfaas.yaml")
    name = await somebody(api, "ops")
    for callback in ("https://dashboard.example.com/auth/callback", "http://127.0.0.1:31112/oauth/callback"):
        party = Party(platform.issuer, "openfaas", None, callback, "none", (canary,))
        sign_in = SignIn(browser_session, party, scope="openid function")
        await until_it_signs_in(sign_in, name)
        tokens = await sign_in.redeem()
        told = payload(tokens["access_token"])
        assert (told["policy"], told["roles"]) == (["people"], ["function:*", "secret:*"])
        assert "https://gateway.example.com" in told["aud"]


async def test_archestra(platform: Platform, api: Api, browser_session: Browser, canary: Canary) -> None:
    secret = drawn(canary)
    await applied(platform, "archestra.yaml", ARCHESTRA_CLIENT_SECRET=secret)
    callback = "https://archestra.example.com/api/auth/sso/callback/Watchword"
    party = Party(platform.issuer, "archestra", secret, callback, canaries=(canary,))
    name = await somebody(api)
    sign_in = SignIn(browser_session, party)
    await until_it_signs_in(sign_in, name)
    assert payload((await sign_in.redeem())["id_token"])["email"] == f"{name}@example.com"
