"""What the pages of the demo application show, in plain types."""

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from watchword.demo.listener import Happened

# What an event means, for somebody who has never seen one.
_MEANING: Final = {
    "user.provisioned": "Watchword met you for the first time and made an account for you.",
    "user.updated": "Something about your account changed.",
    "user.disabled": "Your account was disabled: every token of yours is refused, everywhere.",
    "user.enabled": "Your account may be used again.",
    "user.deleted": "Your account is gone.",
    "identity.linked": "Your identity at the provider now leads to your account here.",
    "identity.unlinked": "Your identity at the provider no longer leads here.",
    "session.started": "You are signed in at Watchword.",
    "session.ended": "Your session is over: what descends from it is refused, everywhere.",
    "consent.granted": "You allowed an application to learn about you.",
    "consent.withdrawn": "You took back what an application was allowed.",
    "credential.changed": "Your password was set.",
    "account.locked": "Somebody guessed your password too often.",
    "grant.revoked": "What an application was granted is revoked.",
    "token.revoked": "An access token was revoked before its time.",
    "refresh_token.reused": "A refresh token was used twice: its whole family is dead.",
}


@dataclass(frozen=True)
class Person:
    """Who is signed in here, and what Watchword said about them. since: when they chose to sign in."""

    claims: dict[str, Any] = field(repr=False)
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    since: float

    @property
    def sub(self) -> str:
        return str(self.claims["sub"])

    @property
    def sid(self) -> str:
        """The session at Watchword that the tokens descend from."""
        return str(self.token_parts["payload"].get("sid") or self.claims.get("sid") or "")

    @property
    def token_parts(self) -> dict[str, dict[str, Any]]:
        """Header and payload of the access token, if it is a JWT. Only shown: who receives one must verify it."""
        parts = self.access_token.split(".")
        if len(parts) != 3:
            return {"header": {}, "payload": {}}
        return {"header": _decoded(parts[0]), "payload": _decoded(parts[1])}


def shown(event: Happened) -> dict[str, str]:
    """An event in words, with the time at which it was heard."""
    at = time.localtime(event.at)
    return {
        "type": event.type,
        "meaning": _MEANING.get(event.type, "Something happened around your sign-in."),
        "at": f"{time.strftime('%H:%M:%S', at)}.{int(event.at * 1000) % 1000:03d}",
    }


def rows(claims: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values, in the order of the names."""
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in sorted(claims.items())]


def pretty(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _decoded(part: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
