"""Dynamic registration: what a stranger may say of itself, and what only an administrator may give."""

import asyncio
import secrets

import pytest
from tests.admin.registration.conftest import REDIRECT_URI, Stranger

from watchword_admin.client_documents import ClientDocument
from watchword_admin.registration.metadata import OWN
from watchword_events.contracts import ClientRegistered
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn


@pytest.mark.spec("RFC 7591 3.1")
@pytest.mark.spec("RFC 7591 3.2.1")
@pytest.mark.spec("RFC 7592 3")
async def test_a_client_registers_itself_and_may_be_used_at_once(site: Platform, stranger: Stranger) -> None:
    assert site.process is not None
    async with site.nats_client() as nats, expect_events(nats, ClientRegistered):
        answer = await stranger.try_to_register(client_name="Agent", client_uri="https://agent.example/")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made["client_name"] == "Agent"
    assert made["client_uri"] == "https://agent.example/"
    assert made["redirect_uris"] == [REDIRECT_URI]
    assert made["response_types"] == ["code"]
    assert made["grant_types"] == ["authorization_code"]
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    assert made["client_secret_expires_at"] == 0
    assert made["registration_client_uri"] == f"{site.issuer}/oauth2/register/{made['client_id']}"
    party = Party(site.issuer, made["client_id"], made["client_secret"])
    assert (await party.ask("introspect", token="x")).status_code == 200


@pytest.mark.spec("RFC 7591 2")
async def test_what_is_not_known_is_ignored(stranger: Stranger) -> None:
    made = await stranger.register(
        **{"client_name#de": "Agent", "application_type": "web", "made_up": {"deep": [1]}, "tos_uri": None}
    )
    assert not {"client_name#de", "application_type", "made_up", "tos_uri"} & made.keys()


@pytest.mark.spec("RFC 7591 2")
async def test_the_scope_is_what_the_terms_allow(admin: Api, site: Platform, stranger: Stranger) -> None:
    assert (await stranger.register())["scope"] == "openid profile email offline_access"
    assert (await stranger.register(scope="openid watchword:admin revocations:read"))["scope"] == "openid"
    narrow = await admin.create("/registration-tokens", name="Narrow", scope="openid tickets:read")
    other = Stranger(site.issuer, str(narrow["token"]), stranger.canaries)
    assert (await other.register(scope="tickets:read profile"))["scope"] == "tickets:read"
    await other.http.aclose()


async def test_who_asks_for_no_scope_has_the_default_ones(admin: Api, site: Platform, canary: Canary) -> None:
    name = f"default:{secrets.token_hex(4)}"
    scope = await admin.create("/scopes", name=name, description="See the weather", is_default=True)
    try:
        made = await admin.create("/registration-tokens", name="Default", uses=2)
    finally:
        await admin.delete(f"/scopes/{scope['id']}")
    other = Stranger(site.issuer, str(made["token"]), (canary, site.canary))
    assert name in str((await other.register())["scope"]).split()
    assert (await other.register(scope=f"openid {name}"))["scope"] == f"openid {name}"
    await other.http.aclose()


