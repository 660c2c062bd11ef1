"""Recipes: each makes a client that is accepted, and texts that the application can read."""

import configparser
import json
import re
import secrets
import tomllib
from collections.abc import Callable

import pytest
from ruamel.yaml import YAML

from watchword_admin.recipes import RECIPES, Recipe, Unfit, answers_of, filled, ready_to_paste
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser

WORDS = {
    "issuer": "https://sso.example.com/auth",
    "client_id": "8f1c",
    "client_secret": "s" * 43,
    "group": "",
}
READERS: dict[str, Callable[[str], object]] = {
    "argo-workflows": lambda text: YAML(typ="safe").load(text),
    "argo-cd": lambda text: YAML(typ="safe").load(text),
    "kubernetes": lambda text: YAML(typ="safe").load(text),
    "openfaas": lambda text: YAML(typ="safe").load(text),
    "grafana": lambda text: configparser.RawConfigParser().read_string(text),
    "oauth2-proxy": tomllib.loads,
}


def answered(recipe: Recipe) -> dict[str, str]:
    given = {question.name: question.default or f"https://{question.name}.example.com" for question in recipe.questions}
    return answers_of(recipe, given)


def test_there_is_one_for_each_client_that_was_promised() -> None:
    assert set(RECIPES) == {
        "argo-workflows", "argo-cd", "grafana", "gitlab", "oauth2-proxy", "kubernetes", "openfaas", "mcp-server",
    }  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_its_texts_can_be_read_and_say_what_they_must(recipe: Recipe) -> None:
    made = ready_to_paste(recipe, WORDS | answered(recipe))
    everything = "\n".join(f"{each.title}\n{each.text}" for each in made)
    assert "<<" not in everything
    assert WORDS["issuer"] in everything
    assert WORDS["client_id"] in everything
    if recipe.client.get("token_endpoint_auth_method") != "none":
        assert WORDS["client_secret"] in everything
    for each in made:
        text = each.text.strip()
        if text.startswith(("kubectl", "WATCHWORD_")):
            continue
        match recipe.id:
            case "mcp-server" if text.startswith("{"):
                json.loads(text)
            case "mcp-server":
                compile(text, "server.py", "exec")
            case "gitlab":
                assert text.count("{") == text.count("}")
            case known:
                READERS[known](text)


def test_the_configuration_fits_the_client() -> None:
    """What a text tells the application to send is what the client is registered with."""
    for recipe in RECIPES.values():
        words = WORDS | answered(recipe)
        everything = "\n".join(each.text for each in ready_to_paste(recipe, words))
        client = filled(recipe.client, words)
        assert isinstance(client, dict)
        for uri in client["redirect_uris"]:  # type: ignore[union-attr]  # a list
            if recipe.id in {"argo-workflows", "gitlab", "oauth2-proxy"}:
                assert str(uri) in everything, "the application sends this one by its configuration"
        asked = set(re.findall(r"\b(?:openid|profile|email|groups)\b", everything))
        assert asked <= set(str(client["scope"]).split()) | {"email"}, recipe.id


@pytest.mark.parametrize(
    "answer", ["", "javascript:alert(1)", "https://a.example/'x", 'https://a.example/"', "https://a b", "ftp://x"]
)
def test_an_answer_that_could_break_out_of_a_text_is_refused(answer: str) -> None:
    with pytest.raises(Unfit) as refused:
        answers_of(RECIPES["grafana"], {"url": answer})
    assert set(refused.value.errors) == {"url"}
    with pytest.raises(Unfit):
        answers_of(RECIPES["grafana"], {"url": "https://a.example", "group": "x' || true || '"})


async def test_every_recipe_registers_its_client(console: Browser, api: Api) -> None:
    for recipe in RECIPES.values():
        await console.open(f"{console.issuer}/admin/applications/wizard/{recipe.id}")
        mark = secrets.token_hex(4)
        given = {each.name: f"https://{mark}.example.com/{each.name}" for each in recipe.questions if not each.default}
        page = await console.submit(recipe.questions[0].name, "set-up", **given)
        assert page.status == 201, f"{recipe.id}: {page.body}"
        made = await api.get(f"/clients/{page.texts['client-id']}")
        assert made["scope"] == filled(recipe.client["scope"], {})
        assert page.texts["file-1"]
        if recipe.client.get("token_endpoint_auth_method") != "none":
            secret = page.texts["client-secret"]
            assert any(secret in page.texts[name] for name in page.texts if re.fullmatch(r"file-\d+", name))


