"""What a provider's rules make of claims: pure, and so tried with everything that a provider may send."""

from typing import Any

import pytest
from pydantic import JsonValue

from watchword_directory.mapping import Mapped, Mapper, NotLetIn
from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_runtime.clock import utc_now

MAPPER = Mapper()


def mapped(settings: dict[str, Any], claims: dict[str, JsonValue], **identity: Any) -> Mapped:
    provider = ProviderExport.model_validate(
        {"id": "Corp", "preset": "oidc", "kind": "oidc", "display_name": "Corp", **settings}
    )
    who = VerifiedIdentity.model_validate(
        {"provider_id": "Corp", "issuer": "https://i.example", "subject": "s", "auth_time": utc_now(), **identity}
        | {"claims": claims}
    )
    return MAPPER.mapped(provider, who, now=utc_now())


def refused(settings: dict[str, Any], claims: dict[str, JsonValue], **identity: Any) -> str:
    with pytest.raises(NotLetIn) as raised:
        mapped(settings, claims, **identity)
    return raised.value.code


def roles(*rules: tuple[str, list[str]], strict: bool = False, default: str | None = None) -> dict[str, Any]:
    """A provider's role mapping."""
    mapping = {"rules": [{"expression": expression, "roles": given} for expression, given in rules], "strict": strict}
    return {"role_mapping": mapping, "default_role": default}


RULES = roles(
    ("'admins' in groups", ["administrator"]),
    ("claims.department == 'sales' && claims.level > 3", ["seller", "reader"]),
    ("groups.exists(g, g.startsWith('dev-'))", ["developer"]),
    default="member",
)

# claims → the roles that the rules above give; the first that is true decides
CLAIMS: dict[str, tuple[dict[str, JsonValue], tuple[str, ...]]] = {
    "first": ({"groups": ["admins", "dev-1"]}, ("administrator",)),
    "in other letters": ({"groups": ["ADMINS"]}, ("administrator",)),
    "as text": ({"groups": "guests,Admins"}, ("administrator",)),
    "second": ({"department": "sales", "level": 4}, ("seller", "reader")),
    "second before third": ({"department": "sales", "level": 4, "groups": ["dev-1"]}, ("seller", "reader")),
    "third": ({"groups": ["dev-1"], "department": "it"}, ("developer",)),
    "a claim that is not there is no match": ({"groups": ["dev-1"]}, ("developer",)),
    "a claim of another kind is no match": ({"department": "sales", "level": "high"}, ("member",)),
    "nothing": ({}, ("member",)),
    "an object as groups": ({"groups": {"admins": True}}, ("member",)),
    "too many groups to look at": ({"groups": [f"g{n}" for n in range(4000)] + ["admins"]}, ("member",)),
    "a hundred thousand groups": ({"groups": [f"g{n}" for n in range(100_000)]}, ("member",)),
    "a name that looks like a role": ({"groups": ["administrator", "owner"]}, ("member",)),
    "a role claim": ({"roles": ["administrator"]}, ("member",)),
}


@pytest.mark.seed(103)
@pytest.mark.parametrize(("claims", "given"), CLAIMS.values(), ids=CLAIMS)
def test_the_first_rule_that_is_true_gives_the_roles(claims: dict[str, JsonValue], given: tuple[str, ...]) -> None:
    assert mapped(RULES, claims).roles == given


def test_the_preview_says_which_rule_decided_and_why() -> None:
    named = roles(("true", ["reader"]))
    named["role_mapping"]["rules"][0]["name"] = "everybody"
    assert (mapped(named, {}).rule, mapped(named, {}).why) == ("everybody", "everybody is the first rule that is true.")
    assert mapped(RULES, {"groups": ["dev-1"]}).rule == "rule 3"
    assert mapped(RULES, {}).rule is None
    assert "None of 3 rules matches" in mapped(RULES, {}).why


