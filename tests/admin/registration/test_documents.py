"""Client-ID metadata documents: what may be a client without anybody having registered it, and what may not."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from tests.admin.registration.conftest import REDIRECT_URI, ask, sql, until_it_is_on

from watchword_admin.registration.documents import LONGEST, SHORTEST, USUAL, Unusable, good_for, read_document
from watchword_admin.registration.terms import Terms
from watchword_admin.uris import InvalidUri, check_document_url
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.web import Served, Site

URL = "https://agent.example/client.json"
TERMS = Terms(scope="openid profile email offline_access")
DOCUMENT: dict[str, object] = {"client_id": URL, "client_name": "Agent", "redirect_uris": [REDIRECT_URI]}


def published(web: Site, **members: object) -> str:
    """The URL of a document of its own."""
    path = f"/{secrets.token_hex(4)}/client.json"
    return web.put(path, {**DOCUMENT, "client_id": f"{web.url}{path}", **members})


@pytest.mark.spec("draft-ietf-oauth-client-id-metadata-document 4")
async def test_a_document_is_a_client(site: Platform, web: Site, admin: Api) -> None:
    url = published(web, client_uri="https://agent.example/")
    party = Party(site.issuer, url, None, REDIRECT_URI, "none", (site.canary,))
    async with site.browser() as browser:
        sign_in = SignIn(browser, party, scope="openid profile watchword:admin")
        await sign_in.start()
        page = await sign_in.enter(site.admin.username, site.admin.password)
        note = page.texts["unverified"]
        assert "Nobody here has checked this application" in note
        assert "localhost" in note
        assert "app.example" in note
        await sign_in.decide()
        tokens = await sign_in.redeem()
    assert set(tokens["scope"].split()) == {"openid", "profile"}
    assert web.asked.count(url.removeprefix(web.url)) == 1
    (listed,) = (await admin.get("/clients", client_id=url))["items"]  # type: ignore[misc]
    assert (listed["kind"], listed["require_consent"], listed["secrets"]) == ("document", True, [])


async def test_a_document_is_read_again_when_it_is_over(site: Platform, web: Site, admin: Api) -> None:
    url = published(web, client_name="Before")
    assert (await ask(site, url)).has("username")
    web.put(url.removeprefix(web.url), {**DOCUMENT, "client_id": url, "client_name": "After"})
    assert (await ask(site, url)).has("username")
    assert web.asked.count(url.removeprefix(web.url)) == 1
    await forget(site, url)
    assert (await ask(site, url)).has("username")
    (listed,) = (await admin.get("/clients", client_id=url))["items"]  # type: ignore[misc]
    assert listed["client_name"] == "After"
    await forget(site, url)
    web.pages[url.removeprefix(web.url)] = Served(b"", 410)
    assert (await ask(site, url)).error_code == "unknown_client"


async def forget(site: Platform, url: str) -> None:
    """The document is over in admin, and in authz's copy."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    await sql(site, "UPDATE admin.clients SET expires_at = $2 WHERE id = $1", url, past)
    await sql(
        site,
        "UPDATE authz.client_copy SET data = jsonb_set(data, '{expires_at_s}', '1') WHERE id = $1",
        url,
    )


async def test_who_is_switched_off_stays_so(site: Platform, web: Site, admin: Api) -> None:
    url = published(web)
    assert (await ask(site, url)).has("username")
    document_id = (await listed_document(admin, url))["id"]
    await admin.change(f"/client-documents/{document_id}", enabled=False)
    await forget(site, url)
    assert (await ask(site, url)).error_code == "client_disabled"
    assert web.asked.count(url.removeprefix(web.url)) == 1
    await admin.change(f"/client-documents/{document_id}", enabled=True)
    await until_it_is_on(site, url)


@pytest.mark.row(62)
async def test_who_is_deleted_may_come_again_and_old_tokens_stay_dead(site: Platform, web: Site, admin: Api) -> None:
    url = published(web)
    party = Party(site.issuer, url, None, REDIRECT_URI, "none", (site.canary,))
    async with site.browser() as browser:
        tokens = await SignIn(browser, party).with_password(site.admin.username, site.admin.password)
        assert (await party.userinfo(tokens["access_token"])).status_code == 200
        await admin.delete(f"/client-documents/{(await listed_document(admin, url))['id']}")
        assert (await party.userinfo(tokens["access_token"])).status_code == 401
        await until_it_is_on(site, url)
        again = await SignIn(browser, party).with_password(site.admin.username, site.admin.password)
        assert (await party.userinfo(again["access_token"])).status_code == 200
        assert (await party.userinfo(tokens["access_token"])).status_code == 401


