"""Groups as one client is told of them, and tokens that would be larger than it can keep."""

import asyncio
from typing import Any

import pytest
from tests.token.conftest import Site
from tests.token.test_refresh_token import refreshed, refused_in_the_end

from watchword_events.contracts import ClientUpdated
from watchword_events.exports import ClientExport
from watchword_events.handovers import ClaimsRequest
from watchword_policy.patterns import Pattern
from watchword_token.groups import Groups, groups_of

SCOPE = ("openid", "profile", "groups")


@pytest.mark.parametrize(
    ("claim", "patterns", "told"),
    [
        pytest.param("groups", (), {"groups": ["argo-dev", "hr"], "name": "Ann"}, id="usual"),
        pytest.param("teams", (), {"teams": ["argo-dev", "hr"], "name": "Ann"}, id="another name"),
        pytest.param("groups", ("^argo-",), {"groups": ["argo-dev"], "name": "Ann"}, id="filtered"),
        pytest.param("teams", ("^argo-", "^hr$"), {"teams": ["argo-dev", "hr"], "name": "Ann"}, id="one of two"),
        pytest.param("groups", ("^nobody$",), {"name": "Ann"}, id="none is left"),
    ],
)
def test_how_groups_are_told(claim: str, patterns: tuple[str, ...], told: dict[str, Any]) -> None:
    groups = Groups(claim, tuple(Pattern(each) for each in patterns))
    assert groups.told({"groups": ["argo-dev", "hr"], "name": "Ann"}) == told
    assert groups.told({"name": "Ann"}) == {"name": "Ann"}


def test_groups_as_one_text_are_filtered_alike() -> None:
    groups = Groups("teams", (Pattern("^argo-"),))
    assert groups.told({"groupstring": '["argo-dev","hr"]'}) == {"groupstring": '["argo-dev"]'}
    assert groups.told({"groupstring": '["hr"]', "name": "Ann"}) == {"name": "Ann"}


def test_a_pattern_of_a_newer_release_shows_no_group() -> None:
    export = ClientExport(client_id="c", client_name="C", groups_filter=("(?newer)",))
    assert groups_of(export).told({"groups": ["a", "", "\U0010ffff"]}) == {}


@pytest.mark.seed(22)
async def test_id_token_and_userinfo_follow_the_client(site: Site) -> None:
    app = await site.client(groups_claim="https://example.com/teams", groups_filter=["^argo-"])
    user = await site.user(groups=("argo-dev", "hr"))
    tokens = await site.sign_in(app, user, scope=SCOPE)
    refreshed_tokens = await refreshed(site, app, tokens["refresh_token"], scope=" ".join(SCOPE))
    answer = await site.http.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    for told in (
        await site.claims(tokens["id_token"]),
        await site.claims(refreshed_tokens["id_token"]),
        answer.json(),
    ):
        assert told["https://example.com/teams"] == ["argo-dev"]
        assert "groups" not in told


async def test_one_clients_filter_is_not_anothers(site: Site) -> None:
    """What userinfo remembers of a person is what every client may see."""
    user = await site.user(groups=("argo-dev", "hr"))
    for given, groups in (({}, ["argo-dev", "hr"]), ({"groups_filter": ["^hr$"]}, ["hr"]), ({}, ["argo-dev", "hr"])):
        app = await site.client(**given)
        tokens = await site.sign_in(app, user, scope=SCOPE)
        answer = await site.http.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert answer.json()["groups"] == groups


async def test_groups_that_are_asked_for_by_name_are_told_alike(site: Site) -> None:
    app = await site.client(groups_claim="teams", groups_filter=["^hr$"], userinfo_claims_only=True)
    user = await site.user(groups=("argo-dev", "hr"))
    tokens = await site.sign_in(app, user, scope=SCOPE, claims_request=ClaimsRequest(id_token=("groups",)))
    told = await site.claims(tokens["id_token"])
    assert (told["teams"], "groups" in told) == (["hr"], False)


MANY = tuple(f"a-group-with-a-rather-long-name-{number:04d}" for number in range(100))


@pytest.mark.seed(23)
async def test_a_token_that_the_client_cannot_keep_is_refused_by_name_and_costs_nothing(
    site: Site, log_lines: list[dict[str, Any]]
) -> None:
    app, user = await site.client(max_token_bytes=4096), await site.user(groups=MANY)
    code = await site.code(app, user, scope=SCOPE)
    for _ in range(2):
        refused = await site.redeem(app, code)
        assert (refused.status_code, refused.json()["error"]) == (400, "token_too_large")
        assert "groups_filter" in refused.json()["error_description"]
        assert "4096" in refused.json()["error_description"]
    line, _ = (each for each in log_lines if each["event"] == "token.too_large")
    assert (line["client_id"], line["token"], line["max_bytes"]) == (app.id, "ID token", 4096)
    # The code is good still, as soon as an administrator has done something about it.
    fixed = app.export.model_copy(update={"groups_filter": ("-0001$",)})
    await site._own("client", app.id, fixed, 2, copied=True)
    await site.publish(ClientUpdated(id=app.id, version=2))
    async with asyncio.timeout(30):
        while (answer := await site.redeem(app, code)).status_code != 200:
            await asyncio.sleep(0.02)
    assert (await site.claims(answer.json()["id_token"]))["groups"] == [MANY[1]]


@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
async def test_an_access_token_counts_as_well(site: Site, token_format: str) -> None:
    app = await site.client(max_token_bytes=512, access_token_format=token_format)
    await site.rule(app, "true", roles=MANY[:20])
    code = await site.code(app, await site.user(), scope=("openid",), roles=tuple(MANY[:20]))
    refused = await site.redeem(app, code)
    assert refused.json()["error"] == "token_too_large"
    assert "access token" in refused.json()["error_description"]


async def test_claims_that_grow_between_sign_in_and_refresh_are_refused_then(site: Site) -> None:
    app, user = await site.client(max_token_bytes=4096), await site.user(groups=MANY[:3])
    tokens = await site.sign_in(app, user, scope=SCOPE)
    await site.rule(app, "true", roles=MANY)
    assert await refused_in_the_end(site, app, tokens["refresh_token"]) == "token_too_large"


async def test_a_client_of_no_limit_gets_whatever_there_is(site: Site) -> None:
    tokens = await site.sign_in(await site.client(), await site.user(groups=MANY), scope=SCOPE)
    assert len(tokens["id_token"]) > 4096