@pytest.mark.seed(103)
def test_strict_mode_lets_nobody_in_whom_no_rule_knows() -> None:
    strict = roles(("'admins' in groups", ["administrator"]), strict=True, default="member")
    assert refused(strict, {"groups": ["guests"]}) == "access_denied"
    assert refused(strict, {}) == "access_denied"
    assert refused(roles(strict=True), {}) == "access_denied"
    assert refused(strict, {"groups": ["admins", *(f"G{n}" for n in range(4000))]}) == "access_denied"
    assert mapped(strict, {"groups": ["admins"]}).roles == ("administrator",)


def test_without_rules_there_is_the_default_role() -> None:
    assert mapped({"default_role": "member"}, {"groups": ["admins"]}).roles == ("member",)
    assert mapped({}, {"groups": ["admins"], "roles": ["administrator"]}) == Mapped(
        why="The provider has no rules for roles."
    )


@pytest.mark.seed(104)
def test_groups_come_by_name_by_pattern_and_by_rules() -> None:
    sync = {
        "group_sync": {
            "names": {"Domain Admins": "operators"},
            "pattern": "^(eng|ops)-",
            "rules": [
                {"expression": "claims.country == 'NO'", "groups": ["norway"]},
                {"expression": "email.endsWith('@acme.example')", "groups": ["acme/people"]},
                {"expression": "claims.missing == 1", "groups": ["never"]},
            ],
        }
    }
    claims: dict[str, JsonValue] = {"groups": ["DOMAIN ADMINS", "Eng-Web", "eng-web", "ops-1", "hr"], "country": "NO"}
    found = mapped(sync, claims, email="ana@acme.example")
    assert found.groups == ("operators", "norway", "acme/people")
    assert found.taken_over == ("Eng-Web", "ops-1")
    assert mapped(sync, {}) == Mapped(why="The provider has no rules for roles.")
    assert mapped({"group_sync": {"pattern": "^eng-", "claim": "teams"}}, claims | {"teams": ["Eng-1"]}).taken_over == (
        "Eng-1",
    )


DOMAINS = {"allowed_email_domains": ("acme.example", "xn--bcher-kva.example")}
ALLOWED: dict[str, tuple[dict[str, Any], bool]] = {
    "the domain": ({"email": "ana@acme.example", "email_verified": True}, True),
    "in other letters": ({"email": "Ana@ACME.Example", "email_verified": True}, True),
    "a subdomain": ({"email": "ana@mail.eu.acme.example", "email_verified": True}, True),
    "beyond ascii": ({"email": "ana@b\u00fccher.example", "email_verified": True}, True),
    "a domain that ends alike": ({"email": "ana@notacme.example", "email_verified": True}, False),
    "a domain above": ({"email": "ana@example", "email_verified": True}, False),
    "the domain in front": ({"email": "ana@acme.example.evil.example", "email_verified": True}, False),
    "two at signs": ({"email": "ana@acme.example@evil.example", "email_verified": True}, False),
    "trailing dot": ({"email": "ana@acme.example.", "email_verified": True}, False),
    "not verified": ({"email": "ana@acme.example"}, False),
    "no address": ({}, False),
}


@pytest.mark.seed(102)
@pytest.mark.parametrize(("identity", "allowed"), ALLOWED.values(), ids=ALLOWED)
def test_addresses_of_the_allowed_domains_and_those_below_come_in(identity: dict[str, Any], allowed: bool) -> None:
    if allowed:
        assert mapped(DOMAINS, {}, **identity) == Mapped(why="The provider has no rules for roles.")
    else:
        assert refused(DOMAINS, {}, **identity) == "email_domain_not_allowed"


def test_what_a_saml_provider_asserts_is_its_own_word() -> None:
    assert mapped(DOMAINS | {"kind": "saml"}, {}, email="ana@acme.example").roles == ()
    assert refused(DOMAINS | {"kind": "saml"}, {}, email="ana@evil.example") == "email_domain_not_allowed"
