"""OAuth 2.0 without OpenID Connect, against GitHub as its documentation describes it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from starlette.responses import JSONResponse
from tests.federation.github import CLIENT_ID, CLIENT_SECRET, GitHub
from tests.federation.oauth2_servers import CLIENT_ID as CLIENT
from tests.federation.oauth2_servers import CLIENT_SECRET as SECRET
from tests.federation.oauth2_servers import Server, bitbucket, discord

from watchword_admin import provider_kinds
from watchword_admin.presets import Presets
from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_federation import lookups
from watchword_federation.attempts import Trail
from watchword_federation.claim_paths import find, renamed, text_of
from watchword_federation.connectors import Answer, Secrets, Wishes
from watchword_federation.connectors.oauth2 import OAuth2Connector
from watchword_federation.connectors.token_requests import TokenRequests, Tokens
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import SignInFailed
from watchword_federation.flows import new_secrets
from watchword_federation.lookups import with_groups
from watchword_federation.metadata import PlainHttp
from watchword_federation.settings import FederationSettings

PRESETS = Presets.load()
CALLBACK = "https://sso.test/api/auth/sso/callback/GitHub"


class SignIn:
    """Sign-ins through one connector."""

    def __init__(self, connector: OAuth2Connector, manual_clock: Any) -> None:
        self.connector = connector
        self.clock = manual_clock
        self.trail = Trail()

    async def leave(self, provider: ProviderExport, kept: Secrets, wishes: Wishes | None = None) -> str:
        return await self.connector.depart(
            provider, wishes or Wishes(), secrets=kept, state="state-1", callback=CALLBACK, trail=self.trail
        )

    async def __call__(
        self, github: GitHub | Server, provider: ProviderExport, *, verified_by: Secrets | None = None
    ) -> VerifiedIdentity:
        kept = new_secrets()
        params = github.authorize(await self.leave(provider, kept))
        arrived = await self.connector.arrive(
            provider,
            Answer(code=params["code"]),
            secrets=verified_by or kept,
            callback=CALLBACK,
            max_age_s=None,
            now=self.clock(),
            trail=self.trail,
        )
        return arrived.identity


@pytest.fixture(scope="module")
async def ways(settings: FederationSettings) -> AsyncIterator[Ways]:
    made = Ways(settings)
    yield made
    await made.close()


@pytest.fixture
def sign_in(ways: Ways, manual_clock: Any) -> SignIn:
    requests = TokenRequests(lambda provider: provider.client_secret)
    return SignIn(OAuth2Connector(ways, requests, plain_http=PlainHttp(loopback=True)), manual_clock)


@pytest.fixture
def github(first_stage: Any) -> GitHub:
    return first_stage.play(GitHub())  # type: ignore[no-any-return]


def configured(github: GitHub, **given: object) -> ProviderExport:
    """As an administrator configures it with the preset `github`, at another address. The secret is in clear here."""
    members = {
        "id": "GitHub",
        "preset": "github",
        "client_id": CLIENT_ID,
        "url": github.issuer,
        "api_url": github.issuer,
    }
    document = provider_kinds.document_in(provider_kinds.new_provider(PRESETS, {**members, **given}))
    exported = document.exported() | {"id": "GitHub", "kind": document.kind_of, "client_secret": CLIENT_SECRET}
    return ProviderExport.model_validate(exported)


def as_preset(server: Server, preset: str, **given: object) -> ProviderExport:
    """As the preset fills it in; every address in it is moved to where the server is, and nothing else."""
    members = {"id": "P", "preset": preset, "client_id": CLIENT, "client_secret": SECRET, **given}
    document = provider_kinds.document_in(provider_kinds.new_provider(PRESETS, members))
    exported = document.exported() | {"id": "P", "kind": document.kind_of, "client_secret": SECRET}
    moved = re.sub(r"https://(discord\.com|(api\.)?bitbucket\.org)", server.issuer, json.dumps(exported, default=list))
    return ProviderExport.model_validate_json(moved)


async def refused(failure: str, signing_in: Any) -> str:
    with pytest.raises(SignInFailed) as refusal:
        await signing_in
    assert refusal.value.code == failure, refusal.value.detail
    return refusal.value.reason


@pytest.mark.spec("RFC 6749 4.1; RFC 6749 4.1.1; RFC 7636 4.5")
@pytest.mark.seed(83)
async def test_a_private_address_is_enough(sign_in: SignIn, github: GitHub) -> None:
    """The seed wanted a public e-mail address, and switched PKCE off."""
    identity = await sign_in(github, configured(github))
    assert (identity.issuer, identity.subject) == (github.issuer, "583231")
    assert (identity.email, identity.email_verified) == ("octocat@acme.test", True)
    assert (identity.name, identity.preferred_username) == ("Mona", "octocat")
    assert "groups" not in identity.claims
    assert github.asked == ["/user", "/user/emails"]


async def test_a_code_of_another_sign_in_is_refused(sign_in: SignIn, github: GitHub) -> None:
    detail = await refused("token_exchange_failed", sign_in(github, configured(github), verified_by=new_secrets()))
    assert detail == "token endpoint: bad_verification_code"


async def test_organizations_and_teams_are_groups(sign_in: SignIn, github: GitHub) -> None:
    scopes = ["read:user", "user:email", "read:org"]
    identity = await sign_in(github, configured(github, scopes=scopes))
    assert identity.claims["groups"] == ["acme", "widgets", "acme:ops"]


@pytest.mark.parametrize(
    ("emails", "expected"),
    [
        pytest.param([{"email": "a@b.test", "primary": True, "verified": False}], ("a@b.test", False), id="unverified"),
        pytest.param([{"email": "a@b.test", "primary": False, "verified": True}], ("a@b.test", True), id="no primary"),
        pytest.param([{"email": "a@b.test", "primary": False, "verified": False}], (None, False), id="neither"),
        pytest.param([], (None, False), id="none"),
        pytest.param([{"email": 1, "primary": True, "verified": True}, "x"], (None, False), id="nonsense"),
        pytest.param([{"email": "a@b.test", "primary": True, "verified": "true"}], ("a@b.test", False), id="a text"),
    ],
)
async def test_which_address_counts(
    sign_in: SignIn, github: GitHub, emails: list[Any], expected: tuple[str | None, bool]
) -> None:
    github.user["email"] = "public@evil.test"
    github.emails = emails
    identity = await sign_in(github, configured(github))
    assert (identity.email, identity.email_verified) == expected


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        pytest.param({"user": {"login": "octocat"}}, "account_not_found", id="nobody"),
        pytest.param({"user": {"id": "", "login": "octocat"}}, "account_not_found", id="an empty id"),
        pytest.param({"user": {"id": 1}, "emails": []}, "missing_user_info", id="neither name nor address"),
        pytest.param({"emails": {"message": "?"}}, "userinfo_failed", id="addresses that are no list"),
        pytest.param({"token_answer": JSONResponse({"error": "x"})}, "token_exchange_failed", id="an error with 200"),
        pytest.param(
            {"token_answer": JSONResponse({"access_token": "gone", "token_type": "bearer"})},
            "userinfo_failed",
            id="a token that is unknown",
        ),
        pytest.param(
            {"token_answer": JSONResponse({"access_token": "a", "token_type": "mac"})},
            "token_exchange_failed",
            id="a kind of token that is unknown",
        ),
    ],
)
async def test_what_goes_wrong_has_its_name(
    sign_in: SignIn, github: GitHub, change: dict[str, Any], failure: str
) -> None:
    for name, value in change.items():
        setattr(github, name, value)
    await refused(failure, sign_in(github, configured(github)))


async def test_a_fresh_sign_in_cannot_be_proved_and_is_not_begun(sign_in: SignIn, github: GitHub) -> None:
    await refused("access_denied", sign_in.leave(configured(github), new_secrets(), Wishes(max_age_s=0)))


async def test_only_whom_a_required_claim_fits(sign_in: SignIn, github: GitHub) -> None:
    provider = configured(github, required_claims={"login": "monalisa, octocat"})
    assert (await sign_in(github, provider)).subject == "583231"
    provider = configured(github, required_claims={"company": ["Acme"]})
    await refused("access_denied", sign_in(github, provider))


@pytest.mark.parametrize(
    ("preset", "make", "given", "who", "groups"),
    [
        pytest.param(
            "discord",
            discord,
            {"scopes": ["identify", "email", "guilds"]},
            ("80351110224678912", "nelly@discord.test", True, "Nelly", "nelly"),
            ["80351110224678913", "80351110224678914"],
            id="Discord",
        ),
        pytest.param(
            "bitbucket",
            bitbucket,
            {},
            ("{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}", "erik@bitbucket.test", True, "Erik van Zijst", "evzijst"),
            ["acme"],
            id="Bitbucket",
        ),
    ],
)
async def test_a_preset_is_enough(
    sign_in: SignIn,
    first_stage: Any,
    preset: str,
    make: Callable[[], Server],
    given: dict[str, Any],
    who: tuple[object, ...],
    groups: list[str],
) -> None:
    server: Server = first_stage.play(make())
    identity = await sign_in(server, as_preset(server, preset, **given))
    assert identity.issuer == server.issuer
    found = (identity.subject, identity.email, identity.email_verified, identity.name, identity.preferred_username)
    assert found == who
    assert identity.claims["groups"] == groups
    assert set(server.asked) == set(server.answers)


async def test_an_address_that_discord_has_not_verified_is_not(sign_in: SignIn, first_stage: Any) -> None:
    server: Server = first_stage.play(discord())
    server.answers["/api/users/@me"][1]["verified"] = False
    identity = await sign_in(server, as_preset(server, "discord"))
    assert (identity.email, identity.email_verified) == ("nelly@discord.test", False)
    assert server.asked == ["/api/users/@me"], "without the scope its servers are not asked for"


async def test_bitbucket_without_the_permission_for_addresses_says_so(sign_in: SignIn, first_stage: Any) -> None:
    server: Server = first_stage.play(bitbucket())
    server.scopes = frozenset({"account"})
    await refused("userinfo_failed", sign_in(server, as_preset(server, "bitbucket")))


async def listed(answer: Callable[[httpx2.Request], httpx2.Response]) -> list[Any]:
    """The groups that a provider tells page by page."""
    lookup = {"endpoint": "https://api.test/list", "items": "values"}
    members = {"id": "P", "preset": "p", "kind": "oauth2", "display_name": "P", "oauth": {"group_lookups": [lookup]}}
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        found = await with_groups(client, ProviderExport.model_validate(members), {}, Tokens("x", {}))
    assert isinstance(found["groups"], list)
    return found["groups"]


@pytest.mark.parametrize(
    "following", ["https://[", "https://evil.test/2", "https://api.test/\u0001", "//[", 7, "x" * 9]
)
async def test_a_next_page_that_is_no_address_there_is_not_asked_for(following: str | int) -> None:
    answers = iter([{"values": ["a"], "next": following}])
    assert await listed(lambda _request: httpx2.Response(200, json=next(answers))) == ["a"]


async def test_a_next_page_with_an_endless_address_is_not_asked_for() -> None:
    answers = iter([{"values": ["a"], "next": "https://api.test/" + "x" * 70_000}])
    assert await listed(lambda _request: httpx2.Response(200, json=next(answers))) == ["a"]


async def test_pages_that_come_slowly_hold_a_sign_in_up_no_longer_than_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is in time, all of them are not."""
    monkeypatch.setattr(lookups, "DEADLINE_S", 0.2)

    async def answer(_request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0.05)
        return httpx2.Response(200, json={"values": ["a"], "next": "https://api.test/list"})

    assert "took longer" in await refused("userinfo_failed", listed(answer))  # type: ignore[arg-type]


def test_paths_and_templates() -> None:
    document = {"a": {"b": [1]}, "https://x.test/y": "z", "id": 7, "on": True}
    assert find(document, "https://x.test/y") == "z"
    assert find(document, "a.b") == [1]
    assert find(document, "a.c") is None
    assert renamed(document, {"sub": "id", "name": "missing"})["sub"] == "7"
    assert renamed(document, {"sub": "on"})["sub"] is True, "which is no subject"
    assert text_of({"o": {"l": "acme"}, "s": "ops"}, "{o.l}:{s}") == "acme:ops"
    assert text_of({"s": None}, "{s}") is None
    assert text_of("plain", "") == "plain"
