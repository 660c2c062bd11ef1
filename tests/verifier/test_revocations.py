"""The one decision about what is revoked, against a plain model of the promise."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_verifier.revocations import RevocationSet

START = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO, LATER = START - timedelta(days=900), START + timedelta(days=900)
TOKEN_CLAIMS = ("jti", "gid", "sid", "sub", "client_id", "idp")


def entry(
    position: int,
    claim: str = "sub",
    value: str = "ann",
    kind: str = "cut",
    *,
    until: datetime = LATER,
    keep_until: datetime = LATER,
    issued_before: datetime | None = None,
) -> RevocationEntry:
    return RevocationEntry(
        id=position,
        position=position,
        claim=claim,
        value=value,
        kind=kind,
        until=until,
        keep_until=keep_until,
        issued_before=issued_before,
        at=START,
    )


def set_of(*entries: RevocationEntry) -> RevocationSet:
    revoked = RevocationSet(tokens_only=True)
    for each in entries:
        revoked.apply(each)
    return revoked


def carried(claims: Mapping[str, object], kid: str | None) -> set[tuple[str, object]]:
    """What entries can name of a token."""
    named = {("all", ""), *((name, claims[name]) for name in TOKEN_CLAIMS if name in claims)}
    via = claims.get("via", [])
    assert isinstance(via, list)
    named |= {("client_id", each) for each in via}
    act = claims.get("act", {})
    assert isinstance(act, dict)
    named |= carried(act, None) if act else set()
    return named | ({("kid", kid)} if kid is not None else set())


def matches(entry: RevocationEntry, claims: Mapping[str, object], kid: str | None) -> bool:
    return (entry.claim, "" if entry.claim == "all" else entry.value) in carried(claims, kid)


def model_says_live(entries: Sequence[RevocationEntry], claims: Mapping[str, object], kid: str | None) -> bool:
    """Section 4.2 word by word, as slowly as it likes."""
    rev, iat = claims.get("rev", 0), claims.get("iat", float("-inf"))
    assert isinstance(rev, int)
    assert isinstance(iat, int | float)
    for claim, value in carried(claims, kid):
        mine = [e for e in entries if e.claim == claim and (claim == "all" or e.value == value)]
        cuts = [e for e in mine if e.kind == "cut"]
        if any(rev < e.position and (e.issued_before is None or iat < e.issued_before.timestamp()) for e in cuts):
            return False
        states = [e.position for e in mine if e.kind == "state"]
        lifts = [e.position for e in mine if e.kind == "lift" and claim != "kid"]
        if any(rev < lifted for lifted in lifts):
            return False
        if states and max(states) > max(lifts, default=0):
            return False
    return True


values = st.sampled_from(["a", "b"])
acts = st.recursive(
    st.fixed_dictionaries({"sub": values}, optional=dict.fromkeys(("gid", "sid", "idp"), values)),
    lambda earlier: st.fixed_dictionaries({"act": earlier, "via": st.lists(values, max_size=2)}),
    max_leaves=2,
)
claim_sets = st.fixed_dictionaries(
    {},
    optional={
        "rev": st.integers(0, 25),
        "iat": st.integers(-20, 20).map(lambda s: int(START.timestamp()) + s),
        "via": st.lists(values, max_size=2),
        "act": acts,
        **dict.fromkeys(TOKEN_CLAIMS, values),
    },
)
kids = st.none() | values
ends = st.integers(0, 4_000).map(lambda s: START + timedelta(seconds=s))


@st.composite
def ledgers(draw: st.DrawFn) -> list[RevocationEntry]:
    size = draw(st.integers(0, 20))
    return [
        entry(
            position,
            draw(st.sampled_from(list(Claim))),
            draw(values),
            draw(st.sampled_from(list(RevocationKind))),
            until=draw(ends),
            issued_before=draw(st.none() | st.integers(-15, 15).map(lambda s: START + timedelta(seconds=s))),
        )
        for position in range(1, size + 1)
    ]


@given(st.data(), ledgers(), claim_sets, kids)
@settings(max_examples=200)
def test_order_and_repetition_of_entries_change_nothing(
    data: st.DataObject, ledger: list[RevocationEntry], claims: dict[str, object], kid: str | None
) -> None:
    again = data.draw(st.lists(st.sampled_from(ledger))) if ledger else []
    revoked = set_of(*data.draw(st.permutations(ledger)), *again)
    assert revoked.is_live(claims, kid) == model_says_live(ledger, claims, kid)
    assert revoked.position == len(ledger)


@given(ledgers(), claim_sets, kids)
@settings(max_examples=200)
def test_expiry_changes_nothing_for_a_token_before_its_end(
    ledger: list[RevocationEntry], claims: dict[str, object], kid: str | None
) -> None:
    """A token ends no later than the `until` of anything that matches it: up to there every decision stands."""
    token_end = min((e.until for e in ledger if matches(e, claims, kid)), default=LATER)
    revoked = set_of(*ledger)
    revoked.drop_expired(token_end - timedelta(seconds=1))
    assert revoked.is_live(claims, kid) == model_says_live(ledger, claims, kid)


@given(ledgers())
def test_in_the_end_only_revoked_keys_are_remembered(ledger: list[RevocationEntry]) -> None:
    revoked = set_of(*ledger)
    revoked.drop_expired(START + timedelta(days=3))
    keys = {e.value for e in ledger if e.claim == "kid" and e.kind == "state"}
    assert len(revoked) == len(keys)
    assert not any(revoked.is_live({"rev": 99}, kid) for kid in keys)


@given(ledgers(), ledgers(), claim_sets, kids)
def test_a_load_leaves_nothing_of_what_was_there(
    first: list[RevocationEntry], second: list[RevocationEntry], claims: dict[str, object], kid: str | None
) -> None:
    revoked = set_of(*first)
    revoked.load(second, 77)
    assert revoked.is_live(claims, kid) == model_says_live(second, claims, kid)
    assert revoked.position == 77


@pytest.mark.parametrize("claim", [*TOKEN_CLAIMS, "kid"])
def test_a_cut_kills_what_was_minted_before_it_and_nothing_after(claim: str) -> None:
    revoked = set_of(entry(10, claim, "x"))
    claims = {} if claim == "kid" else {claim: "x"}
    kid = "x" if claim == "kid" else None
    assert not revoked.is_live({**claims, "rev": 9}, kid)
    assert revoked.is_live({**claims, "rev": 10}, kid)
    assert revoked.is_live({claim: "y", "rev": 0}, "y")


def test_what_was_exchanged_ends_with_each_client_on_the_way() -> None:
    revoked = set_of(entry(10, "client_id", "first"), entry(11, "client_id", "off", "state"))
    assert not revoked.is_live({"client_id": "last", "via": ["first"], "rev": 9})
    assert revoked.is_live({"client_id": "last", "via": ["first"], "rev": 10})
    assert not revoked.is_live({"client_id": "last", "via": ["first", "off"], "rev": 99})
    assert revoked.is_live({"client_id": "last", "via": ["other"], "rev": 0})


@pytest.mark.parametrize("via", ["first", {"first": 1}, [1], [None], 3])
def test_a_way_that_cannot_be_compared_is_dead(via: object) -> None:
    assert not set_of().is_live({"client_id": "last", "via": via, "rev": 99})


def test_a_cut_of_all_needs_no_claim_to_match() -> None:
    revoked = set_of(entry(10, "all", "whatever"))
    assert not revoked.is_live({"rev": 9})
    assert not revoked.is_live({})
    assert revoked.is_live({"rev": 10})


def test_a_lifted_state_leaves_old_tokens_dead() -> None:
    revoked = set_of(entry(10, kind="state"))
    assert not revoked.is_live({"sub": "ann", "rev": 50})
    revoked.apply(entry(20, kind="lift"))
    assert not revoked.is_live({"sub": "ann", "rev": 19})
    assert revoked.is_live({"sub": "ann", "rev": 20})
    revoked.apply(entry(30, kind="state"))
    assert not revoked.is_live({"sub": "ann", "rev": 99})


def test_a_lift_outlasts_its_own_end_when_the_state_has_a_later_one() -> None:
    soon = START + timedelta(minutes=1)
    revoked = set_of(entry(10, kind="state", until=LATER), entry(20, kind="lift", until=soon))
    revoked.drop_expired(START + timedelta(hours=1))
    assert revoked.is_live({"sub": "ann", "rev": 20})


def test_a_revoked_key_is_neither_lifted_nor_forgotten() -> None:
    revoked = set_of(entry(10, "kid", "k1", "state", until=START), entry(20, "kid", "k1", "lift"))
    revoked.drop_expired(LATER + timedelta(days=900))
    assert not revoked.is_live({"rev": 99}, "k1")
    assert revoked.is_live({"rev": 99}, "k2")


@pytest.mark.parametrize("rev", [None, "12", 12.0, True, -1, 2**53, [1]], ids=repr)
def test_a_rev_that_is_no_position_counts_as_the_oldest(rev: object) -> None:
    assert not set_of(entry(1)).is_live({"sub": "ann", "rev": rev})


@pytest.mark.parametrize("value", [7, ["ann"], {"a": 1}, True], ids=repr)
def test_a_claim_that_is_not_text_is_dead_where_anything_of_its_kind_is_revoked(value: object) -> None:
    assert not set_of(entry(1, value="bob")).is_live({"sub": value, "rev": 9})


def test_issued_before_spares_what_was_issued_later() -> None:
    revoked = set_of(entry(10, "all", "", issued_before=START))
    before, after = int(START.timestamp()) - 1, int(START.timestamp())
    assert not revoked.is_live({"rev": 9, "iat": before})
    assert not revoked.is_live({"rev": 9})
    assert revoked.is_live({"rev": 9, "iat": after})
    assert revoked.is_live({"rev": 10, "iat": before})


def test_pending_counts_as_dead_until_its_entry_arrives() -> None:
    revoked = set_of(entry(1, value="bob"))
    revoked.pend("sub", "ann")
    assert not revoked.is_live({"sub": "ann", "rev": 99})
    revoked.apply(entry(2, value="bob"))
    assert not revoked.is_live({"sub": "ann", "rev": 99})
    revoked.apply(entry(3))
    assert revoked.is_live({"sub": "ann", "rev": 3})
    assert not revoked.is_live({"sub": "ann", "rev": 2})


def test_a_pending_entry_with_an_id_waits_for_that_entry() -> None:
    revoked = set_of()
    revoked.pend("sub", "ann", 7)
    revoked.apply(entry(6))
    assert not revoked.is_live({"sub": "ann", "rev": 6})
    revoked.apply(entry(7))
    assert revoked.is_live({"sub": "ann", "rev": 7})


def test_pending_is_taken_back_when_the_transaction_failed() -> None:
    revoked = set_of(entry(1))
    revoked.pend("sub", "ann")
    revoked.unpend("sub", "ann")
    revoked.unpend("sub", "never announced")
    assert revoked.is_live({"sub": "ann", "rev": 1})
    assert not revoked.is_live({"sub": "ann", "rev": 0})


def test_pending_survives_expiry_and_a_load_without_its_entry() -> None:
    revoked = set_of()
    revoked.pend("all", "")
    revoked.pend("gid", "g1")
    revoked.drop_expired(LATER)
    revoked.load([entry(4, "gid", "g1")], 4)
    assert not revoked.is_live({"rev": 99})
    assert revoked.is_live({"rev": 99, "gid": "g1"}) is False
    revoked.apply(entry(5, "all", ""))
    assert revoked.is_live({"rev": 5, "gid": "g1"})


@pytest.mark.parametrize(("claim", "kind"), [("colour", "cut"), ("sub", "freeze")])
def test_an_unknown_claim_or_kind_is_noticed_until_the_next_load(claim: str, kind: str) -> None:
    revoked = set_of(entry(3, claim, "x", kind))
    assert revoked.stale_reason == "revocation 3 is of an unknown kind"
    assert revoked.position == 3
    revoked.load([], 4)
    assert revoked.stale_reason is None


def test_services_keep_entries_while_a_grant_can_match() -> None:
    short = entry(1, until=START, keep_until=START + timedelta(days=30))
    service, verifier = RevocationSet(), RevocationSet(tokens_only=True)
    for revoked in (service, verifier):
        revoked.apply(short)
        revoked.drop_expired(START + timedelta(days=1))
    assert not service.is_live({"sub": "ann", "rev": 0})
    assert verifier.is_live({"sub": "ann", "rev": 0})
    service.drop_expired(START + timedelta(days=31))
    assert len(service) == 0


def test_very_many_ends_at_once_are_worked_off_in_pieces() -> None:
    revoked = set_of(*(entry(n, "jti", str(n), until=START) for n in range(1, 5_102)))
    assert revoked.drop_expired(START + timedelta(hours=1)) == 5_000
    assert revoked.drop_expired(START + timedelta(hours=1)) == 101
    assert len(revoked) == 0


def test_a_later_end_of_the_same_value_counts() -> None:
    revoked = set_of(entry(1, until=START), entry(2, until=START + timedelta(hours=2)))
    revoked.drop_expired(START + timedelta(hours=1))
    assert not revoked.is_live({"sub": "ann", "rev": 1})
    revoked.drop_expired(START + timedelta(hours=3))
    assert revoked.is_live({"sub": "ann", "rev": 1})


def test_position_moves_forward_without_entries() -> None:
    revoked = set_of(entry(3))
    revoked.advance(9)
    revoked.advance(5)
    assert revoked.position == 9


def test_what_is_under_way_is_no_cut() -> None:
    """Whoever wants something dead asks whether it is for good; an announcement may be rolled back."""
    revoked = RevocationSet()
    revoked.pend("jti", "a", 7)
    assert not revoked.is_live({"jti": "a", "rev": 5})
    assert not revoked.is_cut(Claim.JTI, "a", 5)
    revoked.unpend("jti", "a", 7)
    assert not revoked.is_cut(Claim.JTI, "a", 5)
    revoked.apply(entry(position=9, claim=Claim.JTI, value="a"))
    assert revoked.is_cut(Claim.JTI, "a", 5)
    assert not revoked.is_cut(Claim.JTI, "a", 9), "made later"
    revoked.pend("jti", "a", 8)
    assert revoked.is_cut(Claim.JTI, "a", 5)


ACTOR = {"sub": "robot", "gid": "g-robot", "sid": "s-robot", "idp": "corp", "via": ["helper"]}


@pytest.mark.spec("RFC 8693 4.1")
@pytest.mark.parametrize(
    ("claim", "value"),
    [("sub", "robot"), ("gid", "g-robot"), ("sid", "s-robot"), ("idp", "corp"), ("client_id", "helper")],
)
@pytest.mark.parametrize("act", [ACTOR, {"sub": "later", "act": ACTOR}], ids=["acts", "acted before"])
def test_what_ends_who_acts_ends_the_token(claim: str, value: str, act: dict[str, object]) -> None:
    revoked = set_of(entry(7, claim, value))
    assert not revoked.is_live({"rev": 6, "sub": "alice", "act": act})
    assert revoked.is_live({"rev": 7, "sub": "alice", "act": act})
    assert revoked.is_live({"rev": 6, "sub": "alice", "act": {"sub": "another"}})


@pytest.mark.parametrize("act", ["robot", ["robot"], 7, {"sub": 7}, {"sub": "x", "act": "robot"}, {"via": "x"}])
def test_an_actor_that_cannot_be_compared_is_dead(act: object) -> None:
    assert not set_of(entry(7)).is_live({"rev": 9, "sub": "alice", "act": act})
