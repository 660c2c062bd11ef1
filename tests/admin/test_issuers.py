"""`/api/v1/issuers`: what may be said of an issuer, what is refused where, and what removing one ends."""

import secrets
from typing import Any

import pytest

from watchword_events.contracts import IssuerRemoved, IssuerTrusted, IssuerUpdated
from watchword_runtime.feed import Feed
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.issuers import new_key
from watchword_testkit.platform import Platform


def named(**given: Any) -> dict[str, Any]:
    """An issuer that nobody else trusts."""
    return {"iss": f"https://ci-{secrets.token_hex(4)}.example", "aud": ["https://sso.example"]} | given


def keys(**members: Any) -> dict[str, Any]:
    return {"keys": [new_key().as_dict(private=False) | members]}


async def test_an_issuer_is_trusted_read_changed_and_removed(platform: Platform, api: Api, feed: Feed) -> None:
    facts = (IssuerTrusted, IssuerUpdated, IssuerUpdated, IssuerRemoved)
    async with platform.nats_client() as nats, expect_events(nats, *facts) as seen:
        given = named(token_expiry_s=43_200, subject_prefix="fed:", aud=["a", "b", "a"])
        issuer = await api.create("/issuers", **given)
        assert (issuer["aud"], issuer["token_expiry_s"], issuer["version"]) == (["a", "b"], 43_200, 1)
        path = f"/issuers/{issuer['id']}"
        assert await api.get(path) == issuer
        assert (await api.get("/issuers", iss=given["iss"]))["items"] == [issuer]
        changed = await api.change(path, aud=["c"], subject_prefix=None)
        assert changed["aud"] == ["c"]
        assert changed["subject_prefix"] == f"fed:{given['iss'].removeprefix('https://')}:"
        same = await api.call("PUT", path, given | {"aud": ["c"], "subject_prefix": changed["subject_prefix"]})
        assert same.json()["version"] == 3  # the prefix was spelled out
        claims = {"idp": issuer["id"], "rev": feed.position, "sub": "x"}
        assert feed.is_live(claims)
        await api.delete(path)
        assert not feed.is_live(claims | {"rev": feed.position})
        await api.delete(path)
    assert [each.event.version for each in seen.of("issuer.updated")] == [2, 3]
    assert (await api.call("GET", path)).status_code == 404
    assert (await api.call("PATCH", path, {"aud": ["d"]})).status_code == 404


async def test_who_is_trusted_again_begins_anew(api: Api) -> None:
    given = named()
    first = await api.create("/issuers", **given)
    assert (await api.call("POST", "/issuers", given)).status_code == 409
    await api.delete(f"/issuers/{first['id']}")
    second = await api.create("/issuers", **given)
    assert second["id"] != first["id"]


async def test_no_two_issuers_share_their_subjects(api: Api) -> None:
    prefix = f"p-{secrets.token_hex(4)}"
    first = await api.create("/issuers", **named(subject_prefix=prefix))
    assert first["subject_prefix"] == f"{prefix}:"
    taken = await api.call("POST", "/issuers", named(subject_prefix=f"{prefix}:"))
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "#/subject_prefix")
    other = await api.create("/issuers", **named())
    assert (await api.call("PATCH", f"/issuers/{other['id']}", {"subject_prefix": prefix})).status_code == 409


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        pytest.param({"iss": None}, "#/iss", id="no issuer"),
        pytest.param({"iss": ""}, "#/iss", id="an empty issuer"),
        pytest.param({"iss": "http://ci.example"}, "#/iss", id="plain http"),
        pytest.param({"iss": "https://user@ci.example"}, "#/iss", id="a user"),
        pytest.param({"iss": "https://ci.example?x"}, "#/iss", id="a query"),
        pytest.param({"iss": "https://ci.example#x"}, "#/iss", id="a fragment"),
        pytest.param({"iss": "javascript:alert(1)"}, "#/iss", id="a script"),
        pytest.param({"iss": "kubernetes/serviceaccount"}, "#/iss", id="no URL, and no keys either"),
        pytest.param({"aud": []}, "#/aud", id="no audience"),
        pytest.param({"aud": None}, "#/aud", id="null as audience"),
        pytest.param({"aud": ["a b"]}, "#/aud/0", id="a space in an audience"),
        pytest.param({"aud": ["a"] * 33}, "#/aud", id="too many audiences"),
        pytest.param({"token_expiry_s": 0}, "#/token_expiry_s", id="no life"),
        pytest.param({"token_expiry_s": 86_401}, "#/token_expiry_s", id="more than a day"),
        pytest.param({"subject_prefix": ""}, "#/subject_prefix", id="an empty prefix"),
        pytest.param({"subject_prefix": "a b"}, "#/subject_prefix", id="a space in the prefix"),
        pytest.param({"subject_prefix": "x" * 129}, "#/subject_prefix", id="a long prefix"),
        pytest.param({"jwks_uri": "http://169.254.169.254/"}, "#/jwks_uri", id="keys over plain http"),
        pytest.param({"jwks": {"keys": []}}, "#/jwks", id="no keys"),
        pytest.param({"jwks": {"keys": "x"}}, "#/jwks", id="no list of keys"),
        pytest.param({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "#/jwks", id="a symmetric key"),
        pytest.param({"jwks": keys(use="enc")}, "#/jwks", id="a key for encryption"),
        pytest.param({"jwks": keys(), "jwks_uri": "https://ci.example/keys"}, "#", id="keys twice"),
        pytest.param({"root_ca": "not PEM"}, "#/root_ca", id="no certificate"),
        pytest.param({"description": "a\x07b"}, "#/description", id="a bell"),
        pytest.param({"trusted": True}, "#/trusted", id="an unknown member"),
    ],
)
async def test_issuers_that_are_refused(api: Api, wrong: dict[str, Any], pointer: str) -> None:
    answer = await api.call("POST", "/issuers", named(**wrong))
    assert answer.status_code == 400, answer.text
    assert pointer in [each["pointer"] for each in answer.json()["errors"]]


async def test_this_installation_is_no_issuer_to_trust(api: Api, platform: Platform) -> None:
    assert (await api.call("POST", "/issuers", named(iss=platform.issuer))).status_code == 400


async def test_a_trust_keeps_its_issuer(api: Api) -> None:
    issuer = await api.create("/issuers", **named())
    answer = await api.call("PATCH", f"/issuers/{issuer['id']}", {"iss": "https://another.example"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#/iss")


async def test_an_issuer_whose_keys_are_given_may_have_any_name(api: Api) -> None:
    """As clusters do, whose issuer nobody outside can ask."""
    given = named(iss=f"https://kubernetes.default.svc-{secrets.token_hex(4)}", jwks=keys())
    assert (await api.create("/issuers", **given))["jwks"] == given["jwks"]
    named_only = named(iss=f"kubernetes/{secrets.token_hex(4)}", jwks=keys())
    assert (await api.create("/issuers", **named_only))["iss"] == named_only["iss"]


async def test_lists_go_on_where_they_stopped(api: Api) -> None:
    made = [await api.create("/issuers", **named()) for _ in range(3)]
    found: list[str] = []
    page = await api.get("/issuers", limit="2")
    while True:
        items = page["items"]
        assert isinstance(items, list)
        found += [item["iss"] for item in items]
        if page["next"] is None:
            break
        page = await api.get("/issuers", limit="2", cursor=str(page["next"]))
    assert found == sorted(found)
    assert {each["iss"] for each in made} <= set(found)