REFUSED = {
    "no redirect URI": ({"redirect_uris": ...}, "invalid_redirect_uri"),
    "redirect URIs are no list": ({"redirect_uris": "https://app.example/"}, "invalid_redirect_uri"),
    "redirect URI with a fragment": ({"redirect_uris": ["https://app.example/#x"]}, "invalid_redirect_uri"),
    "redirect URI of a script": ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
    "redirect URI with plain http": ({"redirect_uris": ["http://app.example/callback"]}, "invalid_redirect_uri"),
    "redirect URI with a wildcard": ({"redirect_uris": ["https://*.app.example/"]}, "invalid_redirect_uri"),
    "100 redirect URIs": (
        {"redirect_uris": [f"https://app.example/{n}" for n in range(100)]},
        "invalid_redirect_uri",
    ),
    "a redirect URI that is a number": ({"redirect_uris": [7]}, "invalid_redirect_uri"),
    "an unknown grant": ({"grant_types": ["password"]}, "invalid_client_metadata"),
    "a grant that is an administrator's to give": (
        {"grant_types": ["authorization_code", "client_credentials"]},
        "invalid_client_metadata",
    ),
    "implicit": ({"response_types": ["token"]}, "invalid_client_metadata"),
    "response types without the grant": ({"response_types": []}, "invalid_client_metadata"),
    "an unknown authentication method": ({"token_endpoint_auth_method": "magic"}, "invalid_client_metadata"),
    "only scopes that are not given": ({"scope": "watchword:admin"}, "invalid_client_metadata"),
    "a scope that is no text": ({"scope": ["openid"]}, "invalid_client_metadata"),
    "a name with a direction override": ({"client_name": "evil\u202ecod.exe"}, "invalid_client_metadata"),
    "a name without end": ({"client_name": "x" * 2000}, "invalid_client_metadata"),
    "a name that is an object": ({"client_name": {"en": "x"}}, "invalid_client_metadata"),
    "a link to a script": ({"client_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
    "a logo in the cloud's own network": (
        {"logo_uri": "https://169.254.169.254/latest/meta-data/"},
        "invalid_client_metadata",
    ),
    "a logo behind an IPv6 disguise": ({"logo_uri": "https://[::ffff:10.0.0.1]/x"}, "invalid_client_metadata"),
    "a logo at a short number": ({"logo_uri": "https://2130706433/x"}, "invalid_client_metadata"),
    "keys in the cloud's own network": ({"jwks_uri": "https://169.254.169.254/keys"}, "invalid_client_metadata"),
    "a sector in the cloud's own network": (
        {"sector_identifier_uri": "https://169.254.169.254/sector"},
        "invalid_client_metadata",
    ),
    "a logout address inside": ({"backchannel_logout_uri": "https://10.0.0.1/logout"}, "invalid_client_metadata"),
    "contacts without end": ({"contacts": ["a@example.com"] * 100}, "invalid_client_metadata"),
    "a software statement": ({"software_statement": "eyJhbGciOiJub25lIn0.e30."}, "unapproved_software_statement"),
}


@pytest.mark.spec("RFC 7591 3.2.2")
@pytest.mark.parametrize(("metadata", "error"), REFUSED.values(), ids=REFUSED)
async def test_bad_metadata_are_refused_with_their_code(
    stranger: Stranger, metadata: dict[str, object], error: str
) -> None:
    answer = await stranger.try_to_register(**metadata)
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text
    assert answer.json()["error_description"]


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{", b"", b"\xff", b'{"a":' * 50 + b"1" + b"}" * 50])
async def test_what_is_no_json_object_is_refused(stranger: Stranger, body: bytes) -> None:
    answer = await stranger.http.post(
        f"{stranger.issuer}/oauth2/register",
        content=body,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {stranger.token}"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_client_metadata", "invalid_request"}


TRUSTED = sorted(ClientDocument.model_fields.keys() - OWN)


@pytest.mark.parametrize("name", TRUSTED)
async def test_nothing_that_an_administrator_gives_can_be_taken(stranger: Stranger, name: str) -> None:
    value = ClientDocument.model_fields[name].get_default(call_default_factory=True)
    for taken in (False, value if value is not None else "x"):
        answer = await stranger.try_to_register(**{name: taken})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
        assert name in answer.json()["error_description"]


@pytest.mark.row(28)
def test_what_decides_about_trust_is_never_a_strangers() -> None:
    assert not OWN & {"require_consent", "require_pkce", "short_name", "audience", "access_token_lifetime_s"}
    assert ClientDocument.model_fields.keys() >= OWN


async def test_nobody_registers_a_client_with_more_than_its_own_name(stranger: Stranger, admin: Api) -> None:
    made = await stranger.register(token_endpoint_auth_method="none", scope="openid")
    assert "client_secret" not in made
    seen = await admin.get(f"/clients/{made['client_id']}")
    assert seen["kind"] == "dynamic"
    assert seen["require_consent"] is True
    assert seen["require_pkce"] is True
    assert seen["allowed_origins"] == ["https://app.example"]


# Initial access tokens ------------------------------------------------------------------------------------------------

BAD_TOKENS = {
    "none": (None, ""),
    "garbage": ("x", "invalid_token"),
    "well formed and unknown": ("01890000-0000-7000-8000-000000000000." + "A" * 43, "invalid_token"),
    "not ASCII": ("\u00e9" * 10, "invalid_token"),
}


@pytest.mark.row(28)
@pytest.mark.parametrize(("token", "error"), BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_nobody_registers_without_a_good_initial_token(stranger: Stranger, token: str | None, error: str) -> None:
    headers = {} if token is None else {b"Authorization": b"Bearer " + token.encode("latin-1")}
    answer = await stranger.http.post(
        f"{stranger.issuer}/oauth2/register", json={"redirect_uris": [REDIRECT_URI]}, headers=headers
    )
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer")
    assert ("error=" in challenge) == bool(error)


async def test_an_administrators_api_key_is_no_initial_token(site: Platform, stranger: Stranger) -> None:
    for headers in (
        {"Authorization": f"Bearer {site.admin.admin_token}"},
        {"Watchword-API-Key": site.admin.admin_token},
        {"Authorization": f"Basic {stranger.token}"},
    ):
        answer = await stranger.http.post(
            f"{stranger.issuer}/oauth2/register", json={"redirect_uris": [REDIRECT_URI]}, headers=headers
        )
        assert answer.status_code in {400, 401}


async def test_a_token_registers_so_many_times_and_a_refusal_costs_nothing(
    admin: Api, site: Platform, stranger: Stranger
) -> None:
    made = await admin.create("/registration-tokens", name="Three", uses=3)
    program = Stranger(site.issuer, str(made["token"]), stranger.canaries)
    refused = await program.try_to_register(redirect_uris=["nonsense"])
    assert refused.status_code == 400
    answers = await asyncio.gather(*(program.try_to_register() for _ in range(10)))
    assert sorted(each.status_code for each in answers) == [201] * 3 + [401] * 7
    assert (await admin.get(f"/registration-tokens/{made['id']}"))["uses_left"] == 0
    await program.http.aclose()


async def test_a_revoked_token_registers_nobody_and_its_clients_stay(
    admin: Api, site: Platform, stranger: Stranger
) -> None:
    made = await admin.create("/registration-tokens", name="Revoked", uses=3)
    program = Stranger(site.issuer, str(made["token"]), stranger.canaries)
    client = await program.register()
    await admin.delete(f"/registration-tokens/{made['id']}")
    assert (await program.try_to_register()).status_code == 401
    assert (await program.manage("GET", client)).status_code == 200
    await program.http.aclose()


async def test_a_token_bounds_what_its_holder_registers(admin: Api, site: Platform, stranger: Stranger) -> None:
    made = await admin.create(
        "/registration-tokens",
        name="Bound",
        uses=10,
        grant_types=["authorization_code", "client_credentials"],
        redirect_hosts=["*.apps.example"],
    )
    program = Stranger(site.issuer, str(made["token"]), stranger.canaries)
    for uri, status in [
        ("https://one.apps.example/cb", 201),
        ("https://apps.example/cb", 400),
        ("https://evilapps.example/cb", 400),
        ("https://one.apps.example.evil.example/cb", 400),
        ("http://127.0.0.1/cb", 400),
        ("com.example.app:/cb", 400),
    ]:
        assert (await program.try_to_register(redirect_uris=[uri])).status_code == status, uri
    wanted = ["https://one.apps.example/cb"]
    client = await program.register(grant_types=["client_credentials"], response_types=[], redirect_uris=wanted)
    assert client["grant_types"] == ["client_credentials"]
    assert (await program.try_to_register(grant_types=["refresh_token"], redirect_uris=wanted)).status_code == 400
    await program.http.aclose()


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "scope": "openid watchword:admin"},
        {"name": "x", "uses": 0},
        {"name": "x", "expires_in_s": 1},
        {"name": "x", "grant_types": ["password"]},
        {"name": "x", "redirect_hosts": ["https://app.example"]},
        {"name": "x", "user_id": "somebody"},
        {},
    ],
    ids=["privileged scope", "no use", "too short", "unknown grant", "a URL", "unknown member", "no name"],
)
async def test_bad_initial_tokens_are_not_made(admin: Api, body: dict[str, object]) -> None:
    assert (await admin.call("POST", "/registration-tokens", body)).status_code == 400


