"""What has been revoked, in memory: the one decision `is_live` that services and verifiers share.

A cut at position p kills what matches and carries `rev < p`. A state kills whatever matches until it is lifted, and the
lift leaves a cut at its own position. Positions are compared, clocks are not: the order in which entries arrive changes
nothing, and an entry applied twice changes nothing.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from watchword_events.names import Position
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind

# One integer per revoked value holds both what is_live compares and when it may go: expiry in seconds above the bits of
# a position. A tuple or an object in its place would double the 200 bytes that an entry costs.
_POSITION_BITS: Final = 53
_CEILING: Final = (1 << _POSITION_BITS) - 1  # above every position: what a state or a pending entry compares as
_NEVER_S: Final = 1 << 40
_BUCKET_S: Final = 256  # entries are filed by the time of their end in pieces of this length
_EXPIRE_AT_ONCE: Final = 5_000  # values: about 3 ms of an event loop
_CLAIMS: Final = frozenset(str(claim) for claim in Claim)
_KINDS: Final = frozenset(str(kind) for kind in RevocationKind)


class _Mixed:
    """A value with more than plain cuts: a state, a lift, a narrowed cut or an entry that is still under way."""

    __slots__ = ("cut", "cut_until", "lift", "lift_until", "narrow", "pending", "state", "state_until")

    def __init__(self, cut: int, cut_until: int) -> None:
        self.cut, self.cut_until = cut, cut_until
        self.state = self.state_until = 0
        self.lift = self.lift_until = 0
        self.narrow: list[tuple[int, float, int]] = []  # (position, issued before, until)
        self.pending: dict[int, int] = {}  # entry id, or 0 while it is not known: the position at that time

    def prune(self, now_s: int) -> None:
        if self.cut_until <= now_s:
            self.cut = self.cut_until = 0
        if self.state_until <= now_s:
            self.state = self.state_until = 0
        if self.lift_until <= now_s:
            self.lift = self.lift_until = 0
        self.narrow = [item for item in self.narrow if item[2] > now_s]

    def add_narrow(self, position: int, before: float, until: int) -> None:
        """Note a narrowed cut; one that another covers is folded into it."""
        for at, before_at, _ in self.narrow:
            if at >= position and before_at >= before:
                position, before = at, before_at
        covered = [item for item in self.narrow if item[0] <= position and item[1] <= before]
        until = max([until, *(item[2] for item in covered)])
        self.narrow = [item for item in self.narrow if item not in covered] + [(position, before, until)]

    def settle(self, entry_id: int, position: int) -> None:
        """Forget what was pending and has now arrived as this entry."""
        self.pending.pop(entry_id, None)
        if self.pending.get(0, position) < position:
            del self.pending[0]

    @property
    def is_plain(self) -> bool:
        """Whether nothing but a cut is left."""
        return not (self.state or self.lift or self.narrow or self.pending)

    @property
    def below(self) -> int:
        """What carries a `rev` below this is dead."""
        return _CEILING if self.pending or self.state else max(self.cut, self.lift)

    @property
    def until(self) -> int:
        if self.pending:
            return _NEVER_S
        return max(self.cut_until, self.state_until, self.lift_until, *(item[2] for item in self.narrow), 0)


class RevocationSet:
    """Everything revoked that can still match something.

    tokens_only: entries leave when no access token can match them any more (`until`), as befits a verifier; without it
    they stay while a grant or a session can match (`keep_until`), as a service needs that also asks about those.
    """

    __slots__ = (
        "_all", "_buckets", "_mixed", "_named", "_narrowed", "_position", "_tables", "_tokens_only", "stale_reason",
    )  # fmt: skip

    def __init__(self, *, tokens_only: bool = False) -> None:
        self._tokens_only = tokens_only
        self._clear()

    def _clear(self) -> None:
        self._position = 0
        self._tables: dict[str, dict[str, int]] = {claim: {} for claim in _CLAIMS}
        self._named = tuple((str(c), self._tables[c]) for c in Claim if c not in (Claim.ALL, Claim.KID))
        self._mixed: dict[str, dict[str, _Mixed]] = {claim: {} for claim in _CLAIMS}
        self._narrowed: set[tuple[str, str]] = set()
        self._buckets: dict[int, dict[str, list[str]]] = {}
        self._all = 0
        self.stale_reason: str | None = None  # set when an entry could not be understood: nothing may be trusted then

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())

    @property
    def position(self) -> Position:
        """The newest position that has been applied."""
        return Position(self._position)

    def is_cut(self, claim: Claim, value: str, rev: int) -> bool:
        """Whether a cut of exactly this value has been applied, after `rev`. What is only under way does not count."""
        mixed = self._mixed[claim].get(value)
        if mixed is not None:
            return mixed.cut > rev
        return (self._tables[claim].get(value, 0) & _CEILING) > rev

    def is_ended(self, claim: Claim, value: str) -> bool:
        """Whether a state holds exactly this value dead, or an entry about it is under way."""
        return self._tables[claim].get(value, 0) & _CEILING == _CEILING

    def is_live(self, claims: Mapping[str, object], kid: str | None = None) -> bool:
        """Whether nothing that was revoked matches these claims (rev, iat, jti, gid, sid, sub, client_id, via, idp).

        `via` are the clients whose tokens were exchanged on the way, `act` is who acts, with what that came of and who
        acted before: what ends one of those ends the token. A missing claim matches nothing. A missing or malformed
        `rev` counts as 0, so that every cut kills; a claim that is not text cannot be compared and is dead.
        """
        get = claims.get
        rev = get("rev")
        if rev.__class__ is not int or not 0 <= rev < _CEILING:
            rev = 0
        if rev < self._all:
            return False
        for name, table in self._named:
            if table:
                value = get(name)
                if value is not None:
                    if value.__class__ is not str:
                        return False
                    packed = table.get(value)
                    if packed is not None and rev < packed & _CEILING:
                        return False
        via = get("via")
        if via is not None and not self._is_way_live(via, rev):
            return False
        act = get("act")
        if act is not None and not self._is_actor_live(act, rev, get("iat")):
            return False
        if kid is not None:
            packed = self._tables["kid"].get(kid)
            if packed is not None and rev < packed & _CEILING:
                return False
        return not (self._narrowed and self._is_narrowly_dead(claims, rev, kid))

    def _is_way_live(self, via: object, rev: int) -> bool:
        if not isinstance(via, list):
            return False
        table = self._tables["client_id"]
        for client_id in via:
            if client_id.__class__ is not str or rev < table.get(client_id, 0) & _CEILING:
                return False
        return True

    def _is_actor_live(self, act: object, rev: int, iat: object) -> bool:
        """As of a token that was made at the same moment."""
        return isinstance(act, dict) and self.is_live({**act, "rev": rev, "iat": iat})

    def _is_narrowly_dead(self, claims: Mapping[str, object], rev: int, kid: str | None) -> bool:
        """Whether a cut that is narrowed by `issued_before` matches; what does not say when it was issued is older."""
        issued = claims.get("iat")
        iat = float(issued) if isinstance(issued, int | float) else float("-inf")
        for claim, value in self._narrowed:
            if claim != Claim.ALL and value != (kid if claim == Claim.KID else claims.get(claim)):
                via = claims.get("via")
                if claim != Claim.CLIENT_ID or not isinstance(via, list) or value not in via:
                    continue
            if any(rev < position and iat < before for position, before, _ in self._mixed[claim][value].narrow):
                return True
        return False

    def apply(self, entry: RevocationEntry) -> None:
        """The entry decides from now on. In any order, any number of times.

        An entry whose claim or kind is unknown sets stale_reason until the next load.
        """
        self._position = max(self._position, entry.position)
        claim, kind = entry.claim, entry.kind
        if claim not in _CLAIMS or kind not in _KINDS:
            self.stale_reason = f"revocation {entry.id} is of an unknown kind"
            return
        value = "" if claim == Claim.ALL else entry.value
        until = _seconds(entry.until if self._tokens_only else entry.keep_until)
        mixed = self._mixed[claim].get(value)
        if mixed is None and kind == RevocationKind.CUT and entry.issued_before is None:
            self._cut(claim, value, entry.position, until)
            return
        mixed = mixed or self._mix(claim, value)
        mixed.settle(entry.id, entry.position)
        if kind == RevocationKind.CUT:
            if entry.issued_before is None:
                mixed.cut, mixed.cut_until = max(mixed.cut, entry.position), max(mixed.cut_until, until)
            else:
                mixed.add_narrow(entry.position, entry.issued_before.timestamp(), until)
                self._narrowed.add((claim, value))
        elif kind == RevocationKind.STATE:
            if entry.position > mixed.lift:
                mixed.state = max(mixed.state, entry.position)
                # A revoked key must never be learned again: its state has no end.
                mixed.state_until = _NEVER_S if claim == Claim.KID else max(mixed.state_until, until)
        elif claim != Claim.KID:
            mixed.lift, mixed.lift_until = max(mixed.lift, entry.position), max(mixed.lift_until, until)
            if mixed.state < mixed.lift:
                mixed.state = mixed.state_until = 0
        self._file(claim, value, until)
        self._refresh(claim, value, mixed)

    def advance(self, position: int) -> None:
        """Everything up to this position has been applied."""
        self._position = max(self._position, position)

    def load(self, entries: Iterable[RevocationEntry], position: int) -> None:
        """Exactly these entries decide from now on; what is pending here and not among them stays pending."""
        fresh = RevocationSet(tokens_only=self._tokens_only)
        for entry in entries:
            fresh.apply(entry)
        self.adopt(fresh, position)

    def adopt(self, fresh: "RevocationSet", position: int) -> None:
        """Take over another set, as of a position (which may be lower than ours: after a restore), with its entries.

        For callers that build a large set piece by piece. The other set must not be used afterwards.
        """
        waiting = [
            (claim, value, entry_id, since)
            for claim, table in self._mixed.items()
            for value, mixed in table.items()
            for entry_id, since in mixed.pending.items()
        ]
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
        self._position = position
        for claim, value, entry_id, since in waiting:
            packed = self._tables[claim].get(value, 0)
            if not since < packed & _CEILING:
                self.pend(claim, value, entry_id)

    def pend(self, claim: str, value: str, entry_id: int = 0) -> None:
        """What matches counts as dead until its entry has been applied: for the instance that writes the entry.

        entry_id: the entry's id where it is known; otherwise the next entry for this value settles it. A caller whose
        transaction failed takes it back with unpend.
        """
        value = "" if claim == Claim.ALL else value
        mixed = self._mixed[claim].get(value) or self._mix(claim, value)
        mixed.pending[entry_id] = self._position
        self._refresh(claim, value, mixed)

    def unpend(self, claim: str, value: str, entry_id: int = 0) -> None:
        """The entry that was announced will not come."""
        value = "" if claim == Claim.ALL else value
        mixed = self._mixed[claim].get(value)
        if mixed is not None and mixed.pending.pop(entry_id, None) is not None:
            self._refresh(claim, value, mixed)

    def drop_expired(self, now: datetime) -> int:
        """Entries that can match nothing any more are gone, a few minutes later at most; how many values that were.

        To be called every second or so: a call that finds very much to do leaves the rest to the next.
        """
        now_s, before, left = int(now.timestamp()), len(self), _EXPIRE_AT_ONCE
        for bucket in [b for b in self._buckets if (b + 1) * _BUCKET_S <= now_s]:
            for claim, values in self._buckets[bucket].items():
                while values:
                    if left == 0:
                        return before - len(self)
                    self._expire(claim, values.pop(), now_s)
                    left -= 1
            del self._buckets[bucket]
        return before - len(self)

    def _expire(self, claim: str, value: str, now_s: int) -> None:
        mixed = self._mixed[claim].get(value)
        if mixed is not None:
            mixed.prune(now_s)
            self._refresh(claim, value, mixed)
        elif self._tables[claim].get(value, _NEVER_S << _POSITION_BITS) >> _POSITION_BITS <= now_s:
            self._put(claim, value, None)

    def _cut(self, claim: str, value: str, position: int, until: int) -> None:
        """A plain cut on a value that has nothing else: the newest position and the latest end hold."""
        packed = self._tables[claim].get(value)
        if packed is None:
            self._file(claim, value, until)
            self._put(claim, value, until << _POSITION_BITS | position)
            return
        known_until = packed >> _POSITION_BITS
        if until > known_until:
            self._file(claim, value, until)
        self._put(claim, value, max(until, known_until) << _POSITION_BITS | max(position, packed & _CEILING))

    def _mix(self, claim: str, value: str) -> _Mixed:
        packed = self._tables[claim].get(value, 0)
        mixed = self._mixed[claim][value] = _Mixed(packed & _CEILING, packed >> _POSITION_BITS)
        return mixed

    def _refresh(self, claim: str, value: str, mixed: _Mixed) -> None:
        """Make the compared integer follow from the parts."""
        until = mixed.until
        if not mixed.narrow:
            self._narrowed.discard((claim, value))
        if until == 0 or mixed.is_plain:
            del self._mixed[claim][value]
        self._put(claim, value, until << _POSITION_BITS | mixed.below if until else None)

    def _put(self, claim: str, value: str, packed: int | None) -> None:
        if packed is None:
            self._tables[claim].pop(value, None)
        else:
            self._tables[claim][value] = packed
        if claim == Claim.ALL:
            self._all = (packed or 0) & _CEILING

    def _file(self, claim: str, value: str, until: int) -> None:
        """Look at this value again when the time has come."""
        if until >= _NEVER_S:
            return
        values = self._buckets.setdefault(until // _BUCKET_S, {}).setdefault(claim, [])
        if not values or values[-1] != value:
            values.append(value)


def _seconds(moment: datetime) -> int:
    """The first whole second that is not before the moment."""
    return -int(-moment.timestamp() // 1)
