"""A sign-in that waits for its second factor: kept in the flow, and nobody is signed in by it.

No session exists before every step is done, so nothing that accepts sessions could take a half one for a whole one.
"""

from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from watchword_authz.models import Flow
from watchword_authz.sessions import SignIn

_WAITS: Final = timedelta(minutes=10)


class Held(BaseModel):
    """Who has passed the first factor. password_version: of the password that proved it, None after a provider."""

    model_config = ConfigDict(frozen=True)

    who: SignIn
    password_version: int | None
    at: datetime


class Passed(BaseModel):
    """Who has passed the second factor in this flow, and by which methods."""

    model_config = ConfigDict(frozen=True)

    user_id: str
    amr: tuple[str, ...]


def held_in(flow: Flow, now: datetime) -> Held | None:
    """Who waits in the flow; None when nobody does, or for too long."""
    held = None if flow.held is None else Held.model_validate(flow.held)
    return held if held is not None and held.at + _WAITS > now else None


def passed_in(flow: Flow) -> Passed | None:
    """Who has passed the second factor in the flow."""
    return None if flow.passed is None else Passed.model_validate(flow.passed)
