"""Groups that an expression names, and what may have been meant where there is none."""

import secrets

import pytest
from tests.admin.conftest import Make

from watchword_admin.console.group_names import groups_in, near_names
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("'ops' in groups", ["ops"]),
        ('"acme/ops" in groups && !("x y" in groups)', ["acme/ops", "x y"]),
        ("groups.exists(g, g in ['ops', \"admins\"])", ["ops", "admins"]),
        ("groups.exists( each , each=='ops' )", ["ops"]),
        ("'ops' in groups || 'ops' in groups", ["ops"]),
        ("'a' == email || 'ops' in groups", ["ops"]),
        ("groups.exists(g, g.startsWith('ops'))", []),
        ("groups.exists(g, h in ['ops'])", []),
        ("'ops' in claims.groups_of", []),
        ("'ops' in groupsets", []),
        ("'o\\\\ps' in groups", []),
        ("'' in groups", []),
        ("true", []),
    ],
)
def test_the_groups_of_an_expression(expression: str, named: list[str]) -> None:
    assert groups_in(expression) == named


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ops", ["Ops", "acme/ops"]),
        ("OPS", ["Ops", "acme/ops"]),
        ("acme/opps", ["acme/ops"]),
        ("finance", []),
    ],
)
def test_names_that_may_have_been_meant(name: str, near: list[str]) -> None:
    assert near_names(name, ["Ops", "acme/ops", "developers", "night watch"]) == near


async def test_a_rule_that_names_no_group_is_saved_and_says_so(console: Browser, api: Api, make_client: Make) -> None:
    client, mark = await make_client(), secrets.token_hex(4)
    group = str((await api.create("/groups", name=f"crew-{mark}"))["full_name"])
    await console.open(f"{console.issuer}/admin/rules/new")
    typed = {"name": f"r-{mark}", "clients": str(client["client_id"])}
    page = await console.submit("expression", "try", expression=f"'krew-{mark}' in groups", **typed)
    assert f"krew-{mark}" in page.texts["unknown-group-1"]
    assert group in page.texts["unknown-group-1"]
    page = await console.submit("expression", "save")
    assert f"krew-{mark}" in page.texts["unknown-group-1"]
    await console.click(f"r-{mark}")
    page = await console.submit("expression", "save", expression=f"'{group}' in groups")
    assert "unknown-group-1" not in page.texts
    (rule,) = (await api.get("/rules", name=f"r-{mark}"))["items"]  # type: ignore[misc]  # a JSON list
    assert rule["expression"] == f"'{group}' in groups"


async def test_no_name_makes_a_rule_impossible_to_save(console: Browser, make_client: Make) -> None:
    """Whatever directory says to a name, the rule stands."""
    client, mark = await make_client(), secrets.token_hex(4)
    for place, name in enumerate((" ", "x" * 128, "/", "%", "ä/ö", "../x", "a&full_name=b")):
        await console.open(f"{console.issuer}/admin/rules/new")
        page = await console.submit(
            "expression",
            "save",
            name=f"r{place}-{mark}",
            clients=str(client["client_id"]),
            expression=f"'{name}' in groups",
        )
        assert page.status == 200, f"{name}: {page.body}"
        assert f"r{place}-{mark}" in page.links
