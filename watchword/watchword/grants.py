"""Grants: which programs of other teams may read events. Who they are and what they may read, never a secret.

`grants.json` stands with the provisioner's secrets, because it makes their consumers; nats.conf is written from it. A
grant occupies one of the accounts that nats.conf keeps ready, so that granting and revoking change users only.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from watchword.embedded.process import write_private
from watchword.installation import BrokenInstallation, Operator
from watchword_events.teams import ALL_EVENTS, EVENTS_KEPT_DAYS, KEY_SUBJECT, public_subjects

GRANTS_FILE: Final = "grants.json"
SLOTS: Final = 32
_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_PATTERN: Final = re.compile(r"auth(\.([a-z_]{1,32}|\*)){0,3}(\.>)?")


class GrantRefused(ValueError):
    """What was asked for is not granted; the text says why and what to do."""


@dataclass(frozen=True)
class Grant:
    """A program that may read. slot: 1 to 32, its account.  since: where its consumer begins.

    subjects: patterns of public events; one that covers them all also allows reading again from any time.
    feed: also `feed.revocation`, for a verifier.
    """

    name: str
    public_key: str
    slot: int
    subjects: tuple[str, ...]
    feed: bool
    since: datetime
    granted_at: datetime

    @property
    def reads_everything(self) -> bool:
        """Whether no public event is kept from it."""
        return ALL_EVENTS in self.subjects


def grants_path(secrets: Path) -> Path:
    """The file in a directory of secrets."""
    return secrets / Operator.PROVISION / GRANTS_FILE


def load_grants(path: Path) -> tuple[Grant, ...]:
    """The grants, by name; none where there is no file. Raises BrokenInstallation."""
    try:
        found = json.loads(path.read_text())
        return tuple(
            Grant(
                **{
                    **each,
                    "subjects": tuple(each["subjects"]),
                    "since": datetime.fromisoformat(each["since"]),
                    "granted_at": datetime.fromisoformat(each["granted_at"]),
                }
            )
            for each in found
        )
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenInstallation(f"cannot read {path} ({type(error).__name__}): restore it from your back-up") from None


def save_grants(path: Path, grants: Iterable[Grant]) -> None:
    """The file holds these grants."""
    rows = [document(each) for each in sorted(grants, key=lambda each: each.name)]
    write_private(path, json.dumps(rows, indent=2) + "\n")


def document(grant: Grant) -> dict[str, object]:
    """A grant as JSON."""
    times = {"since": grant.since.isoformat(), "granted_at": grant.granted_at.isoformat()}
    return {**asdict(grant), "subjects": list(grant.subjects), **times}


def check_name(name: str) -> str:
    """The name, which becomes part of subjects and of a file's name. Raises GrantRefused."""
    if not _NAME.fullmatch(name):
        raise GrantRefused(f"{name!r} is no name for a grant: 1 to 64 of a-z, 0-9 and -, for example billing")
    return name


def added(
    grants: Sequence[Grant],
    name: str,
    *,
    public_key: str,
    subjects: Collection[str] = (),
    feed: bool = False,
    since: datetime | None = None,
    now: datetime,
) -> tuple[tuple[Grant, ...], Grant]:
    """The grants with a new one, and the new one. Raises GrantRefused.

    subjects: patterns; by default every public event, or with `feed` what a verifier needs.
    """
    check_name(name)
    if any(each.name == name for each in grants):
        raise GrantRefused(
            f"{name} is granted already. Each program has a grant of its own: choose another name, or end this one "
            f"with `watchword events revoke {name}` and grant it again"
        )
    free = sorted(set(range(1, SLOTS + 1)) - {each.slot for each in grants})
    if not free:
        raise GrantRefused(f"all {SLOTS} places are taken: revoke a grant that nobody uses")
    begin = now if since is None else since
    if not now - timedelta(days=EVENTS_KEPT_DAYS) <= begin <= now:
        raise GrantRefused(f"events are kept for {EVENTS_KEPT_DAYS} days: --since is later than that, and not to come")
    patterns = tuple(dict.fromkeys(subjects)) or ((KEY_SUBJECT,) if feed else (ALL_EVENTS,))
    for pattern in patterns:
        if not (_PATTERN.fullmatch(pattern) and public_subjects([pattern])):
            raise GrantRefused(f"no public event has a subject like {pattern!r}: docs/reference/events.md lists them")
    made = Grant(name, public_key, free[0], patterns, feed, begin, now)
    return (*grants, made), made


def without(grants: Sequence[Grant], name: str) -> tuple[Grant, ...]:
    """The grants but one. Raises GrantRefused when there is none of this name."""
    check_name(name)
    left = tuple(each for each in grants if each.name != name)
    if len(left) == len(grants):
        known = ", ".join(each.name for each in grants) or "nobody"
        raise GrantRefused(f"nothing is granted to {name}; granted: {known}")
    return left
