"""What rules may look at, within limits that keep every rule fast."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, JsonValue

MAX_GROUPS: Final = 2000
MAX_STRING: Final = 1024
MAX_CLAIM_NODES: Final = 2000  # values in all claims together, nested ones included
MAX_CLAIM_DEPTH: Final = 16
TEXTS: Final = ("sub", "iss", "email", "client", "ip")
_MAX_INT: Final = 2**63  # CEL has 64-bit integers; JSON has not


class UnfitFacts(ValueError):
    """More than rules may look at, or no text. Nothing is cut off: "not in this group" would then be wrong."""


def _texts(value: object) -> object:
    """Groups as they are often sent: one text, or a list. Anything else in a list is no group."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence):
        return tuple(each for each in value if isinstance(each, str))
    return () if value is None else value


class Facts(BaseModel):
    """The facts of one sign-in, as rules name them.

    sub: the person here, or the subject of a trusted issuer's token.  iss: who vouched for it: the upstream issuer, or
    ours after a password.  client: the client's id.  ip: where the person is, "" when nobody knows.
    claims: all claims by name, with `groups`, `sub`, `iss` and `email` only where they came as claims.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sub: str
    iss: str
    time: AwareDatetime
    groups: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    email: str = ""
    client: str = ""
    ip: str = ""
    claims: Mapping[str, JsonValue] = {}

    @classmethod
    def of_claims(
        cls, claims: Mapping[str, JsonValue], *, time: datetime, iss: str = "", client: str = "", ip: str = ""
    ) -> "Facts":
        """The facts of a token's claims, or of what somebody typed. iss: where the claims name none."""

        def text(name: str) -> str:
            value = claims.get(name)
            return value if isinstance(value, str) else ""

        return cls(
            sub=text("sub"),
            iss=text("iss") or iss,
            time=time,
            groups=claims.get("groups"),  # type: ignore[arg-type]  # the validator takes whatever a claim may be
            email=text("email"),
            client=client,
            ip=ip,
            claims=claims,
        )

    def check(self) -> None:
        """Raises UnfitFacts. Claims are not looked at: `small_claims` leaves out what is unfit of them."""
        if len(self.groups) > MAX_GROUPS:
            raise UnfitFacts(f"{len(self.groups)} groups, of which rules can look at {MAX_GROUPS}")
        for name in TEXTS:
            if not _is_fit(getattr(self, name)):
                raise UnfitFacts(f"{name} has more than {MAX_STRING} characters, or is no text")
        if not all(_is_fit(group) for group in self.groups):
            raise UnfitFacts(f"the name of a group has more than {MAX_STRING} characters, or is no text")


def _is_fit(text: str) -> bool:
    """Whether a text is short enough, and one at all: JSON can escape half a character, which is none."""
    if len(text) > MAX_STRING:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def small_claims(claims: Mapping[str, JsonValue]) -> tuple[dict[str, JsonValue], tuple[str, ...]]:
    """Claims that rules can look at, and the names of those that are left out because they are too large, or no text.

    A claim is left out as a whole, so that a rule which names it fails and does not match.
    """
    kept: dict[str, JsonValue] = {}
    left_out: list[str] = []
    room = MAX_CLAIM_NODES
    for name, value in claims.items():
        nodes = _nodes(value, room, MAX_CLAIM_DEPTH) if _is_fit(name) else room + 1
        if nodes > room:
            left_out.append(name[:MAX_STRING].encode(errors="replace").decode())
        else:
            room -= nodes
            kept[name] = value
    return kept, tuple(left_out)


def _nodes(value: JsonValue, room: int, depth: int) -> int:
    """How many values there are; more than `room` as soon as one is too large, too deep, or there are too many."""
    if isinstance(value, str):
        return 1 if _is_fit(value) else room + 1
    if isinstance(value, int):
        return 1 if -_MAX_INT <= value < _MAX_INT else room + 1
    if value is None or isinstance(value, float):
        return 1
    if depth == 0 or len(value) > room:
        return room + 1
    count = 1
    members: Sequence[JsonValue] = value if isinstance(value, list) else [*value, *value.values()]
    for member in members:
        count += _nodes(member, room, depth - 1)
        if count > room:
            break
    return count
