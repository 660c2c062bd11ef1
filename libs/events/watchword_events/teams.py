"""What other teams' programs may do: read public events, as they happen and again from a stream of copies.

The names here are the contract with programs that we do not write.
"""

from collections.abc import Iterable
from typing import Final

from watchword_events.catalogue import CATALOGUE

# Copies of the public events of every owner, in one order.
EVENTS_STREAM: Final = "EVENTS"
# JetStream for a team: the domain that its client is told, and the prefix that this stands for.
EVENTS_DOMAIN: Final = "events"
EVENTS_API: Final = f"$JS.{EVENTS_DOMAIN}.API"
ALL_EVENTS: Final = "auth.>"
FEED_SUBJECT: Final = "feed.revocation"
# Somebody waits for receipts: whoever follows the feed says now how far it is.
RECEIPTS_SUBJECT: Final = "sys.hint.receipts"
# What a verifier with a feed over NATS listens to beside it.
KEY_SUBJECT: Final = "auth.token.key.*"
EVENTS_KEPT_DAYS: Final = 7


def public_subjects(patterns: Iterable[str] = (ALL_EVENTS,)) -> tuple[str, ...]:
    """The subjects of public events that one of the patterns matches, in the catalogue's order."""
    wanted = tuple(patterns)
    return tuple(row.subject for row in CATALOGUE if row.public and any(matches(each, row.subject) for each in wanted))


def copied_subjects() -> tuple[tuple[str, str], ...]:
    """(stream, subject) of what EVENTS copies: all of an entity whose facts are all public, else the public ones.

    By entity, so that one more fact about it changes nothing here: a source that changed would be copied again.
    """
    private = {(row.owner, row.event.entity) for row in CATALOGUE if not row.public}
    found = {
        (
            row.owner.stream,
            row.subject if (row.owner, row.event.entity) in private else f"auth.{row.owner.value}.{row.event.entity}.*",
        )
        for row in CATALOGUE
        if row.public
    }
    return tuple(sorted(found))


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS pattern (`*` one token, a last `>` one or more) matches a subject."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(w in {"*", t} for w, t in zip(wanted, tokens, strict=True))


def api_calls(name: str) -> dict[str, str]:
    """What the program with a grant of this name may ask: the call, by what it is for."""
    return {
        "look at its consumer": f"CONSUMER.INFO.{EVENTS_STREAM}.{name}",
        "fetch from its consumer": f"CONSUMER.MSG.NEXT.{EVENTS_STREAM}.{name}",
        "read again": f"DIRECT.GET.{EVENTS_STREAM}",
    }


def ack_subject(name: str) -> str:
    """Where the program with a grant of this name acknowledges what it was given."""
    return f"$JS.ACK.{EVENTS_STREAM}.{name}.>"