async def test_tokens_are_for_administrators(site: Platform) -> None:
    async with site.api(token="").client as nobody:
        for method, path in [("POST", ""), ("GET", ""), ("GET", "/x"), ("DELETE", "/x")]:
            answer = await nobody.request(method, f"/registration-tokens{path}", json={"name": "x"})
            assert answer.status_code == 401


async def test_the_text_of_a_token_is_shown_once(admin: Api) -> None:
    made = await admin.create("/registration-tokens", name="Once")
    again = await admin.get(f"/registration-tokens/{made['id']}")
    assert made["token"]
    assert again["token"] is None
    listed = (await admin.get("/registration-tokens", limit="200"))["items"]
    assert isinstance(listed, list)
    assert all(each["token"] is None for each in listed)


# Who signs in ---------------------------------------------------------------------------------------------------------


async def test_consent_is_asked_each_time_and_says_that_nobody_checked(site: Platform, stranger: Stranger) -> None:
    made = await stranger.register(client_name="<b>Grafana</b>", token_endpoint_auth_method="none", scope="openid")
    party = Party(site.issuer, str(made["client_id"]), None, REDIRECT_URI, "none", stranger.canaries)
    async with site.browser() as browser:
        for _ in range(2):
            sign_in = SignIn(browser, party, scope="openid")
            page = await sign_in.start()
            if page.has("username"):
                page = await sign_in.enter(site.admin.username, site.admin.password)
            assert page.has("allow")
            assert "<b>Grafana" not in page.body
            note = page.texts["unverified"]
            assert "Nobody here has checked this application" in note
            assert "app.example" in note
            await sign_in.decide()
            assert (await sign_in.redeem())["access_token"]
        silent = SignIn(browser, party, scope="openid", params={"prompt": "none"})
        await silent.start()
        assert silent.outcome()["error"] == "consent_required"


async def test_registration_is_off_unless_it_is_switched_on(platform: Platform, api: Api) -> None:
    made = await api.create("/registration-tokens", name="Off")
    program = Stranger(platform.issuer, str(made["token"]))
    assert (await program.try_to_register()).status_code == 403
    metadata = (await program.send("GET", "/.well-known/oauth-authorization-server")).json()
    assert "registration_endpoint" not in metadata
    await program.http.aclose()


@pytest.mark.spec("RFC 8414 2")
async def test_metadata_say_where_to_register(site: Platform, stranger: Stranger) -> None:
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        assert (await stranger.send("GET", path)).json()["registration_endpoint"] == f"{site.issuer}/oauth2/register"


async def test_scripts_of_any_origin_may_register_without_cookies(stranger: Stranger) -> None:
    url = "/oauth2/register"
    preflight = await stranger.send(
        "OPTIONS", url, Origin="https://agent.example", **{"Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://agent.example"
    refused = await stranger.send("POST", url, {}, Origin="https://agent.example")
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://agent.example"
    assert "access-control-allow-credentials" not in refused.headers
