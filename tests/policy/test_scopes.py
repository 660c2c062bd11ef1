"""Scope arithmetic: the grammar, and that nothing can ever be granted which somebody did not allow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_policy.scopes import (
    NO_CONSENT_NEEDED,
    InvalidScope,
    format_scope,
    granted,
    narrowed,
    parse_scope,
)

# RFC 6749 3.3, written a second time and differently.
ALLOWED = [chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"\\']
token = st.text(alphabet=st.sampled_from(ALLOWED), min_size=1, max_size=12)
common = st.sampled_from(["openid", "email", "profile", "offline_access", "read", "write"])
scope_sets = st.frozensets(common | token, max_size=6)
limits = st.none() | scope_sets


@given(scope_sets)
def test_every_set_of_scopes_survives_being_written_and_read(scopes: frozenset[str]) -> None:
    assert parse_scope(format_scope(scopes)) == scopes


@given(st.lists(token, min_size=1))
def test_one_set_has_one_spelling(names: list[str]) -> None:
    assert format_scope(names) == format_scope(reversed(names)) == format_scope(parse_scope(" ".join(names)))


@given(st.text())
@pytest.mark.spec("RFC 6749 3.3")
def test_what_is_accepted_follows_the_grammar(value: str) -> None:
    try:
        scopes = parse_scope(value)
    except InvalidScope:
        return
    assert value == "" or set(value.split(" ")) == scopes
    assert all(re.fullmatch(r"[!#-\[\]-~]+", scope) for scope in scopes)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(" ", id="only a space"),
        pytest.param("openid ", id="trailing space"),
        pytest.param(" openid", id="leading space"),
        pytest.param("openid  email", id="two spaces"),
        pytest.param("openid\temail", id="tab"),
        pytest.param("openid\n", id="trailing newline"),
        pytest.param("openid\x00", id="NUL"),
        pytest.param('say"hello"', id="quote"),
        pytest.param("back\\slash", id="backslash"),
        pytest.param("größe", id="not ASCII"),
        pytest.param("a\u00a0b", id="non-breaking space"),
        pytest.param("a\x7f", id="DEL"),
    ],
)
@pytest.mark.spec("RFC 6749 3.3")
def test_malformed_scope_is_refused(value: str) -> None:
    with pytest.raises(InvalidScope):
        parse_scope(value)


def test_standard_scopes_come_first() -> None:
    assert format_scope({"b:read", "offline_access", "email", "a:write", "openid"}) == (
        "openid email offline_access a:write b:read"
    )


@given(scope_sets, scope_sets, limits, limits)
def test_nothing_is_granted_that_somebody_did_not_allow(
    requested: frozenset[str], client: frozenset[str], user: frozenset[str] | None, consent: frozenset[str] | None
) -> None:
    result = granted(requested, client=client, user=user, consent=consent)
    assert result <= requested
    assert result <= client
    assert user is None or result <= user
    assert consent is None or result <= consent | NO_CONSENT_NEEDED


@given(scope_sets, scope_sets, limits, limits)
def test_everything_is_granted_that_all_allow(
    requested: frozenset[str], client: frozenset[str], user: frozenset[str] | None, consent: frozenset[str] | None
) -> None:
    result = granted(requested, client=client, user=user, consent=consent)
    for scope in requested - result:
        assert scope not in client or (user is not None and scope not in user) or scope not in (consent or ())


@given(scope_sets, scope_sets, scope_sets, scope_sets, scope_sets)
def test_allowing_more_never_grants_less(
    requested: frozenset[str],
    client: frozenset[str],
    user: frozenset[str],
    consent: frozenset[str],
    more: frozenset[str],
) -> None:
    before = granted(requested, client=client, user=user, consent=consent)
    assert before <= granted(requested, client=client | more, user=user | more, consent=consent | more)


@pytest.mark.spec("OpenID Connect Core 3.1.2.4")
def test_openid_alone_asks_nobody() -> None:
    asked = frozenset({"openid", "email"})
    assert granted(asked, client=asked, user=None, consent=frozenset()) == {"openid"}


@given(scope_sets, scope_sets)
@pytest.mark.spec("RFC 6749 6")
def test_a_refresh_may_ask_for_less_and_never_for_more(original: frozenset[str], requested: frozenset[str]) -> None:
    if requested <= original:
        assert narrowed(original, requested) == (requested or original)
    else:
        with pytest.raises(InvalidScope):
            narrowed(original, requested)