async def listed_document(admin: Api, url: str) -> dict[str, object]:
    """The document as the API lists it."""
    items = (await admin.get("/client-documents", client_id=url))["items"]
    assert isinstance(items, list)
    (found,) = items
    return dict(found)


@pytest.mark.spec("RFC 7591 2")
@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"client_id": "https://other.example/client.json"}, "unknown_client"),
        ({"client_id": None}, "unknown_client"),
        ({"client_secret": "public-knowledge"}, "unknown_client"),
        ({"redirect_uris": ["https://other.example/cb"]}, "invalid_redirect_uri"),
        ({"require_consent": False}, "unknown_client"),
    ],
    ids=["another's document", "no client_id", "a secret", "another redirect URI", "trust"],
)
async def test_what_is_no_good_document_leads_to_a_page(
    site: Platform, web: Site, members: dict[str, object], error: str
) -> None:
    assert (await ask(site, published(web, **members))).error_code == error


ANSWERS = {
    "not found": Served(b"", 404),
    "an error": Served(b"{}", 500, {"content-type": "application/json"}),
    "a redirect": Served(b"", 302, {"location": "https://127.0.0.1/"}),
    "no JSON": Served(b"<html>", 200, {"content-type": "text/html"}),
    "broken JSON": Served(b"{", 200, {"content-type": "application/json"}),
    "a list": Served(b"[]", 200, {"content-type": "application/json"}),
    "too long": Served(b'{"a":"' + b"x" * 20_000 + b'"}', 200, {"content-type": "application/json"}),
    "deep": Served(b'{"a":' * 5000 + b"1" + b"}" * 5000, 200, {"content-type": "application/json"}),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_whatever_a_host_answers_is_survived(site: Platform, web: Site, answer: Served) -> None:
    path = f"/{secrets.token_hex(4)}.json"
    web.pages[path] = answer
    page = await ask(site, f"{web.url}{path}")
    assert (page.status, page.error_code) == (400, "unknown_client")
    assert web.asked.count(path) == 1  # a failure is not asked for again at once


async def test_a_host_that_keeps_us_waiting_is_not_waited_for(site: Platform, web: Site) -> None:
    path = f"/{secrets.token_hex(4)}.json"
    web.pages[path] = Served(b"{}", hang_s=20)
    assert (await ask(site, f"{web.url}{path}")).error_code == "unknown_client"


# Security: row 48 of the table of threats. None of these is even asked for.
NEVER = {
    "a host that was not named": "https://stranger.test/client.json",
    "a host that ends like one": "https://evilexample/client.json",
    "the name of one in the path": "https://stranger.test/a.example/client.json",
    "plain http": "http://localhost/client.json",
    "no path": "https://agent.example",
    "the root": "https://agent.example/",
    "a query": "https://agent.example/client.json?x=1",
    "a fragment": "https://agent.example/client.json#x",
    "a user": "https://a@agent.example/client.json",
    "a password": "https://a:b@agent.example/client.json",
    "dot segments": "https://agent.example/a/../client.json",
    "encoded dot segments": "https://agent.example/a/%2e%2e/client.json",
    "upper case": "https://Agent.example/client.json",
    "a number": "https://2130706433/client.json",
    "link-local": "https://169.254.169.254/client.json",
    "a mapped address": "https://[::ffff:127.0.0.1]/client.json",
    "a dot behind": "https://localhost./client.json",
    "backslash": "https://agent.example\\@localhost/client.json",
    "too long": f"https://agent.example/{'x' * 128}",
    "another scheme": "file:///etc/passwd",
}


@pytest.mark.row(28)
@pytest.mark.parametrize("url", NEVER.values(), ids=NEVER)
async def test_no_request_leaves_for_what_is_not_allowed(site: Platform, url: str) -> None:
    page = await ask(site, url)
    assert (page.status, page.error_code) == (400, "unknown_client")
    rows = await sql(site, "SELECT 1 FROM admin.clients WHERE id = $1", url)
    assert rows == []


@pytest.mark.spec("draft-ietf-oauth-client-id-metadata-document 2")
@pytest.mark.parametrize("url", [URL, "https://localhost:8443/c", "https://a.b.example/x/y.json"])
def test_addresses_of_documents(url: str) -> None:
    assert check_document_url(url) == url


@pytest.mark.parametrize("url", [url for url in NEVER.values() if "stranger" not in url and "x" * 128 not in url])
def test_addresses_of_no_document(url: str) -> None:
    with pytest.raises(InvalidUri):
        if check_document_url(url):
            raise InvalidUri("its host was not named")


BAD_DOCUMENTS: dict[str, dict[str, object]] = {
    "another client_id": {"client_id": URL + "/"},
    "a client_id that differs in case": {"client_id": URL.upper()},
    "no client_id": {"client_id": None},
    "a secret": {"client_secret": "x" * 32},
    "an expiry of a secret": {"client_secret_expires_at": 0},
    "authentication by secret": {"token_endpoint_auth_method": "client_secret_basic"},
    "authentication by posted secret": {"token_endpoint_auth_method": "client_secret_post"},
    "authentication by a shared key": {"token_endpoint_auth_method": "client_secret_jwt"},
    "authentication by certificate": {"token_endpoint_auth_method": "tls_client_auth"},
    "authentication by a key without one": {"token_endpoint_auth_method": "private_key_jwt"},
    "authentication that is no text": {"token_endpoint_auth_method": 1},
    "no redirect URI": {"redirect_uris": []},
    "redirect URI of a script": {"redirect_uris": ["javascript:alert(1)"]},
    "redirect URI with plain http": {"redirect_uris": ["http://app.example/"]},
    "no grant that is given here": {"grant_types": ["password"]},
    "a name that is a list": {"client_name": ["x"]},
    "a software statement": {"software_statement": "x"},
    "a short name": {"short_name": "grafana"},
    "no PKCE": {"require_pkce": False},
}


@pytest.mark.spec("draft-ietf-oauth-client-id-metadata-document 4.1")
@pytest.mark.parametrize("members", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_bad_documents_are_no_clients(members: dict[str, object]) -> None:
    with pytest.raises(Unusable):
        read_document(URL, {**DOCUMENT, **members}, TERMS)


def test_a_document_that_is_written_for_every_server_counts_as_far_as_it_can() -> None:
    found = read_document(
        URL,
        {
            **DOCUMENT,
            "grant_types": ["authorization_code", "refresh_token", "client_credentials", "urn:example:new"],
            "scope": "openid mcp:tools",
            "made_up": True,
        },
        TERMS,
    )
    assert found.grant_types == ("authorization_code", "refresh_token")
    assert found.scope == "openid"
    assert found.is_public
    assert found.require_consent
    assert found.require_pkce


@pytest.mark.spec("RFC 9111 5.2.2")
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", USUAL),
        ("max-age=600", timedelta(seconds=600)),
        ("public, max-age=600", timedelta(seconds=600)),
        ("max-age=1", SHORTEST),
        ("max-age=99999999", LONGEST),
        ("max-age=" + "9" * 400, USUAL),
        ("max-age=-1", USUAL),
        ("no-store", SHORTEST),
        ("max-age=600, no-cache", SHORTEST),
    ],
)
def test_how_long_a_document_counts(header: str, expected: timedelta) -> None:
    assert good_for({"cache-control": header}) == expected


async def test_documents_are_no_clients_unless_the_operator_says_so(platform: Platform, web: Site) -> None:
    url = published(web)
    assert (await ask(platform, url)).error_code == "unknown_client"
    assert url.removeprefix(web.url) not in web.asked


@pytest.mark.parametrize("path", ["openid-configuration", "oauth-authorization-server"])
async def test_metadata_say_whether_documents_count(site: Platform, platform: Platform, path: str) -> None:
    for running, expected in ((site, True), (platform, None)):
        async with running.browser() as browser:
            answer = await browser.client.get(f"{running.issuer}/.well-known/{path}")
        assert answer.json().get("client_id_metadata_document_supported") is expected