async def test_only_a_group_may_use_what_was_set_up_for_it(console: Browser, api: Api) -> None:
    group = f"ops-{secrets.token_hex(4)}"
    await console.open(f"{console.issuer}/admin/applications/wizard/grafana")
    page = await console.submit("url", "set-up", url="https://grafana.example.com/", group=group)
    client_id = page.texts["client-id"]
    made = await api.get(f"/clients/{client_id}")
    assert made["redirect_uris"] == ["https://grafana.example.com/login/generic_oauth"]
    assert made["access"] == "rules"
    for member, matches in ((group, True), ("others", False)):
        tried = await api.create("/rules/test", client=client_id, facts={"groups": [member]})
        assert tried["matches"] is matches
    await api.delete(f"/clients/{client_id}")


async def test_an_unfit_answer_stands_beside_its_question(console: Browser) -> None:
    await console.open(f"{console.issuer}/admin/applications/wizard/grafana")
    page = await console.submit("url", "set-up", url="grafana.example.com")
    assert page.status == 400
    assert page.texts["url-note"].startswith("must be an http or https address")
    assert (await console.open(f"{console.issuer}/admin/applications/wizard/nothing")).error_code == "not_found"


async def test_nothing_stays_of_a_server_that_cannot_be_registered_whole(console: Browser, api: Api) -> None:
    """As a client its name would be too long; its resource server alone would do."""
    url = f"https://{secrets.token_hex(4)}.example.com/{'m' * 120}"
    await console.open(f"{console.issuer}/admin/applications/wizard/mcp-server")
    page = await console.submit("url", "set-up", url=url)
    assert page.status == 400
    assert "at most 128 characters" in page.texts["url-note"]
    assert (await api.get("/resources", identifier=url))["items"] == []


@pytest.mark.parametrize("scopes", [["mcp:tools"], ["mcp:admin", "mcp:tools"], []], ids=["same", "more", "any"])
async def test_a_resource_server_that_is_there_already_serves_and_stays_as_it_is(
    console: Browser, api: Api, scopes: list[str]
) -> None:
    url = f"https://{secrets.token_hex(4)}.example.com/mcp"
    known = await api.create("/resources", identifier=url, name="Ours", scopes=scopes, any_client=True)
    await console.open(f"{console.issuer}/admin/applications/wizard/mcp-server")
    page = await console.submit("url", "set-up", url=url)
    assert page.status == 201, page.body
    assert await api.get(f"/resources/{known['id']}") == known
    assert (await api.get(f"/clients/{page.texts['client-id']}"))["client_name"] == f"MCP server {url}"


@pytest.mark.parametrize(
    "members",
    [{"scopes": ["mcp:other"], "any_client": True}, {"scopes": ["mcp:tools"], "any_client": False}],
    ids=["another scope", "listed clients only"],
)
async def test_one_that_serves_otherwise_is_told_and_nothing_is_registered(
    console: Browser, api: Api, members: dict[str, object]
) -> None:
    mark = secrets.token_hex(4)
    url = f"https://{mark}.example.com/mcp"
    known = await api.create("/resources", identifier=url, name="Ours", **members)
    await console.open(f"{console.issuer}/admin/applications/wizard/mcp-server")
    page = await console.submit("url", "set-up", url=url)
    assert page.status == 400
    assert page.texts["url-note"].startswith("another resource server has this address")
    assert await api.get(f"/resources/{known['id']}") == known
    assert (await api.get("/clients", search=mark))["items"] == []
    await api.delete(f"/resources/{known['id']}")
    page = await console.submit("url", "set-up", url=url)
    assert page.status == 201, "what was in the way is gone"


async def test_a_group_that_there_is_not_is_warned_of_with_those_that_may_be_meant(console: Browser, api: Api) -> None:
    mark = secrets.token_hex(4)
    known = str((await api.create("/groups", name=f"Ops-{mark}"))["full_name"])
    for typed, is_warned in ((f"ops-{mark}", True), (f"Opps-{mark}", True), (known, False)):
        await console.open(f"{console.issuer}/admin/applications/wizard/grafana")
        page = await console.submit("url", "set-up", url="https://grafana.example.com/", group=typed)
        assert page.status == 201, "groups may come later"
        warning = page.texts.get("unknown-group-1", "")
        assert (typed in warning and known in warning) is is_warned
        rule = (await api.get("/rules", client=page.texts["client-id"]))["items"][0]  # type: ignore[index]
        assert rule["expression"] == f"'{typed}' in groups"
