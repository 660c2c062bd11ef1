"""The groups that a provider names, in every form in which providers name them."""

import pytest
from pydantic import JsonValue

from watchword_policy.upstream_groups import CLAIMS, MAX_NAMES, spellings, upstream_groups

# What a claim may be, and which groups it names.
FORMS: dict[str, tuple[JsonValue, tuple[str, ...]]] = {
    "list": (["Ops", "Dev"], ("Ops", "Dev")),
    "one name": ("Ops", ("Ops",)),
    "names with commas": ("Ops, Dev,QA", ("Ops", "Dev", "QA")),
    "quoted names with commas": ('"Ops, Europe",Dev', ("Ops, Europe", "Dev")),
    "json list": ('["Ops","Dev"]', ("Ops", "Dev")),
    "json text": ('"Ops"', ("Ops",)),
    "the same in other letters": (["Ops", "OPS", "ops"], ("Ops",)),
    "one distinguished name": ("CN=Ops,OU=Groups,DC=acme", ("CN=Ops,OU=Groups,DC=acme",)),
    "distinguished names": (["CN=Ops,DC=acme", "CN=Dev,DC=acme"], ("CN=Ops,DC=acme", "CN=Dev,DC=acme")),
    "other things among them": (["Ops", 7, None, {"name": "Dev"}, ["QA"]], ("Ops",)),
    "spaces": (["  Ops ", "", "  "], ("Ops",)),
    "an object": ({"admin": True}, ()),
    "a number": (7, ()),
    "true": (True, ()),
    "broken json": ('["Ops"', ()),
    "a json object": ('{"Ops": true}', ('{"Ops": true}',)),
    "deep json": ("[" * 5000, ()),
    "a long name": (["x" * 257, "Ops"], ("Ops",)),
    "empty": ("", ()),
}


@pytest.mark.seed(104)
@pytest.mark.parametrize(("value", "names"), FORMS.values(), ids=FORMS)
def test_a_claim_names_groups_in_many_forms(value: JsonValue, names: tuple[str, ...]) -> None:
    assert upstream_groups({"groups": value}) == names


@pytest.mark.seed(104)
def test_the_usual_claims_are_tried_in_their_order() -> None:
    assert CLAIMS == ("groups", "group", "memberOf", "member_of", "roles", "role", "teams", "team")
    claims: dict[str, JsonValue] = {name: [f"from-{name}"] for name in CLAIMS}
    for name in CLAIMS:
        assert upstream_groups(claims) == (f"from-{name}",)
        claims[name] = []  # it is there, and names nobody's group
    assert upstream_groups(claims) == ()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("realm_access.roles", ("deep",)),
        ("https://acme.example/groups", ("url",)),
        ("groups", ("plain",)),
        ("realm_access.other", ()),
        ("groups.0", ()),
        ("nothing", ()),
    ],
)
def test_another_claim_is_named_by_its_path(path: str, names: tuple[str, ...]) -> None:
    claims: dict[str, JsonValue] = {
        "groups": ["plain"],
        "realm_access": {"roles": ["deep"]},
        "https://acme.example/groups": ["url"],
    }
    assert upstream_groups(claims, path) == names


def test_a_hundred_thousand_groups_are_no_more_than_the_most() -> None:
    many: list[JsonValue] = [f"group-{number}" for number in range(100_000)]
    assert len(upstream_groups({"groups": many})) == MAX_NAMES


def test_a_rule_in_small_letters_finds_a_group_in_any() -> None:
    assert spellings(["Ops", "dev"]) == ("Ops", "ops", "dev")
