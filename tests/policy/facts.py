"""Facts for rules, as tests of this folder need them."""

from datetime import UTC, datetime
from typing import Any

from watchword_policy.facts import Facts

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)  # a Sunday


def facts_of(**changes: Any) -> Facts:
    """A person of the groups `staff` and `ops`, changed."""
    given: dict[str, Any] = {
        "sub": "u-1",
        "iss": "https://sso.example",
        "time": NOW,
        "groups": ("staff", "ops"),
        "email": "ann@demo.test",
        "client": "c-1",
        "ip": "192.0.2.10",
        "claims": {"department": "R&D", "level": 3, "email_verified": True, "teams": ["a", "b"], "nothing": None},
    }
    return Facts(**given | changes)
